"""What a pose tracker makes of the mice: points that jitter, get lost, and are doubtful where mice touch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

# Along and across the straight body, in body lengths
KEYPOINTS = {
    "nose": (0.5, 0.0),
    "leftear": (0.17, -0.14),
    "rightear": (0.17, 0.14),
    "neck": (0.12, 0.0),
    "center": (-0.08, 0.0),
    "lefthip": (-0.28, -0.17),
    "righthip": (-0.28, 0.17),
    "tailbase": (-0.5, 0.0),
}

_TOUCH = 0.25  # body lengths within which a keypoint of another mouse makes a tracker doubt
_JITTER = 0.010  # body lengths, standard deviation of a sure keypoint
_LOST = 0.0015  # chance that a sure keypoint gets lost at a frame
_LOST_FRAMES = 4  # mean length of a gap


def track(keypoints: np.ndarray, body: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Track keypoints as a network would.

    Parameters
    ----------
    keypoints : (T, A, J, 2)
        Where the keypoints are, pixels.
    body
        Length of a mouse, pixels.
    seed
        Seed of the errors.

    Returns
    -------
    keypoints : (T, A, J, 2)
        Where the tracker sees them, pixels; NaN where it finds none.
    confidence : (T, A, J)
        How sure it is, 0 to 1; NaN where it finds none.
    """
    rng = np.random.default_rng([seed, 6])
    doubt = np.exp(-((_nearest_other(keypoints) / (_TOUCH * body)) ** 2))
    confidence = 0.985 - 0.02 * rng.gamma(1.0, 1.0, doubt.shape) - doubt * rng.uniform(0.45, 0.95, doubt.shape)
    confidence = np.clip(confidence, 0.02, 1)
    blur = body * (_JITTER + 0.06 * doubt)
    seen = keypoints + blur[..., None] * rng.standard_normal(keypoints.shape)
    lost = rng.random(doubt.shape) < _LOST + 0.06 * doubt**2
    keeps = rng.random(doubt.shape) < 1 - 1 / _LOST_FRAMES
    for t in range(1, len(lost)):
        lost[t] |= lost[t - 1] & keeps[t]
    seen[lost], confidence[lost] = np.nan, np.nan
    return seen, confidence


def _nearest_other(keypoints: np.ndarray) -> np.ndarray:
    """Distance of every keypoint to the nearest keypoint of another animal, (T, A, J); infinite when there is none."""
    nearest = np.full(keypoints.shape[:3], np.inf)
    for a in range(keypoints.shape[1]):
        others = np.delete(keypoints, a, axis=1).reshape(len(keypoints), -1, 2)
        if others.shape[1]:
            nearest[:, a] = np.linalg.norm(keypoints[:, a, :, None] - others[:, None], axis=-1).min(axis=-1)
    return nearest


def write_deeplabcut(path: Path, keypoints: np.ndarray, confidence: np.ndarray, animals: tuple[str, ...]) -> None:
    """Write a csv as multi-animal DeepLabCut does: four header rows, empty cells where nothing was found."""
    levels = {
        "scorer": ["simulated"],
        "individuals": list(animals),
        "bodyparts": list(KEYPOINTS),
        "coords": ["x", "y", "likelihood"],
    }
    columns = pd.MultiIndex.from_product(list(levels.values()), names=list(levels))
    cells = np.concatenate([keypoints, confidence[..., None]], axis=-1).reshape(len(keypoints), -1)
    pd.DataFrame(cells, columns=columns).to_csv(path, float_format="%.3f", lineterminator="\n")
