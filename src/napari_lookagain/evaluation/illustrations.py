"""The pictures of a report, drawn from what an evaluation folder holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_lookagain.colors import behavior_colors
from napari_lookagain.ethogram import Ethogram, load_ethogram
from napari_lookagain.evaluation.advice import percent
from napari_lookagain.evaluation.tables import KINDS, all_labels, at_budgets, scores_of, usual_budgets
from napari_lookagain.metrics import ALL
from napari_lookagain.session import load_session

if TYPE_CHECKING:
    import pandas as pd

_STRETCH = 120.0  # seconds of the ethograms side by side
_WORDS = {"budget": "budget", "fraction": "share of labels"}
Section = Literal["behavior", "cluster", "budget", "labels", "calibration", "ethograms", "gate"]
Across = Literal["budget", "fraction"]


@dataclass(frozen=True)
class Illustration:
    """One picture of a report.

    Parameters
    ----------
    section
        Where it belongs; a confusion belongs to the kind of its arm.
    path
        Its file, from the folder of the report.
    title
        What it is of, in few words.
    caption
        What it shows, in a sentence.
    """

    section: Section
    path: str
    title: str
    caption: str

    @property
    def text(self) -> str:
        """The picture over its caption, as markdown."""
        return f"![{self.title}]({self.path})\n\n*{self.caption}*"


def draw_pictures(
    folder: Path, told: dict[str, Any], measures: pd.DataFrame, confusion: pd.DataFrame, curves: pd.DataFrame
) -> list[Illustration]:
    """Draw what there is to draw into ``pictures`` in the folder.

    Parameters
    ----------
    folder
        Of the evaluation; ethograms and gate scores are drawn where its trials and recordings are there.
    told
        What ``study.json`` holds.
    measures, confusion, curves
        The tables of the folder.
    """
    kinds = dict(zip(measures["arm"], measures["kind"], strict=True))
    usual = usual_budgets(measures)
    full = all_labels(at_budgets(confusion, usual))
    out = [*_scores(folder, measures, usual), *_confusions(folder, full, kinds)]
    if len(curves) and (curves["frames"] > 0).any():
        from napari_lookagain.pictures.curves import draw_reliability

        draw_reliability(folder / "pictures" / "reliability.png", all_labels(at_budgets(curves, usual)), _colors(told))
        caption = "How often what was told was so, by the probability it was told with."
        out.append(Illustration("calibration", "pictures/reliability.png", "reliability curves", caption))
    if not (folder / "sessions").is_dir():
        return out
    trials = list(_trials(folder, told, all_labels(at_budgets(measures, usual))))
    return [*out, *_ethograms(folder, told, measures, trials), *_gate(folder, told, trials)]


def _scores(folder: Path, measures: pd.DataFrame, usual: dict[str, float]) -> Iterator[Illustration]:
    from napari_lookagain.pictures.curves import draw_scores

    known = measures[(measures["animal"] == ALL) & measures["value"].notna()]
    for kind in KINDS:
        label, own = scores_of(known, kind)
        parts: dict[Across, pd.DataFrame] = {"budget": all_labels(own), "fraction": at_budgets(own, usual)}
        for across, rows in parts.items():
            by_seed = rows.groupby(["arm", across, "seed"], dropna=False, sort=False)["value"].mean().reset_index()
            if by_seed[across].nunique() < 2:
                continue
            word = _WORDS[across]
            name = f"pictures/{kind}-by-{word.split()[-1]}.png"
            draw_scores(folder / name, by_seed, across, label)
            title = f"{label[0].upper()}{label[1:]} by {word}"
            caption = f"{title}: means over seeds with their standard deviation."
            yield Illustration("labels" if across == "fraction" else "budget", name, title, caption)


def _confusions(folder: Path, confusion: pd.DataFrame, kinds: dict[str, Any]) -> Iterator[Illustration]:
    from napari_lookagain.pictures.evaluation import draw_confusion

    if not len(confusion) or not confusion["frames"].sum():
        return
    for i, (arm, rows) in enumerate(confusion.groupby("arm", sort=False)):
        slug = re.sub(r"\W+", "-", str(arm).lower()).strip("-")
        name = f"pictures/confusion-{i + 1:02}-{slug}.png"
        seeds = rows["seed"].nunique()
        counts = rows.groupby(["scored", "predicted"], sort=False)["frames"].sum().div(seeds).reset_index()
        budget = rows["budget"].iloc[0]
        title = f"{arm}" if np.isnan(budget) else f"{arm} at budget {percent(budget)}"
        draw_confusion(folder / name, counts, title)
        means = "" if seeds == 1 else f", mean counts of {seeds} seeds"
        caption = f"{title}: what scored frames were predicted to be{means}."
        yield Illustration(kinds[str(arm)], name, title, caption)


@dataclass(frozen=True)
class _Part:
    """What one arm told in one trial, at the budget at which arms are compared."""

    arm: str
    split: int
    seed: int
    budget: float | None
    mapping: list[str | None] | None
    place: Path


def _trials(folder: Path, told: dict[str, Any], measures: pd.DataFrame) -> Iterator[_Part]:
    """The trials that some measures are of, in their order, as far as they are there."""
    from napari_lookagain.evaluation.study import Study
    from napari_lookagain.evaluation.trials import Trial, budget_folder

    study = Study.parse(told["study"])
    seeded = measures[measures["seed"].notna()]
    for each in seeded[["arm", "split", "seed", "fraction", "budget"]].drop_duplicates().to_dict("records"):
        arm, split, seed = each["arm"], int(each["split"]), int(each["seed"])
        budget = None if np.isnan(each["budget"]) else float(each["budget"])
        place = folder / "trials" / Trial(arm, split - 1, seed, each["fraction"]).key(study)
        if (place / "told.json").exists():
            kept = json.loads((place / "told.json").read_text(encoding="utf-8"))["budgets"]
            [own] = [one for one in kept if one["budget"] == budget]
            yield _Part(arm, split, seed, budget, own.get("mapping"), place / budget_folder(budget))


def _ethograms(
    folder: Path, told: dict[str, Any], measures: pd.DataFrame, trials: list[_Part]
) -> Iterator[Illustration]:
    """Truth and all arms of the recording in the middle of the ranking, in its liveliest two minutes."""
    from napari_lookagain.pictures.evaluation import draw_ethograms

    rows = measures[measures["measure"].isin(["macro_f1_present", "mapped_macro_f1_present"])]
    ranked = rows[rows["recording"] != ALL].groupby("recording")["value"].mean().dropna().sort_values()
    if not trials or not len(ranked):
        return
    name = str(ranked.index[len(ranked) // 2])
    folds = told["split"]["folds"]
    own = [trial for trial in trials if name in folds[trial.split - 1]["test"]]
    own = [trial for trial in own if (trial.split, trial.seed) == (own[0].split, own[0].seed)]
    recording = _index(told, name)
    session = load_session(folder / "sessions" / f"{recording}.lookagain")
    truth = session.annotations.labels()
    held = folds[own[0].split - 1].get("test_start", 0)
    animal = int((truth[held:] >= 0).sum(axis=0).argmax())
    start, stop = (held + frame for frame in _liveliest(truth[held:, animal], round(_STRETCH * session.fps)))
    lanes = {"scored": (truth[start:stop, animal], session.annotations.behaviors)}
    for trial in own:
        label, called = _behaviors(trial, load_ethogram(trial.place / f"{recording}.npz"))
        lanes[trial.arm] = label[start:stop, animal], called
    title = f"{name} · {session.animals[animal]}"
    path = folder / "pictures" / "ethograms.png"
    draw_ethograms(path, lanes, session.fps, title, start=start, colors=_colors(told))
    middle = ", the recording in the middle of the ranking" if len(ranked) > 2 else ""
    caption = f"What was scored and what was told in the liveliest stretch of {name}{middle} (seed {own[0].seed})."
    yield Illustration("ethograms", "pictures/ethograms.png", "ethograms", caption)


def _behaviors(trial: _Part, ethogram: Ethogram) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels by behavior; a cluster is the behavior that it stands for."""
    if trial.mapping is None:
        return ethogram.label, ethogram.names
    names = tuple(dict.fromkeys(name for name in trial.mapping if name is not None))
    index = [-1 if name is None else names.index(name) for name in trial.mapping]
    return np.array([*index, -1])[ethogram.label], names


def _liveliest(label: np.ndarray, length: int) -> tuple[int, int]:
    """The stretch with the most changes of what is scored."""
    begins = np.append(label[0] >= 0, (label[1:] != label[:-1]) & (label[1:] >= 0))
    starts = np.arange(0, max(1, len(label) - length + 1), max(1, length // 4))
    sums = np.append(0, np.cumsum(begins))
    stops = np.minimum(starts + length, len(label))
    best = int((sums[stops] - sums[starts]).argmax())
    return int(starts[best]), int(stops[best])


def _gate(folder: Path, told: dict[str, Any], trials: list[_Part]) -> Iterator[Illustration]:
    """Gate scores of the first arm that has any, on all held-out frames of its first seed."""
    from napari_lookagain.pictures.evaluation import draw_gate

    behaviors = _names(told)
    gated = [trial for trial in trials if trial.budget is not None and 0 < trial.budget < 1]
    for arm in dict.fromkeys(trial.arm for trial in gated):
        own = [trial for trial in gated if trial.arm == arm]
        first = own[0]
        parts = [part for trial in own if trial.seed == first.seed for part in _gated(folder, told, trial, behaviors)]
        score, looked, label = (np.concatenate(each) for each in zip(*parts, strict=True))
        if np.isfinite(score).any():
            title = f"{arm} at budget {percent(first.budget or 0)}"
            draw_gate(folder / "pictures" / "gate.png", score, looked, title, (label, behaviors))
            caption = f"Gate scores of the frames looked at and of the others: {title}, seed {first.seed}."
            yield Illustration("gate", "pictures/gate.png", "gate scores", caption)
            return


def _gated(
    folder: Path, told: dict[str, Any], trial: _Part, behaviors: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Gate score, look and scored behavior of the held-out frames of every test recording."""
    fold = told["split"]["folds"][trial.split - 1]
    start = fold.get("test_start", 0)
    for recording in (_index(told, name) for name in fold["test"]):
        ethogram = load_ethogram(trial.place / f"{recording}.npz")
        annotations = load_session(folder / "sessions" / f"{recording}.lookagain").annotations
        index = np.array([*(behaviors.index(name) for name in annotations.behaviors), -1])
        parts = ethogram.gate_score, ethogram.looked, index[annotations.labels()]
        score, looked, label = (part[start:].ravel() for part in parts)
        yield score, looked, label


def _names(told: dict[str, Any]) -> list[str]:
    """Behaviors in the order of the sessions, which their colors go by."""
    return list(dict.fromkeys(name for each in told["recordings"] for name in each["scored"]))


def _colors(told: dict[str, Any]) -> dict[str, str]:
    return behavior_colors(_names(told))


def _index(told: dict[str, Any], recording: str) -> int:
    return [each["recording"] for each in told["recordings"]].index(recording)
