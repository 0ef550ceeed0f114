"""The MLP on single frames: its scale, what is missing, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_lookagain.baselines.frame_head import MIN_SCALE, FrameHead, FrameHeadConfig, train_head
from napari_lookagain.progress import drain

SMALL = FrameHeadConfig(hidden=16, epochs=10, batch=50, learning_rate=1e-2)
CPU = torch.device("cpu")


def trained(x, y, seed=0, **changes):
    torch.manual_seed(seed)
    head = FrameHead(x.shape[1], int(y.max()) + 1, SMALL.model_copy(update=changes))
    head.fit_scale(x)
    drain(train_head(head, x, y, seed, CPU))
    return head


def test_columns_are_standardized_but_for_what_is_missing():
    x = torch.tensor([[1.0, 5, torch.nan, 7], [3, torch.nan, torch.nan, 7], [5, 9, torch.nan, 7]])
    head = FrameHead(4, 2, SMALL).eval()
    head.fit_scale(x)
    assert head.mean.tolist() == [3, 7, 0, 7]
    np.testing.assert_allclose(head.scale, [np.std([1, 3, 5]), 2, MIN_SCALE, MIN_SCALE], rtol=1e-6)
    told = head(torch.tensor([[3.0, 7, 0, 7]]))
    torch.testing.assert_close(head(torch.full((1, 4), torch.nan)), told)
    torch.testing.assert_close(head(torch.tensor([[1e6, 7, 0, 7]])), head(torch.tensor([[1e9, 7, 0, 7]])))


def test_principal_components_share_one_deviation():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(1000, 8)) * [4, 1, 3, 0.5, 0.4, 0.1, 9, 2]).float()
    head = FrameHead(8, 2, SMALL)
    head.fit_scale(x, principal=2, kinds=2)  # two features of which two are components, twice
    np.testing.assert_allclose(head.scale[[0, 1]], np.sqrt((16 + 1) / 2), rtol=0.1)
    np.testing.assert_allclose(head.scale[[4, 5]], np.sqrt((0.16 + 0.01) / 2), rtol=0.1)
    np.testing.assert_allclose(head.scale[[2, 3, 6, 7]], [3, 0.5, 9, 2], rtol=0.1)
    assert head.scale[0] == head.scale[1]


def test_it_learns_what_is_not_linear():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(600, 4))).float()
    y = (x[:, 0] * x[:, 1] > 0).long()
    head = trained(x, y, dropout=0.0, epochs=30)
    assert (head.probabilities(x).argmax(1) == y).float().mean() > 0.9
    torch.testing.assert_close(head.probabilities(x).sum(1), torch.ones(600))


@pytest.mark.parametrize("correct_prior", [True, False])
def test_class_weights_and_their_undoing(correct_prior):
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(1000, 3))).float(), torch.from_numpy((rng.random(1000) < 0.1).astype(int))
    share = trained(x, y, correct_prior=correct_prior, epochs=3).probabilities(x)[:, 1].mean().item()
    assert share == pytest.approx(y.float().mean().item() if correct_prior else 0.5, abs=0.05)


def test_a_seed_gives_one_head():
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(200, 3))).float(), torch.from_numpy(rng.integers(0, 2, 200))
    told = [trained(x, y, seed).probabilities(x) for seed in (0, 0, 1)]
    torch.testing.assert_close(told[0], told[1], rtol=0, atol=0)
    assert (told[0] != told[2]).any()
