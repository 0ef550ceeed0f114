"""What an eye pretrained on the lab's own video is worth: PCA, ViT without pretraining, ViT-M, ViT-C and BEAST.

Every eye sees the same crops. One motion encoder a seed is pretrained, with the PCA eye, and kept: eyes differ only in
what looks tell, and a head is trained on top of each. All windows of the training part are learnt from; the test part
is seen by nothing before it is predicted. Writes a row for each eye, budget and seed, and prints the tables of
``docs/results.md``.

    python benchmarks/eyes.py wings flies.analysis.h5 flies.mp4 --out wings.csv      wing extension, held out in time
    python benchmarks/eyes.py mice --out mice.csv                                    the simulated recordings
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, f1_score
from wing_extension import FROZEN, KEYPOINTS, NAMES, part, wing_extension

from napari_lookagain.config import Config
from napari_lookagain.eyes.pretraining import pretrain_eye
from napari_lookagain.material import behavior_labels, gather
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.predict import predict
from napari_lookagain.progress import drain
from napari_lookagain.session import Session, new_session
from napari_lookagain.simulate import simulate_session
from napari_lookagain.train import finetune, pretrain

BUDGETS = (0.25, 1.0)
FEW: dict[str, Any] = {"beast": {"anchors": 600, "epochs": 60}}  # as the preset
SHORT: dict[str, Any] = {  # as the demo
    "pretrain": {"epochs": 25},
    "finetune": {"epochs": 40},
    "beast": {"anchors": 200, "epochs": 60},
}
MANY: dict[str, Any] = {"anchors": 1500, "epochs": 80}
EYES: dict[str, dict[str, dict[str, Any]]] = {
    "pca": {"vision": {"encoder": "pca"}},
    "ViT, not pretrained": {"beast": {"epochs": 1, "learning_rate": 1e-30}},  # as the others, but nothing is learnt
    "ViT-M": {"beast": {"contrast_weight": 0.0}},
    "ViT-C": {"beast": {"reconstruct_weight": 0.0}},
    "BEAST": {},
    "BEAST, random frames": {"beast": {"select": "random"}},
    "BEAST, attention": {"vision": {"pooling": "attention"}},
    "BEAST, 1500 anchors": {"beast": MANY},
    "BEAST, 1500 anchors, attention": {"beast": MANY, "vision": {"pooling": "attention"}},
}


@dataclass(frozen=True)
class Task:
    """Sessions to learn from and to predict, their first frame that counts, the behaviors that count, and settings."""

    train: list[Session]
    test: list[Session]
    first: int
    counted: tuple[str, ...]
    settings: dict[str, Any]


def wings(pose: Path, video: Path, work: Path) -> Task:
    """The first two thirds of the flies train, the last third is predicted."""
    label = wing_extension(pose)
    whole = new_session(pose, video, keypoints=KEYPOINTS)
    whole.annotations.set_frames(label, NAMES)
    whole.save(work / "whole.lookagain")
    stop = len(label) * 2 // 3
    return Task([part(whole, stop, label, work / "train.lookagain")], [whole], stop, NAMES[1:], FEW)


def mice(work: Path) -> Task:
    """Three simulated recordings train, a fourth is predicted; two of its behaviors show in pixels alone."""
    sessions = []
    for i in range(4):
        session = simulate_session(work / "recordings", seed=i, name=f"mice-{i}")
        session.save(work / f"mice-{i}.lookagain")
        sessions.append(session)
    return Task(sessions[:3], sessions[3:], 0, ("walk", "groom", "rest", "tail_raise", "feed"), SHORT)


def eye_of(name: str, task: Task, config: Config, folder: Path) -> tuple[str, float]:
    """Where an eye is, pretrained on the training sessions if need be, and the minutes that took."""
    if name == "pca":
        return "pca", 0.0
    if not (folder / "encoder.json").exists():
        begun = time.process_time()
        drain(pretrain_eye(task.train, config, folder))
        return str(folder), (time.process_time() - begun) / 60
    return str(folder), float("nan")


def trained(task: Task, config: Config, base: LookAgain | None) -> tuple[LookAgain, Any]:
    """A model with a behavior head; its motion encoder is that of `base`, or pretrained when there is none."""
    behavior, names = behavior_labels(task.train, None)
    material = drain(gather(task.train, config, behavior=behavior))
    first = task.train[0]
    torch.manual_seed(config.training.seed)
    features = material.batches.recordings[0].features
    model = LookAgain(
        ModelCard(
            keypoint_names=first.keypoint_names,
            n_coords=first.n_coords,
            n_features=features.width,
            n_neighbors=features.n_neighbors,
            visual_width=material.visual_width,
            kind="behavior",
            names=names,
            n_patches=material.n_patches,
        ),
        material.config,
    )
    if base is None:
        drain(pretrain(model, material.batches, material.windows))
    else:
        model.motion_encoder.load_state_dict(base.motion_encoder.state_dict())
    drain(finetune(model, material.batches, material.fine_windows))
    return model, material.encoder


def scores(task: Task, model: LookAgain, encoder: Any, budget: float) -> dict[str, float]:
    """F1 and average precision of the behaviors that count, on the frames that were held out, and their means."""
    out: dict[str, float] = {}
    truth, told = [], []
    for session in task.test:
        ethogram = drain(predict(model, session, encoder, budget=budget))
        label = session.annotations.labels()[task.first :]
        names = (*session.annotations.behaviors, "")
        truth.append(np.array(names)[label].ravel())
        told.append(ethogram.probabilities[task.first :].reshape(-1, len(ethogram.names)).astype(float))
    known, probability = np.concatenate(truth), np.concatenate(told)
    scored = known != ""
    best = np.array(model.card.names)[probability.argmax(1)]
    for name in task.counted:
        own = known[scored] == name
        out[f"F1 {name}"] = f1_score(own, best[scored] == name)
        out[f"AP {name}"] = average_precision_score(own, probability[scored, model.card.names.index(name)])
    for measure in ("F1", "AP"):
        out[measure] = float(np.mean([out[f"{measure} {name}"] for name in task.counted]))
    return out


def compare(task: Task, seeds: Sequence[int], eyes: Sequence[str], out: Path, work: Path) -> pd.DataFrame:
    """A row for each eye, budget and seed, written as they come."""
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        plain = Config.preset("quick", training={"seed": seed, "validation_share": 0.0}, finetune=FROZEN)
        plain = plain.updated(**task.settings)
        base, _ = trained(task, plain, None)
        for name in eyes:
            config = plain.updated(**EYES[name])
            own = name.removesuffix(", attention")
            folder, minutes = eye_of(own, task, config, work / f"{own}-{seed}")
            model, encoder = trained(task, config.updated(vision={"encoder": folder}), base)
            for budget in BUDGETS:
                told = scores(task, model, encoder, budget)
                rows.append({"eye": name, "seed": seed, "budget": budget, "minutes": minutes, **told})
            pd.DataFrame(rows).to_csv(out, index=False)
            print(pd.DataFrame(rows[-len(BUDGETS) :]).round(3).to_string(), flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    """Compare the eyes on one task and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("wings", "mice"))
    parser.add_argument("files", type=Path, nargs="*", help="For wings: the pose file and the video.")
    parser.add_argument("--out", type=Path, default=Path("eyes.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--eyes", nargs="+", default=list(EYES))
    parser.add_argument("--work", type=Path, help="Folder for sessions and eyes; a temporary one by default.")
    told = parser.parse_args()
    work = told.work or Path(tempfile.mkdtemp())
    make: dict[str, Callable[[], Task]] = {"wings": lambda: wings(*told.files, work), "mice": lambda: mice(work)}
    table = compare(make[told.task](), told.seeds, told.eyes, told.out, work)
    measures = [column for column in table if column.startswith(("F1", "AP"))]
    summary = table.groupby(["eye", "budget"], sort=False)[measures].agg(["mean", "std"]).round(2)
    print(summary.to_string())


if __name__ == "__main__":
    main()
