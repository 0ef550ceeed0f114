"""Eq. 1: the motion descriptor, what the motion encoder reads of every animal at every frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.config import FeatureConfig
from napari_lookagain.errors import InputError
from napari_lookagain.stretches import pieces, scratch

if TYPE_CHECKING:
    from napari_lookagain.session import Session

NEIGHBOR_WIDTH = {"egocentric": 6, "arena": 4}


class MotionFeatures:
    """The motion descriptor of one session, computed span by span (Eq. 1).

    Columns, in this order: the keypoints (J × C), their confidence (J), in the egocentric frame the animal's velocity
    (forward, sideways, turning) and for three coordinates its height, the pace of every keypoint (J, unless it is
    switched off), its velocity (J × C, where it is switched on), then for every neighbor, nearest first so that the
    descriptor does not depend on track order, what `frame` says of it:

    - "egocentric" (our default): keypoints about the animal's center, turned to its heading, in body lengths; velocity
      in body lengths (radians) a second, each through arcsinh so that a track that jumps does not drown the rest; of a
      neighbor sine and cosine of its bearing, log distance in body lengths, sine and cosine of its relative heading
      and its mean confidence.
    - "arena" (the paper): keypoints divided by the frame's (W, H), or by the recording's own extent where there is no
      video or a third coordinate; of a neighbor sine and cosine of its bearing, its distance divided by the diagonal
      and its mean confidence. The paper does not state how the angle is encoded.

    Missing keypoints (NaN, or confidence below the threshold) have coordinates 0 and confidence 0. An animal without
    a keypoint at a frame keeps its last known center and heading there and has velocity 0.

    Pace is a keypoint's mean speed about the animal's center, turned with it, over `pace_window` seconds around the
    frame, through arcsinh: a head that swings fast is told from one that swings slowly, which no single frame shows.
    It is 0 where the keypoint was not seen in two frames running. The paper has nothing of the kind.

    A keypoint's velocity is how it moves about the animal's center, turned with it, in body lengths a second, through
    arcsinh; 0 at the first frame and where it was not seen in two frames running. Not in the paper either.

    Parameters
    ----------
    session
        The recording.
    config
        Frame of reference and confidence threshold.
    n_neighbors
        Neighbors described; missing ones are all 0. By default all other animals of the session.

    Raises
    ------
    InputError
        When no keypoint reaches the confidence threshold.
    """

    def __init__(self, session: Session, config: FeatureConfig | None = None, n_neighbors: int | None = None) -> None:
        self.config = config or FeatureConfig()
        self.n_neighbors = session.n_animals - 1 if n_neighbors is None else n_neighbors
        self._session = session
        session = trusted(session, self.config.confidence_threshold)
        self._origin, self._extent = _arena(session)
        self._body_length = session.body_length
        shape = (session.n_frames, session.n_animals)
        center = scratch((*shape, session.n_coords), np.float32, session.path)
        heading = scratch((*shape, 1), np.float32, session.path)
        for span in pieces(session.n_frames):
            center[span] = session.centers(span.start, span.stop)
            heading[span, :, 0] = session.headings(span.start, span.stop)
        self._height_floor = 0.0
        if session.n_coords == 3:
            self._height_floor = float(np.nanpercentile(center[..., 2], 5))
        self._center = _hold(center)  # (T, A, C)
        self._heading = _hold(heading)[..., 0]  # (T, A)

    @property
    def pose_width(self) -> int:
        """Columns that are coordinates of keypoints: the target of masked keypoint prediction (Eq. 8)."""
        return self._session.n_keypoints * self._session.n_coords

    @property
    def width(self) -> int:
        """N, the number of columns."""
        own = self.pose_width + self._session.n_keypoints
        if self.config.frame == "egocentric":
            own += 3 + (self._session.n_coords == 3)
        if self.config.pace_window:
            own += self._session.n_keypoints
        if self.config.keypoint_velocity:
            own += self.pose_width
        return own + self.n_neighbors * NEIGHBOR_WIDTH[self.config.frame]

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """The descriptor of frames [start, stop) as (A, stop − start, N) float32, without NaN."""
        session, span = self._session, slice(start, stop)
        keypoints, confidence = session.keypoints[span], session.confidence[span]  # (T, A, J, C), (T, A, J)
        seen = (confidence >= self.config.confidence_threshold) & ~np.isnan(keypoints).any(-1)
        confidence = np.where(seen, confidence, 0.0)
        egocentric = self.config.frame == "egocentric"
        pose = self._about_center(span) if egocentric else (keypoints - self._origin) / self._extent
        pose = np.where(seen[..., None], pose, 0.0)
        columns = [pose.reshape(*pose.shape[:2], -1), confidence]
        if egocentric:
            columns.append(self._velocity(start, stop))
            if session.n_coords == 3:
                columns.append((self._center[span, :, 2:] - self._height_floor) / self._body_length)
        if self.config.pace_window:
            columns.append(self._pace(start, stop))
        if self.config.keypoint_velocity:
            columns.append(self._keypoint_velocity(start, stop))
        columns.append(self._neighbors(span, confidence.mean(-1)))
        return np.ascontiguousarray(np.concatenate(columns, -1).swapaxes(0, 1), dtype=np.float32)  # (A, T, N)

    def _velocity(self, start: int, stop: int) -> np.ndarray:
        """Forward, sideways and turning velocity, (T, A, 3); 0 at the recording's first frame."""
        first = max(start - 1, 0)
        center, heading = self._center[first:stop, :, :2], self._heading[first:stop]
        step = _turn(np.diff(center, axis=0), -heading[1:]) / self._body_length
        turn = np.angle(np.exp(1j * np.diff(heading, axis=0)))[..., None]
        velocity = np.arcsinh(np.concatenate([step, turn], -1) * self._session.fps)
        if start == 0:
            velocity = np.concatenate([np.zeros((1, *velocity.shape[1:])), velocity])
        return velocity

    def _about_center(self, span: slice) -> np.ndarray:
        """Keypoints about the animal's center, turned to its heading, in body lengths, (T, A, J, C)."""
        keypoints = self._session.keypoints[span]
        return _turn(keypoints - self._center[span, :, None], -self._heading[span, :, None]) / self._body_length

    def _steps(self, first: int, last: int) -> np.ndarray:
        """How keypoints move about the animal's center from frame to frame, a second, (T − 1, A, J, C); NaN unseen."""
        pose = self._about_center(slice(first, last))
        pose[self._session.confidence[first:last] < self.config.confidence_threshold] = np.nan
        return np.diff(pose, axis=0) * self._session.fps

    def _keypoint_velocity(self, start: int, stop: int) -> np.ndarray:
        """Velocity of every keypoint, (T, A, J × C), through arcsinh; 0 at the recording's first frame."""
        step = np.arcsinh(np.nan_to_num(self._steps(max(start - 1, 0), stop)))
        if start == 0:
            step = np.concatenate([np.zeros((1, *step.shape[1:])), step])
        return step.reshape(*step.shape[:2], -1)

    def _pace(self, start: int, stop: int) -> np.ndarray:
        """Mean speed of every keypoint over the frames around each, (T, A, J), through arcsinh."""
        half = max(1, round(self.config.pace_window * self._session.fps / 2))
        first, last = max(start - half, 0), min(stop + half, self._session.n_frames)
        step = np.linalg.norm(self._steps(first, last), axis=-1)  # (T' − 1, A, J)
        known = ~np.isnan(step)
        before = np.zeros((1, *step.shape[1:]))
        total = np.concatenate([before, np.cumsum(np.where(known, step, 0.0), axis=0, dtype=np.float64)])  # (T', A, J)
        count = np.concatenate([before, np.cumsum(known, axis=0)])
        frames = np.arange(start, stop)
        low, high = np.maximum(frames - half, 0) - first, np.minimum(frames + half, self._session.n_frames - 1) - first
        return np.arcsinh((total[high] - total[low]) / np.maximum(count[high] - count[low], 1))

    def _neighbors(self, span: slice, mean_confidence: np.ndarray) -> np.ndarray:
        """What every animal can tell of its neighbors, (T, A, n_neighbors × columns)."""
        center, heading = self._center[span, :, :2], self._heading[span]
        n_frames, n_animals = heading.shape
        columns = NEIGHBOR_WIDTH[self.config.frame]
        out = np.zeros((n_frames, n_animals, self.n_neighbors, columns), np.float32)
        kept = min(self.n_neighbors, n_animals - 1)
        if kept == 0:
            return out.reshape(n_frames, n_animals, -1)
        offset = center[:, None] - center[:, :, None]  # (T, A, other, 2)
        distance = np.linalg.norm(offset, axis=-1)
        bearing = np.arctan2(offset[..., 1], offset[..., 0]) - heading[..., None]
        there = np.broadcast_to((mean_confidence > 0)[:, None], distance.shape)  # (T, A, other)
        if self.config.frame == "egocentric":
            relative = heading[:, None] - heading[:, :, None]
            known = float(self._session.heading_index is not None)
            log_distance = np.log(np.maximum(distance / self._body_length, 1e-2))
            told = [np.sin(bearing), np.cos(bearing), log_distance, known * np.sin(relative), known * np.cos(relative)]
        else:
            told = [np.sin(bearing), np.cos(bearing), distance / np.linalg.norm(self._extent[:2])]
        told.append(np.broadcast_to(mean_confidence[:, None], distance.shape))
        table = np.where(there[..., None], np.stack(told, -1), 0.0)  # (T, A, other, columns)
        distance = np.where(there, distance, np.inf)
        distance[:, np.arange(n_animals), np.arange(n_animals)] = np.nan  # itself: last in the order below
        nearest = np.argsort(distance, axis=-1, kind="stable")[..., :kept]
        out[:, :, :kept] = np.take_along_axis(table, nearest[..., None], axis=2)
        return out.reshape(n_frames, n_animals, -1)


def trusted(session: Session, threshold: float) -> Session:
    """The session without the keypoints of a confidence below the threshold, which may be anywhere.

    Raises
    ------
    InputError
        When no keypoint is left.
    """
    keypoints = scratch(session.keypoints.shape, np.float32, session.path)
    confidence = scratch(session.confidence.shape, np.float32, session.path)
    left = session.confidence.size == 0  # nothing is weak where there are no keypoints
    for span in pieces(session.n_frames):
        weak = session.confidence[span] < threshold
        left |= not weak.all()
        keypoints[span] = np.where(weak[..., None], np.float32(np.nan), session.keypoints[span])
        confidence[span] = np.where(weak, np.float32(0), session.confidence[span])
    if not left:
        raise InputError(
            f"Every keypoint of {session.recording} has a confidence below {threshold}; "
            "set features.confidence_threshold lower."
        )
    return replace(session, keypoints=keypoints, confidence=confidence)


def _arena(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Origin and extent that bring coordinates to 0…1: the video frame, else the recording's own range."""
    if session.frame_size is not None and session.n_coords == 2:
        return np.zeros(2, np.float32), np.asarray(session.frame_size, np.float32)
    low = np.fmin.reduce(session.keypoints, axis=(0, 1, 2))  # nanmin would copy all of them
    extent = np.fmax.reduce(session.keypoints, axis=(0, 1, 2)) - low
    return low, np.where(extent > 0, extent, 1.0).astype(np.float32)


def _hold(values: np.ndarray) -> np.ndarray:
    """Replace NaN along time, in (T, A, F), by the last known value, or the first; where none is known, by 0."""
    before, begun = np.zeros(values.shape[1:], values.dtype), np.zeros(values.shape[1], bool)
    for span in pieces(len(values)):  # the first known value of every animal
        known = ~np.isnan(values[span]).any(-1)  # (T', A)
        new = known.any(0) & ~begun
        before[new] = values[span][known.argmax(0)[new], new]
        begun |= new
    for span in pieces(len(values)):
        piece = values[span]
        known = ~np.isnan(piece).any(-1)
        last = np.maximum.accumulate(np.where(known, np.arange(len(piece))[:, None], -1), axis=0)[..., None]
        piece[:] = np.where(last < 0, before, np.take_along_axis(piece, np.maximum(last, 0), axis=0))
        before = piece[-1].copy()
    return values


def _turn(points: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Turn points (..., 2 or 3) about the vertical axis by angles (...) in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points[..., 0], points[..., 1]
    turned = [x * cos - y * sin, x * sin + y * cos]
    return np.stack([*turned, *np.moveaxis(points[..., 2:], -1, 0)], -1)
