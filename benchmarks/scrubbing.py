"""What it costs to move through a recording in napari: frames of a video, and a step with all layers of ten hours.

Prints medians of the CPU time of this process, beside those of a viewer without the plugin. A display is needed, a
virtual one will do.

    xvfb-run -a -s "-screen 0 1366x768x24" python benchmarks/scrubbing.py VIDEO --json scrubbing.json
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

os.environ["NAPARI_CONFIG"] = ""  # napari's settings are its defaults and are not kept

import napari
import psutil
from qtpy.QtWidgets import QApplication

from napari_lookagain.annotations import Annotations
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.gui.layers.frames import LazyFrames
from napari_lookagain.gui.present import open_in_viewer
from napari_lookagain.session import Session, load_session
from napari_lookagain.sources import PoseSource
from napari_lookagain.video import Video

LONG, ANIMALS, KEYPOINTS, FPS = 1_080_000, 3, 12, 30.0
STEPS = 60


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=LONG)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {**scrub(options.video), **long_session(options.frames)}
    print("| what | median |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:.1f} |")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def scrub(path: Path) -> dict[str, float]:
    """Steps and seeks through a video, above what napari takes to show a picture of that size that is in memory."""
    figures = {}
    with Video(path) as video:
        ready = np.stack([video.frame(i) for i in range(4)])
        n = video.n_frames
    walks = {
        "forward step": range(n // 2, n // 2 + STEPS),
        "backward step": range(n // 3 + 2 * STEPS, n // 3, -1),
        "random seek": np.random.default_rng(0).integers(0, n, STEPS),
    }
    floor = float(np.median(_walk(_viewer(_Cycle(ready, n)), range(10, 10 + STEPS))))
    figures["napari's floor, ms"] = floor
    for name, frames in walks.items():
        lazy = LazyFrames(Video(path))
        taken = _walk(_viewer(lazy), frames) - floor
        figures[f"{name} above it, ms"] = float(np.median(taken))
        figures[f"{name}, the slowest of them, ms"] = float(taken.max())
        figures[f"decoded frames kept after {name}s, MiB"] = lazy.nbytes / 2**20
    return figures


def long_session(n_frames: int) -> dict[str, float]:
    """Opening ten hours, and a step in it, above a step in a viewer with the same video and nothing else."""
    picture = np.random.default_rng(0).integers(0, 255, (4, 480, 640, 3), np.uint8)
    floor = float(np.median(_walk(_viewer(_Cycle(picture, n_frames)), range(1000, 1000 + STEPS))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.lookagain"
        _simulate(n_frames).save(path)
        gc.collect()
        viewer = _viewer(_Cycle(picture, n_frames))
        start = time.perf_counter()
        view = open_in_viewer(viewer, load_session(path))
        QApplication.processEvents()
        opened = time.perf_counter() - start
        for kind, names in (("cluster", tuple("abcdefgh")), ("behavior", tuple("uvwxyz"))):
            view.state.show(_ethogram(view.state.session, kind, names))
        taken = _walk(viewer, range(5000, 5000 + 4 * STEPS), keep=True)
        jumps = _walk(viewer, np.random.default_rng(1).integers(0, n_frames, STEPS))
    return {
        "opening a long session, s": opened,
        "memory with it, its clusters and its behaviors, MiB": psutil.Process().memory_info().rss / 2**20,
        "step in an empty viewer, ms": floor,
        "step in the long session above it, ms": float(np.median(taken)) - floor,
        "seek in the long session above it, ms": float(np.median(jumps)) - floor,
    }


class _Cycle:
    """A few frames over and over, as an array of many."""

    def __init__(self, frames: np.ndarray, n: int) -> None:
        self.frames, self.shape, self.dtype, self.ndim = frames, (n, *frames.shape[1:]), frames.dtype, 4
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, key: Any) -> np.ndarray:
        first = key[0]
        if isinstance(first, slice):
            return self.frames[np.arange(first.start, first.stop) % len(self.frames)]
        return self.frames[first % len(self.frames)]


def _viewer(frames: Any) -> napari.Viewer:
    viewer = napari.Viewer(show=False, show_welcome_screen=False)
    viewer.window.show()
    viewer.window.resize(1366, 768)
    viewer.add_image(frames, rgb=True, contrast_limits=(0, 255), multiscale=False)
    QApplication.processEvents()
    return viewer


def _walk(viewer: napari.Viewer, frames: Iterable[int], keep: bool = False) -> np.ndarray:
    """CPU time of every step, in ms, drawing included; the first few warm up."""
    taken = []
    for frame in [0, 1, 2, 3, *frames]:
        start = time.process_time()
        viewer.dims.set_point(0, int(frame))
        QApplication.processEvents()
        taken.append(1000 * (time.process_time() - start))
    if not keep:
        viewer.close()
    return np.array(taken[4:])


def _simulate(n_frames: int) -> Session:
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(0, 1, (n_frames, ANIMALS, 1, 2)).astype(np.float32), axis=0) % 400
    keypoints = path + rng.normal(0, 15, (ANIMALS, KEYPOINTS, 2)).astype(np.float32)
    animals = tuple(f"mouse{i}" for i in range(ANIMALS))
    return Session(
        recording="long",
        keypoints=keypoints,
        confidence=np.ones(keypoints.shape[:3], np.float32),
        animals=animals,
        keypoint_names=tuple(f"keypoint{i}" for i in range(KEYPOINTS)),
        fps=FPS,
        heading=None,
        pose=PoseSource("long.csv", "simulated", ""),
        video=None,
        annotations=Annotations(n_frames, animals),
    )


def _ethogram(session: Session, kind: Any, names: tuple[str, ...]) -> Ethogram:
    rng = np.random.default_rng(len(names))
    shape = session.n_frames, session.n_animals
    label = np.repeat(rng.integers(0, len(names), (session.n_frames // 40 + 1, session.n_animals)), 40, axis=0)
    score = rng.random(shape, np.float32)
    return Ethogram(
        recording=session.recording,
        fps=session.fps,
        animals=session.animals,
        kind=kind,
        names=names,
        label=label[: session.n_frames].astype(np.int16),
        probabilities=np.zeros((*shape, len(names)), np.float16),
        gate_score=score,
        reliability=score,
        saliency=score,
        semantics=score,
        looked=score > 0.75,
    )


if __name__ == "__main__":
    main()
