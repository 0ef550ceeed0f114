"""The lanes as one picture, drawn anew when what is in view changes and only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QImage, QPainter

from napari_lookagain.annotations import runs
from napari_lookagain.gui.timeline.lanes import ClassLane, ScoreLane, TickLane
from napari_lookagain.gui.timeline.raster import draw_rows, draw_score, draw_strip, draw_ticks, packed
from napari_lookagain.gui.timeline.rows import Row
from napari_lookagain.gui.timeline.sums import Columns, LaneSums
from napari_lookagain.gui.timeline.theme import Theme, mix
from napari_lookagain.gui.timeline.wish_marks import draw_wishes
from napari_lookagain.looks import Wish

STRIP_UP_TO = 3.0  # frames per pixel; beyond it, classes get a row each
_TICK_SHARE = 0.34  # of the height of the lane that ticks are drawn in
_LEAST_LETTERS = 3  # of a name that is cut off
_LEAST_NAME, _NAME_PAD, _NAME_SIZE = 30, 5, 12  # pixels: of a bout that bears its name, beside it, and of its letters


class LanePicture(pg.GraphicsObject):
    """Draws the rows of a timeline in the pixels of a view box.

    The cursor moves over the picture many times a second, and Qt then asks for a narrow part of it: that is copied, not
    drawn.

    Parameters
    ----------
    box
        Its x are frames, its y are pixels from the top of all rows.
    n_frames
        Frames of the recording, T.
    theme
        Its colors.
    """

    def __init__(self, box: pg.ViewBox, n_frames: int, theme: Theme) -> None:
        super().__init__(box)  # beside the things that the box moves and scales, not among them
        self.setZValue(-1)
        self._box = box
        self._n_frames = n_frames
        self._rows: Sequence[Row] = ()
        self._sums: Mapping[str, LaneSums] = {}
        self._shown: Mapping[str, Sequence[int]] = {}
        self._wishes: Sequence[Sequence[Wish]] = ()
        self._theme = theme
        self._emphasis: tuple[str, int] | None = None
        self._image = QImage()
        self._pixels = np.zeros((0, 0), np.uint32)  # of the image
        self._stale: set[Row] | None = None  # rows to draw anew; None for all of them
        box.sigRangeChanged.connect(self.refresh)
        box.sigResized.connect(self._resize)

    def set_rows(self, rows: Sequence[Row], sums: Mapping[str, LaneSums], shown: Mapping[str, Sequence[int]]) -> None:
        """Draw these rows from now on; `sums` and `shown` (the classes with a row) are by the role of a lane."""
        self._rows, self._sums, self._shown = rows, sums, shown
        self.refresh()

    def set_wishes(self, wishes: Sequence[Sequence[Wish]]) -> None:
        """Mark what is wanted of the looks at each animal."""
        self._wishes = wishes
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        """Take other colors."""
        self._theme = theme
        self.refresh()

    def emphasize(self, role: str, code: int | None) -> None:
        """Let all classes but one of a lane fade; None brings them back."""
        self._emphasis = None if code is None else (role, code)
        self.refresh()

    def columns(self) -> Columns:
        """Tell which frames are in view, as columns of pixels of the screen."""
        start, stop = self._box.viewRange()[0]
        view = self.getViewWidget()
        scale = 1.0 if view is None else view.devicePixelRatioF()
        return Columns(start, stop, max(round(self._box.width() * scale), 1), self._n_frames)

    def refresh(self, *_: object) -> None:
        """Draw everything anew when next shown."""
        self._stale = None
        self.update()

    def refresh_rows(self, rows: Sequence[Row]) -> None:
        """Draw some rows anew when next shown."""
        if self._stale is not None:
            self._stale.update(rows)
        self.update()

    def _resize(self, *_: object) -> None:
        self.prepareGeometryChange()
        self.refresh()

    def boundingRect(self) -> QRectF:
        """Fill the box."""
        return self._box.rect()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Copy the picture, after drawing what has changed."""
        columns = self.columns()
        scale = columns.n / max(self._box.width(), 1)
        if self._stale is None:
            self._image = QImage(columns.n, max(round(self._box.height() * scale), 1), QImage.Format.Format_RGB32)
            self._image.fill(self._theme.ground)
            self._pixels = pg.functions.ndarray_from_qimage(self._image).view(np.uint32)[..., 0]
        for row in self._rows if self._stale is None else self._stale:
            self._draw(row, columns, scale)
        self._stale = set()
        painter.drawImage(self._box.rect(), self._image)

    def _draw(self, row: Row, columns: Columns, scale: float) -> None:
        """Draw one row into the pixels, as far as it is in view."""
        top = round((row.top - self._box.viewRange()[1][0]) * scale)
        height = round(row.height * scale)
        first, last = max(top, 0), min(top + height, len(self._pixels))
        if first >= last:
            return
        part = np.full((height, columns.n), packed(_rgb(self._theme.lane)))
        match row.lane:
            case ClassLane():
                self._draw_classes(part, row, columns)
            case ScoreLane():
                self._draw_score(part, row, columns)
            case TickLane() as ticks:
                self._draw_ticks(part, ticks, row.animal, columns)
        if row.wished and self._wishes[row.animal]:
            colors = _rgb(self._theme.pin), _rgb(self._theme.mute)
            draw_wishes(part, self._wishes[row.animal], columns, colors, scale)
        self._pixels[first:last] = part[first - top : last - top]
        if isinstance(row.lane, ClassLane) and columns.frames_per_column <= 1:
            self._write_names(row.lane, row.animal, columns, QRectF(0, top, columns.n, height), scale)

    def _draw_classes(self, part: np.ndarray, row: Row, columns: Columns) -> None:
        lane, ground = row.lane, _rgb(self._theme.lane)
        assert isinstance(lane, ClassLane)
        colors = np.array([_rgb(QColor(color)) for color in lane.colors]).reshape(-1, 3)
        if self._emphasis is not None and self._emphasis[0] == lane.role:
            others = np.arange(len(colors)) != self._emphasis[1]
            colors[others] = 0.2 * colors[others] + 0.8 * ground
        shares = self._sums[lane.role].means(row.animal, columns)
        if columns.frames_per_column <= STRIP_UP_TO:
            draw_strip(part, shares, colors, ground)
        else:
            draw_rows(part, shares, colors, ground, self._shown[lane.role])

    def _draw_score(self, part: np.ndarray, row: Row, columns: Columns) -> None:
        theme, lane = self._theme, row.lane
        assert isinstance(lane, ScoreLane)
        foot = round(_TICK_SHARE * len(part)) if row.ticks else 0
        total, count = self._sums[lane.role].means(row.animal, columns).T
        score = np.divide(total, count, out=np.full(columns.n, np.nan), where=count > 0)
        area, line = _rgb(mix(theme.score, theme.lane, 0.5)), _rgb(theme.score)
        draw_score(part[: len(part) - foot], score, lane.limits, area, line)
        if row.ticks is not None:
            self._draw_ticks(part[len(part) - foot :], row.ticks, row.animal, columns)

    def _draw_ticks(self, part: np.ndarray, ticks: TickLane, animal: int, columns: Columns) -> None:
        theme = self._theme
        if columns.frames_per_column > 1:
            share = self._sums[ticks.role].means(animal, columns)
            draw_rows(part, share, _rgb(theme.tick)[None], _rgb(theme.lane), [0])
            return
        start, stop = columns.edges[0], columns.edges[-1]
        frames = start + np.flatnonzero(ticks.on[start:stop, animal])
        width = int(np.clip(0.4 / columns.frames_per_column, 1, 3))
        draw_ticks(part, columns.column_of(frames + 0.5) - width // 2, _rgb(theme.tick), width)

    def _write_names(self, lane: ClassLane, animal: int, columns: Columns, place: QRectF, scale: float) -> None:
        """Write the names of bouts into those that are wide enough."""
        first = int(columns.start)
        start, stop, value = runs(lane.label[first : int(np.ceil(columns.stop)), animal])
        left = np.maximum(columns.column_of(first + start), 0)
        right = np.minimum(columns.column_of(first + stop), columns.n)
        wide = (right - left >= _LEAST_NAME * scale) & (value > 0) & (value <= lane.width)
        painter = QPainter(self._image)
        font = painter.font()
        font.setPixelSize(round(_NAME_SIZE * scale))
        painter.setFont(font)
        metrics, pad = QFontMetricsF(font), _NAME_PAD * scale
        for x, end, code in zip(left[wide], right[wide], value[wide] - 1, strict=True):
            painter.setPen(QColor("black" if _is_light(QColor(lane.colors[code])) else "white"))
            room = QRectF(x + pad, place.top(), end - x - 2 * pad, place.height())
            name = metrics.elidedText(lane.names[code], Qt.TextElideMode.ElideRight, room.width())
            if len(name) > _LEAST_LETTERS or name == lane.names[code]:
                painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, name)
        painter.end()


def _rgb(color: QColor) -> np.ndarray:
    return np.array(color.getRgb()[:3], float)


def _is_light(color: QColor) -> bool:
    """Whether black reads better on it than white."""
    red, green, blue = _rgb(color) / 255
    return bool(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18)
