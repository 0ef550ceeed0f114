"""Probabilities against how often it was so."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import calibration_rows, reliability, reliability_curves

ABC = ("a", "b", "c")


@pytest.fixture(scope="module")
def told():
    """Scored classes of 500 frames of two animals, and probabilities that lean towards them; not all add up to 1."""
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 3, (500, 2))
    probabilities = (rng.random((500, 2, 3)) * 0.6 + 0.3 * (truth[..., None] == np.arange(3))).astype(np.float32)
    return truth, probabilities


@pytest.mark.parametrize("equal, strategy", [("width", "uniform"), ("count", "quantile")])
def test_curves_are_what_scikit_learn_says(told, equal, strategy):
    truth, probabilities = told
    curves = reliability_curves(truth, probabilities, ABC, bins=7, equal=equal)
    known = truth >= 0
    for k, name in enumerate(ABC):
        event, probability = truth[known] == k, probabilities[known][:, k].astype(float)
        observed, predicted = calibration_curve(event, probability, n_bins=7, strategy=strategy)
        assert curves[name].observed == pytest.approx(observed)
        assert curves[name].predicted == pytest.approx(predicted)
        assert curves[name].frames.sum() == known.sum()
    assert list(curves) == [*ABC, "(top)"]


def test_a_curve_by_hand():
    event = np.array([False, False, True, True, False])
    probability = np.array([0.1, 0.3, 0.5, 0.9, 0.9])
    curve = reliability(event, probability, bins=2)  # 0.1, 0.3, 0.5 | 0.9, 0.9: an edge is of the lower bin
    assert (curve.low.tolist(), curve.high.tolist(), curve.frames.tolist()) == ([0, 0.5], [0.5, 1], [3, 2])
    assert curve.predicted == pytest.approx([0.3, 0.9])
    assert curve.observed == pytest.approx([1 / 3, 1 / 2])
    assert curve.error == pytest.approx(3 / 5 * (1 / 3 - 0.3) + 2 / 5 * 0.4)


def test_bins_that_hold_nothing_are_left_out():
    curve = reliability(np.array([True, False]), np.array([0.05, 0.95]), bins=10)
    assert curve.low.tolist() == pytest.approx([0, 0.9])


def test_equal_probabilities_are_never_parted():
    event = np.arange(20) % 2 == 0
    curve = reliability(event, np.full(20, 0.5), bins=4, equal="count")
    assert (curve.frames.tolist(), curve.error) == ([20], 0)


def test_rows_by_hand(value):
    truth = np.array([0, 1, -1])
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [np.nan, np.nan]])
    rows = calibration_rows(truth, probabilities, ("a", "b"))
    assert value(rows, "calibration_frames") == 2
    assert value(rows, "brier", "a") == pytest.approx((0.2**2 + 0.6**2) / 2)
    assert value(rows, "brier") == pytest.approx((2 * 0.2**2 + 2 * 0.6**2) / 2)
    assert value(rows, "brier", "(top)") == pytest.approx((0.2**2 + 0.6**2) / 2), "0.8 and right, 0.6 and wrong"
    assert value(rows, "calibration_error", "a") == pytest.approx((0.2 + 0.6) / 2)
    assert value(rows, "calibration_error_equal_count", "(top)") == pytest.approx((0.2 + 0.6) / 2)


def test_brier_is_what_scikit_learn_says(told, value):
    truth, probabilities = told
    rows = calibration_rows(truth, probabilities, ABC)
    known = truth >= 0
    for k, name in enumerate(ABC):
        expected = brier_score_loss(truth[known] == k, probabilities[known][:, k])
        assert value(rows, "brier", name) == pytest.approx(expected)


def test_a_calibrated_model_has_little_error(value):
    rng = np.random.default_rng(3)
    sure = rng.random(20000)
    truth = (rng.random(20000) < sure).astype(int)
    rows = calibration_rows(truth, np.stack([1 - sure, sure], axis=1), ("no", "yes"))
    assert value(rows, "calibration_error", "yes") < 0.03
    bold = calibration_rows(truth, np.stack([1 - sure, sure], axis=1) > 0.5, ("no", "yes"))
    assert value(bold, "calibration_error", "yes") == pytest.approx(0.25, abs=0.02)


def test_half_precision_may_be_a_hair_above_one(value):
    probabilities = np.array([[1.001, 0]], np.float16)
    assert value(calibration_rows(np.array([0]), probabilities, ("a", "b")), "brier") == 0


def test_nothing_scored_is_no_number(value):
    rows = calibration_rows(np.full(4, -1), np.full((4, 2), 0.5), ("a", "b"))
    assert value(rows, "calibration_frames") == 0
    assert np.isnan([row.value for row in rows[1:]]).all()
    scored = calibration_rows(np.array([0]), np.full((1, 2), 0.5), ("a", "b"))
    assert {(row.measure, row.of) for row in rows} == {(row.measure, row.of) for row in scored}


@pytest.mark.parametrize(
    "event, probability, settings, told",
    [
        (np.ones(3, bool), np.ones(2), {}, r"\(3,\) events and \(2,\) probabilities"),
        (np.ones(3, bool), np.full(3, 2.0), {}, "from 2 to 2, but not 0 to 1"),
        (np.ones(3, bool), np.ones(3), {"bins": 0}, "0 bins"),
        (np.ones(3, bool), np.ones(3), {"equal": "weight"}, "'weight'"),
    ],
)
def test_what_is_no_probability_is_refused(event, probability, settings, told):
    with pytest.raises(InputError, match=told):
        reliability(event, probability, **settings)
