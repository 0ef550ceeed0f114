"""The colors of the timeline that are not those of a class."""

from __future__ import annotations

from dataclasses import dataclass, field

from qtpy.QtGui import QColor, QPalette


@dataclass(frozen=True)
class Theme:
    """Colors of the timeline in one theme.

    What is around the lanes follows the theme. The lanes are light in every theme, as in exported pictures: the colors
    of classes are chosen to be told apart on white, and a dark one with little opacity would be lost on black.

    Parameters
    ----------
    ground
        Around the lanes.
    ink, faint
        Of text on it, and of text and lines that stand back.
    lane
        Of a lane where nothing is.
    score, tick
        Of the area of a score, and of the frames looked at.
    cursor, mark
        Of the frame in view, and of what is selected.
    pin, mute
        Of marks on frames that are always looked at, and that never are.
    """

    ground: QColor
    ink: QColor
    faint: QColor
    lane: QColor
    score: QColor = field(default_factory=lambda: QColor("#7d838a"))
    tick: QColor = field(default_factory=lambda: QColor("#d1490b"))
    cursor: QColor = field(default_factory=lambda: QColor("black"))
    mark: QColor = field(default_factory=lambda: QColor("#1b86c9"))
    pin: QColor = field(default_factory=lambda: QColor("#00876c"))
    mute: QColor = field(default_factory=lambda: QColor("#5b5f64"))

    @classmethod
    def of(cls, palette: QPalette) -> Theme:
        """Take the theme from the palette of a widget."""
        ground, ink = palette.color(QPalette.ColorRole.Window), palette.color(QPalette.ColorRole.WindowText)
        return cls(ground, ink, mix(ink, ground, 0.4), lane=mix(QColor("white"), ground, 0.06))


def mix(color: QColor, other: QColor, share: float) -> QColor:
    """Give a color with a share (0 to 1) of another one in it."""
    pairs = zip(color.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QColor(*(round(own + share * (theirs - own)) for own, theirs in pairs))
