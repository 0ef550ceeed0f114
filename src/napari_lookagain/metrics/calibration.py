"""Whether what a model is 80 % sure of is true 80 % of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.metrics.labels import Arrays, probabilities_of_scored
from napari_lookagain.metrics.rows import Row, class_rows

BINS = 10
TOP = "(top)"  # the most probable class, whichever it is
Equal = Literal["width", "count"]


@dataclass(frozen=True)
class Reliability:
    """A reliability curve: bins of probability that hold frames, from low to high.

    Parameters
    ----------
    low, high
        (n,) edges of the bins; a probability at an edge is in the lower one.
    predicted
        (n,) mean probability in the bin.
    observed
        (n,) share of its frames for which it was so.
    frames
        (n,) how many frames it holds.
    """

    low: np.ndarray
    high: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    frames: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error, Σ_b frames_b / N · |observed_b − predicted_b|; NaN without a frame."""
        if not len(self.frames):
            return float("nan")
        return float(np.average(abs(self.observed - self.predicted), weights=self.frames))


def reliability(event: np.ndarray, probability: np.ndarray, bins: int = BINS, equal: Equal = "width") -> Reliability:
    """Compare how probable something was said to be with how often it was so.

    Parameters
    ----------
    event
        (N,) bool: whether it was so.
    probability
        (N,) in [0, 1], of the event.
    bins
        How many.
    equal
        ``"width"``: bins of [0, 1] [1]_. ``"count"``: between quantiles, so that each holds as many frames; equal
        probabilities are never parted, so that there may be fewer.

    Raises
    ------
    InputError
        When the shapes differ, a probability is outside [0, 1], there is no bin, or `equal` is neither.

    References
    ----------
    .. [1] Guo et al. (2017), On calibration of modern neural networks.
    """
    if bins < 1 or equal not in ("width", "count"):
        raise InputError(f"Got {bins} bins of equal {equal!r}; a reliability curve has 1 or more, of width or count.")
    if event.shape != probability.shape or event.ndim != 1:
        raise InputError(f"Got {event.shape} events and {probability.shape} probabilities; give one for each frame.")
    if not len(event):
        nothing = np.zeros(0)
        return Reliability(nothing, nothing, nothing, nothing, np.zeros(0, np.int64))
    if not 0 <= probability.min() <= probability.max() <= 1:
        raise InputError(f"Probabilities reach from {probability.min():g} to {probability.max():g}, but not 0 to 1.")
    steps = np.linspace(0, 1, bins + 1)
    edges = steps if equal == "width" else np.quantile(probability, steps)
    place = np.searchsorted(edges[1:-1], probability)
    frames = np.bincount(place, minlength=bins)
    used = frames > 0
    predicted, observed = (np.bincount(place, each, bins)[used] / frames[used] for each in (probability, event))
    return Reliability(edges[:-1][used], edges[1:][used], predicted, observed, frames[used])


def reliability_curves(
    truth: Arrays, probabilities: Arrays, names: Sequence[str], bins: int = BINS, equal: Equal = "width"
) -> dict[str, Reliability]:
    """Curves of every class against all others, by name, and of the most probable class, under ``"(top)"``.

    Parameters and errors as in `calibration_rows` and `reliability`.
    """
    scored, values = probabilities_of_scored(truth, probabilities, len(names))
    curves = {name: reliability(scored == k, values[:, k], bins, equal) for k, name in enumerate(names)}
    if len(names):
        curves[TOP] = reliability(values.argmax(axis=1) == scored, values.max(axis=1), bins, equal)
    return curves


def calibration_rows(truth: Arrays, probabilities: Arrays, names: Sequence[str], bins: int = BINS) -> list[Row]:
    """Calibration of probabilities on scored frames, pooled over animals and recordings.

    By class (against all others) and for the most probable class, ``(top)``:

    - ``calibration_error``: expected calibration error in bins of equal width [1]_, Σ_b frames_b / N ·
      |observed_b − predicted_b|; ``calibration_error_equal_count``: in bins of as many frames each [2]_. A rare class
      has nearly all frames in the first bin of equal width: read the other.
    - ``brier``: by class mean (p − y)²; of ``(top)``, the same of its probability and whether it was right; of
      ``(all)``, the mean of Σ_k (p_k − y_k)² [3]_, from 0 to 2. Small when probabilities are calibrated and sharp.

    ``calibration_frames`` counts the frames; those with NaN among their probabilities are left out. All else is NaN
    when there is none.

    Parameters
    ----------
    truth
        (T,) or (T, A) integers, −1 = unscored; a list of arrays for several recordings.
    probabilities
        (T, K) or (T, A, K) in [0, 1]; they need not sum to one.
    names
        Of the classes.
    bins
        How many.

    Raises
    ------
    InputError
        When shapes do not fit, or a probability is outside [0, 1].

    References
    ----------
    .. [1] Guo et al. (2017), On calibration of modern neural networks.
    .. [2] Nixon et al. (2019), Measuring calibration in deep learning.
    .. [3] Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    scored, values = probabilities_of_scored(truth, probabilities, len(names))
    rows = [Row("calibration_frames", float(len(scored)))]
    kinds: dict[str, Equal] = {"calibration_error": "width", "calibration_error_equal_count": "count"}
    for measure, equal in kinds.items():
        curves = reliability_curves(scored, values, names, bins, equal)
        rows += [Row(measure, curve.error, name) for name, curve in curves.items()]
    if not len(scored):
        return [*rows, *(Row("brier", float("nan"), name) for name in (*names, TOP)), Row("brier", float("nan"))]
    square = (values - np.eye(len(names))[scored]) ** 2
    hit = values.argmax(axis=1) == scored
    rows += class_rows("brier", names, square.mean(axis=0))
    rows.append(Row("brier", float(((values.max(axis=1) - hit) ** 2).mean()), TOP))
    return [*rows, Row("brier", float(square.sum(axis=1).mean()))]
