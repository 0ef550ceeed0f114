"""Pretraining (Eq. 8–12) and fine-tuning (Eq. 13–25): two objectives on one small loop."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import Tensor

from napari_lookagain.batches import Batches
from napari_lookagain.errors import InputError
from napari_lookagain.model.clustering import KMEANS_FRAMES, refresh_target, start_centers
from napari_lookagain.model.grounding import HeldLooks
from napari_lookagain.model.heads import BehaviorHead, ClusterHead, KMeansHead
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.model.losses import class_weights
from napari_lookagain.model.objectives import Batch, Finetuning, Pretraining
from napari_lookagain.progress import Progress
from napari_lookagain.training_loop import History, Loop
from napari_lookagain.windows import Window, shifted


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
        File that a run that was cut off resumes from: the result is the same, bit for bit on a CPU with as many
        threads, as if it had not been. The random state of torch is set at the beginning of every epoch.

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
    loop = Loop(Pretraining(model), parameters, model.config.pretrain, device, checkpoint)
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
    scored, or there are fewer frames than clusters. With `finetune.discover` "kmeans" nothing but the gate is trained,
    and that only where it is to look; the history is then of its loss, or empty.
    """
    head = model.head
    if isinstance(head, KMeansHead):
        return (yield from _find_clusters(model, head, batches, windows, held_out, device, checkpoint))
    parameters = model.finetuned_parameters()
    clustering = isinstance(head, ClusterHead)
    weights = None if clustering else _class_weights(model, batches, windows)
    if isinstance(head, BehaviorHead) and weights is not None and model.config.finetune.correct_prior:
        head.correct_prior(weights)
    labels = "" if clustering else _labels(batches, windows)
    loop = Loop(Finetuning(model, weights), parameters, model.config.finetune, device, checkpoint, labels)
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
        if epoch == 0:
            start_centers(head, features[learnt], model.config.training.seed)
        p = features.new_zeros((*valid.shape, len(model.card.names)))
        p[valid] = refresh_target(head, packed, learnt[valid])
        targets.update(zip(every, p, strict=True))

    def inputs(chosen: Sequence[Window]) -> tuple[Batch, Tensor]:
        return batches(chosen), torch.stack([targets[window] for window in chosen])

    loop.before_epoch = sharpen
    return (yield from loop.run("fine-tuning", windows, held_out, inputs))


def _find_clusters(
    model: LookAgain,
    head: KMeansHead,
    batches: Batches,
    windows: Sequence[Window],
    held_out: Sequence[Window],
    device: str,
    checkpoint: Path | None,
) -> Generator[Progress, None, History]:
    """Put what is read and what is seen on one scale, teach the gate, and take the clusters of k-means."""
    looks, config = model.visual_context, model.config
    assert isinstance(looks, HeldLooks)
    model.eval()
    chosen = _spread(windows, max(1, KMEANS_FRAMES // batches.length))
    read, seen = [], []
    for done, window in enumerate(chosen):
        batch = batches([window])
        with torch.no_grad():
            read.append(head.read(model.motion_encoder(batch.motion, batch.valid))[batch.valid])  # (M, F)
            seen.append(looks.pool(batch.visual_features[batch.valid]))  # (M, D_v)
        yield Progress(done + 1, len(chosen), "finding clusters")
    head.fit_scale(torch.cat(read))
    looks.fit_scale(torch.cat(seen))
    history = History()
    if config.look.budget:
        loop = Loop(Finetuning(model), model.finetuned_parameters(), config.finetune, device, checkpoint)
        inputs = lambda some: (batches(some), None)  # noqa: E731
        history = yield from loop.run("fine-tuning", windows, held_out, inputs)
    model.requires_grad_(False)
    features, valid = yield from _cluster_features(model, batches, chosen)
    packed = broadcast(features)[valid]  # (M, F + D_v)
    start_centers(head, packed, config.training.seed)
    head.fit_variance(packed)
    return history


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
    """The windows, each shifted; one that would reach into a held-out one stays where it is."""
    out = []
    for window in windows:
        moved = shifted(window, batches.recordings[window.recording].n_frames, rng)
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
        yield Progress(done + 1, len(windows), "finding clusters")
    return torch.stack(features), torch.stack(valid)
