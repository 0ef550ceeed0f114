"""Small controls that steps are made of."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSlider, QSpinBox, QWidget

from napari_lookagain.gui.dialogs import ask_file


class FileField(QWidget):
    """A path to write, or to choose in a dialog.

    Parameters
    ----------
    name, hint
        What the file is, and what it is for.
    kinds
        As `ask_file` takes them.
    """

    chosen = Signal()
    """There is another path."""

    def __init__(self, name: str, kinds: str, hint: str) -> None:
        super().__init__()
        self._name, self._kinds = name, kinds
        self.edit = QLineEdit()
        self.edit.setToolTip(hint)
        self.edit.setAccessibleName(name)
        self.browse = QPushButton("…")
        self.browse.setToolTip(f"Choose the {name.lower()}")
        self.browse.setFixedWidth(32)
        self.edit.editingFinished.connect(self._edited)
        self.browse.clicked.connect(self._choose)
        self._told = ""
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.edit, stretch=1)
        layout.addWidget(self.browse)

    @property
    def path(self) -> Path | None:
        """The file; None when the field is empty."""
        text = self.edit.text().strip()
        return Path(text).expanduser() if text else None

    def set_path(self, path: Path | None) -> None:
        """Take another file."""
        self.edit.setText("" if path is None else str(path))
        self._edited()

    def _edited(self) -> None:
        if self.edit.text() != self._told:  # leaving the field is no edit
            self._told = self.edit.text()
            self.chosen.emit()

    def _choose(self) -> None:
        start = self.path.parent if self.path else Path.home()
        if path := ask_file(self, f"Choose the {self._name.lower()}", start, self._kinds):
            self.set_path(path)


class PercentField(QWidget):
    """A share between `least` and 1, as a slider and a number of percent that follow each other."""

    changed = Signal()

    def __init__(self, name: str, value: float, hint: str, least: float = 0.0) -> None:
        super().__init__()
        self.slider, self.number = QSlider(Qt.Orientation.Horizontal), QSpinBox()
        for control in (self.slider, self.number):
            control.setRange(round(100 * least), 100)
            control.setToolTip(hint)
            control.setAccessibleName(name)
        self.slider.setPageStep(5)
        self.number.setSuffix(" %")
        self.slider.valueChanged.connect(self.number.setValue)
        self.number.valueChanged.connect(self.slider.setValue)
        self.number.valueChanged.connect(self.changed)
        self.set_value(value)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider, stretch=1)
        layout.addWidget(self.number)

    @property
    def value(self) -> float:
        """The share."""
        return self.number.value() / 100

    def set_value(self, value: float) -> None:
        """Take another share."""
        self.number.setValue(round(100 * value))
