"""How surely frames are told apart, where nobody scored any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.metrics.labels import ROUNDING, Arrays, recordings
from napari_lookagain.metrics.rows import Row, class_rows, ratio


def sharpness_rows(probabilities: Arrays, names: Sequence[str]) -> list[Row]:
    """``sharpness`` = 1 − mean H(p) / log K: 1 when every frame is told for certain, 0 when all classes are as likely.

    H is the entropy of the K probabilities of a frame [1]_; the mean is over all frames of all animals and recordings
    that have probabilities. By class: over the frames of which it is the most probable one (the first of several
    alike). The paper does not state a measure that needs no scored frame.

    ◇ Sharp is not right: a model that tells one class for certain at every frame has sharpness 1. Read ``perplexity``
    beside it, and compare one model at several budgets rather than different models: probabilities of another kind
    (nearest center, posterior of a hidden Markov model) are sharp by construction.

    Parameters
    ----------
    probabilities
        (T, K) or (T, A, K) in [0, 1]; a list of arrays for several recordings. They are divided by their sum, which
        half precision moves. Frames with NaN among them, or without any above 0, are left out.
    names
        Of the K classes, or clusters.

    Returns
    -------
    list of Row
        NaN where there is no frame; all NaN for a single class, from which there is nothing to be told.

    Raises
    ------
    InputError
        When there are not K probabilities of a frame, or one is outside [0, 1].

    References
    ----------
    .. [1] Shannon (1948), A mathematical theory of communication.
    """
    n_classes = len(names)
    told = [np.zeros((0, n_classes))]
    for each in recordings(probabilities):
        if each.ndim < 2 or each.shape[-1] != n_classes:
            raise InputError(
                f"The probabilities are {each.shape}, but (…, {n_classes}) is expected: one of every class for every "
                "frame."
            )
        flat = each.reshape(-1, n_classes).astype(float)
        told.append(flat[np.isfinite(flat).all(axis=1)])
    values = np.concatenate(told)
    if values.size and not -ROUNDING <= values.min() <= values.max() <= 1 + ROUNDING:
        raise InputError(
            f"Probabilities reach from {values.min():g} to {values.max():g}, but 0 to 1 is expected; give "
            "probabilities, not logits."
        )
    values = values.clip(0, 1)
    values = values[values.any(axis=1)]
    if n_classes < 2 or not len(values):
        return [Row("sharpness", np.nan), *class_rows("sharpness", names, np.full(n_classes, np.nan))]
    share = values / values.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)  # p log p is 0 at p = 0
    sharp = 1 - entropy / np.log(n_classes)
    best = share.argmax(axis=1)
    frames = np.bincount(best, minlength=n_classes)
    of_class = ratio(np.bincount(best, sharp, n_classes), frames, np.nan)
    return [Row("sharpness", float(sharp.mean())), *class_rows("sharpness", names, of_class)]
