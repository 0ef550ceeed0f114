"""What an evaluation found, as paragraphs and tables of markdown: each function gives one section of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.evaluation.advice import WORDS, Advice, Choice, percent
from napari_lookagain.evaluation.tables import (
    KINDS,
    NOTHING,
    Column,
    cell,
    comparison,
    grid,
    leader,
    markdown,
    scores_of,
)
from napari_lookagain.metrics import ALL

if TYPE_CHECKING:
    import pandas as pd


def _time(value: float) -> str:
    """Seconds as people say them."""
    if np.isnan(value):
        return NOTHING
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def _hundredths(share: float) -> str:
    return percent(round(share, 2))


_LOOKED = Column("looked at", "looked_share", best=None, show=_hundredths, scatter=False)
_COLUMNS = {
    "behavior": (
        Column("macro F1", "macro_f1"),
        Column("average precision", "macro_average_precision"),
        Column("kappa", "kappa"),
        Column("bout F1", "macro_bout_f1@0.5"),
        Column("edit score", "edit_score"),
        Column("boundary error", "boundary_error_median", best="low", show="{:.1f}".format),
        Column("boundaries missed", "boundaries_missed", best="low"),
        Column("bouts told for one", "bout_ratio", best=None, show="{:.1f}".format),
        _LOOKED,
    ),
    "cluster": (
        Column("mapped macro F1", "mapped_macro_f1"),
        Column("V-measure", "v_measure"),
        Column("ARI", "ari"),
        Column("over-segmentation", "over_segmentation", best=None, show="{:.1f}".format),
        Column("stability", "stability_ari", scatter=False),
        Column("animal NMI", "animal_nmi", best="low"),
        Column("sharpness", "sharpness", best=None),
        _LOOKED,
    ),
}
_CALIBRATION = (
    Column("calibration error", "calibration_error", "(top)", best="low", show="{:.3f}".format),
    Column("in bins of equal count", "calibration_error_equal_count", "(top)", best="low", show="{:.3f}".format),
    Column("Brier score", "brier", best="low", show="{:.3f}".format),
)
_COST = (
    Column("training", "train_seconds", best=None, show=_time, scatter=False),
    Column("prediction", "predict_seconds", best=None, show=_time, scatter=False),
    _LOOKED,
)
_ALONE = (
    "it is reckoned as if nothing had been seen before, every look at the mean pace of its arm, which is too little "
    "for few looks where keyframes are far apart."
)
_CHOICE = ("look at", "score there", "best score", "at")


def in_short(compared: pd.DataFrame, advice: Sequence[Advice]) -> Iterator[str]:
    """Which arm is ahead, whether that is more than chance, and what budget to take: a sentence or two each.

    Parameters
    ----------
    compared
        Of `summarize`, every arm at one condition.
    advice
        For the arms that were tried at several budgets.
    """
    for kind in KINDS:
        word, own = scores_of(compared, kind)
        found = own.sort_values("mean", ascending=False, kind="stable")
        if len(found) == 0 or (found["measure"] == "sharpness").all():  # the sharpest is not the best
            continue
        text = f"Highest {word}: **{found['arm'].iloc[0]}**, {_score(found, 0)}"
        if len(found) > 1:
            text += f"; next is {found['arm'].iloc[1]}, {_score(found, 1)}"
            if found["sd"].iloc[:2].isna().any():
                text += ". Whether that lead is chance is not known from one seed"
            elif leader(found, "high") is None:
                text += ". That lead is within the scatter of seeds: neither is shown to be better"
            else:
                text += ". That lead is larger than the scatter of seeds"
        yield text + "."
    if advice:
        yield f"{advice[0].arm}: {advice[0].overall.sentence}"


def _score(found: pd.DataFrame, place: int) -> str:
    one = found.iloc[place]
    return cell(one["mean"], one["sd"]) + ("" if np.isnan(one["budget"]) else f" at budget {percent(one['budget'])}")


def of_kind(compared: pd.DataFrame, kind: str) -> Iterator[str]:
    """All arms of a kind beside each other, and F1 of every behavior."""
    own = compared[compared["kind"] == kind]
    if own.empty:
        return
    yield comparison(own, _COLUMNS[kind])
    seeds = int(own["seeds"].max())
    scatter = f"Mean ± standard deviation over {seeds} seeds." if seeds > 1 else "One seed, so without scatter."
    yield (
        f"{scatter} Bold: the best, where it is ahead of the next by more than √(sd² + sd²) of the two. All labels; "
        "where an arm takes a budget, the one that most were tried at."
    )
    measure = "f1" if kind == "behavior" else "mapped_f1"
    by_class = own[(own["measure"] == measure) & (own["recording"] == ALL) & (own["class"] != ALL)]
    if len(by_class):
        yield "F1 by behavior:" if kind == "behavior" else "F1 by behavior, of the clusters that stand for it:"
        yield grid(by_class, "class")


def by_condition(summary: pd.DataFrame, across: str) -> Iterator[str]:
    """Scores of the arms with several values of "budget" or "fraction"."""
    for kind in KINDS:
        word, own = scores_of(summary, kind)
        own = own[own.groupby("arm")[across].transform("nunique") > 1]
        if len(own):
            yield f"{word[0].upper()}{word[1:]}:"
            yield grid(own, across, percent, bold=not (own["measure"] == "sharpness").all())


def by_recording(compared: pd.DataFrame) -> Iterator[str]:
    """Every recording by itself, and which is the worst; nothing of a single one."""
    own = compared[compared["measure"].isin(["macro_f1_present", "mapped_macro_f1_present"])]
    own = own[own["recording"] != ALL]
    if own["recording"].nunique() < 2:
        return
    yield "Macro F1 of the behaviors that are scored or told there:"
    yield grid(own, "recording", bold=False)
    means = own.groupby("recording", sort=False)["mean"].mean()
    worst = str(means.idxmin())
    first = own[own["recording"] == worst].iloc[0]
    text = f"The worst recording is **{worst}**: {first['mean']:.2f} by {first['arm']}"
    text += f", {means.min():.2f} on average over arms" if own["arm"].nunique() > 1 else ""
    yield f"{text}. Look at its video, its keypoints and its scoring first."


def looking(advice: Sequence[Advice]) -> Iterator[str]:
    """Score against budget and time: the first arm in full, all others in a line."""
    if not advice:
        return
    first = advice[0]
    overall = first.overall
    yield f"**{first.arm}.** {first.sentence}"
    rows = [
        [percent(each.budget), cell(each.score, each.standard_error), _time(each.seconds)] for each in overall.tried
    ]
    yield markdown(["budget", WORDS[overall.measure], "prediction"], rows)
    rule = (
        f"Mean over {overall.trials} trials ± standard error; a trial is one split with one seed. Recommended is the "
        "smallest budget whose mean is within one standard error of the best."
    )
    rule = rule if overall.trials > 1 else "One trial: one split with one seed. Recommended is the best."
    yield f"{rule} Prediction: processor time for the recordings of a split; {_ALONE}"
    if len(first.recordings) > 1:
        yield f"By recording ({WORDS[first.recordings[0].measure]}; standard error over its seeds):"
        yield markdown(["recording", *_CHOICE], [[each.recording, *_choice(each)] for each in first.recordings])
    if len(advice) > 1:
        yield "The other arms, over all recordings:"
        yield markdown(["", *_CHOICE], [[each.arm, *_choice(each.overall)] for each in advice[1:]])


def _choice(choice: Choice) -> tuple[str, str, str, str]:
    taken, best = choice.budget, choice.best
    return percent(taken.budget), cell(taken.score), cell(best.score, best.standard_error), percent(best.budget)


def calibration(compared: pd.DataFrame) -> Iterator[str]:
    """Whether probabilities mean what they say, of the arms that tell behaviors."""
    own = compared[compared["measure"].isin([column.measure for column in _CALIBRATION])]
    own = own[own["kind"] == "behavior"]
    if len(own):
        yield comparison(own, _CALIBRATION)
        yield "0 is best. The first two are of the most probable behavior."


def cost(compared: pd.DataFrame) -> Iterator[str]:
    """Time, and frames looked at."""
    yield comparison(compared, _COST)
    yield f"Processor time of one trial (of all cores, added up). Prediction is of the recordings of a split; {_ALONE}"
