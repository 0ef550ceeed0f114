"""Whether the right bouts come in the right order, however long they are."""

from __future__ import annotations

import numpy as np

from napari_lookagain.metrics.bouts import bouts_in
from napari_lookagain.metrics.labels import Arrays, scored_frames
from napari_lookagain.metrics.rows import Row, ratio


def edit_rows(truth: Arrays, predicted: Arrays, n_classes: int | None = None) -> list[Row]:
    """``edit_score``: 1 − Σ edits / Σ max(scored bouts, predicted bouts), from 0 to 1 [1]_.

    In every scored span of every animal, the classes of its bouts are read as a word; edits are the letters to put in,
    take out or change to make one word the other (Levenshtein). Durations do not count. The paper gives it per
    video, from 0 to 100; ◇ edits and bouts are summed over all spans here, so that a span of many bouts counts for
    more than one of a single bout, and the range is that of the other measures. Frames without a prediction are in no
    word, but part the bouts around them. NaN when nothing is scored.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) classes, −1 = unscored or none; a list of arrays for several recordings.
    n_classes
        How many classes there are; None for any number.

    Raises
    ------
    InputError
        When the labels are no classes, or not of the same frames.

    References
    ----------
    .. [1] Lea et al. (2017), Temporal convolutional networks for action segmentation and detection.
    """
    frames = scored_frames(truth, predicted, n_classes, n_classes)
    scored, told = bouts_in(frames.truth, frames.span), bouts_in(frames.predicted, frames.span)
    edits = longest = 0
    for span in range(int(frames.span[-1]) + 1 if len(frames.span) else 0):
        words = [
            each.code[slice(*np.searchsorted(each.span, (span, span + 1)))]  # spans rise
            for each in (scored, told)
        ]
        edits += levenshtein(*words)
        longest += max(map(len, words))
    return [Row("edit_score", 1 - float(ratio(edits, longest, np.nan)))]


def levenshtein(first: np.ndarray, second: np.ndarray) -> int:
    """Fewest items to put in, take out or change to make one sequence the other."""
    steps = np.arange(len(second) + 1)
    row = steps
    for i, item in enumerate(first, start=1):
        new = np.append(i, np.minimum(row[:-1] + (second != item), row[1:] + 1))
        row = np.minimum.accumulate(new - steps) + steps  # putting in: one more for each step to the right
    return int(row[-1])
