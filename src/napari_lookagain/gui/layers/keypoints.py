"""Keypoints as points and tracks: a window of frames around the cursor, since a long recording holds too many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from napari.utils.colormaps import ensure_colormap
from napari.utils.colormaps.standardize_color import transform_color

from napari_lookagain.colors import CLUSTER_COLORS
from napari_lookagain.session import Session

# IBM's palette, safe for color-blind eyes and not that of behaviors; then those of clusters
ANIMAL_COLORS = ("#ffb000", "#648fff", "#dc267f", "#fe6100", "#785ef0", *CLUSTER_COLORS)
EDITED_COLOR = "#ffffff"

_POINTS = 1500  # in a window: fewer are filled more often, more are searched through at every frame
_FAINTEST = 0.25  # opacity of a keypoint of no confidence


class KeypointWindow:
    """The keypoints of a stretch of frames, as a Points layer holds them: frame after frame, missing ones left out.

    Parameters
    ----------
    session
        Whose keypoints.
    frame
        A frame in its middle, or near it at the ends of the recording.

    Attributes
    ----------
    start, stop
        Its frames, [start, stop).
    """

    def __init__(self, session: Session, frame: int) -> None:
        length = max(16, _POINTS // (session.n_animals * session.n_keypoints))
        self.session = session
        self.start = max(0, min(frame - length // 2, session.n_frames - length))
        self.stop = min(session.n_frames, self.start + length)
        present = np.isfinite(session.keypoints[self.start : self.stop, ..., 0])
        self._frame, self._animal, self._keypoint = np.nonzero(present)
        self._frame += self.start

    def __contains__(self, frame: int) -> bool:
        return self.start <= frame < self.stop

    @property
    def data(self) -> np.ndarray:
        """(N, 3) float32: frame, y, x."""
        x, y = self.session.keypoints[self._frame, self._animal, self._keypoint, :2].T
        return np.stack([self._frame, y, x], axis=1).astype(np.float32)

    @property
    def features(self) -> pd.DataFrame:
        """N rows: animal, keypoint, confidence, edited."""
        session, place = self.session, (self._frame, self._animal, self._keypoint)
        edited = np.zeros(len(self._frame), bool) if session.edited is None else session.edited[place]
        columns = {
            "animal": pd.Categorical.from_codes(self._animal, pd.Index(session.animals)),
            "keypoint": pd.Categorical.from_codes(self._keypoint, pd.Index(session.keypoint_names)),
            "confidence": session.confidence[place],
            "edited": edited,
        }
        return pd.DataFrame(columns)

    def colors(self, by: str) -> dict[str, np.ndarray]:
        """``face_color`` and ``border_color``, (N, 4) each; neither when there is no point, as napari wants it.

        A color for each animal or for each keypoint, fainter where the tracker was less sure, with a white ring around
        what a person put there.
        """
        if not len(self._frame):
            return {}
        session = self.session
        if by == "animal":
            colors, which = [animal_color(animal) for animal in range(session.n_animals)], self._animal
        else:
            colors, which = ensure_colormap("turbo").map(np.linspace(0.05, 0.95, session.n_keypoints)), self._keypoint
        face = transform_color(colors)[which]
        features = self.features
        face[:, 3] = _FAINTEST + (1 - _FAINTEST) * features["confidence"]
        border = np.where(features["edited"].to_numpy()[:, None], transform_color(EDITED_COLOR), face)
        return {"face_color": face, "border_color": border}

    @property
    def centers(self) -> np.ndarray:
        """(N, 4) float32: animal, frame, y, x of the middle of every animal that is there, or a single row of zeros.

        Tracks cannot be empty, and one point draws none.
        """
        centers = self.session.centers(self.start, self.stop)[..., :2]
        frame, animal = np.nonzero(np.isfinite(centers[..., 0]))
        if not len(frame):
            return np.zeros((1, 4), np.float32)
        x, y = centers[frame, animal].T
        return np.stack([animal, frame + self.start, y, x], axis=1).astype(np.float32)

    def place_of(self, row: int) -> tuple[int, int, int]:
        """Frame, animal and keypoint of a point."""
        return int(self._frame[row]), int(self._animal[row]), int(self._keypoint[row])


def animal_color(animal: int) -> str:
    """The color of an animal, which is none of those of the first seven behaviors."""
    return ANIMAL_COLORS[animal % len(ANIMAL_COLORS)]


def missing_near(session: Session, frame: int, position: Sequence[float]) -> tuple[int, int] | None:
    """The animal and keypoint missing in a frame that was nearest to a place (x, y) when it was last or next seen.

    None when none is missing.
    """
    window = KeypointWindow(session, frame)
    points = session.keypoints[window.start : window.stop, ..., :2]
    best, found = np.inf, None
    for animal, keypoint in np.argwhere(np.isnan(session.keypoints[frame, ..., 0])):
        seen = np.flatnonzero(np.isfinite(points[:, animal, keypoint, 0]))
        distance = np.inf
        if len(seen):
            nearest = seen[np.abs(seen + window.start - frame).argmin()]
            distance = float(np.linalg.norm(points[nearest, animal, keypoint] - position))
        if found is None or distance < best:
            best, found = distance, (int(animal), int(keypoint))
    return found


def point_size(session: Session) -> float:
    """Diameter of a keypoint in pixels of the video."""
    return float(np.clip(session.body_length / 15, 2, 20))
