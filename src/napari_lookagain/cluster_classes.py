"""What is said of each cluster, and what becomes of it when clusters are merged or split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, cycle

from napari_lookagain.annotations import check_name
from napari_lookagain.colors import CLUSTER_COLORS
from napari_lookagain.errors import InputError

KEYS = tuple("123456789")


@dataclass(frozen=True, slots=True)
class ClusterClass:
    """What is said of one cluster.

    Parameters
    ----------
    name
        One line of text, no other cluster's.
    color
        ``"#rrggbb"``.
    key
        ``"1"`` to ``"9"``, no other cluster's; empty for none.
    description
        Any text.
    behavior
        Name of the behavior that the cluster is; None while nobody said so.
    """

    name: str
    color: str
    key: str = ""
    description: str = ""
    behavior: str | None = None


def check_classes(classes: Sequence[ClusterClass]) -> None:
    """Refuse, with an `InputError`, what cannot be said of a cluster, or not of two."""
    names, keys = [each.name for each in classes], [each.key for each in classes if each.key]
    for each in classes:
        check_name("cluster", each.name)
        if each.behavior is not None:
            check_name("behavior", each.behavior)
        if not isinstance(each.color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", each.color):
            raise InputError(f"{each.color!r} is no color; give one as #rrggbb.")
        if each.key and each.key not in KEYS:
            raise InputError(f"{each.key!r} cannot be a key; choose 1 to 9, or none.")
        if not isinstance(each.description, str):
            raise InputError(f"{each.description!r} cannot describe a cluster; give a text.")
        if names.count(each.name) > 1:
            raise InputError(f"Two clusters cannot both be called {each.name!r}; merge them, or choose another name.")
        if keys.count(each.key) > 1:
            raise InputError(f"Two clusters cannot both have the key {each.key!r}; choose another one.")


def merge_classes(classes: Sequence[ClusterClass], indices: Sequence[int]) -> tuple[ClusterClass, ...]:
    """Put several classes in the place of the first; it takes from the others only what nobody said of it."""
    members = [classes[index] for index in indices]
    merged = replace(
        members[0],
        key=next((each.key for each in members if each.key), ""),
        description=next((each.description for each in members if each.description), ""),
        behavior=next((each.behavior for each in members if each.behavior is not None), None),
    )
    dropped = indices[1:]
    return tuple(merged if i == indices[0] else each for i, each in enumerate(classes) if i not in dropped)


def split_class(classes: Sequence[ClusterClass], index: int, parts: int) -> tuple[ClusterClass, ...]:
    """Put several classes, named after it, in the place of one; the first of them keeps its color and key."""
    whole = classes[index]
    taken, used = {each.name for each in classes}, {each.color for each in classes}
    names = (name for number in count(1) if (name := f"{whole.name}.{number}") not in taken)
    colors = chain((color for color in CLUSTER_COLORS if color not in used), cycle(CLUSTER_COLORS))
    made = [replace(whole, name=next(names))]
    made += [replace(whole, name=next(names), color=next(colors), key="") for _ in range(parts - 1)]
    return (*classes[:index], *made, *classes[index + 1 :])
