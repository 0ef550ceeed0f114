"""The line above the timeline: its buttons, and what it has to say."""

from __future__ import annotations

from typing import TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QCheckBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

Button = TypeVar("Button", bound=QAbstractButton)

_HINT = (
    "Click: go to a frame  ·  drag: mark frames  ·  double-click: mark a bout  ·  wheel: zoom  ·  right-click: looks"
)
_HELP = """<table cellspacing="3">
<tr><td>click</td><td>go to a frame</td></tr>
<tr><td>wheel, + −</td><td>zoom</td></tr>
<tr><td>drag the ruler, middle button, Shift+wheel</td><td>pan</td></tr>
<tr><td>scroll bar, Alt+wheel, wheel over the names</td><td>scroll the lanes</td></tr>
<tr><td>drag over a lane</td><td>mark frames</td></tr>
<tr><td>double-click, Enter</td><td>mark a bout</td></tr>
<tr><td>[ ]</td><td>let marked frames, or a marked corrected bout, start or end here</td></tr>
<tr><td>the key of a behavior</td><td>assign it to marked frames</td></tr>
<tr><td>Delete</td><td>make marked frames unscored</td></tr>
<tr><td>hold it, where nothing is marked</td><td>score the frames that go by while the video plays</td></tr>
<tr><td>A</td><td>score as the model has it</td></tr>
<tr><td>L, N</td><td>always look at marked frames, never look at them: from the next run on</td></tr>
<tr><td>G</td><td>look at them where the gate wants, as ever</td></tr>
<tr><td>Shift+L, Shift+N, Shift+G</td><td>the same, of all animals</td></tr>
<tr><td>right-click</td><td>the same as a menu; where nothing is marked, of the bout or the span there</td></tr>
<tr><td>, .</td><td>the bout before, the next bout</td></tr>
<tr><td>Space</td><td>play what is marked, or on from here; stop</td></tr>
<tr><td>drag the edge of a corrected bout</td><td>move it</td></tr>
<tr><td>Esc</td><td>mark nothing</td></tr>
<tr><td>← →, with Shift</td><td>one frame, one second on</td></tr>
<tr><td>↑ ↓</td><td>let keys act on another animal</td></tr>
</table>"""


class Bar(QWidget):
    """Buttons of the timeline and a line of text.

    Attributes
    ----------
    fit, undo, redo, follow, terms
        Buttons and, the last two, check boxes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fit = _tipped(QPushButton("Fit"), "Show the whole recording (F)")
        self.undo = _tipped(QPushButton("Undo"), "Take the last edit back (Ctrl+Z)")
        self.redo = _tipped(QPushButton("Redo"), "Make the edit again that was taken back (Ctrl+Shift+Z)")
        self.follow = _tipped(QCheckBox("Follow"), "Keep the frame in view on the timeline while the video plays")
        self.follow.setChecked(True)
        tip = "Show what the gate score is made of: reliability, saliency and semantics"
        self.terms = _tipped(QCheckBox("Gate terms"), tip)
        self._text = QLabel()
        self._text.setToolTip(_HELP)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # a long one is cut off
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self.fit, self.undo, self.redo, self.follow, self.terms):
            layout.addWidget(button)
        layout.addSpacing(8)
        layout.addWidget(self._text, stretch=1)
        self.tell("")

    def tell(self, text: str) -> None:
        """Say something; what the mouse does when there is nothing to say."""
        self._text.setText(text or _HINT)

    @property
    def told(self) -> str:
        """What was said last."""
        return self._text.text()


def _tipped(button: Button, tip: str) -> Button:
    """Explain a button; a click on it leaves the keys with the timeline."""
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
