"""Sequences of frames to train heads on: which there are, which are held out, and reading them a few at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from napari_lookagain.actions.features import Reading
from napari_lookagain.batches import Recording, hold_out, split
from napari_lookagain.features import MotionFeatures
from napari_lookagain.progress import Progress
from napari_lookagain.windows import Window, sliding_windows

AT_ONCE = 2**26  # numbers of features in memory at a time, 256 MiB: one sequence of a large encoder's patches
KEPT = 2**26  # numbers of features that are kept between epochs

Split = tuple[list[Window], list[Window]]


def scored_windows(labels: Sequence[np.ndarray], length: int) -> list[Window]:
    """Cut all recordings into sequences without overlap, and give those with a scored frame.

    Parameters
    ----------
    labels
        (T, A) classes of every recording, −1 = unscored.
    length
        Frames of a sequence; the last one of a recording may be shorter.
    """
    return [
        window
        for index, label in enumerate(labels)
        for window in sliding_windows(len(label), length, recording=index)
        if (label[window.start : window.stop] >= 0).any()
    ]


def splits(labels: Sequence[np.ndarray], windows: Sequence[Window], share: float, seeds: Sequence[int]) -> list[Split]:
    """Training and held-out sequences of every seed, for each of which a stretch of every recording is drawn anew.

    So no single split decides what the heads together do not learn (table 15 of the paper: "five random train/val
    splits"). A stretch is chosen to be like its recording in its behaviors, see `hold_out`; two seeds may draw one.
    """
    nothing = cast(MotionFeatures, None)  # to hold out, labels are all that is read
    recordings = [Recording(nothing, len(label), label.shape[1], behavior=label) for label in labels]
    return [split(windows, hold_out(recordings, windows, share, seed)) for seed in seeds]


class Sequences:
    """Reads sequences of recordings, an animal each, padded to one length, and keeps those in memory that fit.

    Parameters
    ----------
    readings
        What is read of every recording.
    labels
        (T, A) classes of every recording, −1 = unscored.
    length
        Frames of a sequence.
    """

    def __init__(self, readings: Sequence[Reading], labels: Sequence[np.ndarray], length: int) -> None:
        self.readings, self.labels, self.length = readings, labels, length
        self._kept: dict[Window, np.ndarray] = {}
        self._room = KEPT

    def __call__(self, windows: Sequence[Window]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Features (S, L, F), valid (S, L) and behavior (S, L) of all animals that are scored there, some at a time."""
        for some in self._in_portions(windows):
            scored = [self._scored(window) for window in some]  # (A', L') each
            total = sum(len(animals) for animals, _ in scored)
            x = np.zeros((total, self.length, self.readings[0].width), np.float32)
            valid = np.zeros((total, self.length), bool)
            behavior = np.full((total, self.length), -1, np.int64)
            first = 0
            for window, (animals, classes) in zip(some, scored, strict=True):
                here = slice(first, first + len(animals)), slice(len(window))
                x[here], valid[here], behavior[here] = self.read(window)[animals], True, classes
                first += len(animals)
            yield torch.from_numpy(x), torch.from_numpy(valid), torch.from_numpy(behavior)

    def read(self, window: Window) -> np.ndarray:
        """Features (A, L', F) of one window, from memory if they are there."""
        if window in self._kept:
            return self._kept[window]
        x = self.readings[window.recording](window.start, window.stop)
        if x.size <= self._room:
            self._room -= x.size
            self._kept[window] = x
        return x

    def behavior(self, windows: Sequence[Window]) -> np.ndarray:
        """Classes of all frames and animals of these windows, one after the other."""
        return np.concatenate([self.labels[w.recording][w.start : w.stop].ravel() for w in windows]).astype(np.int64)

    def count(self, windows: Sequence[Window]) -> int:
        """How many sequences these windows hold: one for every animal that is scored in one."""
        return sum(len(self._scored(window)[0]) for window in windows)

    def _scored(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        classes = self.labels[window.recording][window.start : window.stop].T
        animals = np.flatnonzero((classes >= 0).any(1))
        return animals, classes[animals]

    def _in_portions(self, windows: Sequence[Window]) -> Iterator[list[Window]]:
        """As many windows at a time as may be in memory, at least one."""
        some: list[Window] = []
        numbers = 0
        for window in windows:
            more = len(self._scored(window)[0]) * self.length * self.readings[window.recording].width
            if some and numbers + more > AT_ONCE:
                yield some
                some, numbers = [], 0
            some.append(window)
            numbers += more
        if some:
            yield some


def moments(
    sequences: Sequences, windows: Sequence[Window], flat: int, patches: tuple[int, int]
) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of every column over all frames of these windows, of patches over all patches.

    Parameters
    ----------
    sequences, windows
        What is read.
    flat
        Columns before the patches.
    patches
        P and D of the patches, (0, 0) when none are read.

    Returns
    -------
    tuple
        Mean and deviation, each (flat + D,) float64.
    """
    count = np.zeros(flat + patches[1])
    mean, squares = np.zeros_like(count), np.zeros_like(count)
    for done, window in enumerate(windows):
        x = sequences.read(window).reshape(-1, flat + patches[0] * patches[1])
        for columns, part in (
            (slice(flat), x[:, :flat]),
            (slice(flat, None), x[:, flat:].reshape(-1, patches[1]) if patches[0] else x[:, :0]),
        ):
            if part.shape[1]:  # Chan et al.: means and squares of two portions give those of both
                own, before = len(part), count[columns]
                off = part.mean(0, dtype=np.float64) - mean[columns]
                squares[columns] += part.var(0, dtype=np.float64) * own + off**2 * before * own / (before + own)
                mean[columns] += off * own / (before + own)
                count[columns] += own
        yield Progress(done + 1, len(windows), "reading features")
    return mean, np.sqrt(squares / count)
