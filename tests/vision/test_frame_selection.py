"""Anchors move, differ, and have their neighbors."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.session import Session, new_session
from napari_lookagain.vision import frame_selection
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.frame_selection import choose_anchors, read_triplets

SIDE = 64


def filmed(folder: Path, levels: list[int]) -> Session:
    """A video of a bright square on black ground, at a place that each number tells."""
    path = folder / "video.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # without loss: what does not move has no motion energy
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "gray"
        for level in levels:
            picture = np.zeros((SIDE, SIDE), np.uint8)
            picture[8:24, 2 * level : 2 * level + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())
    return new_session(video=path)


def chosen(session: Session, n: int, **more) -> np.ndarray:
    return drain(choose_anchors(session, Crops(session, "frame", 1.0, 48), n, **more))


def test_frames_that_stand_still_are_left_out(tmp_path):
    session = filmed(tmp_path, [0] * 30 + list(range(20)) + [19] * 30)
    anchors = chosen(session, 10)
    assert anchors.shape == (10, 2)
    assert (anchors[:, 1] == 0).all()
    assert (np.diff(anchors[:, 0]) > 0).all()
    assert set(anchors[:, 0]) <= set(range(31, 50))  # frame 31 is the first that differs from the one before


def test_anchors_differ_from_each_other(tmp_path):
    """Three places, each seen many times: one anchor of each."""
    session = filmed(tmp_path, [0, 8, 16] * 20)
    anchors = chosen(session, 3)
    assert sorted(anchors[:, 0] % 3) == [0, 1, 2]


def test_half_of_what_moves_is_left_out_by_motion_energy(tmp_path):
    """Small steps and large ones in turn: anchors are where the large ones end."""
    places, at = [], 0
    for i in range(60):
        at = (at + (1 if i % 2 else 9)) % 24
        places.append(at)
    session = filmed(tmp_path, places)
    steps = np.abs(np.diff([0, *places]))
    anchors = chosen(session, 12)
    assert (steps[anchors[:, 0]] > 1).all()


def test_anchors_have_neighbors(tmp_path):
    session = filmed(tmp_path, list(range(20)) * 3)
    assert chosen(session, 12)[:, 0].min() >= 1
    assert chosen(session, 12)[:, 0].max() <= 58


def test_random_frames_need_not_move(tmp_path):
    session = filmed(tmp_path, [0] * 40 + list(range(20)))
    anchors = chosen(session, 20, select="random")
    assert len(np.unique(anchors, axis=0)) == 20
    assert (anchors[:, 0] < 40).any()
    assert_array_equal(anchors, chosen(session, 20, select="random"))
    assert not np.array_equal(anchors, chosen(session, 20, select="random", seed=1))


def test_the_same_seed_gives_the_same_anchors(tmp_path):
    session = filmed(tmp_path, list(range(20)) * 4)
    assert_array_equal(chosen(session, 15, seed=3), chosen(session, 15, seed=3))


def test_fewer_frames_than_anchors_are_all_taken_with_a_warning(tmp_path):
    session = filmed(tmp_path, list(range(20)))
    with pytest.warns(UserWarning, match="has only 18 frames to learn from, fewer than the 600 anchors"):
        assert len(chosen(session, 600)) == 18


def test_a_video_in_which_nothing_moves_is_refused(tmp_path):
    with pytest.raises(InputError, match="Nothing moves in the video of video"):
        chosen(filmed(tmp_path, [3] * 30), 10)


def test_a_video_too_short_is_refused(tmp_path):
    with pytest.raises(InputError, match="has 2 frames that the eye could learn from, expected at least 4"):
        chosen(filmed(tmp_path, [0, 1, 2, 3]), 10)
    with pytest.raises(InputError, match="has 0 frames that the eye could learn from"):
        chosen(filmed(tmp_path, [0, 1]), 10)


def test_of_a_long_recording_some_frames_are_kept(tmp_path, monkeypatch):
    """Memory does not grow with the video; motion energy is still from one frame to the next."""
    monkeypatch.setattr(frame_selection, "_MOST_THUMBNAILS", 20)
    session = filmed(tmp_path, list(range(20)) * 3)
    anchors = chosen(session, 5)
    assert len(anchors) == 5
    assert (anchors[:, 0] % 3 == 0).all()


def test_animals_are_chosen_one_by_one_where_they_are(session):
    gone = session.keypoints.copy()
    gone[:150, 1] = np.nan
    session.keypoints[:] = gone
    session.confidence[:150, 1] = 0
    anchors = drain(choose_anchors(session, Crops(session, "turned", 2.0, 48), 40))
    assert set(anchors[:, 1]) == {0, 1}
    assert anchors[anchors[:, 1] == 1, 0].min() >= 150


def test_triplets_are_the_frames_around_every_anchor(tmp_path):
    session = filmed(tmp_path, list(range(20)))
    crops = Crops(session, "frame", 1.0, 32)
    anchors = np.array([[4, 0], [5, 0], [11, 0]])
    out = np.zeros((3, 3, 32, 32), np.uint8)
    drain(read_triplets(session, crops, anchors, True, out))
    with session.open_video() as video:
        for i, (t, _) in enumerate(anchors):
            for k in range(3):
                assert_array_equal(out[i, k], crops.cut(video.frame(t + k - 1, grey=True), t + k - 1, 0))
