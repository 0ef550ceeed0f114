"""How well clusters agree with behaviors, with each other, and with what they should not know: which animal it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from sklearn.metrics import adjusted_rand_score, homogeneity_completeness_v_measure, normalized_mutual_info_score

from napari_lookagain.errors import InputError
from napari_lookagain.metrics.bouts import bout_ratio
from napari_lookagain.metrics.labels import Arrays, check_labels, paired, recordings, scored_frames
from napari_lookagain.metrics.rows import Row, class_rows, mean_of, ratio


def partition_rows(truth: Arrays, clusters: Arrays) -> list[Row]:
    """Agreement of clusters with scored classes, for which no cluster needs a name.

    On scored frames that have a cluster, pooled: with H the entropy and I the mutual information of class and cluster,

    - ``homogeneity`` = I / H(class): 1 when every cluster is of one class; ``completeness`` = I / H(cluster): 1 when
      every class is in one cluster; ``v_measure``, their harmonic mean [1]_.
    - ``nmi`` = 2 I / (H(class) + H(cluster)), which is the same number as ``v_measure``, under its other name.
    - ``ari``: the share of pairs of frames on which both agree, 0 for chance [2]_; may be below 0.
    - ``over_segmentation``: bouts of clusters for one scored bout, within scored spans.

    NaN when nothing is scored.

    Parameters
    ----------
    truth, clusters
        (T,) or (T, A) integers, −1 = unscored or none; a list of arrays for several recordings.

    Raises
    ------
    InputError
        When the labels are not integers, or not of the same frames.

    References
    ----------
    .. [1] Rosenberg, Hirschberg (2007), V-measure.
    .. [2] Hubert, Arabie (1985), Comparing partitions.
    """
    scored, found = _both(truth, clusters)
    parts = homogeneity_completeness_v_measure(scored, found) if len(scored) else (np.nan,) * 3
    rows = [
        Row("ari", _agreement(adjusted_rand_score, scored, found)),
        Row("nmi", _agreement(normalized_mutual_info_score, scored, found)),
    ]
    names = ("homogeneity", "completeness", "v_measure")
    rows += [Row(name, float(part)) for name, part in zip(names, parts, strict=True)]
    return [*rows, Row("over_segmentation", bout_ratio(scored_frames(truth, clusters, None, None)))]


def stability_rows(labelings: Sequence[Arrays]) -> list[Row]:
    """``stability_ari``, ``stability_nmi``: how alike several clusterings of the same frames are, 1 being the same.

    Mean over all pairs of labelings, as of several seeds; each pair on the frames that have a cluster in both.

    Parameters
    ----------
    labelings
        Each (T,) or (T, A) integers, −1 = none, or a list of arrays for several recordings.

    Raises
    ------
    InputError
        When there are fewer than two, or they are not of the same frames.
    """
    if len(labelings) < 2:
        raise InputError(
            f"Stability compares two labelings or more, but got {len(labelings)}; cluster with more seeds."
        )
    pairs = [_both(one, other) for one, other in combinations(labelings, 2)]
    values = {
        "stability_ari": [_agreement(adjusted_rand_score, *pair) for pair in pairs],
        "stability_nmi": [_agreement(normalized_mutual_info_score, *pair) for pair in pairs],
    }
    return [Row(measure, mean_of(np.array(each))) for measure, each in values.items()]


def identity_rows(clusters: Arrays, names: Sequence[str]) -> list[Row]:
    """How much clusters tell which animal it is, when they should tell what it does.

    ``animal_nmi``: normalized mutual information of cluster and animal over all frames with a cluster, 0 when animals
    do alike, 1 when clusters are animals. ``animal_share``, by cluster: the largest share that one animal has in it
    when all animals are given the same time; 1 for a cluster of one animal, 1 / animals when all are in it alike.
    ◇ Every column of every recording counts as an animal of its own, so that these grow with differences between
    recordings, too. Animals do differ: high values are a reason to look, not an error. NaN for a single animal.

    Parameters
    ----------
    clusters
        (T,) or (T, A) integers, −1 = none; a list of arrays for several recordings.
    names
        Of the clusters.

    Raises
    ------
    InputError
        When the labels are no clusters.
    """
    counts = []
    for each in recordings(clusters):
        check_labels(each, len(names), "cluster")
        columns = each.reshape(len(each), -1).T
        counts += [np.bincount(column[column >= 0], minlength=len(names)) for column in columns]
    table = np.array([each for each in counts if each.any()], np.int64).reshape(-1, len(names))  # (animals, clusters)
    if len(table) < 2:
        return [Row("animal_nmi", np.nan), *class_rows("animal_share", names, np.full(len(names), np.nan))]
    time = table / table.sum(axis=1, keepdims=True)
    share = ratio(time.max(axis=0), time.sum(axis=0), np.nan)
    return [Row("animal_nmi", _normalized_information(table)), *class_rows("animal_share", names, share)]


def usage_rows(clusters: Arrays, names: Sequence[str]) -> list[Row]:
    """Tell how many clusters, or codes, are really used.

    ``perplexity`` = exp(H) with H the entropy of the cluster of a frame: the number of equally frequent clusters that
    would be as varied; 1 when all is one cluster, K when all K are alike. ``empty_clusters``: those without a frame.
    ``share``, by cluster: of the frames that have one. NaN when none has; then all are empty.

    Parameters
    ----------
    clusters
        Integers of any shape, −1 = none; a list of arrays for several recordings.
    names
        Of the clusters.

    Raises
    ------
    InputError
        When the labels are no clusters.
    """
    counts = np.zeros(len(names), np.int64)
    for each in recordings(clusters):
        check_labels(each, len(names), "cluster")
        counts += np.bincount(each[each >= 0], minlength=len(names))
    share = ratio(counts, counts.sum(), np.nan)
    perplexity = float(np.exp(_entropy(counts))) if counts.any() else np.nan
    rows = [Row("perplexity", perplexity), Row("empty_clusters", float((counts == 0).sum()))]
    return rows + class_rows("share", names, share)


def _both(one: Arrays, other: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the frames that have one in both, (N,) and (N,)."""
    kept = [
        (a[both].astype(np.intp), b[both].astype(np.intp))
        for a, b in paired(one, other, None, None)
        for both in [(a >= 0) & (b >= 0)]
    ]
    empty = np.zeros(0, np.intp)
    return np.concatenate([empty, *(a for a, _ in kept)]), np.concatenate([empty, *(b for _, b in kept)])


def _agreement(score: Callable[[np.ndarray, np.ndarray], float], one: np.ndarray, other: np.ndarray) -> float:
    return float(score(one, other)) if len(one) else float("nan")


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _normalized_information(table: np.ndarray) -> float:
    """2 I / (H_rows + H_columns) of a table of counts."""
    rows, columns = _entropy(table.sum(axis=1)), _entropy(table.sum(axis=0))
    return 2 * (rows + columns - _entropy(table.ravel())) / (rows + columns)
