"""One part of the dock: a heading that folds, and a reason when the step cannot be taken yet."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget


class Step(QWidget):
    """A foldable section of the dock.

    Parameters
    ----------
    number, title
        The heading; what need not be done has no number.
    hint
        What the step is for, shown when one hovers over the heading.
    body
        What the step shows when it is open.
    """

    def __init__(self, number: int | None, title: str, hint: str, body: QWidget) -> None:
        super().__init__()
        self.body = body
        self._heading = title if number is None else f"{number}   {title}"
        self.header = QToolButton()
        self.header.setCheckable(True)
        self.header.setToolTip(hint)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setSizePolicy(self.sizePolicy().Policy.Expanding, self.sizePolicy().Policy.Fixed)
        self.header.setStyleSheet("QToolButton { text-align: left; font-weight: bold; padding: 3px; }")
        self.header.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # napari's own style takes it away
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 2)
        layout.setSpacing(4)
        for widget in (self.header, self.reason, body):
            layout.addWidget(widget)
        self.header.toggled.connect(self._refresh)
        self.summarize("")
        self.wait_for("")

    @property
    def is_open(self) -> bool:
        """Whether the body shows."""
        return self.header.isChecked()

    def unfold(self, shown: bool = True) -> None:
        """Show the body, or hide it."""
        self.header.setChecked(shown)

    def summarize(self, text: str) -> None:
        """Say beside the heading how things stand, so that a folded step tells enough."""
        self.header.setText(f"{self._heading}   ·   {text}" if text else self._heading)

    def wait_for(self, reason: str) -> None:
        """Say why the step cannot be taken yet; an empty reason means that it can."""
        self.reason.setText(reason)
        self.body.setEnabled(not reason)
        self._refresh()

    def _refresh(self) -> None:
        self.header.setArrowType(Qt.ArrowType.DownArrow if self.is_open else Qt.ArrowType.RightArrow)
        self.body.setVisible(self.is_open)
        self.reason.setVisible(self.is_open and bool(self.reason.text()))
