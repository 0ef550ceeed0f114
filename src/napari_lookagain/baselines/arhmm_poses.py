"""What the AR-HMM reads: principal components of poses about the animal, and what comes before each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted

if TYPE_CHECKING:
    from napari_lookagain.baselines.arhmm import ArHmmConfig
    from napari_lookagain.session import Session


def aligned_poses(session: Session, threshold: float) -> list[np.ndarray]:
    """Pose of every animal, (T, J·C): keypoints about its center, turned to its heading, in body lengths.

    Missing keypoints are interpolated, and one that is never seen is NaN. The third coordinate is counted from the
    floor of the recording.
    """
    session = trusted(session, threshold)
    points = _interpolated(session.keypoints.astype(np.float64))  # (T, A, J, C)
    seen = ~np.isnan(points)
    center = np.where(seen, points, 0).sum(2) / np.maximum(seen.sum(2), 1)  # (T, A, C)
    if session.n_coords == 3:
        center[..., 2] = np.percentile(center[..., 2], 5)  # the floor
    angle = np.zeros(points.shape[:2])
    if session.heading_index is not None:
        rear, front = session.heading_index
        ahead = points[:, :, front] - points[:, :, rear]
        angle = np.nan_to_num(np.arctan2(ahead[..., 1], ahead[..., 0]))
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    away = (points - center[:, :, None]) / session.body_length
    x, y = away[..., 0].copy(), away[..., 1].copy()
    away[..., 0], away[..., 1] = x * cos + y * sin, y * cos - x * sin
    return [away[:, animal].reshape(len(away), -1) for animal in range(session.n_animals)]


def _interpolated(points: np.ndarray) -> np.ndarray:
    """Fill (T, A, J, C) along time, straight from one known place to the next; what is never known stays NaN."""
    frames = np.arange(len(points))
    columns = points.reshape(len(points), -1)
    for column in columns.T:  # a view: filled in place
        known = ~np.isnan(column)
        if known.any() and not known.all():
            column[~known] = np.interp(frames[~known], frames[known], column[known])
    return columns.reshape(points.shape)


@dataclass(frozen=True)
class Reduction:
    """Whitened principal components of poses.

    Parameters
    ----------
    mean, components
        (J·C,), and (J·C, D) of which each column gives a component of unit variance.
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, poses: Sequence[np.ndarray], config: ArHmmConfig) -> Reduction:
        """Fit to poses (T, J·C) of all animals.

        Raises
        ------
        InputError
            When there is no pose, or it never changes.
        """
        frames = np.concatenate(poses) if poses else np.zeros((0, 1))
        known = ~np.isnan(frames)
        mean = np.where(known, frames, 0).sum(0) / np.maximum(known.sum(0), 1)
        away = np.where(known, frames - mean, 0)
        if not (away**2).sum() > 1e-12 * away.size:
            raise InputError("The AR-HMM reads how poses change, and these never do; track two keypoints or more.")
        with threadpool_limits(1):
            pca = PCA(min(config.components, *away.shape), svd_solver="covariance_eigh").fit(away)
        enough = int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), config.variance)) + 1
        kept = slice(min(enough, len(pca.components_)))
        return cls(mean, pca.components_[kept].T / np.sqrt(pca.explained_variance_[kept]))

    @property
    def width(self) -> int:
        """Components kept, D."""
        return self.components.shape[1]

    def __call__(self, pose: np.ndarray) -> np.ndarray:
        """(T, D) of a pose (T, J·C); a keypoint that is never seen is where it is on average."""
        return np.nan_to_num(pose - self.mean) @ self.components


def lagged(pose: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """What comes before a frame, the latest first, (T − lags, lags·D), and the frame itself, (T − lags, D).

    Raises
    ------
    InputError
        When there is no frame beyond the lags.
    """
    if len(pose) <= lags:
        raise InputError(f"A recording of {len(pose)} frames has none beyond the {lags} lags; leave it out.")
    return np.concatenate([pose[lags - 1 - i : len(pose) - 1 - i] for i in range(lags)], 1), pose[lags:]


def chunked(sequences: Sequence[tuple[np.ndarray, np.ndarray]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut sequences into chunks of one length that overlap no more than they must, (S, L, lags·D) and (S, L, D)."""
    length = min(length, *(len(after) for _, after in sequences))
    cut: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for sequence in sequences:
        n_frames = len(sequence[1])
        for start in np.linspace(0, n_frames - length, -(-n_frames // length)).astype(int):
            for kept, part in zip(cut, sequence, strict=True):
                kept.append(part[start : start + length])
    return np.stack(cut[0]), np.stack(cut[1])
