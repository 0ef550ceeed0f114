"""Frames written as a video file, whole or with an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from napari_lookagain.errors import InputError

_X264 = ("-threads", "1", "-preset", "veryfast", "-g", "250")  # what x264 writes depends on how many threads it has


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], fps: float, crf: int = 21
) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that writes RGB frames, (H, W, 3) uint8, one after the other as H.264.

    Parameters
    ----------
    path
        Of the file; one that is there is written over.
    size
        Width and height, even numbers of pixels.
    fps
        Frames per second.
    crf
        Quality as x264 counts it: less is better.

    Raises
    ------
    InputError
        When not every frame has reached the file, as on a full disk.
    """
    options = [*_X264, "-crf", str(crf)]
    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=fps, codec="libx264", quality=None, macro_block_size=2, output_params=options
    )
    failure = InputError(f"The video in {path.parent} could not be written whole; is the disk full?")
    sent = 0

    def write(frame: np.ndarray | None) -> None:
        nonlocal sent
        try:
            writer.send(None if frame is None else np.ascontiguousarray(frame))
        except (OSError, RuntimeError, StopIteration) as error:
            raise failure from error
        sent += frame is not None

    with closing(writer):
        write(None)
        yield write
    try:  # ffmpeg says nothing when it fails at the end, and leaves what it has
        whole = imageio_ffmpeg.count_frames_and_secs(str(path))[0] == sent
    except (OSError, RuntimeError):
        whole = False
    if not whole:
        raise failure
