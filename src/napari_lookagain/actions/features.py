"""What a head reads of every frame: keypoints, and what one or two eyes see in every frame."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.actions.config import ActionConfig, Feature
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.progress import Progress
from napari_lookagain.vision.encoder import VisionEncoder
from napari_lookagain.vision.look import see
from napari_lookagain.vision.on_the_fly import Seen

if TYPE_CHECKING:
    from napari_lookagain.session import Session

Eyes = Mapping[str, VisionEncoder]  # "pca" and "encoder", as far as something is read of them


@dataclass(frozen=True)
class Reading:
    """What is read of one recording, span by span; nothing of it stays in memory.

    Parameters
    ----------
    n_frames, n_animals
        T and A.
    motion
        The motion descriptor; None when keypoints are not read.
    seen
        What eyes saw, in the order in which it is read.
    seen_width
        Columns of all that.
    """

    n_frames: int
    n_animals: int
    motion: MotionFeatures | None
    seen: tuple[Seen, ...]
    seen_width: int

    @property
    def width(self) -> int:
        """Columns, F."""
        return (0 if self.motion is None else self.motion.width) + self.seen_width

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Features of frames [start, stop), (A, stop − start, F) float32: keypoints, then images, patches last."""
        parts = [] if self.motion is None else [self.motion(start, stop)]
        frames, animals = np.divmod(np.arange((stop - start) * self.n_animals), self.n_animals)
        rows = np.column_stack([frames + start, animals])
        for each in self.seen:
            parts.append(each.read(rows).reshape(stop - start, self.n_animals, -1).swapaxes(0, 1))
        return np.concatenate(parts, -1, dtype=np.float32)


def settle(config: ActionConfig, sessions: Sequence[Session]) -> ActionConfig:
    """Choose what is read where it was not said, and whole frames where animals have no keypoints to cut crops by.

    By default the eye that is named is read, or "pca", and keypoints beside it where there are any; keypoints alone
    where there are no videos (`docs/results.md`).

    Raises
    ------
    InputError
        When what is to be read is not there: keypoints, videos or an encoder.
    """
    blind = [session.recording for session in sessions if session.video is None]
    untracked = [session.recording for session in sessions if not session.has_keypoints]
    reads, encoder = config.head.reads, config.vision.encoder
    if not reads:
        seen: tuple[Feature, ...] = () if blind else ("pca",) if encoder in ("", "pca") else ("mean",)
        reads = seen if untracked else ("keypoints", *seen)
    if "keypoints" in reads and untracked:
        raise InputError(f"{untracked[0]} has no keypoints to read; leave keypoints out of --features.")
    if set(reads) - {"keypoints"} and blind:
        raise InputError(f"{blind[0]} has no video to read; use --features keypoints, or make it anew with --video.")
    if not reads:
        raise InputError(f"{blind[0]} has no video and {untracked[0]} no keypoints; train on recordings of one kind.")
    asked = [read for read in reads if read not in ("keypoints", "pca")]
    if asked and encoder in ("", "pca"):
        raise InputError(f"{asked[0]} is read from an encoder; name one with --encoder, or read pca.")
    if not asked and encoder not in ("", "pca") and not blind:
        raise InputError(
            f"The encoder {encoder} is named, but {', '.join(reads)} read nothing of it; add mean, cls or patches to "
            "--features, or leave --encoder out."
        )
    crop = "frame" if untracked else config.vision.crop
    return config.updated(head={"reads": reads}, vision={"crop": crop})


def read_features(
    session: Session, config: ActionConfig, eyes: Eyes, frames: np.ndarray, n_neighbors: int
) -> Generator[Progress, None, Reading]:
    """Look at some frames of a recording once, and keep what is seen in the session's folder; see `see`.

    Parameters
    ----------
    session
        The recording.
    config
        Settled: it says what is read.
    eyes
        By name.
    frames
        (T,) bool: where to look.
    n_neighbors
        Neighbors that the motion descriptor tells of.
    """
    motion = MotionFeatures(session, config.features, n_neighbors) if "keypoints" in config.head.reads else None
    looked = np.repeat(frames[:, None], session.n_animals, axis=1)
    seen: list[Seen] = []
    width = 0
    for read in ordered(config.head.reads):
        if read != "keypoints":
            eye = eyes[eye_of(read)]
            features = yield from see(session, eye, config.looks, looked, "mean" if read == "pca" else read)
            seen.append(features)
            width += eye.width * (eye.n_patches if read == "patches" else 1)
    return Reading(session.n_frames, session.n_animals, motion, tuple(seen), width)


def ordered(reads: Sequence[Feature]) -> list[Feature]:
    """The order of the columns, whatever the order in which they were asked for: patches last, for they are pooled."""
    order: tuple[Feature, ...] = ("keypoints", "pca", "mean", "cls", "patches")
    return [read for read in order if read in reads]


def eye_of(read: Feature) -> str:
    """Which of the eyes sees this."""
    return "pca" if read == "pca" else "encoder"
