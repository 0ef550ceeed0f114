"""Visual features by frame and animal: looked at once, kept for every later budget and run."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.format import open_memmap

from napari_lookagain.errors import InputError
from napari_lookagain.files import write_through

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FeatureCache:
    """Features of one encoder for the crops of one session, in a folder of two .npy arrays.

    `values.npy` holds the features (T, A, D_v), `done.npy` a one (T, A) for every row that is there. A row is marked
    only after its values have reached the disk, so a process may be killed at any time, and two may fill one cache at
    once. What is damaged is made anew.

    The arrays are read through memory maps but written through files: a full disk is then an error like any other,
    where writing through a map would kill the process. Rows never written are holes that are never read, so looking at
    a tenth of the frames takes about a tenth of the space.

    Parameters
    ----------
    folder
        Where the session keeps its features.
    key
        Everything the features depend on: encoder, crop rule, video.
    shape
        Frames, animals, features: (T, A, D_v). With A = 1 one row serves every animal at a frame.
    dtype
        Half precision by default: features need no more, and take half the space.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        key: str,
        shape: tuple[int, int, int],
        dtype: Literal["float16", "float32"] = "float16",
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        readable = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")[:60]
        self.folder = (
            Path(folder) / f"{readable}-{blake2b(f'{key} {shape} {dtype}'.encode(), digest_size=8).hexdigest()}"
        )
        try:
            if not self._attach():
                self._create()
        except OSError as error:
            raise self._failed(error, shape[0] * shape[1]) from error

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Give those of rows (N, 2) of frame and animal that are not there yet, each once and in order, (M, 2)."""
        places = _places(rows, self.shape)
        return _rows(places[self._done[places] != 1], self.shape)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read the features (N, D_v) float32 of rows (N, 2) of frame and animal.

        Raises
        ------
        InputError
            When a row was never written.
        """
        _refuse(self.missing(rows))
        return self._values[_places(rows, self.shape)].astype(np.float32)

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write the features (N, D_v) of rows (N, 2) of frame and animal, then mark the rows.

        Raises
        ------
        InputError
            When a value is not finite at the cache's precision, or the disk is full.
        """
        places = _places(rows, self.shape)
        with np.errstate(over="ignore"):
            stored = np.asarray(values).astype(self.dtype)
        if not np.isfinite(stored).all():
            raise InputError(f"The vision encoder gave features that are not finite {self.dtype} numbers; use another.")
        try:
            _put(self.folder / "values.npy", self._values_at, places, stored)
            _put(self.folder / "done.npy", self._done_at, places, np.ones(len(places), np.uint8))
        except OSError as error:
            raise self._failed(error, len(places)) from error

    def reserve(self, n_rows: int) -> None:
        """Make sure that the disk has room for so many more rows.

        Raises
        ------
        InputError
            When it has not, with what is needed and what is free.
        """
        if self._bytes(n_rows) > shutil.disk_usage(self.folder).free:
            raise self._failed(OSError(errno.ENOSPC, "No space left on device"), n_rows)

    def _bytes(self, n_rows: int) -> int:
        return n_rows * self.shape[2] * self.dtype.itemsize

    def _failed(self, error: OSError, n_rows: int) -> InputError:
        if error.errno not in _DISK_FULL:
            return InputError(
                f"Features cannot be kept in {self.folder} ({error.strerror}); choose a folder you may write to."
            )
        free = shutil.disk_usage(self.folder.parent).free
        return InputError(
            f"The disk is full: {n_rows} features need {self._bytes(n_rows) / 1e9:.3g} GB in {self.folder} where "
            f"{free / 1e9:.3g} GB are free; free some space or lower the budget and run again, what is done is kept."
        )

    def _attach(self) -> bool:
        """Map what is there, if it is what is expected."""
        try:
            values = open_memmap(self.folder / "values.npy", mode="r")
            done = open_memmap(self.folder / "done.npy", mode="r")
        except (FileNotFoundError, NotADirectoryError, ValueError, EOFError):  # nothing there, or damaged
            return False
        fits = (values.shape, values.dtype, done.shape, done.dtype) == (
            self.shape,
            self.dtype,
            self.shape[:2],
            np.uint8,
        )
        if not (fits and values.flags.c_contiguous and done.flags.c_contiguous):
            return False
        self._values, self._values_at = values.reshape(-1, self.shape[2]), values.offset
        self._done, self._done_at = done.reshape(-1), done.offset
        return True

    def _create(self) -> None:
        """Make both arrays beside their place and move them there in one step, over what is damaged if need be."""
        made = self.folder.with_name(f".new-{secrets.token_hex(8)}")
        made.mkdir(parents=True)
        try:
            open_memmap(made / "values.npy", mode="w+", dtype=self.dtype, shape=self.shape)
            np.save(made / "done.npy", np.zeros(self.shape[:2], np.uint8))  # no holes: all of it is read
            try:
                made.rename(self.folder)
            except OSError:  # a folder is there: another process was faster, or it is damaged
                if not self._attach():
                    self.folder.rename(made / "damaged")
                    made.rename(self.folder)
                    shutil.rmtree(self.folder / "damaged")
            if not self._attach():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        finally:
            shutil.rmtree(made, ignore_errors=True)


class FeatureMemory:
    """Features held in memory, for a session without a folder; as `FeatureCache`, but for these rows (N, 2) only."""

    def __init__(self, shape: tuple[int, int, int], rows: np.ndarray) -> None:
        self.shape = shape
        kept = np.unique(_places(rows, shape))
        self._at = np.full(shape[0] * shape[1], -1)  # all other rows point to a last one, which stays NaN
        self._at[kept] = np.arange(len(kept))
        self._values = np.full((len(kept) + 1, shape[2]), np.nan, np.float32)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Give those of rows (N, 2) of frame and animal that are not there yet, each once and in order, (M, 2)."""
        places = _places(rows, self.shape)
        return _rows(places[np.isnan(self._values[self._at[places], 0])], self.shape)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read the features (N, D_v) float32 of rows (N, 2); see `FeatureCache.read`."""
        _refuse(self.missing(rows))
        return self._values[self._at[_places(rows, self.shape)]]

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep the features (N, D_v) of rows (N, 2)."""
        self._values[self._at[_places(rows, self.shape)]] = values


Features = FeatureCache | FeatureMemory


def _places(rows: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Number rows (N, 2) of frame and animal from 0 to T * A - 1."""
    frames, animals = np.asarray(rows, dtype=np.int64).reshape(-1, 2).T
    if shape[1] == 1:
        animals = np.zeros_like(animals)
    return np.ravel_multi_index((frames, animals), shape[:2])


def _rows(places: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(np.divmod(np.unique(places), shape[1]), axis=1)


def _refuse(absent: np.ndarray) -> None:
    if len(absent):
        raise InputError(
            f"{len(absent)} features were asked for before they were looked at, the first of frame {absent[0, 0]} and "
            f"animal {absent[0, 1]}; look at them first."
        )


def _put(path: Path, offset: int, places: np.ndarray, values: np.ndarray) -> None:
    """Write rows of an .npy file, whose first begins at the offset, through to the disk."""
    rows = zip(places.tolist(), values, strict=True)
    write_through(path, ((offset + place * value.nbytes, value.tobytes()) for place, value in rows))
