"""What looking costs, from end to end, at every budget: one run, one json and one markdown table.

    python benchmarks/cost.py [--json cost.json] [--eyes tiny base hub] [--budgets 0 0.05 1] [--video FILE]

For every eye (`cost_material`), a recording is predicted at every budget, nothing kept from one time to the next. The
motion pass counts in every figure but those that say otherwise, and is told apart, too. What is compared alternates,
so that a machine whose speed changes with time changes no ratio. Beside the same eye's own dense run stands

- a conventional reader: OpenCV, every frame made into RGB, resized whole, and encoded before the next one is read;
- the bound: what the eye takes for as many images that are there already, and the video for giving these frames to no
  one. "Pipelined" is the longer of the two and "serial" their sum, each measured alone; "beside" is what both take at
  once in two threads that share nothing but the machine. A look takes what `predict` does beyond budget 0.

Eyes are of random weights, all in the precision in which `predict` looks. Then frames a second of fine-tuning, and the
memory of `long_recordings.py`, which runs in processes of its own, on the CPU. What the screen of the plugin takes is
measured by `timeline.py` and `scrubbing.py`. The defaults take some minutes on two cores that multiply bfloat16, ten on
others; `--few` frames are all that an eye as large as ViT-B is shown there. `--device cuda` measures the same on a GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from cost_material import EYES, first_frames, make_eye, make_model, make_session, what_training_reads
from dask.system import cpu_count

from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.predict import predict, read_motion
from napari_lookagain.progress import drain
from napari_lookagain.session import Session, load_session
from napari_lookagain.train import finetune
from napari_lookagain.vision.encoder import VisionEncoder
from napari_lookagain.vision.look import crops_of

BUDGETS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
AT_ONCE = 16  # images that `look` encodes together
SHOWN = 32  # frames whose images the encoder alone is given, again and again
SETTINGS: dict[str, Any] = {"pretrain": {"epochs": 0}, "finetune": {"epochs": 4}}
HEAD = "| eye | frames | budget | looked at | decoded | frames/s | × dense | × reader | of the bound | what binds |"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Case:
    """One eye, the session it looks at, saved, and a model for both."""

    eye: VisionEncoder
    session: Session
    model: LookAgain
    device: str


def main() -> None:
    """Measure everything, print the table and write the json."""
    options = _options()
    device = accelerator(options.device).device
    config = Config.preset("quick", **SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        session = make_session(work, options.frames, options.animals, options.video)
        told: dict[str, Any] = {"machine": machine(device), "frame_size": session.frame_size, "eyes": []}
        print(f"{HEAD}\n{'|---' * HEAD.count(' | ')}|---|", flush=True)
        for name in options.eyes:
            eye = make_eye(name, work / name, config, str(device))
            part = session if name == "tiny" else first_frames(session, options.few)
            part.save(work / f"{name}.lookagain")
            case = Case(eye, part, make_model(session, config, eye.width), options.device)
            told["eyes"].append({"eye": name, **measure(case, options.budgets, options.rounds, work / "run")})
            print("\n".join(rows(told["eyes"][-1])), flush=True)
        told["training"] = training(session, config, options.device)
        told["long"] = long_recordings(options.minutes, work) if options.minutes else {}
    print("\n" + "\n".join(notes(told)))
    plain = json.dumps(told, indent=2, default=lambda array: array.tolist())
    options.json.write_text(plain + "\n", encoding="utf-8")


def measure(case: Case, budgets: Sequence[float], rounds: int, folder: Path) -> dict[str, Any]:
    """Every budget, the conventional reader, and encoder and decoder alone, in turns; medians of the rounds."""
    budgets = sorted({0.0, 1.0, *budgets})
    n_frames, n_looks = case.session.n_frames, case.session.n_frames * case.session.n_animals
    took: dict[Hashable, list[np.ndarray]] = defaultdict(list)  # seconds of (2,) wall and processor
    looked, decoded = {}, {}
    shown, took["cut"] = _images(case)
    _encode(case.eye, shown, AT_ONCE)
    _run(case, budgets[1], folder)  # what happens once
    for _ in range(rounds):
        took["reader"].append(_clock(lambda: _read_conventionally(case))[0])
        took["encoder"].append(_clock(lambda: _encode(case.eye, shown, n_looks))[0])
        for budget in budgets:
            motion, look, looked[budget] = _run(case, budget, folder)
            decoder, decoded[budget] = _decode(case, looked[budget])
            beside, _ = _clock(partial(_encode_beside_decoding, case, shown, looked[budget]))
            for name, seconds in (("motion", motion), ("look", look), ("decoder", decoder), ("beside", beside)):
                took[name if name == "motion" else (name, budget)].append(seconds)
    middle = {name: np.median(each, axis=0) for name, each in took.items()}
    return {
        "frames": n_frames,
        "animals": case.session.n_animals,
        "encoder_images_per_s": n_looks / middle["encoder"],
        "cut_images_per_s": 1 / middle["cut"],
        "motion_frames_per_s": n_looks / middle["motion"],
        "reader_frames_per_s": n_frames / middle["reader"],
        "budgets": [
            {
                "budget": budget,
                "looked": looked[budget].mean(),
                "decoded": decoded[budget] / n_frames,
                **_ratios(middle, budget, looked[budget].mean(), n_frames),
            }
            for budget in budgets
        ],
    }


def _ratios(middle: dict[Hashable, np.ndarray], budget: float, share: float, n_frames: int) -> dict[str, Any]:
    """What the times of one budget come to beside those of others; of pairs the first is wall time."""
    whole = middle["motion"] + middle["look", budget]
    dense = middle["motion"] + middle["look", 1.0]
    encoder, decoder = share * middle["encoder"], middle["decoder", budget]
    told: dict[str, Any] = {
        "seconds": whole,
        "frames_per_s": n_frames / whole,
        "times_dense": dense / whole,
        "times_dense_motion_kept": middle["look", 1.0] / middle["look", budget],
        "times_reader": middle["reader"] / whole,
        "encoder_seconds": encoder,
        "decoder_seconds": decoder,
    }
    if share == 0:
        return told
    look = middle["look", budget] - middle["look", 0.0]
    return told | {
        "look_seconds": look,
        "of_pipelined": max(encoder[0], decoder[0]) / look[0],
        "of_beside": middle["beside", budget][0] / look[0],
        "of_serial": (encoder[0] + decoder[0]) / look[0],
        "binds": "encoder" if encoder[0] > decoder[0] else "decoder",
    }


def _run(case: Case, budget: float, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict from nothing: seconds (2,) of the motion pass, and of all else, and where it looked, (T, A)."""
    assert case.session.path is not None
    session = load_session(shutil.copytree(case.session.path, folder, ignore=shutil.ignore_patterns("features")))
    motion, _ = _clock(lambda: drain(read_motion(case.model, session, device=case.device)))
    look, ethogram = _clock(lambda: drain(predict(case.model, session, case.eye, budget=budget, device=case.device)))
    looked = np.array(ethogram.looked)
    shutil.rmtree(folder)
    return motion, look, looked


def _decode(case: Case, looked: np.ndarray) -> tuple[np.ndarray, int]:
    """Seconds (2,) to get the frames that are looked at, and how many are decoded for it."""
    with case.session.open_video() as video:

        def run() -> None:
            for _ in video.frames(np.flatnonzero(looked.any(1)), grey=case.eye.grey, view=True):
                pass

        return _clock(run)[0], video.decoded


def _encode_beside_decoding(case: Case, images: np.ndarray, looked: np.ndarray) -> None:
    """Encode as many images as are looked at, and decode their frames in another thread, which gives them to nobody."""
    decoding = Thread(target=_decode, args=(case, looked))
    decoding.start()
    _encode(case.eye, images, int(looked.sum()))
    decoding.join()


def _encode(eye: VisionEncoder, images: np.ndarray, count: int) -> None:
    """Encode so many images, these again and again."""
    for first in range(0, count, AT_ONCE):
        eye.encode(np.take(images, np.arange(first, min(first + AT_ONCE, count)), axis=0, mode="wrap"))


def _read_conventionally(case: Case) -> None:
    assert case.session.video is not None
    video, side = cv2.VideoCapture(case.session.video.path), (case.eye.size, case.eye.size)
    for _ in range(case.session.n_frames):
        there, frame = video.read()
        if not there:
            raise SystemExit(f"OpenCV cannot read all frames of {case.session.video.path}; take another video.")
        image = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), side)
        case.eye.encode((cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if case.eye.grey else image)[None])
    video.release()


def _images(case: Case) -> tuple[np.ndarray, list[np.ndarray]]:
    """What the eye is shown of some frames, and the seconds (2,) that cutting one image takes."""
    crops = crops_of(case.session, case.model.config, case.eye.size)
    with case.session.open_video() as video:
        frames = list(video.frames(range(min(SHOWN, case.session.n_frames)), grey=case.eye.grey))
    places = [(frame, t, animal) for t, frame in frames for animal in range(case.session.n_animals)]
    crops.cut(*places[0])  # it finds out where the animals are
    seconds, images = _clock(lambda: np.stack([crops.cut(*place) for place in places]))
    return images, [seconds / len(places)]


def training(session: Session, config: Config, device: str) -> dict[str, Any]:
    """Frames of animals a second in fine-tuning, motion encoder included, when all that is seen is there already."""
    batches, windows = what_training_reads(session, config)
    work = finetune(make_model(session, config, batches.seen_width), batches, windows, device=device)
    first = next(work)  # what happens once
    seconds, _ = _clock(lambda: drain(work))
    frames = config.finetune.epochs * session.n_animals * sum(len(window) for window in windows)
    return {"frames_per_s": frames * (1 - first.done / first.total) / seconds}


def long_recordings(minutes: float, work: Path) -> dict[str, Any]:
    """Peak memory of `predict` without looks at 1, 4 and 16 times a length, its slope, and the longest's pace."""
    script = Path(__file__).with_name("long_recordings.py")
    subprocess.run([sys.executable, script, "--minutes", str(minutes), "--out", work], check=True, capture_output=True)
    found = json.loads((work / "long_recordings.json").read_text(encoding="utf-8"))
    frames = [each["frames"] for each in found]
    hours = np.array(frames) / frames[0] * minutes / 60
    slopes = {name: np.polyfit(hours, [each[name] for each in found], 1)[0] for name in ("own_mb", "peak_mb")}
    return {"lengths": found, "mb_per_hour": {name: float(slope) for name, slope in slopes.items()}}


def machine(device: torch.device) -> dict[str, Any]:
    """What it ran on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": device.type, "name": name, "cores": cpu_count(), "threads": torch.get_num_threads()}


def rows(told: dict[str, Any]) -> list[str]:
    """Rows of the table for one eye."""
    start = f"| {EYES[told['eye']]} | {told['frames']} |"
    out = []
    for row in told["budgets"]:
        pairs = (_pair(row[name]) for name in ("frames_per_s", "times_dense", "times_reader"))
        bound = [f"{row[name]:.0%}" for name in ("of_pipelined", "of_beside", "of_serial") if name in row]
        cells = [f"{row['budget']:.0%}", f"{row['looked']:.1%}", f"{row['decoded']:.0%}", *pairs, " · ".join(bound)]
        out.append(f"{start} {' | '.join(cells)} | {row.get('binds', '')} |")
    ratio = told["budgets"][-1]["seconds"] * told["reader_frames_per_s"] / told["frames"]
    reader = (_pair(told["reader_frames_per_s"]), _pair(ratio), "1 / 1")
    return [*out, f"{start} conventional reader | 100.0% | 100% | {' | '.join(reader)} | | |"]


def notes(told: dict[str, Any]) -> list[str]:
    """What stands below the table."""
    out = ["Pairs are of wall time / processor time. Of the bound: pipelined · beside · serial.\n"]
    for eye in told["eyes"]:
        alone = {name: _pair(eye[f"{name}_per_s"]) for name in ("encoder_images", "cut_images", "motion_frames")}
        out.append(
            f"- {EYES[eye['eye']]} alone: encodes {alone['encoder_images']} images/s, cuts {alone['cut_images']}; "
            f"motion pass {alone['motion_frames']} frames of animals/s"
        )
    out.append(f"- fine-tuning: {_pair(told['training']['frames_per_s'])} frames of animals/s")
    if told["long"]:
        last, slope = told["long"]["lengths"][-1], told["long"]["mb_per_hour"]
        out.append(
            f"- long recordings: motion pass {last['motion_frames_per_cpu_s']:,.0f} frames of animals/s per core; "
            f"{slope['own_mb']:.2f} MB of its own and {slope['peak_mb']:.2f} MB of all memory an hour of video, "
            f"{last['own_mb']:,.0f} and {last['peak_mb']:,.0f} MB at most"
        )
    return out


def _pair(values: Sequence[float]) -> str:
    """Of wall and processor time."""
    return " / ".join(f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values)


def _clock(work: Callable[[], Result]) -> tuple[np.ndarray, Result]:
    """Seconds of wall and of processor time, (2,), and what comes out."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return np.array([time.perf_counter() - wall, time.process_time() - processor]), result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("cost.json"))
    parser.add_argument("--frames", type=int, default=3072, help="that a tiny eye is shown")
    parser.add_argument("--few", type=int, default=128, help="how many of these frames other eyes are shown")
    parser.add_argument("--animals", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--eyes", nargs="+", default=list(EYES), choices=list(EYES))
    parser.add_argument("--budgets", type=float, nargs="+", default=list(BUDGETS), help="0 and 1 are added")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path, help="looked at, with simulated keypoints; a simulated one by default")
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--minutes", type=float, default=5, help="shortest of the long recordings; 0: none")
    return parser.parse_args()


if __name__ == "__main__":
    main()
