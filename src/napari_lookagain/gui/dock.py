"""The dock: four steps in their order, from a recording to tables that can be cited, and a section about the eye."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from qtpy.QtWidgets import QDockWidget, QFrame, QMainWindow, QScrollArea, QVBoxLayout, QWidget

from napari_lookagain.errors import InputError
from napari_lookagain.gui.dialogs import confirm
from napari_lookagain.gui.export.export_step import ExportStep
from napari_lookagain.gui.jobs.jobs import Jobs, failure
from napari_lookagain.gui.present import SessionView, open_in_viewer
from napari_lookagain.gui.review.review_step import ReviewStep
from napari_lookagain.gui.run.run_step import RunStep
from napari_lookagain.gui.session.session_step import SessionStep
from napari_lookagain.gui.step import Step
from napari_lookagain.gui.vision.vision_step import VisionStep
from napari_lookagain.session import Session

_MARGIN = 4
_NO_SESSION = "Open a session first, in step 1."
_NO_VIDEO = "This recording has no video to look at."
_NOT_SAVED = "Save the session first: an eye is kept in its folder."
_NOTHING = "There is nothing to write yet: run gated segmentation, in step 2, or score frames on the timeline."


class LookAgainDock(QScrollArea):
    """Session, Run, Review and Export, and between them Vision; it composes them, and computes nothing.

    Parameters
    ----------
    napari_viewer
        As napari gives it to the widgets of plugins.

    Attributes
    ----------
    view
        The session that the viewer shows; None before any.
    jobs
        All that runs in threads.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        # napari lends a proxy that wraps our own objects, too, as the name of our package begins like its own
        self.viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.view: SessionView | None = None
        self.jobs = Jobs(self)
        self.session_step, self.run_step = SessionStep(self.jobs), RunStep(self.jobs)
        self.vision_step = VisionStep(self.jobs, self.run_step.settings.config())
        self.review_step, self.export_step = ReviewStep(self.jobs), ExportStep(self.jobs)
        self.steps = (
            Step(1, "Session", "Open a recording, or make a session of a video and its keypoints", self.session_step),
            Step(2, "Run", "Discover clusters with gated segmentation", self.run_step),
            Step(3, "Review", "Name clusters, correct frames and learn from the corrections", self.review_step),
            Step(4, "Export", "Write tables, a picture or a clip", self.export_step),
        )
        hint = "The eye: pretrain it on this video, and see what it sees"
        self.vision = Step(None, "Vision", hint, self.vision_step)
        self._main: QMainWindow | None = None
        self._dock: QDockWidget | None = None
        self._arrange()
        self.session_step.opened.connect(self.open)
        self.session_step.timeline_wanted.connect(lambda: self.view and self.view.show_timeline())
        self.run_step.settings.changed.connect(self._tell_eye)
        self.vision_step.size_chosen.connect(self.run_step.settings.set_eye_size)
        self.vision_step.changed.connect(self._refresh)
        self.steps[0].unfold()
        self._refresh()
        if (view := SessionView.of(self.viewer)) is not None:
            self.show_view(view)

    def open(self, session: Session) -> None:
        """Show a session in the viewer, and so in this dock."""
        try:
            open_in_viewer(self.viewer, session)
        except InputError as error:
            self.session_step.panel.message.fail(failure(error))

    def show_view(self, view: SessionView) -> None:
        """Take the session that the viewer shows from now on."""
        if self.view is not None:
            self._let_go(self.view)
        self.view, state = view, view.state
        self.session_step.show_session(state.session)
        for step in (self.run_step, self.vision_step, self.review_step, self.export_step):
            step.open(view)
        state.ethograms_changed.connect(self._refresh)
        state.labels_changed.connect(self._refresh)
        found = state.discovered is not None or state.predicted is not None
        for step, shown in zip(self.steps, (False, not found, found, False), strict=True):
            step.unfold(shown)
        self._refresh()

    def minimumSizeHint(self) -> QSize:
        """Be as wide as the widest step, folded or not: there is no scrolling sideways."""
        width = max(step.body.minimumSizeHint().width() for step in (*self.steps, self.vision))
        around = self.verticalScrollBar().sizeHint().width() + 2 * (_MARGIN + self.frameWidth())
        return QSize(width + around, 200)

    def sizeHint(self) -> QSize:
        """Take no more width than that, and leave the canvas its room."""
        return QSize(self.minimumSizeHint().width(), 600)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files from anywhere."""
        if _files(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what is dropped."""
        self.steps[0].unfold()
        self.session_step.take(_files(event))
        event.acceptProposedAction()

    def showEvent(self, event: QShowEvent) -> None:
        """Get to know the window, to be told when it closes."""
        super().showEvent(event)
        self._dock, main = _above(self, QDockWidget), _above(self, QMainWindow)
        if main is not self._main and main is not None:
            main.installEventFilter(self)
            self._main = main

    def event(self, event: QEvent) -> bool:
        """Notice being taken out of the window, which napari does without asking."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._dock is not None:
            name, self._dock = self._dock.windowTitle(), None
            QTimer.singleShot(0, lambda: self._leave(name))
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask before the window closes while work is going on, and end that work; grow with what is inside."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        if watched is self._main and event.type() == QEvent.Type.Close:
            somebody_is_there = bool(self.viewer.layers)  # a script that closes the viewer has removed them before
            if somebody_is_there and not self._may_stop():
                event.ignore()
                return True
            self.jobs.stop()
        return super().eventFilter(watched, event)

    def _leave(self, name: str) -> None:
        """End for good; or come back, when work is to go on."""
        if not self._may_stop():
            self.viewer.window.add_dock_widget(self, name=name, area="right")
            return
        self.jobs.stop()
        if self._main is not None:
            self._main.removeEventFilter(self)
        if self.view is not None:
            self._let_go(self.view)
        self.deleteLater()

    def _may_stop(self) -> bool:
        busy = self.jobs.busy
        question = f"{busy} is not done. Stop it? What was learnt so far is kept, and it can be resumed."
        return not busy or confirm(self, question, "Stop it", "Let it go on")

    def _let_go(self, view: SessionView) -> None:
        """Forget a session; it stays in the viewer until another one takes its place."""
        view.state.ethograms_changed.disconnect(self._refresh)
        view.state.labels_changed.disconnect(self._refresh)
        for step in (self.run_step, self.vision_step, self.review_step, self.export_step):
            step.close_session()

    def _refresh(self, *_: object) -> None:
        """Say of every step how things stand, or why it has to wait."""
        session, run, review, export = self.steps
        if self.view is None:
            for step in (run, self.vision, review, export):
                step.wait_for(_NO_SESSION)
            return
        state = self.view.state
        found = state.discovered is not None or state.predicted is not None
        for step in (run, review):
            step.wait_for("")
        export.wait_for("" if found or state.session.annotations.behaviors else _NOTHING)
        session.summarize(state.session.recording)
        self.vision.wait_for(
            _NO_VIDEO if state.session.video is None else _NOT_SAVED if state.session.path is None else ""
        )
        self.vision.summarize(self.vision_step.summary if state.session.video else "")

    def _tell_eye(self) -> None:
        """Let the section about the eye know the settings of the next run, when there are any that hold."""
        with suppress(InputError):
            self.vision_step.take(self.run_step.settings.config())

    def _arrange(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        layout.setSpacing(2)
        for step in (*self.steps[:2], self.vision, *self.steps[2:]):
            layout.addWidget(step)
        layout.addStretch()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAcceptDrops(True)


def _files(event: QDropEvent) -> list[Path]:
    """Files and folders that are dragged here from this computer."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def _above(widget: QWidget, kind: type[QWidget]) -> Any:
    """The nearest widget of a kind that holds another one; None when there is none."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, kind):
        above = above.parentWidget()
    return above
