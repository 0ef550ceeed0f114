"""Memory and speed of `predict` on recordings of 1, 4 and 16 times a length: neither may depend on it.

    python benchmarks/long_recordings.py [--minutes 20] [--times 1 4 16] [--animals 3] [--looks 0.01] [--out FOLDER]

Keypoints walk at random; the model has the sizes of the quick preset and random weights. Every length is predicted in a
process of its own, without looks unless `--looks` says at which share of the frames. Then there is a video as long as
the recording, a short simulated clip repeated packet by packet, and a tiny BEAST of random weights looks at it.

Two peaks are told: of all resident memory, in which the system also counts what it keeps of mapped files as long as
nobody else needs the room, and of the memory that belongs to the process alone. Files lie in the folder of `--out`
while it runs, which takes about 4 GB for ten hours of three animals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from napari_lookagain.session import Session

FPS, KEYPOINTS = 30, tuple(f"keypoint {i + 1}" for i in range(12))
CLASSES = tuple(f"behavior {i + 1}" for i in range(8))
CLIP, SIZE = 600, (480, 360)  # frames that are drawn at most, and pixels of the picture the animals walk about in
COUNTED = 10 * 60 * FPS  # frames of which it is told how many are decoded
STAGES = {
    "reading motion": "motion_frames",
    "looking at the video": "look_images",
    "reading behavior": "head_frames",
}
SHOWN = {
    "frames": ("frames", ",.0f"),
    "own_mb": ("own memory, MB", ",.0f"),
    "peak_mb": ("all memory, MB", ",.0f"),
    "motion_frames_per_s": ("motion, frames of animals/s", ",.0f"),
    "look_images_per_s": ("looks/s", ",.0f"),
    "head_frames_per_s": ("head, frames of animals/s", ",.0f"),
    "frames_per_s": ("all, frames/s", ",.0f"),
    "looked": ("looked at", ".1%"),
    "decoded": ("decoded", ".0%"),
}


def make_session(folder: Path, n_frames: int, n_animals: int, clip: Path | None = None) -> None:
    """Save a session of animals that walk at random, some keypoints missing, with a clip repeated as its video."""
    from napari_lookagain.annotations import Annotations
    from napari_lookagain.session import Session
    from napari_lookagain.sources import PoseSource, read_video_source

    rng = np.random.default_rng(0)
    animals = tuple(f"animal {i + 1}" for i in range(n_animals))
    shape = (n_frames, n_animals, len(KEYPOINTS))
    body = np.linspace(-30, 30, len(KEYPOINTS), dtype=np.float32)[:, None] * np.float32([1.0, 0.3])
    keypoints = rng.normal(0, 2, (*shape, 2)).astype(np.float32)
    walked = np.cumsum(rng.normal(0, 1, (n_frames, n_animals, 1, 2)), 0)
    keypoints += np.abs(walked % np.multiply(2, SIZE) - SIZE).astype(np.float32) + body  # it turns at the edges
    confidence = rng.uniform(0.2, 1, shape).astype(np.float32)
    missing = rng.random(shape) < 0.02
    keypoints[missing], confidence[missing] = np.nan, 0
    video = None if clip is None else repeat(clip, folder.with_suffix(".mp4"), n_frames)
    session = Session(
        recording=folder.stem,
        keypoints=keypoints,
        confidence=confidence,
        animals=animals,
        keypoint_names=KEYPOINTS,
        fps=FPS,
        heading=(KEYPOINTS[0], KEYPOINTS[-1]),
        pose=PoseSource(str(folder.with_suffix(".csv")), "random walk", ""),
        video=None if video is None else read_video_source(video),
        annotations=Annotations(n_frames, animals),
    )
    session.save(folder)


def repeat(clip: Path, path: Path, n_frames: int) -> Path:
    """Write a video of at least so many frames: the packets of a clip again and again, each time later."""
    with av.open(str(path), "w") as long, av.open(str(clip)) as short:
        source = short.streams.video[0]
        stream = long.add_stream_from_template(source)
        assert source.duration is not None
        for time_no in range(ceil(n_frames / source.frames)):
            short.seek(0)
            for packet in short.demux(source):
                if packet.pts is None or packet.dts is None:  # the last one, which is empty
                    continue
                packet.pts += time_no * source.duration
                packet.dts += time_no * source.duration
                packet.stream = stream
                long.mux(packet)
    return path


def make_model(folder: Path, session_folder: Path, seen_width: int) -> None:
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
    card = ModelCard(KEYPOINTS, 2, features.width, features.n_neighbors, seen_width, "behavior", CLASSES)
    model = LookAgain(card, config)
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


@contextmanager
def watched() -> Iterator[list[float]]:
    """Give a list that holds the most megabytes of its own that this process has had inside, seen every 20 ms."""
    most, done = [resident()["RssAnon"]], Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], resident()["RssAnon"])

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def measure(folder: Path, session_folder: Path, looks: float) -> dict[str, float]:
    """Predict one session, save its ethogram, and tell memory and time."""
    import torch

    from napari_lookagain.model.lookagain import LookAgain
    from napari_lookagain.predict import predict
    from napari_lookagain.session import load_session
    from napari_lookagain.vision.encoder import load_encoder

    torch.set_num_threads(1)
    session = load_session(session_folder)
    eye = load_encoder(folder / "eye") if looks else None
    work = predict(LookAgain.load(folder / "model"), session, eye, budget=looks, device="cpu")
    loaded, begun = resident()["RssAnon"], time.perf_counter()
    clocks: dict[str, list[tuple[float, float, int]]] = {}
    with watched() as most:
        try:
            while True:
                told = next(work)
                clocks.setdefault(told.stage, []).append((time.process_time(), time.perf_counter(), told.done))
        except StopIteration as end:
            ethogram = end.value
            ethogram.save(session_folder / "ethogram.npz")
    figures = {
        "frames": session.n_frames,
        "frames_per_s": session.n_frames / (time.perf_counter() - begun),
        "loaded_mb": loaded,
        "own_mb": most[0],
        "peak_mb": resident()["VmHWM"],
        "looked": float(ethogram.looked.mean()),
    }
    for stage in STAGES.keys() & clocks.keys():
        (cpu, wall, first), (cpu_end, wall_end, last) = clocks[stage][0], clocks[stage][-1]
        name = STAGES[stage]
        count = (last - first) * (1 if name == "look_images" else session.n_animals)  # images are counted one by one
        figures[f"{name}_per_cpu_s"] = count / max(cpu_end - cpu, 1e-9)
        figures[f"{name}_per_s"] = count / max(wall_end - wall, 1e-9)
    return figures | ({"decoded": decoded(session, ethogram.looked[:COUNTED])} if looks else {})


def decoded(session: Session, looked: np.ndarray) -> float:
    """Share of the first frames that is decoded for the looks at them, (T, A)."""
    with session.open_video() as video:
        for _ in video.frames(np.flatnonzero(looked.any(1)), grey=True, view=True):
            pass
        return video.decoded / len(looked)


def main() -> None:
    """Measure all lengths, each in a process of its own, and print a table and the slopes."""
    options = _options()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.looks)))
        return
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    found = []
    with tempfile.TemporaryDirectory(dir=options.out) as name:
        folder, n_frames = Path(name), round(min(options.times) * options.minutes * 60 * FPS)
        clip, seen_width = _clip_and_eye(folder, n_frames) if options.looks else (None, 64)
        for times in options.times:
            session = folder / f"walk{times:g}.lookagain"
            make_session(session, round(times * options.minutes * 60 * FPS), options.animals, clip)
            if not found:
                make_model(folder / "model", session, seen_width)
            command = [sys.executable, __file__, "--measure", str(folder), str(session), "--looks", str(options.looks)]
            found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
            print("\n".join(table(found)[-1 if len(found) > 1 else 0 :]), flush=True)
    print("\n" + "\n".join(slopes(found)))
    if options.out:
        (options.out / "long_recordings.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def table(found: list[dict[str, float]]) -> list[str]:
    """Head and rows, one a length, in markdown."""
    shown = {name: told for name, told in SHOWN.items() if name in found[0]}
    out = [f"| {' | '.join(title for title, _ in shown.values())} |", f"|{'---|' * len(shown)}"]
    return out + [f"| {' | '.join(format(row[name], how) for name, (_, how) in shown.items())} |" for row in found]


def slopes(found: list[dict[str, float]]) -> list[str]:
    """How memory grows with the length, in words; nothing of a single length."""
    hours = [each["frames"] / FPS / 3600 for each in found]
    out = []
    for name in ("own_mb", "peak_mb") if len(found) > 1 else ():
        values = [each[name] for each in found]
        slope = np.polyfit(hours, values, 1)[0]
        out.append(f"{name}: {slope:.2f} MB an hour of video; longest to shortest {values[-1] / values[0]:.3f}")
    return out


def _clip_and_eye(folder: Path, n_frames: int) -> tuple[Path, int]:
    """Draw the clip that is repeated, save the eye, and tell how wide its features are."""
    from cost_material import make_eye

    from napari_lookagain.config import Config
    from napari_lookagain.simulate import simulate

    eye = make_eye("tiny", folder / "eye", Config.preset("quick"), "cpu")
    return simulate(folder, n_frames=min(CLIP, n_frames), fps=FPS, size=SIZE, name="clip").video, eye.width


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of the recording of 1 time the length")
    parser.add_argument("--times", type=float, nargs="+", default=[1, 4, 16], help="lengths, the shortest first")
    parser.add_argument("--animals", type=int, default=3)
    parser.add_argument("--looks", type=float, default=0, help="share of the frames looked at, 0 to 1; 0: no video")
    parser.add_argument("--out", type=Path, help="folder for long_recordings.json, and for files while it runs")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
