"""The eyes that a session keeps: pretrained on its own video, and told apart without loading any."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lookagain.config import Config

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
        How it was pretrained: `beast`, `crop`, `crop_scale` and `seed`.
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

    def fits(self, config: Config) -> bool:
        """Whether a run with these settings would use it, if no keypoint was corrected since."""
        vision, asked = config.vision, config.beast.model_dump(mode="json")
        wanted = {"crop": vision.crop, "crop_scale": vision.crop_scale, "seed": config.training.seed, "beast": asked}
        return all(self.settings.get(name) == value for name, value in wanted.items())


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
    return any((folder / "pretraining.pt").is_file() for folder in _folders(session))


def _folders(session: Session) -> list[Path]:
    place = None if session.path is None else session.path / "beast"
    return [folder for folder in place.iterdir() if folder.is_dir()] if place is not None and place.is_dir() else []
