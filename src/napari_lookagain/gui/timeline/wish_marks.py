"""Marks of what a person wants of the looks: a dashed bracket over pinned frames, a hatched cover over muted ones.

They differ in form, not in hue alone, and what is below them shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_lookagain.annotations import runs
from napari_lookagain.gui.timeline.raster import packed
from napari_lookagain.gui.timeline.sums import Columns
from napari_lookagain.looks import LookWishes, Wish

_LEAST = 2  # columns: a single frame in ten hours is to be seen, too
_TOP, _DASH, _GAP = 4, 6, 3  # pixels: height of the top of a bracket, its dashes, and between them
_HATCH = 6  # pixels from one line of the hatch to the next
_COVER, _LINE = 0.55, 0.85  # opacity of the cover over muted frames, and of its lines


def spans_of(wishes: LookWishes) -> list[list[Wish]]:
    """Cut wishes into the spans that hold, those of each animal in order and without overlap."""
    pinned, muted = wishes.masks()
    return [
        [
            Wish("pin" if code > 0 else "mute", int(start), int(stop), animal)
            for start, stop, code in zip(*runs(column), strict=True)
            if code
        ]
        for animal, column in zip(wishes.animals, (pinned.astype(np.int8) - muted).T, strict=True)
    ]


def draw_wishes(
    picture: np.ndarray,
    spans: Sequence[Wish],
    columns: Columns,
    colors: tuple[np.ndarray, np.ndarray],
    scale: float = 1.0,
) -> None:
    """Draw the marks over a lane that is drawn already.

    Parameters
    ----------
    picture
        (height, n) pixels, as in `raster`.
    spans
        Of one animal.
    columns
        What is in view.
    colors
        Of pins and of mutes, (3,) floats each.
    scale
        Pixels of the picture to one of the screen as Qt counts them.
    """
    row, column = np.indices(picture.shape)
    pinned, muted = (_columns_of([span for span in spans if span.what == what], columns) for what in ("pin", "mute"))
    on_line = (row + column) % round(_HATCH * scale) < max(round(scale), 1)
    _blend(picture, muted & ~on_line, colors[1], _COVER)
    _blend(picture, muted & on_line, colors[1], _LINE)
    dashed = column % round((_DASH + _GAP) * scale) < round(_DASH * scale)
    beside = np.pad(pinned, 1, mode="edge")
    ends = pinned & ~(beside[:-2] & beside[2:])
    _blend(picture, pinned & (dashed & (row < round(_TOP * scale)) | ends), colors[0], 1)


def _columns_of(spans: Sequence[Wish], columns: Columns) -> np.ndarray:
    """Which columns show any of some spans, (n,) bool."""
    left = columns.column_of(np.array([span.start for span in spans], float))
    right = np.maximum(columns.column_of(np.array([span.stop for span in spans], float)), left + _LEAST)
    change = np.zeros(columns.n + 1, int)
    np.add.at(change, np.clip(left, 0, columns.n), 1)
    np.add.at(change, np.clip(right, 0, columns.n), -1)
    return change[:-1].cumsum() > 0


def _blend(picture: np.ndarray, where: np.ndarray, color: np.ndarray, opacity: float) -> None:
    below = np.stack([(picture[where] >> np.uint32(shift)) & np.uint32(0xFF) for shift in (16, 8, 0)], axis=-1)
    picture[where] = packed(below + opacity * (color - below))
