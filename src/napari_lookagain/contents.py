"""What a session, a model, a file or an ethogram holds, in plain values to be shown or written as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lookagain.errors import InputError
from napari_lookagain.looks import wishes_of

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.session import Session

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv", ".ts", ".h264")


def describe(path: Path) -> dict[str, Any]:
    """Describe a session folder, a model folder, an eye, a video or a pose file.

    Raises
    ------
    InputError
        When it is none of these, or damaged.
    """
    if (path / "weights.safetensors").exists():
        return _describe_model(path)
    if (path / "encoder.json").exists():
        return _describe_eye(path)
    if path.is_dir():
        return _describe_session(path)
    if not path.is_file():
        raise InputError(f"There is nothing at {path}; give a session folder, a model folder, a video or a pose file.")
    return _describe_video(path) if path.suffix.lower() in VIDEOS else _describe_pose(path)


def about_session(session: Session) -> dict[str, Any]:
    """Describe a session: its files, its size, its names."""
    pose, video = session.pose, session.video
    return {
        "recording": session.recording,
        "frames": session.n_frames,
        "fps": session.fps,
        "animals": list(session.animals),
        "keypoints": list(session.keypoint_names),
        "coordinates": session.n_coords,
        "heading": None if session.heading is None else list(session.heading),
        "pose": None if pose is None else f"{pose.path} ({pose.software})",
        "video": None if video is None else f"{video.path} ({video.width}×{video.height}, {video.n_frames} frames)",
        "behaviors": list(session.annotations.behaviors),
        **wishes_of(session).told(),
        "runs": session.runs,
    }


def about_ethogram(ethogram: Ethogram) -> dict[str, Any]:
    """Describe an ethogram: its size, its classes, and how much was looked at."""
    return {
        "recording": ethogram.recording,
        "frames": ethogram.n_frames,
        "looked": int(ethogram.looked.sum()),
        "of": ethogram.looked.size,
        "bouts": len(ethogram.bouts()),
        "classes": list(ethogram.names),
    }


def _describe_session(path: Path) -> dict[str, Any]:
    from napari_lookagain.session import load_session

    return about_session(load_session(path))


def _describe_model(path: Path) -> dict[str, Any]:
    from napari_lookagain.actions.model import ActionModel, is_action_model
    from napari_lookagain.model.lookagain import LookAgain

    if is_action_model(path):
        heads = ActionModel.load(path)
        told = {"kind": "behavior", "names": list(heads.card.names), "head": heads.config.head.kind}
        return told | {"heads": len(heads.heads), "reads": list(heads.card.reads)}
    model = LookAgain.load(path)
    card, look = model.card, model.config.look
    return {"kind": card.kind, "names": list(card.names), "keypoints": list(card.keypoint_names), "budget": look.budget}


def _describe_eye(path: Path) -> dict[str, Any]:
    from napari_lookagain.eyes.kept import told_of
    from napari_lookagain.vision.encoder import load_encoder

    encoder = load_encoder(path)
    told = {"encoder": encoder.kind, "image": encoder.size, "width": encoder.width, "patches": encoder.n_patches}
    return told | (told_of(path) if (path / "metrics.json").exists() else {})


def _describe_video(path: Path) -> dict[str, Any]:
    from napari_lookagain.video import Video

    with Video(path) as video:
        variable = video.variable_frame_rate
        return {
            "frames": video.n_frames,
            "fps": video.fps,
            "size": [video.width, video.height],
            "variable_fps": variable,
        }


def _describe_pose(path: Path) -> dict[str, Any]:
    from napari_lookagain.formats.pose import read_pose

    pose = read_pose(path)
    shape = {"frames": len(pose.keypoints), "animals": list(pose.animals), "keypoints": list(pose.keypoint_names)}
    return {"software": pose.software, **shape}
