"""The behaviors there are names for: color, key, and how much of each is scored."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_lookagain.annotations import BACKGROUND
from napari_lookagain.colors import behavior_colors
from napari_lookagain.gui.review.swatch import Swatch
from napari_lookagain.gui.state import SessionState
from napari_lookagain.scoring import count_scored

_HEADS = {
    "": "Color on the timeline",
    "Key": "Key that scores frames as this behavior, on the timeline and over the canvas",
    "Behavior": "Name: double-click, or F2, to give another one to what was scored so far",
    "Scored": "Frames of animals that are scored as this behavior, by whomever",
}
_NAME = 2
_ROWS = 6  # shown without scrolling
_SOON = 200  # milliseconds; while a key is held there is a change at every frame
_NOT_NAMED = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled


class BehaviorTable(QTableWidget):
    """A row for each behavior, background last."""

    chosen = Signal(str)
    """A behavior was chosen."""
    renamed = Signal(str, str)
    """A behavior is to be called otherwise."""

    def __init__(self) -> None:
        super().__init__(0, len(_HEADS))
        self._state: SessionState | None = None
        self._names: list[str] = []
        self._later = QTimer(self, singleShot=True, interval=_SOON)
        self._later.timeout.connect(self.refresh)
        self.setHorizontalHeaderLabels(list(_HEADS))
        for column, hint in enumerate(_HEADS.values()):
            self.horizontalHeaderItem(column).setToolTip(hint)
            self.horizontalHeader().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setMinimumSectionSize(24)
        self.setItemDelegateForColumn(0, Swatch(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setAccessibleName("behaviors")
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        row = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(row)
        self.setFixedHeight((_ROWS + 1) * row + 8)
        self.itemChanged.connect(self._rename)
        self.itemSelectionChanged.connect(self._choose)

    def open(self, state: SessionState) -> None:
        """Take another session."""
        self._state = state
        state.classes_changed.connect(self.refresh)
        state.labels_changed.connect(self._refresh_soon)
        self.refresh()

    def close_session(self) -> None:
        """Let go of the session."""
        self._later.stop()
        if self._state is not None:
            self._state.classes_changed.disconnect(self.refresh)
            self._state.labels_changed.disconnect(self._refresh_soon)
        self._state = None
        self.setRowCount(0)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what has changed while the table was hidden."""
        super().showEvent(event)
        self.refresh()

    def refresh(self) -> None:
        """List the behaviors, and count what is scored of them."""
        if self._state is None:
            return
        self._names = [*(name for name in self._state.behaviors if name != BACKGROUND), BACKGROUND]
        colors = behavior_colors(self._state.behaviors)
        keys = {behavior: key for key, behavior in self._state.keys.items()}
        count, known = count_scored(self._state.session.annotations), self._state.session.annotations.behaviors
        self.blockSignals(True)
        self.setRowCount(len(self._names))
        for row, name in enumerate(self._names):
            told = ("", keys.get(name, ""), name, f"{count.get(name, 0):,}")
            for column, text in enumerate(told):
                item = QTableWidgetItem(text)
                item.setToolTip(_HEADS[list(_HEADS)[column]])
                if column != _NAME or name not in known or name == BACKGROUND:
                    item.setFlags(_NOT_NAMED)
                if column != _NAME:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, column, item)
            self.item(row, 0).setData(Qt.ItemDataRole.UserRole, colors[name])
        self.blockSignals(False)

    def _refresh_soon(self, *_: object) -> None:
        if self.isVisible():
            self._later.start()

    def _choose(self) -> None:
        if self.selectedItems():
            self.chosen.emit(self._names[self.currentRow()])

    def _rename(self, item: QTableWidgetItem) -> None:
        old, new = self._names[item.row()], item.text().strip()
        if old != new:
            self.renamed.emit(old, new)
            self.refresh()
