"""Cutting a recording into windows and stitching them together again loses nothing, whatever the lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lookagain.windows import Stitcher, Window, shifted, sliding_windows, stitch

cuts = st.tuples(st.integers(1, 90), st.integers(1, 32)).flatmap(
    lambda cut: st.tuples(st.just(cut[0]), st.just(cut[1]), st.integers(1, cut[1]))
)


def padded(values, window, length):
    """One window of (..., T, F), with something behind the end of the recording that must not come back."""
    out = np.full((*values.shape[:-2], length, values.shape[-1]), 1e6, values.dtype)
    out[..., : len(window), :] = values[..., window.start : window.stop, :]
    return out


@settings(deadline=None)
@given(cuts)
def test_windows_cover_every_frame_and_none_is_superfluous(cut):
    n_frames, length, stride = cut
    windows = sliding_windows(n_frames, length, stride, recording=3)
    assert [window.start for window in windows] == [stride * i for i in range(len(windows))]
    assert all(len(window) == length for window in windows[:-1])
    assert windows[-1].stop == n_frames
    assert {t for window in windows for t in range(window.start, window.stop)} == set(range(n_frames))
    assert len(windows) == 1 or windows[-2].stop < n_frames
    assert {window.recording for window in windows} == {3}


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 32), st.sampled_from([np.float32, np.float64]))
def test_stitching_is_the_exact_inverse_of_cutting(n_frames, length, dtype):
    values = np.random.default_rng(n_frames).normal(size=(2, n_frames, 3)).astype(dtype)
    windows = sliding_windows(n_frames, length)
    joined = stitch([padded(values, window, length) for window in windows], windows, n_frames)
    assert joined.dtype == dtype
    np.testing.assert_array_equal(joined, values)


@settings(deadline=None)
@given(cuts, st.randoms(use_true_random=False))
def test_overlapping_windows_are_averaged(cut, random):
    n_frames, length, stride = cut
    windows = sliding_windows(n_frames, length, stride)
    random.shuffle(windows)
    pieces = [np.random.default_rng(i).normal(size=(length, 2)) for i in range(len(windows))]
    total, count = np.zeros((n_frames, 2)), np.zeros((n_frames, 1))
    for window, piece in zip(windows, pieces, strict=True):
        total[window.start : window.stop] += piece[: len(window)]
        count[window.start : window.stop] += 1
    np.testing.assert_allclose(stitch(pieces, windows, n_frames), total / count, atol=1e-12)


def test_overlaps_by_hand():
    windows = sliding_windows(5, 4, 2)
    assert windows == [Window(0, 0, 4), Window(0, 2, 5)]
    ones = np.ones((4, 1))
    assert stitch([ones, 3 * ones], windows, 5).ravel().tolist() == [1, 1, 2, 2, 3]


def test_a_recording_shorter_than_a_window_is_one_short_window():
    assert sliding_windows(3, 8) == sliding_windows(3, 8, 2) == [Window(0, 0, 3)]


def test_frames_in_no_window_stay_zero():
    out = np.zeros((4, 1), np.float32)
    Stitcher([Window(0, 1, 3)], out).add(Window(0, 1, 3), np.full((2, 1), 5, np.float32))
    assert out.ravel().tolist() == [0, 5, 5, 0]


@pytest.mark.parametrize("stride", [0, -1, 9])
def test_a_stride_that_leaves_gaps_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride is {stride}; windows of 8 frames"):
        sliding_windows(20, 8, stride)


def test_shifted_windows_stay_in_the_recording():
    rng = np.random.default_rng(0)
    assert {shifted(Window(0, 64, 96), 100, rng).start for _ in range(300)} == {*range(48, 69)}
    assert {shifted(Window(0, 96, 100), 100, rng).start for _ in range(100)} == {94, 95, 96}
