"""What all widgets of one session share: a state that tells of its changes, and knows no widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from psygnal import Signal

from napari_lookagain.annotations import USER, Bout, runs
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.journal import Journal, made_last, undone_last
from napari_lookagain.looks import What, keep_wishes, wishes_of
from napari_lookagain.naming import Naming
from napari_lookagain.scoring import accepted, scoring_keys
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

    Raises
    ------
    InputError
        When what is wanted of its looks cannot be read (`looks.wishes_of`).

    Attributes
    ----------
    discovered, naming
        The ethogram of clusters in view, with the names, colors and keys given to them; None before any.
    predicted
        The ethogram of behaviors in view; None before any.
    rater
        Who is scoring.
    wishes
        What that person wants of the looks.
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
    wishes_changed = Signal()
    """Something else is wanted of the looks."""
    frame_changed = Signal(int)
    selection_changed = Signal()

    def __init__(self, session: Session) -> None:
        self.session = session
        self.discovered: Ethogram | None = None
        self.predicted: Ethogram | None = None
        self.naming: Naming | None = None
        self.rater = USER
        self.wishes = wishes_of(session)
        self.frame = 0
        self.selection: Selection | None = None

    @property
    def behaviors(self) -> tuple[str, ...]:
        """All behaviors there are names for: those a person scored, those a model predicted, those clusters are.

        What was scored comes first, so that another model changes no key and no color.
        """
        predicted = () if self.predicted is None else self.predicted.names
        clusters = () if self.naming is None else self.naming.classes
        told = (each.behavior for each in clusters if each.behavior is not None)
        return tuple(dict.fromkeys((*self.session.annotations.behaviors, *predicted, *told)))

    @property
    def keys(self) -> dict[str, str]:
        """Which key scores which behavior."""
        return scoring_keys(self.behaviors, () if self.naming is None else self.naming.classes)

    def close(self) -> None:
        """Tell nobody of changes any more."""
        for name, each in vars(type(self)).items():
            if isinstance(each, Signal):
                getattr(self, name).disconnect()

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

    def name(self, act: Callable[[Naming], object]) -> None:
        """Say something of the clusters in view: ``state.name(lambda naming: naming.merge([0, 3]))``."""
        assert self.naming is not None
        act(self.naming)
        self.classes_changed.emit()

    def assign(self, selection: Selection, behavior: str | None, *, join: bool = False) -> None:
        """Say what an animal does in a stretch of frames; None makes them unscored. On disk when this returns.

        With `join` it is undone together with the scoring before.
        """
        where = selection.animal, selection.start, selection.stop
        self._score(partial(self.session.annotations.assign, *where, behavior, self.rater, join=join))
        self.labels_changed.emit(*where)

    def accept(self, selection: Selection) -> bool:
        """Score a stretch of frames as the model in view has it; False when it says nothing of them.

        A cluster says something once it has a name, or is a behavior.
        """
        where = selection.animal, selection.start, selection.stop
        unnamed = () if self.naming is None else self.naming.found.names
        for label, names in self._models():
            bouts = accepted(label, names, *where, self.rater)
            if told := [bout for bout in bouts if bout.behavior not in unnamed]:
                self._score(partial(self.session.annotations.add_bouts, told))
                self.labels_changed.emit(*where)
                return True
        return False

    def wish(self, what: What | None, selection: Selection, *, everyone: bool = False) -> None:
        """Say that a stretch of frames must be looked at, must not be, or is the gate's (None); the last word holds.

        It is said of one animal, or of all of them. On disk when this returns, and every run from then on goes by it.
        """
        animal = None if everyone else self.session.animals[selection.animal]
        span = selection.start, selection.stop, animal
        wishes = wishes_of(self.session).release(*span)  # read anew: the command line may have added to them
        if what is not None:
            wishes = wishes.pin(*span) if what == "pin" else wishes.mute(*span)
        keep_wishes(self.session, wishes)
        self.wishes = wishes
        self.wishes_changed.emit()

    def rename_behavior(self, old: str, new: str) -> None:
        """Call a behavior otherwise wherever a person scored it; a name already in use joins the two."""
        self._rescore(partial(self.session.annotations.rename_behavior, old, new))

    def undo(self) -> bool:
        """Take the last act back: a scoring, a keypoint moved, or something said of the clusters in view.

        All of it is in one order, which survives closing; False when there is nothing left.
        """
        return self._retake(made_last(self._journals()), "undo")

    def redo(self) -> bool:
        """Make the act that was taken back last again; False when there is none, or another was made since."""
        return self._retake(undone_last(self._journals()), "redo")

    def _journals(self) -> list[Journal]:
        named = [] if self.naming is None else [self.naming.journal]
        return [self.session.annotations.journal, self.session.corrections.journal, *named]

    def _retake(self, journal: Journal | None, way: str) -> bool:
        session = self.session
        if journal is None:
            return False
        if journal is session.annotations.journal:
            self._rescore(getattr(session.annotations, way))
        elif journal is session.corrections.journal:
            moved = getattr(session.corrections, way)()
            self.keypoints_changed.emit(moved.frame)
        else:
            self.name(lambda naming: getattr(naming, way)())
        return True

    def _score(self, act: Callable[[], object]) -> None:
        """Change what is scored, and tell when there are other behaviors then."""
        known = self.session.annotations.behaviors
        act()
        if self.session.annotations.behaviors != known:
            self.classes_changed.emit()

    def _rescore(self, act: Callable[[], object]) -> None:
        """Change what is scored, wherever, and tell where it differs."""
        before = self.session.annotations.labels()
        self._score(act)
        for animal, differs in enumerate((self.session.annotations.labels() != before).T):
            if (frames := np.flatnonzero(differs)).size:
                self.labels_changed.emit(animal, int(frames[0]), int(frames[-1]) + 1)

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
            np.copyto(seen, label[:, animal].astype(int) + (way << 16), where=label[:, animal] >= 0)
        start, _, code = runs(seen)
        starts = start[(code >= 0) & (start > frame if step > 0 else start < frame)]
        return self.bout_at(animal, int(starts[0 if step > 0 else -1])) if len(starts) else None

    def _ways(self) -> list[tuple[np.ndarray, tuple[str, ...]]]:
        annotations = self.session.annotations
        return [(annotations.labels(), annotations.behaviors), *self._models()]

    def _models(self) -> list[tuple[np.ndarray, tuple[str, ...]]]:
        models = [] if self.predicted is None else [(self.predicted.label, self.predicted.names)]
        if self.naming is not None:
            told = tuple(each.behavior or each.name for each in self.naming.classes)
            models.append((self.naming.label, told))
        return models


def _bout(column: np.ndarray, names: tuple[str, ...], animal: int, frame: int) -> Bout:
    differs = column != column[frame]
    before, after = np.flatnonzero(differs[:frame]), np.flatnonzero(differs[frame:])
    start = int(before[-1]) + 1 if len(before) else 0
    stop = frame + int(after[0]) if len(after) else len(column)
    return Bout(animal, names[column[frame]], start, stop, "")
