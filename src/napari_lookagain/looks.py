"""What a person wants of the looks: frames that must be looked at, and spans that must not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

if TYPE_CHECKING:
    from napari_lookagain.session import Session

What = Literal["pin", "mute"]
_SCHEMA = 1


@dataclass(frozen=True)
class Wish:
    """One thing that is wanted of the looks.

    Parameters
    ----------
    what
        "pin": always look at these frames; "mute": never.
    start, stop
        Half-open span of frames, from 0.
    animal
        Name of the only animal that is meant; None = all of them.
    """

    what: What
    start: int
    stop: int
    animal: str | None = None


@dataclass(frozen=True)
class LookWishes:
    """All that a person wants of the looks at one recording; where two wishes contradict, the later one holds.

    Parameters
    ----------
    n_frames, animals
        Of the recording.
    wishes
        In the order in which they were made.

    Raises
    ------
    InputError
        When a wish is of frames or of an animal that the recording has not.
    """

    n_frames: int
    animals: tuple[str, ...]
    wishes: tuple[Wish, ...] = ()

    def __post_init__(self) -> None:
        for wish in self.wishes:
            if wish.what not in get_args(What):
                raise InputError(f"{wish.what!r} is nothing that looks can be asked for; expected pin or mute.")
            self._check(wish.start, wish.stop, wish.animal, wish.what)

    def pin(self, start: int, stop: int, animal: str | None = None) -> LookWishes:
        """With frames [start, stop) always looked at; errors as for the class."""
        return replace(self, wishes=(*self.wishes, Wish("pin", start, stop, animal)))

    def mute(self, start: int, stop: int, animal: str | None = None) -> LookWishes:
        """With frames [start, stop) never looked at; errors as for the class."""
        return replace(self, wishes=(*self.wishes, Wish("mute", start, stop, animal)))

    def release(self, start: int, stop: int, animal: str | None = None) -> LookWishes:
        """With frames [start, stop) left to the gate, whatever was wished of them before; errors as for the class."""
        self._check(start, stop, animal, "release")
        left = (piece for wish in self.wishes for piece in self._without(wish, start, stop, animal))
        return replace(self, wishes=tuple(left))

    def clear(self, animal: str | None = None) -> LookWishes:
        """Without any wish, or without those for one animal alone."""
        kept = () if animal is None else tuple(wish for wish in self.wishes if wish.animal != animal)
        return replace(self, wishes=kept)

    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames that are pinned, and frames that are muted, each (T, A) bool and never both."""
        pinned, muted = np.zeros((2, self.n_frames, len(self.animals)), bool)
        for wish in self.wishes:
            animals = slice(None) if wish.animal is None else self.animals.index(wish.animal)
            pinned[wish.start : wish.stop, animals] = wish.what == "pin"
            muted[wish.start : wish.stop, animals] = wish.what == "mute"
        return pinned, muted

    def told(self) -> dict[str, list[str]]:
        """The spans that are pinned and muted, in words: "100-101", or "100-101 of mouse2"."""
        words: dict[str, list[str]] = {"pinned": [], "muted": []}
        for wish in self.wishes:
            whose = "" if wish.animal is None else f" of {wish.animal}"
            words["pinned" if wish.what == "pin" else "muted"].append(f"{wish.start}-{wish.stop}{whose}")
        return words

    def save(self, path: Path) -> None:
        """Write the wishes, whole or not at all.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        told = {"schema": _SCHEMA, "wishes": [asdict(wish) for wish in self.wishes]}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _check(self, start: int, stop: int, animal: str | None, what: str) -> None:
        if not 0 <= start < stop <= self.n_frames:
            raise InputError(
                f"Frames {start} to {stop} cannot be meant by a {what}: the recording has frames 0 "
                f"to {self.n_frames - 1}, and a span stops before its second number."
            )
        if animal is not None and animal not in self.animals:
            raise InputError(f"There is no animal {animal!r}; the animals are: {', '.join(self.animals)}.")

    def _without(self, wish: Wish, start: int, stop: int, animal: str | None) -> Iterator[Wish]:
        """What is left of a wish beside frames [start, stop), and of other animals between them."""
        first, last = max(wish.start, start), min(wish.stop, stop)
        if first >= last or (None not in (wish.animal, animal) and wish.animal != animal):
            yield wish
            return
        if wish.start < first:
            yield replace(wish, stop=first)
        if wish.animal is None and animal is not None:
            yield from (replace(wish, start=first, stop=last, animal=each) for each in self.animals if each != animal)
        if last < wish.stop:
            yield replace(wish, start=last)


def wishes_of(session: Session) -> LookWishes:
    """What is wanted of the looks at a session, as kept in ``looks.json``; nothing while it is in memory.

    Raises
    ------
    InputError
        When the file is damaged, was written by a newer version, or is of another recording.
    """
    nothing = LookWishes(session.n_frames, session.animals)
    if session.path is None or not (path := session.path / "looks.json").exists():
        return nothing
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema = int(told["schema"])
        if schema > _SCHEMA:
            raise InputError(
                f"{path} was written by a newer version (schema {schema}, this one reads up to {_SCHEMA}); "
                "update napari-lookagain."
            )
        return replace(nothing, wishes=tuple(Wish(**wish) for wish in told["wishes"]))
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it, and pin and mute anew.") from error


def keep_wishes(session: Session, wishes: LookWishes) -> None:
    """Keep what is wanted of the looks in the folder of a session; runs from now on go by it.

    Raises
    ------
    InputError
        When the session is in memory only, or the file cannot be written.
    """
    if session.path is None:
        raise InputError(f"The session {session.recording} is in memory only; save it first.")
    wishes.save(session.path / "looks.json")
