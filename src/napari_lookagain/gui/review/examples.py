"""Examples of a cluster: small clips from different moments, side by side, over and over."""

from __future__ import annotations

from collections.abc import Generator

from qtpy.QtCore import QElapsedTimer, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_lookagain.annotations import Bout
from napari_lookagain.example_clips import ExampleClip, example_clips
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.jobs.jobs import Job, Jobs
from napari_lookagain.gui.message import Message
from napari_lookagain.gui.review.clip_tile import SIZE, ClipTile
from napari_lookagain.gui.state import Selection, SessionState
from napari_lookagain.progress import Progress
from napari_lookagain.review import examples

_COLUMNS, _TILES = 3, 9
_TICK = 30  # milliseconds


class Examples(QDialog):
    """A window beside the viewer; it shows one cluster at a time, and holds nothing while it is closed."""

    def __init__(self, jobs: Jobs, parent: QWidget) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._state: SessionState | None = None
        self._job: Job | None = None
        self._cluster, self._seed = -1, 0
        self.title, self.message = QLabel(), Message()
        self.others = button("Others", "Show other bouts of this cluster")
        self.tiles = [ClipTile() for _ in range(_TILES)]
        self._clock = QElapsedTimer()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._advance)
        self.others.clicked.connect(self._show_others)
        for tile in self.tiles:
            tile.clicked.connect(lambda _, tile=tile: self._go_to(tile))
        self._arrange()

    def open(self, state: SessionState) -> None:
        """Take another session."""
        self._state = state

    def close_session(self) -> None:
        """Let go of the session."""
        self.close()
        self._state = None

    def show_cluster(self, cluster: int) -> None:
        """Show clips of a cluster."""
        self._cluster, self._seed = cluster, 0
        self.show()
        self._read()

    def follow(self, cluster: int) -> None:
        """Show another cluster, when the window is open; a cluster of -1 is none."""
        if self.isVisible() and cluster not in (-1, self._cluster):
            self.show_cluster(cluster)

    def showEvent(self, event: QShowEvent) -> None:
        """Let the clips run."""
        super().showEvent(event)
        self._clock.start()
        self._timer.start(_TICK)

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop all that runs, and forget the pictures."""
        super().hideEvent(event)
        self._timer.stop()
        self._forget()

    def _show_others(self) -> None:
        self._seed += 1
        self._read()

    def _read(self) -> None:
        """Cut clips out of the video, in a thread; each is shown as soon as it is there."""
        self._forget()
        naming = None if self._state is None else self._state.naming
        if self._state is None or naming is None or self._cluster >= len(naming.classes):
            return
        session, each = self._state.session, naming.classes[self._cluster]
        self.setWindowTitle(f"Examples of {each.name}")
        bouts = examples(naming, self._cluster, _TILES, self._seed)
        self.title.setText("The edge of a clip is colored during its bout. Click it to go there.")
        clips: list[ExampleClip] = []

        def work() -> Generator[Progress]:
            for clip in example_clips(session, bouts, size=SIZE, color=each.color):
                clips.append(clip)
                yield Progress(len(clips), len(bouts), "reading examples")

        job = self._job = Job("Reading examples", work)
        job.told.connect(lambda _: self._show(clips, each.color) if job is self._job else None)
        job.failed.connect(self.message.fail)
        self._jobs.start(job)

    def _forget(self) -> None:
        if self._job is not None:
            self._job.stop()
            self._job = None
        self.message.clear()
        for tile in self.tiles:
            tile.clear()

    def _show(self, clips: list[ExampleClip], color: str) -> None:
        assert self._state is not None
        for tile, clip in zip(self.tiles, clips, strict=False):
            if tile.clip is not clip:
                tile.show_clip(clip, color, self._state.session.animals[clip.bout.animal], self._state.session.fps)

    def _advance(self) -> None:
        for tile in self.tiles:
            tile.show_time(self._clock.elapsed() / 1000)

    def _go_to(self, tile: ClipTile) -> None:
        if self._state is not None and tile.clip is not None:
            bout: Bout = tile.clip.bout
            self._state.select(Selection(bout.animal, bout.start, bout.stop))
            self._state.seek(bout.start)

    def _arrange(self) -> None:
        grid = QGridLayout()
        grid.setSpacing(4)
        for i, tile in enumerate(self.tiles):
            grid.addWidget(tile, *divmod(i, _COLUMNS))
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addWidget(self.message)
        row = row_of(self.title, self.others, stretch=False)
        row.setStretch(0, 1)
        layout.addLayout(row)
        layout.setSizeConstraint(QVBoxLayout.SizeConstraint.SetFixedSize)
