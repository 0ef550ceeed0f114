"""How well predicted frames agree with scored ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score

from napari_lookagain.metrics.labels import Arrays, pooled, probabilities_of_scored
from napari_lookagain.metrics.rows import Row, class_rows, mean_of, ratio

if TYPE_CHECKING:
    import pandas as pd


def confusion(truth: Arrays, predicted: Arrays, n_classes: int) -> np.ndarray:
    """Count the scored frames of every class (rows) by what they were predicted to be (columns).

    Parameters
    ----------
    truth, predicted
        Integer classes of the same frames, −1 = unscored or none; a list of arrays for several recordings.

    Returns
    -------
    ndarray
        (K, K + 1) int64; the last column counts scored frames without a prediction.

    Raises
    ------
    InputError
        When the labels are no classes, or not of the same frames.
    """
    scored, told = pooled(truth, predicted, n_classes, n_classes)
    column = np.where(told < 0, n_classes, told)
    counts = np.bincount((n_classes + 1) * scored + column, minlength=n_classes * (n_classes + 1))
    return counts.reshape(n_classes, n_classes + 1)


def confusion_table(counts: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Make of a `confusion` a tidy table with the columns ``scored, predicted, frames``; none is an empty name."""
    import pandas as pd

    index = pd.MultiIndex.from_product([names, [*names, ""]], names=["scored", "predicted"])
    return pd.Series(counts.ravel(), index=index, name="frames").reset_index()


def frame_scores(scored: Arrays, predicted: Arrays, names: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of every class, and macro F1 over all classes, on pooled frames, in plain values.

    Parameters
    ----------
    scored, predicted
        Integer classes of the same shape; frames with −1 in `scored` are unscored and left out; −1 in `predicted` is
        no prediction, and a miss.
    names
        Of the classes. A class in neither has F1 0 and still counts in the macro mean (method of the paper).

    Returns
    -------
    dict
        ``macro_f1``, ``frames``, under ``classes`` ``precision``, ``recall``, ``f1`` and ``frames`` by name, and
        ``confusion``: for every class scored a row of how many frames were predicted to be each class.

    Raises
    ------
    InputError
        When the labels are no classes, or not of the same frames.
    """
    counts = confusion(scored, predicted, len(names))
    precision, recall, f1 = _rates(counts, nothing=0.0)
    frames = counts.sum(axis=1)
    columns = zip(names, precision, recall, f1, frames, strict=True)
    classes = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "frames": int(n)}
        for name, p, r, f, n in columns
    }
    told = {"macro_f1": float(f1.mean()) if len(names) else 0.0, "frames": int(frames.sum()), "classes": classes}
    return told | {"confusion": counts[:, :-1].tolist()}


def frame_rows(
    truth: Arrays, predicted: Arrays, names: Sequence[str], probabilities: Arrays | None = None
) -> list[Row]:
    """Agreement of frames, pooled over animals and recordings.

    With TP, FP and FN of a class counted over scored frames:

    - ``precision`` = TP / (TP + FP), ``recall`` = TP / (TP + FN), ``f1`` = 2 TP / (2 TP + FP + FN); 0 where the
      denominator is. ``true_frames`` and ``predicted_frames`` tell when that is so.
    - ``macro_f1``: mean of ``f1`` over all names. A class that is neither scored nor predicted counts as 0 (1.5 of the
      method: over all classes, present or not). ``macro_f1_present``: mean over classes scored or predicted at least
      once, which is what scikit-learn does by default.
    - ``accuracy``: share of scored frames with the right class.
    - ``kappa`` = (accuracy − c) / (1 − c) [1]_, c the agreement expected by chance, Σ_k p_scored(k) · p_predicted(k);
      frames without a prediction agree with none. NaN where c = 1.
    - ``average_precision`` (with probabilities) = Σ_n (recall_n − recall_{n−1}) precision_n over falling thresholds,
      without interpolation; no threshold is chosen. NaN for a class that is never scored, which
      ``macro_average_precision`` leaves out.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) classes, −1 = unscored or none; a list of arrays for several recordings.
    names
        Of the classes.
    probabilities
        (T, K) or (T, A, K); frames with NaN are left out of average precision.

    Returns
    -------
    list of Row
        When nothing is scored, counts are 0 and all other values NaN.

    Raises
    ------
    InputError
        When the labels are no classes, shapes do not fit, or a probability is outside [0, 1].

    References
    ----------
    .. [1] Cohen (1960), A coefficient of agreement for nominal scales.
    """
    counts = confusion(truth, predicted, len(names))
    total = counts.sum()
    precision, recall, f1 = _rates(counts, nothing=0.0 if total else np.nan)
    shown = (counts.sum(axis=1) > 0) | (counts[:, :-1].sum(axis=0) > 0)
    rows = [Row("frames", float(total)), Row("accuracy", _accuracy(counts)), Row("kappa", _kappa(counts))]
    rows += [Row("macro_f1", mean_of(f1)), Row("macro_f1_present", mean_of(f1[shown]))]
    rows += class_rows("true_frames", names, counts.sum(axis=1))
    rows += class_rows("predicted_frames", names, counts[:, :-1].sum(axis=0))
    for measure, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        rows += class_rows(measure, names, values)
    if probabilities is not None:
        average = average_precision(truth, probabilities, len(names))
        rows += [*class_rows("average_precision", names, average), Row("macro_average_precision", mean_of(average))]
    return rows


def average_precision(truth: Arrays, probabilities: Arrays, n_classes: int) -> np.ndarray:
    """Average precision of every class against all others, (K,); see `frame_rows`."""
    scored, values = probabilities_of_scored(truth, probabilities, n_classes)
    out = np.full(n_classes, np.nan)
    for k in np.unique(scored):
        out[k] = average_precision_score(scored == k, values[:, k])
    return out


def _rates(counts: np.ndarray, nothing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hit, scored, told = np.diag(counts), counts.sum(axis=1), counts[:, :-1].sum(axis=0)
    return ratio(hit, told, nothing), ratio(hit, scored, nothing), ratio(2 * hit, scored + told, nothing)


def _accuracy(counts: np.ndarray) -> float:
    return float(ratio(np.trace(counts), counts.sum(), np.nan))


def _kappa(counts: np.ndarray) -> float:
    total = float(counts.sum())
    chance = float(ratio(counts.sum(axis=1) @ counts[:, :-1].sum(axis=0).astype(float), total**2, np.nan))
    return float(ratio(_accuracy(counts) - chance, 1 - chance, np.nan))
