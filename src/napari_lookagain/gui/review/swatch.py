"""The color of a class in a cell of a table."""

from __future__ import annotations

from qtpy.QtCore import QModelIndex, QRect, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

_SIDE = 14


class Swatch(QStyledItemDelegate):
    """Draws the color that a cell holds as its user data; unlike an icon, it looks the same in a row that is chosen."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the cell, and a square in its middle."""
        super().paint(painter, option, index)
        square = QRect(0, 0, _SIDE, _SIDE)
        square.moveCenter(option.rect.center())
        painter.fillRect(square, QColor(index.data(Qt.ItemDataRole.UserRole)))
