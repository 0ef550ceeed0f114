"""Naming clusters: their table, what more is said of the one that is chosen, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_lookagain.errors import InputError
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs, failure
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.review.cluster_model import ClusterModel
from napari_lookagain.gui.review.cluster_table import ClusterTable
from napari_lookagain.gui.timeline.lanes import DISCOVERED
from napari_lookagain.naming import MOST_PARTS, Naming, split_by_motion
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session

_EXAMPLES = "Show clips of its bouts, from different moments and animals"
_NONE = "There are no clusters yet: run gated segmentation, in step 2."


class NamePanel(QWidget):
    """Choose a cluster, see its bouts on the timeline and in examples, and say what it is."""

    examples_wanted = Signal(int)
    """Examples of a cluster are to be shown."""
    chosen = Signal(int)
    """One cluster is chosen; -1 for none, or several."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._view: SessionView | None = None
        self._model: ClusterModel | None = None
        self.empty = QLabel(_NONE)
        self.empty.setWordWrap(True)
        self.table = ClusterTable()
        self.behavior, self.description = QComboBox(), QLineEdit()
        self.examples = button("Examples", _EXAMPLES)
        self.previous = button("◀", "Go to the bout before, of whichever animal, and mark it")
        self.next = button("▶", "Go to the next bout, of whichever animal, and mark it")
        self.play = button("Play", "Play what is marked, or stop")
        self.merge = button("Merge", "Make one cluster of those that are chosen; the first gives it its name")
        self.split = button("Split in", "Cluster its frames anew, by what the model reads of the keypoints")
        self.parts = QSpinBox()
        self.panel = JobPanel()
        self._arrange()
        self._connect()
        self._choose()

    def open(self, view: SessionView) -> None:
        """Take another session."""
        self._view = view
        self._model = self.table.show_clusters(view.state)
        self._model.refused.connect(self._refuse)
        self.panel.message.clear()
        view.state.classes_changed.connect(self._refresh)
        self._refresh()

    def close_session(self) -> None:
        """Let go of the session."""
        if self._view is not None:
            self._view.state.classes_changed.disconnect(self._refresh)
        self.table.setModel(None)
        self._view = self._model = None
        self._choose()

    @property
    def cluster(self) -> int:
        """The one that is chosen; -1 when it is none, or several are."""
        rows = self.table.rows
        return rows[0] if len(rows) == 1 else -1

    def showEvent(self, event: QShowEvent) -> None:
        """Mark the bouts of the cluster that is chosen."""
        super().showEvent(event)
        self._emphasize()

    def hideEvent(self, event: QHideEvent) -> None:
        """Let all bouts be seen again."""
        super().hideEvent(event)
        self._emphasize()

    # what is shown

    def _refresh(self) -> None:
        if self._model is None or self._view is None:
            return
        rows = self.table.rows
        self.panel.message.clear()
        self._model.refresh()
        if len(rows) == 1 and not self.table.rows and rows[0] < self._model.rowCount():
            self.table.choose(rows[0])  # which the table forgets when there are other frames
        there = self._model.rowCount() > 0
        self.empty.setVisible(not there)
        for part in (self.table, self._beside):
            part.setVisible(there)
        self._choose()

    def _choose(self) -> None:
        """Show what is said of the cluster that is chosen, and what can be done."""
        one, several = self.cluster >= 0, len(self.table.rows) > 1
        sees = self._view is not None and self._view.state.session.video is not None
        for control in (self.previous, self.next, self.split, self.parts, self.behavior, self.description):
            control.setEnabled(one)
        self.examples.setEnabled(one and sees)
        self.examples.setToolTip(_EXAMPLES if sees else "There is no video to cut clips out of")
        self.merge.setEnabled(several)
        each = self._model.classes[self.cluster] if one and self._model is not None else None
        self.behavior.blockSignals(True)
        self.behavior.clear()
        self.behavior.addItems(["", *(self._view.state.behaviors if self._view is not None else ())])
        self.behavior.setCurrentText((each and each.behavior) or "")
        self.behavior.blockSignals(False)
        self.description.setText(each.description if each else "")
        self._emphasize()
        self.chosen.emit(self.cluster)

    def _emphasize(self) -> None:
        if self._view is not None and self._view.timeline is not None:
            shown = self.isVisible() and self.cluster >= 0
            self._view.timeline.emphasize(DISCOVERED, self.cluster if shown else None)

    # what a person does

    def _name(self, act: Callable[[Naming], Any]) -> Any:
        """Say something of clusters, or tell why it cannot be said; gives what the act gives."""
        assert self._view is not None
        given: list[Any] = []
        try:
            self._view.state.name(lambda naming: given.append(act(naming)))
        except InputError as error:
            self._refuse(str(error))
            return None
        return given[0]

    def _refuse(self, sentence: str) -> None:
        self.panel.message.fail(failure(InputError(sentence)))

    def _describe(self) -> None:
        index, text = self.cluster, self.description.text().strip()
        if index >= 0 and self._model is not None and text != self._model.classes[index].description:
            self._name(lambda naming: naming.describe(index, text))

    def _assign(self) -> None:
        index, behavior = self.cluster, self.behavior.currentText().strip() or None
        if index >= 0 and self._model is not None and behavior != self._model.classes[index].behavior:
            self._name(lambda naming: naming.assign(index, behavior))

    def _merge(self) -> None:
        rows = self.table.rows
        merged = self._name(lambda naming: naming.merge(rows))
        if merged is not None:
            self.table.choose(merged)

    def _split(self) -> None:
        assert self._view is not None
        assert self._view.state.naming is not None
        naming, session = self._view.state.naming, self._view.state.session
        work = partial(_split, naming, session, self.cluster, self.parts.value())
        job = Job(f"Splitting {naming.names[self.cluster]}", work)
        self.table.setEnabled(False)
        self._beside.setEnabled(False)
        job.returned.connect(partial(self._show_parts, self._view))
        job.ended.connect(self._unlock)
        self.panel.follow(job)
        self._jobs.start(job)

    def _unlock(self) -> None:
        self.table.setEnabled(True)
        self._beside.setEnabled(True)

    def _show_parts(self, view: SessionView, parts: range) -> None:
        view.state.classes_changed.emit()
        if view is self._view and self._model is not None:
            self.table.choose(parts[0])
            names = ", ".join(self._model.classes[part].name for part in parts)
            self.panel.message.done(f"Split into {names}.")

    def _step(self, step: int) -> None:
        assert self._view is not None
        if told := self._view.reviewer.step_class(self.cluster, step):
            self.panel.message.note(told)
        else:
            self.panel.message.clear()

    def _play(self) -> None:
        assert self._view is not None
        self._view.reviewer.play()

    # how it is put together

    def _arrange(self) -> None:
        self.behavior.setEditable(True)
        self.behavior.setToolTip("The behavior that this cluster is; several clusters may be one behavior")
        self.description.setToolTip("What it looks like, in your words")
        self.parts.setRange(2, MOST_PARTS)
        self.parts.setToolTip("How many clusters to split it in")
        self.parts.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.parts.setStyleSheet("min-width: 16px; max-width: 24px;")  # napari's own is much wider
        self.parts.setMaximumWidth(40)
        self._beside = QWidget()
        form = QFormLayout(self._beside)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(row_of(self.examples, self.previous, self.next, self.play, self.merge, self.split, self.parts))
        form.addRow("Behavior", self.behavior)
        form.addRow("Looks like", self.description)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for widget in (self.empty, self.table, self._beside, self.panel):
            layout.addWidget(widget)
        layout.addStretch()

    def _connect(self) -> None:
        self.table.chosen.connect(self._choose)
        self.behavior.textActivated.connect(lambda _: self._assign())
        self.behavior.lineEdit().editingFinished.connect(self._assign)
        self.description.editingFinished.connect(self._describe)
        self.examples.clicked.connect(lambda: self.examples_wanted.emit(self.cluster))
        self.previous.clicked.connect(lambda: self._step(-1))
        self.next.clicked.connect(lambda: self._step(1))
        self.play.clicked.connect(self._play)
        self.merge.clicked.connect(self._merge)
        self.split.clicked.connect(self._split)


def _split(naming: Naming, session: Session, index: int, parts: int) -> Generator[Progress, None, range]:
    """Split by what the model of the run reads, or by what the ethogram tells where there is no model."""
    if naming.folder is not None and (naming.folder / "model").is_dir():
        return (yield from split_by_motion(naming, session, index, parts))
    return naming.split(index, parts)
