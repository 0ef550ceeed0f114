"""An MLP that tells behaviors from features of single frames, with columns that may be missing."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from napari_lookagain.model.losses import class_weights, classification_loss, log_weights
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Section

CLIP = 10.0  # deviations beyond which a column says no more: a track that jumps does not drown the rest
MIN_SCALE = 1e-3  # of a column that hardly varies in training


class FrameHeadConfig(Section):
    """The MLP and its training; the LookAgain paper states neither."""

    hidden: int = Field(256, ge=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    """Of the inputs, and of the hidden units."""
    epochs: int = Field(20, ge=1)
    batch: int = Field(256, ge=1)
    """Frames of an update."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of AdamW, falling along a cosine to 0."""
    weight_decay: float = Field(0.01, ge=0)
    correct_prior: bool = True
    """Undo the class weights of the loss in the probabilities, as LookAgain's head does."""


class FrameHead(nn.Module):
    """The MLP, on standardized columns; what is missing is the mean.

    Parameters
    ----------
    n_features, n_classes
        Columns, and K.
    config
        Sizes.
    """

    mean: Tensor
    scale: Tensor
    log_weights: Tensor

    def __init__(self, n_features: int, n_classes: int, config: FrameHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("log_weights", torch.zeros(n_classes))
        self.classify = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(n_features, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, n_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., K) of features (..., F), in which NaN is missing."""
        return self.classify(((x - self.mean) / self.scale).nan_to_num(0).clamp(-CLIP, CLIP))

    def probabilities(self, x: Tensor) -> Tensor:
        """(..., K) probabilities of features (..., F)."""
        return (self(x) - self.log_weights).softmax(-1)

    def fit_scale(self, x: Tensor, principal: int = 0, kinds: int = 1) -> None:
        """Take mean and deviation of every column.

        Parameters
        ----------
        x
            (M, F) features; NaN is left out.
        principal
            How many of the first columns are principal components, which share one deviation: the strong stay stronger
            than the weak, many of which are noise (`docs/results.md`).
        kinds
            Columns come in so many equal parts, features and their statistics, each of which begins with such columns.
        """
        known = ~x.isnan()
        count = known.sum(0).clamp_min(1)
        mean = torch.where(known, x, 0.0).sum(0, dtype=torch.float64) / count
        square = torch.where(known, x - mean.float(), 0.0).square().sum(0, dtype=torch.float64) / count  # (F,)
        if principal:
            first = square.view(kinds, -1)[:, :principal]
            first[:] = first.mean(1, keepdim=True)
        self.mean.copy_(mean)
        self.scale.copy_(square.sqrt().clamp_min(MIN_SCALE))


def train_head(head: FrameHead, x: Tensor, y: Tensor, seed: int, place: torch.device) -> Generator[Progress]:
    """Learn classes y (M,) of features x (M, F) with cross-entropy and inverse class-frequency weights (Eq. 19).

    The scale is fitted before; the head ends on the device in eval mode.
    """
    config, rng = head.config, np.random.default_rng(seed)
    weights = class_weights(y, len(head.log_weights))
    if config.correct_prior:
        head.log_weights.copy_(log_weights(weights))
    weights = weights.to(place)
    head.to(place).train()
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    steps = math.ceil(len(x) / config.batch)
    total = config.epochs * steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    for epoch in range(config.epochs):
        for step, chosen in enumerate(np.array_split(rng.permutation(len(x)), steps)):
            loss = classification_loss(head(x[chosen].to(place)), y[chosen].to(place), weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield Progress(epoch * steps + step + 1, total, "learning behaviors", {"loss": loss.item()})
    head.eval().requires_grad_(False)
