"""How far from where a behavior begins and ends it is predicted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_lookagain.metrics.bouts import bouts_in
from napari_lookagain.metrics.labels import Arrays, scored_frames
from napari_lookagain.metrics.rows import Row, ratio


def boundary_rows(truth: Arrays, predicted: Arrays, names: Sequence[str]) -> list[Row]:
    """Distance in frames from every scored onset and offset to the nearest predicted one of the same class.

    Onsets are compared with onsets and offsets with offsets, within a scored span of an animal. By class and for all:

    - ``boundary_error_mean``, ``boundary_error_median`` of onsets and offsets together, ``onset_error_median`` and
      ``offset_error_median``. A boundary whose span has no predicted one of its class has no distance, and enters none
      of them; NaN where no boundary has a distance.
    - ``boundaries_missed``: the share of scored boundaries of which that is so. Read the error beside it.
    - ``boundaries``: how many were scored.

    ◇ Where a scored bout is cut off by the edge of its span, nobody scored a boundary, and none is counted; a predicted
    bout that is cut off may still be the nearest. A prediction of many bouts has a small error everywhere: read
    ``bout_ratio``, too.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) classes, −1 = unscored or none; a list of arrays for several recordings.
    names
        Of the classes.

    Raises
    ------
    InputError
        When the labels are no classes, or not of the same frames.
    """
    frames = scored_frames(truth, predicted, len(names), len(names))
    first = np.flatnonzero(np.diff(frames.span, prepend=-1))  # of each span
    last = np.append(first[1:], len(frames.span))[: len(first)]
    scored, told = bouts_in(frames.truth, frames.span), bouts_in(frames.predicted, frames.span)
    far = 2 * len(frames.span) + 2  # farther than any two frames of one span
    onsets, offsets = [], []
    for code in range(len(names)):
        own, found = scored.of(code), told.of(code)
        seen = own.start > first[own.span]
        onsets.append(_nearest(own.start[seen] + far * own.span[seen], found.start + far * found.span, far))
        seen = own.stop < last[own.span]
        offsets.append(_nearest(own.stop[seen] + far * own.span[seen], found.stop + far * found.span, far))
    rows = []
    nothing = np.zeros(0)
    for code, name in enumerate(names):
        rows += _rows(onsets[code], offsets[code], name)
    return rows + _rows(np.concatenate([nothing, *onsets]), np.concatenate([nothing, *offsets]), None)


def _nearest(places: np.ndarray, found: np.ndarray, far: int) -> np.ndarray:
    """Distance of each place to the nearest one found, (n,) float; NaN where that is in another span."""
    if not len(found):
        return np.full(len(places), np.nan)
    after = np.searchsorted(found, places).clip(max=len(found) - 1)
    distance = np.minimum(abs(found[after] - places), abs(found[np.maximum(after - 1, 0)] - places))
    return np.where(distance <= far // 2, distance, np.nan)


def _rows(onsets: np.ndarray, offsets: np.ndarray, name: str | None) -> list[Row]:
    every = np.concatenate([onsets, offsets])
    missed = float(ratio(np.isnan(every).sum(), len(every), np.nan))
    values = {
        "boundaries": float(len(every)),
        "boundaries_missed": missed,
        "boundary_error_mean": _of_known(every, np.mean),
        "boundary_error_median": _of_known(every, np.median),
        "onset_error_median": _of_known(onsets, np.median),
        "offset_error_median": _of_known(offsets, np.median),
    }
    return [Row(measure, value) if name is None else Row(measure, value, name) for measure, value in values.items()]


def _of_known(distances: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> float:
    known = distances[np.isfinite(distances)]
    return float(statistic(known)) if len(known) else float("nan")
