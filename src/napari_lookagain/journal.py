"""A file of one JSON line per edit, each on disk before the edit counts."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

_DIGEST = 16  # bytes


class Journal:
    """An ever-growing list of edits, in memory until it is given a file.

    The first line of the file is a header; every further line is one edit, with the time (``at``). Nothing written is
    ever shortened, but for the torn line that a crash leaves at the end, which the next edit overwrites. An edit whose
    ``op`` is ``"undo"`` or ``"redo"`` takes another one back or makes it again; one with ``join`` is part of the one
    before.

    Parameters
    ----------
    header
        What the edits are about, as JSON values; ``header["schema"]`` numbers the form of the file. A file with another
        header is refused.

    Attributes
    ----------
    path
        The file; None while in memory.
    edits
        Edits held.
    done
        When the edits that stand were made; the last is the next to be taken back.
    undone
        When the edits that do not were made, and taken back; the last is the next to be made again.
    newest
        When an edit was made last, whether it stands or not.
    """

    def __init__(self, header: dict[str, Any]) -> None:
        self.header = header
        self.path: Path | None = None
        self.edits = 0
        self.done: list[str] = []
        self.undone: list[tuple[str, str]] = []
        self.newest = ""
        self._hash = blake2b(digest_size=_DIGEST)
        self._content = bytearray(_line(header))  # emptied once it is in a file
        self._size = 0  # bytes of the file that hold whole lines
        self._seen = 0  # bytes of the file when last looked at, a torn line included

    def digest(self) -> str:
        """Tell these edits from any others, as `digest` of their lines."""
        return self._hash.hexdigest()

    def attach(self, path: Path) -> list[bytes]:
        """Go on in a file, which need not exist yet; return the edits in it.

        Raises
        ------
        InputError
            When the file cannot be read, or its header is damaged, newer, or another's.
        """
        self.path = path
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
        self._size, self._seen = content.rfind(b"\n") + 1, len(content)
        if self._size < self._seen:
            warnings.warn(f"{path} ends in a torn line (a crash?): that last edit is lost.", UserWarning, stacklevel=4)
        header, *edits = content[: self._size].splitlines(keepends=True) or [b""]
        if header:
            self._check_header(header)
            self._content.clear()
        self.edits = len(edits)
        self._hash.update(b"".join(edits))
        for line in edits:
            with suppress(ValueError, KeyError, TypeError, IndexError):  # `replay` names the line that is damaged
                self._count(json.loads(line))
        return edits

    def replay(self, lines: list[bytes], make: Callable[[dict[str, Any]], None], done: int = 0) -> None:
        """Make the edits in the lines of the file again, but for the first `done`.

        Raises
        ------
        InputError
            When a line is no edit, or none that can be made; it is named.
        """
        for number, line in enumerate(lines[done:], start=done + 2):  # line 1 is the header
            try:
                make(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                where = f"line {number} of {self.path}"
                raise InputError(f"{where} is damaged ({error}); restore the file from a backup.") from error

    def append(self, edit: dict[str, Any]) -> None:
        """Add an edit; it is on disk when this returns, and not at all when this raises.

        Raises
        ------
        InputError
            When the disk is full or unwritable, or another program has written to the file.
        """
        edit = edit | {"at": datetime.now(UTC).isoformat(timespec="microseconds")}
        line = _line(edit)
        if self.path is None:
            self._content += line
        else:
            self._write(self.path, bytes(self._content) + line)
            self._content.clear()
        self.edits += 1
        self._hash.update(line)
        self._count(edit)

    def move(self, path: Path) -> None:
        """Copy everything to a file that must not exist yet, and go on there.

        Raises
        ------
        InputError
            When the file exists or cannot be written.
        """
        if path == self.path:
            return
        if path.exists():
            raise InputError(f"{path} exists already; choose a folder without it.")
        written = self.path.read_bytes()[: self._size] if self.path is not None and self._size else b""
        content = written + bytes(self._content)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        self.path = path
        self._size = self._seen = len(content)
        self._content.clear()

    def _count(self, edit: dict[str, Any]) -> None:
        match edit["op"]:
            case "undo":
                self.undone.append((self.done.pop(), edit["at"]))
            case "redo":
                self.done.append(self.undone.pop()[0])
            case _ if not edit.get("join"):
                self.newest = edit["at"]
                self.done.append(self.newest)
                self.undone.clear()

    def _check_header(self, line: bytes) -> None:
        try:
            header = json.loads(line)
            schema = int(header["schema"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"line 1 of {self.path} is damaged ({error}); restore the file from a backup.") from error
        if schema > self.header["schema"]:
            raise InputError(f"{self.path} was written by a newer version (schema {schema}); update napari-lookagain.")
        if header != self.header:
            raise InputError(f"{self.path} is of another recording: it says {header}, this one is {self.header}.")

    def _write(self, path: Path, content: bytes) -> None:
        try:
            if self._seen == 0 and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            with path.open("r+b", buffering=0) as file:
                if file.seek(0, os.SEEK_END) != self._seen:
                    raise InputError(f"{path} was changed by another program; open the session again before editing.")
                file.seek(self._size)
                file.truncate()  # a torn line would spoil the one written after it
                try:
                    if file.write(content) != len(content):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(self._size)
                    self._seen = self._size
                    raise
        except OSError as error:
            remedy = "free some space" if error.errno == errno.ENOSPC else "choose a folder you may write to"
            raise InputError(f"The edit is not made: {path} cannot be written ({error.strerror}); {remedy}.") from error
        self._size += len(content)
        self._seen = self._size


def made_last(journals: Sequence[Journal]) -> Journal | None:
    """Of several journals the one with the edit that was made last, of those that stand; None when there is none."""
    return max((journal for journal in journals if journal.done), key=lambda journal: journal.done[-1], default=None)


def undone_last(journals: Sequence[Journal]) -> Journal | None:
    """Of several journals the one with the edit to make again; None when another was made since it was taken back."""
    newest = max((journal.newest for journal in journals), default="")
    waiting = [journal for journal in journals if journal.undone and journal.undone[-1][1] >= newest]
    return min(waiting, key=lambda journal: journal.undone[-1][0], default=None)


def digest(lines: list[bytes]) -> str:
    """Tell a list of lines from any other."""
    return blake2b(b"".join(lines), digest_size=_DIGEST).hexdigest()


def _line(edit: dict[str, Any]) -> bytes:
    return json.dumps(edit, separators=(",", ":"), allow_nan=False).encode() + b"\n"
