"""Which clusters of two runs are the same, so that what was said of the one holds for the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_lookagain.cluster_classes import ClusterClass
from napari_lookagain.errors import InputError
from napari_lookagain.naming import Naming

SAME = 0.5  # above it no cluster overlaps with two that are apart, so that matches are never ambiguous


@dataclass(frozen=True, slots=True)
class Carried:
    """A cluster of which something said before holds.

    Parameters
    ----------
    index
        Of the cluster in the new run.
    name
        What it is called now.
    was
        What the new run called it.
    overlap
        Frames that both clusters have, of the frames that either has; above 0.5.
    """

    index: int
    name: str
    was: str
    overlap: float


def carry_over(old: Naming, new: Naming) -> list[Carried]:
    """Say of the clusters of a new run what was said of the same ones in an old run, as one act.

    Clusters are the same when they share more than half of the frames that either has. Names, colors, keys,
    descriptions and behaviors are carried over where somebody gave any; clusters of the new run of which somebody has
    said something stay as they are.

    Parameters
    ----------
    old, new
        Of the same recording.

    Returns
    -------
    list of Carried
        In the order of the new run; empty when nothing holds, or was ever said.

    Raises
    ------
    InputError
        When the runs are of different recordings, or the act cannot be written to disk.

    Examples
    --------
    >>> old, new = (Naming.open(session.run_folder(run)) for run in ("segment", "segment-2"))
    >>> carry_over(old, new)
    [Carried(index=4, name='walk', was='cluster 5', overlap=0.83)]
    """
    overlap = _overlap(old, new)
    changes: dict[int, dict[str, Any]] = {}
    carried = []
    for target, source in enumerate(overlap.argmax(axis=0)):
        told, was = old.classes[source], new.classes[target]
        if overlap[source, target] <= SAME or told in old.original or was not in new.original:
            continue
        now = _said(told, was, old, new)
        holder = next((i for i, each in enumerate(new.classes) if each.color == now.color and i != target), None)
        if holder is not None and new.classes[holder] in new.original:
            changes.setdefault(holder, {}).setdefault("color", was.color)  # else two would look the same
        changes.setdefault(target, {}).update(_differences(was, now))
        carried.append(Carried(target, now.name, was.name, float(overlap[source, target])))
    new.change(changes)
    return carried


def _said(told: ClusterClass, was: ClusterClass, old: Naming, new: Naming) -> ClusterClass:
    """What holds of a cluster of the new run; words that other clusters of it have already are left out."""
    given = told.name not in old.found.names and told.name not in new.names
    free = told.key not in {each.key for each in new.classes}
    return replace(told, name=told.name if given else was.name, key=told.key if free else "")


def _differences(was: ClusterClass, now: ClusterClass) -> dict[str, Any]:
    fields = ("name", "color", "key", "description", "behavior")
    return {field: getattr(now, field) for field in fields if getattr(now, field) != getattr(was, field)}


def _overlap(old: Naming, new: Naming) -> np.ndarray:
    """Intersection over union of the frames of clusters, (K_old, K_new)."""
    if old.label.shape != new.label.shape or old.found.animals != new.found.animals:
        raise InputError("Names are carried over between runs of one recording only; these are of two.")
    n_old, n_new = len(old.classes), len(new.classes)
    pairs = (old.label.astype(np.int64) + 1) * (n_new + 1) + new.label + 1  # 0 is no cluster
    both = np.bincount(pairs.ravel(), minlength=(n_old + 1) * (n_new + 1)).reshape(n_old + 1, n_new + 1)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    return (both / np.maximum(either, 1))[1:, 1:]
