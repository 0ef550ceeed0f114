"""What is learnt from and what is held out: whole recordings, or, of a single one, its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.session import Session


@dataclass(frozen=True)
class Split:
    """One way to part recordings.

    Parameters
    ----------
    train, test
        Indices of the recordings that are learnt from, and of those that are held out.
    stop, start
        Of a single recording: frames [0, stop) are learnt from, and those from `start` on are held out. Of several:
        None and 0.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    stop: int | None = None
    start: int = 0


def splits(n_frames: Sequence[int], folds: int, test_share: float, gap: int) -> list[Split]:
    """Part recordings, never frames of one recording, unless there is a single one.

    Parameters
    ----------
    n_frames
        Frames of every recording.
    folds
        Recordings are dealt into so many groups in turn (at most one for each), and every group is held out once. With
        1, the last `test_share` of the recordings is held out, at least one.
    test_share
        Also the share of a single recording that is held out, at its end: frames that follow each other are nearly the
        same, so that frames drawn here and there would be told from their neighbors.
    gap
        Frames before the held-out end of a single recording that are left out of both parts.

    Returns
    -------
    list of Split
        The same for every seed: what differs between seeds is chance in training alone.

    Raises
    ------
    InputError
        When a single recording is too short for the gap.
    """
    n = len(n_frames)
    if n == 1:
        start = round(n_frames[0] * (1 - test_share))
        if start - gap < gap:
            raise InputError(
                f"The only recording has {n_frames[0]} frames, too few to hold {test_share:.0%} out after a gap of "
                f"{gap} frames; give more recordings, or a smaller gap."
            )
        return [Split((0,), (0,), start - gap, start)]
    if folds == 1:
        held = min(n - 1, max(1, round(n * test_share)))
        return [Split(tuple(range(n - held)), tuple(range(n - held, n)))]
    groups = [tuple(range(first, n, min(folds, n))) for first in range(min(folds, n))]
    return [Split(tuple(i for i in range(n) if i not in group), group) for group in groups]


def first_part(session: Session, stop: int) -> Session:
    """The first frames of a recording, as one of its own that is not saved yet."""
    annotations = Annotations(stop, session.animals)
    annotations.set_frames(session.annotations.labels()[:stop], session.annotations.behaviors)
    return replace(
        session,
        keypoints=session.keypoints[:stop],
        confidence=session.confidence[:stop],
        annotations=annotations,
        path=None,
        edited=None,
    )


def keep_labels(sessions: Sequence[Session], fraction: float, seed: int, block: int = 128) -> list[Session]:
    """Sessions with a share of their labels, in stretches of time.

    Scored frames are cut into blocks of `block` frames of one animal. Of every behavior one block is kept, that of the
    rarest behavior first, and then blocks drawn by `seed` until the share of the scored frames is reached, so that
    fewer labels are a part of more, and no behavior is lost. The paper does not state how it draws labels.

    Parameters
    ----------
    fraction
        Of the scored frames of all recordings together, above 0; 1 changes nothing.
    """
    if fraction >= 1:
        return list(sessions)
    labels = [session.annotations.labels() for session in sessions]  # (T, A) each
    blocks = [
        (i, animal, start)
        for i, label in enumerate(labels)
        for animal in range(label.shape[1])
        for start in range(0, len(label), block)
        if (label[start : start + block, animal] >= 0).any()
    ]
    rng = np.random.default_rng([seed, 29])
    blocks = [blocks[i] for i in rng.permutation(len(blocks))]
    inside = [_counts(sessions, labels, place, block) for place in blocks]
    everything: dict[str, int] = {}
    for counts in inside:
        for name, n in counts.items():
            everything[name] = everything.get(name, 0) + n
    first: list[int] = []  # one block of each behavior
    for name in sorted(everything, key=lambda name: (everything[name], name)):
        if not any(name in inside[i] for i in first):
            first.append(next(i for i, counts in enumerate(inside) if name in counts))
    order = [*first, *(i for i in range(len(blocks)) if i not in set(first))]
    frames = np.cumsum([sum(inside[i].values()) for i in order])
    enough = 1 + int(np.searchsorted(frames, fraction * frames[-1]))
    out = [np.full_like(label, -1) for label in labels]
    for i in order[: max(enough, len(first))]:
        recording, animal, start = blocks[i]
        span = slice(start, start + block)
        out[recording][span, animal] = labels[recording][span, animal]
    return [_scored(session, label) for session, label in zip(sessions, out, strict=True)]


def _counts(
    sessions: Sequence[Session], labels: Sequence[np.ndarray], place: tuple[int, int, int], block: int
) -> dict[str, int]:
    """Scored frames of every behavior in a block."""
    i, animal, start = place
    own = labels[i][start : start + block, animal]
    names = sessions[i].annotations.behaviors
    return {names[code]: int(n) for code, n in enumerate(np.bincount(own[own >= 0])) if n}


def _scored(session: Session, labels: np.ndarray) -> Session:
    """The session, scored thus in memory; what is kept of it on disk stays as it is."""
    annotations = Annotations(session.n_frames, session.animals)
    annotations.set_frames(labels, session.annotations.behaviors)
    return replace(session, annotations=annotations)
