"""Which color is which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_lookagain.gui.timeline.lanes import ClassLane, Lane

_BETWEEN = " &nbsp; &nbsp;│&nbsp; &nbsp; "


class Legend(QLabel):
    """The classes of all visible lanes, each once, with the keys that assign them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.setToolTip("The classes and, in brackets, the keys that assign them to marked frames")

    def show_classes(self, lanes: Sequence[Lane], keys: Mapping[str, str | None]) -> None:
        """List the classes of these lanes."""
        shown = [lane for lane in lanes if isinstance(lane, ClassLane) and lane.visible]
        key_of = {behavior: key for key, behavior in keys.items()}
        listed: set[tuple[str, str]] = set()
        groups = []
        for lane in shown:
            new = [pair for pair in zip(lane.names, lane.colors, strict=True) if pair not in listed]
            listed.update(new)
            groups.append(" &nbsp; ".join(_entry(name, color, key_of.get(name, "")) for name, color in new))
        self.setText(_BETWEEN.join(filter(None, groups)))
        self.setVisible(bool(listed))


def _entry(name: str, color: str, key: str) -> str:
    text = escape(f"{name} [{key}]" if key else name).replace(" ", "&nbsp;").replace("-", "&#8209;")
    return f'<span style="color:{color}">■</span>&nbsp;{text}'
