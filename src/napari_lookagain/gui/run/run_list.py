"""The runs that a session has: any of them can be shown again, and one that was cut off can go on."""

from __future__ import annotations

from datetime import datetime

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QWidget

from napari_lookagain.kept_runs import KeptRun

_ROWS = 4  # shown at once


class RunList(QWidget):
    """Runs, the latest first; Return or a double click does what the button says."""

    shown = Signal(object)
    """A finished run is to be shown."""
    resumed = Signal(object)
    """A run that was cut off is to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.list = QListWidget()
        self.list.setToolTip("Runs of this session, the latest first; ● is in view")
        self.list.setFixedHeight(_ROWS * (self.list.fontMetrics().height() + 6) + 4)
        self.act = QPushButton("Show")
        self.act.clicked.connect(self._act)
        self.list.itemActivated.connect(self._act)
        self.list.currentRowChanged.connect(self._offer)
        self._runs: list[KeptRun] = []
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list, stretch=1)
        layout.addWidget(self.act, alignment=Qt.AlignmentFlag.AlignTop)

    @property
    def chosen(self) -> KeptRun | None:
        """The run that is marked in the list."""
        row = self.list.currentRow()
        return self._runs[row] if 0 <= row < len(self._runs) else None

    def fill(self, runs: list[KeptRun], in_view: set[str]) -> None:
        """List runs, and tell which of them are in view; the one that is marked stays so."""
        marked = self.chosen and self.chosen.name
        self._runs = runs
        self.list.clear()
        for run in runs:
            item = QListWidgetItem(("● " if run.name in in_view else "    ") + _about(run))
            item.setToolTip(_more(run))
            self.list.addItem(item)
        self.setVisible(bool(runs))
        self.list.setCurrentRow(next((i for i, run in enumerate(runs) if run.name == marked), 0))
        self._offer()

    def mark(self, name: str) -> None:
        """Mark a run in the list."""
        self.list.setCurrentRow(next(i for i, run in enumerate(self._runs) if run.name == name))

    def _offer(self) -> None:
        run = self.chosen
        resumable = run is not None and not run.finished
        self.act.setText("Resume" if resumable else "Show")
        self.act.setToolTip("Go on where it was cut off" if resumable else "Show what this run found")
        self.act.setEnabled(run is not None and (run.finished or run.config is not None))

    def _act(self) -> None:
        run = self.chosen
        if run is not None and self.act.isEnabled():
            (self.shown if run.finished else self.resumed).emit(run)


def _about(run: KeptRun) -> str:
    if not run.finished:
        return f"{run.name}   cut off"
    kind = "clusters" if run.kind == "cluster" else "behaviors"
    looked = "" if run.budget is None else f", {100 * run.budget:.3g} % looked at"
    return f"{run.name}   {kind}{looked}"


def _more(run: KeptRun) -> str:
    when = f"{datetime.fromtimestamp(run.modified):%Y-%m-%d %H:%M}"
    if run.finished:
        return f"Finished {when}"
    lost = "" if run.config else "; its settings are not known here: give the same command again to finish it"
    return f"Cut off {when}{lost}"
