"""Where looking pays: the smallest budget that is as good as the best one, as far as the evaluation can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import ALL

if TYPE_CHECKING:
    import pandas as pd

WORDS = {
    "macro_f1": "macro F1",
    "macro_f1_present": "macro F1 of the behaviors that are there",
    "mapped_macro_f1": "macro F1 of the mapped clusters",
    "mapped_macro_f1_present": "macro F1 of the mapped clusters, for behaviors that are there",
    "sharpness": "sharpness",
}
_POOLED = ("macro_f1", "mapped_macro_f1", "sharpness")  # the first that has numbers is what is advised on
_SINGLE = {"macro_f1": "macro_f1_present", "mapped_macro_f1": "mapped_macro_f1_present", "sharpness": "sharpness"}
_FEW_SEEDS = 3
_MOST = 0.75  # of the trials: then it is hardly chance


@dataclass(frozen=True)
class Tried:
    """One budget that was tried.

    Parameters
    ----------
    budget
        Share of frames to look at.
    score
        Mean over trials.
    standard_error
        Of that mean: standard deviation over trials / √trials; NaN of a single trial.
    seconds
        Processor time of a prediction at this budget, mean over trials; NaN where none was kept.
    """

    budget: float
    score: float
    standard_error: float
    seconds: float


@dataclass(frozen=True)
class Choice:
    """What to take: for one recording, or for all together.

    Parameters
    ----------
    recording
        Name; ``"(all)"`` for all together.
    measure
        What was compared.
    tried
        Budgets, from the smallest to the largest.
    seeds, trials
        How many seeds, and how many trials: one seed with one split.
    best
        The budget with the highest mean score, the smallest of several alike.
    budget
        The one to take: the smallest whose mean score is at most one standard error of the best below it.
    beaten
        In how many of the trials the best scored higher than the one to take; 0 where they are the same.
    """

    recording: str
    measure: str
    tried: tuple[Tried, ...]
    seeds: int
    trials: int
    best: Tried
    budget: Tried
    beaten: int

    @property
    def sentence(self) -> str:
        """What to do, with the numbers it rests on."""
        taken, best = self.budget, self.best
        score = f"{WORDS[self.measure]} {taken.score:.2f}"
        if taken.budget == 0:
            start = f"Looking does not pay here as far as this can tell: without a look, {score}"
        else:
            start = f"Look at {percent(taken.budget)} of the frames: {score}"
        if best.budget == taken.budget:
            end = ", and no other budget tried does better."
        else:
            scatter = f" ± {best.standard_error:.2f} (standard error of {self.trials} trials)"
            scatter = "" if np.isnan(best.standard_error) else scatter
            end = f", against {best.score:.2f}{scatter} at {percent(best.budget)}."
            if self.beaten >= max(_MOST * self.trials, 3):
                end += (
                    f" Yet {percent(best.budget)} scored higher in {self.beaten} of {self.trials} trials: look more "
                    "where the difference matters to you."
                )
        if taken.budget == self.tried[-1].budget < 1 and len(self.tried) > 1:
            end += " It is the largest budget tried; a larger one may do better still."
        return start + end


@dataclass(frozen=True)
class Advice:
    """Which budget to take, and how far to trust that.

    Parameters
    ----------
    arm
        What was advised on.
    overall
        For all recordings together.
    recordings
        For each by itself.
    cautions
        Why the evidence is thin, and what to do about it, a sentence each; empty when it is not.
    """

    arm: str
    overall: Choice
    recordings: tuple[Choice, ...]
    cautions: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The advice for all recordings together, with its cautions."""
        return " ".join([self.overall.sentence, *self.cautions])


def recommend_budget(table: pd.DataFrame) -> Advice:
    """Recommend the smallest budget that is within one standard error of the best, for all recordings and for each.

    Scores are macro F1 where frames are scored (of mapped clusters, where clusters are told), and sharpness where none
    are. For all together, a score is that of all held-out recordings of one split with one seed, and mean and standard
    error are taken over these trials, seeds × splits; of a single recording they are taken over seeds (and splits, if
    several hold it out), and the score leaves out behaviors that are not there. Only trials with a score at every
    budget count, so that budgets are compared on the same. A single trial has no standard error: then the budget with
    the highest score is taken. The rule is that of [1]_ for the size of a tree; the paper does not state how to choose
    a budget.

    ◇ Recordings that differ much make the standard error large, although one recording is as hard at every budget. The
    advice therefore tells in how many trials the best was ahead.

    Parameters
    ----------
    table
        Rows of ``measures.csv``, of one arm and one share of the labels; rows without a budget are left out.

    Raises
    ------
    InputError
        When the rows are of several arms or shares, or hold no score at two budgets or more.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen, Stone (1984), Classification and regression trees, 3.4.3.
    """
    table = table[table["budget"].notna() & (table["animal"] == ALL) & (table["class"] == ALL)]
    arms, fractions = table["arm"].unique(), table["fraction"].unique()
    if len(arms) > 1 or len(fractions) > 1:
        raise InputError(
            f"A budget is recommended for one arm and one share of the labels, but got {', '.join(map(str, arms))} and "
            f"{', '.join(f'{share:g}' for share in fractions)}; give the rows of one."
        )
    pooled = table[table["recording"] == ALL]
    measure = next((name for name in _POOLED if _can_choose(_scores(pooled, name))), None)
    if measure is None:
        raise InputError(
            f"There is no score at two budgets or more, of {', '.join(_POOLED)}; evaluate at several budgets."
        )
    singles = [
        _choose(str(name), _SINGLE[measure], rows)
        for name, rows in table[table["recording"] != ALL].groupby("recording", sort=False)
        if _can_choose(_scores(rows, _SINGLE[measure]))
    ]
    overall = _choose(ALL, measure, pooled)
    return Advice(str(arms[0]), overall, tuple(singles), _cautions(overall, len(singles)))


def percent(share: float) -> str:
    """A share as people write it: 0.05 is 5 %."""
    return f"{100 * share:g} %"


def _scores(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Scores of the trials (rows: seed and split) that have one at every budget (columns)."""
    rows = table[(table["measure"] == measure) & table["value"].notna()]
    return rows.pivot_table(index=["seed", "split"], columns="budget", values="value").dropna()


def _can_choose(scores: pd.DataFrame) -> bool:
    return len(scores) > 0 and len(scores.columns) > 1


def _choose(recording: str, measure: str, table: pd.DataFrame) -> Choice:
    scores = _scores(table, measure)
    costs = table[table["measure"] == "predict_seconds"].groupby("budget")["value"].mean()
    means = scores.mean()
    errors = scores.std(ddof=1) / np.sqrt(len(scores))
    tried = tuple(
        Tried(float(budget), float(means[budget]), float(errors[budget]), float(costs.get(budget, np.nan)))
        for budget in scores.columns
    )
    best = max(tried, key=lambda each: each.score)  # the first of several alike
    allowed = 0.0 if np.isnan(best.standard_error) else best.standard_error
    taken = next(each for each in tried if each.score >= best.score - allowed)
    beaten = int((scores[best.budget] > scores[taken.budget]).sum())
    seeds = scores.index.get_level_values("seed").nunique()
    return Choice(recording, measure, tried, seeds, len(scores), best, taken, beaten)


def _cautions(overall: Choice, n_recordings: int) -> tuple[str, ...]:
    told = []
    if overall.trials == 1:
        told.append(
            "There is a single trial, so no scatter is known and small differences are chance: evaluate with three "
            "seeds or more, and hold out more recordings."
        )
    elif overall.seeds < _FEW_SEEDS:
        several = f"{overall.seeds} seeds are" if overall.seeds > 1 else "One seed is"
        told.append(f"{several} too few to tell budgets from luck in training: evaluate with three or more.")
    if n_recordings == 1:
        told.append("Only one recording was held out, so other animals may need another budget: add recordings.")
    if overall.measure == "sharpness":
        told.append(
            "Nothing is scored, so this only tells how sure the model is, not whether it is right: score a few minutes "
            "of a recording to know."
        )
    return tuple(told)
