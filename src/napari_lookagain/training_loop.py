"""The loop that both trainings share: epochs of batches, held-out windows, early stopping and a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_lookagain.checkpoint import SECONDS_BETWEEN_CHECKPOINTS, read_checkpoint, write_checkpoint
from napari_lookagain.config import FinetuneConfig, PretrainConfig
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.model.objectives import Finetuning, Pretraining
from napari_lookagain.progress import Progress
from napari_lookagain.windows import Window

FLAT = 0.02  # a loss that falls by a smaller share over the last tenth of the training has flattened


@dataclass
class History:
    """How a training went.

    Parameters
    ----------
    loss, held_out_loss
        Mean loss of every epoch, on training and on held-out windows (empty where none are held out). Of a behavior
        head the held-out loss is the share of scored frames told wrong, classes weighed as in Eq. 19: the cross-entropy
        of a few windows rises with the model's confidence long after its errors have stopped to fall.
    kept_epoch
        The epoch whose weights were kept: with enough held-out windows the best, otherwise the last; of a cluster head
        always the last, since its held-out loss falls as the clusters get fewer.
    """

    loss: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    kept_epoch: int = 0

    @property
    def flattened(self) -> bool:
        """False when the loss was still falling at the end, so that more epochs would help; after one, nobody knows."""
        if len(self.loss) < 2:
            return False
        tenth = max(1, len(self.loss) // 10)
        before, last = np.mean(self.loss[-2 * tenth : -tenth]), np.mean(self.loss[-tenth:])
        return bool(before - last < FLAT * abs(before))


class Loop:
    """Epochs of batches with a cosine schedule, held-out windows, early stopping and a checkpoint.

    Several processes share every batch: losses and gradients are means over all of it (`losses.mean_where`), and
    whatever decides how the training goes on is the same number in each of them.
    """

    def __init__(
        self,
        objective: Pretraining | Finetuning,
        parameters: list[nn.Parameter],
        config: PretrainConfig | FinetuneConfig,
        device: str,
        checkpoint: Path | None,
        labels: str = "",
    ) -> None:
        self.model, self.config, self.checkpoint = objective.model, config, checkpoint
        self.start, self.labels = self.model.fingerprint(), labels  # what a checkpoint is good for
        self.shared = objective.model.config.training
        self.parameters = parameters
        self.model.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_()
        self.accelerator = accelerator(device, some_unused=True)  # a batch may look at nothing
        self.device = self.accelerator.device
        self.model.to(self.device)
        decay = self.shared.weight_decay
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=decay, fused=True)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.vary: Callable[[Sequence[Window], np.random.Generator], Sequence[Window]] = lambda chosen, rng: chosen
        self.before_epoch: Callable[[int], Iterable[Progress]] = lambda epoch: ()

    def run(
        self,
        stage: str,
        windows: Sequence[Window],
        held_out: Sequence[Window],
        inputs: Callable[[Sequence[Window]], tuple[Any, ...]],
        *,
        keep_best: bool = False,
    ) -> Generator[Progress, None, History]:
        """Train to the end or to early stopping; leaves the model on the CPU in eval mode with the weights kept."""
        config, history = self.config, History()
        keep_best = keep_best and len(held_out) >= self.shared.choose_from
        steps = math.ceil(len(windows) / config.batch)  # in an epoch
        rank, processes = self._rank(len(windows) // steps)
        best: dict[str, Tensor] = {}
        start = 0
        key = self._key(windows, held_out)
        if self.checkpoint is not None and self.checkpoint.exists():
            history, best = self._resume(key)
            start = len(history.loss)
        saved = -math.inf
        patience = config.patience if keep_best else config.epochs
        for epoch in range(start, config.epochs):
            if epoch - history.kept_epoch > patience:
                break
            torch.manual_seed((self.shared.seed * 100_003 + epoch) * processes + rank)
            yield from self.before_epoch(epoch)
            self.objective.train()
            rng = np.random.default_rng([self.shared.seed, epoch])
            order = rng.permutation(len(windows))
            total = 0.0
            for step, chosen in enumerate(np.array_split(order, steps)):
                varied = self.vary([windows[i] for i in chosen], rng)
                told = self._step(inputs(varied[rank::processes]), epoch / config.epochs, epoch * steps + step, steps)
                total += told["loss"] * len(chosen) / len(windows)
                yield Progress(epoch * steps + step + 1, config.epochs * steps, stage, told)
            history.loss.append(total)
            if held_out:
                history.held_out_loss.append((yield from self._evaluate(held_out, inputs)))
            if not keep_best or history.held_out_loss[-1] <= min(history.held_out_loss):
                history.kept_epoch = epoch
                best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            last = epoch + 1 == config.epochs
            if self.checkpoint is not None and (last or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS):
                if self.accelerator.is_main_process:
                    self._save(key, history, best)
                saved = time.monotonic()
        self.model.cpu().load_state_dict(best)
        self.model.eval().requires_grad_(False)
        return history

    def _step(self, inputs: tuple[Any, ...], progress: float, step: int, steps: int) -> dict[str, float]:
        """One batch: forward, backward, update; gives the losses as numbers."""
        config = self.config
        low, high = config.final_learning_rate, config.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = low + (high - low) * (1 + math.cos(math.pi * step / (config.epochs * steps))) / 2
        with self.accelerator.autocast():
            told = self._losses(inputs, progress)
        shown = self._of_all(told)
        if not math.isfinite(shown["loss"]):
            raise InputError(
                f"The loss is {shown['loss']} in epoch {progress * config.epochs:.0f}; lower the learning rate, "
                f"which is {config.learning_rate}."
            )
        self.optimizer.zero_grad()
        self.accelerator.backward(told["loss"])
        self.accelerator.clip_grad_norm_(self.parameters, self.shared.gradient_clip)
        self.optimizer.step()
        return shown

    def _rank(self, fewest: int) -> tuple[int, int]:
        """Which process this is of how many that share batches, the smallest of which has `fewest` windows."""
        processes = self.accelerator.num_processes
        if fewest < processes:
            raise InputError(
                f"A batch of {fewest} windows cannot be shared by {processes} processes; start fewer of them, train on "
                "more, or raise finetune.batch and pretrain.batch."
            )
        return self.accelerator.process_index, processes

    def _of_all(self, told: dict[str, Tensor]) -> dict[str, float]:
        """Losses as numbers: means over all processes, the same in each."""
        each = torch.stack([value.detach().float() for value in told.values()])
        return dict(zip(told, self.accelerator.reduce(each, "mean").tolist(), strict=True))

    def _losses(self, inputs: tuple[Any, ...], progress: float) -> dict[str, Tensor]:
        placed = tuple(None if value is None else value.to(self.device) for value in inputs)
        if isinstance(self.accelerator.unwrap_model(self.objective), Finetuning):
            return self.objective(*placed, progress)
        return self.objective(*placed)

    def _evaluate(
        self, held_out: Sequence[Window], inputs: Callable[[Sequence[Window]], tuple[Any, ...]]
    ) -> Generator[Progress, None, float]:
        """Mean loss over held-out windows; the same frames are hidden at every epoch."""
        self.objective.eval()
        torch.manual_seed(self.shared.seed)
        total = 0.0
        for first in range(0, len(held_out), self.config.batch):
            chosen = held_out[first : first + self.config.batch]
            with torch.no_grad():
                told = self._of_all(self._losses(inputs(chosen), 1.0))
            total += told.get("error", told["loss"]) * len(chosen) / len(held_out)
            yield Progress(first + len(chosen), len(held_out), "held-out windows")
        return total

    def _save(self, key: str, history: History, best: dict[str, Tensor]) -> None:
        assert self.checkpoint is not None
        write_checkpoint(
            self.checkpoint,
            key,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            history=asdict(history),
            best=best,
        )

    def _resume(self, key: str) -> tuple[History, dict[str, Tensor]]:
        assert self.checkpoint is not None
        state = read_checkpoint(self.checkpoint, key, self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return History(**state["history"]), {name: value.cpu() for name, value in state["best"].items()}

    def _key(self, windows: Sequence[Window], held_out: Sequence[Window]) -> str:
        told = f"{self.start} {self.labels} {self.model.card} {list(windows)} {list(held_out)}"
        return blake2b(told.encode(), digest_size=16).hexdigest()
