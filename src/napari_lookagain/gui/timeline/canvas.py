"""The drawing of the timeline: ruler, names, lanes, cursor and selection, and how they are moved and zoomed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPen
from qtpy.QtWidgets import QGraphicsRectItem

from napari_lookagain.gui.state import Selection
from napari_lookagain.gui.timeline.gutter import Gutter
from napari_lookagain.gui.timeline.lanes import Lane
from napari_lookagain.gui.timeline.picture import STRIP_UP_TO, LanePicture
from napari_lookagain.gui.timeline.rows import Row, rows_of
from napari_lookagain.gui.timeline.ruler import Ruler
from napari_lookagain.gui.timeline.sums import LaneSums
from napari_lookagain.gui.timeline.theme import Theme
from napari_lookagain.looks import Wish

_LEAST_SPAN = 20  # frames: nearer than this there is nothing more to see
_SCROLL_STEP = 40  # pixels


@dataclass(frozen=True)
class Spot:
    """A place on the canvas.

    Parameters
    ----------
    position
        In frames, not whole.
    row
        The row there; None between rows and beside them.
    on_ruler, beside
        Whether it is above the lanes, or beside them where their names are.
    """

    position: float
    row: Row | None
    on_ruler: bool = False
    beside: bool = False

    @property
    def frame(self) -> int:
        """The frame there."""
        return int(self.position)


class Canvas(pg.GraphicsView):
    """Draws lanes; computes nothing and decides nothing.

    Parameters
    ----------
    n_frames, fps, animals
        Of the recording.
    theme
        Its colors.
    """

    span_changed = Signal()
    """Other frames are in view, or other rows."""

    def __init__(self, n_frames: int, fps: float, animals: Sequence[str], theme: Theme) -> None:
        super().__init__()
        self.n_frames = n_frames
        self._n_animals = len(animals)
        self.lanes: list[Lane] = []
        self.rows: list[Row] = []
        self.sums: dict[str, LaneSums] = {}
        self._shown: dict[str, list[int]] = {}
        self._wishes: Sequence[Sequence[Wish]] = [() for _ in animals]
        self._selection: Selection | None = None
        self.box = pg.ViewBox(enableMenu=False, enableMouse=False, invertY=True, defaultPadding=0)
        self.box.disableAutoRange()
        self.box.setLimits(xMin=0, xMax=n_frames, minXRange=min(_LEAST_SPAN, n_frames))
        self._ruler, self._gutter = Ruler(fps), Gutter(self.box, animals, theme)
        self._ruler.linkToView(self.box)
        self._picture = LanePicture(self.box, n_frames, theme)
        self._picture.set_wishes(self._wishes)
        self._cursor = pg.InfiniteLine(angle=90)
        self._edge = pg.InfiniteLine(angle=90)
        self._mark = QGraphicsRectItem()
        for item, height in ((self._mark, 1), (self._edge, 2), (self._cursor, 3)):
            item.setZValue(height)
            self.box.addItem(item, ignoreBounds=True)
        self._mark.hide()
        self._edge.hide()
        layout = pg.GraphicsLayout(border=None)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addItem(self._ruler, 0, 1)
        layout.addItem(self._gutter, 1, 0)
        layout.addItem(self.box, 1, 1)
        self.setCentralWidget(layout)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys are for the timeline around it
        self.box.sigResized.connect(self._place_rows)
        self.box.sigXRangeChanged.connect(self._tell_span)
        self.set_theme(theme)
        self.fit()

    # what is drawn

    def set_lanes(self, lanes: list[Lane]) -> None:
        """Draw these lanes; sums over arrays that were there before are kept."""
        old, self.sums = self.sums, {}
        for lane in lanes:
            self.sums[lane.role] = old[lane.role].hand_over(lane) if lane.role in old else LaneSums(lane)
        self.lanes = lanes
        self._shown = {lane.role: self._seen(lane) for lane in lanes}
        self._place_rows()

    def update_lane(self, role: str, animal: int, start: int, stop: int) -> None:
        """Draw frames [start, stop) of an animal anew, whose values have changed in place."""
        if role not in self.sums:
            return
        self.sums[role].update(animal, start, stop)
        seen = self._seen(self.sums[role].lane)
        if seen != self._shown[role]:
            self._shown[role] = seen
            self._place_rows()
        else:
            ticks = [row for row in self.rows if row.ticks is not None and row.ticks.role == role]
            own = [row for row in self.rows if row.lane.role == role]
            self._picture.refresh_rows([row for row in own + ticks if row.animal == animal])

    def emphasize(self, role: str, code: int | None) -> None:
        """Let all classes but one of a lane fade; None brings them back."""
        self._picture.emphasize(role, code)

    def set_wishes(self, wishes: Sequence[Sequence[Wish]]) -> None:
        """Mark what is wanted of the looks at each animal, as spans without overlap."""
        self._wishes = wishes
        self._picture.set_wishes(wishes)

    def set_theme(self, theme: Theme) -> None:
        """Take other colors."""
        self.setBackground(theme.ground)
        for part in (self._ruler, self._gutter, self._picture):
            part.set_theme(theme)
        self._cursor.setPen(_pen(theme.cursor, 1.5))
        self._edge.setPen(_pen(theme.mark, 2))
        self._mark.setPen(_pen(theme.mark, 1.5))
        fill = QColor(theme.mark)
        fill.setAlpha(50)
        self._mark.setBrush(fill)

    def set_cursor(self, frame: int) -> None:
        """Mark the frame in view."""
        self._cursor.setPos(frame + 0.5)
        self._ruler.set_cursor(frame + 0.5)

    def set_active(self, animal: int) -> None:
        """Mark the animal that keys act on, and scroll to it when nothing of it is in view."""
        self._gutter.set_active(animal)
        own = [row for row in self.rows if row.animal == animal]
        bottom = self.top + self.box.height()
        if own and not any(self.top <= row.top and row.bottom <= bottom for row in own):
            self.scroll(own[0].top)

    def set_selection(self, selection: Selection | None) -> None:
        """Mark what is selected, over all lanes of its animal."""
        self._selection = selection
        rows = [] if selection is None else [row for row in self.rows if row.animal == selection.animal]
        self._mark.setVisible(bool(rows))
        if selection is not None and rows:
            top, bottom = rows[0].top - 1, rows[-1].bottom + 1
            self._mark.setRect(selection.start, top, selection.stop - selection.start, bottom - top)

    def set_edge(self, frame: int | None) -> None:
        """Show where a bout's edge would go; None hides it."""
        self._edge.setVisible(frame is not None)
        self._edge.setPos(frame or 0)

    # what is in view

    @property
    def span(self) -> tuple[float, float]:
        """First and last frame in view, not whole."""
        start, stop = self.box.viewRange()[0]
        return start, stop

    @property
    def is_strip(self) -> bool:
        """Whether lanes of classes are drawn as strips, frame by frame, and not as a row for every class."""
        return self._picture.columns().frames_per_column <= STRIP_UP_TO

    def show_span(self, start: float, stop: float) -> None:
        """Bring frames into view, as far as there are such."""
        width = min(max(stop - start, _LEAST_SPAN), self.n_frames)
        start = min(max(start, 0), self.n_frames - width)
        self.box.setXRange(start, start + width, padding=0)

    def fit(self) -> None:
        """Bring the whole recording into view."""
        self.show_span(0, self.n_frames)

    def zoom(self, factor: float, position: float) -> None:
        """Show `factor` times as many frames, with a position (in frames) staying where it is on the screen."""
        start, stop = self.span
        width = max(factor * (stop - start), _LEAST_SPAN)
        start = position - (position - start) * width / (stop - start)
        self.show_span(start, start + width)

    def pan(self, frames: float) -> None:
        """Move on by some frames."""
        start, stop = self.span
        self.show_span(start + frames, stop + frames)

    @property
    def top(self) -> int:
        """Pixels of the rows above those in view."""
        return round(self.box.viewRange()[1][0])

    @property
    def hidden(self) -> int:
        """Pixels of the rows that the canvas is too low for."""
        bottom = self.rows[-1].bottom if self.rows else 0
        return max(bottom - round(self.box.height()), 0)

    def scroll(self, top: int) -> None:
        """Bring rows into view that are `top` pixels below the first."""
        top = min(max(top, 0), self.hidden)
        self.box.setYRange(top, top + max(self.box.height(), 1), padding=0)

    def scroll_by(self, notches: float) -> None:
        """Scroll the rows by some notches of the wheel."""
        self.scroll(round(self.top + notches * _SCROLL_STEP))

    def spot(self, point: QPointF) -> Spot:
        """Tell what is at a point of the canvas."""
        place = self.box.mapFromScene(point)
        start, stop = self.span
        position = start + place.x() / max(self.box.width(), 1) * (stop - start)
        y = place.y() + self.top
        on_ruler, beside = place.y() < 0, place.x() < 0
        rows = [row for row in self.rows if row.top <= y < row.bottom and not on_ruler and not beside]
        return Spot(min(max(position, 0), self.n_frames - 1e-6), rows[0] if rows else None, on_ruler, beside)

    def wish_at(self, animal: int, frame: int) -> Wish | None:
        """What is wanted of the looks at an animal at a frame."""
        return next((wish for wish in self._wishes[animal] if wish.start <= frame < wish.stop), None)

    def frames_of(self, pixels: float) -> float:
        """Tell how many frames so many pixels are wide."""
        start, stop = self.span
        return pixels * (stop - start) / max(self.box.width(), 1)

    def _tell_span(self, *_: object) -> None:
        self.span_changed.emit()

    def _seen(self, lane: Lane) -> list[int]:
        """The classes of a lane that are seen anywhere, in the order of their rows."""
        total = self.sums[lane.role].whole().sum(axis=0)
        return [code for code in range(lane.width) if total[code] > 0]

    def _place_rows(self, *_: object) -> None:
        n_shown = {role: len(shown) for role, shown in self._shown.items()}
        self.rows = rows_of(self.lanes, self._n_animals, round(self.box.height()), n_shown)
        self._picture.set_rows(self.rows, self.sums, self._shown)
        self._gutter.set_rows(self.rows)
        self.scroll(self.top)
        self.set_selection(self._selection)
        self.span_changed.emit()


def _pen(color: QColor, width: float) -> QPen:
    return pg.mkPen(color, width=width)
