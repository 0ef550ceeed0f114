"""Scores of frames against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.metrics import frame_scores, majority_map


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


def test_a_frame_without_a_prediction_is_a_miss():
    told = frame_scores(np.array([0, 0]), np.array([0, -1]), ("a",))
    assert (told["classes"]["a"]["precision"], told["classes"]["a"]["recall"]) == (1.0, 0.5)
    assert told["confusion"] == [[1]]


def test_clusters_take_the_class_most_often_scored_in_them():
    clusters = np.array([[0, 0, 0, 1], [1, 3, 3, -1]])
    scored = np.array([[2, 2, 0, 1], [-1, -1, -1, 0]])
    assert majority_map(clusters, scored, 4).tolist() == [2, 1, -1, -1]
