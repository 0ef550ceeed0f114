"""Writing files whole or not at all, and telling one file from another."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from napari_lookagain.errors import InputError

_UMASK = os.umask(0o022)
os.umask(_UMASK)
_EDGE = 1 << 20  # bytes read at each end of a file for its fingerprint


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    A reader sees the old file or the new one, never half of one; after a crash or a full disk the old one stands.

    Raises
    ------
    InputError
        When the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        os.chmod(name, 0o666 & ~_UMASK)  # mkstemp makes files that colleagues in a shared folder could not read
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(f"The disk is full: {path} could not be written; free some space.") from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another folder.") from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_room(folder: Path, size: int, what: str) -> None:
    """Make sure that so many bytes fit: writing through a memory map to a full disk kills the process.

    Raises
    ------
    InputError
        When they do not.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"The disk is full: {what} need {size / 1e9:.3g} GB in {folder}, where {free / 1e9:.3g} GB are free; "
            "free some space."
        )


def write_through(path: Path, pieces: Iterable[tuple[int, bytes]]) -> None:
    """Write bytes at places of a file that is there, and have them reach the disk.

    A full disk is an `OSError` then, where writing through a memory map would kill the process.
    """
    with path.open("r+b", buffering=0) as file:
        for place, piece in pieces:
            file.seek(place)
            left = memoryview(piece)
            while left:  # a disk that fills up takes a part before it refuses
                left = left[file.write(left) :]
        os.fsync(file.fileno())


def fingerprint(path: str | Path) -> str:
    """Tell a file from another by its size and its first and last mebibyte, in constant time.

    Raises
    ------
    InputError
        When the file cannot be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        digest = blake2b(str(size).encode(), digest_size=16)
        with path.open("rb") as file:
            digest.update(file.read(_EDGE))
            if size > _EDGE:
                file.seek(max(_EDGE, size - _EDGE))
                digest.update(file.read(_EDGE))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    return digest.hexdigest()
