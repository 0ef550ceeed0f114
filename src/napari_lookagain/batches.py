"""From recordings to batches of windows: what training reads, and which windows of a long recording it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from napari_lookagain.features import MotionFeatures
from napari_lookagain.model.objectives import Batch
from napari_lookagain.vision.on_the_fly import Seen
from napari_lookagain.windows import Window, sliding_windows


@dataclass(frozen=True)
class Recording:
    """What the model reads of one session.

    Parameters
    ----------
    features
        Eq. 1, span by span.
    n_frames, n_animals
        T and A.
    visual_features
        What was seen at the frames of the training windows, or None.
    behavior
        (T, A) int class of every frame, −1 = unscored, or None.
    """

    features: MotionFeatures
    n_frames: int
    n_animals: int
    visual_features: Seen | None = None
    behavior: np.ndarray | None = None


class Batches:
    """Reads windows of recordings into batches, padded to the window length and to the largest number of animals.

    Parameters
    ----------
    recordings
        What windows point into.
    length
        Frames in a window.
    seen_width
        D_v, or P · D_v for patches; recordings without visual features give zeros.
    """

    def __init__(self, recordings: Sequence[Recording], length: int, seen_width: int) -> None:
        self.recordings, self.length, self.seen_width = recordings, length, seen_width
        self.n_animals = max(recording.n_animals for recording in recordings)

    def __call__(self, windows: Sequence[Window]) -> Batch:
        """One batch of these windows."""
        shape = (len(windows), self.n_animals, self.length)
        motion = np.zeros((*shape, self.recordings[0].features.width), np.float32)
        visual = np.zeros((*shape, self.seen_width), np.float32)
        behavior = np.full(shape, -1, np.int64)
        valid = np.zeros(shape, bool)
        for b, window in enumerate(windows):
            recording, span = self.recordings[window.recording], slice(window.start, window.stop)
            here = (b, slice(recording.n_animals), slice(len(window)))
            motion[here] = recording.features(window.start, window.stop)
            valid[here] = True
            if recording.visual_features is not None:
                frames, animals = np.divmod(np.arange(len(window) * recording.n_animals), recording.n_animals)
                rows = np.column_stack([frames + window.start, animals])
                seen = recording.visual_features.read(rows).reshape(len(window), recording.n_animals, -1)
                visual[here] = seen.swapaxes(0, 1)
            if recording.behavior is not None:
                behavior[here] = recording.behavior[span].T
        return Batch(*(torch.from_numpy(array) for array in (motion, valid, visual, behavior)))


def training_windows(
    recordings: Sequence[Recording],
    length: int,
    stride: int,
    max_windows: int,
    *,
    scored: bool = False,
    lively: bool = False,
) -> list[Window]:
    """The windows to train on, of all recordings.

    Parameters
    ----------
    recordings
        All of them.
    length, stride
        In frames.
    max_windows
        When there are more, they are thinned evenly, so that clusters and behaviors are met as often as they occur.
    scored
        Keep only windows that hold at least one scored frame (appendix B of the paper).
    lively
        Instead of thinning evenly, cut the recordings into `max_windows` equal stretches of time, and keep of each the
        window with the most motion, which has the most to teach a motion encoder.
    """
    windows = [
        window
        for index, recording in enumerate(recordings)
        for window in sliding_windows(recording.n_frames, length, stride, index)
        if not scored or _is_scored(recording, window)
    ]
    if len(windows) <= max_windows:
        return windows
    if not lively:
        return [windows[i] for i in np.linspace(0, len(windows) - 1, max_windows).astype(int)]
    stretches = np.array_split(np.arange(len(windows)), max_windows)
    # Of a long stretch a few candidates are enough: reading every frame of 10 hours to choose would be the long way.
    candidates = [stretch[np.linspace(0, len(stretch) - 1, min(len(stretch), 4)).astype(int)] for stretch in stretches]
    return [windows[max(stretch, key=lambda i: _motion_energy(recordings, windows[i]))] for stretch in candidates]


def hold_out(recordings: Sequence[Recording], windows: Sequence[Window], share: float, seed: int) -> list[Window]:
    """Choose what no training reads: one span of time of every recording, as long as a `share` of its windows in a row.

    Where frames are scored, the span is the one, of eight drawn by `seed`, whose share of every behavior is nearest to
    that of the recording. A span that leaves nothing to train on, or not one scored frame of a behavior that is scored
    in the recording, is out of the question.

    Returns
    -------
    list of Window
        The spans. A recording with too few windows to spare one, or of which no drawn span can be spared, has none.
    """
    rng = np.random.default_rng([seed, 17])
    spans = []
    for index, recording in enumerate(recordings):
        own = [window for window in windows if window.recording == index]
        size = round(share * len(own))
        if size == 0:
            continue
        blocks = [own[start : start + size] for start in rng.integers(0, len(own) - size + 1, 8)]
        drawn = [Window(index, block[0].start, max(window.stop for window in block)) for block in blocks]
        spared = [span for span in drawn if _can_be_spared(recording, own, span)]
        if spared:
            spans.append(min(spared, key=lambda span: _oddness(recording, own, span)))
    return spans


def split(windows: Sequence[Window], spans: Sequence[Window]) -> tuple[list[Window], list[Window]]:
    """Training windows, those that share no frame with a span, and held-out ones, those inside a span.

    Windows across the edge of a span are neither.
    """
    training, held_out = [], []
    for window in windows:
        near = [s for s in spans if s.recording == window.recording and s.start < window.stop and window.start < s.stop]
        if not near:
            training.append(window)
        elif any(span.start <= window.start and window.stop <= span.stop for span in near):
            held_out.append(window)
    return training, held_out


def _is_scored(recording: Recording, window: Window) -> bool:
    return recording.behavior is not None and bool((recording.behavior[window.start : window.stop] >= 0).any())


def _motion_energy(recordings: Sequence[Recording], window: Window) -> float:
    motion = recordings[window.recording].features(window.start, window.stop)
    return float(np.abs(np.diff(motion, axis=1)).sum() / motion.size)


def _can_be_spared(recording: Recording, windows: Sequence[Window], span: Window) -> bool:
    """Whether windows remain to train on, with a scored frame of every behavior that all windows have one of."""
    training, _ = split(windows, [span])
    missing = (_scored_frames(recording, training) == 0) & (_scored_frames(recording, windows) > 0)
    return bool(training) and not missing.any()


def _oddness(recording: Recording, windows: Sequence[Window], span: Window) -> float:
    """How far the behaviors in a span are from those in all windows: the L1 distance of their shares."""
    inside, everywhere = (_scored_frames(recording, chosen) for chosen in ([span], windows))
    return float(np.abs(inside / max(inside.sum(), 1) - everywhere / max(everywhere.sum(), 1)).sum())


def _scored_frames(recording: Recording, windows: Sequence[Window]) -> np.ndarray:
    """Scored frames of every class in windows, (K,); none of a recording that nobody scored."""
    count = np.zeros(0 if recording.behavior is None else int(recording.behavior.max()) + 1, int)
    if recording.behavior is not None:
        for window in windows:
            scored = recording.behavior[window.start : window.stop]
            count += np.bincount(scored[scored >= 0], minlength=len(count))
    return count
