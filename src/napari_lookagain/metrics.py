"""How well predicted frames agree with scored ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support


def frame_scores(scored: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of every class, and macro F1 over all classes, on pooled frames.

    Parameters
    ----------
    scored, predicted
        Integer classes of the same shape; frames with −1 in `scored` are unscored and left out.
    names
        Of the classes. A class in neither has F1 0 and still counts in the macro mean (method of the paper).

    Returns
    -------
    dict
        ``macro_f1``, ``frames``, under ``classes`` ``precision``, ``recall``, ``f1`` and ``frames`` by name, and
        ``confusion``: for every class scored a row of how many frames were predicted to be each class.
    """
    where = scored >= 0
    values = precision_recall_fscore_support(
        scored[where], predicted[where], labels=range(len(names)), average=None, zero_division=0.0
    )
    keys = ("precision", "recall", "f1", "frames")
    classes = {
        name: {
            key: float(column[i]) if key != "frames" else int(column[i])
            for key, column in zip(keys, values, strict=True)
        }
        for i, name in enumerate(names)
    }
    told = {"macro_f1": float(np.mean(values[2])), "frames": int(where.sum()), "classes": classes}
    return told | {"confusion": _confusion(scored[where], predicted[where], len(names))}


def _confusion(scored: np.ndarray, predicted: np.ndarray, n_classes: int) -> list[list[int]]:
    told = predicted >= 0
    pairs = n_classes * scored[told].astype(np.intp) + predicted[told]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes).tolist()


def majority_map(clusters: np.ndarray, scored: np.ndarray, n_clusters: int) -> np.ndarray:
    """The class most often scored in every cluster, (n_clusters,); −1 for a cluster without a scored frame.

    Frames with −1 in either are left out. Fit it on training recordings and apply it to held-out ones.
    """
    out = np.full(n_clusters, -1, np.int64)
    where = (scored >= 0) & (clusters >= 0)
    for cluster in np.unique(clusters[where]):
        out[cluster] = np.bincount(scored[where & (clusters == cluster)]).argmax()
    return out
