"""A behavior that only pixels show: wing extension of courting flies, from keypoints without wings and legs.

The male sings by extending one wing. The label comes from the wing keypoints: the angle at the thorax between
(wing tip − thorax) and (abdomen − head), the larger of the two wings, over 30°. The model gets head, thorax, abdomen
and eyes alone. The first two thirds of the recording train (pretraining and the eye's principal components included),
the last third is held out. Writes one row a model, budget and seed, and prints the table of ``docs/results.md``.

    python benchmarks/wing_extension.py flies.analysis.h5 flies.mp4 --out wing.csv --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from napari_lookagain import runs
from napari_lookagain.annotations import Annotations
from napari_lookagain.config import Config
from napari_lookagain.features import MotionFeatures
from napari_lookagain.formats.pose import read_pose
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.predict import predict
from napari_lookagain.progress import drain
from napari_lookagain.session import Session, load_session, new_session
from napari_lookagain.vision.encoder import load_encoder
from napari_lookagain.vision.look import see

KEYPOINTS = ("head", "thorax", "abdomen", "eyeL", "eyeR")
BUDGETS = (0.0, 0.02, 0.05, 0.25, 1.0)
NAMES = ("background", "wing extension")
PAPER: dict[str, dict[str, Any]] = {
    "features": {"frame": "arena", "pace_window": 0.0},
    "look": {"select": "topk", "fill": "zero", "noise": "paper", "vary_budget": 0.0},
    "vision": {"crop": "plain", "crop_scale": 4.0},
    "pretrain": {"recon_weight": 0.1},
    "finetune": {"motion_dropout": 0.0, "correct_prior": False},
}
FROZEN = {"learn_motion": False}  # so that all variants read the same motion, as in the paper
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "ours": {},
    "no window held out": {"training": {"validation_share": 0.0}},
    "crop of 4 body lengths": {"vision": {"crop_scale": 4.0}},
    "no pace": {"features": {"pace_window": 0.0}},
    "reconstruction as in the paper": {"pretrain": {"recon_weight": 0.1}},
    "the paper's forms throughout": PAPER,
    "arena coordinates": {"features": {"frame": "arena"}},
    "crops not turned": {"vision": {"crop": "plain"}},
    "top-k": {"look": {"select": "topk"}},
    "zeros at unseen frames": {"look": {"fill": "zero"}},
    "noise of Eq. 16": {"look": {"noise": "paper"}},
    "one budget in training": {"look": {"vary_budget": 0.0}},
    "motion always given": {"finetune": {"motion_dropout": 0.0}},
    "class weights kept": {"finetune": {"correct_prior": False}},
    "motion learns on": {"training": {"validation_share": 0.0}, "finetune": {"learn_motion": True}},
}


def wing_extension(pose: Path) -> np.ndarray:
    """(T, A) 1 where a wing is extended, 0 where not, −1 where no wing or no axis is seen."""
    data = read_pose(pose)
    point = {name: data.keypoints[:, :, i] for i, name in enumerate(data.keypoint_names)}
    axis = point["abdomen"] - point["head"]
    angles = []
    for wing in ("wingL", "wingR"):
        arm = point[wing] - point["thorax"]
        cosine = (arm * axis).sum(-1) / (np.linalg.norm(arm, axis=-1) * np.linalg.norm(axis, axis=-1))
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        widest = np.nanmax(angles, axis=0)
    return np.where(np.isnan(widest), -1, widest > 30).astype(np.int16)


def part(whole: Session, stop: int, label: np.ndarray, folder: Path) -> Session:
    """The first frames of a session, scored."""
    session = replace(
        whole,
        keypoints=whole.keypoints[:stop],
        confidence=whole.confidence[:stop],
        annotations=Annotations(stop, whole.animals),
        path=None,
        edited=None,
    )
    session.annotations.set_frames(label[:stop], NAMES)
    session.save(folder)
    return load_session(folder)


def scores(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """F1 and average precision of the scored held-out frames."""
    scored = label >= 0
    told = probability[scored]
    return {"f1": f1_score(label[scored], told > 0.5), "ap": average_precision_score(label[scored], told)}


def references(
    train: Session, test: Session, label: np.ndarray, encoder_folder: Path, config: Config
) -> list[dict[str, Any]]:
    """What simple classifiers reach: boosted trees on keypoints in one-second windows; PCA crops of every frame."""
    stop = train.n_frames
    motion = MotionFeatures(test, config.features)(0, test.n_frames).swapaxes(0, 1)  # (T, A, N)
    frame = pd.DataFrame(motion.reshape(len(motion), -1))
    around = [frame.rolling(25, center=True, min_periods=1).agg(how) for how in ("mean", "std", "min", "max")]
    wide = np.concatenate([frame.to_numpy(), *(table.fillna(0).to_numpy() for table in around)], -1)
    wide = (
        wide.reshape(len(motion), 5, test.n_animals, -1).transpose(0, 2, 1, 3).reshape(len(motion), test.n_animals, -1)
    )
    everything = np.ones((test.n_frames, test.n_animals), bool)
    seen = drain(see(test, load_encoder(encoder_folder), config, everything))
    crops = seen.read(np.argwhere(everything)).reshape(*everything.shape, -1)
    rows = []
    scored = label[:stop] >= 0
    for name, x, model in (
        ("keypoints, boosted trees", wide, HistGradientBoostingClassifier(random_state=0)),
        ("crops of every frame, logistic regression", crops, LogisticRegression(C=10, max_iter=3000)),
    ):
        model.fit(x[:stop][scored], label[:stop][scored])
        told = model.predict_proba(x[stop:].reshape(-1, x.shape[-1]))[:, 1].reshape(label[stop:].shape)
        rows.append({"model": name, "looks": "", "budget": np.nan, "seed": 0, **scores(label[stop:], told)})
    return rows


def evaluate(model: Path, test: Session, label: np.ndarray, stop: int) -> list[dict[str, Any]]:
    """Held-out scores of a model at every budget, looks chosen by its own rule and on a regular grid."""
    loaded, eye = LookAgain.load(model), load_encoder(model / "encoder")
    own, rows = loaded.config, []
    for select in (own.look.select, "grid"):
        loaded.config = own.updated(look={"select": select})
        for budget in BUDGETS if select != "grid" else BUDGETS[1:-1]:
            ethogram = drain(predict(loaded, test, eye, budget=budget))
            wing = ethogram.names.index(NAMES[1])
            told = scores(label[stop:], ethogram.probabilities[stop:, :, wing].astype(float))
            rows.append({"looks": "grid" if select == "grid" else "gate", "budget": budget, **told})
    return rows


def main() -> None:
    """Train every variant with every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pose", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("wing_extension.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--work", type=Path, help="Folder for sessions and models; a temporary one by default.")
    parser.add_argument("--session", type=Path, help="Only write the scored session here, for lookagain evaluate.")
    told = parser.parse_args()
    work = told.work or Path(tempfile.mkdtemp())
    label = wing_extension(told.pose)
    stop = len(label) * 2 // 3
    whole = new_session(told.pose, told.video, keypoints=KEYPOINTS)
    if told.session is not None:
        part(whole, len(label), label, told.session)
        return
    whole.save(work / "whole.lookagain")
    train = part(whole, stop, label, work / "train.lookagain")
    rows: list[dict[str, Any]] = []
    for seed in told.seeds:
        for name in told.variants:
            begun = time.perf_counter()
            config = Config.preset("quick", training={"seed": seed}, finetune=FROZEN).updated(**VARIANTS[name])
            same_eyes = not VARIANTS[name].keys() & {"features", "vision", "pretrain", "training"}
            out = work / f"{name}-{seed}"
            base = work / f"ours-{seed}" if same_eyes and name != "ours" else None
            drain(runs.train([train], out, config, pretrained=base))
            if not rows and name == "ours":
                rows += references(train, whole, label, out / "encoder", config)
            minutes = (time.perf_counter() - begun) / 60
            rows += [
                {"model": name, "seed": seed, "minutes": minutes, **row} for row in evaluate(out, whole, label, stop)
            ]
            pd.DataFrame(rows).to_csv(told.out, index=False)
            print(pd.DataFrame(rows[-8:]).round(3).to_string(), flush=True)
    table = pd.DataFrame(rows)
    for measure in ("f1", "ap"):
        wide = table.pivot_table(measure, ["model", "looks"], "budget", aggfunc=["mean", "std"], sort=False).round(2)
        print(f"\n{measure}\n{wide.to_string()}")


if __name__ == "__main__":
    main()
