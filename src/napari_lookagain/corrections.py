"""Keypoints that people moved: each move on disk before it counts, and undone without end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.journal import Journal

_SCHEMA = 1


class Moved(NamedTuple):
    """Which keypoint stands elsewhere now."""

    frame: int
    animal: int
    keypoint: int


class Corrections:
    """Moves of single keypoints, made in the arrays given.

    A line of the journal says where the keypoint was and where it is, so that the journal may be replayed on arrays
    in which some of its moves are made already, and gives the same.

    Parameters
    ----------
    keypoints, confidence
        (T, A, J, C) and (T, A, J) float32; written into.
    edited
        (T, A, J) bool, where a keypoint was moved; None = nowhere.
    animals, keypoint_names
        Names along A and J.

    Attributes
    ----------
    edited
        As given, with the moves made since.
    """

    def __init__(
        self,
        keypoints: np.ndarray,
        confidence: np.ndarray,
        edited: np.ndarray | None,
        animals: Sequence[str],
        keypoint_names: Sequence[str],
    ) -> None:
        self.keypoints, self.confidence, self.edited = keypoints, confidence, edited
        self._moves: list[dict[str, Any]] = []
        self._at = 0  # moves that stand; those after it were undone
        head = {"animals": list(animals), "keypoints": list(keypoint_names)}
        self.journal = Journal({"schema": _SCHEMA, "n_frames": len(keypoints), **head})

    def open(self, path: Path) -> None:
        """Make the moves in a file, which need not exist yet, and go on there.

        Raises
        ------
        InputError
            When the file cannot be read, is damaged (the line is named), or of another recording.
        """
        self.journal.replay(self.journal.attach(path), self._make)

    def save(self, path: Path) -> None:
        """Write all moves to a file that must not exist yet, and go on there; without moves, the first one writes it.

        Raises
        ------
        InputError
            When the file exists or cannot be written.
        """
        if self.journal.edits:
            self.journal.move(path)
        else:
            self.journal.attach(path)

    def move(self, frame: int, animal: int, keypoint: int, position: Sequence[float] | None) -> None:
        """Put a keypoint elsewhere, or with None say that it is not to be seen; in full in `Session.move_keypoint`."""
        where = [int(frame), int(animal), int(keypoint)]
        self._check_where(where)
        stands = self._stands(where)
        edit = {
            "op": "move",
            "where": where,
            "was": stands,
            "is": [self._place(position), float(position is not None), True],
        }
        if edit["is"] != stands:
            self._write(edit)

    def undo(self) -> Moved | None:
        """Put the keypoint that was moved last back; None when there is none."""
        if not self._at:
            return None
        self._write({"op": "undo"})
        return Moved(*self._moves[self._at]["where"])

    def redo(self) -> Moved | None:
        """Make the move that was taken back last again; None when there is none."""
        if self._at == len(self._moves):
            return None
        self._write({"op": "redo"})
        return Moved(*self._moves[self._at - 1]["where"])

    def _write(self, edit: dict[str, Any]) -> None:
        self.journal.append(edit)
        self._make(edit)

    def _make(self, edit: dict[str, Any]) -> None:
        match edit["op"]:
            case "move":
                self._check_where(edit["where"])
                self._put(edit["where"], *edit["is"])
                self._moves[self._at :] = [edit]
                self._at += 1
            case "undo" if self._at:
                self._at -= 1
                self._put(self._moves[self._at]["where"], *self._moves[self._at]["was"])
            case "redo" if self._at < len(self._moves):
                self._put(self._moves[self._at]["where"], *self._moves[self._at]["is"])
                self._at += 1
            case other:
                raise InputError(f"{other!r} cannot be made here; was it written by a newer version?")

    def _stands(self, where: Sequence[int]) -> list[Any]:
        """Position (None = missing), confidence and whether it was moved, as JSON values."""
        index = tuple(where)
        position = self.keypoints[index]
        edited = self.edited is not None and bool(self.edited[index])
        return [None if np.isnan(position).all() else position.tolist(), float(self.confidence[index]), edited]

    def _put(self, where: Sequence[int], position: Sequence[float] | None, confidence: float, edited: bool) -> None:
        if self.edited is None:
            self.edited = np.zeros(self.confidence.shape, bool)
        index = tuple(where)
        self.keypoints[index] = np.nan if position is None else self._place(position)
        self.confidence[index] = confidence
        self.edited[index] = edited

    def _place(self, position: Sequence[float] | None) -> list[float] | None:
        """A position as it is kept, in single precision."""
        if position is None:
            return None
        place = np.asarray(position, np.float32)
        if place.shape != self.keypoints.shape[-1:] or not np.isfinite(place).all():
            expected = f"{self.keypoints.shape[-1]} coordinates in pixels"
            raise InputError(
                f"A keypoint cannot be moved to {position}; give {expected}, or None where it is not seen."
            )
        return list(place.tolist())

    def _check_where(self, where: Sequence[int]) -> None:
        if not all(0 <= index < n for index, n in zip(where, self.confidence.shape, strict=True)):
            n_frames, n_animals, n_keypoints = self.confidence.shape
            raise InputError(
                f"There is no frame, animal and keypoint {', '.join(map(str, where))}, counted from 0; there are "
                f"{n_frames} frames of {n_animals} animals with {n_keypoints} keypoints."
            )
