"""The files a session was made from: they are read, told apart by fingerprint, and never written."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lookagain.errors import InputError
from napari_lookagain.files import fingerprint

if TYPE_CHECKING:
    from napari_lookagain.packets import PacketIndex

_TRIM = 0.01  # share of frames by which video and pose may differ


@dataclass(frozen=True)
class PoseSource:
    """A pose file: its absolute path, the program that wrote it, its fingerprint."""

    path: str
    software: str
    fingerprint: str


@dataclass(frozen=True)
class VideoSource:
    """A video: its absolute path, size in pixels, frames, frames per second, fingerprint; its packets, if just read."""

    path: str
    width: int
    height: int
    n_frames: int
    fps: float
    fingerprint: str
    packets: PacketIndex | None = field(default=None, compare=False, repr=False)

    @property
    def packets_name(self) -> str:
        """Name of the file in which its packets are kept, among the features of a session."""
        return f"packets-{self.fingerprint}.npz"


def read_video_source(path: str | Path) -> VideoSource:
    """Describe a video.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    from napari_lookagain.video import Video

    with Video(path) as video:
        size = (video.width, video.height, video.n_frames, video.fps)
    return VideoSource(os.path.abspath(path), *size, fingerprint(path), video.packets)


def check_same(source: VideoSource, path: str | Path) -> None:
    """Check that the file at `path` is the video that was described.

    Raises
    ------
    InputError
        When it is another one, or cannot be read.
    """
    if fingerprint(path) != source.fingerprint:
        raise InputError(
            f"{path} is not the video this session was made with ({Path(source.path).name}, {source.n_frames} frames, "
            f"{source.width}×{source.height}); give that one, or make a new session for this one."
        )


def common_frames(pose: int, video: int) -> int:
    """Give the frames that pose and video of one recording have in common, from the numbers of frames of both.

    Warns
    -----
    UserWarning
        When they differ, by up to 1 %: both are used up to the end of the shorter.

    Raises
    ------
    InputError
        When they differ by more.
    """
    if abs(pose - video) > _TRIM * max(pose, video):
        raise InputError(
            f"The pose has {pose} frames and the video {video}, which is more than 1 % apart; do they belong together?"
        )
    if pose != video:
        warnings.warn(
            f"The pose has {pose} frames and the video {video}: both are used up to frame {min(pose, video)}.",
            UserWarning,
            stacklevel=3,
        )
    return min(pose, video)


def to_json(source: PoseSource | VideoSource, folder: Path) -> dict[str, Any]:
    """Give the fields of a source, with its path from `folder` as well, so that both can move together."""
    try:
        relative = Path(os.path.relpath(source.path, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        relative = None
    told = {name: value for name, value in source.__dict__.items() if name != "packets"}
    return {**told, "relative": relative}


def find(recorded: dict[str, Any], folder: Path) -> str:
    """Tell where a recorded file is now: as before from `folder`, or else where it was.

    A file of the same name and place that is another one is passed over.
    """
    places = [os.path.abspath(folder / recorded["relative"])] if recorded["relative"] else []
    for place in [*places, recorded["path"]]:
        if os.path.isfile(place) and os.access(place, os.R_OK) and fingerprint(place) == recorded["fingerprint"]:
            return str(place)
    return str(recorded["path"])
