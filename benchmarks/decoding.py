"""What it costs to decode some of the frames of a video: processor time per frame of the video, whether wanted or not.

Prints the median of several passes, beside the raw decode floor measured among them: every frame decoded in order by
FFmpeg through PyAV, none made into an array.

    OMP_NUM_THREADS=1 python benchmarks/decoding.py VIDEO
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from napari_lookagain.video import Video

RUN = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--passes", type=int, default=3)
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
