"""The baseline of MABe22: its blocks of features, what it keeps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.baselines import simclr as module
from napari_lookagain.baselines.contrast import ContrastConfig
from napari_lookagain.baselines.frame_head import FrameHeadConfig
from napari_lookagain.baselines.pose_features import PoseFeatures
from napari_lookagain.baselines.simclr import SimCLR, SimCLRConfig
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain

SMALL = SimCLRConfig(
    components=6,
    contrast=ContrastConfig(images=40, size=16, width=8, projection=4, epochs=2, batch=20),
    head=FrameHeadConfig(hidden=32, epochs=15, batch=64, learning_rate=3e-3),
)
BLOCKS = {  # columns of the eyes
    ("vision",): 6,
    ("simclr",): 8,
    ("vision", "simclr"): 14,
    ("vision", "simclr", "pose"): 14,
}


def with_reads(*reads, **changes):
    return SMALL.model_copy(update={"reads": reads, **changes})


def there(session):
    """What is in the folder of a session, but for the index of its video."""
    return sorted(path for path in session.path.rglob("*") if not path.name.startswith("packets-"))


def fit(sessions, folder, config=SMALL, seed=0):
    return drain(SimCLR(config).fit(sessions, folder, seed=seed, device="cpu"))


def test_poses_alone_are_learnt_without_a_video(walk, agreement, tmp_path):
    labeler = fit([walk(0), walk(1, n_animals=2)], tmp_path, with_reads("pose"))
    other = walk(2, n_animals=2)
    ethogram = drain(labeler.label(other))
    assert agreement(ethogram, other) > 0.9
    assert (ethogram.kind, set(ethogram.names)) == ("behavior", {"walk", "rest"})
    assert not ethogram.looked.any()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=2e-3)


@pytest.mark.parametrize("reads", BLOCKS)
def test_blocks_are_read_side_by_side(session, agreement, tmp_path, reads):
    kept = there(session)
    (tmp_path / "trial").mkdir()
    labeler = fit([session], tmp_path / "trial", with_reads(*reads))
    pose = len(PoseFeatures(session).names) if "pose" in reads else 0
    assert labeler.head.mean.numel() == 3 * (BLOCKS[reads] + pose), "features, their mean and their deviation"
    assert labeler.blocks.principal == (6 if "vision" in reads else 0)
    ethogram = drain(labeler.label(session))
    assert ethogram.looked.all()
    assert ethogram.label.shape == (300, 2)
    assert agreement(ethogram, session) > 0.5
    assert there(session) == kept, "an eye of this training alone left features behind"
    assert list((tmp_path / "trial").iterdir()) == []


def test_spans_say_what_the_whole_recording_says(session, tmp_path, monkeypatch):
    labeler = fit([session], tmp_path)
    read = drain(labeler.blocks.open(session, np.ones(300, bool)))
    whole = read(0, 300)
    assert whole.shape[:2] == (300, 2)
    np.testing.assert_allclose(read(37, 61), whole[37:61], rtol=1e-4, atol=1e-5)
    told = []
    for frames in (512, 70):
        monkeypatch.setattr(module, "CHUNK", frames)
        told.append(drain(labeler.label(session)).probabilities.astype(float))
    np.testing.assert_allclose(told[0], told[1], atol=2e-3)


def test_frames_alone_are_read_without_a_window(session, tmp_path):
    labeler = fit([session], tmp_path, with_reads("vision", window=0.0))
    assert labeler.head.mean.numel() == 6
    assert drain(labeler.label(session)).looked.all()


def test_a_seed_gives_one_result(session, tmp_path):
    few = SMALL.head.model_copy(update={"epochs": 1})
    told = [
        drain(fit([session], tmp_path, with_reads("simclr", head=few), seed).label(session)).probabilities
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(told[0], told[1])
    assert (told[0] != told[2]).any()


def test_frames_far_from_scored_ones_are_not_looked_at(session, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_lookagain.baselines.window_statistics.CHUNK", 50)
    labels = session.annotations.labels()
    labels[50:] = -1
    annotations = Annotations(300, session.animals)
    annotations.set_frames(labels, session.annotations.behaviors, "ann")
    asked = []
    kind = type(session.open_video())

    def remember(video, indices, **options):
        asked.append(np.asarray(indices))
        return frames(video, indices, **options)

    frames = kind.frames
    monkeypatch.setattr(kind, "frames", remember)
    fit([replace(session, annotations=annotations, path=None)], tmp_path, with_reads("vision"))
    assert 50 <= max(each.max() for each in asked) <= 50 + session.fps


def test_an_eye_of_the_hub_keeps_what_it_sees(session, tmp_path):
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 1}
    model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes, image_size=16, patch_size=8))
    model.save_pretrained(tmp_path / "eye")
    config = with_reads("vision", encoder=str(tmp_path / "eye"), window=0.0)
    labeler = fit([session], tmp_path, config)
    assert labeler.head.mean.numel() == 16
    assert labeler.blocks.principal == 0
    assert [path.suffix for path in sorted(session.features_folder.iterdir())].count("") == 1, "a folder of its own"


def test_what_is_not_there_is_refused(walk, session, untracked, tmp_path):
    with pytest.raises(InputError, match="walk 0 has no video, which vision and simclr read; set reads to pose alone"):
        fit([walk(0)], tmp_path)
    labeler = fit([session], tmp_path, with_reads("vision"))
    with pytest.raises(InputError, match="walk 0 has no video, which vision read"):
        drain(labeler.label(walk(0)))
    untracked.annotations.set_frames(np.arange(300)[:, None] % 2, ["walk", "rest"], "ann")
    with pytest.raises(InputError, match="untracked has the keypoints|untracked has no keypoints"):
        fit([untracked], tmp_path, with_reads("pose"))
    other = replace(walk(1), keypoint_names=("tail", "nose", "port", "starboard"))
    with pytest.raises(InputError, match="walk 1 has the keypoints tail, nose, port, starboard"):
        drain(fit([walk(0)], tmp_path, with_reads("pose")).label(other))
    for reads in ([], ["pose", "pose"], ["sound"]):
        with pytest.raises(InputError, match="reads"):
            SimCLRConfig.parse({"reads": reads})
