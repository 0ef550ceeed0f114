"""Sequences: what is trained on, what is held out, and that what is read does not depend on memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_lookagain.actions.sequences as module
from napari_lookagain.actions.features import Reading
from napari_lookagain.actions.sequences import Sequences, moments, scored_windows, splits
from napari_lookagain.progress import drain
from napari_lookagain.vision.cache import FeatureMemory
from napari_lookagain.windows import Window


def reading_of(values):
    """A recording of which (T, A, F) values were seen."""
    frames, animals, width = values.shape
    rows = np.argwhere(np.ones((frames, animals), bool))
    features = FeatureMemory(values.shape, rows)
    features.write(rows, values.reshape(-1, width))
    return Reading(frames, animals, None, (features,), width)


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    return [rng.normal(3, 2, (50, 2, 4)).astype(np.float32), rng.normal(size=(30, 1, 4)).astype(np.float32)]


@pytest.fixture
def labels():
    one, other = np.full((50, 2), -1, np.int16), np.zeros((30, 1), np.int16)
    one[5:12, 1] = 1
    one[45:, 0] = 0
    return [one, other]


@pytest.fixture
def sequences(values, labels):
    return Sequences([reading_of(each) for each in values], labels, 20)


def test_sequences_without_a_scored_frame_are_left_out(labels):
    assert scored_windows(labels, 20) == [Window(0, 0, 20), Window(0, 40, 50), Window(1, 0, 20), Window(1, 20, 30)]


def test_an_animal_that_is_not_scored_is_no_sequence(sequences, values, labels):
    windows = scored_windows(labels, 20)
    [(x, valid, behavior)] = sequences(windows)
    assert x.shape == (4, 20, 4)
    assert sequences.count(windows) == 4
    np.testing.assert_array_equal(x[0], values[0][:20, 1])
    np.testing.assert_array_equal(x[1, :10], values[0][40:, 0])
    assert not x[1, 10:].any()
    assert valid.sum(1).tolist() == [20, 10, 20, 10]
    assert behavior[0].tolist() == [-1] * 5 + [1] * 7 + [-1] * 8
    assert behavior[1].tolist() == [-1] * 5 + [0] * 5 + [-1] * 10


def test_little_memory_changes_nothing(sequences, values, labels, monkeypatch):
    windows = scored_windows(labels, 20)
    whole = next(sequences(windows))
    monkeypatch.setattr(module, "AT_ONCE", 2 * 20 * 4)
    monkeypatch.setattr(module, "KEPT", 0)
    frugal = Sequences([reading_of(each) for each in values], labels, 20)
    portions = list(frugal(windows))
    assert [len(x) for x, _, _ in portions] == [2, 2]
    for i, expected in enumerate(whole):
        assert torch.equal(torch.cat([portion[i] for portion in portions]), expected)
    assert frugal._kept == {}


def test_moments(sequences, values, labels):
    windows = scored_windows(labels, 20)
    every = np.concatenate([values[0][:20].reshape(-1, 4), values[0][40:].reshape(-1, 4), values[1].reshape(-1, 4)])
    mean, deviation = drain(moments(sequences, windows, 4, (0, 0)))
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, every.std(0), rtol=1e-5)
    mean, deviation = drain(moments(sequences, windows, 2, (1, 2)))
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-5)
    mean, deviation = drain(moments(sequences, windows, 0, (2, 2)))
    np.testing.assert_allclose(mean, every.reshape(-1, 2).mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, every.reshape(-1, 2).std(0), rtol=1e-5)


def test_whole_sequences_are_held_out_others_for_every_seed():
    label = np.tile(np.repeat([0, 1], 10), 40)[:, None].astype(np.int16)
    windows = scored_windows([label], 20)
    parts = splits([label], windows, 0.1, range(8))
    for training, held_out in parts:
        assert len(held_out) == 4
        assert sorted(training + held_out) == windows
        assert held_out[-1].stop - held_out[0].start == 80, "in a row"
    assert len({tuple(held_out) for _, held_out in parts}) > 1
    assert splits([label], windows, 0.0, [0]) == [(windows, [])]
