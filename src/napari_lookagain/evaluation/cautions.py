"""Why the numbers of an evaluation may say less than they seem to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_lookagain.evaluation.advice import percent
from napari_lookagain.metrics import ALL

if TYPE_CHECKING:
    import pandas as pd

_FEW_FRAMES, _FEW_BOUTS = 500, 10
_FEW_SEEDS = 3
_LATE, _MATTERS = 2, 0.01  # frames of lag, and of accuracy that it costs


def cautions(told: dict[str, Any], measures: pd.DataFrame) -> list[str]:
    """What to mind when reading the numbers, a sentence or two each.

    Parameters
    ----------
    told
        What ``study.json`` holds.
    measures
        Rows of ``measures.csv``.
    """
    return [
        *_of_seeds(measures),
        *_of_versions(told),
        *_of_splits(told),
        *_of_recordings(told),
        *_of_classes(told, measures),
        *_of_lags(measures),
        *_of_trials(measures),
    ]


def _of_seeds(measures: pd.DataFrame) -> list[str]:
    n = measures["seed"].nunique()
    if n == 1:
        return [
            "Only one seed was run, so no scatter is known: no difference below can be told from luck in training. "
            "Run three or more."
        ]
    if n < _FEW_SEEDS:
        return [f"Only {n} seeds were run: their scatter is itself hardly known. Run three or more."]
    return []


def _of_splits(told: dict[str, Any]) -> list[str]:
    split = told["split"]
    if split["by"] == "time":
        return [
            "There is a single recording, and its held-out end shows the same animals in the same place: this is "
            "weaker evidence than another recording would be, and says nothing about other animals."
        ]
    tested = {name for fold in split["folds"] for name in fold["test"]}
    if len(tested) == 1:
        return [f"Only {next(iter(tested))} was held out: how much recordings differ is not known."]
    return []


def _of_versions(told: dict[str, Any]) -> list[str]:
    versions = told.get("versions", [])  # an evaluation of before they were noted has none
    if len(versions) < 2:
        return []
    return [
        f"What is told here was computed by the versions {', '.join(versions)} of this program, whose means are mixed; "
        "for a paper, evaluate anew with one of them, to another --out."
    ]


def _of_recordings(told: dict[str, Any]) -> list[str]:
    """Recordings of the same data, on both sides of a split."""
    for what in ("keypoints", "video"):
        same: dict[str, list[str]] = {}
        for each in told["recordings"]:
            if each.get(what) is not None:
                same.setdefault(each[what], []).append(each["recording"])
        twice = [names for names in same.values() if len(names) > 1]
        if twice:
            return [
                f"{' and '.join(names)} have the same {what}: where one is learnt from and the other held out, nothing "
                "was held out. Leave all but one out, unless they show different animals."
                for names in twice
            ]
    return []


def _of_classes(told: dict[str, Any], measures: pd.DataFrame) -> list[str]:
    """Behaviors with little to be tested on, and those that some model never saw in training."""
    frames, bouts = (_tested(measures, measure) for measure in ("true_frames", "bouts"))
    if not frames:
        return ["Nothing is scored: nothing below tells whether what was told is right."]
    few = [
        f"*{name}* ({n:.0f} frames in {bouts[name]:.0f} {'bout' if bouts[name] == 1 else 'bouts'})"
        for name, n in frames.items()
        if n < _FEW_FRAMES or bouts[name] < _FEW_BOUTS
    ]
    out = []
    if few:
        out.append(f"Little is held out of {', '.join(few)}: F1 hangs on a few bouts there, and macro F1 with it.")
    absent = _absent(measures)
    if absent:
        out.append(
            f"Nothing is held out of {', '.join(absent)}: F1 counts 0 there, in macro F1 too, however good a model is. "
            "Take fewer --folds, or look at `macro_f1_present`, which leaves it out."
        )
    if told["split"]["by"] == "time":
        return out
    scored = {each["recording"]: each["scored"] for each in told["recordings"]}
    for name in frames:
        without = [
            str(i + 1)
            for i, fold in enumerate(told["split"]["folds"])
            if not any(scored[recording].get(name, 0) for recording in fold["train"])
        ]
        if without:
            splits = f"split {without[0]}" if len(without) == 1 else f"splits {', '.join(without)}"
            out.append(f"*{name}* is never scored in the training recordings of {splits}: no model can tell it there.")
    return out


def _absent(measures: pd.DataFrame) -> list[str]:
    """Behaviors that nobody scored in what a split holds out, though in what another does."""
    frames = _frames(measures, "true_frames")
    bare = frames[frames == 0]
    scored = set(frames[frames > 0].index.get_level_values("class"))
    return [f"*{name}* in split {split}" for name, split in bare.index if name in scored]


def _tested(measures: pd.DataFrame, measure: str) -> dict[str, float]:
    """Of every behavior the count over all held-out parts."""
    counts = _frames(measures, measure).groupby(level="class", sort=False).sum()
    return {str(name): float(n) for name, n in counts.items()}


def _frames(measures: pd.DataFrame, measure: str) -> pd.Series:
    """A count of every behavior and split, which is the same for all arms and seeds."""
    own = measures["measure"].isin([measure, f"mapped_{measure}"]) & (measures["class"] != ALL)
    own &= (measures["recording"] == ALL) & (measures["animal"] == ALL)
    return measures[own].groupby(["class", "split"], sort=False)["value"].max()


def _of_lags(measures: pd.DataFrame) -> list[str]:
    """Recordings whose labels come late, or early, as most models see it: all of them pay for that."""
    own = measures[measures["measure"].str.startswith("label_")]
    out = []
    for recording, rows in own.groupby("recording", sort=False):
        lag, gain, drift = (
            rows[rows["measure"] == f"label_{name}"]["value"].median() for name in ("lag", "lag_gain", "drift")
        )
        if not (abs(lag) >= _LATE and gain >= _MATTERS):  # NaN where a single behavior is scored
            continue
        grows = f", and by {drift:+.0f} frames more in its second half" if abs(drift) >= _LATE else ""
        out.append(
            f"The labels of {recording} seem {abs(lag):.0f} frames {'late' if lag > 0 else 'early'} beside those of "
            f"the training recordings{grows}: moved there, {100 * gain:.1f} % more of its frames would be told right. "
            "Were they scored on another clock, or at another frame rate? All models pay for it."
        )
    return out


def _of_trials(measures: pd.DataFrame) -> list[str]:
    """Arms that lack trials which others have."""
    done = measures[measures["seed"].notna()]
    every = set(zip(done["split"], done["seed"], strict=True))
    out = []
    conditions = done[["arm", "fraction"]].drop_duplicates()
    for arm, fraction in zip(conditions["arm"], conditions["fraction"], strict=True):
        rows = done[(done["arm"] == arm) & (done["fraction"] == fraction)]
        missing = len(every) - len(set(zip(rows["split"], rows["seed"], strict=True)))
        if missing:
            part = "" if done["fraction"].nunique() == 1 else f" with {percent(fraction)} of the labels"
            out.append(f"{arm}{part} lacks {missing} of {len(every)} trials: its numbers are of other splits or seeds.")
    return out
