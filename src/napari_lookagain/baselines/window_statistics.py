"""Statistics of features over windows of time, and reading the frames that are scored with them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Literal, get_args

import numpy as np
from scipy.ndimage import maximum_filter1d

from napari_lookagain.progress import Progress
from napari_lookagain.windows import sliding_windows

Statistic = Literal["mean", "std", "min", "max"]
Read = Callable[[int, int], np.ndarray]  # features (T, A, F) of frames [start, stop)

STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
CHUNK = 512  # frames in memory at a time


def window_statistics(
    features: np.ndarray, windows: Sequence[int], statistics: Sequence[Statistic] = STATISTICS
) -> np.ndarray:
    """Statistics of every column over centered windows of time, all frames at once, however long a window is.

    Parameters
    ----------
    features
        (T, A, F); NaN is left out of the statistics, which are NaN where a window holds nothing else.
    windows
        Lengths in frames; an even one counts one frame more. At both ends of the features they are cut.
    statistics
        Any of "mean", "std", "min" and "max".

    Returns
    -------
    ndarray
        (T, A, windows × statistics × F) float32, ordered by window, then statistic, then column.
    """
    known = ~np.isnan(features)
    middle = np.where(known, features, 0).sum((0, 1), dtype=float) / known.sum((0, 1)).clip(1)
    centered = np.where(known, features - middle, 0.0)  # near 0, or squares would drown what they differ by
    out = np.empty((*features.shape[:2], len(windows), len(statistics), features.shape[2]), np.float32)
    for i, window in enumerate(windows):
        half = window // 2
        count = _sums(known, half)
        mean = _sums(centered, half) / count.clip(1)
        for j, statistic in enumerate(statistics):
            if statistic == "mean":
                values = mean + middle
            elif statistic == "std":
                values = np.sqrt((_sums(centered**2, half) / count.clip(1) - mean**2).clip(0))
            else:
                sign = 1 if statistic == "max" else -1
                filled = np.where(known, sign * features, -np.inf)
                values = sign * maximum_filter1d(filled, 2 * half + 1, axis=0, mode="constant", cval=-np.inf)
            out[:, :, i, j] = np.where(count == 0, np.nan, values)
    return out.reshape(*features.shape[:2], -1)


def in_windows(
    read: Read,
    start: int,
    stop: int,
    n_frames: int,
    windows: Sequence[int],
    statistics: Sequence[Statistic] = STATISTICS,
) -> np.ndarray:
    """Features of frames [start, stop) and their statistics over windows, which reach beyond these frames.

    Parameters
    ----------
    read
        Gives the features of a span of frames.
    start, stop, n_frames
        The span, and the frames of the recording.
    windows, statistics
        As in `window_statistics`; without a window there are the features alone.

    Returns
    -------
    ndarray
        (stop − start, A, F · (1 + windows × statistics)) float32.
    """
    margin = max((window // 2 for window in windows), default=0)
    first, last = max(start - margin, 0), min(stop + margin, n_frames)
    features = read(first, last)
    told = np.concatenate([features, window_statistics(features, windows, statistics)], -1, dtype=np.float32)
    return told[start - first : stop - first]


def scored_rows(
    reads: Sequence[Read],
    labels: Sequence[np.ndarray],
    windows: Sequence[Sequence[int]],
    statistics: Sequence[Statistic],
    most: int,
) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray]]:
    """Features with their statistics, and the class, of all scored frames of all animals.

    Parameters
    ----------
    reads, labels
        Of every recording its features, and its classes (T, A), −1 = unscored.
    windows
        Of every recording, in frames.
    statistics
        As in `window_statistics`.
    most
        Rows; when there are more they are thinned evenly.

    Returns
    -------
    tuple
        (M, F · (1 + windows × statistics)) float32 and (M,) int64, recording by recording and frame by frame.
    """
    spans = scored_spans(labels)
    total = sum(int((label >= 0).sum()) for label in labels)
    every = max(1.0, total / most)
    x, y = [], []
    seen = 0
    for done, (index, start, stop) in enumerate(spans):
        label = labels[index][start:stop]
        features = in_windows(reads[index], start, stop, len(labels[index]), windows[index], statistics)
        scored = label >= 0
        place = np.arange(seen, seen + scored.sum())
        kept = np.floor(place / every) != np.floor((place - 1) / every)
        x.append(features[scored][kept])
        y.append(label[scored][kept].astype(np.int64))
        seen += len(place)
        yield Progress(done + 1, len(spans), "reading features")
    return np.concatenate(x), np.concatenate(y)


def scored_spans(labels: Sequence[np.ndarray]) -> list[tuple[int, int, int]]:
    """Recording, first frame and end of every span that is read at once, those without a scored frame left out."""
    return [
        (index, window.start, window.stop)
        for index, label in enumerate(labels)
        for window in sliding_windows(len(label), CHUNK)
        if (label[window.start : window.stop] >= 0).any()
    ]


def _sums(values: np.ndarray, half: int) -> np.ndarray:
    """Sums over the frames at most `half` away, along time."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=float)])
    frames = np.arange(len(values))
    return total[np.minimum(frames + half + 1, len(values))] - total[np.maximum(frames - half, 0)]
