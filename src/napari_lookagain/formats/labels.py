"""Labels made elsewhere: bout tables, one label per frame, one-hot tables and BORIS exports; all become bouts."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from napari_lookagain.annotations import BACKGROUND, UNSCORED, USER, Bout, label_bouts
from napari_lookagain.errors import InputError

Scored = Literal["labelled", "all"]
_NOTHING = {"", "na", "nan"}  # labels that say nothing, in any case
_ONEHOT = {"1": True, "1.0": True, "0": False, "0.0": False, "-1": False, "-1.0": False, "": False}
_BORIS = {"time", "subject", "behavior"}
_STATUS = ("status", "behavior type")  # what BORIS calls the START/STOP column, old and new
_Found = list[tuple[int, Bout]]  # each bout with the line it comes from; 0 where labels come frame by frame


def read_labels(
    path: str | Path,
    *,
    n_frames: int,
    animals: Sequence[str],
    fps: float,
    format: str | None = None,
    scored: Scored = "labelled",
    rater: str | None = None,
    recording: str | None = None,
) -> list[Bout]:
    """Read what somebody scored with other software.

    Parameters
    ----------
    path
        A text table with a header; columns parted by commas, semicolons or tabs.

        - ``"bouts"``: a row per bout with `animal` (its name; may be absent when there is one animal),
          `behavior`, `start_frame`, `stop_frame`; half-open, 0-based. A `rater` column is kept.
        - ``"frames"``: a row per frame, its first column the time, and a label per animal, in a column named after it
          (any name when there is one animal); "na", "nan" and empty are unscored. Or, as we export, a row per frame and
          animal with columns `frame`, `animal` and `behavior`.
        - ``"onehot"``: the first column the frame, one 0/1 column per behavior (DeepEthogram, lightning-action); a row
          without a 1 is unscored. One animal only.
        - ``"boris"``: a tabular export of BORIS events. The subject is the animal. Seconds become frames by the file's
          FPS, rounded to the nearest; a point event takes one frame.
    n_frames, animals, fps
        Of the recording.
    format
        One of the above; None tells it from the header.
    scored
        What frames in no bout are: unscored (``"labelled"``) or ``"background"`` (``"all"``).
    rater
        Whose labels these are; None keeps those of the file, ``"user"`` where it names none.
    recording
        Which recording to take from a table that holds several.

    Returns
    -------
    list of Bout
        By rater, animal and start, ready for `Annotations.add_bouts`. They do not overlap.

    Raises
    ------
    InputError
        When the file is not such a table, names another animal, reaches past the end, or has bouts of one animal that
        are empty or overlap; the line is named.
    """
    if scored not in ("labelled", "all"):
        raise InputError(f"Scored is {scored!r}; choose 'labelled' or 'all'.")
    table = _open_table(Path(path), animals, n_frames)
    format = format or _guess(table)
    if format not in _READERS:
        raise InputError(f"{path}: the format {format!r} is not known; choose one of: {', '.join(_READERS)}.")
    found = _READERS[format](table, fps, recording)
    if rater is not None:
        found = [(line, replace(bout, rater=rater)) for line, bout in found]
    bouts = _without_overlap(table, found)
    return _with_background(bouts, table, rater or USER) if scored == "all" else bouts


@dataclass(frozen=True)
class _Table:
    """A text table, parsed anew at every reading so that a long one never stands in memory as rows."""

    path: Path
    animals: tuple[str, ...]
    n_frames: int
    text: str
    delimiter: str
    top: int = 0  # rows above the header

    def parse(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of every line that is not blank."""
        reader = csv.reader(StringIO(self.text, newline=""), delimiter=self.delimiter)
        try:
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            raise self.error(reader.line_num, f"this is not a table ({error}); export the labels as csv.") from error

    @cached_property
    def header(self) -> list[str]:
        return next(islice(self.parse(), self.top, None), (0, [""]))[1]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the lines below the header, short ones filled up with empty cells."""
        width = len(self.header)
        for line, row in islice(self.parse(), self.top + 1, None):
            yield line, row + [""] * (width - len(row))

    def column(self, *names: str) -> int | None:
        """Find the first column that goes by any of these names, in any case."""
        return next((i for i, cell in enumerate(self.header) if cell.lower() in names), None)

    def columns(self, *names: str) -> list[int]:
        found = {name: self.column(name) for name in names}
        missing = " and no column ".join(name for name, index in found.items() if index is None)
        if missing:
            raise InputError(f"{self.path} has no column {missing}; its columns are: {', '.join(self.header)}.")
        return [index for index in found.values() if index is not None]

    def error(self, line: int, message: str) -> InputError:
        return InputError(f"{self.path}, line {line}: {message}")

    def animal(self, line: int, name: str) -> int:
        if name in self.animals:
            return self.animals.index(name)
        raise self.error(line, f"the animal {name!r} is unknown; this recording has: {', '.join(self.animals)}.")

    def only_animal(self) -> int:
        if len(self.animals) == 1:
            return 0
        missing = f"does not say whose labels these are, but this recording has {', '.join(self.animals)}"
        raise InputError(f"{self.path} {missing}; use a table of bouts with a column 'animal'.")

    def number(self, line: int, text: str, what: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(line, f"{text!r} is not {what}; a number is expected.")
        return value

    def frame(self, line: int, text: str) -> int:
        value = self.number(line, text, "a frame")
        if value != int(value):
            raise self.error(line, f"{text!r} is not a whole frame; frames are counted from 0, not timed.")
        return int(value)

    def inside(self, line: int, start: int, stop: int) -> None:
        """Refuse frames [start, stop) that are none, or not of this recording."""
        if start < 0:
            raise self.error(line, f"frame {start} is negative; frames are counted from 0.")
        if stop <= start:
            raise self.error(line, f"the bout from frame {start} to {stop} is empty; stop must come after start.")
        if stop > self.n_frames:
            raise self.error(line, f"frame {stop - 1} is past the end; this recording has {self.n_frames} frames.")


def _open_table(path: Path, animals: Sequence[str], n_frames: int) -> _Table:
    if path.suffix.lower() == ".boris":
        raise InputError(
            f"{path} is a BORIS project; export its events from BORIS as tabular events (csv), read those."
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or not text.strip():
        raise InputError(f"{path} is not a text table; export the labels as csv in UTF-8.")
    first = text.partition("\n")[0]
    table = _Table(path, tuple(animals), n_frames, text, max(",;\t", key=first.count))
    above = (i for i, (_, row) in enumerate(islice(table.parse(), 200)) if {cell.lower() for cell in row} >= _BORIS)
    return replace(table, top=next(above, 0))


def _guess(table: _Table) -> str:
    columns = {cell.lower() for cell in table.header}
    if columns >= _BORIS and columns & set(_STATUS):
        return "boris"
    if columns & {"start_frame", "stop_frame"}:
        return "bouts"
    if columns >= {"frame", "animal", "behavior"}:
        return "frames"
    sample = [row for _, row in islice(table.rows(), 200)]
    if len(table.header) > 1 and sample and _is_number(sample[0][0]):
        labels = {cell for row in sample for cell in row[1:]}
        named = not all(name in table.animals or name.isdecimal() for name in table.header[1:])
        return "onehot" if named and labels <= _ONEHOT.keys() else "frames"
    known = "a table of bouts (animal, behavior, start_frame, stop_frame), a label per frame, one-hot columns or BORIS"
    raise InputError(f"{table.path} is no labels we know: its columns are {', '.join(table.header)}; expected {known}.")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_bouts(table: _Table, fps: float, recording: str | None) -> _Found:
    behavior, start, stop = table.columns("behavior", "start_frame", "stop_frame")
    animal, rater = table.column("animal"), table.column("rater")
    found: _Found = []
    for line, row in _of_recording(table, recording):
        whose = table.only_animal() if animal is None else table.animal(line, row[animal])
        who = row[rater] if rater is not None else ""
        bout = Bout(whose, row[behavior], table.frame(line, row[start]), table.frame(line, row[stop]), who or USER)
        table.inside(line, bout.start, bout.stop)
        if not bout.behavior:
            raise table.error(line, "the bout has no behavior; name it, or leave the row out if it is unscored.")
        found.append((line, bout))
    return found


def _of_recording(table: _Table, recording: str | None) -> Iterator[tuple[int, list[str]]]:
    column = table.column("recording")
    held = sorted({row[column] for _, row in table.rows()}) if column is not None else []
    if column is None or len(held) < 2:
        return table.rows()
    if recording not in held:
        raise InputError(f"{table.path} holds several recordings ({', '.join(held)}), but none is {recording!r}.")
    return ((line, row) for line, row in table.rows() if row[column] == recording)


class _Dense:
    """Labels filled in frame by frame, then read off as bouts."""

    def __init__(self, table: _Table) -> None:
        self.table = table
        self.labels = np.full((table.n_frames, len(table.animals)), UNSCORED, np.int16)
        self.names: dict[str, int] = {}

    def put(self, line: int, frame: int, animal: int, name: str) -> None:
        self.table.inside(line, frame, frame + 1)
        if name.lower() in _NOTHING:
            return
        if self.labels[frame, animal] != UNSCORED:
            raise self.table.error(line, f"frame {frame} of {self.table.animals[animal]} is labelled a second time.")
        self.labels[frame, animal] = self.names.setdefault(name, len(self.names))

    def found(self) -> _Found:
        return [(0, bout) for bout in label_bouts(self.labels, list(self.names))]


def _read_frames(table: _Table, fps: float, recording: str | None) -> _Found:
    dense = _Dense(table)
    if table.column("behavior") is not None and table.column("frame") is not None:
        frame, animal, behavior = table.columns("frame", "animal", "behavior")
        for line, row in table.rows():
            dense.put(line, table.frame(line, row[frame]), table.animal(line, row[animal]), row[behavior])
        return dense.found()
    names = table.header[1:]
    unnamed = len(names) == 1 and names[0] not in table.animals
    whose = [table.only_animal()] if unnamed else [table.animal(1, name) for name in names]
    done = 0
    for done, (line, row) in enumerate(table.rows(), start=1):
        for animal, name in zip(whose, row[1:], strict=False):
            dense.put(line, done - 1, animal, name)
    _tell_short(table, done)
    return dense.found()


def _read_onehot(table: _Table, fps: float, recording: str | None) -> _Found:
    animal, names = table.only_animal(), table.header[1:]
    dense = _Dense(table)
    dense.names.update({name: index for index, name in enumerate(names)})
    done = 0
    for line, row in table.rows():
        if not set(row[1:]) <= _ONEHOT.keys():
            raise table.error(line, "a cell is neither 0 nor 1 (nor -1, unscored); one-hot labels are expected.")
        shown = [name for name, cell in zip(names, row[1:], strict=False) if _ONEHOT[cell]]
        if len(shown) > 1:
            raise table.error(line, f"{' and '.join(shown)} are shown at once; one behavior per frame is expected.")
        done = table.frame(line, row[0]) + 1
        dense.put(line, done - 1, animal, shown[0] if shown else "")
    _tell_short(table, done)
    return dense.found()


def _tell_short(table: _Table, done: int) -> None:
    if done < table.n_frames:
        rest = f"the recording has {table.n_frames} frames, the last ones stay without a label"
        warnings.warn(f"{table.path} ends after {done} frames; {rest}.", UserWarning, stacklevel=4)


def _read_boris(table: _Table, fps: float, recording: str | None) -> _Found:
    time, subject, behavior = table.columns("time", "subject", "behavior")
    status, rate = table.column(*_STATUS), table.column("fps", "fps (frame/s)")
    if status is None:
        raise InputError(
            f"{table.path} has no column status; export tabular events, START and STOP in rows of their own."
        )
    alone = len(table.animals) == 1 and len({row[subject] for _, row in table.rows()}) == 1
    running: dict[tuple[int, str], tuple[int, int]] = {}
    found: _Found = []
    rates = set()
    for line, row in table.rows():
        animal = 0 if alone else table.animal(line, row[subject])
        per_second = float(row[rate]) if rate is not None and _is_number(row[rate]) else fps
        rates.add(per_second)
        frame = round(table.number(line, row[time], "a time in seconds") * per_second)
        key, what = (animal, row[behavior]), row[status].upper()
        if what == "POINT":
            found.append((line, Bout(animal, row[behavior], frame, frame + 1)))
        elif what == "START" and key not in running:
            running[key] = line, frame
        elif what == "STOP" and key in running:
            began, start = running.pop(key)
            # an event shorter than a frame still takes one, and rounding up may step over the end
            stop = max(start + 1, min(frame, table.n_frames) if frame == table.n_frames + 1 else frame)
            found.append((began, Bout(animal, row[behavior], start, stop)))
        else:
            raise table.error(
                line, f"{what or 'an empty status'} of {row[behavior]!r} does not match START, STOP or POINT."
            )
    for (_, name), (line, _) in running.items():
        raise table.error(line, f"the START of {name!r} has no STOP; close the event in BORIS.")
    for line, bout in found:
        table.inside(line, bout.start, bout.stop)
    _tell_boris(table, rates, fps)
    return found


def _tell_boris(table: _Table, rates: set[float], fps: float) -> None:
    other = [rate for rate in rates if abs(rate / fps - 1) > 0.01]
    if other:
        said = f"{table.path} counts {other[0]:g} frames per second, the recording {fps:g}"
        warnings.warn(f"{said}; the file is believed: check that both are of one video.", UserWarning, stacklevel=4)
    for _, row in islice(table.parse(), table.top):
        if row[0].lower() == "time offset (s)" and len(row) > 1 and _is_number(row[1]) and float(row[1]):
            said = f"{table.path} has a time offset of {row[1]} s"
            warnings.warn(f"{said}; its times are taken as they stand.", UserWarning, stacklevel=4)


def _without_overlap(table: _Table, found: _Found) -> list[Bout]:
    found = sorted(found, key=lambda item: (item[1].rater, item[1].animal, item[1].start))
    for (line, one), (other_line, other) in pairwise(found):
        if (one.rater, one.animal) == (other.rater, other.animal) and other.start < one.stop:
            first = f"{one.behavior!r} (frames {one.start} to {one.stop}, line {line})"
            second = f"{other.behavior!r} ({other.start} to {other.stop}, line {other_line})"
            whose = f"of {table.animals[one.animal]} overlap; an animal shows one behavior at a time"
            raise InputError(f"{table.path}: the bouts {first} and {second} {whose}.")
    return [bout for _, bout in found]


def _with_background(bouts: list[Bout], table: _Table, rater: str) -> list[Bout]:
    """Fill every frame in no bout, for each rater and animal."""
    filled = []
    for who in dict.fromkeys(bout.rater for bout in bouts) or [rater]:
        for animal in range(len(table.animals)):
            end = 0
            for bout in [b for b in bouts if (b.rater, b.animal) == (who, animal)]:
                if bout.start > end:
                    filled.append(Bout(animal, BACKGROUND, end, bout.start, who))
                filled.append(bout)
                end = bout.stop
            if end < table.n_frames:
                filled.append(Bout(animal, BACKGROUND, end, table.n_frames, who))
    return filled


_READERS: dict[str, Callable[[_Table, float, str | None], _Found]] = {
    "bouts": _read_bouts,
    "frames": _read_frames,
    "onehot": _read_onehot,
    "boris": _read_boris,
}
