"""The arrays of .npz files, of which large ones need not fit into memory."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from napari_lookagain.stretches import pieces

LARGE = 1 << 24  # bytes of a file that is mapped, not read


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `np.savez_compressed` does, which would copy 16 MB of each at a time, and those twice."""
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            told = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, told)
                rows = np.atleast_1d(array)
                for piece in pieces(len(rows)):
                    member.write(rows[piece].tobytes())


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an uncompressed .npz file by name, mapped where it is large; what is damaged raises anything."""
    if path.stat().st_size > LARGE:
        return _map_members(path)
    with path.open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with stored:
            return {name: stored[name] for name in stored.files}


def _map_members(path: Path) -> dict[str, np.ndarray]:
    """Map the arrays of an uncompressed .npz file, once their checksums are known to be right.

    The maps are private: what is written into them stays in memory, and only the pages written to take any.
    """
    found: dict[str, np.ndarray] = {}
    with ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, fortran, kind = read_header[version](member)
                header = member.tell()
                while member.read(1 << 20):  # to the end, where a wrong checksum is an error
                    pass
            file.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            if info.compress_type != ZIP_STORED or kind.hasobject or fortran:
                raise ValueError(f"{info.filename} is not as it was written")
            start = info.header_offset + 30 + name + extra + header
            found[info.filename.removesuffix(".npy")] = (
                np.asarray(np.memmap(path, kind, "c", start, shape)) if np.prod(shape) else np.zeros(shape, kind)
            )
    return found
