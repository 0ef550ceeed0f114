"""From clusters to behaviors: which behavior stands for a cluster, fitted on some recordings and applied to others."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from napari_lookagain.errors import InputError
from napari_lookagain.metrics.labels import Arrays, check_labels, paired


def contingency(clusters: Arrays, truth: Arrays, n_clusters: int, n_classes: int) -> np.ndarray:
    """Count the scored frames of every cluster (rows) by class (columns), (n_clusters, n_classes) int64.

    Frames with −1 in either are left out.

    Raises
    ------
    InputError
        When the labels name others than these clusters and classes, or are not of the same frames.
    """
    total = np.zeros(n_clusters * n_classes, np.int64)
    for scored, found in paired(truth, clusters, n_classes, n_clusters):
        both = (scored >= 0) & (found >= 0)
        codes = n_classes * found[both].astype(np.intp) + scored[both]
        total += np.bincount(codes, minlength=len(total))
    return total.reshape(n_clusters, n_classes)


def majority_map(clusters: Arrays, scored: Arrays, n_clusters: int) -> np.ndarray:
    """The class most often scored in every cluster, (n_clusters,); −1 for a cluster without a scored frame.

    Frames with −1 in either are left out; of two classes as frequent, the first. Several clusters may be one class, so
    that more clusters never fit worse: fit it on training recordings and apply it (`apply_map`) to held-out ones.

    Raises
    ------
    InputError
        When the labels are no clusters or classes, or are not of the same frames.
    """
    arrays = [scored] if isinstance(scored, np.ndarray) else scored
    n_classes = max((int(np.max(each, initial=-1)) for each in arrays), default=-1) + 1
    counts = contingency(clusters, scored, n_clusters, max(n_classes, 1))
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def one_to_one_map(clusters: Arrays, scored: Arrays, n_clusters: int, n_classes: int) -> np.ndarray:
    """One class for a cluster and one cluster for a class, so that most frames agree, (n_clusters,).

    The assignment with the largest sum of agreeing frames (Hungarian algorithm, [1]_). Clusters beyond the number of
    classes, and those that share no frame with what is left for them, get −1: their frames are misses. It punishes
    splitting a behavior over clusters, which `majority_map` does not.

    Raises
    ------
    InputError
        When the labels are no clusters or classes, or are not of the same frames.

    References
    ----------
    .. [1] Kuhn (1955), The Hungarian method for the assignment problem.
    """
    counts = contingency(clusters, scored, n_clusters, n_classes)
    cluster, behavior = linear_sum_assignment(counts, maximize=True)
    out = np.full(n_clusters, -1, np.int64)
    out[cluster] = np.where(counts[cluster, behavior] > 0, behavior, -1)
    return out


def apply_map(mapping: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Classes of the frames of these clusters, of the shape of `clusters`; −1 where there is no cluster or no class.

    Raises
    ------
    InputError
        When there is a cluster that the mapping does not know.
    """
    check_labels(clusters, len(mapping), "cluster")
    return np.append(mapping, -1)[clusters]


def check_map(mapping: np.ndarray, n_classes: int) -> None:
    """Refuse, with an `InputError`, a mapping to classes that there are not."""
    if mapping.ndim != 1 or (mapping.size and not -1 <= mapping.min() <= mapping.max() < n_classes):
        raise InputError(f"A mapping of clusters gives each one of {n_classes} classes or −1, but this is {mapping}.")
