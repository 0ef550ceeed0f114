"""What looks over the whole recording and a limit of decoding change: shares looked at and decoded, and macro F1.

Applies a model of behaviors to a session that it was not trained on, once for every budget and way to allot it, and
prints a markdown table. Nothing is written into the session; what is seen is kept in a temporary copy of it, so that
every frame is looked at once.

    python benchmarks/scopes.py MODEL SESSION [--budgets 0.02 0.05 0.25] [--decode 1 0.5 0.25]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_lookagain.decode_cost import decoded_share
from napari_lookagain.metrics import frame_scores
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.predict import predict
from napari_lookagain.progress import drain
from napari_lookagain.session import Session, load_session
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder

Row = tuple[str, float, float, float, float]  # way, budget, looked, decoded, macro F1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("session", type=Path)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.02, 0.05, 0.25])
    parser.add_argument("--decode", type=float, nargs="+", default=[1.0, 0.5, 0.25])
    told = parser.parse_args()
    model, encoder = LookAgain.load(told.model), load_encoder(told.model / "encoder")
    with tempfile.TemporaryDirectory() as folder:
        session = replace(load_session(told.session), path=None)
        session.save(Path(folder) / "copy.lookagain")
        print("| looks | budget | looked at | decoded | macro F1 |\n|---|---|---|---|---|")
        for way, *figures in measure(model, encoder, session, told.budgets, told.decode):
            budget, looked, decoded, f1 = figures
            print(f"| {way} | {budget:g} | {looked:.1%} | {decoded:.0%} | {f1:.3f} |", flush=True)


def measure(
    model: LookAgain, encoder: VisionEncoder, session: Session, budgets: list[float], limits: list[float]
) -> list[Row]:
    """A row for every budget and way to allot it."""
    ways: list[tuple[str, dict]] = [("of every window", {"scope": "window"})]
    for limit in limits:
        named = "of the recording" if limit == 1 else f"of the recording, {limit:.0%} decoded at most"
        ways.append((named, {"scope": "recording", "decode": limit}))
    names = model.card.names
    index = [names.index(name) if name in names else -1 for name in session.annotations.behaviors]
    label = np.array([*index, -1])[session.annotations.labels()]  # the last entry is where −1, unscored, points
    rows = []
    for budget in budgets:
        for way, options in ways:
            ethogram = drain(predict(model, session, encoder, budget=budget, **options, device="cpu"))
            f1 = frame_scores(label, ethogram.label, names)["macro_f1"]
            rows.append((way, budget, float(np.mean(ethogram.looked)), decoded_share(session, ethogram.looked), f1))
    return rows


if __name__ == "__main__":
    main()
