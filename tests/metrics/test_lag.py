"""Labels moved by hand are found to be moved."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.metrics import lag_rows


@pytest.fixture(scope="module")
def bouts() -> np.ndarray:
    """(2000,) three classes in bouts of 10 to 60 frames."""
    rng = np.random.default_rng(0)
    return np.concatenate([np.full(rng.integers(10, 60), i % 3) for i in range(100)])[:2000]


@pytest.mark.parametrize("lag", [-7, 0, 4])
def test_a_lag_is_found_for_several_animals(bouts, value, lag):
    predicted = np.column_stack([bouts, np.roll(bouts, 500)])
    truth = np.roll(predicted, lag, axis=0)  # label t is what was predicted at t − lag
    rows = lag_rows(truth, predicted)
    assert value(rows, "label_lag") == lag
    assert value(rows, "label_drift") == 0
    assert value(rows, "label_lag_gain") > 0.1 if lag else value(rows, "label_lag_gain") == 0


def test_unscored_frames_enter_nothing(bouts, value):
    truth = np.roll(bouts, 3)
    truth[::2] = -1
    assert value(lag_rows(truth, bouts), "label_lag") == 3


def test_another_frame_rate_is_a_drift(bouts, value):
    late = np.arange(len(bouts)) - np.linspace(0, 12, len(bouts)).round().astype(int)
    rows = lag_rows(bouts[late.clip(0)], bouts)
    assert 4 <= value(rows, "label_lag") <= 8
    assert 4 <= value(rows, "label_drift") <= 8, "the first half is 3 late, the second 9"


@pytest.mark.parametrize("truth", [np.zeros(50, int), np.full(50, -1), np.zeros(0, int)])
def test_one_class_tells_no_lag(truth, value):
    rows = lag_rows(truth, np.zeros(len(truth), int))
    assert all(np.isnan(value(rows, name)) for name in ("label_lag", "label_lag_gain", "label_drift"))


def test_labels_of_other_frames_are_refused():
    with pytest.raises(InputError, match="compare labels of the same frames"):
        lag_rows(np.zeros(5, int), np.zeros(6, int))
