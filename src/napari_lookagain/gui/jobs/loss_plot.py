"""The loss of a training while it runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg

from napari_lookagain.progress import Progress

_INK = "#808080"  # readable on a dark and on a light background
_LINE = "#e69f00"
_POINTS = 150  # on the screen; the batches between them are averaged


class LossPlot(pg.PlotWidget):
    """A curve of one stage of training; the next stage begins a new one, for their losses have nothing in common."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setFixedHeight(110)
        self.setMenuEnabled(False)
        self.setMouseEnabled(False, False)
        self.hideButtons()
        self.setToolTip("The loss of the training, batch by batch; it has learnt what it can when the curve is flat")
        for side in ("left", "bottom"):
            self.getAxis(side).setPen(_INK)
            self.getAxis(side).setTextPen(_INK)
        self._curve = self.plot(pen=pg.mkPen(_LINE, width=2))
        self.restart()

    def restart(self) -> None:
        """Forget the curve, and hide until there is another one."""
        self._stage, self._step, self._loss = "", list[int](), list[float]()
        self._curve.clear()
        self.hide()

    def add(self, told: Sequence[Progress]) -> None:
        """Draw on with what was told; progress without a loss says nothing here."""
        losses = [each for each in told if "loss" in each.metrics]
        for each in losses:
            if each.stage != self._stage:
                self._stage, self._step, self._loss = each.stage, [], []
                self.setTitle(f"loss of {each.stage}, by batch", color=_INK, size="9pt")
                self.setXRange(0, each.total, padding=0.02)
            self._step.append(each.done)
            self._loss.append(each.metrics["loss"])
        if losses:
            self._draw()
            self.show()

    def _draw(self) -> None:
        size = max(1, len(self._step) // _POINTS)
        starts = np.arange(0, len(self._step), size)
        count = np.diff(starts, append=len(self._step))
        step, loss = (np.add.reduceat(np.array(values, float), starts) / count for values in (self._step, self._loss))
        self._curve.setData(step, loss)
