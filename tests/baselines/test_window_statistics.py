"""Statistics over windows: as numpy says them window by window, with gaps, and the frames that are scored."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.baselines import window_statistics as module
from napari_lookagain.baselines.window_statistics import STATISTICS, in_windows, scored_rows, window_statistics
from napari_lookagain.progress import drain

NUMPY = {"mean": np.nanmean, "std": np.nanstd, "min": np.nanmin, "max": np.nanmax}


@pytest.fixture(scope="module")
def features():
    """(50, 2, 3): columns of different size, with gaps; the last column of the second animal is never there."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(50, 2, 3)) * [1, 100, 0.01] + [0, 5000, 3]).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[10:20, 0, 0] = np.nan
    values[:, 1, 2] = np.nan
    return values


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, for windows that hold nothing
def test_every_window_as_numpy_says(features):
    told = window_statistics(features, [5, 8]).reshape(50, 2, 2, 4, 3)
    assert told.dtype == np.float32
    for i, half in enumerate((2, 4)):
        for t in range(50):
            window = features[max(0, t - half) : t + half + 1].astype(float)
            for j, statistic in enumerate(STATISTICS):
                expected = NUMPY[statistic](window, axis=0)
                np.testing.assert_allclose(told[t, :, i, j], expected, rtol=1e-4, atol=1e-5, err_msg=f"{statistic} {t}")
    assert np.isnan(told[14, 0, 0, :, 0]).all(), "a window of nothing"
    assert np.isnan(told[:, 1, :, :, 2]).all()


def test_statistics_may_be_chosen(features):
    every = window_statistics(features, [5]).reshape(50, 2, 4, 3)
    some = window_statistics(features, [5], ["max", "mean"]).reshape(50, 2, 2, 3)
    np.testing.assert_array_equal(some, every[:, :, [3, 0]])
    assert window_statistics(features, []).shape == (50, 2, 0)


def test_a_span_is_told_as_in_the_whole_recording(features):
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return features[start:stop]

    whole = np.concatenate([features, window_statistics(features, [5, 9])], -1)
    for start, stop in ((0, 7), (7, 30), (44, 50)):
        told = in_windows(read, start, stop, 50, [5, 9])
        np.testing.assert_allclose(told, whole[start:stop], rtol=1e-4, atol=1e-5)
    assert asked == [(0, 11), (3, 34), (40, 50)]


def test_scored_frames_of_all_animals(features, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 16)
    labels = np.full((50, 2), -1, np.int16)
    labels[3:7, 0], labels[5, 1], labels[40:, 1] = 0, 1, 2
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return features[start:stop]

    x, y = drain(scored_rows([read, read], [labels, labels], [[], [3]][:1] * 2, STATISTICS, 1000))
    assert asked == [(0, 16), (32, 48), (48, 50)] * 2, "frames were read of which nothing is scored"
    expected = np.concatenate([features[labels >= 0]] * 2)
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, np.concatenate([labels[labels >= 0]] * 2))
    assert y.dtype == np.int64


@pytest.mark.parametrize("most", [1, 7, 29, 30, 99])
def test_rows_are_thinned_evenly(features, most, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 8)
    place = np.arange(30.0).reshape(15, 2, 1)
    x, _ = drain(scored_rows([lambda a, b: place[a:b]], [np.zeros((15, 2), np.int16)], [[]], STATISTICS, most))
    assert len(x) == min(most, 30)
    gaps = np.diff(np.concatenate([x[:, 0], [x[0, 0] + 30]]))
    assert gaps.max() - gaps.min() <= 1
