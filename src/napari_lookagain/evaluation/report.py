"""The report of an evaluation: what was asked, what came out, how far to trust it, and where looking pays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lookagain.errors import InputError
from napari_lookagain.evaluation import findings
from napari_lookagain.evaluation.advice import Advice, percent, recommend_budget
from napari_lookagain.evaluation.cautions import cautions
from napari_lookagain.evaluation.illustrations import Illustration, draw_pictures
from napari_lookagain.evaluation.tables import all_labels, at_budgets, markdown, summarize, usual_budgets
from napari_lookagain.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("seed", "budget", "value")  # that may be missing
_WORDS = ("arm", "method", "kind", "recording", "animal", "class", "scored")
_INTRODUCTION = (
    "*What is measured, and how to read it* (`docs/metrics.md` of napari-lookagain) defines every number. In short:"
)
_METHOD = (
    "Unscored frames enter nothing. Frames, bouts and boundaries of all held-out recordings of a split are pooled "
    "before anything is divided; then comes the mean over splits, seed by seed, and the mean and standard deviation "
    "over seeds.",
    "Scatter over seeds is chance in training, on the same recordings. It does not tell how other animals would do: "
    "for that, compare recordings. The best of many arms is, in part, the luckiest.",
    "Macro F1 is the mean F1 of all behaviors, each as heavy as any; one that a split does not show counts 0 there.",
    "Bout F1 asks for an overlap (intersection over union) of one half, and is a mean over behaviors, too. The "
    "boundary error is a median in frames, of the boundaries that were not missed. Many bouts told for one scored are "
    "flicker, which makes the boundary error small.",
    "Clusters stand for the behavior scored most often in them *on the training recordings*.",
    "The numbers behind every table are in `measures.csv`, `confusion.csv` and `reliability.csv` beside this report.",
)


def write_report(folder: Path) -> Path:
    """Write ``report.md`` and its pictures from the tables of an evaluation.

    Numbers are means over splits, taken seed by seed, then mean ± standard deviation over seeds. Arms are compared with
    all their labels and at one budget (`tables.usual_budgets`); tables by budget and by share of labels follow.

    Parameters
    ----------
    folder
        With ``study.json``, ``measures.csv``, ``confusion.csv`` and ``reliability.csv``; ethograms and gate scores are
        drawn where its trials and recordings are there, too.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    InputError
        When the folder holds no evaluation, or none of its trials is done.
    """
    told, measures, confusion, curves = _read(folder)
    summary = summarize(measures)
    full, usual = all_labels(summary), at_budgets(summary, usual_budgets(summary))
    compared = all_labels(usual)
    pictures = draw_pictures(folder, told, measures, confusion, curves)
    advice = _advice(measures)
    sections = [
        ["# Evaluation", _bullets(findings.in_short(compared, advice))],
        ["## What was asked", *_asked(told, measures)],
        ["## What to mind", _bullets(cautions(told, measures))],
        ["## Behaviors", *findings.of_kind(compared, "behavior"), *_confusions(pictures, "behavior")],
        ["## Clusters", *findings.of_kind(compared, "cluster"), *_confusions(pictures, "cluster")],
        ["## By budget", *findings.by_condition(full, "budget"), *_shown(pictures, "budget")],
        ["## By share of labels", *findings.by_condition(usual, "fraction"), *_shown(pictures, "labels")],
        ["## By recording", *findings.by_recording(compared)],
        ["## Where looking pays", *findings.looking(advice)],
        ["## Ethograms and looks", *_shown(pictures, "ethograms"), *_shown(pictures, "gate")],
        ["## Calibration", *findings.calibration(compared), *_shown(pictures, "calibration")],
        ["## Cost", *findings.cost(compared)],
        ["## How the numbers are made", _INTRODUCTION, _bullets(_METHOD)],
    ]
    filled = [[part for part in section if part] for section in sections]
    text = "\n\n".join("\n\n".join(section) for i, section in enumerate(filled) if len(section) > 1 or i == 0)
    with atomic_path(folder / "report.md") as path:
        path.write_text(text + "\n", encoding="utf-8")
    return folder / "report.md"


def _read(folder: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    missing = {name: [""] for name in _NUMBERS}
    words = dict.fromkeys(_WORDS, str)
    tables = {"measures": words, "confusion": words | {"predicted": str}, "reliability": words}
    try:
        told = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        measures, confusion, curves = (
            # names stay as they are: a behavior may be called "NA", or "1"
            pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=missing, dtype=words)
            for name, words in tables.items()
        )
    except FileNotFoundError as error:
        raise InputError(f"There is no evaluation in {folder} ({error.filename} is missing); run it first.") from error
    except ValueError as error:
        raise InputError(f"The evaluation in {folder} is damaged ({error}); run it again.") from error
    if measures.empty:
        raise InputError(f"No trial of the evaluation in {folder} is done yet; let it go on.")
    return told, measures, confusion, curves


def _advice(measures: pd.DataFrame) -> list[Advice]:
    out = []
    for _, rows in all_labels(measures).groupby("arm", sort=False):
        try:
            out.append(recommend_budget(rows))
        except InputError:  # it was tried at one budget, or takes none
            continue
    return out


def _asked(told: dict[str, Any], measures: pd.DataFrame) -> list[str]:
    split, recordings = told["split"], told["recordings"]
    rows = []
    for each in recordings:
        scored = ", ".join(f"{name} {n}" for name, n in each["scored"].items() if n)
        rows.append([each["recording"], str(each["frames"]), ", ".join(each["animals"]), scored])
    if split["by"] == "time":
        [fold] = split["folds"]
        start = f" from frame {fold['test_start']} on" if "test_start" in fold else ""
        parted = (
            f"One recording: parted by time, with a gap of {split['gap']} frames. Its end{start} is held out; this is "
            "weaker evidence than another recording would be."
        )
    else:
        held = "; ".join(f"split {i + 1}: {', '.join(fold['test'])}" for i, fold in enumerate(split["folds"]))
        parted = f"Parted by recording, never by frame. Held out, and never learnt from, in {held}."
    seeds = ", ".join(f"{seed:g}" for seed in sorted(measures["seed"].dropna().unique()))
    arms = measures[["arm", "method"]].drop_duplicates().itertuples(index=False)
    lines = [
        parted,
        f"Seeds: {seeds}.",
        f"Arms: {'; '.join(arm if arm.lower() == method else f'{arm} ({method})' for arm, method in arms)}.",
    ]
    for name, word in (("budget", "Budgets (share of frames looked at)"), ("fraction", "Shares of the labels")):
        values = sorted(measures[name].dropna().unique())
        lines += [f"{word}: {', '.join(percent(value) for value in values)}."] if len(values) > 1 else []
    return [markdown(["recording", "frames", "animals", "scored frames"], rows), _bullets(lines)]


def _confusions(pictures: Sequence[Illustration], kind: str) -> list[str]:
    """The first arm's is shown, those of the others are linked."""
    own = [each for each in pictures if each.section == kind]
    others = [f"[{each.title}]({each.path})" for each in own[1:]]
    return [*(each.text for each in own[:1]), f"The same for {', '.join(others)}." if others else ""]


def _shown(pictures: Sequence[Illustration], section: str) -> list[str]:
    return [each.text for each in pictures if each.section == section]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
