"""How well predicted bouts agree with scored ones, and how many and how long they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_lookagain.metrics.labels import Arrays, Scored, scored_frames
from napari_lookagain.metrics.rows import Row, class_rows, mean_of, ratio

OVERLAPS = (0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Bouts:
    """Bouts of scored frames that lie end to end (`Scored`), in their order.

    Parameters
    ----------
    start, stop
        (n,) places among the scored frames, half-open; within a span, differences are frames.
    code
        (n,) class.
    span
        (n,) the scored span that holds it.
    """

    start: np.ndarray
    stop: np.ndarray
    code: np.ndarray
    span: np.ndarray

    def of(self, code: int) -> Bouts:
        """Those of one class."""
        own = self.code == code
        return Bouts(self.start[own], self.stop[own], self.code[own], self.span[own])


def bouts_in(labels: np.ndarray, span: np.ndarray) -> Bouts:
    """Cut (N,) labels into bouts where the label or the span changes; frames of −1 are in none."""
    change = np.ones(len(labels), bool)
    change[1:] = (labels[1:] != labels[:-1]) | (span[1:] != span[:-1])
    start = np.flatnonzero(change)
    stop = np.append(start[1:], len(labels))[: len(start)]
    told = labels[start] >= 0
    start, stop = start[told], stop[told]
    return Bouts(start, stop, labels[start], span[start])


def bout_rows(
    truth: Arrays, predicted: Arrays, names: Sequence[str], overlaps: Sequence[float] = OVERLAPS
) -> list[Row]:
    """Agreement of bouts, and their counts and durations.

    Frames that nobody scored cut a recording into spans, and no bout, scored or predicted, reaches across them. Bouts
    of all spans, animals and recordings are pooled.

    ``bout_f1@x`` is the segmental F1 of [1]_: a predicted bout takes the scored bout of its class with which it
    overlaps most (intersection over union, IoU; the earlier one of two alike). It is a hit when that IoU is at least x
    and no other predicted bout has taken the same one, so that a bout found in pieces has one hit at most. F1 =
    2 hits / (scored + predicted bouts), 0 where there are none. Of ``(all)``, hits and bouts are summed over classes,
    as in [1]_; ``macro_bout_f1@x`` is the mean over all names, a class without any bout counting as 0.

    Besides, by class: ``bouts``, ``predicted_bouts``, and ``bout_frames_mean``, ``bout_frames_median`` and the same of
    ``predicted_``, in frames; NaN where there is none. ``bout_ratio`` (of all) is the number of predicted bouts for one
    scored: above 1 when behavior is cut to pieces.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) classes, −1 = unscored or none; a list of arrays for several recordings.
    names
        Of the classes.
    overlaps
        Thresholds on IoU, above 0 and up to 1.

    Raises
    ------
    InputError
        When the labels are no classes, or not of the same frames.

    References
    ----------
    .. [1] Lea et al. (2017), Temporal convolutional networks for action segmentation and detection.
    """
    frames = scored_frames(truth, predicted, len(names), len(names))
    scored, told = bouts_in(frames.truth, frames.span), bouts_in(frames.predicted, frames.span)
    n_scored, n_told = (np.bincount(each.code, minlength=len(names)) for each in (scored, told))
    nothing = 0.0 if len(frames.truth) else np.nan
    best = [_best_overlaps(scored.of(code), told.of(code)) for code in range(len(names))]
    rows = []
    for overlap in overlaps:
        hits = np.array([len(np.unique(taken[iou >= overlap])) for taken, iou in best], int)
        f1 = ratio(2 * hits, n_scored + n_told, nothing)
        rows += class_rows(f"bout_f1@{overlap:g}", names, f1)
        rows.append(Row(f"bout_f1@{overlap:g}", float(ratio(2 * hits.sum(), (n_scored + n_told).sum(), nothing))))
        rows.append(Row(f"macro_bout_f1@{overlap:g}", mean_of(f1)))
    rows += _length_rows("", scored, names) + _length_rows("predicted_", told, names)
    return [*rows, Row("bout_ratio", bout_ratio(frames))]


def bout_ratio(frames: Scored) -> float:
    """Bouts predicted for one scored; NaN when nothing is scored."""
    scored, told = bouts_in(frames.truth, frames.span), bouts_in(frames.predicted, frames.span)
    return float(ratio(len(told.code), len(scored.code), np.nan))


def _best_overlaps(scored: Bouts, told: Bouts) -> tuple[np.ndarray, np.ndarray]:
    """Which scored bout every predicted one takes, and their IoU, of those that overlap with any; bouts of one class.

    Bouts of one class neither overlap nor touch within a span, and spans share no frame: those that overlap with one
    follow each other.
    """
    first = np.searchsorted(scored.stop, told.start, "right")
    count = np.searchsorted(scored.start, told.stop, "left") - first
    mine = np.repeat(np.arange(len(count)), count)
    theirs = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count) + first[mine]
    both = np.minimum(scored.stop[theirs], told.stop[mine]) - np.maximum(scored.start[theirs], told.start[mine])
    either = (scored.stop - scored.start)[theirs] + (told.stop - told.start)[mine] - both
    iou = both / either
    order = np.lexsort((theirs, -iou, mine))  # of each predicted bout the largest comes first
    head = order[np.flatnonzero(np.diff(mine[order], prepend=-1))]
    return theirs[head], iou[head]


def _length_rows(whose: str, bouts: Bouts, names: Sequence[str]) -> list[Row]:
    lengths = [(each := bouts.of(code)).stop - each.start for code in range(len(names))]
    rows = [*class_rows(f"{whose}bouts", names, np.array([len(each) for each in lengths]))]
    rows.append(Row(f"{whose}bouts", float(len(bouts.code))))
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        values = [float(statistic(each)) if len(each) else np.nan for each in lengths]
        rows += class_rows(f"{whose}bout_frames_{name}", names, np.array(values))
    return rows
