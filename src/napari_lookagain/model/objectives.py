"""Eq. 12, 19 and 24–25: what a batch of windows costs, in pretraining and in fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from napari_lookagain.config import LookConfig
from napari_lookagain.model import losses
from napari_lookagain.model.heads import KMeansHead
from napari_lookagain.model.lookagain import LookAgain

SMALLEST_BUDGET = 0.02
BLIND_SHARE = 0.1  # of the batches whose budget is drawn: these look at nothing


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of windows, zero-padded in time and in animals.

    Parameters
    ----------
    motion
        (B, A, T, N) float32.
    valid
        (B, A, T) bool; False at padding.
    visual_features
        (B, A, T, D_v) float32, or patches (B, A, T, P · D_v).
    behavior
        (B, A, T) int64, −1 = unscored or padding.
    """

    motion: Tensor
    valid: Tensor
    visual_features: Tensor
    behavior: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(getattr(self, name).to(device) for name in Batch.__slots__))


class Pretraining(nn.Module):
    """Eq. 12: ``L = L_mask + 0.5 L_pred + 0.1 L_RVQ + 0.1 L_recon``, weights as configured."""

    def __init__(self, model: LookAgain) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch of v_raw, never of patches, by name; "loss" is the one to minimize."""
        config, encoder, valid = self.model.config.pretrain, self.model.motion_encoder, batch.valid
        share = config.mask_share if config.mask_weight else 0.0  # hidden frames are there for Eq. 8 alone
        hidden = hide_spans(valid, share, config.mask_span)
        motion = encoder(batch.motion, valid, hidden)
        target = encoder.standardize(batch.motion)  # (B, A, T, N)
        pose, seen = target[..., : encoder.pose_width], encoder.confidence(batch.motion) > 0
        ahead = [predict(motion.embedding) for predict in self.model.predict_vision]
        each = {
            "mask": losses.masked_keypoint_loss(self.model.predict_keypoints(motion.embedding), pose, seen, hidden),
            "pred": losses.vision_prediction_loss(
                ahead, batch.visual_features, valid, config.horizons, config.horizon_weights
            ),
            "rvq": losses.commitment_loss(motion.latent, motion.tokens, valid, config.commitment),
            "recon": losses.reconstruction_loss(encoder.decode(motion.tokens, valid), target, valid),
        }
        weighted = (getattr(config, f"{name}_weight") * loss for name, loss in each.items())
        return {"loss": sum(weighted, torch.zeros(())), **each}


class Finetuning(nn.Module):
    """Eq. 19 for a behavior head; Eq. 24 + 0.1 · Eq. 25 for a cluster head.

    Where clusters are found by k-means, only the gate learns: of what it overlooks, and Eq. 25.

    The motion encoder is frozen. Where it learns on (`LookAgain.learns_motion`), Eq. 11 is added with its weight in
    pretraining, which keeps the latents at their codes; the paper does not state with which losses it learns when it
    was not pretrained.

    Parameters
    ----------
    model
        Whose gate, visual context and head learn.
    weights
        (K,) class weights of a behavior head.
    """

    weights: Tensor | None

    def __init__(self, model: LookAgain, weights: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("weights", weights)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but a frozen motion encoder, whose codebooks must not move."""
        super().train(mode)
        self.model.motion_encoder.train(mode and self.model.learns_motion)
        return self

    def forward(self, batch: Batch, target: Tensor | None, progress: float) -> dict[str, Tensor]:
        """Losses of a batch by name; "loss" is the one to minimize.

        Parameters
        ----------
        batch
            The windows.
        target
            p of Eq. 23, (B, A, T, K), for a cluster head; None for a behavior head.
        progress
            Share of the training that is done, for the noise of Eq. 16.
        """
        config, tuned = self.model.config, self.model.config.finetune
        budget = training_budget(config.look) if self.training else None
        motion = batch.motion
        if self.training and self.model.learns_motion and (tuned.noise or tuned.column_dropout):
            motion = self.model.motion_encoder.jitter(motion, tuned.noise, tuned.column_dropout)
        output = self.model(motion, batch.valid, batch.visual_features, budget, progress)
        if isinstance(self.model.head, KMeansHead):
            seen = self.model.visual_context(batch.visual_features, output.gate.score, batch.valid, batch.valid)
            told = {
                "overlooked": losses.overlooked_loss(
                    output.gate.logit, output.context, seen, batch.valid & ~output.looked
                ),
                "tv": losses.total_variation_loss(output.gate.score, batch.valid),
            }
            return {"loss": told["overlooked"] + tuned.tv_weight * told["tv"], **told}
        if target is None:
            assert self.weights is not None
            loss = losses.classification_loss(output.head, batch.behavior, self.weights)
            told = {"error": losses.classification_error(output.head, batch.behavior, self.weights)}
        else:
            q = self.model.head.probabilities(output.head)  # (B, A, T, K)
            dec = losses.clustering_loss(q[batch.valid], target[batch.valid])
            tv = losses.total_variation_loss(output.gate.score, batch.valid)
            loss, told = dec + tuned.tv_weight * tv, {"dec": dec, "tv": tv}
        if self.model.learns_motion:
            read = output.motion
            rvq = losses.commitment_loss(read.latent, read.tokens, batch.valid, config.pretrain.commitment)
            loss, told = loss + config.pretrain.rvq_weight * rvq, {**told, "rvq": rvq}
        return {"loss": loss, **told}


def training_budget(config: LookConfig) -> float:
    """The budget of a batch: the configured one, or a drawn one (`vary_budget`).

    The paper trains at one budget. A drawn one is 0 one time in ten, else log-uniform from 0.02 to 1: the model then
    serves every budget, and learns from more looks than it may take later. A model with budget 0 never looks.
    """
    varies, blind, exponent = torch.rand(3).tolist()
    if config.budget == 0 or varies >= config.vary_budget:
        return config.budget
    return 0.0 if blind < BLIND_SHARE else float(SMALLEST_BUDGET ** (1 - exponent))


def hide_spans(valid: Tensor, share: float, span: tuple[int, int]) -> Tensor:
    """Frames to hide at the input (Eq. 8), (B, A, T) bool: about `share` of them, in spans of `span` frames.

    The paper hides "a random subset"; hidden one by one, a frame is told by its neighbors.
    """
    batch, animals, frames = valid.shape
    n_spans = max(int(share > 0), round(share * frames / (sum(span) / 2)))
    shape = (batch, animals, n_spans, 1)
    length = torch.randint(span[0], span[1] + 1, shape, device=valid.device)
    start = torch.randint(1 - span[0], frames, shape, device=valid.device)
    time = torch.arange(frames, device=valid.device)
    return ((time >= start) & (time < start + length)).any(2) & valid
