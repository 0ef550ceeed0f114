"""Scoring by hand: which key means which behavior, what a model says of some frames, which bout comes next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_lookagain.annotations import BACKGROUND, USER, Annotations, Bout, runs
from napari_lookagain.cluster_classes import ClusterClass

KEYS = "123456789qwertyuiop"
BACKGROUND_KEY = "0"


def scoring_keys(behaviors: Sequence[str], clusters: Sequence[ClusterClass] = ()) -> dict[str, str]:
    """Which key scores which behavior.

    A key that a cluster was given scores the behavior that the cluster is, or else its name. Every other behavior has
    the key of its place in the list, or a spare one where a cluster has that, so that few keys ever change. Background
    has the key 0.

    Examples
    --------
    >>> scoring_keys(["walk", "background", "groom"])
    {'1': 'walk', '2': 'groom', '0': 'background'}
    """
    keys = {each.key: each.behavior or each.name for each in clusters if each.key}
    named = [name for name in behaviors if name != BACKGROUND]
    spare = [key for key in KEYS[len(named) :] if key not in keys]
    for home, name in zip(KEYS, named, strict=False):
        if name not in keys.values() and (home not in keys or spare):
            keys[home if home not in keys else spare.pop(0)] = name
    return dict(sorted(keys.items(), key=lambda item: KEYS.index(item[0]))) | {BACKGROUND_KEY: BACKGROUND}


def count_scored(annotations: Annotations) -> dict[str, int]:
    """How many frames of animals are scored as each behavior, all raters merged."""
    labels = annotations.labels()
    count = np.bincount(labels[labels >= 0], minlength=len(annotations.behaviors))
    return dict(zip(annotations.behaviors, count.tolist(), strict=True))


def accepted(
    label: np.ndarray, names: Sequence[str], animal: int, start: int, stop: int, rater: str = USER
) -> list[Bout]:
    """What a model says of frames [start, stop) of an animal, as bouts of a rater who agrees.

    Parameters
    ----------
    label, names
        Of an ethogram: (T, A) indices into the names, -1 = none.

    Examples
    --------
    >>> bouts = accepted(ethogram.label, ethogram.names, animal=0, start=1200, stop=1260)
    >>> session.annotations.add_bouts(bouts)
    """
    found = zip(*runs(label[start:stop, animal]), strict=True)
    return [Bout(animal, names[code], start + int(a), start + int(b), rater) for a, b, code in found if code >= 0]


def bout_beside(label: np.ndarray, code: int, frame: int, animal: int, step: int = 1) -> tuple[int, int, int] | None:
    """The bout of a class that starts next after a frame, in any animal; before it with a step of -1.

    Parameters
    ----------
    label
        (T, A) classes.
    code
        The class.
    frame, animal
        Where to go on from: bouts that start at the same frame are in the order of their animals.

    Returns
    -------
    tuple of animal, start, stop
        None when there is no further one.
    """
    own = label == code
    begins = own.copy()
    begins[1:] &= ~own[:-1]
    places = np.flatnonzero(begins)  # frame · A + animal
    here = frame * label.shape[1] + animal
    at = int(np.searchsorted(places, here, "right")) if step > 0 else int(np.searchsorted(places, here)) - 1
    if not 0 <= at < len(places):
        return None
    start, animal = divmod(int(places[at]), label.shape[1])
    after = np.flatnonzero(~own[start:, animal])
    return animal, start, start + int(after[0]) if len(after) else len(label)
