"""How fast an eye can be made to look on a CPU: precision, layout of images, torch.compile, OpenVINO, and the batch.

    python benchmarks/encoders.py [--out encoders.json] [--eyes tiny hub] [--ways float32 openvino] [--batches 1 16]

Eyes are of random weights (`cost_material`). Every way encodes the same images on one thread, from bytes to features,
in turns, so that a machine whose speed changes with time changes no ratio; medians of the rounds are told, as wall time
/ processor time. "× now" is beside what the setting `vision.precision=auto` does here. The cosine is the least of all
images to the features of the first way, float32; with random weights it says that a way computes the same, not how much
of a trained eye is left. Then other batches than 16, of what is done now and of the fastest way.

"made ready" is the wall time from loaded weights to the first features, compiling included. Rows of OpenVINO are
skipped where it is not installed (`pip install "napari-lookagain[openvino]"`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cost_material import EYES, make_eye
from torch import Tensor, nn

from napari_lookagain.config import Config
from napari_lookagain.vision.encoder import ComputesAsTold, Precision, Runtime, VisionEncoder, load_encoder
from napari_lookagain.vision.precision import takes_bfloat16

AT_ONCE = 16  # images that `look` encodes together
HEAD = "| eye | way | batch | images/s | × now | made ready, s | cosine |"


def as_it_is(eye: VisionEncoder) -> VisionEncoder:
    """Change nothing."""
    return eye


def channels_last(eye: VisionEncoder) -> VisionEncoder:
    """Lay the colors of a pixel beside each other."""

    def lay(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (given[0].contiguous(memory_format=torch.channels_last), *given[1:])

    network(eye).to(memory_format=torch.channels_last).register_forward_pre_hook(lay)
    return eye


def compiled(eye: VisionEncoder) -> VisionEncoder:
    """Compile with torch, at the first images."""
    network(eye).compile()
    return eye


# In which numbers and through which library an eye computes, and what is done to it besides.
WAYS: dict[str, tuple[Precision, Runtime, Callable[[VisionEncoder], VisionEncoder]]] = {
    "float32": ("float32", "torch", as_it_is),
    "float32, channels last": ("float32", "torch", channels_last),
    "float32, torch.compile": ("float32", "torch", compiled),
    "bfloat16": ("bfloat16", "torch", as_it_is),
    "bfloat16, channels last": ("bfloat16", "torch", channels_last),
    "bfloat16, torch.compile": ("bfloat16", "torch", compiled),
    "openvino, f32": ("float32", "openvino", as_it_is),
    "openvino, bf16": ("bfloat16", "openvino", as_it_is),
}


def main() -> None:
    """Measure all eyes, print the table and write the json."""
    options = _options()
    torch.set_num_threads(1)
    now = "bfloat16" if takes_bfloat16("auto", torch.device("cpu")) else "float32"
    told: dict[str, Any] = {"now": now, "torch": torch.__version__, "eyes": []}
    print(f"{HEAD}\n{'|---' * HEAD.count(' | ')}|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "compiled")  # or what was compiled before is found
        ways = [way for way in WAYS if way in ("float32", now) or way.startswith(tuple(options.ways))]
        for name in options.eyes:
            kept = Path(folder) / name
            make_eye(name, kept, Config(), "cpu")
            told["eyes"].append({"eye": name, "rows": measure(kept, ways, now, options)})
            print("\n".join(row_of(name, row) for row in told["eyes"][-1]["rows"]), flush=True)
    print(f"\nPairs are of wall time / processor time, on one thread. Now: {now}.")
    options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(kept: Path, ways: Sequence[str], now: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All ways at a batch of 16, those that cannot be had with the reason, then other batches."""
    images = _images(load_encoder(kept), max(options.images, AT_ONCE))
    eyes: dict[str, VisionEncoder] = {}
    ready, skipped, features = {}, [], {}
    for way in ways:
        since = time.perf_counter()
        try:
            eyes[way] = make_ready(kept, way)
            features[way] = encode(eyes[way], images[:AT_ONCE], AT_ONCE)
        except Exception as error:  # what is not installed here, or does not know a network, each with its own error
            skipped.append({"way": way, "skipped": " ".join(f"{type(error).__name__}: {error}".split())[:120]})
            continue
        ready[way] = time.perf_counter() - since
    paces = in_turns({(way, AT_ONCE): eye for way, eye in eyes.items()}, images, options.rounds)
    fastest = max(eyes, key=lambda way: paces[way, AT_ONCE][1])
    others = {(way, batch): eyes[way] for way in dict.fromkeys((now, fastest)) for batch in options.batches}
    paces_of_batches = in_turns(others, images, options.rounds)
    rows = []
    for measured in (paces, paces_of_batches):
        for (way, batch), pace in measured.items():
            row = {"way": way, "batch": batch, "images_per_s": pace.tolist()}
            row["times_now"] = (pace / measured.get((now, AT_ONCE), paces[now, AT_ONCE])).tolist()
            rows.append(row | {"ready_s": ready[way], "cosine": _cosine(features[way], features["float32"])})
    return rows + skipped


def make_ready(kept: Path, way: str) -> VisionEncoder:
    """Load an eye and make it look this way."""
    precision, runtime, change = WAYS[way]
    eye = load_encoder(kept)
    assert isinstance(eye, ComputesAsTold)
    return change(eye.computing(precision, runtime))


def network(eye: VisionEncoder) -> nn.Module:
    """What computes in an eye."""
    return next(each for each in vars(eye).values() if isinstance(each, nn.Module))


def encode(eye: VisionEncoder, images: np.ndarray, batch: int) -> np.ndarray:
    """Encode images (N, S, S[, 3]) so many at a time, also more than an eye takes at once by itself."""
    with patch.object(sys.modules[type(eye).__module__], "_AT_ONCE", batch):
        return eye.encode(images)


def in_turns(
    eyes: dict[tuple[str, int], VisionEncoder], images: np.ndarray, rounds: int
) -> dict[tuple[str, int], np.ndarray]:
    """Images a second, (2,) of wall and of processor time, the median of rounds, by way and batch."""
    took = defaultdict(list)
    for (_, batch), eye in eyes.items():  # what happens once for every size
        encode(eye, np.resize(images, (batch, *images.shape[1:])), batch)
    for _ in range(rounds):
        for (way, batch), eye in eyes.items():
            some = np.resize(images, (max(len(images) // batch, 1) * batch, *images.shape[1:]))
            wall, processor = time.perf_counter(), time.process_time()
            encode(eye, some, batch)
            seconds = np.array([time.perf_counter() - wall, time.process_time() - processor])
            took[way, batch].append(len(some) / seconds)
    return {case: np.median(each, axis=0) for case, each in took.items()}


def row_of(eye: str, row: dict[str, Any]) -> str:
    """A row of the table."""
    if "skipped" in row:
        return f"| {EYES[eye]} | {row['way']} | skipped: {row['skipped']} | | | | |"
    pace, ratio = (" / ".join(f"{each:,.3g}" for each in row[name]) for name in ("images_per_s", "times_now"))
    cells = (EYES[eye], row["way"], row["batch"], pace, ratio, f"{row['ready_s']:.1f}", f"{row['cosine']:.5f}")
    return f"| {' | '.join(map(str, cells))} |"


def _images(eye: VisionEncoder, count: int) -> np.ndarray:
    """Images (N, S, S[, 3]) uint8 of squares drawn at random, a sixth of a side each."""
    squares = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 1 if eye.grey else 3), np.uint8)
    places = np.arange(eye.size) * 6 // eye.size
    images = squares[:, places[:, None], places]
    return images[..., 0] if eye.grey else images


def _cosine(some: np.ndarray, others: np.ndarray) -> float:
    """The least cosine of features (N, D) to others."""
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return float(((some * others).sum(1) / lengths).min())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("encoders.json"))
    parser.add_argument("--eyes", nargs="+", default=["tiny", "hub"], choices=list(EYES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), help="beginnings of their names; float32 is added")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--images", type=int, default=16, help="that are encoded in a round, at least 16")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
