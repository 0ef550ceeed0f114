"""Learning from what people scored of a recording: train on it, and predict the rest."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lookagain.config import Config
from napari_lookagain.cost import Part, segmentation
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.kept_runs import KeptRun, kept_runs, unused_name
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.session import Session


@dataclass(frozen=True)
class Lesson:
    """What came of it.

    Parameters
    ----------
    run
        Name of the run that keeps model and ethogram.
    ethogram
        Of behaviors, for the whole recording.
    report
        As `runs.train` returns it.
    """

    run: str
    ethogram: Ethogram
    report: dict[str, Any]


def learn(session: Session, config: Config | None = None, *, device: str = "auto") -> Generator[Progress, None, Lesson]:
    """Train the supervised head on the scored frames of a recording, and predict all of it, as a new run.

    What the latest run of clusters learnt of the keypoints and the video is taken over, so that only the head is
    trained; where there is none, everything is. Work that is stopped leaves nothing behind.

    Parameters
    ----------
    session
        Saved, with at least two behaviors scored.
    config
        All choices; by default those of that run of clusters, or else the quick preset.
    device
        "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    InputError
        As `runs.train` and `runs.predict_all`.

    Examples
    --------
    >>> lesson = drain(learn(session))
    >>> lesson.report["held_out"]["macro_f1"]
    0.81
    """
    from napari_lookagain.runs import predict_all, train

    base = base_run(session)
    config = config or _settings(base, session)
    name = unused_name(session, "behavior")
    folder = session.run_folder(name)
    try:
        report = yield from train(
            [session], folder / "model", config, pretrained=None if base is None else base.model, device=device
        )
        [ethogram] = yield from predict_all(folder / "model", [session], run=name, device=device)
    finally:
        if not (folder / "ethogram.npz").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return Lesson(name, ethogram, report)


def base_run(session: Session) -> KeptRun | None:
    """The run whose motion encoder and eye `learn` takes over: the latest of clusters that has a model."""
    return next((run for run in kept_runs(session) if run.kind == "cluster" and run.model is not None), None)


def stages(session: Session, device: str = "auto") -> list[Part]:
    """Stages of `learn`, and about how long each takes."""
    base = base_run(session)
    config = _settings(base, session)
    scored = (session.annotations.labels() >= 0).any(axis=1)
    starts = np.arange(0, session.n_frames, config.motion.window)
    share = float(np.logical_or.reduceat(scored, starts).mean())  # of windows: the others are not learnt from
    taken = () if base is None else ("fitting the eye", "pretraining")
    parts = [part for part in segmentation(session, config, device) if part.stage not in taken]
    return [
        replace(part, steps=math.ceil(share * part.steps)) if part.stage == "fine-tuning" else part for part in parts
    ]


def latest_report(session: Session) -> dict[str, Any] | None:
    """What the last lesson of a session told; None when there was none."""
    run = next((run for run in kept_runs(session) if run.kind == "behavior"), None)
    return None if run is None else _read_report(run.folder / "model" / "metrics.json")


def _settings(base: KeptRun | None, session: Session) -> Config:
    config = (base and base.config) or Config.preset()
    budget = config.look.budget if base is None or base.budget is None else base.budget
    return config.updated(look={"budget": 0.0 if session.video is None else budget})


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and "scored_frames" in report else None
