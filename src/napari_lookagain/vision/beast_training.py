"""How BEAST learns: pairs of neighboring frames, random crops, one cycle of the learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_lookagain.checkpoint import SECONDS_BETWEEN_CHECKPOINTS, read_checkpoint, write_checkpoint
from napari_lookagain.config import BeastConfig
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress
from napari_lookagain.vision.beast import Beast, beast_losses
from napari_lookagain.vision.beast_batches import augmented, draw_batches, take_images

_CLIP = 1.0  # norm of the gradient; the paper does not state one
_FEWEST = 4  # images that can be contrasted
_SECOND_BETA = 0.95  # of AdamW, as in MAE; the first goes from 0.95 to 0.85 and back, as OneCycleLR does by default


@dataclass
class BeastHistory:
    """How a pretraining went: the mean of every loss in every epoch.

    Parameters
    ----------
    loss, reconstruct, contrast, told
        As `beast_losses` names them; those that are not learnt stay empty. Of several processes those of the first.
    seconds
        What all epochs took.
    """

    loss: list[float] = field(default_factory=list)
    reconstruct: list[float] = field(default_factory=list)
    contrast: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    seconds: float = field(default=0.0, compare=False)


class BeastObjective(nn.Module):
    """The loss of one batch of images, as one module, so that several devices can share it."""

    def __init__(self, beast: Beast, config: BeastConfig) -> None:
        super().__init__()
        self.beast, self.config = beast, config
        beast.requires_grad_(True)
        beast.vit_mae.vit.embeddings.position_embeddings.requires_grad_(False)
        beast.vit_mae.decoder.decoder_pos_embed.requires_grad_(False)
        if config.reconstruct_weight == 0:  # ViT-C
            beast.vit_mae.decoder.requires_grad_(False)
        if config.contrast_weight == 0:  # ViT-M
            beast.proj.requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Losses of images (B, S, S[, 3]) uint8, anchors first; see `beast_losses`."""
        with torch.autocast(images.device.type, enabled=False):  # half precision is too coarse for places
            seen = augmented(self.beast.normalized(images), self.config.crop_area, self.config.flip)  # (B, C, S, S)
        return beast_losses(self.beast(seen), seen, self.config, self.beast.shape.patch_size)


def train_beast(
    beast: Beast,
    triplets: np.ndarray,
    config: BeastConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    key: str = "",
) -> Generator[Progress, None, BeastHistory]:
    """Learn from frames and their neighbors (appendix B.2 of the paper).

    Parameters
    ----------
    beast
        Trained in place; ends on the CPU in eval mode.
    triplets
        (N, 3, S, S[, 3]) uint8: the frame before, the anchor, the frame after.
    config
        All choices. Of every `batch` images half are anchors and half their positives; with `contrast_weight` 0 all are
        anchors. Images that do not fit a device at once (`at_once`) come one after the other, and their gradients are
        added up. Only images of the same device and time contrast with each other (the paper does not state this).
    seed
        Of the order, the positives, the random crops and what is hidden.
    device
        "auto", "cpu", "cuda" or "mps"; where `accelerate launch` started several processes, they share every batch.
    checkpoint, key
        File that a training that was cut off goes on from, to the same weights, bit for bit on a CPU with as many
        threads; and what tells its data and settings from others.

    Yields
    ------
    Progress
        After every pass through the model, with its losses.

    Raises
    ------
    InputError
        When the loss is not a number, or the images do not fit into memory.
    """
    loop = _Loop(beast, config, len(triplets), device)
    history, saved = BeastHistory(), -math.inf
    if checkpoint is not None and checkpoint.exists():
        history = loop.resume(read_checkpoint(checkpoint, key, loop.place.device))
    for epoch in range(len(history.loss), config.epochs):
        begun = time.monotonic()
        told = yield from loop.epoch(triplets, seed, epoch)
        history.seconds += time.monotonic() - begun
        for name, value in told.items():
            getattr(history, name).append(value)
        last = epoch + 1 == config.epochs
        if checkpoint is not None and (last or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS):
            if loop.place.is_main_process:
                write_checkpoint(checkpoint, key, **loop.state(history))
            saved = time.monotonic()
    beast.cpu().eval().requires_grad_(False)
    return history


class _Loop:
    """Epochs of updates with one cycle of the learning rate, on one device or on several processes of one job."""

    def __init__(self, beast: Beast, config: BeastConfig, n_anchors: int, device: str) -> None:
        self.beast, self.config = beast, config
        self.place = accelerator(device)
        self.pairs = config.contrast_weight > 0
        self.n_updates = math.ceil(n_anchors / (config.batch // 2 if self.pairs else config.batch))  # of an epoch
        if n_anchors // self.n_updates < _FEWEST // 2 * self.place.num_processes:
            raise InputError(
                f"{n_anchors} anchors in batches of {config.batch} images leave fewer than two for each of "
                f"{self.place.num_processes} processes; raise beast.batch or beast.anchors, or start fewer processes."
            )
        objective = BeastObjective(beast, config).to(self.place.device)
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        rate = config.learning_rate * config.batch / 256
        betas = (0.95, _SECOND_BETA)
        optimizer = torch.optim.AdamW(self.parameters, rate, betas=betas, weight_decay=config.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            rate,
            total_steps=config.epochs * self.n_updates,
            pct_start=config.warmup_share,
            div_factor=config.warmup_factor,
        )
        self.model, self.optimizer = self.place.prepare(objective, optimizer)

    def resume(self, state: dict[str, Any]) -> BeastHistory:
        """Go on from what `state` gave."""
        self.beast.load_state_dict(state["beast"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return BeastHistory(**state["history"])

    def state(self, history: BeastHistory) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "beast": self.beast.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": asdict(history),
        }

    def epoch(self, triplets: np.ndarray, seed: int, epoch: int) -> Generator[Progress, None, dict[str, float]]:
        """Learn from every anchor once; gives the means of the losses."""
        place, total = self.place, self.config.epochs * self.n_updates
        torch.manual_seed((seed * 100_003 + epoch) * place.num_processes + place.process_index)
        rng = np.random.default_rng([seed, epoch])
        means: dict[str, float] = {}
        self.model.train()
        for update, drawn in enumerate(draw_batches(len(triplets), self.n_updates, self.pairs, rng)):
            own = drawn[:, place.process_index :: place.num_processes]
            for told, share in self._gradients(triplets, own):
                for name, value in told.items():
                    means[name] = means.get(name, 0.0) + value * share * drawn.shape[1] / len(triplets)
                yield Progress(epoch * self.n_updates + update + 1, total, "pretraining the eye", told)
            place.clip_grad_norm_(self.parameters, _CLIP)
            self.optimizer.step()
            self.schedule.step()
        return means

    def _gradients(self, triplets: np.ndarray, drawn: np.ndarray) -> Iterator[tuple[dict[str, float], float]]:
        """Add up the gradients of one batch; give the losses of each part of it, and its share of the batch."""
        at_once = self.config.at_once // 2 if self.pairs else self.config.at_once
        n_parts = math.ceil(drawn.shape[1] / at_once)
        self.optimizer.zero_grad()
        for i, part in enumerate(np.array_split(drawn, n_parts, axis=1)):
            images = torch.from_numpy(take_images(triplets, part, self.pairs)).to(self.place.device)
            share = part.shape[1] / drawn.shape[1]
            with self.place.no_sync(self.model) if i + 1 < n_parts else nullcontext():
                told = self._pass(images, share)
            numbers = {name: float(value.detach()) for name, value in told.items()}
            if not math.isfinite(numbers["loss"]):
                raise InputError(
                    f"The loss of the eye is {numbers['loss']}; lower the learning rate, beast.learning_rate, which is "
                    f"{self.config.learning_rate}."
                )
            yield numbers, share

    def _pass(self, images: Tensor, share: float) -> dict[str, Tensor]:
        """Forward and backward; says how many images would fit into memory when these do not."""
        too_large = False
        try:
            return self._forward_and_back(images, share)
        except RuntimeError as error:
            if not _is_memory(error):
                raise
            too_large = True
        assert too_large  # out of the exception, whose traceback holds all that the pass has made
        fits = self._largest_that_fits(images)
        way = f"use --set beast.at_once={fits}" if fits >= _FEWEST else "use a smaller model with --set beast.size=tiny"
        raise InputError(
            f"{len(images)} images of {images.shape[1]} pixels do not fit into the memory of {self.place.device}; "
            f"{way}."
        )

    def _forward_and_back(self, images: Tensor, share: float) -> dict[str, Tensor]:
        with self.place.autocast():
            told: dict[str, Tensor] = self.model(images)
        self.place.backward(told["loss"] * share)
        return told

    def _largest_that_fits(self, images: Tensor) -> int:
        """Found by trying; of several processes none tries alone, as the others would wait for its gradients."""
        fits = len(images) // 2
        while fits >= _FEWEST and self.place.num_processes == 1:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            try:
                self.optimizer.zero_grad()
                self._forward_and_back(images[:fits], 1.0)
                break
            except RuntimeError as error:
                if not _is_memory(error):
                    raise
            fits //= 2
        return fits


def _is_memory(error: RuntimeError) -> bool:
    """Whether memory was too small; devices raise kinds of RuntimeError, a CPU just this."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)
