"""Clusters against scored classes, other seeds, and animals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    adjusted_rand_score,
    completeness_score,
    homogeneity_score,
    normalized_mutual_info_score,
    v_measure_score,
)

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import identity_rows, partition_rows, stability_rows, usage_rows


@pytest.fixture(scope="module")
def found():
    """Scored classes and clusters of 200 frames of two animals, alike by half."""
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 3, (200, 2))
    clusters = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(-1, 6, truth.shape))
    return truth, clusters


def test_agreement_is_what_scikit_learn_says(found, value):
    truth, clusters = found
    rows = partition_rows(truth, clusters)
    both = (truth >= 0) & (clusters >= 0)
    expected = {
        "ari": adjusted_rand_score,
        "nmi": normalized_mutual_info_score,
        "homogeneity": homogeneity_score,
        "completeness": completeness_score,
        "v_measure": v_measure_score,
    }
    for measure, score in expected.items():
        assert value(rows, measure) == pytest.approx(score(truth[both], clusters[both]))
    assert value(rows, "nmi") == pytest.approx(value(rows, "v_measure")), "as the docstring says"


def test_a_class_in_two_clusters_by_hand(value):
    rows = partition_rows(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
    # H(class) = ln 2, H(cluster) = 1.5 ln 2, I = ln 2
    assert value(rows, "homogeneity") == pytest.approx(1)
    assert value(rows, "completeness") == pytest.approx(2 / 3)
    assert value(rows, "v_measure") == pytest.approx(2 / (1 + 1.5))
    assert value(rows, "over_segmentation") == 3 / 2


def test_over_segmentation_is_counted_within_scored_spans(track, value):
    truth, clusters = track("aaaa..bb..aa"), track("abcdefgggghh")
    assert value(partition_rows(truth, clusters), "over_segmentation") == (4 + 1 + 1) / 3


def test_stability_is_the_mean_over_pairs(value):
    rng = np.random.default_rng(1)
    labelings = [rng.integers(0, 3, (50, 2)) for _ in range(3)]
    labelings[0][:10] = -1
    rows = stability_rows(labelings)
    pairs = [(0, 1), (0, 2), (1, 2)]
    flat = [(labelings[i].ravel(), labelings[j].ravel()) for i, j in pairs]
    known = [(one[(one >= 0) & (other >= 0)], other[(one >= 0) & (other >= 0)]) for one, other in flat]
    assert value(rows, "stability_ari") == pytest.approx(np.mean([adjusted_rand_score(*pair) for pair in known]))
    expected = np.mean([normalized_mutual_info_score(*pair) for pair in known])
    assert value(rows, "stability_nmi") == pytest.approx(expected)


def test_the_same_clusters_under_other_names_are_stable(value):
    one = np.array([0, 0, 1, 2, 2])
    rows = stability_rows([[one, one], [np.array([2, 2, 0, 1, 1])] * 2])
    assert value(rows, "stability_ari") == value(rows, "stability_nmi") == pytest.approx(1)


def test_one_labeling_is_not_compared():
    with pytest.raises(InputError, match="two labelings or more, but got 1"):
        stability_rows([np.zeros(3, int)])


def test_clusters_that_are_animals(value):
    rows = identity_rows(np.array([[0, 1], [0, 1], [0, 1]]), ("x", "y", "never"))
    assert value(rows, "animal_nmi") == pytest.approx(1)
    assert [value(rows, "animal_share", name) for name in ("x", "y")] == [1, 1]
    assert np.isnan(value(rows, "animal_share", "never"))


def test_clusters_that_all_animals_have_alike(value):
    both = np.array([0, 0, 1, -1])
    rows = identity_rows([both, np.tile(both, 10)], ("x", "y"))  # one was recorded ten times as long
    assert value(rows, "animal_nmi") == pytest.approx(0)
    assert [value(rows, "animal_share", name) for name in ("x", "y")] == pytest.approx([0.5, 0.5])


def test_identity_is_what_scikit_learn_says(value):
    clusters = np.random.default_rng(2).integers(-1, 4, (80, 3)) % 3
    clusters[:40, 0] = 0
    who = np.broadcast_to(np.arange(3), clusters.shape)
    rows = identity_rows(clusters, ("x", "y", "z"))
    assert value(rows, "animal_nmi") == pytest.approx(normalized_mutual_info_score(who.ravel(), clusters.ravel()))


def test_one_animal_cannot_be_told_from_others(value):
    rows = identity_rows(np.array([0, 1]), ("x", "y"))
    assert np.isnan([row.value for row in rows]).all()


def test_usage_by_hand(value):
    rows = usage_rows(np.array([0, 0, 1, 1, -1]), ("x", "y", "z"))
    assert value(rows, "perplexity") == pytest.approx(2)
    assert value(rows, "empty_clusters") == 1
    assert [value(rows, "share", name) for name in ("x", "y", "z")] == [0.5, 0.5, 0]
    rows = usage_rows([np.array([0, 0, 0]), np.array([1])], ("x", "y"))
    assert value(rows, "perplexity") == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))


def test_nothing_found_or_scored_is_no_number(value):
    rows = usage_rows(np.full(4, -1), ("x", "y"))
    assert value(rows, "empty_clusters") == 2
    assert np.isnan(value(rows, "perplexity"))
    assert np.isnan([row.value for row in partition_rows(np.full(4, -1), np.arange(4))]).all()


def test_a_cluster_that_has_no_name_is_refused():
    for measure in (usage_rows, identity_rows):
        with pytest.raises(InputError, match="cluster labels reach from 0 to 2"):
            measure(np.array([0, 2]), ("x", "y"))
