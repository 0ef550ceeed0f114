"""Words of bouts, and the letters between them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.metrics import edit_rows
from napari_lookagain.metrics.edit import levenshtein


def letters(word: str) -> np.ndarray:
    return np.array([ord(letter) for letter in word], int)


@pytest.mark.parametrize(
    "first, second, edits",
    [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 3), ("abc", "", 3), ("", "", 0), ("abab", "baba", 2)],
)
def test_levenshtein_by_hand(first, second, edits):
    assert levenshtein(letters(first), letters(second)) == edits


@pytest.mark.parametrize(
    "truth, predicted, score",
    [
        ("aaa bbb aaa", "aba bab aab", 1 - 5 / 8),  # aba from abababab
        ("aaaa bb a", "a bbbbb a", 1),  # durations do not count
        ("aaa bbb", "aaa aaa", 1 / 2),  # ab from a
        ("aaaa", "aa.a", 1 / 2),  # a from aa
        ("aaaa", "....", 0),  # a from nothing
        ("aab ... ab", "abb aba aa", 1 - 1 / 4),  # ab from ab, and ab from a: 1 edit of 2 + 2
    ],
)
def test_the_score_by_hand(track, value, truth, predicted, score):
    assert value(edit_rows(track(truth), track(predicted)), "edit_score") == pytest.approx(score)


def test_spans_of_many_bouts_count_for_more(track, value):
    truth, predicted = track("ababab . a"), track("ababab . b")
    assert value(edit_rows(truth, predicted), "edit_score") == pytest.approx(1 - 1 / 7)
    animals = edit_rows([truth[:6], truth[7:]], [predicted[:6], predicted[7:]])
    assert animals == edit_rows(truth, predicted)


def test_nothing_scored_is_no_number(track, value):
    assert np.isnan(value(edit_rows(track("..."), track("aaa")), "edit_score"))
