"""A look at what will be written, made in a thread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase, QPixmap, QResizeEvent
from qtpy.QtWidgets import QLabel, QPlainTextEdit, QStackedWidget

from napari_lookagain.gui.jobs.jobs import Failure, Job, Jobs, at_once

_HEIGHT = 150


class Preview(QStackedWidget):
    """The first lines of a table, or a small picture."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._making: Job | None = None
        self._pixels = QPixmap()
        self.text, self.picture = QPlainTextEdit(), QLabel()
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setToolTip("The first lines of what will be written")
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setMinimumWidth(1)  # a picture never asks for more room than there is
        self.setFixedHeight(_HEIGHT)
        self.addWidget(self.text)
        self.addWidget(self.picture)

    def tell(self, text: str) -> None:
        """Show lines of text."""
        self.text.setPlainText(text)
        self.setCurrentWidget(self.text)

    def make_text(self, give: Callable[[], str]) -> None:
        """Show the text that a function gives; it runs in a thread."""
        self._make(give, self.tell)

    def make_picture(self, draw: Callable[[Path], None]) -> None:
        """Show the picture that a function draws to a png file; it runs in a thread."""
        self._make(partial(_drawn, draw), self._show_picture)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the picture into what room there is."""
        super().resizeEvent(event)
        self._fit()

    def _make(self, give: Callable[[], object], show: Callable) -> None:
        """Run a function in a thread; what an earlier one still gives is out of date."""
        job = self._making = Job("Preparing a preview", at_once(give))
        job.returned.connect(lambda told: show(told) if job is self._making else None)
        job.failed.connect(lambda failure: self._fail(failure) if job is self._making else None)
        self._jobs.start(job)

    def _fail(self, failure: Failure) -> None:
        self.tell(failure.sentence)

    def _show_picture(self, png: bytes) -> None:
        self._pixels.loadFromData(png)
        self._fit()
        self.setCurrentWidget(self.picture)

    def _fit(self) -> None:
        if not self._pixels.isNull():
            kept, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            self.picture.setPixmap(self._pixels.scaled(self.size(), kept, smooth))


def _drawn(draw: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.png"
        draw(path)
        return path.read_bytes()
