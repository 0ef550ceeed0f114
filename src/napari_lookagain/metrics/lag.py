"""Whether labels are late: another clock, another frame rate or a slow hand moves them against what is predicted."""

from __future__ import annotations

import numpy as np

from napari_lookagain.metrics.labels import paired
from napari_lookagain.metrics.rows import Row

REACH = 25  # frames


def lag_rows(truth: np.ndarray, predicted: np.ndarray, reach: int = REACH) -> list[Row]:
    """By how many frames the labels of one recording come after what was predicted.

    - ``label_lag``: the labels agree best when they are moved so many frames earlier; negative: later. Of two that
      agree as well, the one nearer to 0.
    - ``label_lag_gain``: by how much accuracy rises when they are.
    - ``label_drift``: the lag of the second half of the recording less that of the first, as when labels and keypoints
      were not counted at the same frame rate.

    A model learns the mean lag of its training recordings, so this is the lag beside theirs. NaN where fewer than two
    classes are scored.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) classes, −1 = unscored or none, of one recording.
    reach
        The largest lag that is looked for, in frames.

    Raises
    ------
    InputError
        When the labels are no classes, or not of the same frames.
    """
    [(truth, predicted)] = paired(truth, predicted, None, None)
    reach = min(reach, max(len(truth) - 1, 0))
    lag, gain = _best(truth, predicted, reach)
    half = len(truth) // 2
    drift = _best(truth[half:], predicted[half:], reach)[0] - _best(truth[:half], predicted[:half], reach)[0]
    return [Row("label_lag", lag), Row("label_lag_gain", gain), Row("label_drift", drift)]


def _best(truth: np.ndarray, predicted: np.ndarray, reach: int) -> tuple[float, float]:
    """The lag of the highest accuracy, and how much higher than without one it is."""
    if len(np.unique(truth[truth >= 0])) < 2:
        return float("nan"), float("nan")
    lags = sorted(range(-reach, reach + 1), key=abs)
    accuracy = [_accuracy(truth, predicted, lag) for lag in lags]
    best = int(np.nanargmax(accuracy))
    return float(lags[best]), accuracy[best] - accuracy[0]


def _accuracy(truth: np.ndarray, predicted: np.ndarray, lag: int) -> float:
    """Share of frames whose label `lag` frames later is what was predicted; NaN when none of these is scored."""
    later = truth[max(lag, 0) : len(truth) + min(lag, 0)]
    told = predicted[max(-lag, 0) : len(truth) - max(lag, 0)]
    scored = later >= 0
    return float((later == told)[scored].mean()) if scored.any() else float("nan")
