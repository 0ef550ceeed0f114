"""Each loss against numbers worked out by hand, and deaf to everything that is hidden, padded or unscored."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from napari_lookagain.model import losses

NAN = math.nan


def frames(*values):
    """Values over time of one animal in one window, (1, 1, T, ...)."""
    return tensor(values)[None, None]


def test_a_mean_over_nothing_is_zero_with_a_gradient():
    values = tensor([1.0, 2.0], requires_grad=True)
    mean = losses.mean_where(values, tensor([False, False]))
    mean.backward()
    assert mean == 0
    assert values.grad.tolist() == [0, 0]
    assert losses.mean_where(values, tensor([False, True])) == 2


def test_masked_keypoints():
    # Two keypoints. Frame 0 is not hidden; of frame 1 both are present, of frame 2 only the second.
    predicted = frames([9.0, 9, 9, 9], [1, 2, 3, 4], [7, 7, 0, 1])
    target = frames([0.0, 0, 0, 0], [0, 0, 3, 1], [0, 0, 2, 2])
    present = frames([True, True], [True, True], [False, True])
    loss = losses.masked_keypoint_loss(predicted, target, present, frames(False, True, True))
    assert loss == pytest.approx((1 + 4 + 0 + 9 + 4 + 1) / 6)
    assert losses.masked_keypoint_loss(predicted, target, present, frames(False, False, False)) == 0


def test_masked_keypoints_in_three_coordinates():
    predicted, target = frames([1.0, 2, 3, 5, 5, 5]), torch.zeros(1, 1, 1, 6)
    assert losses.masked_keypoint_loss(predicted, target, frames([True, False]), frames(True)) == pytest.approx(14 / 3)


def test_vision_prediction():
    seen = frames([1.0, 0], [0, 2], [3, 4], [8, 6])
    one_ahead = frames([0.0, 5], [1, 0], [0, 1], [7, 7])  # cosines 1, 3/5, 3/5; the last frame has no next
    two_ahead = frames([4.0, -3], [0, -1], [7, 7], [7, 7])  # cosines 0, -3/5
    valid = torch.ones(1, 1, 4, dtype=torch.bool)
    loss = losses.vision_prediction_loss([one_ahead, two_ahead], seen, valid, (1, 2), (1.0, 0.5))
    assert loss == pytest.approx((0 + 0.4 + 0.4) / 3 + 0.5 * (1 + 1.6) / 2)
    short = losses.vision_prediction_loss([one_ahead, two_ahead], seen, frames(True, True, True, False), (1, 2), (1, 1))
    assert short == pytest.approx((0 + 0.4) / 2 + 1)
    later = losses.vision_prediction_loss([one_ahead, two_ahead], seen, frames(False, True, True, True), (1, 2), (1, 1))
    assert later == pytest.approx((0.4 + 0.4) / 2 + 1.6)


def test_a_horizon_beyond_the_window_says_nothing():
    ahead, valid = frames([1.0, 0], [1, 0]), frames(True, True)
    assert losses.vision_prediction_loss([ahead, ahead], -ahead, valid, (2, 5), (1.0, 1.0)) == 0


def test_reconstruction():
    decoded, motion = frames([1.0, 2], [3, 4], [50, 50]), frames([1.0, 0], [0, 4], [0, 0])
    assert losses.reconstruction_loss(decoded, motion, frames(True, True, False)) == pytest.approx((4 + 9) / 4)


def test_commitment_moves_the_encoder_and_not_the_codes():
    latent, tokens = (
        frames([1.0, 2], [3, 4], [9, 9]).requires_grad_(),
        frames([1.0, 0], [2, 1], [0, 0]).requires_grad_(),
    )
    loss = losses.commitment_loss(latent, tokens, frames(True, True, False), 0.25)
    loss.backward()
    assert loss.detach() == pytest.approx(0.25 * (0 + 4 + 1 + 9) / 4)
    torch.testing.assert_close(latent.grad, 0.25 * frames([0.0, 4], [2, 6], [0, 0]) / 4)
    assert tokens.grad is None


def test_class_weights():
    behavior = tensor([[0, 0, 0, 0], [0, 0, 2, -1]])
    weights = losses.class_weights(behavior, 4)
    torch.testing.assert_close(weights, tensor([7 / 12, 0, 7 / 2, 0]))
    scored = behavior[behavior >= 0]
    assert weights[scored].mean() == pytest.approx(1)
    assert losses.class_weights(tensor([-1, -1]), 2).tolist() == [0, 0]


def test_classification():
    # log(1 + e^-2) = 0.126928, log(1 + e^2) = 2.126928, log 2 = 0.693147
    logits = frames([2.0, 0], [2.0, 0], [1.0, 1], [0, 99.0])
    behavior = frames(0, 1, 1, -1)
    loss = losses.classification_loss(logits, behavior, tensor([0.5, 2.0]))
    assert loss == pytest.approx((0.5 * 0.126928 + 2 * 2.126928 + 2 * 0.693147) / 3, abs=1e-5)
    assert losses.classification_loss(logits, torch.full_like(behavior, -1), tensor([0.5, 2.0])) == 0


def test_unscored_frames_have_no_gradient():
    logits = torch.randn(2, 1, 3, 2, requires_grad=True)
    behavior = tensor([[[0, -1, 1]], [[-1, -1, -1]]])
    losses.classification_loss(logits, behavior, tensor([1.0, 1.0])).backward()
    assert logits.grad.abs().sum(-1).bool().tolist() == [[[True, False, True]], [[False, False, False]]]


def test_classification_error():
    logits = frames([2.0, 0], [2.0, 0], [0.0, 1], [0, 99.0])
    behavior, weights = frames(0, 1, 1, -1), tensor([0.5, 2.0])
    assert losses.classification_error(logits, behavior, weights) == pytest.approx(2 / (0.5 + 2 + 2))
    assert losses.classification_error(logits, torch.full_like(behavior, -1), weights) == 0


def test_soft_assignment():
    centers = tensor([[0.0, 0], [0, 1], [3, 4]])
    q = losses.soft_assignment(tensor([[0.0, 0], [3, 0]]), centers)
    first = tensor([1, 1 / 2, 1 / 26])
    second = tensor([1 / 10, 1 / 11, 1 / 17])
    torch.testing.assert_close(q, torch.stack([first / first.sum(), second / second.sum()]))
    batch = torch.randn(2, 3, 4, 2)
    q = losses.soft_assignment(batch, centers)
    assert q.shape == (2, 3, 4, 3)
    torch.testing.assert_close(q.sum(-1), torch.ones(2, 3, 4))
    torch.testing.assert_close(q[1, 2, 3], losses.soft_assignment(batch[1, 2, 3:], centers)[0])


def test_target_distribution():
    q = tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])  # sums over frames 1.5 and 1.5
    torch.testing.assert_close(
        losses.target_distribution(q),
        tensor([[0.64 / 0.68, 0.04 / 0.68], [0.36 / 0.52, 0.16 / 0.52], [0.01 / 0.82, 0.81 / 0.82]]),
    )
    uneven = losses.target_distribution(tensor([[0.9, 0.1], [0.5, 0.5]]))  # sums 1.4 and 0.6
    torch.testing.assert_close(uneven[1], tensor([0.25 / 1.4, 0.25 / 0.6]) / (0.25 / 1.4 + 0.25 / 0.6))


def test_a_cluster_nobody_belongs_to_makes_no_nan():
    p = losses.target_distribution(tensor([[1.0, 0], [1.0, 0]]))
    assert p.tolist() == [[1, 0], [1, 0]]
    assert losses.clustering_loss(tensor([[1.0, 0], [1.0, 0]]), p) == 0


def test_clustering():
    q, p = tensor([[0.5, 0.5], [0.25, 0.75]]), tensor([[1.0, 0.0], [0.5, 0.5]])
    first = math.log(2)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert losses.clustering_loss(q, p) == pytest.approx((first + second) / 2)
    assert losses.clustering_loss(p, p) == pytest.approx(0)


def test_total_variation():
    score = frames(0.1, 0.4, 0.4, 0.9, 0.0)
    assert losses.total_variation_loss(score, frames(*[True] * 5)) == pytest.approx((0.3 + 0 + 0.5 + 0.9) / 4)
    assert losses.total_variation_loss(score, frames(True, True, True, True, False)) == pytest.approx(0.8 / 3)
    assert losses.total_variation_loss(score, frames(True, False, True, False, True)) == 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, where: losses.masked_keypoint_loss(x, torch.zeros(1, 1, 3, 2), where.unsqueeze(-1), where),
        lambda x, where: losses.vision_prediction_loss([x], torch.ones(1, 1, 3, 2), where, (1,), (1.0,)),
        lambda x, where: losses.reconstruction_loss(x, torch.zeros(1, 1, 3, 2), where),
        lambda x, where: losses.commitment_loss(x, torch.zeros(1, 1, 3, 2), where, 1.0),
        lambda x, where: losses.total_variation_loss(x[..., 0], where),
    ],
    ids=["mask", "pred", "recon", "rvq", "tv"],
)
def test_padding_enters_no_loss(loss):
    where = frames(True, True, False)
    values, others = frames([1.0, 3], [2, 5], [0, 0]), frames([1.0, 3], [2, 5], [1e3, -7])
    assert loss(values, where) == loss(others, where) != 0
    assert math.isfinite(loss(frames([1.0, 3], [2, 5], [NAN, NAN]), where))


def test_the_gate_is_taught_what_it_overlooks():
    seen = tensor([0.0, 1, 2, 2]).view(1, 1, 4, 1)
    held = tensor([0.0, 0, 2, 0]).view(1, 1, 4, 1)
    overlooked = tensor([False, True, True, False]).view(1, 1, 4)
    missed = [1 - math.exp(-1.0), 0.0]  # at the second and third frame; the first was looked at, the last is padding
    logit = tensor([9.0, 0.3, -2.0, 9.0]).view(1, 1, 4).requires_grad_()
    loss = losses.overlooked_loss(logit, held, seen, overlooked)
    alpha = [1 / (1 + math.exp(-0.3)), 1 / (1 + math.exp(2.0))]
    each = [-y * math.log(a) - (1 - y) * math.log(1 - a) for y, a in zip(missed, alpha, strict=True)]
    assert float(loss.detach()) == pytest.approx(sum(each) / 2, rel=1e-5)
    loss.backward()
    torch.testing.assert_close(
        logit.grad.flatten(), tensor([0.0, (alpha[0] - missed[0]) / 2, (alpha[1] - missed[1]) / 2, 0.0])
    )
    assert losses.overlooked_loss(logit, held, seen, torch.zeros_like(overlooked)) == 0
