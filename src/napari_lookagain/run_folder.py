"""What a job may write to, and how a run is kept in a session's folder: ``runs/NAME``, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.session import Session


def check_out(out: Path, device: str) -> None:
    """Refuse to write over a model, and a device that is not there, before anything is written.

    Raises
    ------
    InputError
        With what to do instead.
    """
    if out.is_file() or (out / "weights.safetensors").exists():
        raise InputError(f"{out} is a file or holds a trained model already; choose another folder with --out.")
    accelerator(device)


def check_run(sessions: Sequence[Session], run: str, device: str) -> None:
    """Refuse to write over a finished run, and a device that is not there, before anything is written.

    Raises
    ------
    InputError
        With what to do instead.
    """
    accelerator(device)
    for session in sessions:
        if is_finished(session, run):
            raise InputError(f"{session.recording} has a finished run {run!r} already; choose another name with --run.")


def is_finished(session: Session, run: str) -> bool:
    """Whether a run is whole: its ethogram is written last."""
    return (session.run_folder(run) / "ethogram.npz").exists()


def keep_run(session: Session, run: str, ethogram: Ethogram, *, budget: float, log: Sequence[str], **told: Any) -> None:
    """Write a run beside its model, the ethogram last.

    Parameters
    ----------
    session, run
        Where it is kept.
    ethogram
        What came of it.
    budget
        Share of the frames that was to be looked at.
    log
        Lines of ``log.txt`` after the first, which tells of the recording.
    told
        Whatever else ``metrics.json`` shall tell.
    """
    folder = session.run_folder(run)
    metrics = {
        "budget": budget,
        "frames": ethogram.n_frames,
        "looked": {animal: int(n) for animal, n in zip(session.animals, ethogram.looked.sum(0), strict=True)},
        "share_of_time": ethogram.time_budget().to_dict(orient="records"),
        **told,
    }
    write_json(folder / "metrics.json", metrics)
    size = f"{session.n_frames} frames, {session.n_animals} animals, {session.fps} fps"
    with atomic_path(folder / "log.txt") as path:
        path.write_text("\n".join([f"recording {session.recording}: {size}", *log]) + "\n", encoding="utf-8")
    ethogram.save(folder / "ethogram.npz")


def write_json(path: Path, told: dict[str, Any]) -> None:
    """Write plain values as a file of JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
