"""The eyes that sessions keep: pretrained on their own video, and told apart without loading any."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from napari_lookagain.session import Session


@dataclass(frozen=True)
class KeptEye:
    """An eye that was pretrained to the end.

    Parameters
    ----------
    folder
        Where it is.
    modified
        When it was finished, in seconds since 1970.
    settings
        How it was pretrained: `key`, `recordings`, `beast`, `crop`, `crop_scale`, `confidence_threshold` and `seed`.
    anchors
        Frames it was pretrained on, or animals at a frame, beside two neighbors each.
    minutes
        What that took.
    """

    folder: Path
    modified: float
    settings: dict[str, Any]
    anchors: int
    minutes: float

    @property
    def size(self) -> str:
        """Its name: "tiny", "small" or "base"."""
        return str(self.settings["beast"]["size"])


def eye_key(sessions: Sequence[Session], config: Config) -> str:
    """Tell eyes apart: by settings, crops, and videos in any order. Keypoints that are corrected cost no new eye.

    Raises
    ------
    InputError
        When a session has no video, or a video is there twice.
    """
    shown = []
    for session in sessions:
        if session.video is None:
            raise InputError(f"{session.recording} has no video to learn from; make the session with one.")
        crop = f"{config.vision.crop} {config.vision.crop_scale}" if session.has_keypoints else "frame"
        shown.append(f"{session.video.fingerprint} {session.heading} {crop}")
    if len(set(shown)) < len(shown):
        raise InputError("The same video was given twice; an eye learns from each once.")
    told = f"{config.beast.model_dump_json()} {config.training.seed} {config.features.confidence_threshold}"
    return blake2b("\n".join([told, *sorted(shown)]).encode(), digest_size=8).hexdigest()


def kept_eye(sessions: Sequence[Session], config: Config) -> Path | None:
    """The folder of the eye that was pretrained on all these sessions with these settings; None when there is none."""
    if any(session.video is None for session in sessions):
        return None
    key = eye_key(sessions, config)
    homes = [session.path / "beast" / key for session in sessions if session.path is not None]
    return next((home for home in homes if (home / "encoder.json").exists()), None)


def kept_eyes(session: Session) -> list[KeptEye]:
    """All eyes in the folder of a session, the latest first; damaged ones are left out."""
    found = []
    for folder in _folders(session):
        with suppress(OSError, ValueError, KeyError, TypeError):
            settings, told = (
                json.loads((folder / name).read_text("utf-8")) for name in ("config.json", "metrics.json")
            )
            modified = (folder / "encoder.json").stat().st_mtime  # written last
            eye = KeptEye(folder, modified, settings, int(told["anchors"]), float(told["minutes"]))
            found += [eye] if eye.size else []
    return sorted(found, key=lambda eye: eye.modified, reverse=True)


def cut_off(session: Session) -> bool:
    """Whether a pretraining was stopped that can go on; the same settings go on where it was."""
    return any(any(folder.glob("pretraining-*.pt")) for folder in _folders(session))


def settings_of(folder: Path) -> Config:
    """How an eye was made and is to be used; of an encoder that says nothing of it, the settings of "quick".

    Raises
    ------
    InputError
        When what it says is damaged.
    """
    try:
        made = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if "beast" not in made:  # a model of the hub has a config.json, too
            return Config.preset("quick")
        return Config.preset(
            "quick",
            beast=made["beast"],
            vision={"crop": made["crop"], "crop_scale": made["crop_scale"]},
            features={"confidence_threshold": made["confidence_threshold"]},
        )
    except FileNotFoundError:
        return Config.preset("quick")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'} does not describe an eye ({error}); pretrain it again.") from error


def told_of(folder: Path) -> dict[str, Any]:
    """How the pretraining of an eye went: anchors, minutes, memory, and the last of every loss."""
    told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {name: value[-1] if isinstance(value, list) else value for name, value in told.items() if value != []}


def _folders(session: Session) -> list[Path]:
    place = None if session.path is None else session.path / "beast"
    return [folder for folder in place.iterdir() if folder.is_dir()] if place is not None and place.is_dir() else []
