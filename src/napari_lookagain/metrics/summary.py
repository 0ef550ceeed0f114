"""All measures of some frames at once: of behaviors, and of clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_lookagain.metrics.boundaries import boundary_rows
from napari_lookagain.metrics.bouts import bout_rows
from napari_lookagain.metrics.calibration import calibration_rows
from napari_lookagain.metrics.edit import edit_rows
from napari_lookagain.metrics.frames import frame_rows
from napari_lookagain.metrics.labels import Arrays, recordings
from napari_lookagain.metrics.mapping import apply_map, check_map
from napari_lookagain.metrics.partitions import identity_rows, partition_rows, usage_rows
from napari_lookagain.metrics.rows import Row


def behavior_rows(
    truth: Arrays, predicted: Arrays, names: Sequence[str], probabilities: Arrays | None = None
) -> list[Row]:
    """Everything about predicted behavior: frames, bouts, order, boundaries, and calibration where it can be told.

    Parameters
    ----------
    truth, predicted
        (T,) or (T, A) classes, −1 = unscored or none; a list of arrays for several recordings, which are pooled.
    names
        Of the classes.
    probabilities
        (T, K) or (T, A, K), NaN where not computed.

    Raises
    ------
    InputError
        When the labels are no classes, shapes do not fit, or a probability is outside [0, 1].

    Examples
    --------
    >>> rows = behavior_rows(truth, ethogram.label, ethogram.names, ethogram.probabilities)
    >>> row_table(tagged(rows, recording="monday")).to_csv("monday.csv", index=False)
    """
    rows = frame_rows(truth, predicted, names, probabilities)
    rows += bout_rows(truth, predicted, names)
    rows += edit_rows(truth, predicted, len(names))
    rows += boundary_rows(truth, predicted, names)
    return rows if probabilities is None else rows + calibration_rows(truth, probabilities, names)


def cluster_rows(
    truth: Arrays, clusters: Arrays, names: Sequence[str], cluster_names: Sequence[str], mapping: np.ndarray
) -> list[Row]:
    """Everything about discovered clusters: as behaviors, by a mapping, and as they are.

    Measures of the mapped labels are those of `behavior_rows`, called ``mapped_…``.

    Parameters
    ----------
    truth, clusters
        (T,) or (T, A) integers, −1 = unscored or none; a list of arrays for several recordings, which are pooled.
    names, cluster_names
        Of the classes, and of the clusters.
    mapping
        (clusters,) class of each, −1 for none: of `majority_map` or `one_to_one_map`, fitted on other recordings.

    Raises
    ------
    InputError
        When the labels are no classes or clusters, or shapes do not fit.
    """
    check_map(mapping, len(names))
    mapped = [apply_map(mapping, each) for each in recordings(clusters)]
    rows = [Row(f"mapped_{row.measure}", row.value, row.of) for row in behavior_rows(recordings(truth), mapped, names)]
    rows += partition_rows(truth, clusters)
    return rows + identity_rows(clusters, cluster_names) + usage_rows(clusters, cluster_names)
