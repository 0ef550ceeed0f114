"""HDF5 files that other programs wrote, opened without letting them run code.

HDF5 itself holds numbers and text. PyTables, and pandas through it, stores any other Python object as a pickle, in
an attribute or in an array of objects, and *unpickles every attribute it looks at*: opening such a file with pandas
runs whatever its author put there. Genuine DeepLabCut files hold pickles too (an index without a name is called
``N.``, the pickle of None; pandas' table layout keeps its column names nowhere else), so not all can be refused.

Therefore neither PyTables nor pandas ever opens a file here. `open_hdf5` reads with h5py, which knows no pickles, and
refuses a file with a pickle that would import anything, or with an array of objects. `read_frame` decodes pandas'
two layouts itself; the one pickle it needs, a list of column names, it reads off the disassembly by `pickletools`,
which runs nothing: lists, tuples, texts and numbers are understood, anything else is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from napari_lookagain.errors import InputError

_IMPORTING = {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
_ATOMS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "STRING", "INT", "BININT", "BININT1", "BININT2", "LONG", "FLOAT"}


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, once it is known to hold no pickled objects that could run code.

    Raises
    ------
    InputError
        When the file is truncated or not HDF5, or when it holds such objects.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened as HDF5: it is cut off, damaged or another kind of file; copy or export it again."
        ) from error
    with file:
        _refuse_objects(path, "/", file)
        file.visititems(lambda name, item: _refuse_objects(path, name, item))
        yield file


def read_frame(file: h5py.File, key: str) -> pd.DataFrame:
    """Decode the data frame pandas stored under `key`, in its fixed or its table layout.

    Returns
    -------
    pandas.DataFrame
        Rows in the order and with the index of the file, columns as a `MultiIndex`; unnamed on both sides.

    Raises
    ------
    InputError
        When its column names are not plain text.
    KeyError, ValueError
        When the group is no data frame, or a damaged one.
    """
    group = file[key]
    if "table" in group:
        return _table_frame(group["table"])
    if "axis1" in group:
        index = _decoded(group["axis1"])
    else:  # several levels: the parts of the path of a labelled image
        index = np.array(["/".join(map(str, row)) for row in _level_rows(group, "axis1")])
    blocks = [
        _frame(group[f"block{number}_values"][()], index, _level_rows(group, f"block{number}_items"))
        for number in range(int(group.attrs["nblocks"]))
    ]
    return pd.concat(blocks, axis=1).reindex(columns=pd.MultiIndex.from_tuples(_level_rows(group, "axis0")))


def _table_frame(table: h5py.Dataset) -> pd.DataFrame:
    rows = table[()]
    index = rows["index"]
    names = sorted(name for name in rows.dtype.names or () if name.startswith("values_block_"))
    frames = [
        _frame(rows[name].reshape(len(rows), -1), index, [tuple(c) for c in _literal(table.attrs[f"{name}_kind"])])
        for name in names
    ]
    return pd.concat(frames, axis=1)


def _frame(values: np.ndarray, index: np.ndarray, columns: list[tuple[str, ...]]) -> pd.DataFrame:
    if not all(isinstance(part, str) for column in columns for part in column):
        raise InputError("The column names in this HDF5 file are not text; export the pose as csv instead.")
    if values.shape[1] != len(columns):
        values = values.T
    return pd.DataFrame(values, index=index, columns=pd.MultiIndex.from_tuples(columns))


def _level_rows(group: h5py.Group, axis: str) -> list[tuple[str, ...]]:
    """Names along an axis of the fixed layout, which holds the distinct names of each level, and codes into them."""
    levels = range(int(group.attrs[f"{axis}_nlevels"]))
    names = [_decoded(group[f"{axis}_level{level}"])[group[f"{axis}_label{level}"][()]] for level in levels]
    return list(zip(*(level.tolist() for level in names), strict=True))


def _decoded(dataset: h5py.Dataset) -> np.ndarray:
    values: np.ndarray = dataset[()]
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values


def _refuse_objects(path: Path, name: str, item: h5py.Group | h5py.Dataset) -> None:
    for attribute, value in item.attrs.items():
        if not isinstance(value, bytes):
            continue
        # PyTables marks an array of pickled objects with the first of these, its version 1 with the second.
        if (attribute in ("PSEUDOATOM", "FLAVOR") and value.lower() == b"object") or _imports(value):
            raise InputError(
                f"{path} holds pickled Python objects (in {name}, {attribute}), which can run code when opened; "
                "export the pose as csv, or as HDF5 with numbers only."
            )


def _imports(value: bytes) -> bool:
    """Whether a text is a pickle that imports something, without which a pickle can do no harm."""
    try:
        return any(opcode.name in _IMPORTING for opcode, _, _ in pickletools.genops(value))
    except Exception:  # not a pickle: pickletools raises whatever its text leads it to
        return False


def _literal(pickled: bytes) -> Any:
    """Value of a pickle made of lists, tuples, texts and numbers alone, by its disassembly; nothing is executed."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    marks: list[int] = []
    for opcode, argument, _ in pickletools.genops(bytes(pickled)):
        match opcode.name:
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "LIST" | "TUPLE":
                start = marks.pop()
                items, stack[start:] = stack[start:], []
                stack.append(items if opcode.name == "LIST" else tuple(items))
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case name if name in _ATOMS:
                stack.append(argument)
            case name:
                raise InputError(
                    f"The column names of this HDF5 file are pickled with {name}, expected plain lists of text; "
                    "export the pose as csv instead."
                )
    raise ValueError("unfinished list of column names")
