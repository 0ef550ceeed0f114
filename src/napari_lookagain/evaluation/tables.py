"""The tables of a report: means over seeds with their scatter, as markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_lookagain.evaluation.advice import percent
from napari_lookagain.metrics import ALL

if TYPE_CHECKING:
    import pandas as pd

CONDITION = ["arm", "kind", "fraction", "budget"]
KINDS = ("behavior", "cluster")
NOTHING = "–"
_SCORES = {
    "behavior": (("macro_f1", "macro F1"),),
    "cluster": (("mapped_macro_f1", "macro F1 of mapped clusters"), ("sharpness", "sharpness of clusters")),
}
_USUAL_BUDGET = 0.25
_RATES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Column:
    """One column of a comparison.

    Parameters
    ----------
    heading
        Of the column.
    measure, of
        What it shows, of all classes or of one.
    best
        Which end is good; None where neither is, and nothing is set bold.
    show
        How a number is written.
    scatter
        Whether it is written with the scatter of seeds.
    """

    heading: str
    measure: str
    of: str = ALL
    best: Literal["high", "low"] | None = "high"
    show: Callable[[float], str] = "{:.2f}".format
    scatter: bool = True


def summarize(measures: pd.DataFrame) -> pd.DataFrame:
    """Mean and scatter of every number: over splits seed by seed first, and then over seeds.

    Parameters
    ----------
    measures
        Rows of ``measures.csv``; those of single animals, and those without a value, are left out. So are precision,
        recall and F1 of a class where nobody scored it and no frame was told to be it, as in one of several splits.

    Returns
    -------
    DataFrame
        Columns arm, kind, fraction, budget, recording, class, measure; mean, sd (of seeds, with n − 1; NaN for one
        seed) and seeds (how many).
    """
    own = measures[(measures["animal"] == ALL) & measures["value"].notna() & ~_of_nothing(measures)]
    keys = [*CONDITION, "recording", "class", "measure"]
    by_seed = own.groupby([*keys, "seed"], dropna=False, sort=False)["value"].mean().reset_index()
    over = by_seed.groupby(keys, dropna=False, sort=False)["value"].agg(["mean", "std", "size"])
    return over.reset_index().rename(columns={"std": "sd", "size": "seeds"})


def _of_nothing(measures: pd.DataFrame) -> pd.Series:
    """Rows of `_RATES` of a class that is in neither truth nor prediction, which are 0 for want of another number."""
    counted = measures["measure"].str.endswith(("true_frames", "predicted_frames"))
    place = [measures[name] for name in measures.columns if name not in ("measure", "value")]
    frames = measures["value"].where(counted).groupby(place, dropna=False).transform("sum", min_count=1)
    return (measures["class"] != ALL) & measures["measure"].str.endswith(_RATES) & (frames == 0)


def all_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of every arm that learnt from its largest share of the labels."""
    return table[table["fraction"] == table.groupby("arm")["fraction"].transform("max")]


def usual_budgets(table: pd.DataFrame) -> dict[str, float]:
    """At which budget every arm is compared with the others; NaN for a method without budgets.

    That is the budget that most arms were tried at (of several, the nearest to a quarter of the frames), and the
    largest of an arm that was not tried at it.
    """
    tried = table.groupby("arm", sort=False)["budget"].unique()
    counts = table.groupby("budget")["arm"].nunique()
    most = [float(budget) for budget in counts.index[counts == counts.max()]]
    usual = min(most, key=lambda budget: abs(budget - _USUAL_BUDGET), default=np.nan)
    return {str(arm): usual if usual in budgets else float(np.max(budgets)) for arm, budgets in tried.items()}


def at_budgets(table: pd.DataFrame, budgets: Mapping[str, float]) -> pd.DataFrame:
    """Rows of every arm at its budget; those of methods without budgets stay as they are."""
    return table[table["budget"].isna() | (table["budget"] == table["arm"].map(budgets))]


def scores_of(table: pd.DataFrame, kind: str) -> tuple[str, pd.DataFrame]:
    """What arms of a kind are judged by, in words, and its rows of all recordings; sharpness where nothing is scored.

    Parameters
    ----------
    table
        Measures or a summary of them, without rows that have no number.
    """
    own = table[(table["kind"] == kind) & (table["recording"] == ALL) & (table["class"] == ALL)]
    known = set(own["measure"])
    measure, word = next((each for each in _SCORES[kind] if each[0] in known), _SCORES[kind][0])
    return word, own[own["measure"] == measure]


def comparison(summary: pd.DataFrame, columns: Sequence[Column]) -> str:
    """Arms (rows) by measures (columns); columns without any number are left out.

    The best of a column is bold when its lead over the next is larger than their scatter (`leader`).
    """
    pooled = summary[summary["recording"] == ALL]
    conditions = pooled[CONDITION].drop_duplicates()
    varying = [name for name in ("budget", "fraction") if len(conditions[name].dropna().unique()) > 1]
    headings = ["", *({"budget": "budget", "fraction": "labels"}[name] for name in varying)]
    rows = [[one["arm"], *(_share(one[name]) for name in varying)] for one in conditions.to_dict("records")]
    for column in columns:
        chosen = pooled[(pooled["measure"] == column.measure) & (pooled["class"] == column.of)]
        if chosen.empty:
            continue
        found = conditions.merge(chosen, how="left", on=CONDITION)  # NaN budgets fit each other
        bold = leader(found, column.best)
        headings.append(column.heading)
        for i, (row, each) in enumerate(zip(rows, found.to_dict("records"), strict=True)):
            scatter = each["sd"] if column.scatter else np.nan
            row.append(_bold(cell(each["mean"], scatter, column.show), i == bold))
    return markdown(headings, rows)


def grid(summary: pd.DataFrame, across: str, heading: Callable[[Any], str] = str, bold: bool = True) -> str:
    """Arms (rows) by the values of a column of the summary, one number for each; the best of each may be bold."""
    arms, values = (list(dict.fromkeys(summary[name].dropna())) for name in ("arm", across))
    if summary[across].dtype.kind == "f":
        values.sort()
    rows = [[arm] for arm in arms]
    for value in values:
        found = summary[summary[across] == value].set_index("arm").reindex(arms)
        best = leader(found, "high") if bold else None
        for i, (row, (_, each)) in enumerate(zip(rows, found.iterrows(), strict=True)):
            row.append(_bold(cell(each["mean"], each["sd"]), i == best))
    if across != "recording" or len(arms) > len(values):
        return markdown(["", *map(heading, values)], rows)
    turned = [[heading(value), *(row[i + 1] for row in rows)] for i, value in enumerate(values)]
    return markdown(["", *arms], turned)  # what is more goes down the page


def leader(found: pd.DataFrame, best: Literal["high", "low"] | None) -> int | None:
    """Place of the best of several means, if it is ahead of the next by more than √(sd² + sd²) of the two.

    None where nothing is best, there are fewer than two, or a scatter is not known.
    """
    if best is None or found["mean"].notna().sum() < 2:
        return None
    mean = found["mean"].to_numpy(float) * (1 if best == "high" else -1)
    sd = found["sd"].to_numpy(float)
    first, second = np.argsort(np.where(np.isnan(mean), -np.inf, mean), kind="stable")[::-1][:2]
    return int(first) if mean[first] - mean[second] > np.hypot(sd[first], sd[second]) else None


def cell(mean: float, sd: float = np.nan, show: Callable[[float], str] = "{:.2f}".format) -> str:
    """A mean with its scatter, as far as there are any."""
    if np.isnan(mean):
        return NOTHING
    return show(mean) if np.isnan(sd) else f"{show(mean)} ± {show(sd)}"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(each.replace("|", "\\|") for each in line) + " |" for line in lines)


def _share(value: float) -> str:
    return NOTHING if np.isnan(value) else percent(value)


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text
