"""What the timeline costs on ten hours of three animals: drawing at three zooms, moving the cursor, an edit, memory.

Prints medians of the CPU time of this process. A display is needed, a virtual one will do.

    xvfb-run -a python benchmarks/timeline.py --markdown timeline.md --json timeline.json
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_lookagain.annotations import Annotations
from napari_lookagain.colors import behavior_colors, cluster_colors
from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.timeline import ClassLane, Lane, ScoreLane, TickLane, Timeline
from napari_lookagain.session import Session
from napari_lookagain.sources import PoseSource

FPS = 30.0
CLUSTERS = tuple(f"cluster {number}" for number in range(1, 9))
BEHAVIORS = ("background", "walk", "groom", "rear", "chase")
ANIMALS = 3
REPEATS = 60


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_080_000)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    app = QApplication([])
    figures = measure(app, options.frames)
    lines = [f"| {name} | {value:.2f} {unit} |" for name, (value, unit) in figures.items()]
    table = "\n".join(["| what | median |", "|---|---|", *lines]) + "\n"
    print(table, end="")
    if options.markdown:
        options.markdown.write_text(table, encoding="utf-8")
    if options.json:
        told = {name: {"value": value, "unit": unit} for name, (value, unit) in figures.items()}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(app: QApplication, n_frames: int) -> dict[str, tuple[float, str]]:
    """Everything that is measured, by name, with its unit."""
    rng = np.random.default_rng(1)
    state, lanes = recording(n_frames, ANIMALS)
    timeline = Timeline(state)
    timeline.resize(1366, 520)  # high enough for all rows of three animals
    timeline.show()
    app.processEvents()
    figures = {}
    tracemalloc.start()
    timeline.set_lanes(lanes)
    figures["memory beside the lanes' own arrays"] = (tracemalloc.get_traced_memory()[0] / 2**20, "MiB")
    tracemalloc.stop()

    def cost(act: Callable[[], object], n: int = REPEATS) -> tuple[float, str]:
        """Median CPU time of an act and of all the drawing that follows from it."""
        taken = []
        for _ in range(n):
            start = time.process_time()
            act()
            app.processEvents()
            taken.append(1000 * (time.process_time() - start))
        return float(np.median(taken)), "ms"

    def redraw(share: float) -> Callable[[], None]:
        def act() -> None:
            width = rng.uniform(0.99, 1) * share * n_frames  # never the same as before, which would draw nothing
            start = rng.uniform(0, n_frames - width)
            timeline.show_span(start, start + width)

        return act

    def edit() -> None:
        animal, start = int(rng.integers(ANIMALS)), int(rng.integers(n_frames - 300))
        lanes[2].array[start : start + 300, animal] = rng.integers(1, len(BEHAVIORS))
        timeline.update_lane("corrected", animal, start, start + 300)

    figures["lanes taken anew"] = cost(lambda: timeline.set_lanes([type(lane)(**copied(lane)) for lane in lanes]), 5)
    timeline.set_lanes(lanes)
    figures["other colors"] = cost(lambda: timeline.set_lanes(lanes), 10)
    for share in (1, 0.01, 0.001):
        figures[f"redraw, {share:.1%} of the recording in view"] = cost(redraw(share))
        figures[f"edit, {share:.1%} in view"] = cost(edit)
        first, last = (int(edge) for edge in timeline.span)
        figures[f"cursor move, {share:.1%} in view"] = cost(lambda a=first, b=last: state.seek(int(rng.integers(a, b))))
    timeline.close()
    return figures


def copied(lane: Lane) -> dict[str, object]:
    """The fields of a lane, its array as one that the timeline has not seen."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in vars(lane).items()}


def recording(n_frames: int, n_animals: int, seed: int = 0) -> tuple[SessionState, list[Lane]]:
    """A session without a video, and lanes of labels that come in bouts, as an analysis would leave them."""
    rng = np.random.default_rng(seed)
    animals = tuple(f"mouse {number}" for number in range(1, n_animals + 1))
    keypoints = np.zeros((n_frames, n_animals, 1, 2), np.float32)
    session = Session(
        recording="ten hours",
        keypoints=keypoints,
        confidence=np.ones(keypoints.shape[:3], np.float32),
        animals=animals,
        keypoint_names=("center",),
        fps=FPS,
        heading=None,
        pose=PoseSource("none", "none", "none"),
        video=None,
        annotations=Annotations(n_frames, animals),
    )
    state = SessionState(session)
    cluster = bouts(rng, n_frames, n_animals, len(CLUSTERS), 40)
    behavior = bouts(rng, n_frames, n_animals, len(BEHAVIORS), 60)
    corrected = np.where(bouts(rng, n_frames, n_animals, 4, 900) == 1, behavior, 0).astype(np.uint16)
    phase = np.arange(n_frames)[:, None] / 25 + np.arange(n_animals)
    gate = (0.5 + 0.3 * np.sin(phase) + 0.1 * rng.standard_normal((n_frames, n_animals))).clip(0, 1).astype(np.float32)
    shades = behavior_colors(BEHAVIORS)
    colors = tuple(shades[name] for name in BEHAVIORS)
    return state, [
        ClassLane("discovered", "discovered", cluster, CLUSTERS, tuple(cluster_colors(CLUSTERS, {}).values())),
        ClassLane("predicted", "predicted", behavior, BEHAVIORS, colors),
        ClassLane("corrected", "corrected", corrected, BEHAVIORS, colors),
        ScoreLane("gate_score", "gate score", gate),
        TickLane("looked", "looked at", gate > np.quantile(gate, 0.75)),
    ]


def bouts(rng: np.random.Generator, n_frames: int, n_animals: int, n_classes: int, mean: float) -> np.ndarray:
    """Labels 1 to `n_classes` of all animals, in bouts of geometric length; classes wax and wane over the hours."""
    label = np.empty((n_frames, n_animals), np.uint16)
    for animal in range(n_animals):
        length = rng.geometric(1 / mean, size=int(2 * n_frames / mean) + 10)
        at = np.cumsum(length) / n_frames
        drive = 1.2 * np.sin(7 * at[:, None] + rng.uniform(0, 6, n_classes)) + rng.uniform(-1.5, 1, n_classes)
        code = np.argmax(drive + rng.gumbel(size=drive.shape), axis=1) + 1
        label[:, animal] = np.repeat(code, length)[:n_frames]
    return label


if __name__ == "__main__":
    main()
