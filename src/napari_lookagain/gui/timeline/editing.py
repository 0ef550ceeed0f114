"""What a person does to the labels with a selection and the frame in view; all of it can be called without a window."""

from __future__ import annotations

import numpy as np

from napari_lookagain.annotations import UNSCORED, runs
from napari_lookagain.gui.state import Selection, SessionState
from napari_lookagain.gui.timeline.clock import grouped


def assign(state: SessionState, behavior: str | None) -> str:
    """Say what the animal does in the frames that are marked; None makes them unscored.

    Returns
    -------
    str
        What a person should be told.
    """
    if state.selection is None:
        return "Mark frames first: drag over a lane, double-click a bout, or press [ and ]."
    return _assign(state, state.selection, behavior)


def start_here(state: SessionState, animal: int) -> str:
    """Let the marked frames start at the frame in view; a corrected bout that is marked whole starts there, too.

    Where no frames of this animal are marked, or they end before, the frame in view alone is marked.

    Returns
    -------
    str
        What a person should be told.
    """
    old, frame = _own(state, animal), state.frame
    if old is None or frame >= old.stop:
        return _mark(state, Selection(animal, frame, frame + 1))
    told = move_edge(state, animal, old.start, frame) if _is_bout(state, old) else ""
    return told + _mark(state, Selection(animal, frame, old.stop))


def stop_here(state: SessionState, animal: int) -> str:
    """Let the marked frames end with the frame in view, as `start_here` lets them start.

    Returns
    -------
    str
        What a person should be told.
    """
    old, frame = _own(state, animal), state.frame
    if old is None or frame < old.start:
        return _mark(state, Selection(animal, frame, frame + 1))
    told = move_edge(state, animal, old.stop, frame + 1) if _is_bout(state, old) else ""
    return told + _mark(state, Selection(animal, old.start, frame + 1))


def move_edge(state: SessionState, animal: int, edge: int, to: int) -> str:
    """Move the edge between two bouts of an animal, or of a bout and unscored frames, to another frame.

    A bout that grows covers what was there. Where none grows, the one that shrinks keeps a frame.

    Parameters
    ----------
    state
        Of the session.
    animal
        Whose.
    edge, to
        The first frame after the edge, now and then.

    Returns
    -------
    str
        What a person should be told.
    """
    labels = np.pad(state.session.annotations.labels()[:, animal], 1, constant_values=UNSCORED)  # frame f at f + 1
    grows = labels[edge] if to > edge else labels[edge + 1]
    if grows == UNSCORED:
        start, stop = _run(labels, edge + 1 if to > edge else edge)
        to = min(to, stop - 2) if to > edge else max(to, start)
    if to == edge:
        return ""
    behavior = None if grows == UNSCORED else state.session.annotations.behaviors[grows]
    return _assign(state, Selection(animal, min(edge, to), max(edge, to)), behavior)


def name_frames(selection: Selection) -> str:
    """Name marked frames: "frame 7", "frames 7 to 9"."""
    if selection.stop - selection.start == 1:
        return f"frame {grouped(selection.start)}"
    return f"frames {grouped(selection.start)} to {grouped(selection.stop - 1)}"


def _assign(state: SessionState, selection: Selection, behavior: str | None) -> str:
    state.assign(selection, behavior)
    told = f"{behavior or 'Not scored'}: {name_frames(selection)}. "
    if behavior is None:
        left = state.session.annotations.scored_by()[selection.start : selection.stop, selection.animal]
        raters = [state.session.annotations.raters[code] for code in np.unique(left[left >= 0])]
        if raters:
            told += f"What {', '.join(raters)} said there stays; score the frames to overrule it."
    return told


def _mark(state: SessionState, selection: Selection) -> str:
    state.select(selection)
    return f"Marked {name_frames(selection)}. "


def _own(state: SessionState, animal: int) -> Selection | None:
    return state.selection if state.selection is not None and state.selection.animal == animal else None


def _is_bout(state: SessionState, selection: Selection) -> bool:
    """Whether a selection is all of a bout that a person scored."""
    labels = state.session.annotations.labels()[:, selection.animal]
    return labels[selection.start] != UNSCORED and _run(labels, selection.start) == (selection.start, selection.stop)


def _run(labels: np.ndarray, frame: int) -> tuple[int, int]:
    """The stretch of frames around a frame that bear the same label."""
    start, stop, _ = runs(labels)
    at = int(np.searchsorted(start, frame, "right")) - 1
    return int(start[at]), int(stop[at])
