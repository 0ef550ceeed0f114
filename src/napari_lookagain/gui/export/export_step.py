"""The last step: tables, a picture or a clip of what was found, with a look at it before it is written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton, QWidget

from napari_lookagain.gui.dialogs import ask_new_file
from napari_lookagain.gui.export import exports
from napari_lookagain.gui.export.clip_span import ClipSpan
from napari_lookagain.gui.export.exports import OTHERS, TABLES, Order
from napari_lookagain.gui.export.preview import Preview
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.state import SessionState
from napari_lookagain.kept_runs import kept_runs

_LATEST = "the latest of each kind"
_LINES = 20
_PATIENCE = 300  # milliseconds without a change before the preview is made anew


class ExportStep(QWidget):
    """Choose what to write, see its first lines, and write it where the save dialog says."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._state: SessionState | None = None
        self.what, self.run, self.span = QComboBox(), QComboBox(), ClipSpan()
        for key, told in (TABLES | OTHERS).items():
            self.what.addItem(told.partition(":")[0], key)
            self.what.setItemData(self.what.count() - 1, told, Qt.ItemDataRole.ToolTipRole)
        self.run.addItem(_LATEST)
        self.run.setToolTip("Which run is written; what people scored wins over the model")
        self.preview = Preview(jobs)
        self.write = QPushButton("Export …")
        self.write.setToolTip("Choose a file and write it; nothing is written over without asking")
        self.panel = JobPanel()
        self._form = QFormLayout(self)
        self._form.setContentsMargins(8, 0, 4, 4)
        self._form.addRow("What", self.what)
        self._form.addRow("Run", self.run)
        self._form.addRow("Frames", self.span)
        for widget in (self.preview, self.write, self.panel):
            self._form.addRow(widget)
        self._later = QTimer(self, singleShot=True, interval=_PATIENCE)
        self._later.timeout.connect(self._preview)
        self.what.currentIndexChanged.connect(self._choose)
        self.run.currentIndexChanged.connect(self.refresh)
        self.span.changed.connect(self.refresh)
        self.write.clicked.connect(self._export)
        self._choose()

    def open(self, view: SessionView) -> None:
        """Take another session."""
        self._state = state = view.state
        self.span.open(state)
        self._list_runs(state)
        self.panel.message.clear()
        for signal in _signals(state):
            signal.connect(self.refresh)
        self.refresh()

    def close_session(self) -> None:
        """Let go of the session."""
        self._later.stop()
        if self._state is not None:
            for signal in _signals(self._state):
                signal.disconnect(self.refresh)
        self._state = None

    @property
    def order(self) -> Order:
        """What is to be written."""
        run = self.run.currentText() if self.run.currentIndex() > 0 else None
        return Order(str(self.what.currentData()), run, self.span.frames, self.span.chosen_animal)

    def refresh(self, *_: object) -> None:
        """Make the preview anew, once nothing has changed for a moment."""
        if self._state is not None and self.isVisible():
            self._later.start()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what has changed while the step was folded."""
        super().showEvent(event)
        self.refresh()

    def _choose(self) -> None:
        """Show the controls that matter for what is to be written."""
        what = self.order.what
        self.what.setToolTip((TABLES | OTHERS)[what])
        self._form.setRowVisible(self.run, what in TABLES)
        self._form.setRowVisible(self.span, what == "clip")
        self.refresh()

    def _preview(self) -> None:
        if self._state is None:
            return
        self._list_runs(self._state)
        order = self.order
        if order.what == "clip":
            self.preview.tell(exports.about_clip(self._state, order))
        elif order.what == "picture":
            self.preview.make_picture(partial(exports.draw_picture, self._state))
        else:
            self.preview.make_text(partial(exports.first_lines, self._state, order, _LINES))

    def _list_runs(self, state: SessionState) -> None:
        """Offer the runs that there are now, and keep the one that is chosen."""
        names = [_LATEST, *(run.name for run in kept_runs(state.session) if run.finished)]
        if names != [self.run.itemText(i) for i in range(self.run.count())]:
            chosen = self.run.currentText()
            self.run.blockSignals(True)
            self.run.clear()
            self.run.addItems(names)
            self.run.setCurrentText(chosen)
            self.run.blockSignals(False)

    def _export(self) -> None:
        assert self._state is not None
        session, order = self._state.session, self.order
        suffix, kinds = exports.ENDINGS.get(order.what, exports.TABLE_ENDING)
        beside = Path.home() if session.path is None else session.path.parent
        start = beside / f"{session.recording}-{order.what}{suffix}"
        path = ask_new_file(self, f"Export: {self.what.currentText().lower()}", start, kinds)
        if path is None:
            return
        job = Job(f"Writing {path.name}", partial(exports.write, self._state, order, path))
        job.returned.connect(lambda _: self.panel.message.done(f"Written to {path}"))
        self.panel.follow(job)
        self._jobs.start(job)


def _signals(state: SessionState) -> tuple:
    return state.ethograms_changed, state.classes_changed, state.labels_changed
