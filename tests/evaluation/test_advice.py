"""Which budget to take: by hand, when evidence is thin, and when looking does not pay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.evaluation.advice import percent, recommend_budget

Scores = dict[float, list[list[float]]]  # by budget: for every split, a score of every seed


def tidy(scores: Scores, measure: str = "macro_f1", recording: str = "(all)", **keys: Any) -> pd.DataFrame:
    """Rows as measures.csv has them."""
    fixed = {"arm": "LookAgain", "fraction": 1.0, "recording": recording, "animal": "(all)", "class": "(all)"}
    rows = [
        {**fixed, "budget": budget, "split": split + 1, "seed": seed, "measure": measure, "value": value, **keys}
        for budget, splits in scores.items()
        for split, seeds in enumerate(splits)
        for seed, value in enumerate(seeds)
    ]
    return pd.DataFrame(rows)


def test_the_smallest_within_one_standard_error_by_hand():
    scores: Scores = {0: [[0.50, 0.52, 0.48]], 0.05: [[0.80, 0.83, 0.82]], 0.25: [[0.80, 0.83, 0.86]]}
    advice = recommend_budget(tidy(scores))
    overall = advice.overall
    # at 0.25: mean 0.83, standard deviation 0.03, standard error 0.03 / √3 = 0.0173; 0.05 has 0.8167
    assert [each.budget for each in overall.tried] == [0, 0.05, 0.25]
    assert [each.score for each in overall.tried] == pytest.approx([0.50, 0.81667, 0.83], abs=1e-5)
    assert overall.best.standard_error == pytest.approx(0.03 / np.sqrt(3))
    assert (overall.best.budget, overall.budget.budget) == (0.25, 0.05)
    assert (overall.seeds, overall.trials, overall.beaten) == (3, 3, 1)
    expected = "Look at 5 % of the frames: macro F1 0.82, against 0.83 ± 0.02 (standard error of 3 trials) at 25 %."
    assert overall.sentence == expected
    assert advice.cautions == ()


def test_just_beyond_one_standard_error_more_looks_are_recommended():
    scores: Scores = {0.05: [[0.79, 0.82, 0.82]], 0.25: [[0.80, 0.83, 0.86]]}  # 0.81 < 0.83 − 0.0173
    advice = recommend_budget(tidy(scores))
    assert advice.overall.budget.budget == 0.25
    assert advice.sentence == (
        "Look at 25 % of the frames: macro F1 0.83, and no other budget tried does better. "
        "It is the largest budget tried; a larger one may do better still."
    )


def test_trials_are_seeds_and_splits_together():
    scores: Scores = {0: [[0.6, 0.6], [0.8, 0.8]], 1: [[0.7, 0.7], [0.9, 0.9]]}
    overall = recommend_budget(tidy(scores)).overall
    # at 1: mean 0.8, of four values that are 0.1 away, so 0.1 · √(4 / 3) / √4
    assert (overall.seeds, overall.trials) == (2, 4)
    assert overall.best.standard_error == pytest.approx(0.1 * np.sqrt(4 / 3) / 2)
    assert overall.budget.budget == 1


def test_a_loss_that_is_always_there_is_told_though_recordings_scatter():
    levels = [0.3, 0.5, 0.7, 0.9]
    scores: Scores = {0.05: [[level - 0.02] for level in levels], 0.25: [[level] for level in levels]}
    advice = recommend_budget(tidy(scores))
    assert advice.overall.budget.budget == 0.05
    assert advice.overall.beaten == 4
    assert "Yet 25 % scored higher in 4 of 4 trials: look more" in advice.sentence


def test_looking_that_gains_nothing_is_not_recommended():
    alike: Scores = {0: [[0.80, 0.84, 0.82]], 0.25: [[0.81, 0.85, 0.80]]}
    advice = recommend_budget(tidy(alike))
    assert advice.overall.budget.budget == 0
    assert advice.sentence.startswith(
        "Looking does not pay here as far as this can tell: without a look, macro F1 0.82"
    )
    same: Scores = {0: [[0.5, 0.6, 0.7]], 0.25: [[0.5, 0.6, 0.7]]}
    assert recommend_budget(tidy(same)).overall.best.budget == 0, "of several alike, the smallest"


def test_budgets_are_compared_on_the_same_trials():
    scores: Scores = {0: [[0.5, 0.6, 0.7]], 0.25: [[0.6, 0.7, 0.8]]}
    more = tidy({0.25: [[0.0]]}, split=2)  # a trial that lacks the other budget
    table = pd.concat([tidy(scores), more, tidy({0: [[np.nan]], 0.25: [[1.0]]}, split=3)])
    assert recommend_budget(table) == recommend_budget(tidy(scores))


def test_every_recording_gets_its_own():
    pooled: Scores = {0.05: [[0.6, 0.6, 0.6]], 0.25: [[0.8, 0.8, 0.8]]}
    easy: Scores = {0.05: [[0.9, 0.92, 0.88]], 0.25: [[0.9, 0.93, 0.87]]}
    hard: Scores = {0.05: [[0.3, 0.32, 0.28]], 0.25: [[0.7, 0.72, 0.68]]}
    table = pd.concat(
        [
            tidy(pooled),
            tidy(easy, "macro_f1_present", "easy"),
            tidy(hard, "macro_f1_present", "hard"),
            tidy({0.05: [[0.0] * 3], 0.25: [[1.0] * 3]}, "macro_f1", "easy"),  # counts behaviors that are not there
            tidy({0.05: [[1.0] * 3], 0.25: [[0.0] * 3]}, "macro_f1", animal="mouse1"),
            tidy({0.05: [[1.0] * 3], 0.25: [[0.0] * 3]}, "f1").assign(**{"class": "walk"}),
        ]
    )
    advice = recommend_budget(table)
    assert advice.overall.budget.budget == 0.25
    assert {each.recording: each.budget.budget for each in advice.recordings} == {"easy": 0.05, "hard": 0.25}


def test_clusters_are_judged_by_scored_frames_where_there_are_any_and_else_by_sharpness():
    sharp = tidy({0: [[0.2, 0.2, 0.2]], 0.25: [[0.6, 0.6, 0.6]]}, "sharpness")
    mapped = tidy({0: [[0.7, 0.7, 0.7]], 0.25: [[0.4, 0.4, 0.4]]}, "mapped_macro_f1")
    both = recommend_budget(pd.concat([sharp, mapped]))
    assert (both.overall.measure, both.overall.budget.budget) == ("mapped_macro_f1", 0)
    nothing = recommend_budget(pd.concat([sharp, mapped.assign(value=np.nan)]))
    assert (nothing.overall.measure, nothing.overall.budget.budget) == ("sharpness", 0.25)
    assert "not whether it is right: score a few minutes" in nothing.sentence


@pytest.mark.parametrize(
    ("scores", "caution"),
    [
        ({0: [[0.5]], 0.25: [[0.6]]}, "There is a single trial, so no scatter is known"),
        ({0: [[0.5], [0.4]], 0.25: [[0.6], [0.7]]}, "One seed is too few"),
        ({0: [[0.5, 0.4]], 0.25: [[0.6, 0.7]]}, "2 seeds are too few"),
    ],
)
def test_thin_evidence_is_called_thin(scores, caution):
    advice = recommend_budget(tidy(scores))
    assert len(advice.cautions) == 1
    assert caution in advice.sentence


def test_a_single_trial_has_no_scatter_and_its_best_is_taken():
    advice = recommend_budget(tidy({0: [[0.69]], 0.25: [[0.70]]}))
    assert np.isnan(advice.overall.best.standard_error)
    assert advice.overall.budget.budget == 0.25


def test_one_recording_says_nothing_about_others():
    scores: Scores = {0: [[0.5, 0.5, 0.5]], 0.25: [[0.6, 0.6, 0.6]]}
    table = pd.concat([tidy(scores), tidy(scores, "macro_f1_present", "monday")])
    assert recommend_budget(table).cautions == (
        "Only one recording was held out, so other animals may need another budget: add recordings.",
    )


def test_the_time_of_every_budget_is_told():
    scores: Scores = {0: [[0.5, 0.6]], 0.25: [[0.7, 0.8]]}
    times = tidy({0: [[1.0, 3.0]], 0.25: [[10.0, 20.0]]}, "predict_seconds")
    tried = recommend_budget(pd.concat([tidy(scores), times])).overall.tried
    assert [each.seconds for each in tried] == [2, 15]
    assert np.isnan(recommend_budget(tidy(scores)).overall.tried[0].seconds)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (tidy({0.25: [[0.5]]}), "no score at two budgets"),
        (tidy({0: [[0.5]], 0.25: [[np.nan]]}), "no score at two budgets"),
        (tidy({np.nan: [[0.5]]}), "no score at two budgets"),
        (pd.concat([tidy({0: [[1]]}), tidy({0: [[1]]}, arm="trees")]), "got LookAgain, trees and 1;"),
        (pd.concat([tidy({0: [[1]]}), tidy({0: [[1]]}, fraction=0.1)]), "got LookAgain and 1, 0.1;"),
    ],
)
def test_what_cannot_be_advised_on_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        recommend_budget(table)


def test_shares_are_written_as_people_write_them():
    assert [percent(share) for share in (0, 0.005, 0.07, 0.25, 1)] == ["0 %", "0.5 %", "7 %", "25 %", "100 %"]
