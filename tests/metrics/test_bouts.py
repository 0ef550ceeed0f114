"""Bouts drawn on paper, matched by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import bout_rows

AB = ("a", "b")


def test_overlap_by_hand(track, value):
    truth = track("aaaa bbbb bbaa")
    told = track("aaaa aabb bbbb")
    rows = bout_rows(truth, told, AB, overlaps=(0.25, 0.5, 0.6, 0.7))
    # a lies at 0–6, scored at 0–4: IoU 4/6; the one at 10–12 is missed. b lies at 6–12, scored at 4–10: IoU 4/8
    assert [value(rows, f"bout_f1@{x}", "a") for x in (0.25, 0.5, 0.6, 0.7)] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0])
    assert [value(rows, f"bout_f1@{x}", "b") for x in (0.25, 0.5, 0.6, 0.7)] == pytest.approx([1, 1, 0, 0])
    # together 3 scored and 2 predicted
    assert [value(rows, f"bout_f1@{x}") for x in (0.25, 0.5, 0.6, 0.7)] == pytest.approx([4 / 5, 4 / 5, 2 / 5, 0])
    assert value(rows, "macro_bout_f1@0.5") == pytest.approx((2 / 3 + 1) / 2)


def test_a_bout_found_in_pieces_has_one_hit(track, value):
    truth = track("aaaaaaaaaa bb")
    told = track("aaaabaaaaa bb")  # pieces of IoU 4/10 and 5/10, and a b of one frame too many
    rows = bout_rows(truth, told, AB)
    assert value(rows, "bout_f1@0.1", "a") == pytest.approx(2 / 3), "1 hit of 1 scored and 2 predicted"
    assert value(rows, "bout_f1@0.5", "a") == pytest.approx(2 / 3), "an IoU of just 0.5 is enough"
    assert value(rows, "bout_f1@0.1", "b") == pytest.approx(2 / 3)
    assert value(rows, "bout_ratio") == 2


def test_one_long_bout_takes_only_the_one_it_overlaps_most(track, value):
    truth = track("aaa b aaaaa b aa")
    told = track("aaaaaaaaaaaa")  # IoU 3/12, 5/12 and 2/12
    rows = bout_rows(truth, told, AB)
    assert value(rows, "bout_f1@0.25", "a") == pytest.approx(2 / 4), "1 hit of 3 scored and 1 predicted"
    assert value(rows, "bout_f1@0.5", "a") == 0


def test_no_bout_reaches_across_unscored_frames(track, value):
    truth = track("aaa...aaa")
    told = track("aaaaaaaaa")
    rows = bout_rows(truth, told, AB)
    assert value(rows, "bouts", "a") == value(rows, "predicted_bouts", "a") == 2
    assert value(rows, "bout_frames_mean", "a") == value(rows, "predicted_bout_frames_mean", "a") == 3
    assert value(rows, "bout_f1@0.5", "a") == 1


def test_no_bout_reaches_to_another_animal_or_recording(track, value):
    rows = bout_rows(track("aaaaaa").reshape(2, 3).T, track("aaaaaa").reshape(2, 3).T, AB)
    assert value(rows, "bouts") == 2
    rows = bout_rows([track("aa"), track("aab")], [track("aa"), track("aab")], AB)
    assert value(rows, "bouts") == 3


def test_frames_without_a_prediction_part_bouts(track, value):
    rows = bout_rows(track("aaaaaa"), track("aa.aaa"), AB)
    assert value(rows, "predicted_bouts") == 2
    assert value(rows, "bout_f1@0.5", "a") == pytest.approx(2 / 3)


def test_counts_and_durations(track, value):
    rows = bout_rows(track("aaaa b a bb"), track("aaaa a a aa"), AB)
    assert [value(rows, "bouts", name) for name in AB] == [2, 2]
    assert [value(rows, "predicted_bouts", name) for name in AB] == [1, 0]
    assert [value(rows, "bout_frames_mean", name) for name in AB] == [2.5, 1.5]
    assert [value(rows, "predicted_bout_frames_median", name) for name in AB] == [8, pytest.approx(np.nan, nan_ok=True)]
    assert value(rows, "bout_f1@0.1", "b") == 0, "it is never predicted"
    assert value(rows, "bout_ratio") == 1 / 4


def test_a_class_without_a_bout_counts_as_nothing(track, value):
    rows = bout_rows(track("aa"), track("aa"), AB)
    assert (value(rows, "bout_f1@0.5"), value(rows, "macro_bout_f1@0.5")) == (1, 0.5)


def test_nothing_scored_is_no_number(track, value):
    rows = bout_rows(track("...."), track("aabb"), AB)
    assert value(rows, "bouts") == value(rows, "predicted_bouts") == 0
    assert np.isnan([value(rows, measure) for measure in ("bout_f1@0.5", "macro_bout_f1@0.5", "bout_ratio")]).all()


def test_labels_of_batches_have_no_bouts():
    with pytest.raises(InputError, match=r"but these are \(2, 3, 4\)"):
        bout_rows(np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), int), AB)
