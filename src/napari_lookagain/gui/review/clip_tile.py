"""One small clip that runs over and over."""

from __future__ import annotations

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QAbstractButton

from napari_lookagain.example_clips import ExampleClip
from napari_lookagain.gui.timeline.clock import clock

SIZE = 150
"""Pixels of a picture's side."""
_RIM = 3
_PAUSE = 0.4  # seconds on the last picture, so that one sees where it begins


class ClipTile(QAbstractButton):
    """Shows the picture of a moment; its rim has the color of the class in those of the bout.

    Attributes
    ----------
    clip
        What it shows; None when it is empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip: ExampleClip | None = None
        self._at = 0
        self._color, self._caption = "", ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip("Go to this bout and mark it")
        self.clear()

    def show_clip(self, clip: ExampleClip, color: str, animal: str, fps: float) -> None:
        """Show another clip."""
        seconds = (clip.bout.stop - clip.bout.start) / fps
        self.clip, self._at, self._color = clip, 0, color
        self._caption = f"{animal}  {clock(clip.bout.start, fps, 0)}  {seconds:.2g} s"
        self.setAccessibleName(self._caption)
        self.setEnabled(True)
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self.clip, self._caption = None, ""
        self.setEnabled(False)
        self.update()

    def show_time(self, seconds: float) -> None:
        """Show the picture that is due so many seconds after the beginning."""
        if self.clip is None:
            return
        n = len(self.clip.pictures)
        at = min(int(seconds % (n / self.clip.fps + _PAUSE) * self.clip.fps), n - 1)
        if at != self._at:
            self._at = at
            self.update()

    def sizeHint(self) -> QSize:
        """Be as large as a picture, its rim and its caption."""
        return QSize(SIZE + 2 * _RIM, SIZE + 2 * _RIM + self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the picture."""
        painter = QPainter(self)
        frame = QRect(0, 0, SIZE + 2 * _RIM, SIZE + 2 * _RIM)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        if self.clip is None:
            ink.setAlpha(30)
            painter.fillRect(frame, ink)
            return
        picture = self.clip.pictures[self._at]
        if self.clip.inside[self._at]:
            painter.fillRect(frame, QColor(self._color))
        image = QImage(picture.data, SIZE, SIZE, 3 * SIZE, QImage.Format.Format_RGB888)
        painter.drawImage(_RIM, _RIM, image)
        painter.setPen(ink)
        under = self.rect().adjusted(0, frame.height(), 0, 0)
        painter.drawText(under, Qt.AlignmentFlag.AlignCenter, self._caption)
        if self.hasFocus():
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
