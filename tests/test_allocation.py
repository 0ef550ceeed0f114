"""Where looks go in a whole recording: exactly as many as allowed, where they gain most, and as a person wants it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_lookagain.allocation import choose_looks
from napari_lookagain.model.grounding import select_frames
from napari_lookagain.motion_pass import MotionPass

SELECTS = pytest.mark.parametrize("select", ["spread", "topk", "grid", "random"])
SCOPES = pytest.mark.parametrize("scope", ["window", "recording"])
WINDOW = 32


@pytest.fixture
def choose(tiny):
    """Looks (T, A) of a gate's logits (A, T)."""

    def choose(logit, budget, scope="recording", select="spread", **wishes):
        gate = np.zeros((*logit.shape, 4), np.float32)
        gate[..., 0] = logit
        return choose_looks(
            SimpleNamespace(config=tiny(look={"select": select})), MotionPass(gate, gate), budget, scope, **wishes
        )

    return choose


def logits(n_frames, n_animals=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n_animals, n_frames)).astype(np.float32)


def greedy(alpha, k, tau):
    """The definition, one look after the other: windows know of their own looks only."""
    looked, novelty = np.zeros(len(alpha), bool), np.ones(len(alpha))
    for _ in range(k):
        gain = np.where(looked, -1, alpha * novelty)
        best = int(gain.argmax())
        looked[best] = True
        window = slice(best // WINDOW * WINDOW, best // WINDOW * WINDOW + WINDOW)
        distance = np.arange(len(alpha))[window] - best
        novelty[window] = np.minimum(novelty[window], 1 - np.exp(-(distance**2) / (2 * tau**2)))
    return looked


@SELECTS
@pytest.mark.parametrize("n_frames", [7, 33, 300])
@pytest.mark.parametrize("budget", [0.0, 0.02, 0.07, 0.25, 0.99, 1.0])
def test_a_recording_gets_its_share_of_looks(choose, select, n_frames, budget):
    looked = choose(logits(n_frames), budget, select=select)
    assert looked.sum(0).tolist() == [math.ceil(round(budget * n_frames, 6))] * 2
    assert (looked == choose(logits(n_frames), budget, select=select)).all(), "the same every time"


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.4, 0.8])
def test_looks_go_where_they_gain_most(choose, budget):
    logit = logits(300, 3) * np.array([[0.1], [1.0], [4.0]], np.float32)
    looked = choose(logit, budget)
    for animal in range(3):
        alpha = torch.from_numpy(logit[animal]).sigmoid().double().numpy()
        k = math.ceil(300 * budget)
        assert (looked[:, animal] == greedy(alpha, k, 300 / (2 * k))).all()


@SELECTS
def test_a_recording_of_one_window_is_that_window(choose, select):
    logit = logits(WINDOW)
    assert (choose(logit, 0.3, "recording", select) == choose(logit, 0.3, "window", select)).all() or select == "random"


def test_quiet_hours_give_their_looks_to_busy_minutes(choose):
    logit = np.full((2, 640), -3.0, np.float32)
    logit[0, 320:480] = 2.0  # one animal is busy, and the other keeps its looks
    recording, window = choose(logit, 0.1), choose(logit, 0.1, "window")
    assert recording[320:480, 0].mean() > 2 * window[320:480, 0].mean()
    assert recording.sum(0).tolist() == [64, 64]
    calm = recording[:, 1].reshape(-1, WINDOW).sum(1)
    assert calm.max() - calm.min() <= 1, "where the gate is indifferent all windows get as many"


@SCOPES
@SELECTS
@pytest.mark.parametrize("budget", [0.05, 0.3, 1.0])
def test_what_is_pinned_is_looked_at_and_what_is_muted_is_not(choose, scope, select, budget):
    pinned, muted = np.zeros((2, 320, 2), bool)
    pinned[[3, 40, 41, 200], 0] = True
    muted[64:130] = muted[300:, 1] = True
    looked = choose(logits(320), budget, scope, select, pinned=pinned, muted=muted)
    assert looked[pinned].all()
    assert not looked[muted].any()
    spans = [slice(0, 320)] if scope == "recording" else [slice(i, i + WINDOW) for i in range(0, 320, WINDOW)]
    for span in spans:  # pins count, and muted frames are no frames
        share = np.ceil(np.round(budget * (~muted[span]).sum(0), 6))
        assert looked[span].sum(0).tolist() == np.maximum(share, pinned[span].sum(0)).tolist()


@SCOPES
@SELECTS
def test_more_pins_than_budget_are_all_that_is_looked_at(choose, scope, select):
    pinned = np.zeros((96, 2), bool)
    pinned[:96:3] = True
    assert (choose(logits(96), 0.1, scope, select, pinned=pinned) == pinned).all()
    assert not choose(logits(96), 0.0, scope, select, pinned=pinned).any(), "at 0 no video is opened"


def test_other_looks_keep_away_from_pins():
    valid, pinned = torch.ones(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    pinned[20] = True
    looked = torch.nonzero(select_frames(torch.full((40,), 0.5), valid, 3 / 40, "spread", pinned)).flatten().tolist()
    assert looked == [0, 20, 39]
