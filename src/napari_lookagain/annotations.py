"""Who says what, when: the behavior of every frame and animal by every rater, with undo and a journal on disk."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.journal import Journal, digest

UNSCORED = -1
BACKGROUND = "background"
USER = "user"
MODEL = "model"  # who says what no rater says
_SCHEMA = 1
_SNAPSHOT_EVERY = 500  # edits: opening replays at most so many


@dataclass(frozen=True, slots=True)
class Bout:
    """One animal doing one thing from frame `start` up to, not including, frame `stop`.

    Parameters
    ----------
    animal
        Index of the animal.
    behavior
        Name of the behavior, or of the cluster when the bout comes from discovery.
    start, stop
        Frames, 0-based and half-open.
    rater
        Who says so; empty for the model.
    probability
        The model's mean probability over the bout; None when there is none.
    """

    animal: int
    behavior: str
    start: int
    stop: int
    rater: str = USER
    probability: float | None = None

    @property
    def source(self) -> str:
        """The rater's name, or ``"model"``."""
        return self.rater or MODEL


def runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut (T,) labels where they change: start, stop (half-open) and label of each run, unscored ones included."""
    change = np.ones(len(labels), bool)
    change[1:] = labels[1:] != labels[:-1]
    start = np.flatnonzero(change)
    return start, np.append(start[1:], len(labels))[: len(start)], labels[start]


def label_bouts(labels: np.ndarray, names: Sequence[str], rater: str = USER) -> list[Bout]:
    """List the bouts of (T, A) labels, ordered by animal and start; frames of -1 are in none."""
    return [
        Bout(animal, names[code], int(start), int(stop), rater)
        for animal in range(labels.shape[1])
        for start, stop, code in zip(*runs(labels[:, animal]), strict=True)
        if code != UNSCORED
    ]


class _Edit(NamedTuple):
    """What stood before an edit: undoing is swapping it with what stands now, and redoing is swapping back."""

    behaviors: tuple[str, ...]
    raters: tuple[str, ...]
    patches: list[tuple[str, int, int, list[list[int]]]]  # rater, animal, start, runs of (length, code)


class Annotations:
    """What raters say about every frame of one recording.

    Labels are kept dense, one (T, A) int16 array per rater. ``"background"`` is a behavior like any other: scored, and
    nothing of interest. Unscored (-1) is not background: it says nothing.

    Every edit can be undone and redone without end. With a folder behind it (`open`, `save`), every edit is on disk
    before the call returns; the journal is never shortened, and undo survives closing.

    Parameters
    ----------
    n_frames
        Frames of the recording, T.
    animals
        Names of the animals, A of them.

    Attributes
    ----------
    behaviors
        Names of the behaviors, in the order of their first use; labels index them.
    """

    def __init__(self, n_frames: int, animals: Sequence[str]) -> None:
        self.n_frames = int(n_frames)
        self.animals = tuple(animals)
        self.behaviors: tuple[str, ...] = ()
        self._labels: dict[str, np.ndarray] = {}  # rater → (T, A); who edited last stands last
        self._undo: list[_Edit] = []
        self._redo: list[_Edit] = []
        self.journal = Journal({"schema": _SCHEMA, "n_frames": self.n_frames, "animals": list(self.animals)})
        self._snapshot_at = 0

    @classmethod
    def open(cls, folder: str | Path, n_frames: int, animals: Sequence[str]) -> Annotations:
        """Open the annotations in a folder, or start new ones there (the first edit writes the first file).

        Warns
        -----
        UserWarning
            When the last line of the journal was torn by a crash; that one edit is lost.

        Raises
        ------
        InputError
            When the journal is damaged before its last line (the line is named), belongs to another recording, or was
            written by a newer version.
        """
        self = cls(n_frames, animals)
        lines = self.journal.attach(Path(folder) / "journal.jsonl")
        done = self._read_snapshot(lines)
        self.journal.replay(lines, self._make, done)
        self._snapshot_at = done
        return self

    def save(self, folder: str | Path) -> None:
        """Write the whole history to a folder; every further edit goes there.

        Raises
        ------
        InputError
            When the folder already holds other annotations, or cannot be written.
        """
        self.journal.move(Path(folder) / "journal.jsonl")
        self._write_snapshot()

    @property
    def raters(self) -> tuple[str, ...]:
        """Who has scored anything, the last to edit last."""
        return tuple(self._labels)

    def labels(self, rater: str | None = None) -> np.ndarray:
        """Give (T, A) int16 labels, indices into `behaviors`, -1 = unscored.

        Without a rater, all raters are merged: where two differ, the one who edited last (anywhere) wins.
        """
        if rater is not None:
            return self._labels[rater].copy() if rater in self._labels else self._unscored()
        merged = self._unscored()
        for labels in self._labels.values():
            np.copyto(merged, labels, where=labels != UNSCORED)
        return merged

    def scored_by(self) -> np.ndarray:
        """Tell whose word `labels()` took: (T, A) int16 indices into `raters`, -1 = unscored."""
        who = self._unscored()
        for index, labels in enumerate(self._labels.values()):
            who[labels != UNSCORED] = index
        return who

    def bouts(self, rater: str | None = None) -> list[Bout]:
        """List the bouts of one rater, or of every rater side by side (not merged)."""
        raters = self.raters if rater is None else (rater,)
        return [bout for name in raters for bout in label_bouts(self.labels(name), self.behaviors, name)]

    def assign(
        self, animal: int, start: int, stop: int, behavior: str | None, rater: str = USER, *, join: bool = False
    ) -> None:
        """Say that an animal shows a behavior in frames [start, stop); None makes them unscored.

        With `join` it is one edit with the one before, for somebody who scores while the video plays.

        Raises
        ------
        InputError
            When the animal or the frames are not of this recording, the name is not a plain line of text, or the edit
            could not be written to disk; nothing has changed then.
        """
        edit = {"op": "assign", "bouts": [[int(animal), int(start), int(stop), behavior, rater]]}
        self._commit(edit | ({"join": True} if join and self._undo else {}))

    def clear(self, animal: int, start: int, stop: int, rater: str = USER) -> None:
        """Make the frames [start, stop) of an animal unscored."""
        self.assign(animal, start, stop, None, rater)

    def add_bouts(self, bouts: Iterable[Bout]) -> None:
        """Assign many bouts, each under its own rater, as one edit; a later bout covers an earlier one.

        Raises
        ------
        InputError
            As `assign`; then no bout is assigned.
        """
        if rows := [[int(b.animal), int(b.start), int(b.stop), b.behavior, b.rater] for b in bouts]:
            self._commit({"op": "assign", "bouts": rows})

    def set_frames(self, labels: np.ndarray, names: Sequence[str], rater: str = USER) -> None:
        """Replace all that a rater said by (T, A) labels, indices into `names` and -1 = unscored, as one edit.

        Raises
        ------
        InputError
            When the labels are not (T, A) integers from -1 to the number of names.
        """
        labels = np.asarray(labels)
        if labels.shape != (self.n_frames, len(self.animals)) or not np.issubdtype(labels.dtype, np.integer):
            expected = f"({self.n_frames}, {len(self.animals)}) integers"
            raise InputError(f"Labels are {labels.shape} of {labels.dtype}, but this recording needs {expected}.")
        if labels.size and (labels.min() < UNSCORED or labels.max() >= len(names)):
            raise InputError(f"Labels run from {labels.min()} to {labels.max()}, but there are {len(names)} names.")
        rows: list[list[Any]] = []
        for animal in range(labels.shape[1]):
            for start, stop, code in zip(*runs(labels[:, animal]), strict=True):
                rows.append([animal, int(start), int(stop), None if code == UNSCORED else names[code], rater])
        if rows:
            self._commit({"op": "assign", "bouts": rows})

    def rename_behavior(self, old: str, new: str) -> None:
        """Call a behavior otherwise, for every rater; a name already in use merges the two.

        Raises
        ------
        InputError
            When there is no such behavior, or the new name is not a plain line of text.
        """
        if old != new:
            self._commit({"op": "rename", "old": old, "new": new})

    def undo(self) -> bool:
        """Take the last edit back; False when there is none."""
        if self._undo:
            self._commit({"op": "undo"})
            return True
        return False

    def redo(self) -> bool:
        """Make the edit last taken back again; False when there is none."""
        if self._redo:
            self._commit({"op": "redo"})
            return True
        return False

    def _commit(self, edit: dict[str, Any]) -> None:
        self._check(edit)
        self.journal.append(edit)
        self._apply(edit)
        if self.journal.path is not None and self.journal.edits - self._snapshot_at >= _SNAPSHOT_EVERY:
            self._write_snapshot()

    def _make(self, edit: dict[str, Any]) -> None:
        self._check(edit)
        self._apply(edit)

    def _check(self, edit: dict[str, Any]) -> None:
        """Refuse an edit before anything is written or changed."""
        match edit["op"]:
            case "assign":
                for animal, start, stop, behavior, rater in edit["bouts"]:
                    self._check_bout(animal, start, stop)
                    check_name("behavior", behavior if behavior is not None else BACKGROUND)
                    check_name("rater", rater)
                    if rater == MODEL:
                        raise InputError(f"A rater cannot be called {MODEL!r}; give the name of who scored.")
            case "rename":
                check_name("behavior", edit["new"])
                if edit["old"] not in self.behaviors:
                    known = ", ".join(self.behaviors) or "none"
                    raise InputError(f"There is no behavior {edit['old']!r}; the behaviors are: {known}.")
            case "undo" | "redo" as op:
                if not (self._undo if op == "undo" else self._redo):
                    raise InputError(f"There is nothing to {op}.")
            case other:
                raise InputError(f"An edit {other!r} is not known; was it written by a newer version?")

    def _check_bout(self, animal: int, start: int, stop: int) -> None:
        if not 0 <= animal < len(self.animals):
            raise InputError(f"There is no animal {animal}; this recording has {len(self.animals)}, counted from 0.")
        if not 0 <= start < stop <= self.n_frames:
            frames = f"a bout must lie within frames 0 to {self.n_frames} and hold at least one"
            raise InputError(f"A bout is given as frames {start} to {stop}; {frames}.")

    def _apply(self, edit: dict[str, Any]) -> None:
        match edit["op"]:
            case "undo":
                self._redo.append(self._swap(self._undo.pop()))
            case "redo":
                self._undo.append(self._swap(self._redo.pop()))
            case op:
                before = self._paint(edit["bouts"]) if op == "assign" else self._rename(edit["old"], edit["new"])
                if edit.get("join"):
                    whole = self._undo.pop()
                    before = whole._replace(patches=[*whole.patches, *before.patches])
                self._undo.append(before)
                self._redo.clear()

    def _paint(self, bouts: list[list[Any]]) -> _Edit:
        before = _Edit(self.behaviors, self.raters, [])
        for animal, start, stop, behavior, rater in bouts:
            labels = self._of(rater)
            before.patches.append((rater, animal, start, _encode(labels[start:stop, animal])))
            if behavior is not None and behavior not in self.behaviors:
                self.behaviors += (behavior,)
            labels[start:stop, animal] = UNSCORED if behavior is None else self.behaviors.index(behavior)
        for rater in dict.fromkeys(bout[4] for bout in bouts):
            self._labels[rater] = self._labels.pop(rater)  # to the end: the last to edit is heard first
        return before

    def _rename(self, old: str, new: str) -> _Edit:
        before = _Edit(self.behaviors, self.raters, [])
        if new not in self.behaviors:
            self.behaviors = tuple(new if name == old else name for name in self.behaviors)
        elif new != old:
            names = tuple(name for name in self.behaviors if name != old)
            recode = [names.index(new if name == old else name) for name in self.behaviors]
            table = np.array([*recode, UNSCORED], np.int16)  # a label of -1 reads the last entry
            for rater, labels in self._labels.items():
                before.patches.extend((rater, a, 0, _encode(labels[:, a])) for a in range(len(self.animals)))
                labels[:] = table[labels]
            self.behaviors = names
        return before

    def _swap(self, edit: _Edit) -> _Edit:
        now = _Edit(self.behaviors, self.raters, [])
        for rater, animal, start, content in reversed(edit.patches):
            codes = _decode(content)
            labels = self._of(rater)[start : start + len(codes), animal]
            now.patches.append((rater, animal, start, _encode(labels)))
            labels[:] = codes
        self.behaviors = edit.behaviors
        self._labels = {rater: self._labels[rater] for rater in edit.raters}
        return now

    def _of(self, rater: str) -> np.ndarray:
        if rater not in self._labels:
            self._labels[rater] = self._unscored()
        return self._labels[rater]

    def _unscored(self) -> np.ndarray:
        return np.full((self.n_frames, len(self.animals)), UNSCORED, np.int16)

    def _write_snapshot(self) -> None:
        """Note the state after so many edits, so that opening need not replay them; the journal remains the truth."""
        assert self.journal.path is not None
        self._snapshot_at = self.journal.edits
        state = {
            "schema": _SCHEMA,
            "edits": self.journal.edits,
            "journal": self.journal.digest(),
            "behaviors": self.behaviors,
            "labels": [[rater, [_encode(column) for column in labels.T]] for rater, labels in self._labels.items()],
            "undo": self._undo,
            "redo": self._redo,
        }
        try:
            with atomic_path(self.journal.path.with_name("snapshot.json")) as temporary:
                temporary.write_text(json.dumps(state, separators=(",", ":")), encoding="utf-8")
        except (InputError, OSError) as error:
            warnings.warn(f"The edit is safe, but its snapshot is not written: {error}", UserWarning, stacklevel=4)

    def _read_snapshot(self, lines: list[bytes]) -> int:
        """Take the state from the snapshot when it fits the journal; return how many edits it holds."""
        assert self.journal.path is not None
        try:
            state = json.loads(self.journal.path.with_name("snapshot.json").read_bytes())
            done = int(state["edits"])
            if state["schema"] != _SCHEMA or state["journal"] != digest(lines[:done]):
                return 0
            labels = {rater: np.stack([_decode(c) for c in columns], axis=1) for rater, columns in state["labels"]}
            undo, redo = ([_Edit(tuple(b), tuple(r), p) for b, r, p in state[side]] for side in ("undo", "redo"))
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return 0  # the journal tells the same, only slower
        self.behaviors, self._labels, self._undo, self._redo = tuple(state["behaviors"]), labels, undo, redo
        return done


def _encode(labels: np.ndarray) -> list[list[int]]:
    start, stop, code = runs(labels)
    return np.stack([stop - start, code], axis=1).tolist()


def _decode(content: list[list[int]]) -> np.ndarray:
    length, code = np.array(content, int).reshape(-1, 2).T
    return np.repeat(code.astype(np.int16), length)


def check_name(what: str, name: str) -> None:
    """Refuse, with an `InputError`, what is not one line of text."""
    if not isinstance(name, str) or not name.isprintable() or not name or name != name.strip():
        raise InputError(f"{name!r} cannot name a {what}; give one line of text without blanks at its ends.")
