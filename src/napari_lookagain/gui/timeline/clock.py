"""Frames as a person reads them: the time they stand for, and where a ruler puts its ticks."""

from __future__ import annotations

_FRAMES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def clock(frame: float, fps: float, decimals: int = 2) -> str:
    """Write the time of a frame as minutes and seconds, with hours where there are any.

    Examples
    --------
    >>> clock(1234, 25), clock(1234, 25, 0), clock(1_080_000, 30, 0)
    ('0:49.36', '0:49', '10:00:00')
    """
    seconds = round(frame / fps, decimals)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    width = 2 if decimals == 0 else 3 + decimals
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{seconds:0{width}.{decimals}f}"


def grouped(frame: int) -> str:
    """Write a number of frames with thin spaces between thousands."""
    return f"{frame:,}".replace(",", "\u2009")


def tick_spacing(frames_per_tick: float, fps: float) -> float:
    """Give the least round distance between ticks, in frames, that keeps them `frames_per_tick` apart.

    Below a second it is a round number of frames, and from there on one of seconds.
    """
    choices = [float(n) for n in _FRAMES if n < fps] + [fps * n for n in _SECONDS]
    return next((choice for choice in choices if choice >= frames_per_tick), choices[-1])
