"""Scores what an animal does while the video plays, from when a key goes down."""

from __future__ import annotations

import time

from psygnal import Signal

from napari_lookagain.errors import InputError
from napari_lookagain.gui.state import Selection, SessionState

_STILL = 0.5  # seconds without another frame after which the video does not play


class Recorder:
    """Turns keys that go down and up into scored frames; where frames are marked, keys are for those.

    A key that goes up again while the video stands still scores the bout at the frame in view. Going back in the video
    ends what is recorded. All frames of one press are undone at once.

    Parameters
    ----------
    state
        Of the session.

    Attributes
    ----------
    hold
        Whether a key scores as long as it is held; else from one press to the next.
    behavior
        What is being scored; empty when nothing is.
    """

    changed = Signal()
    """Recording has begun or ended."""
    told = Signal(str)
    """What a person should be told."""

    def __init__(self, state: SessionState) -> None:
        self.hold = True
        self.behavior = ""
        self._state = state
        self._key = ""
        self._animal = self._start = self._frame = 0
        self._joins = self._writing = False
        self._moved_at = 0.0
        state.frame_changed.connect(self._follow)
        state.labels_changed.connect(self._part)

    def press(self, key: str, animal: int) -> None:
        """Take a key that went down: begin, or end what is recorded."""
        behavior = self._state.keys.get(key)
        if self._state.selection is not None or behavior is None:
            return
        same = bool(self.behavior) and key == self._key
        self.stop()
        if self.hold or not same:
            self._key, self._animal, self.behavior = key, animal, behavior
            self._start = self._frame = self._state.frame
            self._joins = False
            self.changed.emit()

    def release(self, key: str) -> None:
        """Take a key that went up."""
        if self.hold and key == self._key:
            self.stop()

    def stop(self) -> None:
        """End what is recorded."""
        if self.behavior and self._frame == self._start:
            self._score_where_it_stands()
        self.cancel()

    def cancel(self) -> None:
        """Score no more; what went by is scored already."""
        if self.behavior:
            self.behavior = ""
            self.changed.emit()

    def _follow(self, frame: int) -> None:
        """Score the frames that went by."""
        self._moved_at = time.monotonic()
        if frame < self._frame:
            self.cancel()
        elif self.behavior:
            self._write(self._start if self._frame == self._start else self._frame + 1, frame + 1)
            self._frame = frame

    def _score_where_it_stands(self) -> None:
        """Score the bout in view; or the frame in view alone, when the next one is about to come."""
        if time.monotonic() - self._moved_at < _STILL:
            self._write(self._frame, self._frame + 1)
        elif (bout := self._state.bout_at(self._animal, self._frame)) is not None:
            self._write(bout.start, bout.stop)
            self.told.emit(f"{self.behavior}: frames {bout.start:,} to {bout.stop - 1:,}.")
        else:
            self.told.emit("There is no bout here: mark frames, or hold the key while the video plays.")

    def _write(self, start: int, stop: int) -> None:
        self._writing = True
        try:
            self._state.assign(Selection(self._animal, start, stop), self.behavior, join=self._joins)
            self._joins = True
        except InputError as error:
            self.told.emit(str(error))
            self.cancel()
        finally:
            self._writing = False

    def _part(self, *_: object) -> None:
        """What is recorded from now on is an edit of its own, once somebody has made another edit."""
        if not self._writing:
            self._joins = False
