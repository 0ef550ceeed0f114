"""Rows of numbers, put together and written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.metrics import (
    behavior_rows,
    cluster_rows,
    frame_rows,
    majority_map,
    row_table,
    tagged,
)

NAMES = ("walk", "rest")


def test_rows_of_animals_become_one_table_that_survives_a_csv(tmp_path):
    truth, predicted = np.array([[0, 1], [0, 1], [1, -1]]), np.array([[0, 1], [1, 1], [1, 0]])
    rows = tagged(frame_rows(truth, predicted, NAMES), recording="monday")
    for i, animal in enumerate(("mouse1", "mouse2")):
        rows += tagged(frame_rows(truth[:, i], predicted[:, i], NAMES), recording="monday", animal=animal)
    row_table(rows).to_csv(tmp_path / "monday.csv", index=False)
    table = pd.read_csv(tmp_path / "monday.csv")
    assert list(table.columns) == ["recording", "animal", "class", "measure", "value"]
    assert not table[["recording", "animal", "class", "measure"]].isna().any().any(), "grouping would drop them"
    assert not table.duplicated(["recording", "animal", "class", "measure"]).any()
    accuracy = table[table["measure"] == "accuracy"].set_index("animal")["value"]
    assert accuracy.to_dict() == pytest.approx({"(all)": 4 / 5, "mouse1": 2 / 3, "mouse2": 1})


def test_a_table_of_nothing_has_its_columns():
    assert list(row_table([]).columns) == ["recording", "animal", "class", "measure", "value"]


def test_everything_about_an_ethogram(value):
    truth = np.repeat([0, 1, 0, 1], 10)[:, None]
    ethogram = Ethogram.from_labels(truth, NAMES, recording="monday", fps=25, animals=("mouse",))
    rows = behavior_rows(truth, ethogram.label, NAMES, ethogram.probabilities)
    perfect = ("macro_f1", "macro_f1_present", "accuracy", "kappa", "edit_score", "bout_f1@0.5", "macro_bout_f1@0.5")
    assert [value(rows, measure) for measure in perfect] == pytest.approx([1] * len(perfect))
    assert value(rows, "boundary_error_mean") == 0
    assert value(rows, "calibration_frames") == 0, "no model told any probability"
    keys = [(row.measure, row.of) for row in rows]
    assert len(keys) == len(set(keys))
    of_labels = {row.measure for row in behavior_rows(truth, ethogram.label, NAMES)}
    of_probabilities = {"average_precision", "macro_average_precision", "brier", "calibration_frames"}
    of_probabilities |= {"calibration_error", "calibration_error_equal_count"}
    assert {measure for measure, _ in keys} - of_labels == of_probabilities


def test_everything_about_clusters(value):
    truth = np.repeat([[0, 1], [1, 0], [0, 0]], 10, axis=0)
    clusters = np.where(truth == 0, 2, 0)
    names = ("cluster 1", "cluster 2", "cluster 3")
    rows = cluster_rows(truth, clusters, NAMES, names, majority_map(clusters, truth, 3))
    measures = ("mapped_macro_f1", "mapped_edit_score", "ari", "nmi", "v_measure", "over_segmentation")
    assert [value(rows, measure) for measure in measures] == pytest.approx([1] * len(measures))
    assert value(rows, "empty_clusters") == 1
    assert value(rows, "animal_nmi") < 0.1
    keys = [(row.measure, row.of) for row in rows]
    assert len(keys) == len(set(keys))


def test_a_mapping_to_other_classes_is_refused():
    with pytest.raises(InputError, match="each one of 2 classes or −1"):
        cluster_rows(np.zeros(3, int), np.zeros(3, int), NAMES, ("x",), np.array([5]))
