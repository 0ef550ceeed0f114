"""Correcting: keys and buttons that score frames of an animal, one stretch at a time or while the video plays."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_lookagain.errors import InputError
from napari_lookagain.gui.buttons import button, row_of
from napari_lookagain.gui.jobs.jobs import failure
from napari_lookagain.gui.message import Message
from napari_lookagain.gui.preferences import preferred
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.review.behavior_table import BehaviorTable
from napari_lookagain.gui.timeline import editing

_SPEEDS = {"¼ ×": 0.25, "½ ×": 0.5, "1 ×": 1.0, "2 ×": 2.0, "4 ×": 4.0}
_HOLD = "as long as it is held"
_TOGGLE = "from press to press"
_BACKGROUND = (
    "Background [0] says that somebody looked and saw nothing of interest; the model learns it. "
    "Not scored [Del] says nothing, and nothing is learnt from it."
)


class CorrectPanel(QWidget):
    """What is scored, and all that can be done with the frames marked on the timeline."""

    def __init__(self) -> None:
        super().__init__()
        self._view: SessionView | None = None
        self.behaviors = BehaviorTable()
        self.behavior, self.rater = QComboBox(), QLineEdit(preferred("rater"))
        self.score = button("Score", "Score what is marked, or the bout at the frame in view, as this behavior")
        self.start = button("Start here", "Let the marked frames, or a marked bout, start at the frame in view  [")
        self.stop = button("End here", "Let the marked frames, or a marked bout, end with the frame in view  ]")
        self.accept = button("Accept", "Score what is marked, or the bout in view, as the model has it  A")
        self.clear = button("Not scored", "Take back what is scored of the marked frames  Del")
        self.previous = button("◀", "Mark the bout before, and go to it  ,")
        self.next = button("▶", "Mark the next bout, and go to it  .")
        self.play = button("Play", "Play what is marked, or else from the frame in view on; stop  Space")
        self.speed, self.mode = QComboBox(), QComboBox()
        self.told, self.message = QLabel(), Message()
        self._arrange()
        self._connect()

    def open(self, view: SessionView) -> None:
        """Take another session."""
        self._view = view
        self.behaviors.open(view.state)
        view.reviewer.recorder.changed.connect(self._tell_recording)
        view.reviewer.recorder.told.connect(self._tell)
        view.state.classes_changed.connect(self._list_behaviors)
        self._list_behaviors()
        self._set_up()
        self.message.clear()

    def close_session(self) -> None:
        """Let go of the session."""
        self.behaviors.close_session()
        if self._view is not None:
            self._view.reviewer.recorder.changed.disconnect(self._tell_recording)
            self._view.reviewer.recorder.told.disconnect(self._tell)
            self._view.state.classes_changed.disconnect(self._list_behaviors)
        self._view = None

    def _list_behaviors(self) -> None:
        if self._view is not None:
            typed = self.behavior.currentText()
            self.behavior.clear()
            self.behavior.addItems(self._view.state.behaviors)
            self.behavior.setCurrentText(typed)

    def _set_up(self, *_: object) -> None:
        """Take over how keys score, who scores, and how fast it plays."""
        if self._view is not None:
            self._view.reviewer.recorder.hold = self.mode.currentText() == _HOLD
            self._view.reviewer.speed = _SPEEDS[self.speed.currentText()]
            self._view.state.rater = self.rater.text().strip() or preferred("rater")

    def _tell(self, text: str) -> None:
        self.told.setText(text)

    def _tell_recording(self) -> None:
        assert self._view is not None
        behavior, frame = self._view.reviewer.recorder.behavior, self._view.state.frame
        self._tell(f"● Scoring {behavior} from frame {frame:,} on …" if behavior else "")

    def _act(self, act: Callable[[SessionView], str]) -> None:
        """Do something, and tell what was done or why it could not be."""
        if self._view is None:
            return
        self.message.clear()
        try:
            self._tell(act(self._view))
        except InputError as error:
            self.message.fail(failure(error))

    def _score(self, view: SessionView) -> str:
        name, state = self.behavior.currentText().strip(), view.state
        if not name:
            return "Choose a behavior, or type the name of a new one."
        if state.selection is None and (bout := state.bout_at(view.active_animal, state.frame)) is not None:
            view.reviewer.mark(bout)
        return editing.assign(state, name)

    def _rename(self, old: str, new: str) -> None:
        def act(view: SessionView) -> str:
            view.state.rename_behavior(old, new)
            return ""

        self._act(act)

    def _arrange(self) -> None:
        self.behavior.setEditable(True)
        self.behavior.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.behavior.setToolTip("A behavior, or the name of a new one")
        self.speed.addItems(list(_SPEEDS))
        self.speed.setCurrentText("1 ×")
        self.speed.setToolTip("How fast it plays, compared with the recording")
        self.mode.addItems([_HOLD, _TOGGLE])
        self.mode.setToolTip("Where nothing is marked, a key scores the frames that go by while the video plays")
        self.rater.setToolTip("Who is scoring; what each rater says is kept, and who edited last wins")
        about = QLabel(_BACKGROUND)
        for label in (about, self.told):
            label.setWordWrap(True)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        row = row_of(self.behavior, self.score, stretch=False)
        row.setStretch(0, 1)
        form.addRow("Score as", row)
        form.addRow(row_of(self.start, self.stop, self.clear, stretch=False))
        form.addRow(row_of(self.accept, self.previous, self.next, self.play, self.speed, stretch=False))
        form.addRow(self.told)
        form.addRow(self.message)
        form.addRow("A key scores", self.mode)
        form.addRow("Rater", self.rater)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.behaviors)
        layout.addLayout(form)
        layout.addWidget(about)
        layout.addStretch()

    def _connect(self) -> None:
        self.behaviors.chosen.connect(self.behavior.setCurrentText)
        self.behaviors.renamed.connect(self._rename)
        for control, act in (
            (self.score, self._score),
            (self.start, lambda view: editing.start_here(view.state, view.active_animal)),
            (self.stop, lambda view: editing.stop_here(view.state, view.active_animal)),
            (self.clear, lambda view: editing.assign(view.state, None)),
            (self.accept, lambda view: view.reviewer.accept()),
            (self.previous, lambda view: view.reviewer.step(-1)),
            (self.next, lambda view: view.reviewer.step(1)),
            (self.play, lambda view: view.reviewer.play()),
        ):
            control.clicked.connect(lambda _, act=act: self._act(act))
            control.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys with the timeline
        self.mode.currentTextChanged.connect(self._set_up)
        self.speed.currentTextChanged.connect(self._set_up)
        self.rater.editingFinished.connect(self._set_up)
