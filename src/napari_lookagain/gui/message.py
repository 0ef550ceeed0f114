"""A sentence in the panel: what was done, what to mind, or what went wrong, with all of it to copy."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFrame, QHBoxLayout, QLabel, QPushButton

from napari_lookagain.gui.jobs.jobs import Failure

_MARKS = {"done": ("✓", "#009e73"), "note": ("!", "#e69f00"), "failure": ("✕", "#d55e00")}  # Okabe and Ito's


class Message(QFrame):
    """Hidden until there is something to say; a mark and an edge tell its kind, and color alone never does."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("message")
        self._details = ""
        self._noted: list[str] = []
        self.mark = QLabel()
        self.text = QLabel()
        self.text.setWordWrap(True)
        flags = Qt.TextInteractionFlag
        self.text.setTextInteractionFlags(flags.TextSelectableByMouse | flags.TextSelectableByKeyboard)
        self.copy = QPushButton("Copy")
        self.copy.setToolTip("Copy this sentence, and the details behind it, to send them to someone who can help")
        self.copy.clicked.connect(lambda: QApplication.clipboard().setText(self._details))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 4, 4)
        layout.addWidget(self.mark, alignment=Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.text, stretch=1)
        layout.addWidget(self.copy, alignment=Qt.AlignmentFlag.AlignTop)
        self.hide()

    def done(self, sentence: str) -> None:
        """Say that something is done; what was noted on the way stays."""
        self._show("done", "\n".join([sentence, *self._noted]))

    def note(self, sentence: str) -> None:
        """Say what a user should mind; what is already noted stays."""
        self._noted.append(sentence)
        self._show("note", "\n".join(self._noted))

    def fail(self, failure: Failure) -> None:
        """Say what went wrong."""
        self._show("failure", failure.sentence, failure.details)

    def clear(self) -> None:
        """Say nothing."""
        self._noted = []
        self.text.clear()
        self.hide()

    def _show(self, kind: str, sentence: str, details: str = "") -> None:
        mark, color = _MARKS[kind]
        self.mark.setText(mark)
        self.mark.setStyleSheet(f"color: {color}; font-weight: bold;")
        self.setStyleSheet(f"#message {{ border-left: 3px solid {color}; }}")
        self.text.setText(sentence)
        self._details = details
        self.copy.setVisible(bool(details))
        self.show()
