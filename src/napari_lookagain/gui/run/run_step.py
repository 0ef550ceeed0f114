"""The second step: running gated segmentation, looking again at another budget, and showing earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_lookagain import cost, kept_runs
from napari_lookagain.config import Config
from napari_lookagain.cost import in_words
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, load_ethogram
from napari_lookagain.gui.jobs.job_panel import JobPanel
from napari_lookagain.gui.jobs.jobs import Job, Jobs, Work, at_once, failure
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.run.run_list import RunList
from napari_lookagain.gui.run.run_settings import RunSettings
from napari_lookagain.gui.session.recent import known_factors, remember_factors
from napari_lookagain.gui.state import SessionState
from napari_lookagain.kept_runs import KeptRun
from napari_lookagain.looks import LookWishes
from napari_lookagain.matching import carry_over
from napari_lookagain.naming import Naming
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session

_UNTRACKED = (
    "Gated segmentation reads keypoints on every frame, and this recording has none; score its behaviors in the next "
    "step, and train a head that needs none: lookagain train --head tcn."
)


class RunStep(QWidget):
    """One button with its choices, what the run will cost, and what earlier runs found."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._state: SessionState | None = None
        self._in_view: dict[str, KeptRun] = {}  # by kind
        self._predicted: Ethogram | None = None  # which was in view when last looked at
        self._wished: LookWishes | None = None  # as the run in view was told
        self.settings = RunSettings()
        self.preview = QLabel()
        self.preview.setWordWrap(True)
        self.run = QPushButton("Run gated segmentation")
        self.run.setToolTip(
            "Discover clusters from the keypoints of all frames and a look at the few the gate asks for"
        )
        self.run.setMinimumHeight(36)
        self.run.setStyleSheet("font-weight: bold;")
        self.again = QPushButton("Look again")
        self.again.setToolTip("Keep the clusters that are in view, and repeat only the look as it is asked for now")
        self.panel = JobPanel()
        self.runs = RunList()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 4, 4)
        for widget in (self.settings, self.preview, self.run, self.again, self.panel, self.runs):
            layout.addWidget(widget)
        self.run.clicked.connect(self._run)
        self.again.clicked.connect(self._look_again)
        self.settings.changed.connect(self._refresh)
        self.runs.shown.connect(self.show_run)
        self.runs.resumed.connect(self._resume)
        jobs.changed.connect(self._refresh)

    def open(self, view: SessionView) -> None:
        """Take another session, with the runs of it that are in view."""
        self._state = state = view.state
        self._in_view, self._predicted, self._wished = {}, state.predicted, state.wishes
        self.settings.allow_looks(state.session.video is not None)
        self.settings.setEnabled(state.session.has_keypoints)
        self.panel.message.clear()
        kept = kept_runs.kept_runs(state.session)
        for kind, shown in (("cluster", state.discovered), ("behavior", state.predicted)):
            latest = next((run for run in kept if run.kind == kind), None)
            if shown is not None and latest is not None:
                self._note(latest)
        state.ethograms_changed.connect(self._notice)
        state.wishes_changed.connect(self._refresh)
        self._list_runs()

    def close_session(self) -> None:
        """Let go of the session."""
        if self._state is not None:
            self._state.ethograms_changed.disconnect(self._notice)
            self._state.wishes_changed.disconnect(self._refresh)
        self._state = None
        self.runs.fill([], set())

    def show_run(self, run: KeptRun) -> None:
        """Read what a run found, in a thread, and put it in view."""
        path = run.folder / "ethogram.npz"
        read = partial(Naming.open, run.folder) if run.kind == "cluster" else partial(load_ethogram, path)
        job = Job(f"Reading {run.name}", at_once(read))
        self._start(job, partial(self._show, run))

    def _run(self) -> None:
        assert self._state is not None
        try:
            config = self.settings.config()
        except InputError as error:
            self.panel.message.fail(failure(error))
            return
        self._segment(kept_runs.unused_name(self._state.session, "segment"), config)

    def _resume(self, run: KeptRun) -> None:
        assert run.config is not None
        self.settings.take(run.config, run.config.look.budget)
        self._segment(run.name, run.config)

    def _segment(self, name: str, config: Config) -> None:
        assert self._state is not None
        session, device = self._state.session, self.settings.device.currentText()
        work = partial(kept_runs.resumable_segment, session, config, run=name, device=device)
        self._work("Running gated segmentation", work, cost.segmentation(session, config, device), name)

    def _look_again(self) -> None:
        run = self._in_view["cluster"]
        assert self._state is not None
        assert run.model is not None
        session, device = self._state.session, self.settings.device.currentText()
        budget, looking = self.settings.budget.value, self.settings.looking
        name = kept_runs.unused_name(session, f"{run.name.partition('-at-')[0]}-at-{100 * budget:.0f}")
        work = partial(_predict_all, run.model, session, budget=budget, **looking, run=name, device=device)
        self._work("Looking again", work, cost.look_again(session, self._config_again(run), budget, device), name)

    def _work(self, title: str, work: Work, parts: list[cost.Part], name: str) -> None:
        """Run what makes an ethogram of a new run, and show it."""
        assert self._state is not None
        forecast = cost.Forecast(parts, known_factors())
        job = Job(title, work, alone=True)
        self._start(job, partial(self._finish, name, self._state.wishes), forecast)
        job.returned.connect(lambda _: remember_factors(forecast.end()))
        job.ended.connect(self._list_runs)  # a run that was cut off, too, is there now

    def _start(self, job: Job, done: Callable[[Any], None], forecast: cost.Forecast | None = None) -> None:
        """Run a job for the session that is open; what it returns is of no use to another one."""
        state = self._state

        def deliver(result: Any) -> None:
            try:
                if state is self._state:
                    done(result)
            except InputError as error:
                self.panel.message.fail(failure(error))

        job.returned.connect(deliver)
        self.panel.follow(job, forecast)
        self._jobs.start(job)

    def _finish(self, name: str, wished: LookWishes, ethograms: list[Ethogram]) -> None:
        assert self._state is not None
        self._wished = wished
        before = self._state.naming
        run = next(run for run in kept_runs.kept_runs(self._state.session) if run.name == name)
        naming = Naming(ethograms[0], run.folder)
        carried = [] if before is None else carry_over(before, naming)
        self._show(run, naming)
        looked = 100 * ethograms[0].looked.mean()
        told = [f"{name}: {len(naming.names)} clusters, {looked:.3g} % of the frames looked at."]
        if carried:
            names = ", ".join(f"{each.name} ({each.was})" for each in carried)
            told.append(f"Carried over from the run before: {names}.")
        self.panel.message.done("\n".join(told))

    def _show(self, run: KeptRun, found: Naming | Ethogram) -> None:
        assert self._state is not None
        if isinstance(found, Naming):
            self._state.show(found.found, found)
        else:
            self._state.show(found)
        self._note(run)
        self._list_runs()
        self.runs.mark(run.name)

    def _note(self, run: KeptRun) -> None:
        """Remember that a run is in view, and show the settings it was made with."""
        self._in_view[str(run.kind)] = run
        if run.kind == "cluster" and run.config is not None and run.budget is not None:
            self.settings.take(run.config.updated(look={"scope": run.scope, "decode": run.decode}), run.budget)

    def _notice(self) -> None:
        """Take note of behaviors that were predicted elsewhere, as in the review of this one."""
        assert self._state is not None
        if self._state.predicted is not self._predicted:
            self._predicted = self._state.predicted
            runs = kept_runs.kept_runs(self._state.session)
            if latest := next((run for run in runs if run.kind == "behavior"), None):
                self._note(latest)
        self._list_runs()

    def _list_runs(self) -> None:
        if self._state is not None:
            in_view = {run.name for run in self._in_view.values()}
            self.runs.fill(kept_runs.kept_runs(self._state.session), in_view)
            self._refresh()

    def _refresh(self) -> None:
        """Tell what a run with these settings would cost, and what can be done now."""
        if self._state is None:
            return
        busy, session = self._jobs.busy, self._state.session
        self.run.setEnabled(not busy and session.has_keypoints)
        self.runs.setEnabled(not busy)
        run = self._in_view.get("cluster")
        self.again.setVisible(run is not None and run.model is not None and self._would_look_elsewhere(run))
        self.again.setEnabled(not busy)
        self._tell_cost()

    def _would_look_elsewhere(self, run: KeptRun) -> bool:
        """Whether other looks than those of a run in view are asked for now."""
        assert self._state is not None
        session, budget, wishes = self._state.session, self.settings.budget.value, self._state.wishes
        if session.video is None or run.budget is None:
            return False
        if abs(run.budget - budget) > 5e-3:
            return True
        asked = self.settings.looking
        elsewhere = asked["scope"] != run.scope or abs(asked["decode"] - run.decode) > 5e-3
        if budget > 0 and (elsewhere or wishes != self._wished):
            return True
        if budget == 0 or not wishes.wishes or self._state.discovered is None:
            return False
        (pinned, muted), looked = wishes.masks(), self._state.discovered.looked
        return bool((pinned & ~looked).any() or (muted & looked).any())  # said before the session was opened

    def _config_again(self, run: KeptRun) -> Config:
        """The settings of a run, with looks as they are chosen now."""
        return (run.config or Config()).updated(look=self.settings.looking)

    def _tell_cost(self) -> None:
        assert self._state is not None
        session = self._state.session
        if not session.has_keypoints:
            self.preview.setText(_UNTRACKED)
            return
        try:
            config = self.settings.config()
            looks = cost.looks_of(session, config, config.look.budget)
        except InputError as error:
            self.preview.setText(str(error))
            return
        device, factors = self.settings.device.currentText(), known_factors()
        whole = cost.Forecast(cost.segmentation(session, config, device), factors).seconds
        looked = f"looks at {_from_to(looks)} of {session.n_frames:,} frames of each animal"
        looked = looked if any(looks) else "looks at no frame"
        self.preview.setText(
            f"Learns from {cost.count_learnt(session.n_frames, config):,} frames, then {looked}: {in_words(whole)}."
        )
        if run := self._in_view.get("cluster"):
            parts = cost.look_again(session, self._config_again(run), config.look.budget, device)
            again = cost.Forecast(parts, factors)
            self.again.setText(f"Look again at {100 * config.look.budget:.0f} %: {in_words(again.seconds)}")


def _from_to(numbers: Sequence[int]) -> str:
    fewest, most = min(numbers), max(numbers)
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _predict_all(model: Path, session: Session, **options: Any) -> Generator[Progress, None, list[Ethogram]]:
    from napari_lookagain.runs import predict_all  # imports torch, which takes seconds

    return (yield from predict_all(model, [session], **options))
