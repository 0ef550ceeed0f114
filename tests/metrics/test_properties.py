"""What holds of every measure, whatever the labels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_lookagain.metrics import (
    apply_map,
    behavior_rows,
    bout_rows,
    edit_rows,
    majority_map,
    one_to_one_map,
    partition_rows,
)
from napari_lookagain.metrics.edit import levenshtein

NAMES = ("a", "b", "c")
shapes = st.tuples(st.integers(1, 25), st.integers(1, 2))
some = settings(deadline=None, max_examples=60)


def labels(low: int = -1, n: int = 1) -> st.SearchStrategy:
    """Several labelings of the same frames, (T, A) each."""
    return shapes.flatmap(lambda shape: st.tuples(*[arrays(np.int64, shape, elements=st.integers(low, 2))] * n))


def numbers(rows, *, but=()) -> dict:
    return {(row.measure, row.of): row.value for row in rows if row.measure not in but}


def same(one: dict, other: dict) -> None:
    assert one == pytest.approx(other, nan_ok=True)


@some
@given(labels())
def test_a_perfect_prediction_is_perfect(drawn):
    [truth] = drawn
    found = numbers(behavior_rows(truth, truth, NAMES))
    best = ("accuracy", "kappa", "macro_f1_present", "edit_score", "bout_f1@0.1", "bout_f1@0.5", "bout_ratio")
    for measure in best:
        value = found[measure, "(all)"]
        assert np.isnan(value) or value == pytest.approx(1)
        assert not np.isnan(value) or measure == "kappa" or (truth < 0).all()
    assert found["boundary_error_mean", "(all)"] in (0, pytest.approx(np.nan, nan_ok=True))
    assert found["boundaries_missed", "(all)"] in (0, pytest.approx(np.nan, nan_ok=True))


@some
@given(labels(n=2), st.permutations(range(3)))
def test_the_order_of_classes_does_not_matter(drawn, order):
    truth, predicted = drawn
    table = np.array([*order, -1])
    names = [""] * 3
    for old, new in enumerate(order):
        names[new] = NAMES[old]
    same(numbers(behavior_rows(truth, predicted, NAMES)), numbers(behavior_rows(table[truth], table[predicted], names)))


@some
@given(labels(n=2), st.integers(1, 5), st.integers(-1, 2))
def test_unscored_frames_change_nothing(drawn, n, told):
    truth, predicted = drawn
    before = numbers(behavior_rows(truth, predicted, NAMES))
    around = ((n, n), (0, 1))  # before and after, and another animal
    longer = np.pad(truth, around, constant_values=-1), np.pad(predicted, around, constant_values=told)
    same(before, numbers(behavior_rows(*longer, NAMES)))
    where = np.where(truth < 0, told, predicted)
    same(before, numbers(behavior_rows(truth, where, NAMES)))


@some
@given(labels(n=2))
def test_pooling_is_that_of_one_recording_after_another(drawn):
    truth, predicted = drawn
    gap = np.full((1, truth.shape[1]), -1)
    joined = np.concatenate([truth, gap, truth]), np.concatenate([predicted, gap, predicted])
    same(numbers(behavior_rows([truth, truth], [predicted, predicted], NAMES)), numbers(behavior_rows(*joined, NAMES)))


@some
@given(labels(low=0, n=2))
def test_edit_scores_are_symmetric(drawn):
    one, other = drawn
    same(numbers(edit_rows(one, other)), numbers(edit_rows(other, one)))


@some
@given(st.tuples(*[st.lists(st.integers(0, 2), max_size=7)] * 3))
def test_edits_are_a_distance(words):
    one, two, three = (np.array(word, int) for word in words)
    assert levenshtein(one, three) <= levenshtein(one, two) + levenshtein(two, three)
    assert abs(len(one) - len(two)) <= levenshtein(one, two) <= max(len(one), len(two))
    assert (levenshtein(one, two) == 0) == (words[0] == words[1])


@some
@given(labels(n=2))
def test_bout_f1_falls_with_the_overlap_asked_for(drawn):
    overlaps = (0.1, 0.25, 0.5, 0.75, 1.0)
    found = numbers(bout_rows(*drawn, NAMES, overlaps))
    for name in (*NAMES, "(all)"):
        values = [found[f"bout_f1@{overlap:g}", name] for overlap in overlaps]
        assert np.isnan(values).all() or (np.diff(values) <= 0).all()


def hits_one_by_one(truth, predicted, overlap) -> int:
    """Hits of one animal without unscored frames, all bouts compared with all, in their order."""

    def bouts(row):
        cuts = [0, *(np.flatnonzero(np.diff(row)) + 1), len(row)]
        return [(set(range(a, b)), row[a]) for a, b in pairwise(cuts) if row[a] >= 0]

    scored, taken = bouts(truth), set()
    for frames, code in bouts(predicted):
        overlaps = [len(frames & own) / len(frames | own) if code == theirs else 0 for own, theirs in scored]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= overlap and best not in taken:
            taken.add(best)
    return len(taken)


@some
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.lists(st.integers(-1, 2), min_size=30, max_size=30),
    st.sampled_from([0.1, 0.25, 0.5]),
)
def test_bouts_are_matched_as_one_by_one(scored, told, overlap):
    truth, predicted = np.array(scored), np.array(told[: len(scored)])
    found = numbers(bout_rows(truth, predicted, NAMES, (overlap,)))
    n_bouts = found["bouts", "(all)"] + found["predicted_bouts", "(all)"]
    expected = 2 * hits_one_by_one(truth, predicted, overlap) / n_bouts
    assert found[f"bout_f1@{overlap:g}", "(all)"] == pytest.approx(expected)


@some
@given(labels(n=2))
def test_no_mapping_agrees_more_than_the_majority(drawn):
    truth, clusters = drawn
    alone, majority = one_to_one_map(clusters, truth, 3, 3), majority_map(clusters, truth, 3)
    one, other = (int(((apply_map(each, clusters) == truth) & (truth >= 0)).sum()) for each in (alone, majority))
    assert one <= other
    taken = alone[alone >= 0].tolist()
    assert len(taken) == len(set(taken))


@some
@given(labels(n=2), st.permutations(range(3)))
def test_names_of_clusters_do_not_matter(drawn, order):
    truth, clusters = drawn
    same(numbers(partition_rows(truth, clusters)), numbers(partition_rows(truth, np.array([*order, -1])[clusters])))
