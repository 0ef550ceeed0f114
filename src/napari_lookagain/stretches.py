"""Arrays of a whole recording that are made stretch by stretch, each of them finished once and for all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

import numpy as np
from numpy.lib.format import open_memmap

from napari_lookagain.errors import InputError
from napari_lookagain.files import check_room, write_through

PIECE = 1 << 14  # frames that are worked on at a time, where all of a long recording would not fit into memory
_DONE = "done"
_SMALL = 1 << 22  # bytes that may well be held in memory


def pieces(n_frames: int) -> Iterator[slice]:
    """Spans of frames, one after the other, that are small enough to be worked on at once."""
    for start in range(0, n_frames, PIECE):
        yield slice(start, min(start + PIECE, n_frames))


def scratch(shape: tuple[int, ...], kind: type[np.generic], folder: Path | None) -> np.ndarray:
    """Zeros to be filled, for as long as they are held; large ones lie in a nameless file in a folder, if there is one.

    A file costs no memory that others may need: the system lets go of what it keeps of it.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if folder is None or size < _SMALL:
        return np.zeros(shape, kind)
    try:
        check_room(folder, size, "the keypoints in use")
        with TemporaryFile(dir=folder) as file:
            return np.asarray(np.memmap(file, kind, "w+", shape=shape))
    except OSError:  # a colleague's folder that may only be read
        return np.zeros(shape, kind)


class Stretches:
    """Arrays along the time of a recording, in a folder of .npy files or in memory, filled a stretch at a time.

    `done.npy` holds a one for every stretch that is finished. It is marked only after its values have reached the disk,
    so a process may be killed at any time and the next one goes on; and as a stretch always gets the same values,
    two may fill one folder at once. What is damaged is made anew.

    Parameters
    ----------
    folder
        Where the arrays are kept; None keeps them in memory.
    arrays
        Shape and type of every array, by name.
    axis
        The axis of time in all of them.
    length
        Frames in a stretch.
    what
        What they are, for an error.

    Attributes
    ----------
    spans
        All stretches.

    Raises
    ------
    InputError
        When the disk has no room for them, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path | None,
        arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]],
        *,
        axis: int,
        length: int,
        what: str,
    ) -> None:
        self._arrays, self._axis, self._what = dict(arrays), axis, what
        n_frames = next(iter(arrays.values()))[0][axis]
        self.spans = [slice(start, min(start + length, n_frames)) for start in range(0, n_frames, length)]
        self._arrays[_DONE] = ((len(self.spans),), np.uint8)
        self.folder = folder
        self._held: dict[str, np.ndarray] = {}
        if folder is None:
            self._held = {name: np.zeros(shape, kind) for name, (shape, kind) in self._arrays.items()}
        elif not self._fits(folder):
            try:
                self._create(folder)
            except OSError as error:
                raise self._failed(folder, error) from error

    @property
    def missing(self) -> list[slice]:
        """Stretches that are not finished."""
        done = self._open(_DONE)
        return [span for span, finished in zip(self.spans, done, strict=True) if not finished]

    def put(self, span: slice, **values: np.ndarray) -> None:
        """Finish a stretch with its part of every array.

        Raises
        ------
        InputError
            When the disk is full.
        """
        number = np.array([self.spans.index(span)])
        if self.folder is None:
            for name, part in values.items():
                self._held[name][(slice(None),) * self._axis + (span,)] = part
            self._held[_DONE][number] = 1
            return
        try:
            for name, part in values.items():
                self._write(name, self._axis, span.start, part)
            self._write(_DONE, 0, int(number[0]), np.ones(1))
        except OSError as error:
            raise self._failed(self.folder, error) from error

    def read(self) -> dict[str, np.ndarray]:
        """All arrays: memory maps of large files, and what is written into them is kept nowhere."""
        return {name: self._open(name) for name in self._arrays if name != _DONE}

    def _open(self, name: str) -> np.ndarray:
        if self.folder is None:
            return self._held[name]
        path = self.folder / f"{name}.npy"
        if path.stat().st_size < _SMALL:
            return np.asarray(np.load(path, allow_pickle=False))
        return np.asarray(open_memmap(path, mode="c"))

    def _fits(self, folder: Path) -> bool:
        """Whether what is in a folder is what is expected."""
        try:
            mapped = {name: open_memmap(folder / f"{name}.npy", mode="r") for name in self._arrays}
        except (OSError, ValueError, EOFError):  # nothing there, or damaged
            return False
        return all(
            (mapped[name].shape, mapped[name].dtype) == (shape, np.dtype(kind)) and mapped[name].flags.c_contiguous
            for name, (shape, kind) in self._arrays.items()
        )

    def _create(self, folder: Path) -> None:
        """Make the files beside their place and move them there in one step."""
        shutil.rmtree(folder, ignore_errors=True)  # it is not there, or damaged
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
        made.mkdir()
        try:
            size = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in self._arrays.values())
            check_room(made, size, self._what)
            for name, (shape, kind) in self._arrays.items():
                open_memmap(made / f"{name}.npy", "w+", kind, shape)  # holes until they are written
            try:
                made.rename(folder)
            except OSError:
                if not self._fits(folder):  # else another process was faster
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _write(self, name: str, axis: int, start: int, part: np.ndarray) -> None:
        """Write a part of an array through to the disk."""
        assert self.folder is not None
        shape, kind = self._arrays[name]
        row = int(np.prod(shape[axis + 1 :])) * np.dtype(kind).itemsize  # bytes of a frame
        part = np.ascontiguousarray(part, kind).reshape(-1, *part.shape[axis:])
        path = self.folder / f"{name}.npy"
        first = open_memmap(path, mode="r").offset
        write_through(
            path, ((first + (i * shape[axis] + start) * row, values.tobytes()) for i, values in enumerate(part))
        )

    def _failed(self, folder: Path, error: OSError) -> InputError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return InputError(f"The disk is full: {self._what} do not fit into {folder}; free some space.")
        return InputError(f"{folder} cannot be written ({error.strerror}); choose a folder you may write to.")
