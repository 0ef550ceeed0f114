"""``lookagain evaluate``: does this work on my animals, does looking pay, and how many labels do I need?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_lookagain.cli.options import (
    Device,
    Encoder,
    Json,
    Seed,
    Sessions,
    Settings,
    load_sessions,
    names_of,
    setting_of,
)
from napari_lookagain.cli.show import show, watch
from napari_lookagain.errors import InputError


def evaluate(
    folders: Sessions,
    out: Annotated[Path, typer.Option(help="Folder of the evaluation; the same command goes on in it.")],
    study: Annotated[
        str, typer.Option(help="looking, labels, keypoints, baselines, clusters, ablations, or a .toml file.")
    ] = "looking",
    arms: Annotated[str | None, typer.Option(help="Only these arms of the study; several by comma.")] = None,
    budgets: Annotated[str | None, typer.Option(help="Shares to look at, for arms that name none: 0,0.05,1.")] = None,
    fractions: Annotated[str | None, typer.Option(help="Shares of the labels to learn from, as 0.1,0.3,1.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds; scatter over them is reported.", min=1)] = None,
    folds: Annotated[int | None, typer.Option(help="Groups of recordings, each held out once; 1: one split.")] = None,
    encoder: Encoder = "",
    preset: Annotated[str | None, typer.Option(help="quick, labels or paper, for arms that name none.")] = None,
    settings: Settings = None,
    jobs: Annotated[int, typer.Option(help="Processes that share the work.", min=1)] = 1,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare models and budgets on recordings that were not learnt from, and write a report."""
    from napari_lookagain.evaluation.jobs import evaluate as run
    from napari_lookagain.evaluation.study import Study

    given: dict[str, Any] = {
        "budgets": _numbers("--budgets", budgets),
        "fractions": _numbers("--fractions", fractions),
        "folds": folds,
        "preset": preset,
    }
    chosen = Study.load(study)
    given["seeds"] = [seed + each for each in (chosen.seeds if seeds is None else range(seeds))]
    changes = {name: value for name, value in given.items() if value is not None}
    changed = dict(setting_of(each) for each in settings or [])
    if encoder:
        changed["vision.encoder"] = encoder
    chosen = Study.parse(chosen.model_dump() | changes | {"settings": chosen.settings | changed})
    if arms is not None:
        chosen = chosen.only(names_of(arms) or [])
    result = watch(run(load_sessions(folders), chosen, out, device=device, jobs=jobs))
    if not as_json:
        result = {name: value for name, value in result.items() if name != "macro_f1"} | {
            _line(row): row["macro_f1"] for row in result["macro_f1"]
        }
    show(result, as_json)


def _line(row: dict[str, object]) -> str:
    budget = "" if row["budget"] is None else f", budget {row['budget']:g}"
    labels = "" if row["fraction"] == 1 else f", {row['fraction']:.0%} of the labels"
    return f"macro F1, {row['arm']}{budget}{labels}"


def _numbers(option: str, text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} got {text!r}, expected numbers with commas between them.") from error
