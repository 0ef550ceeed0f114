"""How surely frames are told apart: by hand, at both ends, and what has no sharpness."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import sharpness_rows

NAMES = ("x", "y", "z", "never")


def test_by_hand(value):
    certain, of_two, of_all = [1, 0, 0, 0], [0, 0.5, 0.5, 0], [0.25] * 4  # H: 0, log 2 and log 4
    rows = sharpness_rows(np.array([certain, of_two, of_all, certain]), NAMES)
    assert value(rows, "sharpness") == pytest.approx((1 + 1 / 2 + 0 + 1) / 4)
    assert value(rows, "sharpness", "x") == pytest.approx((1 + 0 + 1) / 3), "of several alike, the first is told"
    assert value(rows, "sharpness", "y") == pytest.approx(1 / 2)
    assert np.isnan([value(rows, "sharpness", name) for name in ("z", "never")]).all()


def test_entropy_is_what_scipy_says_and_recordings_are_pooled(value):
    rng = np.random.default_rng(0)
    drawn = [rng.dirichlet(np.ones(4), (n, 2)) for n in (30, 50)]
    flat = np.concatenate([each.reshape(-1, 4) for each in drawn])
    expected = 1 - entropy(flat, axis=1).mean() / np.log(4)
    assert value(sharpness_rows(drawn, NAMES), "sharpness") == pytest.approx(expected)
    half = [each.astype(np.float16) for each in drawn]
    assert value(sharpness_rows(half, NAMES), "sharpness") == pytest.approx(expected, abs=1e-3)


def test_the_ends_are_0_and_1_whatever_the_number_of_classes(value):
    for k in (2, 7):
        names = [str(i) for i in range(k)]
        alike, certain = np.full((5, k), 1 / k, np.float16), np.eye(k)
        assert value(sharpness_rows(alike, names), "sharpness") == pytest.approx(0, abs=1e-12)
        assert value(sharpness_rows(certain, names), "sharpness") == 1


def test_frames_without_probabilities_are_left_out(value):
    told = np.array([[0.9, 0.1], [0.4, 0.6]])
    without = np.concatenate([told, [[np.nan, np.nan], [0.5, np.nan], [0, 0]]])
    assert sharpness_rows(without, ("x", "y")) == sharpness_rows(told, ("x", "y"))


@pytest.mark.parametrize(
    ("probabilities", "names"), [(np.full((4, 1, 2), np.nan), "xy"), (np.zeros((0, 2)), "xy"), (np.ones((4, 1)), "x")]
)
def test_nothing_to_tell_is_no_number(probabilities, names):
    rows = sharpness_rows(probabilities, tuple(names))
    assert [row.of for row in rows] == ["(all)", *names]
    assert np.isnan([row.value for row in rows]).all()


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.zeros((4, 3)), r"\(4, 3\), but \(…, 2\) is expected"),
        (np.zeros(2), r"\(2,\), but \(…, 2\) is expected"),
        (np.array([[-3.0, 4.0]]), "from -3 to 4"),
    ],
)
def test_what_are_no_probabilities_is_refused(probabilities, message):
    with pytest.raises(InputError, match=message):
        sharpness_rows(probabilities, ("x", "y"))
