"""The clusters in view as a table: what is said of each can be changed in place, what is measured is told beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal

from napari_lookagain.cluster_classes import ClusterClass
from napari_lookagain.errors import InputError
from napari_lookagain.gui.state import SessionState
from napari_lookagain.naming import Naming

COLOR, KEY, NAME, COUNT, TOTAL, MEAN, SHARE = range(7)
"""Columns; from the last one on there is one for each animal."""

_HEADS = ("", "Key", "Cluster", "n", "Total", "Mean")
_HINTS = (
    "Color: double-click, or press Enter, to choose another one",
    "Key that scores frames as this cluster: 1 to 9; double-click, or type it",
    "Name: double-click, or type, to give another one",
    "Number of bouts, of all animals",
    "How long all of them last",
    "How long one of them lasts, on the average",
)
_Role = Qt.ItemDataRole


class ClusterModel(QAbstractTableModel):
    """A row for each cluster; it follows the naming of a session.

    Parameters
    ----------
    state
        Of the session.
    """

    refused = Signal(str)
    """What was typed cannot be said of a cluster."""

    def __init__(self, state: SessionState) -> None:
        super().__init__()
        self._state = state
        self._naming: Naming | None = None
        self._label: np.ndarray | None = None  # that the statistics are of
        self._statistics = pd.DataFrame()
        self.refresh()

    def refresh(self) -> None:
        """Show the clusters as they are called now; where the frames are as before, nothing is counted again."""
        naming = self._state.naming
        same = naming is self._naming and naming is not None and naming.label is self._label
        if not same:
            self.beginResetModel()
            self._naming = naming
            self._label = None if naming is None else naming.label
            self._statistics = pd.DataFrame() if naming is None else naming.statistics()
            self.endResetModel()
        elif self.rowCount():
            self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, self.columnCount() - 1))

    @property
    def classes(self) -> tuple[ClusterClass, ...]:
        """What is said of each."""
        return () if self._naming is None else self._naming.classes

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Clusters."""
        return len(self._statistics)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Those that all have, and one for each animal."""
        return SHARE + self._state.session.n_animals

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        """Title of a column, and what it tells."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        animal = self._state.session.animals[section - SHARE] if section >= SHARE else ""
        if role == _Role.DisplayRole:
            return animal or _HEADS[section]
        if role == _Role.ToolTipRole:
            return f"Share of the time of {animal}" if animal else _HINTS[section]
        return None

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = index.row(), index.column()
        if row >= len(self.classes):
            return None
        each = self.classes[row]
        if role == _Role.UserRole:
            return each.color
        if role == _Role.ToolTipRole:
            return _about(each) if column == NAME else self.headerData(column, Qt.Orientation.Horizontal, role)
        if role == _Role.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column == NAME else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == _Role.EditRole:
            return {KEY: each.key, NAME: each.name, COLOR: each.color}.get(column)
        return self._text(row, column) if role == _Role.DisplayRole else None

    def setData(self, index: QModelIndex, value: Any, role: int = _Role.EditRole) -> bool:
        """Say what was typed, or tell why it cannot be said."""
        row, text = index.row(), str(value).strip()
        try:
            if index.column() == NAME:
                self._state.name(lambda naming: naming.rename(row, text))
            elif index.column() == KEY:
                self._state.name(lambda naming: naming.set_key(row, text))
            else:
                self._state.name(lambda naming: naming.recolor(row, text))
        except InputError as error:
            self.refused.emit(str(error))
            return False
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Names and keys are changed in place."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() in (KEY, NAME) else flags

    def _text(self, row: int, column: int) -> str:
        each, told = self.classes[row], self._statistics.iloc[row]
        if column == NAME:
            return each.name if each.behavior in (None, each.name) else f"{each.name} → {each.behavior}"
        if column == KEY:
            return each.key
        if column == COUNT:
            return f"{int(told['count']):,}"
        if column in (TOTAL, MEAN):
            return _seconds(told["total_s" if column == TOTAL else "mean_s"])
        if column >= SHARE:
            share = told.iloc[3 + column - SHARE]
            return "" if np.isnan(share) else f"{100 * share:.0f} %"
        return ""


def _about(each: ClusterClass) -> str:
    behavior = f"It is the behavior {each.behavior}." if each.behavior else ""
    return "\n".join(filter(None, [each.name, each.description, behavior]))


def _seconds(seconds: float) -> str:
    """Short, for a narrow column."""
    if np.isnan(seconds):
        return ""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 100:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
