"""One recording: its keypoints, its video, what was said about it, and the folder that keeps all of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.annotations import Annotations
from napari_lookagain.corrections import Corrections, Moved
from napari_lookagain.errors import InputError
from napari_lookagain.files import fingerprint
from napari_lookagain.heading import check_heading, guess_heading
from napari_lookagain.session_checks import check_arrays, check_names
from napari_lookagain.session_folder import read_folder, write_folder, write_record
from napari_lookagain.sources import PoseSource, VideoSource, check_same, common_frames, read_video_source
from napari_lookagain.stretches import pieces

if TYPE_CHECKING:
    from napari_lookagain.formats.pose import PoseData
    from napari_lookagain.video import Video

_SAMPLE = 5000  # frames that tell the body length


@dataclass(eq=False)
class Session:
    """One recording, checked once, when it is made.

    Parameters
    ----------
    recording
        Name of the recording.
    keypoints
        (T, A, J, C) float32, x then y (then z), pixels of the video if there is one; NaN = missing, C = 2 or 3, T ≥ 2.
        `move_keypoint` writes into them. (T, 1, 0, 2) in a session of a video alone.
    confidence
        (T, A, J) float32 in [0, 1]; 0 where missing, 1 where present if the tracker gives none.
    animals, keypoint_names
        Names along A and J, each once.
    fps
        Frames per second.
    heading
        Keypoints (rear, front) that tell where an animal faces; None when unknown.
    pose, video
        The files the session was made from; they are read, never written. The video may be longer than the pose. Either
        may be None: without a pose there are no keypoints.
    annotations
        What raters say about its frames.
    path
        The folder ``NAME.lookagain``; None while in memory only.
    edited
        (T, A, J) bool, True where a person corrected the keypoint; None = nowhere.

    Raises
    ------
    InputError
        When any of these does not fit the others, or what was tracked has no keypoint anywhere.
    """

    recording: str
    keypoints: np.ndarray = field(repr=False)
    confidence: np.ndarray = field(repr=False)
    animals: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    fps: float
    heading: tuple[str, str] | None
    pose: PoseSource | None
    video: VideoSource | None
    annotations: Annotations = field(repr=False)
    path: Path | None = None
    edited: np.ndarray | None = field(default=None, repr=False)
    corrections: Corrections = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.keypoints = np.require(self.keypoints, np.float32, "W")
        self.confidence = np.require(self.confidence, np.float32, "W")
        self.animals, self.keypoint_names = tuple(self.animals), tuple(self.keypoint_names)
        if self.pose is None and self.video is None:
            raise InputError(f"The session {self.recording} has neither a pose file nor a video; give it one of them.")
        check_arrays(self.keypoints, self.confidence, self.edited, tracked=self.pose is not None)
        check_names("animals", self.animals, self.n_animals)
        check_names("keypoints", self.keypoint_names, self.n_keypoints)
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"The frame rate is {self.fps}, expected frames per second above 0; give --fps.")
        if self.heading is not None:
            self.heading = check_heading(self.heading, self.keypoint_names)
        if self.video is not None and self.video.n_frames < self.n_frames:
            raise InputError(f"The video has {self.video.n_frames} frames, but the pose has {self.n_frames}.")
        if (self.annotations.n_frames, self.annotations.animals) != (self.n_frames, self.animals):
            raise InputError(
                f"The annotations are of {self.annotations.n_frames} frames of {', '.join(self.annotations.animals)}, "
                f"but the recording is {self.n_frames} frames of {', '.join(self.animals)}."
            )
        self.corrections = Corrections(self.keypoints, self.confidence, self.edited, self.animals, self.keypoint_names)
        if self.path is not None:
            self.corrections.open(self.path / "keypoints.jsonl")
            self.edited = self.corrections.edited

    @property
    def n_frames(self) -> int:
        """Frames of the recording, T."""
        return self.keypoints.shape[0]

    @property
    def n_animals(self) -> int:
        """Animals in the recording, A, present or not."""
        return self.keypoints.shape[1]

    @property
    def n_keypoints(self) -> int:
        """Keypoints of each animal, J."""
        return self.keypoints.shape[2]

    @property
    def has_keypoints(self) -> bool:
        """Whether animals were tracked; there are no keypoints in a session of a video alone."""
        return self.n_keypoints > 0

    @property
    def n_coords(self) -> int:
        """Coordinates of a keypoint, C: 2 or 3."""
        return self.keypoints.shape[3]

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """Width and height of the video in pixels; None without a video."""
        return None if self.video is None else (self.video.width, self.video.height)

    @property
    def heading_index(self) -> tuple[int, int] | None:
        """Indices of the rear and the front keypoint along J; None when the heading is unknown."""
        if self.heading is None:
            return None
        rear, front = self.heading
        return self.keypoint_names.index(rear), self.keypoint_names.index(front)

    @cached_property
    def body_length(self) -> float:
        """Median over frames and animals of the largest distance between two keypoints of an animal, in pixels.

        Taken from at most 5000 frames, spread over those that show two keypoints or more. Where no two keypoints are
        apart, as with a single keypoint, it is 1, so that dividing by it changes nothing.
        """
        shown = np.zeros(self.n_frames, bool)
        for span in pieces(self.n_frames):
            present = np.isfinite(self.keypoints[span, ..., 0])  # (T', A, J)
            shown[span] = (present.sum(axis=-1) > 1).any(axis=-1)
        frames = np.flatnonzero(shown)
        frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLE)).astype(int)]
        points = self.keypoints[frames]
        spread = np.zeros(points.shape[:2])  # (T', A)
        for keypoint in range(self.n_keypoints):  # one against all, as all against all may not fit into memory
            distance = np.linalg.norm(points - points[:, :, keypoint, None], axis=-1)
            spread = np.maximum(spread, np.where(np.isnan(distance), 0, distance).max(axis=-1))
        return float(np.median(spread[spread > 0])) if spread.any() else 1.0

    def centers(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Give the mean of the present keypoints in frames [start, stop): (T, A, C), NaN where an animal is absent."""
        points = self.keypoints[start:stop]
        present = np.isfinite(points[..., :1])
        count = present.sum(axis=2).astype(np.float32)
        return np.where(present, points, 0).sum(axis=2) / np.where(count > 0, count, np.nan)

    def headings(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Give the direction from the rear to the front keypoint in frames [start, stop).

        Returns
        -------
        np.ndarray
            (T, A) float32 radians in the plane of x and y, 0 along x and growing toward y (down in an image); NaN where
            either keypoint is missing, or both are at one place, and everywhere when the heading is unknown.
        """
        points = self.keypoints[start:stop]
        if self.heading_index is None:
            return np.full(points.shape[:2], np.nan, np.float32)
        rear, front = self.heading_index
        ahead = points[:, :, front, :2] - points[:, :, rear, :2]
        return np.where((ahead == 0).all(axis=-1), np.nan, np.arctan2(ahead[..., 1], ahead[..., 0]))

    def set_heading(self, heading: tuple[str, str] | None) -> None:
        """Say which keypoints (rear, front) tell where an animal faces, and store it when the session has a folder.

        Raises
        ------
        InputError
            When there are no two such keypoints.
        """
        self.heading = None if heading is None else check_heading(heading, self.keypoint_names)
        if self.path is not None:
            write_record(self, self.path)

    def move_keypoint(self, frame: int, animal: int, keypoint: int, position: Sequence[float] | None) -> None:
        """Put a keypoint where a person sees it, with confidence 1 and marked in `edited`; None: it is not to be seen.

        In a session with a folder the move is on disk before the call returns; the pose file is not written to.

        Raises
        ------
        InputError
            When there is no such keypoint or place, or the move cannot be written; nothing has changed then.
        """
        self.corrections.move(frame, animal, keypoint, position)
        self.edited = self.corrections.edited

    def undo_keypoint(self) -> Moved | None:
        """Put the keypoint that was moved last back, without end, and tell which it was; None when there is none."""
        return self.corrections.undo()

    def redo_keypoint(self) -> Moved | None:
        """Make the move that was taken back last again, and tell of which keypoint; None when there is none."""
        return self.corrections.redo()

    @property
    def runs(self) -> list[str]:
        """Names of the runs in the folder, sorted; none while in memory."""
        folder = None if self.path is None else self.path / "runs"
        return sorted(run.name for run in folder.iterdir() if run.is_dir()) if folder and folder.is_dir() else []

    def run_folder(self, name: str) -> Path:
        """Tell where a run is kept, whether it is there or not.

        Raises
        ------
        InputError
            When the session has no folder yet, or the name is not that of a single folder.
        """
        if not name or name.startswith(".") or Path(name).name != name or "\\" in name:
            raise InputError(f"{name!r} cannot name a run; give a plain name without slashes.")
        return self._folder() / "runs" / name

    @property
    def features_folder(self) -> Path:
        """Where visual features are kept; an `InputError` while the session is in memory only."""
        return self._folder() / "features"

    def open_video(self) -> Video:
        """Open the video, once it is known to be the one the session was made with.

        What a saved session reads of its packets is kept beside its features, so that it opens at once the next time.

        Raises
        ------
        InputError
            When the session has no video, or another file stands in its place, or none.
        """
        if self.video is None:
            raise InputError(f"The session {self.recording} has no video; make it anew with --video to look at frames.")
        if not os.path.isfile(self.video.path):
            raise InputError(
                f"The video of the session {self.recording} is not at {self.video.path}; put it back, or tell its new "
                "place with lookagain relocate SESSION --video FILE."
            )
        check_same(self.video, self.video.path)
        from napari_lookagain.video import Video

        return Video(self.video.path, None if self.path is None else self.features_folder / self.video.packets_name)

    def relocate_video(self, path: str | Path) -> None:
        """Tell where the video of the session has gone, and store it when the session has a folder.

        Raises
        ------
        InputError
            When the session has no video, or the file at `path` is not the same one.
        """
        if self.video is None:
            raise InputError(f"The session {self.recording} has no video; make it anew with --video.")
        check_same(self.video, path)
        self.video = replace(self.video, path=os.path.abspath(path))
        if self.path is not None:
            write_record(self, self.path)

    def save(self, path: str | Path) -> None:
        """Write a new session folder, whole or not at all; from then on, edits are kept there.

        Runs and features of an earlier folder stay with that one.

        Raises
        ------
        InputError
            When there is something at `path` already, or it cannot be written.
        """
        folder = Path(os.path.abspath(path))
        write_folder(self, folder)
        self.path = folder

    def _folder(self) -> Path:
        if self.path is None:
            raise InputError(f"The session {self.recording} is in memory only; save it first.")
        return self.path


def new_session(
    pose: str | Path | None = None,
    video: str | Path | None = None,
    *,
    software: str | None = None,
    fps: float | None = None,
    keypoints: Sequence[str] | None = None,
    heading: tuple[str, str] | None = None,
    recording: str | None = None,
) -> Session:
    """Make a session, in memory, from a pose file, a video or both; `Session.save` makes its folder.

    Parameters
    ----------
    pose, software, keypoints
        As `read_pose` takes them. Without a pose file the session is of one animal that has no keypoints.
    video
        The video that was tracked; None when there is none.
    fps
        Frames per second; by default those of the video, else those of the pose file.
    heading
        Keypoints (rear, front); by default guessed from their names.
    recording
        Name; by default that of the video or pose file.

    Warns
    -----
    UserWarning
        When video and pose differ by up to 1 % of their frames: both are used up to the end of the shorter. When `fps`
        differs from the frame rate of the video by more than 1 %.

    Raises
    ------
    InputError
        When a file cannot be read, or they differ by more, or nothing tells the frame rate, or there is no file.
    """
    from napari_lookagain.formats.pose import read_pose

    _check_given(pose, video, software or keypoints or heading)
    data = None if pose is None else read_pose(pose, software=software, fps=fps, keypoints=keypoints)
    source = None if video is None else read_video_source(video)
    data = data or _untracked(source)
    n_frames = len(data.keypoints) if source is None else common_frames(len(data.keypoints), source.n_frames)
    rate = data.fps if source is None else _frame_rate(fps, source)
    if rate is None:
        raise InputError(f"Neither {pose} nor a video tells the frame rate; give --fps.")
    stem = Path(video or pose or "").name.removesuffix(".analysis.h5")
    return Session(
        recording=recording or Path(stem).stem,
        keypoints=data.keypoints[:n_frames],
        confidence=data.confidence[:n_frames],
        animals=data.animals,
        keypoint_names=data.keypoint_names,
        fps=float(rate),
        heading=heading or guess_heading(data.keypoint_names),
        pose=None if pose is None else PoseSource(os.path.abspath(pose), data.software, fingerprint(pose)),
        video=source,
        annotations=Annotations(n_frames, data.animals),
    )


def load_session(path: str | Path) -> Session:
    """Open a session folder. Its video need not be there until `Session.open_video`.

    Raises
    ------
    InputError
        When it is no session folder, is damaged or unreadable, or was written by a newer version.
    """
    return Session(**read_folder(Path(os.path.abspath(path))))


def _check_given(pose: str | Path | None, video: str | Path | None, of_keypoints: object) -> None:
    if pose is None and video is None:
        raise InputError("There is nothing to make a session of; give a pose file (--pose), a video (--video) or both.")
    if pose is None and of_keypoints:
        raise InputError("Software, keypoints and heading are those of a pose file; give it, too (--pose).")


def _frame_rate(fps: float | None, source: VideoSource) -> float:
    """Frames per second as given, else those of the video."""
    if fps is None:
        return source.fps
    if abs(fps - source.fps) > 0.01 * source.fps:
        warnings.warn(f"{fps} frames per second are given; the video says {source.fps:g}.", UserWarning, stacklevel=3)
    return fps


def _untracked(video: VideoSource | None) -> PoseData:
    """What is known of the animal in a video without a pose file: that it may be there."""
    from napari_lookagain.formats.pose import ONLY_ANIMAL, PoseData

    assert video is not None
    nothing = np.zeros((video.n_frames, 1, 0, 2), np.float32)
    return PoseData(nothing, nothing[..., 0], (ONLY_ANIMAL,), (), None, "")
