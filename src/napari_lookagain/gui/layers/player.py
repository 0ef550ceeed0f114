"""Plays a stretch of frames."""

from __future__ import annotations

from qtpy.QtCore import QElapsedTimer, QObject, QTimer

from napari_lookagain.gui.state import Selection, SessionState

_LEAST = 15  # milliseconds between frames: more often no screen shows another one


class Player(QObject):
    """Plays frames once, from the first to the last; frames that there is no time for are left out.

    Parameters
    ----------
    state
        Of the session; its frame in view is moved.
    parent
        With which it ends.
    """

    def __init__(self, state: SessionState, parent: QObject) -> None:
        super().__init__(parent)
        self._state = state
        self._span = Selection(0, 0, 0)
        self._fps = state.session.fps
        self._clock = QElapsedTimer()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._advance)

    @property
    def is_playing(self) -> bool:
        """Whether it is running."""
        return self._timer.isActive()

    def toggle(self, span: Selection, speed: float = 1.0) -> None:
        """Play frames from their start on, or stop; at a speed of 1 as fast as they were recorded."""
        if self.is_playing:
            self._timer.stop()
            return
        self._span, self._fps = span, speed * self._state.session.fps
        self._state.seek(span.start)
        self._clock.start()
        self._timer.start(max(round(1000 / self._fps), _LEAST))

    def _advance(self) -> None:
        frame = self._span.start + int(self._clock.elapsed() / 1000 * self._fps)
        self._state.seek(min(frame, self._span.stop - 1))
        if frame >= self._span.stop - 1:
            self._timer.stop()
