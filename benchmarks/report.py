"""Everything that is measured of speed and memory, in one command: one json and one markdown of it.

    xvfb-run -a python benchmarks/report.py [--out FOLDER] [--video FILE] [--only cost decoding] [options of cost.py]

What looking costs with eyes of several sizes, beside dense looks, a conventional reader and the bound, with training
and the memory of long recordings (`cost.py`); what decoding some of the frames costs (`decoding.py`); and what the
screen of the plugin takes (`timeline.py`, `scrubbing.py`), for which a display is needed, a virtual one will do. Each
runs in a process of its own. Options that are not known here are those of `cost.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from napari_lookagain.simulate import simulate

HERE = Path(__file__).parent
FRAMES = 1500  # of the video that is decoded and scrolled through, where none is given
TITLES = {
    "cost": "What looking costs",
    "decoding": "Decoding some of the frames",
    "timeline": "The timeline of ten hours",
    "scrubbing": "Moving through a recording in napari",
}


def main() -> None:
    """Run what is asked for, one after the other, and write what is known after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--video", type=Path, help="looked at and decoded; a simulated one by default")
    parser.add_argument("--only", nargs="+", default=list(TITLES), choices=list(TITLES))
    options, of_cost = parser.parse_known_args()
    options.out.mkdir(parents=True, exist_ok=True)
    told, text = {}, []
    with tempfile.TemporaryDirectory() as folder:
        video = options.video or simulate(Path(folder), n_frames=FRAMES).video
        given = [] if options.video is None else ["--video", options.video]
        arguments = {"cost": [*given, *of_cost], "decoding": [video], "timeline": [], "scrubbing": [video]}
        for name in options.only:
            printed, told[name] = measure(name, arguments[name], Path(folder))
            text.append(f"## {TITLES[name]}\n\n{printed.strip()}\n")
            (options.out / "report.md").write_text("\n".join(text), encoding="utf-8")
            (options.out / "report.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print("\n".join(text))


def measure(name: str, arguments: Sequence[str | Path], folder: Path) -> tuple[str, dict]:
    """Run one of the scripts: what it prints, and what it writes as json."""
    out = folder / f"{name}.json"
    command = [sys.executable, HERE / f"{name}.py", *arguments, "--json", out]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}.py failed, as said above; mend that, or leave it out with --only.")
    return done.stdout, json.loads(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
