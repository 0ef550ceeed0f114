"""The section about the eye: which one the session has, pretraining it, and what it sees at the frame in view."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QVBoxLayout, QWidget

from napari_lookagain import cost
from napari_lookagain.config import BeastConfig, Config
from napari_lookagain.cost import in_words
from napari_lookagain.eyes.kept import KeptEye, cut_off, kept_eyes
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.run.run_settings import hint
from napari_lookagain.gui.session.recent import known_factors, remember_factors
from napari_lookagain.gui.vision.eye_layers import COLORS, PAINTED, EyeLayers
from napari_lookagain.gui.vision.looker import Looker
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session

if TYPE_CHECKING:
    from napari_lookagain.eyes.pictures import Sight

SIZES = get_args(BeastConfig.model_fields["size"].annotation)
_NONE = "No eye of this size has been pretrained on this video."
_CUT_OFF = "One was cut off; with the same settings it goes on where it was."
_NOTHING = "Runs look with “{}”, which has nothing to show; choose “beast” in step 2 for them to use this eye."


class VisionStep(QWidget):
    """Pretrains the eye on the open video, and lays what it sees over the picture."""

    size_chosen = Signal(str)
    """Runs shall have an eye of this size."""
    changed = Signal()
    """There is another eye, or none."""

    def __init__(self, jobs: Jobs, config: Config) -> None:
        super().__init__()
        self._jobs, self._config = jobs, config
        self._view: SessionView | None = None
        self._looker: Looker | None = None
        self._eyes: list[KeptEye] = []
        self.about, self.cost = QLabel(), QLabel()
        self.size = QComboBox()
        self.size.addItems(SIZES)
        self.size.setToolTip(hint("beast", "size"))
        self.pretrain = button(
            "Pretrain the eye on this video", "Learn from the frames that move; no labels are needed"
        )
        self.panel = JobPanel()
        self.show_it = button("Show what it sees", "Lay what the eye makes of this frame over the animals, as layers")
        self.follow, self.colors, self.painted = (
            QCheckBox("follow"),
            QCheckBox("patch colors"),
            QCheckBox("reconstruction"),
        )
        self._arrange()
        self._connect()
        self.take(config)

    @property
    def eye(self) -> KeptEye | None:
        """The latest eye of the chosen size."""
        return next((eye for eye in self._eyes if eye.size == self.size.currentText()), None)

    @property
    def summary(self) -> str:
        """How things stand, in a few words."""
        eye = self.eye or next(iter(self._eyes), None)
        return "" if self._view is None else "no eye yet" if eye is None else f"{eye.size} eye"

    def open(self, view: SessionView) -> None:
        """Take another session."""
        self._view = view
        visible = {COLORS: self.colors.isChecked(), PAINTED: self.painted.isChecked()}
        self._looker = Looker(self._jobs, view.state, EyeLayers(view.layers, view.state.session, visible))
        self._looker.failed.connect(self._give_up)
        view.state.keypoints_changed.connect(self._looker.look_anew)
        view.state.frame_changed.connect(self._looker.follow)
        self.follow.setChecked(False)
        self.panel.message.clear()
        self._list()
        if self.eye is None and self._eyes:
            self.size.setCurrentText(self._eyes[0].size)

    def close_session(self) -> None:
        """Let go of the session."""
        if self._view is not None and self._looker is not None:
            self._view.state.keypoints_changed.disconnect(self._looker.look_anew)
            self._view.state.frame_changed.disconnect(self._looker.follow)
            self._looker.close()
        self._view = self._looker = None
        self._eyes = []

    def take(self, config: Config) -> None:
        """Know the settings of the next run, whose eye this is."""
        self._config = config
        with QSignalBlocker(self.size):
            self.size.setCurrentText(config.beast.size)
        self._refresh()

    # what is shown

    def _list(self) -> None:
        self._eyes = [] if self._view is None else kept_eyes(self._view.state.session)
        self._refresh()
        self.changed.emit()

    def _refresh(self) -> None:
        """Tell of the eye, and what pretraining one would cost."""
        if self._view is None:
            return
        session, encoder = self._view.state.session, self._config.vision.encoder
        lines = [_about(self.eye)] if self.eye else [_NONE, _CUT_OFF] if cut_off(session) else [_NONE]
        lines += [_NOTHING.format(encoder)] if encoder != "beast" and session.has_keypoints else []
        self.about.setText("\n".join(lines))
        self.pretrain.setEnabled(not self._jobs.busy)
        self.show_it.setEnabled(self.eye is not None)
        for box in (self.follow, self.colors, self.painted):
            box.setEnabled(self.eye is not None)
        if session.video is not None:
            seconds = cost.Forecast(cost.pretraining_eye(session, self._config), known_factors()).seconds
            self.cost.setText(
                f"Learns from {self._config.beast.anchors:,} moments: {in_words(seconds)}, less on a GPU."
            )

    # what a person does

    def _pretrain(self) -> None:
        assert self._view is not None
        session, config = self._view.state.session, self._config
        forecast = cost.Forecast(cost.pretraining_eye(session, config), known_factors())
        job = Job("Pretraining the eye", partial(_pretrain, session, config), alone=True)
        self._start(job, self._pretrained, forecast)
        job.returned.connect(lambda _: remember_factors(forecast.end()))
        job.ended.connect(self._list)  # what was cut off, too, is there now

    def _pretrained(self, new: bool) -> None:
        self._list()
        if not new:
            self.panel.message.note("This video has this eye already; nothing was to be done.")
        elif self.eye is not None:
            self.panel.message.done(f"The eye has learnt from {self.eye.anchors:,} moments. Runs with “beast” use it.")

    def _show(self) -> None:
        """Open the eye if need be, and look at the frame in view."""
        assert self._looker is not None
        assert self._view is not None
        if self.eye is None:
            return
        if self._looker.folder == self.eye.folder:
            self._looker.show()
            return
        folder = self.eye.folder
        job = Job("Opening the eye", partial(_open_sight, folder, self._view.state.session))
        self._start(job, self._opened)

    def _opened(self, sight: Sight) -> None:
        assert self._looker is not None
        self._looker.take(sight)
        self._looker.show()

    def _follow(self, wanted: bool) -> None:
        if self._looker is not None:
            self._looker.following = wanted
            if wanted:
                self._show()

    def _set_visible(self, role: str, visible: bool) -> None:
        if self._looker is not None:
            self._looker.layers.set_visible(role, visible)

    def _give_up(self, failure: Any) -> None:
        self.follow.setChecked(False)
        self.panel.message.fail(failure)

    def _start(self, job: Job, done: Callable[[Any], None], forecast: cost.Forecast | None = None) -> None:
        """Run a job for the session that is open; what it returns is of no use to another one."""
        view = self._view

        def deliver(result: Any) -> None:
            if view is self._view:
                done(result)
            elif hasattr(result, "close"):
                result.close()

        job.returned.connect(deliver)
        self.panel.follow(job, forecast)
        self._jobs.start(job)

    # how it is put together

    def _arrange(self) -> None:
        for label in (self.about, self.cost):
            label.setWordWrap(True)
        self.follow.setToolTip("Look at every frame that comes into view, as fast as the eye can")
        self.colors.setToolTip("Patches that are alike to the eye have one color, in every frame")
        self.painted.setToolTip("What the eye paints when it is shown a quarter of the patches")
        self.colors.setChecked(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 4, 4)
        layout.addWidget(self.about)
        layout.addLayout(row_of(self.pretrain, self.size))
        layout.addWidget(self.cost)
        layout.addWidget(self.panel)
        layout.addLayout(row_of(self.show_it, self.follow))
        layout.addLayout(row_of(self.colors, self.painted))

    def _connect(self) -> None:
        self.pretrain.clicked.connect(self._pretrain)
        self.show_it.clicked.connect(self._show)
        self.follow.toggled.connect(self._follow)
        self.colors.toggled.connect(partial(self._set_visible, COLORS))
        self.painted.toggled.connect(partial(self._set_visible, PAINTED))
        self.size.currentTextChanged.connect(self.size_chosen)
        self._jobs.changed.connect(self._refresh)


def _about(eye: KeptEye) -> str:
    when = f"{datetime.fromtimestamp(eye.modified):%Y-%m-%d %H:%M}"
    return f"The {eye.size} eye was pretrained on {eye.anchors:,} moments, {when}, in {in_words(60 * eye.minutes)}."


def _pretrain(session: Session, config: Config) -> Generator[Progress, None, bool]:
    """Pretrain an eye, unless there is one; gives whether it is new."""
    from napari_lookagain.eyes.kept import kept_eye
    from napari_lookagain.eyes.pretraining import pretrain_eye  # imports torch, which takes seconds

    if kept_eye([session], config) is not None:
        return False
    yield from pretrain_eye([session], config)
    return True


def _open_sight(folder: Any, session: Session) -> Generator[Progress, None, Sight]:
    from napari_lookagain.eyes.pictures import open_sight

    return (yield from open_sight(folder, session))
