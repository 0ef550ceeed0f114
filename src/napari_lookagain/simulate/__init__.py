"""A simulated recording: mice drawn into a real video, a real pose file, and the truth about what they do.

It stands in for a lab's recording in the demo and puts the method to the test, for its behaviors show in many ways:

==========  =====================================================================
walk, rest  in the keypoints of one frame
groom       in time only: the head swings where it would anyhow, but fast
feed        in pixels only: a mouse stands at the feeder as it stands elsewhere;
            the lid of the feeder opens for it
tail_raise  in pixels only: the tail is not tracked
==========  =====================================================================

The keypoints of rest, feed and tail_raise come from one process that does not know which of them it is (`motion.move`).
The feeder stands at another place in every recording: what was learnt about a place says nothing in the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_lookagain.annotations import label_bouts
from napari_lookagain.encoding import video_writer
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.simulate.arena import WALL
from napari_lookagain.simulate.drawing import draw
from napari_lookagain.simulate.motion import BEHAVIORS, move
from napari_lookagain.simulate.tracking import KEYPOINTS, track, write_deeplabcut

if TYPE_CHECKING:
    from napari_lookagain.session import Session

__all__ = ["BEHAVIORS", "SimulatedRecording", "simulate", "simulate_session"]

RATER = "simulated truth"
_BODY = 0.17  # length of a mouse, as a share of the shorter side of the picture
_MOST_ANIMALS = 3
_SMALLEST = 160  # pixels; a mouse would be no more than a few pixels wide


@dataclass(frozen=True)
class SimulatedRecording:
    """Files of a simulated recording, and what is true about it.

    Parameters
    ----------
    recording
        Its name.
    video, pose, labels
        An h264 mp4, a multi-animal DeepLabCut csv, and the truth as a table of bouts.
    fps, animals, keypoint_names
        As in a session.
    behaviors
        Names of the behaviors that `truth` indexes.
    truth : (T, A) int16
        What each mouse does at each frame; every frame is scored.
    keypoints : (T, A, J, 2) float32
        Where the keypoints truly are, pixels; the pose file holds what a tracker makes of them.
    feeder : (2,) float
        Where the feeder stands, pixels.
    """

    recording: str
    video: Path
    pose: Path
    labels: Path
    fps: float
    animals: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    behaviors: tuple[str, ...]
    truth: np.ndarray
    keypoints: np.ndarray
    feeder: np.ndarray


def simulate(
    folder: str | Path,
    *,
    n_frames: int = 1500,
    fps: float = 25,
    n_animals: int = 2,
    size: tuple[int, int] = (480, 360),
    seed: int = 0,
    name: str = "simulated",
) -> SimulatedRecording:
    """Write a simulated recording of mice: NAME.mp4, NAME.pose.csv and NAME.bouts.csv.

    Parameters
    ----------
    folder
        Where the files go; made if need be. Files of the same name are replaced.
    n_frames, fps
        Length and rate of the recording.
    n_animals
        Number of mice, 1 to 3.
    size
        Width and height of the video, even numbers of pixels. Mice grow with the shorter side.
    seed
        The same seed gives the same recording, pixel by pixel; another seed, another recording of the same mice.
    name
        Name of the recording.

    Raises
    ------
    InputError
        When such a recording cannot be drawn, or the disk is full.
    """
    _check(n_frames, fps, n_animals, size)
    (width, height), folder = size, Path(folder)
    body = _BODY * min(size)
    corner = np.full(2, WALL * body)
    motion = move(n_frames, fps, n_animals, (width / body - 2 * WALL, height / body - 2 * WALL), seed)
    keypoints = motion.points(np.array(list(KEYPOINTS.values()))) * body + corner
    animals = tuple(f"mouse{a + 1}" for a in range(n_animals))
    recording = SimulatedRecording(
        recording=name,
        video=folder / f"{name}.mp4",
        pose=folder / f"{name}.pose.csv",
        labels=folder / f"{name}.bouts.csv",
        fps=float(fps),
        animals=animals,
        keypoint_names=tuple(KEYPOINTS),
        behaviors=BEHAVIORS,
        truth=motion.behavior,
        keypoints=keypoints.astype(np.float32),
        feeder=motion.feeder * body + corner,
    )
    with atomic_path(recording.video) as path, video_writer(path, size, fps) as write:  # first, since it may fail
        for frame in draw(motion, size, body, corner, seed):
            write(frame)
    with atomic_path(recording.pose) as path:
        write_deeplabcut(path, *track(keypoints, body, seed), animals)
    with atomic_path(recording.labels) as path:
        _bouts_table(recording).to_csv(path, index=False, lineterminator="\n")
    return recording


def simulate_session(
    folder: str | Path,
    *,
    n_frames: int = 1500,
    fps: float = 25,
    n_animals: int = 2,
    size: tuple[int, int] = (480, 360),
    seed: int = 0,
    name: str = "simulated",
) -> Session:
    """Simulate a recording and open its files as a session, in memory; the rater ``"simulated truth"`` holds the truth.

    Parameters and errors are those of `simulate`.
    """
    from napari_lookagain.session import new_session

    made = simulate(folder, n_frames=n_frames, fps=fps, n_animals=n_animals, size=size, seed=seed, name=name)
    session = new_session(made.pose, made.video, fps=made.fps, recording=made.recording)
    session.annotations.set_frames(made.truth, made.behaviors, RATER)
    return session


def _check(n_frames: int, fps: float, n_animals: int, size: tuple[int, int]) -> None:
    if not 1 <= n_animals <= _MOST_ANIMALS:
        raise InputError(f"{n_animals} animals cannot be simulated; choose 1 to {_MOST_ANIMALS}.")
    if any(side % 2 for side in size) or min(size) < _SMALLEST:
        raise InputError(
            f"A video of {size[0]}×{size[1]} cannot be drawn; choose even sizes from {_SMALLEST} pixels on."
        )
    if n_frames < 1 or not fps > 0:
        raise InputError(
            f"{n_frames} frames at {fps} per second cannot be drawn; choose at least 1, and a rate over 0."
        )


def _bouts_table(made: SimulatedRecording) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recording": made.recording,
            "animal": made.animals[bout.animal],
            "behavior": bout.behavior,
            "start_frame": bout.start,
            "stop_frame": bout.stop,
            "start_s": bout.start / made.fps,
            "stop_s": bout.stop / made.fps,
            "source": bout.source,
            "probability": 1.0,
            "rater": bout.rater,
        }
        for bout in label_bouts(made.truth, made.behaviors, RATER)
    )
