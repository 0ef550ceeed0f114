"""The features of every frame of a recording, written to a file as they come."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from napari_lookagain.files import atomic_path, check_room
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.vision.crops import Crops, present
from napari_lookagain.vision.encoder import VisionEncoder, What

_AT_ONCE = 64  # images


def embed(
    session: Session, encoder: VisionEncoder, crops: Crops, out: Path, what: What = "cls"
) -> Generator[Progress, None, tuple[int, ...]]:
    """Encode every frame, and write an array with a row for each.

    Parameters
    ----------
    session, encoder, crops
        What is looked at, by whom, and at which part of the frame.
    out
        File, .npy: float32; patches as float16. Whole frames give (T, D_v), or (T, P, D_v) for patches; crops have the
        animals in between, (T, A, …), and are NaN where an animal is absent. One that is there is written over when the
        new one is whole.
    what
        "cls", "patches", or "mean" over patches.

    Returns
    -------
    tuple of int
        The shape of the array.

    Raises
    ------
    InputError
        When the encoder has no such features, the video cannot be read, or the disk is full.
    """
    animals = range(1 if crops.kind == "frame" else session.n_animals)
    there = present(session, crops)  # (T, A)
    own = (encoder.n_patches, encoder.width) if what == "patches" else (encoder.width,)
    shape = (session.n_frames, *(() if crops.kind == "frame" else (len(animals),)), *own)
    kind = np.dtype(np.float16 if what == "patches" else np.float32)
    with atomic_path(out) as temporary, session.open_video() as video:
        check_room(out.parent, int(np.prod(shape)) * kind.itemsize, "the features")
        written = open_memmap(temporary, "w+", kind, shape)
        rows = written.reshape(session.n_frames * len(animals), *own)
        waiting: list[np.ndarray] = []
        done = 0
        for t, frame in video.frames(np.arange(session.n_frames), grey=encoder.grey):
            waiting += [crops.cut(frame, t, animal) for animal in animals]
            if len(waiting) >= _AT_ONCE or t + 1 == session.n_frames:
                rows[done : done + len(waiting)] = encoder.encode(np.stack(waiting), what)
                done += len(waiting)
                waiting = []
            yield Progress(t + 1, session.n_frames, "encoding every frame")
        rows[~there.ravel()] = np.nan
        written.flush()
    return shape
