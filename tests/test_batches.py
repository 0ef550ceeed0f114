"""Batches read what stands in the recordings, padded; training reads windows spread over time and rich in motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lookagain.annotations import Annotations
from napari_lookagain.batches import Batches, Recording, hold_out, split, training_windows
from napari_lookagain.features import MotionFeatures
from napari_lookagain.session import PoseSource, Session
from napari_lookagain.vision.cache import FeatureMemory
from napari_lookagain.windows import Window, sliding_windows


def record(n_frames=50, n_animals=2, *, moves=(), behavior=None, seen=None, n_neighbors=1):
    """A recording of animals that tremble in the frames `moves` and stand still in the others."""
    rng = np.random.default_rng(n_frames)
    keypoints = np.tile([[10.0, 10], [30, 10]], (n_frames, n_animals, 1, 1))
    for start, stop in moves:
        keypoints[start:stop] += rng.normal(size=(stop - start, 1, 1, 2)) * 20
    animals = tuple("abc"[:n_animals])
    session = Session(
        recording="walk",
        keypoints=keypoints,
        confidence=np.ones(keypoints.shape[:3]),
        animals=animals,
        keypoint_names=("rear", "front"),
        fps=10.0,
        heading=("rear", "front"),
        pose=PoseSource("/data/walk.csv", "xyz", "00"),
        video=None,
        annotations=Annotations(n_frames, animals),
    )
    return Recording(MotionFeatures(session, n_neighbors=n_neighbors), n_frames, n_animals, seen, behavior)


def visual(n_frames, n_animals, frames):
    """Features that say whose they are, (frame, animal), of some frames."""
    rows = np.array([(t, animal) for t in frames for animal in range(n_animals)])
    memory = FeatureMemory((n_frames, n_animals, 2), rows)
    memory.write(rows, rows.astype(np.float32))
    return memory


def test_a_batch_is_what_stands_in_the_recordings():
    behavior = np.arange(100).reshape(50, 2) % 3 - 1
    pair = record(moves=[(0, 50)], behavior=behavior, seen=visual(50, 2, range(10, 50)))
    alone = record(30, 1, moves=[(0, 30)])
    batch = Batches([pair, alone], 16, 2)([Window(0, 40, 50), Window(1, 4, 20), Window(0, 10, 26)])
    assert batch.motion.shape == (3, 2, 16, pair.features.width)
    assert [value.dtype for value in (batch.motion, batch.valid, batch.visual_features, batch.behavior)] == [
        torch.float32,
        torch.bool,
        torch.float32,
        torch.int64,
    ]
    assert batch.valid[0].tolist() == [[True] * 10 + [False] * 6] * 2
    assert batch.valid[1].tolist() == [[True] * 16, [False] * 16]
    np.testing.assert_array_equal(batch.motion[0, :, :10], pair.features(40, 50))
    np.testing.assert_array_equal(batch.motion[1, :1], alone.features(4, 20))
    np.testing.assert_array_equal(batch.behavior[2], behavior[10:26].T)
    assert batch.behavior[1].unique().tolist() == [-1]
    assert batch.visual_features[2, 1, 3].tolist() == [13, 1]
    assert batch.visual_features[0, 0, 9].tolist() == [49, 0]


def test_padding_is_zero_and_unscored():
    behavior = np.ones((50, 2), int)
    recording = record(moves=[(0, 50)], behavior=behavior, seen=visual(50, 2, range(50)))
    batch = Batches([recording, record(20, 3)], 16, 2)([Window(0, 45, 50)])
    padding = ~batch.valid
    assert padding.sum() == 3 * 16 - 2 * 5
    for part in (batch.motion, batch.visual_features):
        assert not part[padding].any()
        assert part[batch.valid].any()
    assert (batch.behavior[padding] == -1).all()
    assert (batch.behavior[batch.valid] == 1).all()


def test_a_batch_moves_as_a_whole():
    batch = Batches([record()], 16, 0)([Window(0, 0, 16)]).to(torch.device("meta"))
    assert {part.device.type for part in (batch.motion, batch.valid, batch.visual_features, batch.behavior)} == {"meta"}


def test_few_windows_are_all_read():
    recordings = [record(50), record(30)]
    assert training_windows(recordings, 16, 8, 100) == [
        *sliding_windows(50, 16, 8, 0),
        *sliding_windows(30, 16, 8, 1),
    ]


def test_only_windows_with_a_scored_frame_are_read_when_asked():
    behavior = np.full((50, 2), -1)
    behavior[17, 1] = 0
    windows = training_windows([record(behavior=behavior), record(30)], 16, 8, 100, scored=True)
    assert windows == [Window(0, 8, 24), Window(0, 16, 32)]


def test_many_windows_are_thinned_by_time_and_motion_where_motion_is_to_be_learnt():
    recording = record(400, moves=[(30, 40), (130, 140), (200, 210)])
    windows = training_windows([recording], 10, 10, 10, lively=True)
    assert len(windows) == 10
    assert [window.start // 40 for window in windows] == list(range(10)), "one of every stretch"
    starts = [window.start for window in windows]
    assert 30 in starts
    assert 130 in starts
    assert 200 in starts


def test_a_window_of_one_frame_has_no_motion():
    windows = training_windows([record(41, moves=[(30, 40)])], 10, 10, 2, lively=True)
    assert len(windows) == 2
    assert windows[1] == Window(0, 30, 40)


@pytest.mark.parametrize("scored", [True, False])
def test_many_windows_are_thinned_by_time_alone_otherwise(scored):
    behavior = np.zeros((400, 2), int)
    recording = record(400, moves=[(30, 40), (130, 140), (200, 210)], behavior=behavior)
    windows = training_windows([recording], 10, 10, 10, scored=scored)
    starts = [window.start for window in windows]
    assert (len(windows), starts[0], starts[-1]) == (10, 0, 390)
    assert {40, 50} >= set(np.diff(starts)), "motion has no say"


def test_nothing_is_held_out_of_little():
    recordings = [record(20)]
    windows = sliding_windows(20, 10)
    assert hold_out(recordings, windows, 0.15, 0) == []
    assert hold_out(recordings, windows, 0.0, 0) == []
    assert hold_out(recordings, windows, 0.99, 0) == [], "something must be left to train on"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 16), st.integers(0, 5))
def test_held_out_windows_share_no_frame_with_training(stride, seed):
    recordings = [record(300), record(200)]
    windows = [window for i, r in enumerate(recordings) for window in sliding_windows(r.n_frames, 16, stride, i)]
    spans = hold_out(recordings, windows, 0.2, seed)
    training, held_out = split(windows, spans)
    assert [span.recording for span in spans] == [0, 1]
    assert not set(training) & set(held_out)
    assert set(training) | set(held_out) <= set(windows)
    for i in range(2):
        own = [window for window in windows if window.recording == i]
        block = [window for window in held_out if window.recording == i]
        first = own.index(block[0])
        assert len(block) == round(0.2 * len(own))
        assert block == own[first : first + len(block)], "one contiguous block"
        frames = {t for window in block for t in range(window.start, window.stop)}
        assert frames == set(range(spans[i].start, spans[i].stop))
        learnt = {t for window in training if window.recording == i for t in range(window.start, window.stop)}
        assert not frames & learnt
    if stride == 16:
        assert len(training) + len(held_out) == len(windows)


def test_any_windows_are_split_by_the_same_spans():
    windows = [Window(0, 0, 10), Window(0, 5, 15), Window(0, 10, 20), Window(0, 25, 30), Window(1, 10, 20)]
    training, held_out = split(windows, [Window(0, 10, 30)])
    assert training == [windows[0], windows[4]]
    assert held_out == [windows[2], windows[3]]


def test_the_same_seed_holds_out_the_same():
    recordings, windows = [record(640)], sliding_windows(640, 16)
    spans = {tuple(hold_out(recordings, windows, 0.1, seed)) for seed in range(6)}
    assert len(spans) > 1
    assert hold_out(recordings, windows, 0.1, 3) == hold_out(recordings, windows, 0.1, 3)


def test_a_rare_behavior_is_left_to_train_on():
    behavior = np.zeros((640, 2), int)
    behavior[290:310, 0] = 1
    windows = sliding_windows(640, 16)
    for seed in range(20):
        for span in hold_out([record(640, behavior=behavior)], windows, 0.4, seed):
            training, held_out = split(windows, [span])
            assert held_out
            assert any((behavior[window.start : window.stop] == 1).any() for window in training)
    behavior = np.repeat([[0, 0], [1, 1]], 16, axis=0)
    assert hold_out([record(32, behavior=behavior)], sliding_windows(32, 16), 0.5, 0) == [], "neither can be spared"


def test_held_out_windows_show_what_the_recording_shows():
    behavior = np.zeros((640, 2), int)
    behavior[320:480] = 1  # a quarter of the frames
    behavior[::2] = -1
    windows = sliding_windows(640, 16)
    shares = []
    for seed in range(10):
        [span] = hold_out([record(640, behavior=behavior)], windows, 0.5, seed)
        scored = behavior[span.start : span.stop]
        shares.append((scored[scored >= 0] == 1).mean())
    blind = [hold_out([record(640)], windows, 0.5, seed)[0] for seed in range(10)]
    drawn = [(behavior[span.start + 1 : span.stop : 2] == 1).mean() for span in blind]
    off, left_to_chance = (np.abs(np.array(share) - 0.25).mean() for share in (shares, drawn))
    assert off < 0.1 < left_to_chance


@pytest.mark.parametrize("n_animals", [1, 3])
def test_a_recording_without_looks_gives_zeros(n_animals):
    batch = Batches([record(20, n_animals, n_neighbors=2)], 8, 5)([Window(0, 0, 8)])
    assert batch.visual_features.shape == (1, n_animals, 8, 5)
    assert not batch.visual_features.any()
