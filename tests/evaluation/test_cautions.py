"""What limits an evaluation is said, and nothing else."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from napari_lookagain.evaluation.cautions import cautions

NAMES = ("monday", "tuesday", "friday")
SPLIT = {
    "by": "recording",
    "gap": 0,
    "folds": [{"train": [each for each in NAMES if each != name], "test": [name]} for name in NAMES],
}
ENOUGH = {"walk": (900, 40), "rest": (800, 30)}  # frames and bouts in every recording


def told(split: dict[str, Any] = SPLIT, scored: dict[str, dict[str, int]] | None = None) -> dict[str, Any]:
    counts = scored or {name: {"walk": 900, "rest": 800} for name in NAMES}
    recordings = [
        {"recording": name, "scored": counts[name], "keypoints": f"{name} tracked", "video": None} for name in counts
    ]
    return {"split": split, "recordings": recordings, "versions": ["1.0"]}


def measures(tested: dict[str, tuple[int, int]] = ENOUGH, seeds: int = 3, arms: tuple[str, ...] = ("ours", "trees")):
    """Counts as measures.csv has them: the same for every arm and seed."""
    rows = [
        (arm, split + 1, seed, name, f"{whose}{measure}", value)
        for arm, whose in zip(arms, ("", "mapped_"), strict=False)
        for split in range(3)
        for seed in range(seeds)
        for name, counts in tested.items()
        for measure, value in zip(("true_frames", "bouts"), counts, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["arm", "split", "seed", "class", "measure", "value"])
    return table.assign(recording="(all)", animal="(all)", fraction=1.0)


def test_an_evaluation_of_enough_has_nothing_to_mind():
    assert cautions(told(), measures()) == []


@pytest.mark.parametrize(("seeds", "expected"), [(1, "Only one seed was run, so no scatter"), (2, "Only 2 seeds")])
def test_few_seeds_are_told(seeds, expected):
    [said] = cautions(told(), measures(seeds=seeds))
    assert said.startswith(expected)


def test_behaviors_with_little_to_test_on_are_counted_over_all_splits_once():
    scored = {name: dict.fromkeys(("walk", "rest", "feed", "groom"), 900) for name in NAMES}
    [said] = cautions(told(scored=scored), measures(ENOUGH | {"feed": (100, 30), "groom": (900, 3)}))
    assert "*feed* (300 frames in 90 bouts), *groom* (2700 frames in 9 bouts): F1 hangs on a few bouts" in said
    assert "walk" not in said


def test_a_behavior_that_was_never_trained_on_is_told():
    scored = {name: {"walk": 900, "rest": 800, "feed": 700 if name == "monday" else 0} for name in NAMES}
    [said] = cautions(told(scored=scored), measures(ENOUGH | {"feed": (700, 30)}))
    assert said == "*feed* is never scored in the training recordings of split 1: no model can tell it there."


def test_a_single_recording_is_weaker_evidence():
    fold = {"train": ["monday"], "test": ["monday"], "train_frames": [0, 500], "test_start": 700}
    split = {"by": "time", "gap": 200, "folds": [fold]}
    [said] = cautions(told(split, {"monday": {"walk": 0, "rest": 0}}), measures())
    assert "weaker evidence" in said


def test_a_single_held_out_recording_is_told():
    split = {"by": "recording", "gap": 0, "folds": [{"train": ["monday", "tuesday"], "test": ["friday"]}]}
    assert cautions(told(split), measures()) == ["Only friday was held out: how much recordings differ is not known."]


@pytest.mark.parametrize("what", ["keypoints", "video"])
def test_the_same_data_on_both_sides_of_a_split_is_told(what):
    asked = told()
    for each in asked["recordings"][:2]:
        each[what] = "the same"
    [said] = cautions(asked, measures())
    assert said.startswith(f"monday and tuesday have the same {what}: where one is learnt from")


def test_a_mixture_of_versions_is_told():
    [said] = cautions(told() | {"versions": ["1.0", "1.1"]}, measures())
    assert "by the versions 1.0, 1.1 of this program, whose means are mixed" in said


def test_a_behavior_that_a_split_holds_nothing_out_of_is_told():
    table = measures(ENOUGH | {"feed": (900, 30)})
    table.loc[(table["class"] == "feed") & (table["split"] == 2), "value"] = 0
    scored = {name: dict.fromkeys(("walk", "rest", "feed"), 900) for name in NAMES}
    [said] = cautions(told(scored=scored), table)
    assert said.startswith("Nothing is held out of *feed* in split 2: F1 counts 0 there")


def test_arms_that_lack_trials_are_named():
    table = measures()
    lacking = table[~((table["arm"] == "trees") & (table["split"] == 2) & (table["seed"] == 1))]
    [said] = cautions(told(), lacking)
    assert said == "trees lacks 1 of 9 trials: its numbers are of other splits or seeds."


def test_without_scored_frames_nothing_is_known_to_be_right():
    table = measures().query("measure == 'none'")
    table = pd.concat([table, measures({"walk": (1, 1)}).assign(measure="sharpness")])
    [said] = cautions(told(), table)
    assert said.startswith("Nothing is scored")


def lags(lag: float, gain: float, drift: float) -> pd.DataFrame:
    rows = [("label_lag", lag), ("label_lag_gain", gain), ("label_drift", drift)]
    table = pd.DataFrame(rows, columns=["measure", "value"])
    return table.assign(recording="friday", split=1, seed=0, arm="ours", fraction=1.0, **{"class": "(all)"})


@pytest.mark.parametrize(
    ("lag", "gain", "drift", "expected"),
    [
        (
            6,
            0.037,
            4,
            "friday seem 6 frames late beside those of the training recordings, and by +4 frames more in its",
        ),
        (-3, 0.02, 0, "friday seem 3 frames early beside those of the training recordings: moved there, 2.0 %"),
        (6, 0.001, 4, None),
        (1, 0.05, 0, None),
        (float("nan"), float("nan"), float("nan"), None),
    ],
)
def test_labels_on_another_clock_are_told(lag, gain, drift, expected):
    said = [each for each in cautions(told(), pd.concat([measures(), lags(lag, gain, drift)])) if "clock" in each]
    assert len(said) == (expected is not None)
    assert expected is None or expected in said[0]
