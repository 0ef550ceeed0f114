"""Memory and speed of `predict` on recordings of 1, 4 and 16 times a length: neither may depend on it.

    python benchmarks/long_recordings.py [--minutes 20] [--animals 3] [--out FOLDER]

Keypoints walk at random; the model has the sizes of the quick preset and random weights. Every length is predicted in a
process of its own, without looks. Two peaks are told: of all resident memory, in which the system also counts what it
keeps of mapped files as long as nobody else needs the room, and of the memory that belongs to the process alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FPS, KEYPOINTS = 30, tuple(f"keypoint {i + 1}" for i in range(12))
CLASSES = tuple(f"behavior {i + 1}" for i in range(8))


def make_session(folder: Path, n_frames: int, n_animals: int) -> None:
    """Save a session of animals that walk at random, some keypoints missing."""
    from napari_lookagain.annotations import Annotations
    from napari_lookagain.session import Session
    from napari_lookagain.sources import PoseSource

    rng = np.random.default_rng(0)
    animals = tuple(f"animal {i + 1}" for i in range(n_animals))
    shape = (n_frames, n_animals, len(KEYPOINTS))
    body = np.linspace(-30, 30, len(KEYPOINTS))[:, None] * (1.0, 0.3)
    keypoints = rng.normal(0, 2, (*shape, 2)).astype(np.float32)
    keypoints += np.cumsum(rng.normal(0, 1, (n_frames, n_animals, 1, 2)), 0).astype(np.float32) + body.astype(
        np.float32
    )
    confidence = rng.uniform(0.2, 1, shape).astype(np.float32)
    missing = rng.random(shape) < 0.02
    keypoints[missing], confidence[missing] = np.nan, 0
    session = Session(
        recording=folder.stem,
        keypoints=keypoints,
        confidence=confidence,
        animals=animals,
        keypoint_names=KEYPOINTS,
        fps=FPS,
        heading=(KEYPOINTS[0], KEYPOINTS[-1]),
        pose=PoseSource(str(folder.with_suffix(".csv")), "random walk", ""),
        video=None,
        annotations=Annotations(n_frames, animals),
    )
    session.save(folder)


def make_model(folder: Path, session_folder: Path) -> None:
    """Save a model of random weights that knows these keypoints; its codebooks start at some of them."""
    import torch

    from napari_lookagain.batches import Batches, Recording
    from napari_lookagain.config import Config
    from napari_lookagain.features import MotionFeatures
    from napari_lookagain.model.lookagain import LookAgain, ModelCard
    from napari_lookagain.session import load_session
    from napari_lookagain.windows import sliding_windows

    torch.manual_seed(0)
    session, config = load_session(session_folder), Config.preset("quick")
    features = MotionFeatures(session, config.features)
    model = LookAgain(ModelCard(KEYPOINTS, 2, features.width, features.n_neighbors, 64, "behavior", CLASSES), config)
    batches = Batches([Recording(features, session.n_frames, session.n_animals)], config.motion.window, 0)
    batch = batches(sliding_windows(session.n_frames, config.motion.window)[:8])
    with torch.no_grad():
        model.train().motion_encoder(batch.motion, batch.valid)
    model.eval().save(folder)


def resident() -> dict[str, float]:
    """Megabytes of this process: now its own ("RssAnon"), and the most of all ("VmHWM")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(told[name].split()[0]) / 1024 for name in ("RssAnon", "VmHWM")}


def measure(model_folder: Path, session_folder: Path) -> dict[str, float]:
    """Predict one session without looks, save its ethogram, and tell memory and time."""
    import torch

    from napari_lookagain.model.lookagain import LookAgain
    from napari_lookagain.predict import predict
    from napari_lookagain.session import load_session

    torch.set_num_threads(1)
    session = load_session(session_folder)
    work = predict(LookAgain.load(model_folder), session, budget=0, device="cpu")
    own, loaded = 0.0, resident()["RssAnon"]
    clocks: dict[str, list[tuple[float, float, int]]] = {}
    try:
        while True:
            told = next(work)
            own = max(own, resident()["RssAnon"])
            clocks.setdefault(told.stage, []).append((time.process_time(), time.perf_counter(), told.done))
    except StopIteration as end:
        end.value.save(session_folder / "ethogram.npz")
    own = max(own, resident()["RssAnon"])
    figures = {"frames": session.n_frames, "loaded_mb": loaded, "own_mb": own, "peak_mb": resident()["VmHWM"]}
    for stage, name in (("reading motion", "motion"), ("reading behavior", "head")):
        (cpu, wall, first), (cpu_end, wall_end, last) = clocks[stage][0], clocks[stage][-1]
        looked_at = session.n_animals * (last - first)
        figures[f"{name}_frames_per_cpu_s"] = looked_at / (cpu_end - cpu)
        figures[f"{name}_frames_per_s"] = looked_at / (wall_end - wall)
    return figures


def main() -> None:
    """Measure all lengths, each in a process of its own, and print a table and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="the shortest length")
    parser.add_argument("--animals", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for long_recordings.json")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 4, 16):
            session = Path(folder) / f"walk{times}.lookagain"
            make_session(session, round(times * options.minutes * 60 * FPS), options.animals)
            if times == 1:
                make_model(Path(folder) / "model", session)
            command = [sys.executable, __file__, "--measure", str(Path(folder) / "model"), str(session)]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print("  ".join(f"{name} {value:,.0f}" for name, value in found[-1].items()), flush=True)
    hours = [each["frames"] / FPS / 3600 for each in found]
    for name in ("own_mb", "peak_mb"):
        values = [each[name] for each in found]
        slope = np.polyfit(hours, values, 1)[0]
        print(f"{name}: {slope:.2f} MB an hour of video; longest to shortest {values[-1] / values[0]:.3f}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "long_recordings.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
