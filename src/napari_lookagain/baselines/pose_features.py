"""Hand-crafted features of poses and of company."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted

if TYPE_CHECKING:
    from napari_lookagain.session import Session

MOST_KEYPOINTS = 12  # between which all distances are told, 66 of them
LEAST_OF_BODY = 3  # keypoints that make an ellipse
BODY = ("length", "width", "elongation", "area")
NEIGHBOR = (
    *("distance", "front to front", "front to rear", "rear to front", "front to nearest keypoint"),
    *("bearing sine", "bearing cosine", "heading sine", "heading cosine", "approach", "own approach"),
)


class PoseFeatures:
    """What people measure of poses, span by span: the hand-crafted features of the baselines.

    Lengths are in body lengths of the session, velocities in body lengths (radians) a second, from the frame before to
    the frame after. The columns, whose names are in `names`:

    - coordinates of the keypoints about the animal's center, turned to its heading where the session names one; in
      three dimensions heights stay heights;
    - distances between all pairs of keypoints; of more than 12 keypoints, between the two of the heading and ten spread
      evenly over the others;
    - at those same keypoints the angle between the front and the rear keypoint, or, where the session names no heading,
      between the keypoint before and the one after;
    - the speed of every keypoint, and its speed about the center in the animal's own frame;
    - forward, sideways and turning velocity of the center;
    - length, width, elongation and area of the ellipse of all keypoints in the plane;
    - in three dimensions the height of every keypoint over the floor, its vertical velocity, and the body's pitch;
    - of every other animal, nearest first: the distance of centers, of front to front, front to its rear, rear to its
      front, and front to the nearest of its keypoints; sine and cosine of its bearing and of its relative heading; how
      fast the two approach, and how much of that the animal does itself;
    - of the animal and its two nearest neighbors the area of the triangle: with three animals "the area of the triangle
      formed by the three mice" (section 4 of the LookAgain paper, of [1]_).

    These are the kinds of features that were measured by hand for the mice of MABe22 [1]_ and for pairs of mice [2]_.
    Distances to places of the cage (corners, feeder), which [1]_ has too, are left out: no keypoint tells them.

    A keypoint that is missing, or of a confidence below the threshold, makes NaN of the columns that need it, and of
    the velocities at the frames beside. A center is the mean of the keypoints there are, an ellipse needs three of
    them, and columns of a neighbor are NaN where there is none.

    Parameters
    ----------
    session
        The recording.
    threshold
        Keypoints below this confidence count as missing.
    n_neighbors
        Neighbors described; by default all other animals of the session.

    Raises
    ------
    InputError
        When the session has no keypoints, or none reaches the threshold.

    References
    ----------
    .. [1] Sun et al. (2023), MABe22: a multi-species multi-task benchmark for learned representations of behavior.
    .. [2] Segalin et al. (2021), The Mouse Action Recognition System (MARS) software pipeline.
    """

    def __init__(self, session: Session, threshold: float = 0.25, n_neighbors: int | None = None) -> None:
        if not session.has_keypoints:
            raise InputError(
                f"{session.recording} has no keypoints to measure poses by; use a method that reads the video alone."
            )
        self.n_neighbors = session.n_animals - 1 if n_neighbors is None else n_neighbors
        self._session = trusted(session, threshold)
        self._body_length = session.body_length
        self._chosen = _spread(session.n_keypoints, session.heading_index)
        self._triplets = _triplets(self._chosen, session.heading_index)
        self._floor = float(np.nanpercentile(self._session.keypoints[..., 2], 5)) if session.n_coords == 3 else 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are, F names."""
        own, axes = self._session.keypoint_names, "xyz"[: self._session.n_coords]
        names = [f"{keypoint} {axis}" for keypoint in own for axis in axes]
        names += [f"{own[a]} to {own[b]}" for a, b in combinations(self._chosen, 2)]
        names += [f"angle {own[a]}, {own[b]}, {own[c]}" for a, b, c in self._triplets]
        names += [f"{keypoint} speed" for keypoint in own] + [f"{keypoint} own speed" for keypoint in own]
        names += ["forward", "sideways", "turning", *(f"body {each}" for each in BODY)]
        if len(axes) == 3:
            names += [f"{keypoint} height" for keypoint in own] + [f"{keypoint} rise" for keypoint in own]
            names += ["pitch"] if self._session.heading_index else []
        names += [f"neighbor {i + 1} {each}" for i in range(self.n_neighbors) for each in NEIGHBOR]
        return (*names, *(["triangle area"] if self.n_neighbors > 1 else []))

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Features of frames [start, stop), (T, A, F) float32."""
        first, last = max(start - 1, 0), min(stop + 1, self._session.n_frames)
        columns = np.concatenate(self._columns(first, last), -1, dtype=np.float32)
        return np.ascontiguousarray(columns[start - first : stop - first])

    def _columns(self, start: int, stop: int) -> list[np.ndarray]:
        session = self._session
        points = session.keypoints[start:stop].astype(float) / self._body_length  # (T, A, J, C)
        center = session.centers(start, stop).astype(float) / self._body_length  # (T, A, C)
        heading = np.zeros(center.shape[:2])
        if session.heading_index is not None:
            heading = session.headings(start, stop).astype(float)
        pose = _turn(points - center[:, :, None], -heading[..., None])
        a, b = np.array(list(combinations(self._chosen, 2)), int).reshape(-1, 2).T
        columns = [
            pose.reshape(*heading.shape, -1),
            np.linalg.norm(points[:, :, a] - points[:, :, b], axis=-1),
            _angles(points, self._triplets),
            np.linalg.norm(self._rate(points), axis=-1),
            np.linalg.norm(self._rate(pose), axis=-1),
            _turn(self._rate(center)[..., :2], -heading),
            self._turning(heading),
            _ellipse(pose[..., :2]),
        ]
        if session.n_coords == 3:
            height = points[..., 2] - self._floor / self._body_length
            columns += [height, self._rate(height), _pitch(points, session.heading_index)]
        return columns + (self._company(points, center, heading) if self.n_neighbors else [])

    def _company(self, points: np.ndarray, center: np.ndarray, heading: np.ndarray) -> list[np.ndarray]:
        """What there is to say of the neighbors, nearest first, and of the nearest two together."""
        rear, front = (points[:, :, i] for i in self._session.heading_index or (0, 0))  # (T, A, C)
        offset = center[:, None] - center[:, :, None]  # (T, A, other, C)
        distance = np.linalg.norm(offset, axis=-1)
        itself = np.eye(distance.shape[1], dtype=bool)
        distance[:, itself] = np.nan
        bearing = np.arctan2(offset[..., 1], offset[..., 0]) - heading[..., None]
        relative = heading[:, None] - heading[:, :, None]
        toward = offset / np.where(distance > 0, distance, np.nan)[..., None]
        told = [
            distance,
            np.linalg.norm(front[:, None] - front[:, :, None], axis=-1),
            np.linalg.norm(rear[:, None] - front[:, :, None], axis=-1),
            np.linalg.norm(front[:, None] - rear[:, :, None], axis=-1),
            _reach(front, points),
            *(np.sin(bearing), np.cos(bearing), np.sin(relative), np.cos(relative)),
            *(-self._rate(distance), (self._rate(center)[:, :, None] * toward).sum(-1)),
        ]
        there = ~np.isnan(distance)
        table = np.where(there[..., None], np.stack(told, -1), np.nan)  # (T, A, other, columns)
        kept = min(self.n_neighbors, distance.shape[1] - 1)
        nearest = np.argsort(distance, axis=-1, kind="stable")[..., :kept, None]  # NaN last
        out = np.full((*heading.shape, self.n_neighbors, len(NEIGHBOR)), np.nan)
        out[:, :, :kept] = np.take_along_axis(table, nearest, axis=2)
        columns = [out.reshape(*heading.shape, -1)]
        if self.n_neighbors > 1:
            area = np.full(heading.shape, np.nan)
            if kept > 1:
                offset = np.where(there[..., None], offset, np.nan)
                area = _triangle(*np.moveaxis(np.take_along_axis(offset, nearest[:, :, :2], axis=2), 2, 0))
            columns.append(area[..., None])
        return columns

    def _rate(self, values: np.ndarray) -> np.ndarray:
        """Change a second from the frame before to the frame after."""
        return np.gradient(values, axis=0) * self._session.fps

    def _turning(self, heading: np.ndarray) -> np.ndarray:
        """Angular velocity, (T, A, 1): of the unit vector along the heading, on its normal."""
        x, y = np.cos(heading), np.sin(heading)
        return (x * self._rate(y) - y * self._rate(x))[..., None]


def _spread(n_keypoints: int, heading: tuple[int, int] | None) -> list[int]:
    """Keypoints between which distances are told: all, or those of the heading and others spread over the rest."""
    own = [] if heading is None else [*heading]
    rest = [i for i in range(n_keypoints) if i not in own]
    room = MOST_KEYPOINTS - len(own)
    spread = np.linspace(0, len(rest) - 1, min(len(rest), room)).round().astype(int)
    return sorted([*own, *(rest[i] for i in spread)])


def _triplets(keypoints: Sequence[int], heading: tuple[int, int] | None) -> list[tuple[int, int, int]]:
    """Where angles are told: the keypoint in the middle, between two others."""
    if heading is None:
        return list(zip(keypoints, keypoints[1:], keypoints[2:], strict=False))
    rear, front = heading
    return [(front, each, rear) for each in keypoints if each not in heading]


def _turn(points: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Points (..., 2 or 3) turned about the vertical axis by angles (...) in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points[..., 0], points[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos, *np.moveaxis(points[..., 2:], -1, 0)], -1)


def _angles(points: np.ndarray, triplets: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Angles in 0…π at the middle keypoint of every triplet, (T, A, triplets)."""
    a, b, c = np.array(triplets, int).reshape(-1, 3).T
    u, v = points[:, :, a] - points[:, :, b], points[:, :, c] - points[:, :, b]
    lengths = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    cosine = (u * v).sum(-1) / np.where(lengths > 0, lengths, np.nan)
    return np.arccos(cosine.clip(-1, 1))


def _ellipse(points: np.ndarray) -> np.ndarray:
    """Length, width, elongation and area of the ellipse with the covariance of points (T, A, J, 2), (T, A, 4)."""
    there = ~np.isnan(points).any(-1, keepdims=True)
    count = there.sum(2)  # (T, A, 1)
    count = np.where(count >= LEAST_OF_BODY, count, np.nan)
    mean = np.where(there, points, 0).sum(2) / count
    x, y = np.moveaxis(np.where(there, points - mean[:, :, None], 0), -1, 0)  # (T, A, J)
    xx, yy, xy = ((product.sum(-1)) / count[..., 0] for product in (x * x, y * y, x * y))
    spread = np.sqrt((xx - yy) ** 2 / 4 + xy**2)
    length, width = (4 * np.sqrt(((xx + yy) / 2 + side).clip(0)) for side in (spread, -spread))
    elongation = 1 - width / np.where(length > 0, length, np.nan)
    return np.stack([length, width, elongation, np.pi / 4 * length * width], -1)


def _pitch(points: np.ndarray, heading: tuple[int, int] | None) -> np.ndarray:
    """How steeply the body points up, in radians, (T, A, 1); nothing without a heading."""
    if heading is None:
        return points[..., :0, 0]
    rear, front = heading
    along = points[:, :, front] - points[:, :, rear]
    return np.arctan2(along[..., 2], np.linalg.norm(along[..., :2], axis=-1))[..., None]


def _reach(front: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance from the front of every animal to the nearest keypoint of every other, (T, A, other)."""
    each = [np.linalg.norm(points - front[:, i, None, None], axis=-1) for i in range(front.shape[1])]
    return np.stack([np.fmin.reduce(distance, axis=-1) for distance in each], 1)


def _triangle(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Area between two sides (..., C)."""
    square = (one**2).sum(-1) * (other**2).sum(-1) - (one * other).sum(-1) ** 2
    return np.sqrt(square.clip(0)) / 2
