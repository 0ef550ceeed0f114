"""Which bouts a person should see: those the model is unsure of, and examples of a class."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from napari_lookagain.annotations import UNSCORED, Annotations, Bout
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.naming import Naming

STRETCHES = 10  # a recording is cut in so many; bouts are taken from each of them in turn


def uncertain_bouts(
    ethogram: Ethogram, annotations: Annotations | None = None, n: int = 50, min_frames: int = 5
) -> list[Bout]:
    """Bouts worth a look by a person, the one that the model is least sure of first.

    They are taken from every class in turn, and within a class from every tenth of the recording in turn, so that not
    all are of the hardest class or of one confusing minute.

    Parameters
    ----------
    ethogram
        Of behaviors or clusters. A bout is as unsure as 1 − its mean probability.
    annotations
        What raters scored: bouts of which they scored half of the frames or more are left out, whatever they said.
    n
        At most so many.
    min_frames
        Shorter bouts are left out; there is little to see in them.

    Returns
    -------
    list of Bout
        Fewer than `n` when there are no more.

    Examples
    --------
    >>> for bout in uncertain_bouts(ethogram, session.annotations, n=3):
    ...     print(bout.behavior, bout.start, bout.stop, round(1 - bout.probability, 2))
    groom 1204 1231 0.58
    rest 310 352 0.51
    walk 77 90 0.44
    """
    bouts = [bout for bout in ethogram.bouts() if bout.probability is not None and bout.stop - bout.start >= min_frames]
    if annotations is not None:
        scored = np.zeros((ethogram.n_frames + 1, len(ethogram.animals)), int)
        scored[1:] = np.cumsum(annotations.labels() != UNSCORED, axis=0)
        bouts = [b for b in bouts if 2 * (scored[b.stop, b.animal] - scored[b.start, b.animal]) < b.stop - b.start]
    unsure = [1 - (bout.probability or 0) for bout in bouts]
    stretch = ethogram.n_frames / STRETCHES
    chosen = _in_turn(unsure, [(bout.behavior, int(bout.start / stretch)) for bout in bouts], n)
    return [bouts[i] for i in sorted(chosen, key=lambda i: -unsure[i])]


def examples(source: Naming | Ethogram, class_index: int, n: int = 9, seed: int = 0) -> list[Bout]:
    """Bouts that show what a class looks like, from different animals and moments.

    They are drawn from the longer half of its bouts, of which there is enough to see, and from all when these are too
    few.

    Parameters
    ----------
    source
        Clusters as they are named, or any ethogram.
    class_index
        Of the class in its `names`.
    n
        At most so many.
    seed
        Another seed draws others.

    Returns
    -------
    list of Bout
        By animal and time; fewer than `n` when there are no more.

    Raises
    ------
    InputError
        When there is no such class.
    """
    names = source.names
    if not 0 <= class_index < len(names):
        raise InputError(f"There is no class {class_index}; there are {len(names)}, counted from 0.")
    ethogram = source.ethogram if isinstance(source, Naming) else source
    own = np.where(ethogram.label == class_index, ethogram.label, np.int16(UNSCORED))
    bouts = replace(ethogram, label=own).bouts()
    lengths = np.array([bout.stop - bout.start for bout in bouts])
    if bouts and (longer := lengths >= np.median(lengths)).sum() >= n:
        bouts = [bout for bout, long in zip(bouts, longer, strict=True) if long]
    stretch = ethogram.n_frames / max(n, 1)
    chance = np.random.default_rng(seed).random(len(bouts)).tolist()
    chosen = _in_turn(chance, [(bout.animal, int(bout.start / stretch)) for bout in bouts], n)
    return [bouts[i] for i in sorted(chosen)]


def _in_turn(scores: Sequence[float], cells: Sequence[tuple[Hashable, Hashable]], n: int) -> list[int]:
    """Take `n` of some things: from each first cell in turn, in it from each second cell in turn, the highest first."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    turn = _turns(order, lambda i: cells[i])
    order.sort(key=lambda i: turn[i])  # stable: of one turn the highest first
    turn = _turns(order, lambda i: cells[i][0])
    order.sort(key=lambda i: (turn[i], -scores[i]))
    return order[:n]


def _turns(order: Sequence[int], cell: Callable[[int], Hashable]) -> dict[int, int]:
    """How many of its cell come before each thing."""
    count: dict[Hashable, int] = {}
    turns = {}
    for i in order:
        turns[i] = count.get(cell(i), 0)
        count[cell(i)] = turns[i] + 1
    return turns
