"""What the mouse does on the timeline, told in terms of frames and animals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QEvent, QObject, QPointF, Qt, Signal
from qtpy.QtGui import QContextMenuEvent, QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_lookagain.gui.timeline.canvas import Canvas, Spot
from napari_lookagain.gui.timeline.lanes import CORRECTED

_NEAR = 4  # pixels around a bout's edge that take hold of it
_ZOOM_STEP = 0.8
_PAN_STEP = 0.1  # of what is in view
_NOTCH = 120  # of a wheel, as Qt counts


class Hand(QObject):
    """Turns presses, drags and turns of the wheel on a canvas into what they mean.

    It moves and zooms the canvas itself and tells of everything else.

    Parameters
    ----------
    canvas
        Whose mouse it is.
    """

    clicked = Signal(object)
    """A `Spot` was clicked."""
    double_clicked = Signal(object)
    """A `Spot` was clicked twice."""
    brushed = Signal(int, int, int)
    """Frames [start, stop) of an animal are being dragged over."""
    edge_moved = Signal(int, int, int)
    """The edge of a bout of an animal was dragged from one frame to another."""
    menu_wanted = Signal(object, object)
    """A menu is asked for over a `Spot`, at a point of the screen."""
    hovered = Signal(object)
    """The mouse is over a `Spot`, or has left (None)."""

    def __init__(self, canvas: Canvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._pressed: Spot | None = None
        self._at = QPointF()
        self._edge: int | None = None
        self._drag: Callable[[Spot], None] | None = None
        self._dragging = False
        canvas.viewport().setMouseTracking(True)
        canvas.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take the mouse's events from the canvas."""
        kind = event.type()
        if isinstance(event, QWheelEvent):
            self._turn(event)
        elif isinstance(event, QContextMenuEvent):
            self.menu_wanted.emit(self._canvas.spot(QPointF(event.pos())), event.globalPos())
        elif kind == QEvent.Type.Leave:
            self.hovered.emit(None)
        elif not isinstance(event, QMouseEvent):
            return False
        elif kind == QEvent.Type.MouseButtonPress:
            self._press(event)
        elif kind == QEvent.Type.MouseMove:
            self._move(event)
        elif kind == QEvent.Type.MouseButtonRelease:
            self._release(event)
        elif kind == QEvent.Type.MouseButtonDblClick and event.button() == Qt.MouseButton.LeftButton:
            self.double_clicked.emit(self._canvas.spot(event.position()))
        return True

    def _press(self, event: QMouseEvent) -> None:
        spot = self._canvas.spot(event.position())
        self._at, self._dragging, self._drag = event.position(), False, None
        self._pressed = spot
        self._edge = self._edge_near(spot)
        if event.button() == Qt.MouseButton.MiddleButton or spot.on_ruler:
            self._drag = self._pan
        elif event.button() != Qt.MouseButton.LeftButton:
            self._pressed = None
        elif self._edge is not None:
            self._drag = self._pull
        elif spot.row is not None:
            self._drag = self._brush

    def _move(self, event: QMouseEvent) -> None:
        spot = self._canvas.spot(event.position())
        if self._pressed is None:
            on_edge = self._edge_near(spot) is not None
            self._canvas.viewport().setCursor(Qt.CursorShape.SplitHCursor if on_edge else Qt.CursorShape.ArrowCursor)
        else:
            way = event.position() - self._at
            self._dragging |= abs(way.x()) >= QApplication.startDragDistance() / 2
            if self._dragging and self._drag is not None:
                self._drag(spot)
        if not self._dragging:
            self.hovered.emit(spot)

    def _release(self, event: QMouseEvent) -> None:
        pressed, self._pressed = self._pressed, None
        dragged, self._dragging = self._dragging, False
        if pressed is None:
            return
        if not dragged:
            if event.button() == Qt.MouseButton.LeftButton:
                self.clicked.emit(pressed)
        elif self._drag == self._pull and pressed.row is not None:
            self._canvas.set_edge(None)
            to = self._edge_at(self._canvas.spot(event.position()), pressed)
            self.edge_moved.emit(pressed.row.animal, self._edge, to)

    def _pan(self, spot: Spot) -> None:
        assert self._pressed is not None
        self._canvas.pan(self._pressed.position - spot.position)

    def _brush(self, spot: Spot) -> None:
        assert self._pressed is not None
        assert self._pressed.row is not None
        first, last = sorted((self._pressed.frame, spot.frame))
        self.brushed.emit(self._pressed.row.animal, first, last + 1)

    def _pull(self, spot: Spot) -> None:
        assert self._pressed is not None
        self._canvas.set_edge(self._edge_at(spot, self._pressed))

    def _edge_at(self, spot: Spot, pressed: Spot) -> int:
        """Where the edge is that was taken hold of, now that the mouse is at a spot."""
        assert self._edge is not None
        return min(max(self._edge + round(spot.position - pressed.position), 0), self._canvas.n_frames)

    def _edge_near(self, spot: Spot) -> int | None:
        """The edge of a corrected bout that the mouse can take hold of."""
        if spot.row is None or spot.row.lane.role != CORRECTED or not self._canvas.is_strip:
            return None
        reach = self._canvas.frames_of(_NEAR)
        first = max(int(np.ceil(spot.position - reach)), 1)
        label = spot.row.lane.array[first - 1 : int(spot.position + reach) + 1, spot.row.animal]
        edges = first + np.flatnonzero(label[1:] != label[:-1])
        return int(edges[np.argmin(np.abs(edges - spot.position))]) if len(edges) else None

    def _turn(self, event: QWheelEvent) -> None:
        """Zoom at the mouse; with Shift, or sideways, pan; beside the lanes, or with Alt, scroll their rows."""
        sideways, notches = event.angleDelta().x() / _NOTCH, event.angleDelta().y() / _NOTCH
        spot = self._canvas.spot(event.position())
        start, stop = self._canvas.span
        if event.modifiers() & Qt.KeyboardModifier.AltModifier:  # Qt turns the wheel sideways then
            self._canvas.scroll_by(-(sideways or notches))
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier or abs(sideways) > abs(notches):
            self._canvas.pan(-_PAN_STEP * (stop - start) * (sideways or notches))
        elif spot.beside:
            self._canvas.scroll_by(-notches)
        else:
            self._canvas.zoom(_ZOOM_STEP**notches, spot.position)
