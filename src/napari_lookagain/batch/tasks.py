"""What is done with one recording: the work of one command, from its beginning or from where it was cut off."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_lookagain.config import Config, Scope
from napari_lookagain.contents import about_ethogram
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import ethogram_kind
from napari_lookagain.files import fingerprint
from napari_lookagain.progress import Progress

COMMANDS = ("segment", "predict", "export")


@dataclass(frozen=True)
class Task:
    """One command for one recording, in plain values that travel to a worker.

    Parameters
    ----------
    folder
        Of the session.
    command
        "segment", "predict" or "export".
    run
        Name of the run that is made, or exported; None exports the latest.
    model
        Folder of the model to apply; None trains one on this recording alone, with `config`.
    config
        All choices of such a training.
    budget
        Share of frames to look at; None leaves it to the model or to `config`, and without a video it is 0.
    scope, decode, minutes
        What the budget is allotted over, the most of the video to decode, and the most time to look; see `predict`.
    device
        "auto", "cpu", "cuda" or "mps".
    what, out
        The table to export, and the file it goes to.
    """

    folder: Path
    command: str
    run: str | None = None
    model: Path | None = None
    config: Config | None = None
    budget: float | None = None
    scope: Scope | None = None
    decode: float | None = None
    minutes: float | None = None
    device: str = "auto"
    what: str = "frames"
    out: Path | None = None

    @property
    def recording(self) -> str:
        """Its name in tables."""
        return self.folder.stem


def is_done(task: Task) -> bool:
    """Whether the run of a task is there already, and whole; nothing but small files is read.

    Raises
    ------
    InputError
        When there is a run of that name, but of another model, another budget or other settings, or a damaged one.
    """
    if task.command == "export" or task.run is None:
        return False
    run = task.folder / "runs" / task.run
    if not (run / "ethogram.npz").exists():
        return False
    ethogram_kind(run / "ethogram.npz")
    if not (_looked_alike(task, run) and (_is_of_config(task, run) if task.model is None else _is_of_model(task, run))):
        raise InputError(
            f"{task.recording} has a finished run {task.run!r} of another model, another budget or other settings; "
            "choose another name with --run."
        )
    return True


def carry_out(task: Task) -> Generator[Progress, None, dict[str, Any]]:
    """Do what the command of the same name does with one session.

    Returns
    -------
    dict
        What came of it, in plain values.

    Raises
    ------
    InputError
        As the command does.
    """
    from napari_lookagain.session import load_session

    session = load_session(task.folder)
    if task.command == "export":
        from napari_lookagain.export import export_table
        from napari_lookagain.formats.tables import write_table

        assert task.out is not None
        yield Progress(0, 1, "exporting")
        table = export_table(session, task.what, task.run)
        write_table(table, task.out, "csv")
        return {"file": str(task.out), "rows": len(table)}

    from napari_lookagain import runs
    from napari_lookagain.actions.jobs import predict_all_actions
    from napari_lookagain.actions.model import is_action_model

    assert task.run is not None
    budget = 0.0 if task.budget is None and session.video is None else task.budget
    if task.model is None:
        assert task.config is not None
        config = _settled(task.config, budget, task)
        work = runs.segment([session], config, minutes=task.minutes, run=task.run, device=task.device)
    elif is_action_model(task.model):
        work = predict_all_actions(task.model, [session], run=task.run, device=task.device)
    else:
        looking: dict[str, Any] = {name: getattr(task, name) for name in ("scope", "decode", "minutes")}
        work = runs.predict_all(task.model, [session], budget=budget, **looking, run=task.run, device=task.device)
    (ethogram,) = yield from work
    return {**about_ethogram(ethogram), "run": task.run}


def _settled(config: Config, budget: float | None, task: Task) -> Config:
    """The settings of a training, with what the task itself says of looks on top."""
    look = {"budget": budget, "scope": task.scope, "decode": task.decode}
    return config.updated(look={name: value for name, value in look.items() if value is not None})


def _looked_alike(task: Task, run: Path) -> bool:
    told = _read(run / "metrics.json")
    asked = {name: getattr(task, name) for name in ("budget", "scope", "decode", "minutes")}
    return all(value is None or told.get(name) == value for name, value in asked.items())


def _is_of_model(task: Task, run: Path) -> bool:
    assert task.model is not None
    own, asked = run / "model" / "weights.safetensors", task.model / "weights.safetensors"
    return own.exists() and fingerprint(own) == fingerprint(asked)


def _is_of_config(task: Task, run: Path) -> bool:
    """Whether it was trained with these settings, but for those that a recording without a video settles by itself."""
    assert task.config is not None
    try:
        own = Config.parse(_read(run / "model" / "config.json").get("config", {}))
    except InputError:  # written by another version
        return False
    asked = _settled(task.config, task.budget, task)
    if own.pretrain.pred_weight == 0:
        asked = asked.updated(pretrain={"pred_weight": 0.0}, look={"budget": own.look.budget})
    return own == asked


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
