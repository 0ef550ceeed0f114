"""Which behavior a cluster stands for."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import apply_map, majority_map, one_to_one_map
from napari_lookagain.metrics.mapping import contingency


def test_clusters_take_the_class_most_often_scored_in_them():
    clusters = np.array([[0, 0, 0, 1], [1, 3, 3, -1]])
    scored = np.array([[2, 2, 0, 1], [-1, -1, -1, 0]])
    assert majority_map(clusters, scored, 4).tolist() == [2, 1, -1, -1]
    assert contingency(clusters, scored, 4, 3).tolist() == [[1, 0, 2], [0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_a_mapping_is_fitted_on_several_recordings_and_applied_to_another():
    clusters = [np.array([0, 0, 1]), np.array([0, 1, 1], np.int16)]
    scored = [np.array([1, 1, 0]), np.array([0, 2, 2], np.int16)]
    mapping = majority_map(clusters, scored, 3)
    assert mapping.tolist() == [1, 2, -1]
    held_out = np.array([[1, 0], [2, -1]], np.int16)
    assert apply_map(mapping, held_out).tolist() == [[2, 1], [-1, -1]], "no cluster is no class, not the last one's"


def test_one_to_one_takes_the_assignment_that_agrees_most():
    # frames of cluster (rows) and class (columns); the most frequent class of both clusters is the first
    #   5 4      5 + 0 agree, or 4 + 3: the latter
    #   3 0
    clusters = np.repeat([0, 0, 1], [5, 4, 3])
    scored = np.repeat([0, 1, 0], [5, 4, 3])
    assert one_to_one_map(clusters, scored, 2, 2).tolist() == [1, 0]
    assert majority_map(clusters, scored, 2).tolist() == [0, 0]


def test_clusters_too_many_are_no_class():
    clusters, scored = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0, 1])
    assert one_to_one_map(clusters, scored, 4, 3).tolist() == [0, -1, 1, -1]


def test_nothing_scored_maps_nothing():
    clusters, scored = np.array([0, 1]), np.array([-1, -1])
    assert majority_map(clusters, scored, 2).tolist() == one_to_one_map(clusters, scored, 2, 2).tolist() == [-1, -1]


def test_a_cluster_that_the_mapping_does_not_know_is_refused():
    with pytest.raises(InputError, match="cluster labels reach from 0 to 2, but −1 to 1"):
        apply_map(np.array([0, 1]), np.array([0, 2]))
