"""BEAST, appendix E.2 and E.4: training the heads of an ensemble, one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_lookagain.actions.config import TrainingConfig
from napari_lookagain.actions.heads import ActionHead
from napari_lookagain.actions.model import ActionModel, seeds
from napari_lookagain.actions.sequences import Sequences, Split
from napari_lookagain.checkpoint import SECONDS_BETWEEN_CHECKPOINTS, read_checkpoint, write_checkpoint
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.model.losses import class_weights, classification_error, classification_loss
from napari_lookagain.progress import Progress
from napari_lookagain.training_loop import History
from napari_lookagain.windows import Window


def train_heads(
    model: ActionModel,
    sequences: Sequences,
    splits: Sequence[Split],
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
) -> Generator[Progress, None, list[History]]:
    """Train every head of an ensemble on its own split, with weighted cross-entropy and Adam.

    The last epoch's weights are kept, as in the paper; held-out sequences report how it goes.

    Parameters
    ----------
    model
        Trained in place; ends on the CPU in eval mode. Its scale is fitted before.
    sequences
        What is read.
    splits
        Training and held-out sequences of every head.
    device
        "auto", "cpu", "cuda" or "mps".
    checkpoint
        File that a training that was cut off resumes from, to the same weights, bit for bit on a CPU with as many
        threads: all random states are set at the beginning of every epoch.

    Yields
    ------
    Progress
        After every portion of a batch, with the loss.

    Returns
    -------
    list of History
        Of every head.

    Raises
    ------
    InputError
        When the loss is not a number, the device is not there, or the checkpoint is of another training.
    """
    place = accelerator(device).device
    model.to(place)
    loop = _Loop(model, sequences, splits, place, checkpoint)
    for index in range(loop.index, len(model.heads)):
        yield from loop.train(index)
    model.cpu().eval().requires_grad_(False)
    return loop.histories


def learning_rate(config: TrainingConfig, epoch: int, *, pooled: bool) -> float:
    """Of one epoch: constant, or cosine annealing with warm restarts where patches are pooled (E.4).

    The first cycle lasts `restart` epochs, every next one twice as long as the one before, and each falls from
    `learning_rate` to `lowest_learning_rate`.
    """
    if not pooled:
        return config.learning_rate
    cycle = config.restart
    while epoch >= cycle:
        epoch, cycle = epoch - cycle, 2 * cycle
    high, low = config.learning_rate, config.lowest_learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * epoch / cycle)) / 2


class _Loop:
    """Epochs of batches for one head after the other, with a checkpoint."""

    def __init__(
        self,
        model: ActionModel,
        sequences: Sequences,
        splits: Sequence[Split],
        place: torch.device,
        checkpoint: Path | None,
    ) -> None:
        self.model, self.sequences, self.splits = model, sequences, splits
        self.place, self.checkpoint = place, checkpoint
        self.config = model.config.training
        self.pooled = model.card.n_patches > 0
        self.epochs = self.config.pooled_epochs if self.pooled else self.config.epochs
        self.key = self._key()
        self.histories: list[History] = []
        self.optimizer_state: dict[str, Any] | None = None
        self.saved = -math.inf
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    @property
    def index(self) -> int:
        """The head that is trained next: the first that is not through all epochs."""
        return sum(len(history.loss) == self.epochs for history in self.histories)

    def train(self, index: int) -> Generator[Progress]:
        """Train one head to its last epoch."""
        head, (windows, held_out) = self.model.heads[index], self.splits[index]
        behavior = torch.from_numpy(self.sequences.behavior(windows))
        weights = class_weights(behavior, len(self.model.card.names)).to(self.place)
        if self.config.correct_prior:
            head.correct_prior(weights)
        optimizer = torch.optim.Adam(head.parameters(), self.config.learning_rate)
        if len(self.histories) == index:
            self.histories.append(History())
        elif self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        history, seed = self.histories[index], seeds(self.model.config)[index]
        steps = math.ceil(self.sequences.count(windows) / self.config.batch)
        for epoch in range(len(history.loss), self.epochs):
            torch.manual_seed(seed * 100_003 + epoch)
            order = np.random.default_rng([seed, epoch]).permutation(len(windows))
            batches = np.array_split(order, min(steps, len(windows)))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.config, epoch, pooled=self.pooled)
            head.train()
            total = 0.0
            for step, chosen in enumerate(batches):
                loss = yield from self._step(head, optimizer, [windows[i] for i in chosen], weights)
                total += loss * len(chosen) / len(windows)
                done = epoch * len(batches) + step + 1
                stage = f"training head {index + 1} of {len(self.splits)}"
                yield Progress(done, self.epochs * len(batches), stage, {"loss": loss})
            history.loss.append(total)
            history.kept_epoch = epoch
            if held_out:
                history.held_out_loss.append((yield from self._evaluate(head, held_out, weights)))
            last = epoch + 1 == self.epochs
            if self.checkpoint is not None and (last or time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS):
                self._save(self.checkpoint, optimizer)

    def _step(
        self, head: ActionHead, optimizer: torch.optim.Optimizer, windows: list[Window], weights: Tensor
    ) -> Generator[Progress, None, float]:
        """One batch: its gradient is summed over as many sequences at a time as may be in memory, then one update."""
        scored = int((self.sequences.behavior(windows) >= 0).sum())
        optimizer.zero_grad()
        total = 0.0
        for portion, (x, valid, behavior) in enumerate(self.sequences(windows)):
            behavior = behavior.to(self.place)
            logits = head(x.to(self.place), valid.to(self.place))
            loss = classification_loss(logits, behavior, weights) * ((behavior >= 0).sum() / scored)
            loss.backward()
            total += loss.item()
            if portion:
                yield Progress(portion, portion + 1, "reading a large batch", {})
        if not math.isfinite(total):
            raise InputError(
                f"The loss is {total}; lower training.learning_rate, which is {self.config.learning_rate}."
            )
        optimizer.step()
        return total

    def _evaluate(self, head: ActionHead, windows: list[Window], weights: Tensor) -> Generator[Progress, None, float]:
        """Share of the scored frames told wrong, classes weighed as in the loss."""
        head.eval()
        logits, truth = [], []
        for x, valid, behavior in self.sequences(windows):
            with torch.no_grad():
                logits.append(head(x.to(self.place), valid.to(self.place)).cpu())
            truth.append(behavior)
            yield Progress(len(truth), len(truth), "held-out sequences")
        return float(classification_error(torch.cat(logits), torch.cat(truth), weights.cpu()))

    def _save(self, path: Path, optimizer: torch.optim.Optimizer) -> None:
        write_checkpoint(
            path,
            self.key,
            model=self.model.state_dict(),
            optimizer=optimizer.state_dict(),
            histories=[asdict(history) for history in self.histories],
        )
        self.saved = time.monotonic()

    def _resume(self, path: Path) -> None:
        state = read_checkpoint(path, self.key, self.place)
        self.model.load_state_dict(state["model"])
        self.optimizer_state = state["optimizer"]
        self.histories = [History(**history) for history in state["histories"]]

    def _key(self) -> str:
        """What a checkpoint is good for: these weights at the start, these settings, labels and splits."""
        digest = blake2b(f"{self.model.fingerprint()} {self.splits}".encode(), digest_size=16)
        for label in self.sequences.labels:
            digest.update(np.ascontiguousarray(label).tobytes())
        return digest.hexdigest()
