"""Scores of frames against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import confusion, confusion_table, frame_rows, frame_scores

NAMES = ("walk", "rest", "groom", "rear")


@pytest.fixture(scope="module")
def labels():
    """Scored and predicted classes of 300 frames of two animals, a third of them unscored, some not predicted."""
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 3, (300, 2)).astype(np.int16)
    truth[:90] = -1
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 3, truth.shape)).astype(np.int16)
    predicted[rng.random(truth.shape) < 0.05] = -1
    return truth, predicted


def test_scores_by_hand():
    scored = np.array([0, 0, 0, 1, 1, 2, -1, -1])
    predicted = np.array([0, 0, 1, 1, 2, 0, 0, 2])
    told = frame_scores(scored, predicted, ("walk", "rest", "groom"))
    assert told["frames"] == 6
    walk, rest, groom = (told["classes"][name] for name in ("walk", "rest", "groom"))
    assert walk == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)} | {
        "frames": 3
    }
    assert rest == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "frames": 2}
    assert groom == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "frames": 1}
    assert told["macro_f1"] == pytest.approx((2 / 3 + 0.5 + 0) / 3)
    assert told["confusion"] == [[2, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_a_class_that_never_comes_counts_in_the_macro_mean():
    told = frame_scores(np.zeros((4, 2), int), np.zeros((4, 2), int), ("a", "b"))
    assert told["classes"]["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "frames": 0}
    assert told["macro_f1"] == 0.5


def test_a_frame_without_a_prediction_is_a_miss(value):
    told = frame_scores(np.array([0, 0]), np.array([0, -1]), ("a",))
    assert (told["classes"]["a"]["precision"], told["classes"]["a"]["recall"]) == (1.0, 0.5)
    assert told["confusion"] == [[1]]
    assert confusion(np.array([0, 0]), np.array([0, -1]), 1).tolist() == [[1, 1]]
    assert value(frame_rows(np.array([0, 0]), np.array([0, -1]), ("a",)), "accuracy") == 0.5


def test_rows_are_what_scikit_learn_says(labels, value):
    truth, predicted = labels
    rows = frame_rows(truth, predicted, NAMES)
    pair = truth[truth >= 0], predicted[truth >= 0]
    how = {"labels": range(4), "average": None, "zero_division": 0.0}
    expected = {
        "precision": precision_score(*pair, **how),
        "recall": recall_score(*pair, **how),
        "f1": f1_score(*pair, **how),
    }
    for measure, values in expected.items():
        assert [value(rows, measure, name) for name in NAMES] == pytest.approx(values)
    assert value(rows, "macro_f1") == pytest.approx(f1_score(*pair, labels=range(4), average="macro", zero_division=0))
    assert value(rows, "macro_f1_present") == pytest.approx(f1_score(*pair, labels=range(3), average="macro"))
    assert value(rows, "accuracy") == pytest.approx(accuracy_score(*pair))
    assert value(rows, "kappa") == pytest.approx(cohen_kappa_score(*pair))
    assert value(rows, "frames") == len(pair[0])
    told = pair[1] >= 0
    counts = confusion(truth, predicted, 4)
    assert counts[:, :4].tolist() == confusion_matrix(pair[0][told], pair[1][told], labels=range(4)).tolist()
    assert counts[:, 4].sum() == (~told).sum()


def test_average_precision_is_what_scikit_learn_says(labels, value):
    truth, predicted = labels
    probabilities = np.random.default_rng(1).random((*truth.shape, 4)).astype(np.float32)
    probabilities[200:210] = np.nan  # not computed
    rows = frame_rows(truth, predicted, NAMES, probabilities)
    known = (truth >= 0) & np.isfinite(probabilities[..., 0])
    expected = [average_precision_score(truth[known] == k, probabilities[known][:, k]) for k in range(3)]
    assert [value(rows, "average_precision", name) for name in NAMES[:3]] == pytest.approx(expected)
    assert np.isnan(value(rows, "average_precision", "rear")), "it was never scored"
    assert value(rows, "macro_average_precision") == pytest.approx(np.mean(expected))


def test_a_class_never_predicted_and_one_never_there(value):
    rows = frame_rows(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0]), ("a", "b", "c"))
    assert [value(rows, "f1", name) for name in "abc"] == pytest.approx([2 / 3, 0, 0])
    assert [value(rows, "predicted_frames", name) for name in "abc"] == [4, 0, 0]
    assert value(rows, "macro_f1") == pytest.approx(2 / 9), "c counts as 0"
    assert value(rows, "macro_f1_present") == pytest.approx(1 / 3), "c does not count"
    assert value(rows, "kappa") == 0


def test_nothing_scored_is_no_number(value):
    rows = frame_rows(np.full((5, 2), -1), np.zeros((5, 2), int), ("a",), np.ones((5, 2, 1)))
    assert value(rows, "frames") == value(rows, "true_frames", "a") == value(rows, "predicted_frames", "a") == 0
    measures = ("macro_f1", "macro_f1_present", "accuracy", "kappa", "macro_average_precision")
    assert np.isnan([value(rows, measure) for measure in measures]).all()
    assert np.isnan(value(rows, "f1", "a"))


def test_one_class_alone_has_no_kappa(value):
    assert np.isnan(value(frame_rows(np.zeros(4, int), np.zeros(4, int), ("a",)), "kappa"))


def test_recordings_are_pooled(labels, value):
    truth, predicted = labels
    whole = frame_rows(truth, predicted, NAMES)
    parts = frame_rows([truth[:120], truth[120:, 0], truth[120:, 1]], [predicted[:120], *predicted[120:].T], NAMES)
    assert parts == whole


def test_the_table_of_a_confusion():
    table = confusion_table(confusion(np.array([0, 1, 1]), np.array([0, 0, -1]), 2), ("a", "b"))
    rows = [("a", "a", 1), ("a", "b", 0), ("a", "", 0), ("b", "a", 1), ("b", "b", 0), ("b", "", 1)]
    assert list(table.itertuples(index=False, name=None)) == rows
    assert list(table.columns) == ["scored", "predicted", "frames"]


@pytest.mark.parametrize(
    "truth, predicted, probabilities, told",
    [
        (np.zeros(3, int), np.zeros(4, int), None, r"are \(4,\), but \(3,\) is expected"),
        (np.zeros(3), np.zeros(3, int), None, "The scored labels are float64, but integers"),
        (np.zeros(3, int), np.full(3, 2), None, "predicted labels reach from 2 to 2, but −1 to 1"),
        (np.full(3, -2), np.zeros(3, int), None, "scored labels reach from -2"),
        ([np.zeros(3, int)] * 2, np.zeros(3, int), None, "Scored labels of 2 recordings and predicted ones of 1"),
        (np.zeros(3, int), np.zeros(3, int), np.zeros((3, 3)), r"are \(3, 3\), but \(3, 2\) is expected"),
        (np.zeros(3, int), np.zeros(3, int), np.full((3, 2), -4.0), "from -4 to -4, but 0 to 1"),
        (np.zeros(3, int), np.zeros(3, int), [np.zeros((3, 2))] * 2, "1 recordings and probabilities of 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, predicted, probabilities, told):
    with pytest.raises(InputError, match=told):
        frame_rows(truth, predicted, ("a", "b"), probabilities)
