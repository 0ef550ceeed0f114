"""What a model learns from and how well it does: scored frames and F1 of each behavior, and what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

_HEADS = {
    "Behavior": "What was scored",
    "Scored": "Frames of animals that are scored now; the next training learns from them",
    "F1": "Of the last training, on windows that it did not learn from: 1 is perfect, 0 is never right",
}
_SHADE = "#0072b2"  # Okabe and Ito's blue
_NARROW = 30  # pixels
_FIT = 5  # narrow columns that a narrow dock has room for


class LessonTable(QTableWidget):
    """A row for each behavior; the numbered columns say as what its held-out frames were predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setAccessibleName("scored frames and F1")
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.horizontalHeader().setMinimumSectionSize(_NARROW)

    def fill(self, scored: Mapping[str, int], report: Mapping[str, Any] | None) -> None:
        """Show how many frames are scored, and what the last training told, if there was one."""
        held_out = (report or {}).get("held_out") or {}
        classes, confusion = held_out.get("classes", {}), held_out.get("confusion", [])
        learnt = list(classes)
        names = [*learnt, *(name for name in scored if name not in learnt)]
        columns = len(learnt) if confusion else 0
        self.setRowCount(len(names))
        self.setColumnCount(len(_HEADS) + columns)
        self.setHorizontalHeaderLabels([*_HEADS, *(str(i + 1) for i in range(columns))])
        for column, hint in enumerate([*_HEADS.values(), *(f"Predicted as {name}" for name in learnt[:columns])]):
            self.horizontalHeaderItem(column).setToolTip(hint)
        for row, name in enumerate(names):
            number = f"{row + 1}  " if row < columns else ""
            f1 = f"{classes[name]['f1']:.2f}" if name in classes else ""
            for column, text in enumerate((number + name, f"{scored.get(name, 0):,}", f1)):
                self._put(row, column, text, list(_HEADS.values())[column])
            if row < columns:
                self._show_confusion(row, learnt, confusion[row])
        self._fit(columns)

    def _show_confusion(self, row: int, names: Sequence[str], counts: Sequence[int]) -> None:
        total = max(sum(counts), 1)
        for column, count in enumerate(counts):
            told = f"{count:,} of {sum(counts):,} held-out frames of {names[row]} were predicted as {names[column]}"
            share = round(100 * count / total)
            item = self._put(row, len(_HEADS) + column, str(share) if share else "", told)
            shade = QColor(_SHADE)
            shade.setAlphaF(0.85 * count / total)
            item.setBackground(shade)

    def _put(self, row: int, column: int, text: str, hint: str) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        item.setToolTip(hint)
        side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
        item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item

    def _fit(self, columns: int) -> None:
        """Be as high as the rows are, so that the step scrolls as a whole."""
        header, modes = self.horizontalHeader(), QHeaderView.ResizeMode
        for column in range(len(_HEADS) + columns):
            header.setSectionResizeMode(column, modes.ResizeToContents if column < len(_HEADS) else modes.Fixed)
            if column >= len(_HEADS):
                self.setColumnWidth(column, _NARROW)
        header.setSectionResizeMode(0, modes.Stretch if not columns else modes.ResizeToContents)
        row = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(row)
        sideways = self.horizontalScrollBar().sizeHint().height() if columns > _FIT else 0
        self.setFixedHeight((self.rowCount() + 1) * row + 8 + sideways)
