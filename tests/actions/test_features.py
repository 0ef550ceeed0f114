"""What heads read: the order of columns, what is chosen when nothing is said, and that nothing is looked at twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_lookagain.video
from napari_lookagain.actions.eyes import load_eyes, open_eyes, save_eyes
from napari_lookagain.actions.features import read_features, settle
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.progress import drain
from napari_lookagain.vision.crops import Crops


def opened(session, config, frames=None):
    """Eyes and reading of a session, looking at some frames."""
    frames = np.ones(session.n_frames, bool) if frames is None else frames
    eyes = drain(open_eyes([session], [frames], config, "cpu"))
    return eyes, drain(read_features(session, config, eyes, frames, 1))


def test_what_is_read_by_default(session, untracked, small, eye):
    def reads(sessions, **changes):
        settled = settle(small(**changes), sessions)
        return settled.head.reads, settled.vision.crop

    assert reads([session]) == (("keypoints", "pca"), "turned")
    assert reads([session], vision={"encoder": str(eye)}) == (("keypoints", "mean"), "turned")
    assert reads([untracked]) == (("pca",), "frame")
    assert reads([untracked], vision={"encoder": str(eye)}) == (("mean",), "frame")
    assert reads([session, untracked]) == (("pca",), "frame")
    assert reads([replace(session, video=None, path=None)]) == (("keypoints",), "turned")
    assert reads([session], head={"reads": ["pca"]}, vision={"crop": "plain"}) == (("pca",), "plain")


def test_what_is_not_there_cannot_be_read(session, untracked, small):
    blind = replace(session, video=None, path=None, recording="blind")
    for sessions, reads, message in (
        ([session, untracked], ["keypoints"], "untracked has no keypoints to read; leave keypoints out"),
        ([session, blind], ["pca"], "blind has no video to read; use --features keypoints"),
        ([session], ["cls"], "cls is read from an encoder; name one with --encoder"),
        ([blind, untracked], [], "blind has no video and untracked no keypoints"),
    ):
        with pytest.raises(InputError, match=message):
            settle(small(head={"reads": reads}), sessions)


def test_columns_are_in_one_order(session, small, eye):
    reads = ["patches", "cls", "pca", "keypoints"]
    config = settle(small(head={"reads": reads}, vision={"encoder": str(eye)}), [session])
    frames = np.zeros(session.n_frames, bool)
    frames[40:60] = True
    eyes, reading = opened(session, config, frames)
    motion = MotionFeatures(session, config.features, 1)
    told = reading(45, 55)
    assert told.dtype == np.float32
    assert told.shape == (2, 10, reading.width) == (2, 10, motion.width + 6 + 16 + 4 * 16)
    np.testing.assert_array_equal(told[..., : motion.width], motion(45, 55))
    with session.open_video() as video:
        for name, what, columns in (
            ("pca", "mean", slice(motion.width, motion.width + 6)),
            ("encoder", "cls", slice(motion.width + 6, motion.width + 22)),
            ("encoder", "patches", slice(motion.width + 22, None)),
        ):
            crops = Crops(session, "turned", 2.0, eyes[name].size)
            [(_, frame)] = video.frames([50], grey=eyes[name].grey)
            seen = eyes[name].encode(np.stack([crops.cut(frame, 50, animal) for animal in range(2)]), what)
            # kept in half precision, and computed in bfloat16 where the CPU has it
            np.testing.assert_allclose(told[:, 5, columns], seen.reshape(2, -1), rtol=2e-2, atol=2e-2)


def test_a_recording_without_keypoints_is_read_as_whole_frames(untracked, small):
    config = settle(small(), [untracked])
    eyes, reading = opened(untracked, config)
    assert reading(0, 7).shape == (1, 7, 6)
    with untracked.open_video() as video:
        [(_, frame)] = video.frames([3], grey=True)
    image = Crops(untracked, "frame", size=16).cut(frame, 3, 0)
    np.testing.assert_allclose(reading(3, 4)[0], eyes["pca"].encode(image[None]), rtol=2e-3, atol=2e-3)


def test_nothing_is_looked_at_twice(session, small, monkeypatch):
    config = settle(small(), [session])
    frames = np.zeros(session.n_frames, bool)
    frames[10:30] = True
    eyes, reading = opened(session, config, frames)
    before = reading(10, 30)
    monkeypatch.setattr(napari_lookagain.video, "Video", None)
    again = drain(read_features(session, config, eyes, frames, 1))
    np.testing.assert_array_equal(again(10, 30), before)
    with pytest.raises(InputError, match="before they were looked at"):
        reading(9, 12)


def test_components_are_of_training_frames_alone(session, small):
    config = settle(small(head={"reads": ["pca"]}), [session])
    first = np.arange(session.n_frames) < 100
    eyes, _ = opened(session, config, first)
    cut = replace(
        session,
        keypoints=session.keypoints[:100],
        confidence=session.confidence[:100],
        annotations=type(session.annotations)(100, session.animals),
        path=None,
        edited=None,
    )
    cut.body_length = session.body_length  # the crop is as wide
    other, _ = opened(cut, config)
    assert eyes["pca"].fingerprint == other["pca"].fingerprint


def test_eyes_are_kept_beside_a_model(session, small, eye, tmp_path):
    config = settle(small(head={"reads": ["pca", "cls"]}, vision={"encoder": str(eye)}), [session])
    eyes, _ = opened(session, config, np.arange(session.n_frames) < 40)
    save_eyes(eyes, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["encoder", "pca"]
    kept = load_eyes(tmp_path / "model", config, "cpu")
    assert {name: each.fingerprint for name, each in kept.items()} == {n: e.fingerprint for n, e in eyes.items()}


def test_an_encoder_of_which_nothing_is_read_is_no_mistake_to_pass_over(session, small, eye):
    config = small(head={"reads": ["keypoints", "pca"]}, vision={"encoder": str(eye)})
    with pytest.raises(InputError, match="is named, but keypoints, pca read nothing of it; add mean, cls or patches"):
        settle(config, [session])
