"""Onsets and offsets drawn on paper, distances counted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.metrics import boundary_rows

AB = ("a", "b")


def test_distances_by_hand(track, value):
    # frames       0123 4567 8901
    truth = track("aaaa bbbb aaaa")  # a ends at 4 and begins at 8; b begins at 4 and ends at 8
    told = track("aaaa aabb bbba")  # a ends at 6 and begins at 11; b begins at 6 and ends at 11
    rows = boundary_rows(truth, told, AB)
    assert [value(rows, "boundaries", name) for name in AB] == [2, 2], "the ends of the recording are none"
    assert value(rows, "offset_error_median", "a") == 2
    assert value(rows, "onset_error_median", "a") == 3
    assert (value(rows, "onset_error_median", "b"), value(rows, "offset_error_median", "b")) == (2, 3)
    assert value(rows, "boundary_error_mean") == value(rows, "boundary_error_median") == 2.5
    assert value(rows, "boundaries") == 4
    assert value(rows, "boundaries_missed") == 0


def test_the_nearest_one_counts_on_either_side(track, value):
    # frames       0123456789
    truth = track("bbbbbaaaaa")  # a begins at 5
    told = track("babbbbbabb")  # a begins at 1 and at 7: the nearer is 2 away
    assert value(boundary_rows(truth, told, AB), "onset_error_median", "a") == 2


def test_a_boundary_without_any_is_missed_and_has_no_distance(track, value):
    rows = boundary_rows(track("aaa bbb"), track("aaa aaa"), AB)
    assert np.isnan(value(rows, "boundary_error_mean", "b"))
    assert value(rows, "boundaries_missed", "b") == 1
    assert value(rows, "boundary_error_mean", "a") == 3, "it ends at 3, and is predicted to at 6, where the span does"
    assert (value(rows, "boundary_error_mean"), value(rows, "boundaries_missed")) == (3, 0.5)


@pytest.mark.parametrize("gap", ["", "."])
def test_another_span_is_no_help(track, value, gap):
    # b begins at 2 of the first span, and is predicted in the second only
    truth, told = track(f"aabb {gap} aaaa"), track(f"aaaa {gap} abaa")
    if gap:
        rows = boundary_rows(truth, told, AB)
        assert value(rows, "boundaries_missed", "b") == 1
    else:
        rows = boundary_rows([truth[:4], truth[4:]], [told[:4], told[4:]], AB)
        assert value(rows, "boundaries_missed", "b") == 1
        assert value(boundary_rows(truth, told, AB), "boundaries_missed", "b") == 0, "one span"


def test_where_scoring_began_no_behavior_did(track, value):
    rows = boundary_rows(track("..aa.."), track("aaaaaa"), AB)
    assert value(rows, "boundaries") == 0
    assert np.isnan(value(rows, "boundary_error_mean"))
    assert np.isnan(value(rows, "boundaries_missed"))


def test_one_bout_within(track, value):
    rows = boundary_rows(track("bbaabb"), track("bbaabb"), AB)
    assert value(rows, "boundary_error_mean") == value(rows, "boundaries_missed") == 0
    assert [value(rows, "boundaries", name) for name in AB] == [2, 2]
