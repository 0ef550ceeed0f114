"""Which part of a frame is looked at for an animal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.stretches import scratch

if TYPE_CHECKING:
    from napari_lookagain.session import Session

CropKind = Literal["turned", "plain", "frame"]

_CHUNK = 65536  # frames whose keypoints are worked on at a time
_SMALLEST = 64.0  # side of a crop, pixels


class Crops:
    """Where to cut around every animal at every frame of one session.

    A crop is a square of the video around the mean of the animal's present keypoints, wide enough to hold the animals
    it interacts with. Where an animal is absent, its place and its heading are each that of the nearest frame in time
    at which they are known; an animal never seen is cut from the middle of the frame, one whose heading is never known
    is not turned. The paper does not state the width of its crops, nor does it turn them.

    Parameters
    ----------
    session : Session
        Needs a video. What is kept of it is 12 bytes per animal and frame, made at the first cut.
    kind : {"turned", "plain", "frame"}
        "turned": the animal's heading (rear → front keypoint) points up. "plain": as in the frame. "frame": the whole
        frame, its sides squeezed to a square, the same for all animals.
    scale : float
        Side of the crop in body lengths of the session.
    size : int
        Side of the image that comes out, pixels.

    Attributes
    ----------
    kind : {"turned", "plain", "frame"}
        What is really cut: "plain" when "turned" was asked for, but the session names no heading; "frame" when it has
        no keypoints to tell where the animal is.
    side : float
        Side of the crop in whole pixels of the video: `scale` body lengths, at least 64, at most the shorter side of
        the frame; for "frame", the longer side of the frame.
    scale : float
    size : int

    Raises
    ------
    InputError
        When the session has no video, or a parameter is out of range.
    """

    def __init__(self, session: Session, kind: CropKind = "turned", scale: float = 4.0, size: int = 48) -> None:
        if kind not in get_args(CropKind):
            raise InputError(f"Crops of kind {kind!r} are unknown; choose one of {', '.join(get_args(CropKind))}.")
        if not (scale > 0 and size > 0):
            raise InputError(f"Crops of {scale} body lengths and {size} pixels were asked for; both must be above 0.")
        if session.frame_size is None:
            raise InputError(f"{session.recording} has no video to cut crops from; give it one, or use budget 0.")
        self._session = session
        if not session.has_keypoints:
            kind = "frame"
        self.kind: CropKind = "plain" if kind == "turned" and session.heading_index is None else kind
        self.scale, self.size = scale, size
        if kind == "frame":
            self.side = float(max(session.frame_size))
        else:
            self.side = float(round(min(max(_SMALLEST, scale * session.body_length), *session.frame_size)))

    @property
    def key(self) -> str:
        """Name of the rule, for cache keys: the same for the same pixels, but for single corrected keypoints."""
        if self.kind == "frame":
            return f"frame-{self.size}px"
        turn = "-".join(map(str, self._session.heading_index or ())) if self.kind == "turned" else ""
        return f"{self.kind}{turn}-{self.side:.0f}px-{self.size}px"

    def cut(self, frame: np.ndarray, index: int, animal: int) -> np.ndarray:
        """Cut what is looked at for one animal out of a decoded frame.

        The video is resampled once: every pixel that comes out is the mean of the video over the square it covers,
        turned with the crop, so that nothing aliases however much a crop shrinks.

        Parameters
        ----------
        frame : np.ndarray
            (H, W) or (H, W, 3) uint8, frame `index` of the video.
        index, animal : int
            Frame and animal in the session.

        Returns
        -------
        np.ndarray
            (size, size) or (size, size, 3) uint8; 0 outside of the frame.
        """
        if self.kind == "frame":
            way = cv2.INTER_AREA if min(frame.shape[:2]) >= self.size else cv2.INTER_LINEAR
            return cv2.resize(frame, (self.size, self.size), interpolation=way)
        center, up = self._places
        finer = max(1, int(np.ceil(self.side / self.size)))  # samples per pixel along a side, at most 1 px apart
        width = self.size * finer
        turn = _from_crop(center[index, animal], up[index, animal], self.side / width, width)
        samples = cv2.warpAffine(frame, turn, (width, width), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return cv2.resize(samples, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def affine(self, index: int, animal: int) -> np.ndarray:
        """Tell where in the frame a crop lies.

        Returns
        -------
        np.ndarray
            (2, 3) float64, the map from pixels (x, y) of the image that comes out to pixels (x, y) of frame `index`;
            whole numbers are the middles of pixels on both sides.
        """
        if self.kind == "frame":
            assert self._session.frame_size is not None
            step = np.array(self._session.frame_size) / self.size
            return np.column_stack([np.diag(step), step / 2 - 0.5])
        center, up = self._places
        return _from_crop(center[index, animal], up[index, animal], self.side / self.size, self.size)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Centers (T, A, 2) float32 and the angles that point up (T, A) float32, without gaps."""
        session = self._session
        assert session.frame_size is not None
        shape = (session.n_frames, session.n_animals)
        center = scratch((*shape, 2), np.float32, session.path)
        up = scratch(shape, np.float32, session.path)
        up[:] = np.nan
        for start in range(0, session.n_frames, _CHUNK):
            stop = start + _CHUNK
            center[start:stop] = session.centers(start, stop)[..., :2]
            if self.kind == "turned":
                up[start:stop] = session.headings(start, stop)
        middle = (np.array(session.frame_size, np.float32) - 1) / 2
        for animal in range(session.n_animals):
            _fill(center[:, animal], middle)
            _fill(up[:, animal], -np.pi / 2)  # y grows downward
        return center, up


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Keep OpenCV from sharing single crops among threads of its own.

    These wait for each other busily, for three times as long as a crop takes, on cores that an encoder could use.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def present(session: Session, crops: Crops, frames: slice = slice(None)) -> np.ndarray:
    """(T, A) bool: whether there is an animal to be seen; whole frames, of one column, always show something."""
    points = session.keypoints[frames]
    if crops.kind == "frame":
        return np.ones((len(points), 1), bool)
    return np.isfinite(points[..., 0]).any(axis=2)


def _fill(values: np.ndarray, never: np.ndarray | float) -> None:
    """Give every frame without a value (T[, C], NaN) that of the nearest frame in time with one, or else `never`."""
    missing = np.isnan(values).reshape(len(values), -1).any(axis=1)
    known, gaps = np.flatnonzero(~missing), np.flatnonzero(missing)
    if not len(known):
        values[:] = never
        return
    after = np.searchsorted(known, gaps).clip(max=len(known) - 1)
    before = (after - 1).clip(min=0)
    nearer = np.abs(known[after] - gaps) < np.abs(gaps - known[before])
    values[gaps] = values[known[np.where(nearer, after, before)]]


def _from_crop(center: np.ndarray, up: float, step: float, width: int) -> np.ndarray:
    """Make the (2, 3) map from pixels of a crop, `step` pixels of the frame apart, to pixels of the frame.

    `center` comes to the middle of the crop and the direction `up` (radians from x toward y) to its upper edge.
    """
    cos, sin = step * np.cos(up), step * np.sin(up)
    linear = np.array([[-sin, -cos], [cos, -sin]], np.float64)
    offset = center - linear @ np.full(2, (width - 1) / 2)
    return np.column_stack([linear, offset])
