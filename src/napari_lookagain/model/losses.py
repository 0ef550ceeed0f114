"""Eq. 8–12 and 18–25: what is minimized. Every loss reads valid frames alone and is a mean, so that its weight does not
depend on the number of keypoints, animals or frames; the paper does not state the reductions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, distributed


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean of `values` where `where` (same shape, bool) holds; 0, with a gradient of 0, where it holds nowhere.

    Processes that share a batch each get their part of it, of which the mean over processes is the mean over the whole
    batch, however many values the part of each has.
    """
    count, processes = where.sum(), 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        processes = distributed.get_world_size()
    return torch.where(where, values, 0.0).sum() * processes / count.clamp_min(1)


def masked_keypoint_loss(predicted: Tensor, target: Tensor, present: Tensor, hidden: Tensor) -> Tensor:
    """Eq. 8: squared error of the keypoints of hidden frames.

    Parameters
    ----------
    predicted, target
        (B, A, T, J·C) standardized coordinates.
    present
        (B, A, T, J) bool: the keypoint was seen; the others have no target.
    hidden
        (B, A, T) bool: M, the frames hidden at the input.
    """
    coords = target.shape[-1] // present.shape[-1]
    counted = (present & hidden.unsqueeze(-1)).repeat_interleave(coords, dim=-1)  # (B, A, T, J·C)
    return mean_where((predicted - target) ** 2, counted)


def vision_prediction_loss(
    predicted: Sequence[Tensor],
    visual_features: Tensor,
    valid: Tensor,
    horizons: Sequence[int],
    weights: Sequence[float],
) -> Tensor:
    """Eq. 9: ``Σ_h w_h · (1 − cos(f_pred^h(ê_t), v_raw_{t+h}))``, a mean over the frames t whose t + h is valid.

    Parameters
    ----------
    predicted
        For every horizon (B, A, T, D_v).
    visual_features
        v_raw, (B, A, T, D_v).
    valid
        (B, A, T) bool.
    horizons, weights
        h in frames and w_h.
    """
    total = visual_features.new_zeros(())
    frames = valid.shape[-1]
    for prediction, horizon, weight in zip(predicted, horizons, weights, strict=True):
        if horizon < frames:
            ahead = visual_features[..., horizon:, :]
            distance = 1 - F.cosine_similarity(prediction[..., : frames - horizon, :], ahead, dim=-1)
            total = total + weight * mean_where(distance, valid[..., : frames - horizon] & valid[..., horizon:])
    return total


def reconstruction_loss(decoded: Tensor, motion: Tensor, valid: Tensor) -> Tensor:
    """Eq. 10: ``‖f_dec(z_q)_t − m_t‖²`` of (B, A, T, N) standardized descriptors, a mean over columns and frames."""
    return mean_where(((decoded - motion) ** 2).mean(-1), valid)


def commitment_loss(latent: Tensor, tokens: Tensor, valid: Tensor, commitment: float) -> Tensor:
    """Eq. 11: ``β‖z_e − sg(z_q)‖²``; its other term moves the codebooks, which here follow by moving averages."""
    return commitment * mean_where(((latent - tokens.detach()) ** 2).mean(-1), valid)


def class_weights(behavior: Tensor, n_classes: int) -> Tensor:
    """Inverse class frequency of the scored frames of `behavior` (any shape, −1 = unscored), (K,).

    Scaled so that the weights of the scored frames have mean 1; a class without a frame weighs 0.
    """
    count = torch.bincount(behavior[behavior >= 0], minlength=n_classes).float()
    present = (count > 0).sum().clamp_min(1)
    return torch.where(count > 0, count.sum() / (present * count.clamp_min(1)), 0.0)


def log_weights(weights: Tensor) -> Tensor:
    """What is subtracted from logits to take class weights (K,) back; 0 for a class that was never scored."""
    return torch.where(weights > 0, weights, 1.0).log()


def classification_loss(logits: Tensor, behavior: Tensor, weights: Tensor) -> Tensor:
    """Eq. 19: cross-entropy of (B, A, T, K) logits with inverse class-frequency weights.

    Frames with behavior −1 are unscored, not background, and enter no loss. The weighted sum is divided by the number
    of scored frames, so that a batch without the rare class weighs less, not the same.
    """
    each = F.cross_entropy(logits.flatten(0, -2), behavior.flatten(), weights, ignore_index=-1, reduction="none")
    return mean_where(each, behavior.flatten() >= 0)


def classification_error(logits: Tensor, behavior: Tensor, weights: Tensor) -> Tensor:
    """Share of the scored frames whose highest logit is not their behavior, each frame weighed as in Eq. 19."""
    scored = behavior >= 0
    weight = torch.where(scored, weights[behavior.clamp_min(0)], 0.0)
    return (weight * (logits.argmax(-1) != behavior)).sum() / weight.sum().clamp_min(1e-12)


def soft_assignment(features: Tensor, centers: Tensor) -> Tensor:
    """Eq. 22: Student-t similarity q of features (..., F) to centers (K, F), (..., K), summing to 1."""
    q = 1 / (1 + square_distance(features, centers))
    return q / q.sum(-1, keepdim=True)


def square_distance(features: Tensor, centers: Tensor) -> Tensor:
    """Squared distance of features (..., F) to every center (K, F), (..., K)."""
    flat = features.reshape(-1, features.shape[-1])
    square = (flat**2).sum(-1, keepdim=True) - 2 * flat @ centers.T + (centers**2).sum(-1)  # (M, K)
    return square.clamp_min(0).view(*features.shape[:-1], len(centers))


def target_distribution(q: Tensor, frequency: Tensor | None = None) -> Tensor:
    """Eq. 23: ``p = (q² / Σ_t q)`` normalized over clusters, from the q (M, K) of all valid frames of an epoch.

    `frequency` (K,) is Σ_t q where it is not that of these very frames.
    """
    sharp = q**2 / (q.sum(0) if frequency is None else frequency).clamp_min(1e-12)
    return sharp / sharp.sum(-1, keepdim=True)


def clustering_loss(q: Tensor, p: Tensor) -> Tensor:
    """Eq. 24: ``KL(p‖q)`` of valid frames (M, K), a mean over frames."""
    each = (p * (p.clamp_min(1e-12).log() - q.clamp_min(1e-12).log())).sum(-1)
    return mean_where(each, torch.ones_like(each, dtype=torch.bool))


def total_variation_loss(score: Tensor, valid: Tensor) -> Tensor:
    """Eq. 25: ``mean |α_t − α_{t−1}|`` over neighboring valid frames of (B, A, T) gate scores."""
    return mean_where((score[..., 1:] - score[..., :-1]).abs(), valid[..., 1:] & valid[..., :-1])


def overlooked_loss(logit: Tensor, held: Tensor, seen: Tensor, overlooked: Tensor) -> Tensor:
    """What teaches the gate where no head does: cross-entropy of α to what a look would have told.

    That is ``1 − exp(−‖v̂_t − v̂_held‖²)`` at every frame not looked at: how far its picture is from the one it inherits.
    Not in the paper, whose gate learns from its head.

    Parameters
    ----------
    logit
        Of α, (B, A, T).
    held, seen
        v̂ of the nearest look, and of the frame itself, (B, A, T, D_v), of total variance 1.
    overlooked
        (B, A, T) bool: valid frames that were not looked at.
    """
    missed = -torch.expm1(-((seen - held) ** 2).sum(-1))
    return mean_where(F.binary_cross_entropy_with_logits(logit, missed, reduction="none"), overlooked)
