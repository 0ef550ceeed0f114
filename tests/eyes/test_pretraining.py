"""The eye of a session: pretrained once, kept, found again."""

from __future__ import annotations

import json
import shutil
from itertools import count, islice

import av
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.eyes import pretraining
from napari_lookagain.eyes.kept import kept_eye, settings_of
from napari_lookagain.eyes.pretraining import pretrain_eye
from napari_lookagain.material import gather
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session, new_session
from napari_lookagain.vision import beast_training
from napari_lookagain.vision.embed import embed
from napari_lookagain.vision.encoder import load_encoder
from napari_lookagain.vision.look import crops_of


def config(**beast) -> Config:
    return Config.preset("quick", vision={"encoder": "beast"}, beast={"anchors": 24, "epochs": 2, "batch": 16, **beast})


def told_to(told, work):
    """The same work, with what it tells kept."""
    while True:
        try:
            told.append(next(work))
        except StopIteration as end:
            return end.value
        yield told[-1]


def images(n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 48, 48), dtype=np.uint8)


def test_an_eye_is_kept_in_the_session_and_found_again(session):
    assert kept_eye([session], config()) is None
    encoder = drain(pretrain_eye([session], config(), device="cpu"))
    folder = kept_eye([session], config())
    assert folder.parent == session.path / "beast"
    assert_array_equal(load_encoder(folder).encode(images()), encoder.encode(images()))
    names = {path.name for path in folder.iterdir()}
    assert names == {"encoder.json", "encoder.safetensors", "beast.json", "beast.safetensors"} | {
        "config.json",
        "metrics.json",
    }
    told = json.loads((folder / "metrics.json").read_text())
    assert told["anchors"] == 24
    assert len(told["loss"]) == len(told["contrast"]) == 2
    assert kept_eye([session], config(epochs=3)) is None
    assert kept_eye([session], config().updated(training={"seed": 1})) is None
    assert kept_eye([load_session(session.path)], config()) == folder


def test_training_pretrains_an_eye_once(session):
    small = {"motion": {"window": 64}, "training": {"max_windows": 2, "validation_share": 0.0}}
    settings = config().updated(**small)
    first = drain(gather([session], settings, device="cpu"))
    stages = set()
    work = gather([session], settings, device="cpu")
    try:
        while True:
            stages.add(next(work).stage)
    except StopIteration as end:
        again = end.value
    assert "pretraining the eye" not in stages
    assert again.encoder.fingerprint == first.encoder.fingerprint
    assert (first.visual_width, first.n_patches, first.batches.seen_width) == (128, 0, 128)


def test_pca_has_no_patches_for_attention(session):
    settings = config().updated(vision={"pooling": "attention", "encoder": "pca"})
    with pytest.raises(InputError, match="'pca' has no patches to pool by attention"):
        drain(gather([session], settings, device="cpu"))


def test_patches_are_gathered_for_attention(session):
    small = {"motion": {"window": 64}, "training": {"max_windows": 2, "validation_share": 0.0}}
    settings = config().updated(vision={"pooling": "attention"}, **small)
    material = drain(gather([session], settings, device="cpu"))
    assert (material.visual_width, material.n_patches) == (128, 36)
    batch = material.batches(material.windows[:1])
    assert batch.visual_features.shape == (1, 2, 64, 36 * 128)
    not_kept = drain(gather([session], settings.updated(vision={"keep": False}), device="cpu"))
    seen = not_kept.batches(material.windows[:1]).visual_features
    torch.testing.assert_close(seen, batch.visual_features, atol=4e-3, rtol=2e-3)  # kept ones have half precision


def test_features_are_scaled_by_all_animals_at_frames_spread_evenly(session, monkeypatch):
    monkeypatch.setattr(pretraining, "_SCALED_ON", 60)
    session.keypoints[100:200, 1] = np.nan
    session.confidence[100:200, 1] = 0
    told = []
    encoder = drain(told_to(told, pretrain_eye([session], config(), device="cpu")))
    crops, frames = crops_of(session, config(), encoder.size), np.linspace(0, 299, 30).astype(int)
    there = [(t, a) for t in frames for a in (0, 1) if a == 0 or not 100 <= t < 200]
    with session.open_video() as video:
        seen = np.stack([crops.cut(video.frame(int(t), grey=True), t, a) for t, a in there])
    assert [each.total for each in told if each.stage == "scaling what the eye sees"][-1] == len(there) == 50
    for what in ("mean", "cls", "patches"):
        features = encoder.encode(seen, what).reshape(-1, 128)
        np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)
        covariance = np.cov(features.T)
        np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3 * covariance.max())


def test_the_scale_is_of_a_bounded_number_of_images_of_all_recordings(session, untracked, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "_SCALED_ON", 40)
    told = []
    drain(told_to(told, pretrain_eye([session, untracked], config(epochs=1), tmp_path / "eye", device="cpu")))
    assert [each.total for each in told if each.stage == "scaling what the eye sees"][-1] == 40


def test_an_eye_that_was_cut_off_goes_on_to_the_same_weights(session, tmp_path, monkeypatch):
    monkeypatch.setattr(beast_training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    straight = drain(pretrain_eye([session], config(epochs=3), tmp_path / "straight", device="cpu"))
    work = pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu")
    for told in work:
        if told.stage == "pretraining the eye" and told.done == 5:
            break
    work.close()
    stages = []
    resumed = pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu")
    try:
        while True:
            stages.append(next(resumed).stage)
    except StopIteration as end:
        encoder = end.value
    assert set(stages) == {"pretraining the eye", "scaling what the eye sees"}  # the frames are not read again
    assert stages.count("pretraining the eye") < 9
    assert encoder.fingerprint == straight.fingerprint


def test_an_eye_that_is_cut_off_while_it_reads_leaves_nothing_half_written(session, tmp_path):
    work = pretrain_eye([session], config(), tmp_path / "cut", device="cpu")
    list(islice(work, 310))
    work.close()
    assert not list((tmp_path / "cut").glob("frames*"))


def test_a_video_alone_is_seen_whole(simulated, tmp_path):
    session = new_session(video=simulated.video)
    encoder = drain(pretrain_eye([session], config(), tmp_path / "eye", device="cpu"))
    crops = crops_of(session, settings_of(tmp_path / "eye"), encoder.size)
    assert crops.kind == "frame"
    shape = drain(embed(session, encoder, crops, tmp_path / "cls.npy"))
    rows = np.load(tmp_path / "cls.npy")
    assert rows.shape == shape == (300, 128)
    with session.open_video() as video:
        expected = encoder.encode(crops.cut(video.frame(7, grey=True), 7, 0)[None], "cls")
    np.testing.assert_allclose(rows[7:8], expected, atol=1e-4)


def test_patches_of_every_animal_are_written(session, tmp_path):
    encoder = drain(pretrain_eye([session], config(), tmp_path / "eye", device="cpu"))
    crops = crops_of(session, config(), encoder.size)
    session.keypoints[10, 1] = np.nan
    session.confidence[10, 1] = 0
    assert drain(embed(session, encoder, crops, tmp_path / "p.npy", "patches")) == (300, 2, 36, 128)
    rows = np.load(tmp_path / "p.npy")
    assert rows.dtype == np.float16
    assert np.argwhere(np.isnan(rows).any(axis=(2, 3))).tolist() == [[10, 1]]


def test_several_recordings_share_an_eye_that_is_not_that_of_one(session, write_video, tmp_path):
    write_video(tmp_path / "other.mp4", n_frames=60)
    untracked = new_session(video=tmp_path / "other.mp4", recording="untracked")
    eye = tmp_path / "eye"
    drain(pretrain_eye([session, untracked], config(), eye, device="cpu"))
    assert json.loads((eye / "metrics.json").read_text())["anchors"] == 48
    assert sorted(json.loads((eye / "config.json").read_text())["recordings"]) == ["mice", "untracked"]
    together = drain(pretrain_eye([untracked, session], config(), tmp_path / "turned", device="cpu"))
    assert together.fingerprint == load_encoder(eye).fingerprint  # whichever comes first
    drain(pretrain_eye([session, untracked], config(), device="cpu"))
    assert kept_eye([untracked, session], config()) is not None
    assert kept_eye([session], config()) is None
    with pytest.raises(InputError, match="The same video was given twice"):
        drain(pretrain_eye([session, session], config(), tmp_path / "twice"))


def test_what_is_done_is_not_done_again(session, tmp_path):
    first = drain(pretrain_eye([session], config(), tmp_path / "eye", device="cpu"))
    work = pretrain_eye([session], config(), tmp_path / "eye", device="cpu")
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value.fingerprint == first.fingerprint


def test_nobody_elses_folder_is_written_into(session, tmp_path):
    """A model's config.json, say."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds something else already"):
        drain(pretrain_eye([session], config(), tmp_path / "model", device="cpu"))
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]


def test_settings_of_a_pretraining_that_was_cut_off_are_asked_for_before_the_video_is_read(session, tmp_path):
    work = pretrain_eye([session], config(), tmp_path / "cut", device="cpu")
    next(told for told in work if told.stage == "pretraining the eye")
    work.close()
    with pytest.raises(InputError, match="holds something else already"):
        next(pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu"))


def test_the_eye_of_a_video_alone_is_found_whatever_crops_were_asked_for(untracked):
    drain(pretrain_eye([untracked], config(), device="cpu"))
    assert kept_eye([untracked], config().updated(vision={"crop": "frame"})) is not None


def test_a_corrected_keypoint_costs_no_new_eye(session):
    drain(pretrain_eye([session], config(), device="cpu"))
    session.move_keypoint(3, 0, 0, (5.0, 5.0))
    assert kept_eye([session], config()) is not None


def test_minutes_count_what_was_learnt_before_a_stop(session, tmp_path, monkeypatch):
    monkeypatch.setattr(beast_training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(beast_training.time, "monotonic", count(0, 60).__next__)
    work = pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu")
    next(told for told in work if told.stage == "pretraining the eye" and told.done == 5)
    work.close()
    drain(pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu"))
    told = json.loads((tmp_path / "cut" / "metrics.json").read_text())
    assert told["minutes"] >= 3
    assert told["memory_gb"] > 0.1


def test_learning_goes_on_from_an_eye_made_here(session, tmp_path):
    drain(pretrain_eye([session], config(), tmp_path / "first", device="cpu"))
    more = config(start=str(tmp_path / "first"), epochs=1)
    drain(pretrain_eye([session], more, tmp_path / "second", device="cpu"))
    assert (tmp_path / "second" / "encoder.json").exists()


def test_what_cannot_be_learnt_from_is_refused(session, tmp_path, untracked):
    blind = load_session(shutil.copytree(session.path, tmp_path / "blind.lookagain"))
    blind.video = None
    with pytest.raises(InputError, match="mice has no video to learn from"):
        drain(pretrain_eye([blind], config(), tmp_path / "eye"))
    drain(pretrain_eye([session], config(epochs=1), tmp_path / "eye", device="cpu"))
    with pytest.raises(InputError, match="holds something else already, such as a model or an eye with other settings"):
        drain(pretrain_eye([session], config(), tmp_path / "eye"))
    with pytest.raises(InputError, match=r"is in memory only; save it first, or name a folder"):
        drain(pretrain_eye([new_session(video=untracked.video.path)], config()))


def test_frames_smaller_than_the_patches_are_refused(tmp_path):
    with av.open(str(tmp_path / "small.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "gray"
        for i in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((8, 8), i, np.uint8), format="gray")))
        container.mux(stream.encode())
    session = new_session(video=tmp_path / "small.mkv")
    with pytest.raises(InputError, match=r"frames of small are 8×8 pixels, but the eye cuts an image into 14×14"):
        drain(pretrain_eye([session], config(size="small"), tmp_path / "eye"))
