"""Which frames of which animal go into a clip."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_lookagain.gui.buttons import row_of
from napari_lookagain.gui.state import SessionState

_SECONDS = 5  # on either side of the frame in view, when nothing is marked


class ClipSpan(QWidget):
    """Frames [start, stop), to type or to take from the timeline."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.start, self.stop = QSpinBox(), QSpinBox()
        self.animal = QComboBox()
        self.take = QPushButton("Take marked")
        self._state: SessionState | None = None
        for control, hint in (
            (self.start, "First frame of the clip"),
            (self.stop, "The frame after the last one"),
            (self.animal, "Follow one animal, or show the whole picture"),
            (self.take, "Take the frames marked on the timeline; or those around the frame in view"),
        ):
            control.setToolTip(hint)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row_of(self.start, QLabel("to"), self.stop, stretch=False))
        layout.addLayout(row_of(self.animal, self.take, stretch=False))
        for spin in (self.start, self.stop):
            spin.valueChanged.connect(self.changed)
        self.animal.currentIndexChanged.connect(self.changed)
        self.take.clicked.connect(self.take_marked)

    def open(self, state: SessionState) -> None:
        """Take another session."""
        self._state = state
        self.start.setRange(0, state.session.n_frames - 1)
        self.stop.setRange(1, state.session.n_frames)
        self.animal.clear()
        self.animal.addItems(["all animals", *state.session.animals])
        self.take_marked()

    @property
    def frames(self) -> tuple[int, int]:
        """First frame, and the one after the last."""
        return self.start.value(), self.stop.value()

    @property
    def chosen_animal(self) -> int | None:
        """Index of the animal to follow; None for all."""
        return self.animal.currentIndex() - 1 if self.animal.currentIndex() > 0 else None

    def take_marked(self) -> None:
        """Take the frames that are marked, or those around the frame in view."""
        if self._state is None:
            return
        marked, around = self._state.selection, round(_SECONDS * self._state.session.fps)
        frame = self._state.frame
        start, stop = (marked.start, marked.stop) if marked else (frame - around, frame + around)
        self.start.setValue(start)
        self.stop.setValue(stop)
