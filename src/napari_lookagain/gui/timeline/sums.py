"""Sums over any stretch of a lane, as cheap for ten hours as for a second."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_lookagain.gui.timeline.lanes import Lane

BLOCK = 16  # frames; sums are kept up to every 16th one, which takes a sixteenth of the memory of all


@dataclass(frozen=True)
class Columns:
    """Columns of pixels that show frames `start` to `stop`, and the frames that each of them stands for.

    Parameters
    ----------
    start, stop
        The stretch in view, in frames; need not be whole.
    n
        Columns.
    n_frames
        Frames of the recording, T.
    """

    start: float
    stop: float
    n: int
    n_frames: int

    @property
    def frames_per_column(self) -> float:
        """Frames that a column stands for; below 1 where a frame is wider than a column."""
        return (self.stop - self.start) / self.n

    @cached_property
    def frames(self) -> np.ndarray:
        """The frame in the middle of every column, (n,)."""
        middle = self.start + (np.arange(self.n) + 0.5) * self.frames_per_column
        return np.clip(middle.astype(np.intp), 0, self.n_frames - 1)

    @cached_property
    def edges(self) -> np.ndarray:
        """Where columns begin and end, (n + 1,): column i stands for frames [edges[i], edges[i + 1])."""
        edges = self.start + np.arange(self.n + 1) * self.frames_per_column
        return np.clip(np.round(edges).astype(np.intp), 0, self.n_frames)

    @cached_property
    def beyond_blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """The frames between the last whole block before each edge and that edge, and whose they are."""
        frames = (self.edges // BLOCK * BLOCK)[:, None] + np.arange(BLOCK)
        edge, offset = np.nonzero(frames < self.edges[:, None])
        return frames[edge, offset], edge

    def column_of(self, frame: np.ndarray) -> np.ndarray:
        """Columns in which positions (in frames, not whole) lie; those out of view are beyond 0 and n."""
        return np.floor((frame - self.start) / self.frames_per_column).astype(np.intp)


class LaneSums:
    """Sums of what a lane holds, up to every 16th frame: those over any stretch are the difference of two.

    Parameters
    ----------
    lane
        Its arrays are read again at every call; tell `update` where they have changed.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        n_frames, n_animals = lane.array.shape
        self._upto = [np.zeros((-(-n_frames // BLOCK) + 1, lane.width)) for _ in range(n_animals)]  # (blocks + 1, K)
        for animal in range(n_animals):
            self.update(animal, 0, n_frames)

    def hand_over(self, lane: Lane) -> LaneSums:
        """Give sums of a lane: these, when it holds the very same array as the one before, else new ones."""
        if lane.width != self.lane.width or _place(lane.array) != _place(self.lane.array):
            return LaneSums(lane)
        self.lane = lane
        return self

    def update(self, animal: int, start: int, stop: int) -> None:
        """Take notice that frames [start, stop) of an animal have changed."""
        upto = self._upto[animal]
        first, last = start // BLOCK, -(-stop // BLOCK)
        frames = np.arange(first * BLOCK, min(last * BLOCK, len(self.lane.array)))
        fresh = self.lane.totals(animal, frames, frames // BLOCK - first, last - first).cumsum(axis=0) + upto[first]
        upto[last + 1 :] += fresh[-1] - upto[last]
        upto[first + 1 : last + 1] = fresh

    def whole(self) -> np.ndarray:
        """Sums over the whole recording, (A, K)."""
        return np.stack([upto[-1] for upto in self._upto])

    def means(self, animal: int, columns: Columns) -> np.ndarray:
        """Means over the frames of every column, (n, K); of classes these are shares of its time."""
        if columns.frames_per_column <= 1:
            return self.lane.totals(animal, columns.frames, np.arange(columns.n), columns.n)
        frames, edge = columns.beyond_blocks
        upto = self._upto[animal][columns.edges // BLOCK]
        upto = upto + self.lane.totals(animal, frames, edge, len(columns.edges))
        return np.diff(upto, axis=0) / np.maximum(np.diff(columns.edges), 1)[:, None]


def _place(array: np.ndarray) -> tuple[object, ...]:
    """Where an array lies in memory: a view of the same part of another is in the same place."""
    return array.ctypes.data, array.strides, array.shape, array.dtype
