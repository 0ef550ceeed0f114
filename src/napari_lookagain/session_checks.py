"""What must fit together in a session: arrays of one shape, a name for everything in them."""

from __future__ import annotations

from functools import reduce

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.stretches import pieces

_UNTRACKED = (1, 0, 2)  # animals, keypoints and coordinates where only a video is known


def check_arrays(keypoints: np.ndarray, confidence: np.ndarray, edited: np.ndarray | None, *, tracked: bool) -> None:
    """Check the arrays of a session, which `Session` describes; without a pose file (`tracked`) none has a keypoint.

    Raises
    ------
    InputError
        When shapes differ, nothing was tracked, or a keypoint lacks a coordinate or a confidence in 0 to 1.
    """
    if tracked and (keypoints.ndim != 4 or keypoints.shape[3] not in (2, 3) or 0 in keypoints.shape):
        raise InputError(f"Keypoints are of shape {keypoints.shape}, expected (frames, animals, keypoints, 2 or 3).")
    if not tracked and keypoints.shape[1:] != _UNTRACKED:
        raise InputError(f"Without a pose file, keypoints are of shape {keypoints.shape}, expected (frames, 1, 0, 2).")
    if confidence.shape != keypoints.shape[:3] or (edited is not None and edited.shape != confidence.shape):
        raise InputError(
            f"Keypoints are of shape {keypoints.shape} and confidence of shape {confidence.shape}, "
            f"expected {keypoints.shape[:3]} for it and for what was edited."
        )
    if len(keypoints) < 2:
        raise InputError("The recording has 1 frame, expected at least 2.")
    if not tracked:
        return
    present, complete, in_bounds = False, True, True
    for span in pieces(len(keypoints)):
        told = confidence[span]
        coordinates = np.moveaxis(keypoints[span], -1, 0)  # one by one: reducing a last axis of two takes long
        missing = reduce(np.logical_and, (np.isnan(x) for x in coordinates))
        whole = reduce(np.logical_and, (np.isfinite(x) for x in coordinates))
        present |= not missing.all()
        complete &= bool((whole | missing).all())
        in_bounds &= bool(((told >= 0) & (told <= 1)).all()) and not (missing & (told != 0)).any()
    if not present:
        raise InputError(f"No keypoint is present in any of the {len(keypoints)} frames: nothing was tracked.")
    if not complete:
        raise InputError("Some keypoints are infinite or lack a coordinate; missing ones are NaN in all coordinates.")
    if not in_bounds:
        raise InputError("Confidence must lie in 0 to 1 everywhere, and be 0 where a keypoint is missing.")


def check_names(what: str, names: tuple[str, ...], count: int) -> None:
    """Check that there is a name for each of so many, all different; an `InputError` otherwise."""
    if len(names) != count or len(set(names)) != count or not all(isinstance(n, str) and n.strip() for n in names):
        raise InputError(
            f"The {count} {what} need a name each, all different; got {', '.join(map(str, names)) or 'none'}."
        )
