"""Pretraining (Eq. 8–12) and fine-tuning (Eq. 13–25): two objectives on one small loop."""

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
from accelerate.utils import broadcast
from torch import Tensor, nn

from napari_lookagain.batches import Batches
from napari_lookagain.checkpoint import SECONDS_BETWEEN_CHECKPOINTS, read_checkpoint, write_checkpoint
from napari_lookagain.config import FinetuneConfig, PretrainConfig
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.model.clustering import refresh_target, start_centers
from napari_lookagain.model.heads import BehaviorHead, ClusterHead
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.model.losses import class_weights
from napari_lookagain.model.objectives import Batch, Finetuning, Pretraining
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


def pretrain(
    model: LookAgain,
    batches: Batches,
    windows: Sequence[Window],
    held_out: Sequence[Window] = (),
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
) -> Generator[Progress, None, History]:
    """Train the motion encoder without labels (section 3.1 of the paper).

    With `pretrain.epochs` 0 it only gets ready to learn in fine-tuning: its scale is fitted, its codebooks start at
    what it says of a few windows.

    Parameters
    ----------
    model
        Trained in place; ends on the CPU in eval mode.
    batches, windows, held_out
        What to train on, with one vector of an image (see `Material.for_pretraining`), and windows that report how it
        goes and, when there are enough, choose the best epoch.
    device
        "auto", "cpu", "cuda" or "mps"; where `accelerate launch` started several processes, they share every batch, and
        learn what one would have learnt of it.
    checkpoint
        File that a run that was cut off resumes from: the result is the same, bit for bit on a CPU, as if it had not
        been. The random state of torch is set at the beginning of every epoch.

    Yields
    ------
    Progress
        After every batch, with the losses of Eq. 8–12.

    Raises
    ------
    InputError
        When the loss is not a number, the device is not there, or there are fewer windows than processes.
    """
    learnt = (model.motion_encoder, model.predict_keypoints, model.predict_vision)
    parameters = [p for part in learnt for p in part.parameters()]
    model.motion_encoder.fit_scale(_some_motion(batches, windows))
    if not model.config.pretrain.epochs:
        _start_codebooks(model, batches(_spread(windows, model.config.pretrain.batch)))
        return History()
    loop = _Loop(Pretraining(model), parameters, model.config.pretrain, device, checkpoint)
    return (yield from loop.run("pretraining", windows, held_out, lambda chosen: (batches(chosen),), keep_best=True))


def finetune(
    model: LookAgain,
    batches: Batches,
    windows: Sequence[Window],
    held_out: Sequence[Window] = (),
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
) -> Generator[Progress, None, History]:
    """Train gate, visual context and head on top of the motion encoder (section 3.2 of the paper).

    It is frozen, unless it is let learn on (`LookAgain.learns_motion`). A behavior head learns from scored frames
    alone. A cluster head needs none: its centers start from k-means on f, p of Eq. 23 is refreshed every epoch, and
    empty clusters are re-seeded. Parameters, yields and errors as in `pretrain`; InputError also when no frame is
    scored, or there are fewer frames than clusters.
    """
    parameters = model.finetuned_parameters()
    head = model.head
    clustering = isinstance(head, ClusterHead)
    weights = None if clustering else _class_weights(model, batches, windows)
    if isinstance(head, BehaviorHead) and weights is not None and model.config.finetune.correct_prior:
        head.correct_prior(weights)
    labels = "" if clustering else _labels(batches, windows)
    loop = _Loop(Finetuning(model, weights), parameters, model.config.finetune, device, checkpoint, labels)
    if not clustering:
        loop.vary = lambda chosen, rng: _shifted(chosen, batches, held_out, rng)
        read = lambda chosen: (batches(chosen), None)  # noqa: E731
        return (yield from loop.run("fine-tuning", windows, held_out, read, keep_best=True))

    every = [*windows, *held_out]
    targets: dict[Window, Tensor] = {}

    def sharpen(epoch: int) -> Generator[Progress]:
        assert isinstance(head, ClusterHead)
        features, valid = yield from _cluster_features(model, batches, every)
        features = broadcast(features)  # of several GPUs each rounds in its own way, and k-means would drift apart
        packed = features[valid]  # (M, D_z)
        learnt = torch.zeros_like(valid)
        learnt[: len(windows)] = valid[: len(windows)]  # held-out windows take the clusters, they do not shape them
        if learnt.sum() < len(model.card.names):
            raise InputError(f"{int(learnt.sum())} frames cannot be {len(model.card.names)} clusters; ask for fewer.")
        if epoch == 0:
            start_centers(head, features[learnt], model.config.training.seed)
        p = features.new_zeros((*valid.shape, len(model.card.names)))
        p[valid] = refresh_target(head, packed, learnt[valid])
        targets.update(zip(every, p, strict=True))

    def inputs(chosen: Sequence[Window]) -> tuple[Batch, Tensor]:
        return batches(chosen), torch.stack([targets[window] for window in chosen])

    loop.before_epoch = sharpen
    return (yield from loop.run("fine-tuning", windows, held_out, inputs))


class _Loop:
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
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=self.shared.weight_decay)
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


def _spread(windows: Sequence[Window], most: int) -> list[Window]:
    """At most so many of the windows, spread over all."""
    return [windows[i] for i in np.unique(np.linspace(0, len(windows) - 1, min(len(windows), most)).astype(int))]


def _start_codebooks(model: LookAgain, batch: Batch) -> None:
    """Start the codebooks as the first batch of a pretraining would: a cluster head needs tokens before it learns."""
    torch.manual_seed(model.config.training.seed)
    with torch.no_grad():
        model.motion_encoder.train()(batch.motion, batch.valid)
    model.eval().requires_grad_(False)


def _some_motion(batches: Batches, windows: Sequence[Window]) -> Tensor:
    """Valid frames (M, N) of up to 500 windows spread over the training, to standardize by."""
    chosen = _spread(windows, 500)
    motion = [batches.recordings[window.recording].features(window.start, window.stop) for window in chosen]
    return torch.from_numpy(np.concatenate([each.reshape(-1, each.shape[-1]) for each in motion]))


def _scored(batches: Batches, windows: Sequence[Window]) -> np.ndarray:
    """Classes of all frames of the windows, one after the other; −1 = unscored."""
    found = [(batches.recordings[window.recording].behavior, window) for window in windows]
    return np.concatenate([b[w.start : w.stop].ravel() if b is not None else np.array([-1]) for b, w in found])


def _labels(batches: Batches, windows: Sequence[Window]) -> str:
    """Tells the labels of the windows from others."""
    return blake2b(_scored(batches, windows).tobytes(), digest_size=16).hexdigest()


def _class_weights(model: LookAgain, batches: Batches, windows: Sequence[Window]) -> Tensor:
    behavior = torch.from_numpy(_scored(batches, windows).astype(np.int64))
    if not (behavior >= 0).any():
        raise InputError(
            "There is no scored frame to train on; label some frames first, or use segment, which needs none."
        )
    return class_weights(behavior, len(model.card.names))


def _shifted(
    windows: Sequence[Window], batches: Batches, held_out: Sequence[Window], rng: np.random.Generator
) -> list[Window]:
    """The windows, each shifted by up to half its length, so that no frame is learnt by its place in a window.

    A window that would reach into a held-out one stays where it is.
    """
    out = []
    for window in windows:
        room = batches.recordings[window.recording].n_frames - len(window)
        start = int(np.clip(window.start + rng.integers(-(len(window) // 2), len(window) // 2 + 1), 0, room))
        moved = Window(window.recording, start, start + len(window))
        overlaps = any(
            h.recording == moved.recording and h.start < moved.stop and moved.start < h.stop for h in held_out
        )
        out.append(window if overlaps else moved)
    return out


def _cluster_features(
    model: LookAgain, batches: Batches, windows: Sequence[Window]
) -> Generator[Progress, None, tuple[Tensor, Tensor]]:
    """f (W, A, T, D_z) and valid (W, A, T) of all windows, with the looks of the gate as it stands."""
    model.eval()
    device = next(model.parameters()).device
    features, valid = [], []
    for done, window in enumerate(windows):
        batch = batches([window]).to(device)
        with torch.no_grad():
            features.append(model(batch.motion, batch.valid, batch.visual_features).head[0])
        valid.append(batch.valid[0])
        yield Progress(done + 1, len(windows), "sharpening clusters")
    return torch.stack(features), torch.stack(valid)
