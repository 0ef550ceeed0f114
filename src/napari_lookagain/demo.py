"""The demonstration: recordings with known behavior, from pixels to a report, with nothing downloaded."""

from __future__ import annotations

import json
from collections.abc import Generator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from napari_lookagain import runs
from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.files import atomic_path
from napari_lookagain.formats.tables import frames_table, write_table
from napari_lookagain.material import behavior_labels
from napari_lookagain.metrics import frame_scores, majority_map
from napari_lookagain.pictures.ethogram import ethogram_picture
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.simulate import simulate_session

BUDGET = 0.25
SEEN, UNSEEN = ("seen-1", "seen-2", "seen-3"), "unseen"
SHORT: dict[str, Any] = {"pretrain": {"epochs": 25}, "finetune": {"epochs": 40, "clusters": 8}}  # minutes, not hours


def run_demo(out: Path, *, seed: int = 0, device: str = "auto") -> Generator[Progress, None, dict[str, Any]]:
    """Simulate four recordings, discover clusters in all, train on three, predict the fourth, and report.

    The motion encoder is pretrained once, without labels, on all four; clusters and behaviors are both read from it.

    Parameters
    ----------
    out
        Folder that gets the sessions, the model, ``ethogram.csv``, ``metrics.json`` and ``ethogram.png``, the last
        three of the recording that no label was learnt from. ``demo.json`` in it notes the seed.
    seed
        Of the recordings and of the training.

    Raises
    ------
    InputError
        When `out` holds something else than a demonstration with this seed.
    """
    _claim(out, seed)
    sessions: list[Session] = []
    for i, name in enumerate((*SEEN, UNSEEN)):
        yield Progress(i, len(SEEN) + 1, "simulating")
        sessions.append(_simulated(out, name, (len(SEEN) + 1) * seed + i))
    unseen = sessions[-1]
    config = Config.preset("quick", training={"seed": seed}, look={"budget": BUDGET}, **SHORT)
    discovery = runs.free_name(sessions, "segment")
    clusters = yield from runs.segment(sessions, config, run=discovery, device=device)
    models = (out / f"model-{number}" for number in count(1))
    model = next(each for each in models if not (each / "weights.safetensors").exists())  # one cut off is resumed
    pretrained = sessions[0].run_folder(discovery) / "model"
    yield from runs.train(sessions[:-1], model, config, pretrained=pretrained, device=device)
    predicted: dict[float, Ethogram] = {}
    for budget in (0.0, BUDGET):
        name = runs.free_name([unseen], f"predict-{budget:g}")
        predicted[budget] = (yield from runs.predict_all(model, [unseen], budget=budget, run=name, device=device))[0]
    report = _report(sessions, clusters, predicted)
    with atomic_path(out / "metrics.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    write_table(frames_table(predicted[BUDGET], clusters[-1]), out / "ethogram.csv")
    truth = unseen.annotations
    ethogram_picture(
        out / "ethogram.png",
        behavior=predicted[BUDGET],
        clusters=clusters[-1],
        truth=(truth.labels(), truth.behaviors),
        title="A simulated recording that no label was learnt from",
    )
    return {"folder": str(out), **report["summary"]}


def _claim(out: Path, seed: int) -> None:
    """Note in a new folder whose demonstration it is, before anything else: one that was cut off is known by it."""
    note, own = out / "demo.json", json.dumps({"seed": seed})
    if not note.exists():
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} is not empty; choose another folder with --out.")
        with atomic_path(note) as path:
            path.write_text(own, encoding="utf-8")
    found = note.read_text(encoding="utf-8", errors="replace")
    if found != own:
        raise InputError(
            f"{out} holds the demonstration {found}, but {own} was asked for; choose another folder with --out."
        )


def _simulated(out: Path, name: str, seed: int) -> Session:
    """A simulated session, or the one that an earlier demonstration left."""
    from napari_lookagain.session import load_session

    folder = out / f"{name}.lookagain"
    if folder.is_dir():
        return load_session(folder)
    session = simulate_session(out / "recordings", seed=seed, name=name)
    session.save(folder)
    return session


def _report(sessions: list[Session], clusters: list[Ethogram], predicted: dict[float, Ethogram]) -> dict[str, Any]:
    """F1 of predicted behavior by budget, and of clusters, mapped to behaviors on the other recordings."""
    truth, names = behavior_labels(sessions, None)
    by_budget = {}
    for budget, ethogram in predicted.items():
        index = np.array([names.index(name) for name in ethogram.names])
        by_budget[f"{budget:g}"] = frame_scores(truth[-1].ravel(), index[ethogram.label].ravel(), names)
    seen = np.concatenate([ethogram.label.ravel() for ethogram in clusters[:-1]])
    mapping = majority_map(seen, np.concatenate([each.ravel() for each in truth[:-1]]), len(clusters[0].names))
    found = frame_scores(truth[-1].ravel(), mapping[clusters[-1].label].ravel(), names)
    looked = predicted[BUDGET].looked.mean()
    summary = {
        "looked_share": round(float(looked), 4),
        "macro_f1_budget_0": round(by_budget["0"]["macro_f1"], 3),
        f"macro_f1_budget_{BUDGET:g}": round(by_budget[f"{BUDGET:g}"]["macro_f1"], 3),
        "macro_f1_clusters": round(found["macro_f1"], 3),
    }
    return {"summary": summary, "behavior_by_budget": by_budget, "clusters": found}
