"""BAMS: what it reads of every animal, and how its network is taught without labels."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from napari_lookagain.baselines.bams_network import BamsNetwork, action_histograms, bootstrap_loss, histogram_loss
from napari_lookagain.checkpoint import SECONDS_BETWEEN_CHECKPOINTS, read_checkpoint, write_checkpoint
from napari_lookagain.config import FeatureConfig
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.baselines.bams import BamsConfig
    from napari_lookagain.session import Session

CLIP = 10.0  # deviations beyond which a column says no more: a track that jumps does not drown the rest
CHUNK = 4096  # frames embedded at a time
RANGE = (0.5, 99.5)  # percentiles of an action between which its bins lie
AFTERWARDS = {
    "kind",
    "clusters",
    "classifier_hidden",
    "classifier_epochs",
    "classifier_batch",
}  # one training serves all
SIZES = ("short_channels", "long_channels", "kernel", "short_dilation", "long_dilation", "dropout", "hidden")


@dataclass(frozen=True)
class Course:
    """What is read of one animal of a recording.

    Parameters
    ----------
    inputs
        (T, N) float32, not yet standardized.
    actions
        (T, F) float32, a selection of the same.
    present
        (T,) bool: some keypoint of the animal is seen.
    """

    inputs: np.ndarray
    actions: np.ndarray
    present: np.ndarray


def read_courses(session: Session, config: FeatureConfig, n_neighbors: int) -> list[Course]:
    """What BAMS reads of every animal: Eq. 1, the change of its pose, and its actions.

    The change of a keypoint is 0 unless it was seen at both frames. Actions are these changes and, in the egocentric
    frame, the velocity.
    """
    features = MotionFeatures(session, config, n_neighbors)
    motion = features(0, session.n_frames)  # (A, T, N)
    width, n_keypoints = features.pose_width, session.n_keypoints
    seen = motion[..., width : width + n_keypoints] > 0  # (A, T, J)
    both = np.repeat(seen[:, 1:] & seen[:, :-1], session.n_coords, axis=-1)
    change = np.zeros_like(motion[..., :width])
    change[:, 1:] = np.where(both, np.diff(motion[..., :width], axis=1), 0.0)
    velocity = motion[..., width + n_keypoints :][..., : 3 if config.frame == "egocentric" else 0]
    return [
        Course(np.concatenate([m, c], -1), np.concatenate([c, v], -1), s.any(-1))
        for m, c, v, s in zip(motion, change, velocity, seen, strict=True)
    ]


class Embedding:
    """The network with the scale of its inputs: gives the embedding of every frame of an animal."""

    def __init__(self, network: BamsNetwork, mean: Tensor, scale: Tensor, place: torch.device) -> None:
        self.network, self.place = network.to(place), place
        self.mean, self.scale = mean.to(place), scale.to(place)

    def standardize(self, inputs: Tensor) -> Tensor:
        """Inputs (…, N) by the mean and the deviation of the training."""
        return ((inputs - self.mean) / self.scale).clamp(-CLIP, CLIP)

    def __call__(self, course: Course) -> Generator[Progress, None, Tensor]:
        """(T, D), that of reading all frames at once: chunks bring the past that they need."""
        inputs, n_frames = torch.from_numpy(course.inputs), len(course.inputs)
        out = torch.zeros(n_frames, self.network.width)
        self.network.eval()
        for start in range(0, n_frames, CHUNK):
            first, stop = max(0, start - self.network.reach), min(start + CHUNK, n_frames)
            with torch.inference_mode():
                x = self.standardize(inputs[first:stop].to(self.place))
                both = torch.cat(self.network(x[None]), -1)[0]
                out[start:stop] = both[start - first :].cpu()
            yield Progress(stop, n_frames, "embedding")
        return out


@dataclass(frozen=True)
class Batch:
    """Windows, and the frames at which their losses are taken.

    Parameters
    ----------
    inputs
        (S, L, N) float32, 0 where a window is longer than its recording.
    bins
        (S, L, F) int64 bin of every action.
    present
        (S, L) bool.
    frames, near, far
        (S, M) int64: frames, and those that their embeddings foretell, close by and anywhere in the window.
    """

    inputs: Tensor
    bins: Tensor
    present: Tensor
    frames: Tensor
    near: Tensor
    far: Tensor

    def to(self, place: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(value.to(place) for value in vars(self).values()))


class Windows:
    """Draws windows of all animals, longer recordings more often.

    Parameters
    ----------
    courses
        Those too short for a single frame with a horizon are left out.
    config
        Lengths and shares.
    fps
        Frames per second; one number for all recordings.

    Raises
    ------
    InputError
        When no course is long enough.
    """

    def __init__(self, courses: Sequence[Course], config: BamsConfig, fps: float) -> None:
        self.config = config
        self.horizon, self.near = max(1, round(config.horizon * fps)), round(config.near * fps)
        self.courses = [course for course in courses if self._frames(len(course.inputs)) and course.present.any()]
        if not self.courses:
            longest = max(len(course.inputs) for course in courses)
            raise InputError(
                f"BAMS foretells {self.horizon} frames, and no recording is longer than {longest}; give it longer ones "
                "or a shorter horizon."
            )
        lengths = np.array([len(course.inputs) for course in self.courses])
        self.length = min(config.window, int(lengths.max()))
        self.share = lengths / lengths.sum()
        self.steps = math.ceil(lengths.sum() / self.length / config.batch)
        """Batches that read as many frames as there are."""
        self.bins = _quantized(self.courses, config.bins)

    def _frames(self, length: int) -> range:
        """Frames of a window whose past is known and whose future is in it."""
        return range(min(self.config.warmup, length // 4), length - self.horizon)

    def draw(self, rng: np.random.Generator) -> Batch:
        """One batch."""
        config, chosen = self.config, rng.choice(len(self.courses), self.config.batch, p=self.share)
        n_frames = max(2, round(config.foretold * self.length))
        shape = (config.batch, self.length)
        inputs = np.zeros((*shape, self.courses[0].inputs.shape[1]), np.float32)
        bins, present = np.zeros((*shape, self.bins[0].shape[1]), np.int64), np.zeros(shape, bool)
        frames, near, far = np.zeros((3, config.batch, n_frames), np.int64)
        for i, index in enumerate(chosen):
            course = self.courses[index]
            length = min(self.length, len(course.inputs))
            start = int(rng.integers(len(course.inputs) - length + 1))
            span, usable = slice(start, start + length), self._frames(length)
            inputs[i, :length], present[i, :length] = course.inputs[span], course.present[span]
            bins[i, :length] = self.bins[index][span]
            frames[i] = rng.integers(usable.start, usable.stop, n_frames)
            near[i] = np.minimum(frames[i] + rng.integers(0, self.near + 1, n_frames), length - 1)
            far[i] = rng.integers(usable.start, length, n_frames)
        return Batch(*(torch.from_numpy(array) for array in (inputs, bins, present, frames, near, far)))


def pretrain_bams(
    config: BamsConfig, courses: Sequence[Course], fps: float, *, seed: int, place: torch.device, checkpoint: Path
) -> Generator[Progress, None, Embedding]:
    """Teach a network from windows of all animals, without labels.

    The random state of torch is set at the beginning of every epoch, so that a training that resumes from `checkpoint`
    ends as if it had not been cut off.

    Raises
    ------
    InputError
        When no recording is longer than the horizon, the loss is not a number, or the checkpoint is of other settings
        or recordings.
    """
    windows = Windows(courses, config, fps)
    torch.manual_seed(seed)
    sizes = {name: getattr(config, name) for name in SIZES}
    network = BamsNetwork(courses[0].inputs.shape[1], courses[0].actions.shape[1], config.bins, **sizes)
    embed = Embedding(network, *_scale(windows.courses), place)
    plain = [p for name, p in network.named_parameters() if not name.startswith("bootstrap")]
    fast: dict[str, Any] = {"params": list(network.bootstrap.parameters()), "lr": 10 * config.learning_rate}
    optimizer = torch.optim.AdamW([{"params": plain}, fast], config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [max(1, round(0.4 * config.epochs))], gamma=0.1)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    key, start, saved = _key(config, courses, seed), 0, -math.inf
    if checkpoint.exists():
        state = read_checkpoint(checkpoint, key, place)
        start = state["epoch"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for epoch in range(start, config.epochs):
        network.train()
        torch.manual_seed(seed * 100_003 + epoch)
        rng = np.random.default_rng([seed, epoch])
        for step in range(windows.steps):
            told = _losses(config, embed, windows.draw(rng).to(place), windows.horizon)
            if not torch.isfinite(told["loss"]):
                raise InputError(
                    f"The loss of BAMS is {told['loss'].item()} in epoch {epoch}; lower the learning rate."
                )
            optimizer.zero_grad()
            told["loss"].backward()
            optimizer.step()
            metrics = {name: float(value.detach()) for name, value in told.items()}
            yield Progress(epoch * windows.steps + step + 1, config.epochs * windows.steps, "pretraining", metrics)
        schedule.step()
        if epoch + 1 == config.epochs or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            write_checkpoint(checkpoint, key, epoch=epoch + 1, **{n: part.state_dict() for n, part in parts.items()})
            saved = time.monotonic()
    network.eval().requires_grad_(False)
    return embed


def _losses(config: BamsConfig, embed: Embedding, batch: Batch, horizon: int) -> dict[str, Tensor]:
    """The three losses at the frames of a batch, and their weighted sum."""
    network, row = embed.network, torch.arange(len(batch.frames), device=batch.frames.device)[:, None]
    x = embed.standardize(batch.inputs)
    short, long = network(x)
    happened, weight = action_histograms(batch.bins, batch.present, batch.frames, horizon, config.bins)
    here = (row, batch.frames)
    foretold = network.histograms(short[here], long[here], x[here])
    told = {"histograms": histogram_loss(foretold, happened, weight)}
    both = batch.present[here]
    for name, embedding, other, predictor in zip(
        ("short", "long"), (short, long), (batch.near, batch.far), network.bootstrap, strict=True
    ):
        pair = both & batch.present[row, other]
        told[name] = bootstrap_loss(predictor, embedding[here][pair], embedding[row, other][pair])
    total = config.histogram_weight * told["histograms"] + config.bootstrap_weight * (told["short"] + told["long"])
    return {"loss": total, **told}


def _quantized(courses: Sequence[Course], n_bins: int) -> list[np.ndarray]:
    """Bin of every action at every frame, (T, F) uint8: equal steps between low and high percentiles, and beyond."""
    actions = np.concatenate([course.actions[course.present] for course in courses])
    low, high = np.percentile(actions, RANGE, axis=0)
    edges = np.linspace(low, high, n_bins - 1)  # (bins − 1, F)
    columns = range(actions.shape[1])
    return [np.stack([np.digitize(c.actions[:, f], edges[:, f]) for f in columns], 1).astype(np.uint8) for c in courses]


def _scale(courses: Sequence[Course]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every input where the animal is seen; a column that never changes stays 0."""
    inputs = np.concatenate([course.inputs[course.present] for course in courses])
    deviation = inputs.std(0)
    scale = np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
    return torch.from_numpy(inputs.mean(0)), torch.from_numpy(scale)


def _key(config: BamsConfig, courses: Sequence[Course], seed: int) -> str:
    """What a checkpoint is good for."""
    digest = blake2b(f"{config.model_dump(exclude=AFTERWARDS)} {seed}".encode(), digest_size=16)
    for course in courses:
        digest.update(np.ascontiguousarray(course.inputs).data)
    return digest.hexdigest()
