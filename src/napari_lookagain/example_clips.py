"""Small clips that show what the bouts of a class look like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.annotations import Bout
from napari_lookagain.clip import animal_frames

if TYPE_CHECKING:
    from napari_lookagain.session import Session

_MOST, _LEAST = 2.0, 0.8  # seconds of a clip
_FPS = 25  # pictures in a second, at most


@dataclass(frozen=True, eq=False)
class ExampleClip:
    """A bout to look at, over and over.

    Parameters
    ----------
    bout
        Which.
    pictures
        (N, size, size, 3) uint8, following the animal.
    inside
        (N,) bool: pictures of the bout; the others are from right before and after one that is very short.
    fps
        Pictures in a second.
    """

    bout: Bout
    pictures: np.ndarray
    inside: np.ndarray
    fps: float


def example_clips(
    session: Session, bouts: Sequence[Bout], *, size: int = 120, color: str = "#ffffff"
) -> Iterator[ExampleClip]:
    """Cut clips out of the video, one after the other: the middle two seconds of each bout, at most.

    One clip takes 50 · 3 · size² bytes or less, whatever the frame rate.

    Parameters
    ----------
    session
        With a video.
    bouts
        As `review.examples` gives them.
    size
        Side of the pictures in pixels.
    color
        Of the keypoints.

    Raises
    ------
    InputError
        When there is no video, or it is not the right one.
    """
    step = max(1, round(session.fps / _FPS))
    with session.open_video() as video:
        for bout in bouts:
            start, stop = _stretch(bout, session.fps, session.n_frames)
            frames = animal_frames(session, video, bout.animal, start, stop, size, color)
            pictures = np.stack([picture for i, picture in enumerate(frames) if i % step == 0])
            shown = np.arange(start, stop, step)
            yield ExampleClip(bout, pictures, (bout.start <= shown) & (shown < bout.stop), session.fps / step)


def _stretch(bout: Bout, fps: float, n_frames: int) -> tuple[int, int]:
    """Frames around the middle of a bout: no more of it than is quickly seen, no less than can be seen."""
    length = min(max(bout.stop - bout.start, round(_LEAST * fps)), round(_MOST * fps), n_frames)
    start = (bout.start + bout.stop - length) // 2
    start = min(max(start, 0), n_frames - length)
    return start, start + length
