"""The names beside the rows: animals, and what each of their lanes holds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter
from qtpy.QtWidgets import QApplication

from napari_lookagain.gui.timeline.rows import Row
from napari_lookagain.gui.timeline.theme import Theme

_BAR, _PAD, _BETWEEN = 3, 8, 14  # pixels: the mark's width; beside and between names and titles
_WIDEST = 90  # of an animal's name; longer ones are cut off


class Gutter(pg.GraphicsWidget):
    """Names the rows of a box to its right, and marks the animal that keys act on.

    Parameters
    ----------
    box
        Its y are pixels from the top of all rows.
    animals
        Their names.
    theme
        Its colors.
    """

    def __init__(self, box: pg.ViewBox, animals: Sequence[str], theme: Theme) -> None:
        super().__init__()
        self._box = box
        self._animals = animals
        self._rows: Sequence[Row] = ()
        self._active = 0
        self._theme = theme
        self._font, self._bold = QFont(QApplication.font()), QFont(QApplication.font())
        self._bold.setBold(True)
        self._names = min(max(map(QFontMetricsF(self._bold).horizontalAdvance, animals)) + 1, _WIDEST)
        box.sigYRangeChanged.connect(self._refresh)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Name these rows from now on."""
        self._rows = rows
        metrics = QFontMetricsF(self._font)
        titles = max((metrics.horizontalAdvance(row.lane.title) for row in rows), default=0) + 1
        self.setFixedWidth(_BAR + _PAD + self._names + _BETWEEN + titles + _PAD)
        self.update()

    def set_active(self, animal: int) -> None:
        """Mark the animal that keys act on."""
        self._active = animal
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take other colors."""
        self._theme = theme
        self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Write the names of the rows in view."""
        offset = self._box.viewRange()[1][0]
        painter.setClipRect(self.rect())
        for animal, group in groupby(self._rows, key=lambda row: row.animal):
            rows = list(group)
            top, bottom = rows[0].top - offset, rows[-1].bottom - offset
            if animal == self._active:
                painter.fillRect(QRectF(0, top, _BAR, bottom - top), self._theme.mark)
            place = QRectF(_BAR + _PAD, top, self._names, rows[0].height)
            self._write(painter, self._animals[animal], place, self._bold, self._theme.ink)
            for row in rows:
                place = QRectF(0, row.top - offset, self.rect().width() - _PAD, row.height)
                self._write(painter, row.lane.title, place, self._font, self._theme.faint)

    def _write(self, painter: QPainter, text: str, place: QRectF, font: QFont, color: QColor) -> None:
        painter.setFont(font)
        painter.setPen(color)
        side = Qt.AlignmentFlag.AlignLeft if font.bold() else Qt.AlignmentFlag.AlignRight
        text = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideMiddle, place.width())
        painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, text)

    def _refresh(self, *_: object) -> None:
        self.update()
