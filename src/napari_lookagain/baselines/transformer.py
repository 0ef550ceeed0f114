"""The supervised transformer: a transformer encoder straight on the motion descriptor, learnt from scored frames."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from napari_lookagain.batches import Batches, Recording, training_windows
from napari_lookagain.config import FeatureConfig
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.features import MotionFeatures
from napari_lookagain.material import behavior_labels, check_tracked
from napari_lookagain.model.layers import MLP
from napari_lookagain.model.layers import Transformer as Encoder
from napari_lookagain.model.lookagain import ModelCard
from napari_lookagain.model.losses import class_weights, classification_loss, log_weights
from napari_lookagain.model.motion import MIN_SCALE
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Settings
from napari_lookagain.windows import Stitcher, shifted, sliding_windows

if TYPE_CHECKING:
    from napari_lookagain.session import Session

AT_ONCE = 16  # windows labelled together


class TransformerConfig(Settings):
    """How the supervised transformer is built and trained.

    The sizes are those of LookAgain's motion encoder in the quick preset; with the paper's it would have `width` 256,
    `heads` 8 and `layers` 4.
    """

    features: FeatureConfig = FeatureConfig()
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    layers: int = Field(2, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    window: int = Field(128, ge=2)
    """Frames in a window; positions are learnt for this many."""
    epochs: int = Field(60, ge=1)
    batch: int = Field(4, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    """Of the first update; it falls along a cosine to `final_learning_rate`."""
    final_learning_rate: float = Field(1e-5, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    max_windows: int = Field(2000, ge=1)
    """More windows with scored frames than this are thinned evenly."""
    correct_prior: bool = True
    """Undo the class weights of the loss in the probabilities, as LookAgain's head does; not in the paper."""

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads, which is {self.heads}")
        return self


class Transformer:
    """The Supervised Transformer of the LookAgain paper (section 4, baselines).

    "Essentially our Motion Encoder without the Motion Tokenization part: it applies a standard Transformer encoder
    directly to the input motion features m, followed by an MLP classification head for frame-level prediction. This
    model is trained end-to-end with supervised cross-entropy loss."

    The paper does not state its sizes or its training. Sizes are those of LookAgain's motion encoder, the loss is
    Eq. 19 (inverse class-frequency weights, scored frames alone), and windows are those of fine-tuning: they hold a
    scored frame, and are shifted by up to half their length at every epoch. An animal knows of others by the neighbor
    columns of its descriptor; there is no layer across animals. No window is held out, and the weights of the last
    epoch are kept.

    Parameters
    ----------
    config
        All choices.
    """

    kind: Literal["behavior"] = "behavior"
    takes_budget = False

    def __init__(self, config: TransformerConfig = TransformerConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, TransformerLabeler]:
        """Learn from the scored frames, in minutes; nothing is kept in the folder. See `Method.fit`.

        Raises
        ------
        InputError
            When fewer than two behaviors are scored, keypoints are missing or differ, or the loss is not a number.
        """
        config = self.config
        check_tracked(sessions)
        labels, names = behavior_labels(sessions, None)
        first, n_neighbors = sessions[0], max(session.n_animals for session in sessions) - 1
        width = MotionFeatures(first, config.features, n_neighbors).width
        card = ModelCard(first.keypoint_names, first.n_coords, width, n_neighbors, 1, "behavior", names)
        recordings = [
            replace(_read(s, card, config), behavior=label) for s, label in zip(sessions, labels, strict=True)
        ]
        torch.manual_seed(seed)
        network = Network(card, config)
        yield from _train(network, recordings, config, seed, accelerator(device).device)
        return TransformerLabeler(network, device)


class TransformerLabeler:
    """A trained supervised transformer."""

    def __init__(self, network: Network, device: str) -> None:
        self.network, self.device = network, device

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every animal in windows that overlap by half, probabilities averaged; no frame is looked at.

        Raises
        ------
        InputError
            When the session has other keypoints than those learnt from.
        """
        network, place = self.network, accelerator(self.device).device
        length, names = network.config.window, network.card.names
        batches = Batches([_read(session, network.card, network.config)], length, 0)
        windows = sliding_windows(session.n_frames, length, length // 2)
        probabilities = np.zeros((session.n_animals, session.n_frames, len(names)), np.float32)
        stitcher = Stitcher(windows, probabilities)
        network.to(place)
        for first in range(0, len(windows), AT_ONCE):
            some = windows[first : first + AT_ONCE]
            batch = batches(some).to(place)
            with torch.inference_mode():
                pieces = network.probabilities(network(batch.motion, batch.valid)).cpu().numpy()
            for window, piece in zip(some, pieces, strict=True):
                stitcher.add(window, piece)
            yield Progress(first + len(some), len(windows), "reading behavior")
        network.cpu()
        return Ethogram.from_probabilities(session, probabilities.swapaxes(0, 1), names, looked=False)


class Network(nn.Module):
    """Standardize the motion descriptor, project it, attend over the window, classify every frame.

    Parameters
    ----------
    card
        What it is made for.
    config
        Sizes.
    """

    mean: Tensor
    scale: Tensor
    log_weights: Tensor

    def __init__(self, card: ModelCard, config: TransformerConfig) -> None:
        super().__init__()
        self.card, self.config = card, config
        width, n_classes = config.width, len(card.names)
        self.register_buffer("mean", torch.zeros(card.n_features))
        self.register_buffer("scale", torch.ones(card.n_features))
        self.register_buffer("log_weights", torch.zeros(n_classes))
        self.project = nn.Linear(card.n_features, width)
        self.position = nn.Parameter(torch.randn(config.window, width) * 0.02)
        self.encode = Encoder(width, config.heads, config.layers, config.dropout)
        self.classify = nn.Sequential(nn.Dropout(config.dropout), MLP(width, n_classes, hidden=width))

    def forward(self, motion: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, A, T, K) of the descriptor (B, A, T, N); `valid` is (B, A, T) bool."""
        x = self.project((motion - self.mean) / self.scale) + self.position[: motion.shape[2]]
        encoded = self.encode(x.flatten(0, 1), valid.flatten(0, 1))  # (B·A, T, D)
        return self.classify(encoded).view(*valid.shape, -1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(…, K) probabilities."""
        return (logits - self.log_weights).softmax(-1)

    def fit_scale(self, motion: Tensor) -> None:
        """Take mean and deviation of every column from `motion` (M, N)."""
        self.mean.copy_(motion.mean(0))
        self.scale.copy_(motion.std(0, correction=0).clamp_min(MIN_SCALE))


def _read(session: Session, card: ModelCard, config: TransformerConfig) -> Recording:
    card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
    features = MotionFeatures(session, config.features, card.n_neighbors)
    return Recording(features, session.n_frames, session.n_animals)


def _train(
    network: Network, recordings: Sequence[Recording], config: TransformerConfig, seed: int, place: torch.device
) -> Generator[Progress]:
    """Train to the last epoch; ends on the CPU in eval mode."""
    batches = Batches(recordings, config.window, 0)
    windows = training_windows(recordings, config.window, config.window, config.max_windows, scored=True)
    every = [batches([window]) for window in windows]
    network.fit_scale(torch.cat([batch.motion[batch.valid] for batch in every]))
    weights = class_weights(torch.cat([batch.behavior.flatten() for batch in every]), len(network.card.names))
    if config.correct_prior:
        network.log_weights.copy_(log_weights(weights))
    weights = weights.to(place)
    network.to(place).train()
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    steps = math.ceil(len(windows) / config.batch)
    total, rng = config.epochs * steps, np.random.default_rng(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total, config.final_learning_rate)
    for epoch in range(config.epochs):
        for step, chosen in enumerate(np.array_split(rng.permutation(len(windows)), steps)):
            some = (windows[i] for i in chosen)
            moved = [shifted(window, recordings[window.recording].n_frames, rng) for window in some]
            batch = batches(moved).to(place)
            loss = classification_loss(network(batch.motion, batch.valid), batch.behavior, weights)
            if not torch.isfinite(loss):
                raise InputError(f"The loss is {loss.item()}; lower learning_rate, which is {config.learning_rate}.")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
            optimizer.step()
            schedule.step()
            yield Progress(epoch * steps + step + 1, total, "learning behaviors", {"loss": loss.item()})
    network.cpu().eval().requires_grad_(False)
