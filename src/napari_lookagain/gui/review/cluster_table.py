"""The table of clusters, under mouse and keys."""

from __future__ import annotations

from qtpy.QtCore import QItemSelectionModel, QModelIndex, QRegularExpression, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QRegularExpressionValidator, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QLineEdit,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_lookagain.gui.review.cluster_model import COLOR, KEY, NAME, SHARE, ClusterModel
from napari_lookagain.gui.review.swatch import Swatch
from napari_lookagain.gui.state import SessionState

_ROWS = 8  # shown without scrolling
_LEAST_NAME = 84  # pixels
_NARROWEST = 356  # pixels that the columns of two animals take
_LEAST, _MOST = 24, 70  # pixels of the other columns
_Trigger = QAbstractItemView.EditTrigger


class ClusterTable(QTableView):
    """Rows can be chosen, one or several; names, keys and colors are changed in place."""

    chosen = Signal()
    """Other rows are chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.setItemDelegateForColumn(COLOR, Swatch(self))
        self.setItemDelegateForColumn(KEY, _KeyEditor(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(_Trigger.DoubleClicked | _Trigger.EditKeyPressed | _Trigger.AnyKeyPressed)
        self.setAccessibleName("clusters")
        self.setShowGrid(False)
        self.setMinimumWidth(_NARROWEST)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab goes on to the next control
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(_LEAST)
        header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header.setStyleSheet("QHeaderView::section { padding: 2px; }")
        self.doubleClicked.connect(self._choose_color)

    def show_clusters(self, state: SessionState) -> ClusterModel:
        """Take another session; its model is returned for those who want to listen to it."""
        model = ClusterModel(state)
        model.setParent(self)
        self.setModel(model)
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())
        model.modelReset.connect(self.chosen)
        for signal in (model.modelReset, model.dataChanged):
            signal.connect(self._fit)
        self._fit()
        return model

    @property
    def rows(self) -> list[int]:
        """The clusters that are chosen, in the order of the table."""
        selection = self.selectionModel()
        return [] if selection is None else sorted(index.row() for index in selection.selectedRows())

    def choose(self, row: int) -> None:
        """Choose one cluster."""
        flags = QItemSelectionModel.SelectionFlag
        self.selectionModel().setCurrentIndex(self.model().index(row, NAME), flags.ClearAndSelect | flags.Rows)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter on a color asks for another one, Esc chooses nothing."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().column() == COLOR:
            self._choose_color(self.currentIndex())
        elif event.key() == Qt.Key.Key_Escape:
            self.clearSelection()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give names the room that the numbers leave."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self, *_: object) -> None:
        """Make columns as wide as titles or numbers ask for; be as high as the rows, up to some of them."""
        model, header = self.model(), self.horizontalHeader()
        if model is None:
            return
        bar = self.verticalScrollBar().sizeHint().width() if model.rowCount() > _ROWS else 0
        room = self.width() - bar - 2 * self.frameWidth()
        others = [column for column in range(model.columnCount()) if column != NAME]
        numbers = {column: min(max(self.sizeHintForColumn(column) + 2, _LEAST), _MOST) for column in others}
        titles = {column: min(max(header.sectionSizeHint(column), numbers[column]), _MOST) for column in others}
        short = numbers | {column: titles[column] for column in others if column < SHARE}  # animals' names are cut off
        widths = titles if sum(titles.values()) + _LEAST_NAME <= room else short
        for column, width in widths.items():
            self.setColumnWidth(column, width)
        left = room - sum(widths.values())
        self.setColumnWidth(NAME, max(left, _LEAST_NAME))
        sideways = self.horizontalScrollBar().sizeHint().height() if left < _LEAST_NAME else 0
        rows = min(model.rowCount(), _ROWS) * self.verticalHeader().defaultSectionSize()
        self.setFixedHeight(header.height() + rows + sideways + 4)

    def _choose_color(self, index: QModelIndex) -> None:
        if index.column() == COLOR:
            now = QColor(self.model().data(index, Qt.ItemDataRole.EditRole))
            color = QColorDialog.getColor(now, self, "Color of the cluster")
            if color.isValid():
                self.model().setData(index, color.name())


class _KeyEditor(QStyledItemDelegate):
    """Takes one digit, or nothing, and is done with the first one."""

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex) -> QWidget:
        editor = QLineEdit(parent)
        editor.setValidator(QRegularExpressionValidator(QRegularExpression("[1-9]?"), editor))
        return editor
