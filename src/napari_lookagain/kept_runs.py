"""The runs that a session keeps: those to show again, and those that were cut off and can go on."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lookagain.config import Config, Scope
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, Kind, ethogram_kind
from napari_lookagain.files import atomic_path
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.session import Session

_BEGUN = "begun.json"


@dataclass(frozen=True)
class KeptRun:
    """One run of a session.

    Parameters
    ----------
    name
        Of its folder.
    modified
        When it was last written, in seconds since 1970.
    kind
        Of its ethogram; None when it was cut off.
    budget
        Share of frames that it was to look at.
    scope, decode
        What that is a share of, and the share of the video that it was to decode at most; see `LookConfig`.
    config
        Its settings; None where nothing tells them.
    folder
        Where it is.
    """

    name: str
    modified: float
    kind: Kind | None
    budget: float | None
    scope: Scope
    decode: float
    config: Config | None
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it has an ethogram to show; one that was cut off goes on from where it was."""
        return self.kind is not None

    @property
    def model(self) -> Path | None:
        """Folder of its model, that can look again; None when it has none."""
        folder = self.folder / "model"
        return folder if (folder / "weights.safetensors").is_file() else None


def kept_runs(session: Session) -> list[KeptRun]:
    """All runs of a session, the latest first; a damaged ethogram counts as cut off."""
    found = [_look_at(session.run_folder(name)) for name in session.runs]
    return sorted(found, key=lambda run: run.modified, reverse=True)


def unused_name(session: Session, base: str) -> str:
    """The first of base, base-2, base-3, … that no run of the session has, finished or not."""
    used = set(session.runs)
    return next(name for name in chain([base], (f"{base}-{i}" for i in count(2))) if name not in used)


def resumable_segment(
    session: Session, config: Config, *, run: str, device: str = "auto"
) -> Generator[Progress, None, list[Ethogram]]:
    """Do as `runs.segment`, and keep the settings from the start, so that a run that is cut off can tell them."""
    from napari_lookagain.runs import segment

    folder = session.run_folder(run)
    with atomic_path(folder / _BEGUN) as path:
        path.write_text(json.dumps(config.model_dump(), indent=2), encoding="utf-8")
    try:
        return (yield from segment([session], config, run=run, device=device))
    finally:
        if not any(folder.glob("*.pt")):  # it is done, or nothing was learnt yet that could be lost
            (folder / _BEGUN).unlink(missing_ok=True)
            with suppress(OSError):  # a finished run is in there
                folder.rmdir()


def _look_at(folder: Path) -> KeptRun:
    ethogram = folder / "ethogram.npz"
    try:
        kind = ethogram_kind(ethogram)
    except InputError:
        kind = None
    written = ethogram if kind else folder
    model = _read_json(folder / "model" / "config.json") if kind else None
    settings = _read_json(folder / _BEGUN) if model is None else model.get("config")
    config = None if settings is None else _parse(settings)
    told = _read_json(folder / "metrics.json") or {}
    budget = told.get("budget", None if config is None else config.look.budget)
    look = (config or Config()).look
    scope, decode = told.get("scope", look.scope), told.get("decode", look.decode)
    return KeptRun(folder.name, written.stat().st_mtime, kind, budget, scope, decode, config, folder)


def _parse(settings: dict) -> Config | None:
    try:
        return Config.parse(settings)
    except InputError:  # written by another version
        return None


def _read_json(path: Path) -> dict | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
