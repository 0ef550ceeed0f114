"""The ruler above the lanes: time, and the frames that it is."""

from __future__ import annotations

import pyqtgraph as pg
from qtpy.QtCore import QPointF
from qtpy.QtGui import QPainter, QPolygonF

from napari_lookagain.gui.timeline.clock import clock, grouped, tick_spacing
from napari_lookagain.gui.timeline.theme import Theme

_APART = 96  # pixels between labelled ticks, at least
_HEIGHT = 36
_HEAD = 6  # pixels of half the cursor's head


class Ruler(pg.AxisItem):
    """An axis of frames, labelled with their time and number.

    Parameters
    ----------
    fps
        Frames per second.
    """

    def __init__(self, fps: float) -> None:
        super().__init__("top", maxTickLength=-6)
        self._fps = fps
        self._cursor = 0.0
        self.setStyle(maxTextLevel=0, autoExpandTextSpace=False, hideOverlappingLabels=False)
        self.setHeight(_HEIGHT)

    def set_theme(self, theme: Theme) -> None:
        """Take other colors."""
        self.setPen(theme.faint)
        self.setTextPen(theme.ink)

    def set_cursor(self, position: float) -> None:
        """Let the head of the cursor stand at a position."""
        self._cursor = position
        self.update()

    def paint(self, painter: QPainter, *options: object) -> None:
        """Draw the ruler and the head of the cursor on it."""
        super().paint(painter, *options)
        start, stop = self.range
        if start <= self._cursor <= stop:
            x, y = self.width() * (self._cursor - start) / (stop - start), self.height()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(pg.mkPen(None))
            painter.setBrush(self.textPen().color())
            painter.drawPolygon(
                QPolygonF([QPointF(x - _HEAD, y - _HEAD), QPointF(x + _HEAD, y - _HEAD), QPointF(x, y)])
            )

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        """Put ticks at round times, or at round frames where a second is wide; smaller ones between them."""
        major = tick_spacing((maxVal - minVal) / max(size, 1) * _APART, self._fps)
        minor = major / 5
        first, last = int(minVal // minor), int(maxVal // minor) + 1
        ticks = [n for n in range(max(first, 0), last + 1) if minor >= 1 or n % 5 == 0]
        return [
            (major, [n * minor for n in ticks if n % 5 == 0]),
            (minor, [n * minor for n in ticks if n % 5]),
        ]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Write the time of a tick above its frame."""
        decimals = 0 if spacing >= self._fps else 2
        return [f"{clock(value, self._fps, decimals)}\n{grouped(round(value))}" for value in values]
