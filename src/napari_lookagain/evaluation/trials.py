"""A trial: one arm of a study on one split with one seed and one share of the labels, kept when it is done."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from napari_lookagain import runs
from napari_lookagain.baselines import method_of
from napari_lookagain.baselines.gated import Gated
from napari_lookagain.baselines.method import Labeler, Method
from napari_lookagain.evaluation.clock import Clock
from napari_lookagain.evaluation.splits import Split, keep_labels
from napari_lookagain.evaluation.study import Arm, Study
from napari_lookagain.material import behavior_labels
from napari_lookagain.metrics import majority_map
from napari_lookagain.progress import Progress
from napari_lookagain.run_folder import write_json
from napari_lookagain.session import Session, load_session
from napari_lookagain.settings import Settings

SHARED = ("features", "motion", "vision", "beast", "pretrain", "training")  # what pretraining and eye depend on


@dataclass(frozen=True)
class Trial:
    """What is trained once, and labels the held-out recordings at every budget.

    Parameters
    ----------
    arm
        Its name in the study.
    split
        Index of the split.
    seed, fraction
        Of the draws, and of the labels that are learnt from.
    """

    arm: str
    split: int
    seed: int
    fraction: float

    def key(self, study: Study) -> str:
        """Name of its folder: another one for an arm of this name with other settings."""
        slug = re.sub(r"\W+", "-", self.arm).strip("-")
        arm = study.arms[self.arm]
        if arm.method == "lookagain":
            settings: Settings = study.config(arm, self.seed)
        else:
            settings = method_of(arm.method, arm.settings).config
        told = [self.arm, arm.method, arm.discover, settings.model_dump()]
        digest = blake2b(str(told).encode(), digest_size=4).hexdigest()
        return f"{slug}-{digest}-split{self.split + 1}-seed{self.seed}-labels{self.fraction:g}"


def trials(study: Study, n_splits: int) -> list[Trial]:
    """All trials of a study: seed by seed and split by split, so that the first results are of all arms.

    All labels come before some of them.
    """
    return [
        Trial(name, split, seed, fraction)
        for seed in study.seeds
        for split in range(n_splits)
        for name, arm in study.arms.items()
        for fraction in sorted(study.fractions if arm.fractions is None else arm.fractions, reverse=True)
    ]


def budgets_of(study: Study, arm: Arm, method: Method, sees: bool) -> tuple[float | None, ...]:
    """At which budgets an arm labels: None for a method that takes none; without videos only 0 is left of them."""
    if not method.takes_budget:
        return (None,)
    asked = study.budgets if arm.budgets is None else arm.budgets
    return tuple(budget for budget in asked if sees or budget == 0)


def told_of(folder: Path) -> dict[str, Any]:
    """What a trial told when it was done; nothing of one that was cut off, for this is written last."""
    path = folder / "told.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return told


def run_trial(
    trial: Trial, study: Study, split: Split, sessions: Sequence[Session], out: Path, device: str = "auto"
) -> Generator[Progress, None, None]:
    """Train an arm on the training part, and keep the ethograms of the test recordings; what is there stays.

    Parameters
    ----------
    sessions
        All recordings of the study, as `out` keeps them.
    out
        Folder of the evaluation; the trial gets ``trials/KEY`` in it, and its model ``models/KEY``.
    """
    arm, key = study.arms[trial.arm], trial.key(study)
    folder = out / "trials" / key
    sees = all(session.video is not None for session in sessions)
    method = open_method(trial, study, out, sees)
    told = told_of(folder)
    there = {own["budget"] for own in told.get("budgets", [])}
    missing = [budget for budget in budgets_of(study, arm, method, sees) if budget not in there]
    if not missing:
        return
    training = [sessions[i] for i in split.train]
    if split.stop is not None:
        training = [load_session(training_folder(out, split.stop))]
    learnt_from = keep_labels(training, trial.fraction, trial.seed)
    spent = 0.0
    if isinstance(method, Gated) and method.pretrained is not None:
        spent = yield from _prepare(method, method.pretrained, training, device)
    begun = time.process_time()
    labeler = yield from method.fit(learnt_from, out / "models" / key, seed=trial.seed, device=device)
    spent += _seconds(out / "models" / key, time.process_time() - begun)
    told = told or {
        "arm": trial.arm,
        "method": arm.method,
        "kind": method.kind,
        "split": trial.split + 1,
        "seed": trial.seed,
        "fraction": trial.fraction,
        "train_seconds": spent,
        "budgets": [],
    }
    for budget in missing:
        clock, looked = Clock(), []
        for i in split.test:
            ethogram = yield from clock.over(labeler.label(sessions[i], budget))
            ethogram.save(folder / budget_folder(budget) / f"{i}.npz")
            looked.append(ethogram.looked)
        own = {
            "budget": budget,
            "clock": asdict(clock),
            "looks": int(sum(each.sum() for each in looked)),
            "looked_share": float(np.mean([each[split.start :].mean() for each in looked])),
        }
        if method.kind == "cluster":
            own |= yield from _mapped(labeler, learnt_from, budget)
        told["budgets"].append(own)
    write_json(folder / "told.json", told)


def budget_folder(budget: float | None) -> str:
    """Where the ethograms of a budget are."""
    return "labels" if budget is None else f"budget-{budget:g}"


def open_method(trial: Trial, study: Study, out: Path, sees: bool) -> Method:
    """The method of a trial; LookAgain takes over what is pretrained once for all arms that pretrain alike."""
    arm = study.arms[trial.arm]
    if arm.method != "lookagain":
        return method_of(arm.method, arm.settings)
    config = study.config(arm, trial.seed)
    if not sees:
        config = config.updated(look={"budget": 0.0})
    if config.pretrain.epochs == 0:
        return Gated(config, discovers=arm.discover)
    told = [getattr(config, name) for name in SHARED]
    digest = blake2b(f"{told} {sees}".encode(), digest_size=4).hexdigest()
    pretrained = out / "models" / f"pretrained-{digest}-split{trial.split + 1}-seed{trial.seed}"
    return Gated(config, discovers=arm.discover, pretrained=pretrained)


def _prepare(method: Gated, folder: Path, training: Sequence[Session], device: str) -> Generator[Progress, None, float]:
    """Pretrain what several trials share, unless it is there; gives the seconds that it took, whoever asked first."""
    begun = time.process_time()
    if not (folder / "weights.safetensors").exists():
        yield from runs.prepare(training, folder, method.config, device=device)
    return _seconds(folder, time.process_time() - begun)


def _seconds(folder: Path, spent: float) -> float:
    """What a training took when it was done; what finding it there takes does not count."""
    note = folder / "seconds.json"
    if not note.exists():
        write_json(note, {"seconds": spent})
    seconds: float = json.loads(note.read_text(encoding="utf-8"))["seconds"]
    return seconds


def labels_of(sessions: Sequence[Session]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Classes (T, A) and their names, as `behavior_labels` gives them; no names where nobody scored a frame."""
    labels = [session.annotations.labels() for session in sessions]
    return behavior_labels(sessions, None) if any((label >= 0).any() for label in labels) else (labels, ())


def training_folder(out: Path, stop: int) -> Path:
    """Where the part of a single recording is that is learnt from."""
    return out / "sessions" / f"first-{stop}.lookagain"


def _mapped(
    labeler: Labeler, training: Sequence[Session], budget: float | None
) -> Generator[Progress, None, dict[str, Any]]:
    """Which behavior every cluster stands for, by majority on the training recordings."""
    truth, names = labels_of(training)
    found = []
    for session in training:
        ethogram = yield from labeler.label(session, budget)
        found.append(ethogram.label)
    mapping = majority_map(found, truth, len(ethogram.names))
    return {"mapping": [names[i] if i >= 0 else None for i in mapping]}
