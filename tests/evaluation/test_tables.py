"""Means, scatter and what is bold: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_lookagain.evaluation.tables import (
    Column,
    all_labels,
    at_budgets,
    cell,
    comparison,
    grid,
    leader,
    markdown,
    summarize,
    usual_budgets,
)

KEYS = {"kind": "behavior", "fraction": 1.0, "budget": 0.25, "recording": "(all)", "animal": "(all)", "class": "(all)"}


def rows(arm: str, values: list[list[float]], measure: str = "macro_f1", **keys: Any) -> pd.DataFrame:
    """One row for every split and seed."""
    return pd.DataFrame(
        [
            {**KEYS, "arm": arm, "measure": measure, "split": split, "seed": seed, "value": value, **keys}
            for split, seeds in enumerate(values)
            for seed, value in enumerate(seeds)
        ]
    )


def test_splits_are_averaged_seed_by_seed_and_then_seeds():
    summary = summarize(rows("ours", [[0.2, 0.4, 0.6], [0.8, 0.8, np.nan]]))
    [found] = summary.to_dict("records")  # seeds: 0.5, 0.6 and 0.6
    assert found["mean"] == pytest.approx(1.7 / 3)
    assert found["sd"] == pytest.approx(np.std([0.5, 0.6, 0.6], ddof=1))
    assert found["seeds"] == 3


def test_a_class_that_is_in_neither_truth_nor_prediction_of_a_split_takes_nothing_from_its_mean():
    """Three splits; feed is in the first two, and in the third told only by the second seed, wrongly."""
    f1 = rows("ours", [[0.8, 0.8], [0.6, 0.6], [0, 0]], "f1", **{"class": "feed"})
    there = rows("ours", [[100, 100], [50, 50], [0, 0]], "true_frames", **{"class": "feed"})
    predicted = rows("ours", [[90, 90], [60, 60], [0, 5]], "predicted_frames", **{"class": "feed"})
    summary = summarize(pd.concat([f1, there, predicted])).set_index("measure")
    assert summary.loc["f1", "mean"] == pytest.approx(np.mean([1.4 / 2, 1.4 / 3]))
    assert summary.loc["predicted_frames", "mean"] == pytest.approx(np.mean([150, 155]) / 3)


def test_methods_without_budget_and_numbers_without_seed_are_kept():
    table = pd.concat([rows("trees", [[0.5]], budget=np.nan), rows("ours", [[0.7]], "stability_ari", seed=np.nan)])
    summary = summarize(table).set_index("arm")
    assert summary["mean"].to_dict() == {"trees": 0.5, "ours": 0.7}
    assert summary["sd"].isna().all()


def test_arms_are_compared_where_most_were_tried():
    table = pd.concat(
        [
            *(rows("ours", [[0.5]], budget=budget) for budget in (0, 0.05, 0.25, 1)),
            *(rows("top-k", [[0.5]], budget=budget) for budget in (0.05, 0.25)),
            rows("video only", [[0.5]], budget=1),
            rows("trees", [[0.5]], budget=np.nan),
        ]
    )
    usual = usual_budgets(table)
    assert usual == pytest.approx({"ours": 0.25, "top-k": 0.25, "video only": 1, "trees": np.nan}, nan_ok=True)
    assert at_budgets(table, usual)["budget"].tolist() == pytest.approx([0.25, 0.25, 1, np.nan], nan_ok=True)
    assert np.isnan(usual_budgets(rows("trees", [[0.5]], budget=np.nan))["trees"])


def test_the_largest_share_of_labels_is_that_of_each_arm():
    table = pd.concat(
        [rows("ours", [[0.5]], fraction=share) for share in (0.1, 1)] + [rows("x", [[0.4]], fraction=0.3)]
    )
    assert all_labels(table)[["arm", "fraction"]].to_numpy().tolist() == [["ours", 1.0], ["x", 0.3]]


@pytest.mark.parametrize(
    ("mean", "sd", "best", "expected"),
    [
        ([0.5, 0.8], [0.1, 0.2], "high", 1),  # ahead by 0.3, scatter √0.05 = 0.22
        ([0.5, 0.7], [0.1, 0.2], "high", None),
        ([0.5, 0.8], [0.1, 0.2], "low", 0),
        ([0.5, 0.8], [0.1, 0.2], None, None),
        ([0.5, 0.8], [0.0, np.nan], "high", None),
        ([0.5, 0.5], [0.0, 0.0], "high", None),
        ([0.5, np.nan], [0.0, np.nan], "high", None),
        ([np.nan, 0.5, 0.9, 0.6], [np.nan, 0.5, 0.1, 0.1], "high", 2),
    ],
)
def test_only_a_lead_beyond_the_scatter_is_one(mean, sd, best, expected):
    assert leader(pd.DataFrame({"mean": mean, "sd": sd}), best) == expected


def test_a_comparison_shows_means_scatter_and_the_best():
    table = pd.concat(
        [
            rows("ours", [[0.7, 0.9]]),
            rows("a|b", [[0.2, 0.2]], budget=np.nan),
            rows("ours", [[3.0, 4.0]], "boundary_error_median"),
            rows("a|b", [[9.0, 9.0]], "boundary_error_median", budget=np.nan),
            rows("ours", [[0.1, 0.1]], "macro_f1", recording="monday"),
        ]
    )
    columns = [
        Column("F1", "macro_f1"),
        Column("kappa", "kappa"),
        Column("error", "boundary_error_median", best="low", show="{:.1f}".format, scatter=False),
    ]
    assert comparison(summarize(table), columns).splitlines() == [
        "|  | F1 | error |",
        "| --- | --- | --- |",
        "| ours | **0.80 ± 0.14** | **3.5** |",
        "| a\\|b | 0.20 ± 0.00 | 9.0 |",
    ]


def test_conditions_are_shown_where_they_differ():
    table = pd.concat([rows("ours", [[0.5]]), rows("ours", [[0.6]], budget=1.0, fraction=0.1)])
    told = comparison(summarize(table), [Column("F1", "macro_f1")]).splitlines()
    assert told[0] == "|  | budget | labels | F1 |"
    assert told[2:] == ["| ours | 25 % | 100 % | 0.50 |", "| ours | 100 % | 10 % | 0.60 |"]


def test_a_grid_is_sorted_by_its_numbers_and_has_gaps():
    table = pd.concat([rows("ours", [[0.5]], budget=1.0), rows("ours", [[0.4]]), rows("other", [[0.3]])])
    told = grid(summarize(table), "budget", lambda budget: f"{budget:g}").splitlines()
    assert told == ["|  | 0.25 | 1 |", "| --- | --- | --- |", "| ours | 0.40 | 0.50 |", "| other | 0.30 | – |"]


def test_recordings_go_down_the_page_unless_there_are_more_arms():
    days = pd.concat([rows("ours", [[0.1]], recording="monday"), rows("ours", [[0.2]], recording="friday")])
    assert grid(summarize(days), "recording").splitlines()[2:] == ["| monday | 0.10 |", "| friday | 0.20 |"]
    arms = pd.concat([days, *(rows(f"arm {i}", [[0.3]], recording="monday") for i in range(2))])
    assert grid(summarize(arms), "recording").splitlines()[0] == "|  | monday | friday |"


def test_what_is_no_number_is_a_dash():
    assert cell(np.nan, 0.1) == "–"
    assert markdown(["a"], [["b"]]) == "| a |\n| --- |\n| b |"
