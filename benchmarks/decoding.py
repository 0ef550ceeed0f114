"""What it costs to decode some of the frames of a video: processor time per frame of the video, whether wanted or not.

Prints the median of several passes, beside the raw decode floor measured among them: every frame decoded in order by
FFmpeg through PyAV, none made into an array. Then what several threads gain that decode and cut whole frames for an
encoder that takes no time: time on the clock, so other work on the machine shows.

    OMP_NUM_THREADS=1 python benchmarks/decoding.py VIDEO --json decoding.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from napari_lookagain.progress import drain
from napari_lookagain.session import new_session
from napari_lookagain.video import Video
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.encoder import What
from napari_lookagain.vision.look import look

RUN = 32
IMAGES = {"grey, 48 pixels": (True, 48), "color, 224 pixels": (False, 224)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--decoders", type=int, default=2, help="threads that are compared with one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "packets.npz"
        first, _ = _milliseconds(lambda: Video(options.video, index).close())
        again, _ = _milliseconds(lambda: Video(options.video, index).close())
    with Video(options.video) as video:
        floor, rows = measure(video, options.passes)
        n = video.n_frames
    print(f"{options.video.name}: {n} frames, ms of processor time per frame of the video\n")
    print("| frames wanted | decoded | grey | grey, views | RGB |\n|---|---|---|---|---|")
    for name, decoded, *costs in rows:
        print(f"| {name} | {decoded / n:.0%} | {' | '.join(f'{cost:.2f}' for cost in costs)} |")
    print(f"| raw decode floor | 100% | {floor:.2f} | | |")
    print(f"\nOpening it: {first:.1f} ms when it is read through, {again:.1f} ms with its packet index kept.")
    print(f"\n| a quarter of the frames, ms of time | 1 thread | {options.decoders} threads | ratio, pass by pass |")
    print("|---|---|---|---|")
    threads = {}
    for name, (grey, size) in IMAGES.items():
        one, several = compare(options.video, Blank(grey, size), options.decoders, options.passes)
        threads[name] = {"1": list(one / n), str(options.decoders): list(several / n)}
        ratios = ", ".join(f"{ratio:.2f}" for ratio in one / several)
        print(f"| {name} | {np.median(one) / n:.2f} | {np.median(several) / n:.2f} | {ratios} |")
    if options.json:
        wanted = {name: {"decoded": decoded / n, "ms": costs} for name, decoded, *costs in rows}
        told = {"frames": n, "floor_ms": floor, "wanted": wanted, "opening_ms": [first, again], "threads_ms": threads}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(video: Video, passes: int) -> tuple[float, list[tuple[str, int, float, float, float]]]:
    """The floor, and of every pattern its name, the frames decoded, and the cost by what is made of the frames."""
    ways = ({"grey": True}, {"grey": True, "view": True}, {})
    wanted = dict(patterns(video.n_frames))
    floors: list[float] = []
    costs: dict[str, list[list[float]]] = {name: [[] for _ in ways] for name in wanted}
    decoded = {}
    for _ in range(passes):  # in turns, because the speed of a machine changes with time
        floors.append(_milliseconds(lambda: _decode_all(video.path))[0])
        for name, frames in wanted.items():
            for way, taken in zip(ways, costs[name], strict=True):
                cost, decoded[name] = _milliseconds(lambda frames=frames, way=way: _take(video.path, frames, way))
                taken.append(cost)
    n = video.n_frames
    rows = [(name, decoded[name], *(float(np.median(c)) / n for c in costs[name])) for name in wanted]
    return float(np.median(floors)) / n, rows


def patterns(n: int) -> Iterator[tuple[str, np.ndarray]]:
    """Which frames are wanted, by name."""
    rng = np.random.default_rng(0)
    for share in (1, 5, 25):
        yield f"{share} % at random", np.sort(rng.choice(n, n * share // 100, replace=False))
    starts = RUN * np.sort(rng.choice(n // RUN, n // RUN // 4, replace=False))
    yield f"25 % in runs of {RUN}", np.concatenate([np.arange(start, start + RUN) for start in starts])
    yield "100 %", np.arange(n)


class Blank:
    """An encoder that takes no time."""

    kind = name = fingerprint = "blank"
    width, n_patches = 1, 0

    def __init__(self, grey: bool, size: int) -> None:
        self.grey, self.size = grey, size

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        """One 0 for every image."""
        return np.zeros((len(images), 1), np.float32)

    def save(self, folder: Path) -> None:
        """Nothing to write."""


def compare(path: Path, encoder: Blank, decoders: int, passes: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds that a look at a quarter of the frames takes with one thread and with several, (passes,) each."""
    session = new_session(video=path)
    crops = Crops(session, "frame", size=encoder.size)
    looked = np.random.default_rng(0).random((session.n_frames, 1)) < 0.25
    took: dict[int, list[float]] = {1: [], decoders: []}
    for _ in range(passes):  # in turns
        for threads, times in took.items():
            start = time.perf_counter()
            drain(look(session, encoder, crops, looked, decoders=threads))
            times.append((time.perf_counter() - start) * 1000)
    return np.array(took[1]), np.array(took[decoders])


def _take(path: Path, frames: np.ndarray, way: dict[str, bool]) -> int:
    with Video(path) as video:
        for _ in video.frames(frames, **way):
            pass
        return video.decoded


def _decode_all(path: Path) -> None:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def _milliseconds(work: Callable[[], int | None]) -> tuple[float, int]:
    start = time.process_time()
    result = work()
    return (time.process_time() - start) * 1000, result or 0


if __name__ == "__main__":
    main()
