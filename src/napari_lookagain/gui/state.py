"""What all widgets of one session share: a state that tells of its changes, and knows no widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from psygnal import Signal

from napari_lookagain.annotations import USER, Bout, runs
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.naming import Naming
from napari_lookagain.session import Session


@dataclass(frozen=True, slots=True)
class Selection:
    """A stretch of frames [start, stop) of one animal, as a person marked it."""

    animal: int
    start: int
    stop: int


class SessionState:
    """One open session: what was found in it, what a person says of it, and where that person is looking.

    Widgets read its attributes, call its methods and listen to its signals; they never talk to each other. One state
    per session, made when it is opened and closed with it.

    Parameters
    ----------
    session
        The open session.

    Attributes
    ----------
    discovered, naming
        The ethogram of clusters in view, with the names, colors and keys given to them; None before any.
    predicted
        The ethogram of behaviors in view; None before any.
    rater
        Who is scoring.
    frame
        The frame in view.
    selection
        What is marked on the timeline; None when nothing is.
    """

    ethograms_changed = Signal()
    """`discovered` or `predicted` is another one."""
    classes_changed = Signal()
    """A class has another name, color, key or description, or there are other classes."""
    labels_changed = Signal(int, int, int)
    """A person scored frames [start, stop) of an animal, or took it back."""
    keypoints_changed = Signal(int)
    """A keypoint of a frame was moved."""
    frame_changed = Signal(int)
    selection_changed = Signal()

    def __init__(self, session: Session) -> None:
        self.session = session
        self.discovered: Ethogram | None = None
        self.predicted: Ethogram | None = None
        self.naming: Naming | None = None
        self.rater = USER
        self.frame = 0
        self.selection: Selection | None = None

    @property
    def behaviors(self) -> tuple[str, ...]:
        """All behaviors there are names for: those a model predicted, then those a person added."""
        predicted = () if self.predicted is None else self.predicted.names
        return tuple(dict.fromkeys((*predicted, *self.session.annotations.behaviors)))

    def seek(self, frame: int) -> None:
        """Look at a frame, or at the nearest that there is."""
        frame = int(np.clip(frame, 0, self.session.n_frames - 1))
        if frame != self.frame:
            self.frame = frame
            self.frame_changed.emit(frame)

    def select(self, selection: Selection | None) -> None:
        """Mark a stretch of frames, or nothing."""
        if selection != self.selection:
            self.selection = selection
            self.selection_changed.emit()

    def show(self, ethogram: Ethogram, naming: Naming | None = None) -> None:
        """Put an ethogram in view, in the place of the one of its kind."""
        if ethogram.kind == "cluster":
            self.discovered, self.naming = ethogram, naming or Naming(ethogram)
        else:
            self.predicted = ethogram
        self.ethograms_changed.emit()
        self.classes_changed.emit()

    def assign(self, selection: Selection, behavior: str | None) -> None:
        """Say what an animal does in a stretch of frames; None makes them unscored. On disk when this returns."""
        known = self.session.annotations.behaviors
        self.session.annotations.assign(selection.animal, selection.start, selection.stop, behavior, self.rater)
        if self.session.annotations.behaviors != known:
            self.classes_changed.emit()
        self.labels_changed.emit(selection.animal, selection.start, selection.stop)

    def undo(self) -> bool:
        """Take the last scoring back; False when there is none."""
        return self._retake(self.session.annotations.undo)

    def redo(self) -> bool:
        """Score again what was taken back last; False when there is none."""
        return self._retake(self.session.annotations.redo)

    def _retake(self, act: Callable[[], bool]) -> bool:
        annotations = self.session.annotations
        known, before = annotations.behaviors, annotations.labels()
        done = act()
        if annotations.behaviors != known:
            self.classes_changed.emit()
        for animal, differs in enumerate((annotations.labels() != before).T):
            if (frames := np.flatnonzero(differs)).size:
                self.labels_changed.emit(animal, int(frames[0]), int(frames[-1]) + 1)
        return done

    def move_keypoint(self, frame: int, animal: int, keypoint: int, position: tuple[float, float] | None) -> None:
        """Put a keypoint elsewhere (x, y), or nowhere. On disk when this returns."""
        place: tuple[float, ...] | None = position
        if position is not None and self.session.n_coords == 3:  # depth is not to be seen on a screen: it stays
            depth = float(self.session.keypoints[frame, animal, keypoint, 2])
            place = (*position, depth if np.isfinite(depth) else 0.0)
        self.session.move_keypoint(frame, animal, keypoint, place)
        self.keypoints_changed.emit(frame)

    def bout_at(self, animal: int, frame: int) -> Bout | None:
        """The bout of an animal at a frame: what a person scored, else what was predicted, else the cluster."""
        for label, names in self._ways():
            column = label[:, animal]
            if column[frame] >= 0:
                return _bout(column, names, animal, frame)
        return None

    def bout_beside(self, animal: int, frame: int, step: int) -> Bout | None:
        """The first bout of an animal to start after a frame, as `bout_at` sees them; before it with a step of -1."""
        seen = np.full(self.session.n_frames, -1)
        for way, (label, _) in reversed(list(enumerate(self._ways()))):
            np.copyto(seen, label[:, animal] + (way << 16), where=label[:, animal] >= 0)
        start, _, code = runs(seen)
        starts = start[(code >= 0) & (start > frame if step > 0 else start < frame)]
        return self.bout_at(animal, int(starts[0 if step > 0 else -1])) if len(starts) else None

    def _ways(self) -> list[tuple[np.ndarray, tuple[str, ...]]]:
        annotations = self.session.annotations
        ways: list[tuple[np.ndarray, tuple[str, ...]]] = [(annotations.labels(), annotations.behaviors)]
        if self.predicted is not None:
            ways.append((self.predicted.label, self.predicted.names))
        if self.naming is not None:
            ways.append((self.naming.label, self.naming.names))
        return ways


def _bout(column: np.ndarray, names: tuple[str, ...], animal: int, frame: int) -> Bout:
    differs = column != column[frame]
    before, after = np.flatnonzero(differs[:frame]), np.flatnonzero(differs[frame:])
    start = int(before[-1]) + 1 if len(before) else 0
    stop = frame + int(after[0]) if len(after) else len(column)
    return Bout(animal, names[column[frame]], start, stop, "")
