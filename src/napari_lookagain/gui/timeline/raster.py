"""Lanes drawn into an array of pixels: plain numpy, one column of pixels at a time for all its frames.

Every function fills a ``(height, columns)`` uint32 part of a picture (``0xffRRGGBB``) from means over the columns.
Colors are (3,) floats, 0 to 255; where nothing is known the picture stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LEAST = 0.15  # opacity of what takes next to no time: rare things are to be seen, too; hence the root as well


def packed(color: np.ndarray) -> np.ndarray:
    """Pack colors (..., 3) of 0 to 255 into pixels (...,)."""
    red, green, blue = np.moveaxis(np.round(color).astype(np.uint32), -1, 0)
    return np.uint32(0xFF000000) | red << np.uint32(16) | green << np.uint32(8) | blue


def draw_strip(picture: np.ndarray, shares: np.ndarray, colors: np.ndarray, ground: np.ndarray) -> None:
    """Draw classes as one strip; a column of several frames gets the mean of their colors.

    Parameters
    ----------
    picture
        (height, n) pixels to fill.
    shares
        (n, K) share of the time of each column.
    colors, ground
        (K, 3) of the classes, and (3,) of where none is.
    """
    picture[:] = packed(shares @ colors + (1 - shares.sum(axis=1, keepdims=True)) * ground)


def draw_rows(
    picture: np.ndarray, shares: np.ndarray, colors: np.ndarray, ground: np.ndarray, shown: Sequence[int]
) -> None:
    """Draw classes in a row each, with an opacity that grows with their share of the time.

    Parameters
    ----------
    picture, shares, colors, ground
        As of `draw_strip`.
    shown
        The classes that get a row, from the top.
    """
    height = len(picture)
    for row, code in enumerate(shown):
        top, bottom = row_span(row, len(shown), height)
        share = shares[:, code, None]
        opacity = np.where(share > 0, _LEAST + (1 - _LEAST) * np.sqrt(share), 0)
        picture[top:bottom] = packed(ground + opacity * (colors[code] - ground))


def row_span(row: int, n_rows: int, height: int) -> tuple[int, int]:
    """Tell where a row of a lane begins and ends; rows that are high enough are parted by a pixel."""
    top, bottom = row * height // n_rows, (row + 1) * height // n_rows
    return top, bottom - (1 if bottom - top >= 4 else 0)


def draw_score(
    picture: np.ndarray, score: np.ndarray, limits: tuple[float, float], area: np.ndarray, line: np.ndarray
) -> None:
    """Draw a score as an area under a line.

    Parameters
    ----------
    picture
        (height, n) pixels to fill.
    score
        (n,) means; NaN leaves a gap.
    limits
        Scores at the foot and at the top.
    area, line
        Their colors.
    """
    height = len(picture)
    known = np.isfinite(score)
    part = np.clip((np.where(known, score, limits[0]) - limits[0]) / (limits[1] - limits[0]), 0, 1)
    level = np.where(known, np.round((1 - part) * (height - 1)), height).astype(int)
    before = np.concatenate([level[:1], level[:-1]])
    before = np.where(before < height, before, level)  # the line does not rise out of a gap
    row = np.arange(height)[:, None]
    picture[row >= level] = packed(area)
    picture[(row >= np.minimum(level, before)) & (row <= np.maximum(level, before)) & known] = packed(line)


def draw_ticks(picture: np.ndarray, columns: np.ndarray, color: np.ndarray, width: int) -> None:
    """Draw a tick, `width` pixels wide, at each of some columns; those beyond the picture are left out."""
    columns = (columns[:, None] + np.arange(width)).ravel()
    picture[:, columns[(columns >= 0) & (columns < picture.shape[1])]] = packed(color)
