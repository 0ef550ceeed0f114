"""Buttons, and rows of them."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

_AROUND = 10  # pixels beside the text


def button(text: str, tip: str, *, checkable: bool = False) -> QPushButton:
    """Make a button; the tip says what it does, and its key."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.setMinimumWidth(made.fontMetrics().horizontalAdvance(text) + _AROUND)  # styles ask for much more
    return made


def row_of(*widgets: QWidget, stretch: bool = True) -> QHBoxLayout:
    """Put widgets side by side; with `stretch` they are as wide as they must, from the left."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    if stretch:
        row.addStretch()
    return row
