"""Shows one job: how far it is, how long it will take, its loss, what it has to say, and a button to cancel it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from qtpy.QtCore import QMetaObject, QObject
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_lookagain.cost import Forecast, in_words
from napari_lookagain.gui.jobs.jobs import Job
from napari_lookagain.gui.jobs.loss_plot import LossPlot
from napari_lookagain.gui.message import Message
from napari_lookagain.progress import Progress

_PARTS = 1000


class JobPanel(QWidget):
    """Follows one job after another; hidden but for its message when none is running."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.left = QLabel(), QLabel()
        self.bar = QProgressBar()
        self.bar.setRange(0, _PARTS)
        self.bar.setTextVisible(False)
        self.bar.setToolTip("How much of the time is over, as far as can be told")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop at the next step; what was learnt so far is kept, so that it can go on later")
        self.cancel.clicked.connect(self._cancel)
        self.loss = LossPlot()
        self.message = Message()
        self._running = QWidget()
        self._arrange()
        self._running.hide()
        self._job: Job | None = None
        self._links: list[QMetaObject.Connection] = []
        self._forecast: Forecast | None = None

    def follow(self, job: Job, forecast: Forecast | None = None) -> None:
        """Show a job that is about to start; with a forecast, the bar and the time left are of all its stages."""
        self._let_go()
        self._job, self._forecast = job, forecast
        self.message.clear()
        self.loss.restart()
        self.stage.setText(f"{job.title} …")
        self.left.setText(f"{in_words(forecast.seconds)} left" if forecast else "")
        self.bar.setRange(0, 0)  # moves without an end until something is told
        self.cancel.setEnabled(True)
        self._running.show()
        self._links = [
            job.told.connect(self._show),
            job.noted.connect(self.message.note),
            job.failed.connect(self.message.fail),
            job.stopped.connect(lambda: self.message.done(f"Stopped: {job.title.lower()}.")),
            job.ended.connect(self._end),
        ]

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.stop()
            self.cancel.setEnabled(False)
            self.stage.setText("Stopping …")

    def _show(self, told: Sequence[Progress]) -> None:
        now, last = time.monotonic(), told[-1]
        self.loss.add(told)
        if self._job is None or self._job.stopping:
            return
        stage, share = last.stage, last.done / max(last.total, 1)
        if self._forecast is not None:
            for each in told:
                self._forecast.watch(each, now)
            stage, share = self._forecast.stage or stage, self._forecast.share(now)
            self.left.setText(f"{in_words(self._forecast.left(now))} left")
        self.stage.setText(f"{stage[:1].upper()}{stage[1:]} …")
        self.bar.setRange(0, _PARTS)
        self.bar.setValue(round(_PARTS * share))

    def _end(self) -> None:
        self._job = self._forecast = None
        self._links = []
        self._running.hide()

    def _let_go(self) -> None:
        """Forget a job that another one has made pointless, before it is at its end."""
        for link in self._links:
            QObject.disconnect(link)
        self._links = []

    def _arrange(self) -> None:
        said, moving = QHBoxLayout(), QHBoxLayout()
        said.addWidget(self.stage, stretch=1)
        said.addWidget(self.left)
        moving.addWidget(self.bar, stretch=1)
        moving.addWidget(self.cancel)
        running = QVBoxLayout(self._running)
        running.setContentsMargins(0, 0, 0, 0)
        running.addLayout(said)
        running.addLayout(moving)
        running.addWidget(self.loss)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._running)
        layout.addWidget(self.message)
