"""Windows over a recording: cutting is an index, never a copy, and stitching is its exact inverse."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Frames [start, stop) of a recording.

    Parameters
    ----------
    recording
        Which of the recordings at hand.
    start, stop
        Half-open span of frames. A window at the end of a recording may be shorter than the others; batches pad it.
    """

    recording: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def sliding_windows(n_frames: int, length: int, stride: int | None = None, recording: int = 0) -> list[Window]:
    """Windows that cover every frame of a recording, in order.

    Parameters
    ----------
    n_frames
        Frames in the recording.
    length
        Frames in a window.
    stride
        Frames from one start to the next, at most `length`; without it windows do not overlap.
    recording
        Index stored in every window.

    Returns
    -------
    list of Window
        Each starts at a multiple of `stride`; the last one ends with the recording and may be short.

    Raises
    ------
    ValueError
        When `stride` is not in 1…`length`: frames would fall between windows.
    """
    stride = length if stride is None else stride
    if not 1 <= stride <= length:
        raise ValueError(
            f"stride is {stride}; windows of {length} frames cover a recording with a stride of 1 to {length}"
        )
    starts = range(0, max(1, n_frames - length + stride), stride)
    return [Window(recording, start, min(start + length, n_frames)) for start in starts]


def touching(windows: Sequence[Window], start: int, stop: int) -> Sequence[Window]:
    """Those of windows in order, as `sliding_windows` gives them, that hold any of the frames [start, stop)."""
    first = bisect_right(windows, start, key=lambda window: window.stop)
    return windows[first : bisect_left(windows, stop, key=lambda window: window.start)]


def shifted(window: Window, n_frames: int, rng: np.random.Generator) -> Window:
    """The window, shifted by up to half its length, so that no frame is learnt by its place in a window."""
    half, room = len(window) // 2, n_frames - len(window)
    start = int(np.clip(window.start + rng.integers(-half, half + 1), 0, room))
    return Window(window.recording, start, start + len(window))


class Stitcher:
    """Puts what was computed per window back on the recording's timeline; overlapping windows are averaged.

    Parameters
    ----------
    windows
        All windows that will be added, each once, in any order.
    out
        (..., T, F) float array, all zero; the second-last axis is time.
    start
        The frame of the recording that `out` begins with. What windows hold beyond `out` is left out.
    """

    def __init__(self, windows: Sequence[Window], out: np.ndarray, start: int = 0) -> None:
        self.out, self.start = out, start
        steps = np.zeros(out.shape[-2] + 1, np.int32)
        places = [self._place(window) for window in windows]
        np.add.at(steps, [place.start for place in places], 1)
        np.add.at(steps, [place.stop for place in places], -1)
        self._count = np.cumsum(steps[:-1], dtype=np.int32)  # (T,)

    def add(self, window: Window, piece: np.ndarray) -> None:
        """Add one window's part; `piece` is (..., ≥ len(window), F), and what lies beyond the window is padding."""
        span = self._place(window)
        first = span.start + self.start - window.start
        part = piece[..., first : first + span.stop - span.start, :]
        self.out[..., span, :] += part / self._count[span, None].astype(self.out.dtype)

    def _place(self, window: Window) -> slice:
        """Where a window lies in `out`."""
        return slice(max(window.start - self.start, 0), min(window.stop - self.start, self.out.shape[-2]))


def stitch(pieces: Sequence[np.ndarray], windows: Sequence[Window], n_frames: int) -> np.ndarray:
    """Join pieces (..., ≥ len(window), F) of `windows` to one (..., n_frames, F) array, averaging overlaps.

    Frames in no window are 0. With windows that do not overlap this is the exact inverse of cutting.
    """
    first = pieces[0]
    out = np.zeros((*first.shape[:-2], n_frames, first.shape[-1]), first.dtype)
    stitcher = Stitcher(windows, out)
    for window, piece in zip(windows, pieces, strict=True):
        stitcher.add(window, piece)
    return out
