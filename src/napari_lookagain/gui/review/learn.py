"""Learning from corrections: train on what is scored, predict the rest, and look at what the model is unsure of."""

from __future__ import annotations

from functools import partial
from html import escape

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_lookagain.annotations import Bout
from napari_lookagain.cost import Forecast, in_words
from napari_lookagain.errors import InputError
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs, at_once, failure
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.review.lesson_table import LessonTable
from napari_lookagain.gui.session.recent import known_factors
from napari_lookagain.learning import Lesson, base_run, latest_report, learn, stages
from napari_lookagain.scoring import count_scored

_SOON = 300  # milliseconds; while a key is held there is a change at every frame
_NOTHING_SCORED = "Score frames of at least two behaviors first, in Correct; the model learns from them."
_COLUMNS = "Numbered columns: percent of a row's held-out frames that were predicted as each behavior. "
_NOTHING_UNSURE = "Nothing is left to be unsure of: there is no prediction, or all of it is scored."


class LearnPanel(QWidget):
    """One button trains and predicts; one lists the bouts that are worth a look by a person."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._view: SessionView | None = None
        self.table, self.about = LessonTable(), QLabel()
        self.train = button("Train on corrections", "Train the supervised head on all scored frames, predict the rest")
        self.panel = JobPanel()
        self.uncertain = button(
            "Show me what is uncertain", "Go through the bouts the model is least sure of", checkable=True
        )
        self.bout = QLabel()
        self.previous = button("◀", "The one before  ,")
        self.next = button("▶", "Leave it, and go on to the next  .")
        self.play = button("Play", "Play it, or stop  Space")
        self.accept = button("Accept", "The model is right: score it so, and go on  A")
        self._later = QTimer(self, singleShot=True, interval=_SOON)
        self._later.timeout.connect(self._show_counts)
        self._arrange()
        self._connect()

    def open(self, view: SessionView) -> None:
        """Take another session."""
        self._view = view
        view.state.labels_changed.connect(self._count_soon)
        view.state.ethograms_changed.connect(self._show_counts)
        view.reviewer.changed.connect(self._show_bout)
        self.panel.message.clear()
        self._show_counts()
        self._show_bout()

    def close_session(self) -> None:
        """Let go of the session."""
        self._later.stop()
        if self._view is not None:
            self._view.state.labels_changed.disconnect(self._count_soon)
            self._view.state.ethograms_changed.disconnect(self._show_counts)
            self._view.reviewer.changed.disconnect(self._show_bout)
        self._view = None

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what was scored while the panel was hidden."""
        super().showEvent(event)
        self._show_counts()

    # what is shown

    def _count_soon(self, *_: object) -> None:
        if self.isVisible():
            self._later.start()

    def _show_counts(self) -> None:
        if self._view is None:
            return
        session = self._view.state.session
        scored = {name: count for name, count in count_scored(session.annotations).items() if count}
        report, base = latest_report(session), base_run(session)
        self.table.fill(scored, report)
        self.table.setVisible(self.table.rowCount() > 0)
        whence = f"Takes over what {base.name} learnt." if base else "Learns all anew."
        columns = _COLUMNS if report and report.get("held_out") else ""
        cost = f"{in_words(Forecast(stages(session), known_factors()).seconds).capitalize()}."
        self.about.setText(columns + (f"{whence} {cost}" if len(scored) > 1 else _NOTHING_SCORED))
        self.train.setEnabled(len(scored) > 1 and not self._jobs.busy)
        self.uncertain.setEnabled(self._view.reviewer.model is not None)

    def _show_bout(self) -> None:
        assert self._view is not None
        reviewer = self._view.reviewer
        self.uncertain.setChecked(bool(reviewer.queue))
        self._walking.setVisible(bool(reviewer.queue))
        if reviewer.queue:
            bout, n = reviewer.queue[reviewer.place], len(reviewer.queue)
            animal, sure = self._view.state.session.animals[bout.animal], 100 * (bout.probability or 0)
            self.bout.setText(
                f"{reviewer.place + 1} of {n}: <b>{escape(bout.behavior)}</b>? {animal}, {sure:.0f} % sure"
            )

    # what a person does

    def _train(self) -> None:
        assert self._view is not None
        session = self._view.state.session
        forecast = Forecast(stages(session), known_factors())
        job = Job("Training on corrections", partial(learn, session), alone=True)
        job.returned.connect(partial(self._show_lesson, self._view))
        self.panel.follow(job, forecast)
        self._jobs.start(job)

    def _show_lesson(self, view: SessionView, lesson: Lesson) -> None:
        if view is not self._view:
            return
        view.state.show(lesson.ethogram)
        held_out = lesson.report.get("held_out")
        told = f"F1 is {held_out['macro_f1']:.2f} on held-out frames" if held_out else "too little to hold any out"
        self.panel.message.done(f"{lesson.run}: {told}. All frames are predicted.")

    def _find_uncertain(self, wanted: bool) -> None:
        assert self._view is not None
        if not wanted:
            self._view.reviewer.walk([])
            return
        job = Job("Looking for what is uncertain", at_once(self._view.reviewer.find_uncertain))
        job.returned.connect(partial(self._walk, self._view))
        self.panel.follow(job)
        self._jobs.start(job)

    def _walk(self, view: SessionView, bouts: list[Bout]) -> None:
        if view is self._view:
            view.reviewer.walk(bouts)
            if not bouts:
                self.panel.message.note(_NOTHING_UNSURE)

    def _act(self, act: str, *values: int) -> None:
        assert self._view is not None
        self.panel.message.clear()
        try:
            if told := getattr(self._view.reviewer, act)(*values):
                self.panel.message.note(told)
        except InputError as error:
            self.panel.message.fail(failure(error))

    # how it is put together

    def _arrange(self) -> None:
        self.about.setWordWrap(True)
        self.bout.setWordWrap(True)
        self._walking = QWidget()
        walking = QVBoxLayout(self._walking)
        walking.setContentsMargins(0, 0, 0, 0)
        walking.addWidget(self.bout)
        walking.addLayout(row_of(self.previous, self.next, self.play, self.accept, stretch=False))
        walking.addWidget(QLabel("Or press the key of another behavior."))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for widget in (self.table, self.about, self.train, self.panel, self.uncertain, self._walking):
            layout.addWidget(widget)
        layout.addStretch()

    def _connect(self) -> None:
        self._jobs.changed.connect(self._show_counts)
        self.train.clicked.connect(self._train)
        self.uncertain.clicked.connect(self._find_uncertain)
        for control, act in (
            (self.previous, ("step", -1)),
            (self.next, ("step", 1)),
            (self.play, ("play",)),
            (self.accept, ("accept",)),
        ):
            control.clicked.connect(lambda _, act=act: self._act(*act))
            control.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys with the timeline
