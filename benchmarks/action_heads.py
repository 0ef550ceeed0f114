"""Action segmentation heads on a behavior that only pixels show: wing extension of courting flies.

The recording, the label, the keypoints that are given and the frames that are held out are those of
``wing_extension.py``; here every frame is read. Writes one row a head, a choice of features and a seed, and prints the
table of ``docs/results.md``.

    python benchmarks/action_heads.py flies.analysis.h5 flies.mp4 --out heads.csv --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from wing_extension import KEYPOINTS, NAMES, part, scores, wing_extension

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.eyes import load_eyes
from napari_lookagain.actions.jobs import train_actions
from napari_lookagain.actions.model import ActionModel
from napari_lookagain.actions.prediction import predict_actions
from napari_lookagain.progress import drain
from napari_lookagain.session import new_session


def main() -> None:
    """Train every head on every choice of features with every seed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pose", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("action_heads.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--features", nargs="+", default=["keypoints", "pca", "keypoints,pca"])
    parser.add_argument("--heads", nargs="+", default=["linear", "tcn"])
    parser.add_argument("--encoder", default="", help="For mean, cls and patches.")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--work", type=Path, help="Folder for sessions and models; a temporary one by default.")
    told = parser.parse_args()
    work = told.work or Path(tempfile.mkdtemp())
    label = wing_extension(told.pose)
    stop = len(label) * 2 // 3
    whole = new_session(told.pose, told.video, keypoints=KEYPOINTS)
    whole.save(work / "whole.lookagain")
    train = part(whole, stop, label, work / "train.lookagain")
    rows: list[dict[str, Any]] = []
    for features in told.features:
        for kind in told.heads:
            for share in (0.1, 0.0):
                for seed in told.seeds:
                    out = work / f"{kind}-{features}-{share}-{seed}"
                    config = ActionConfig.preset(
                        told.preset,
                        head={"kind": kind, "reads": features.split(",")},
                        vision={"encoder": told.encoder},
                        training={"seed": seed, "validation_share": share},
                    )
                    begun = time.process_time()
                    drain(train_actions([train], out, config))
                    seconds = time.process_time() - begun
                    model = ActionModel.load(out)
                    ethogram = drain(predict_actions(model, whole, load_eyes(out, model.config, "auto")))
                    wing = ethogram.probabilities[stop:, :, ethogram.names.index(NAMES[1])].astype(float)
                    row = {"features": features, "head": kind, "held_out": share, "seed": seed, "seconds": seconds}
                    rows.append(row | scores(label[stop:], wing))
                    pd.DataFrame(rows).to_csv(told.out, index=False)
                    print(rows[-1], flush=True)
    table = pd.DataFrame(rows).groupby(["features", "head", "held_out"], sort=False)[["f1", "ap", "seconds"]]
    print(table.agg(["mean", "std"]).round(2).to_string())


if __name__ == "__main__":
    main()
