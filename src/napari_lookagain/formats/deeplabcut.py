"""Tables of DeepLabCut and of Lightning Pose, which writes the same csv, and the rows of any pose csv."""

from __future__ import annotations

import csv
import warnings
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from napari_lookagain.errors import InputError
from napari_lookagain.formats.hdf5 import open_hdf5, read_frame

_LEVELS = ["scorer", "individuals", "bodyparts", "coords"]
_COORDS = ["x", "y", "z", "likelihood"]


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of predictions, made regular: each frame from 0 on, each keypoint of each animal.

    Returns
    -------
    pandas.DataFrame
        Index = frame; columns = (scorer, individuals, bodyparts, coords), of coords only x, y, z and likelihood;
        NaN in rows and columns that the file leaves out.

    Warns
    -----
    UserWarning
        When keypoints that belong to no animal (DeepLabCut's individual "single") are left out.

    Raises
    ------
    InputError
        When the file is another kind of table, holds labelled images instead of a track, or is cut off.
    """
    table = _frame_of_hdf5(path) if h5py.is_hdf5(path) else _frame_of_csv(path)
    return _every_column(path, _every_frame(path, table))


def frame_keys(file: h5py.File) -> list[str]:
    """List the data frames that pandas stored at the top of an HDF5 file."""
    return [key for key, item in file.items() if isinstance(item, h5py.Group) and "pandas_type" in item.attrs]


def read_header(path: Path, n_rows: int) -> list[list[str]]:
    """Split the first rows of a csv into cells.

    Raises
    ------
    InputError
        When the file is no text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(islice(csv.reader(file), n_rows))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is neither text nor HDF5; check that it is the pose file.") from error


def read_rows(path: Path, n_header: int) -> pd.DataFrame:
    """Read the rows of a csv below its header.

    Raises
    ------
    InputError
        When there are none, or the last one is cut off, which pandas would fill up without a word.
    """
    n_columns = max(map(len, read_header(path, max(1, n_header))), default=0)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 20)))
        n_last = file.read().rstrip(b"\r\n").rpartition(b"\n")[2].count(b",") + 1
    if n_last != n_columns:
        raise InputError(
            f"{path} is cut off: its last row has {n_last} of {n_columns} columns; copy or export it again."
        )
    try:
        return pd.read_csv(path, header=None, skiprows=n_header, low_memory=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} holds a header and no frames; copy or export it again.") from error


def _frame_of_hdf5(path: Path) -> pd.DataFrame:
    with open_hdf5(path) as file:
        keys = frame_keys(file)
        if not keys:
            raise InputError(f"{path} holds no table of DeepLabCut; check that it is the file of predictions.")
        return read_frame(file, "df_with_missing" if "df_with_missing" in keys else keys[0])


def _frame_of_csv(path: Path) -> pd.DataFrame:
    names = [row[0].strip().lower() if row else "" for row in read_header(path, 4)]
    levels = _LEVELS if "individuals" in names else [level for level in _LEVELS if level != "individuals"]
    if names[: len(levels)] != levels:
        raise InputError(f"{path} starts with rows named {', '.join(names)}; expected {', '.join(levels)}.")
    header = read_header(path, len(levels))
    table = read_rows(path, len(levels)).set_index(0)
    return table.set_axis(pd.MultiIndex.from_tuples(list(zip(*(row[1:] for row in header), strict=True))), axis=1)


def _every_frame(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        raise InputError(f"{path} holds a header and no frames; export it again.")
    frames = np.asarray(table.index)
    if not np.issubdtype(frames.dtype, np.number):
        image = frames[0].decode(errors="replace") if isinstance(frames[0], bytes) else frames[0]
        raise InputError(f"{path} holds labelled images ({image}, …), not a track; give the predictions for a video.")
    if not (np.isfinite(frames).all() and (frames % 1 == 0).all() and frames[0] >= 0 and (np.diff(frames) > 0).all()):
        raise InputError(f"{path} has frame numbers out of order in its first column; expected 0, 1, 2, …")
    n_frames = int(frames[-1]) + 1
    if len(frames) < n_frames / 2:
        raise InputError(f"{path} has rows for {len(frames)} of {n_frames} frames; expected the predictions for all.")
    return table.set_axis(frames.astype(int), axis=0).reindex(range(n_frames))


def _every_column(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    # The scorer may differ from column to column where a spreadsheet has numbered it; nothing hangs on it.
    columns = [("", "individual_0", *column[1:]) if len(column) == 3 else ("", *column[1:]) for column in table.columns]
    animals = list(dict.fromkeys(column[1] for column in columns))
    if len(animals) > 1 and "single" in animals:
        animals.remove("single")
        warnings.warn(f"Keypoints of no animal ('single') in {path} are left out.", UserWarning, stacklevel=5)
    keypoints = list(dict.fromkeys(column[2] for column in columns if column[1] in animals))
    # Ensembles add columns on their spread; only a position and its score are a pose.
    coords = [coord for coord in _COORDS if any(column[3] == coord for column in columns)]
    if coords[:2] != ["x", "y"]:
        raise InputError(f"{path} has no columns x and y; check that it is the file of predictions.")
    table = table.set_axis(pd.MultiIndex.from_tuples(columns, names=_LEVELS), axis=1)
    full = pd.MultiIndex.from_product([[""], animals, keypoints, coords], names=_LEVELS)
    return table.reindex(columns=full).astype(np.float64)
