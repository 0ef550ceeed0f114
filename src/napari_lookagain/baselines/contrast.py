"""SimCLR (Chen et al. 2020): an encoder of small grey crops, trained from scratch by contrasting two views of each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted
from napari_lookagain.model.layers import MLP
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Section
from napari_lookagain.vision.beast_batches import augmented
from napari_lookagain.vision.crops import present
from napari_lookagain.vision.encoder import What
from napari_lookagain.vision.look import crops_of

if TYPE_CHECKING:
    from napari_lookagain.session import Session

AT_ONCE = 256  # images encoded together


class ContrastConfig(Section):
    """How the encoder of SimCLR is built and trained; one to two minutes on one core."""

    images: int = Field(3000, ge=4)
    """Crops it learns from, of all recordings; the entry to MABe22 drew 100 000 frames in each of 25 epochs."""
    size: int = Field(48, ge=16)
    """Side of a crop in pixels; 224 in the entry."""
    width: int = Field(128, ge=8)
    """Features it gives, twice as many as the layer before."""
    projection: int = Field(64, ge=2)
    """Width of what is contrasted; 128 in the entry."""
    epochs: int = Field(30, ge=1)
    batch: int = Field(128, ge=2)
    """Crops of a batch, which are each other's negatives; 76 in the entry."""
    temperature: float = Field(0.5, gt=0)
    """As in the entry and for the small images of Chen et al. (appendix B.9)."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of Adam, falling along a cosine to 0; 3e-4 in the entry."""
    crop_area: tuple[float, float] = (0.3, 1.0)
    """Share of an image that a view shows."""
    flip: float = Field(0.5, ge=0, le=1)
    """Share of views mirrored left to right."""
    jitter: float = Field(0.4, ge=0, lt=1)
    """Most by which the brightness and the contrast of a view change, as shares; the entry changes neither, but by
    their grey values alone two views of one crop are easily told from others (section 3.1 of Chen et al.)."""


class ContrastNet(nn.Module):
    """Four convolutions of stride 2, each with batch normalization and ReLU, and the mean over what is left."""

    def __init__(self, width: int, projection: int) -> None:
        super().__init__()
        widths = [1, *(max(4, width // 2**i) for i in (3, 2, 1)), width]
        layers: list[nn.Module] = []
        for i in range(4):
            convolve = nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1, bias=False)
            layers += [convolve, nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
        self.encode = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.project = MLP(width, projection, hidden=width)

    def forward(self, images: Tensor) -> Tensor:
        """Projections (N, P) of grey images (N, 1, S, S) in 0…1, which are contrasted."""
        return self.project(self.encode(images))


@dataclass(frozen=True, eq=False)
class ContrastEncoder:
    """The trained encoder without its projection: a `VisionEncoder` of grey crops."""

    net: ContrastNet
    size: int
    width: int

    kind: ClassVar[str] = "contrast"
    name: ClassVar[str] = "simclr"
    n_patches: ClassVar[int] = 0
    grey: ClassVar[bool] = True

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights."""
        digest = blake2b(digest_size=16)
        for value in self.net.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        """Encode grey images (N, size, size) uint8 into features (N, width) float32; see `VisionEncoder.encode`.

        Raises
        ------
        InputError
            When a class token or patches are asked for.
        """
        if what != "mean":
            raise InputError("The encoder of SimCLR gives one vector of an image, no class token and no patches.")
        place = next(self.net.parameters()).device
        out = np.empty((len(images), self.width), np.float32)
        for first in range(0, len(images), AT_ONCE):
            some = torch.from_numpy(images[first : first + AT_ONCE]).to(place)
            with torch.inference_mode():
                out[first : first + AT_ONCE] = self.net.encode(some[:, None] / 255).cpu().numpy()
        return out

    def save(self, folder: Path) -> None:
        """Write nothing: it lives as long as the method that trained it."""


def train_contrast(
    sessions: Sequence[Session], looks: Config, config: ContrastConfig, seed: int, place: torch.device
) -> Generator[Progress, None, ContrastEncoder]:
    """Train an encoder on crops of these recordings, scored or not.

    Crops are drawn in proportion to how much the keypoints of the animal move, as in the entry to MABe22.

    Parameters
    ----------
    sessions
        With videos.
    looks
        Which crops are cut.
    config
        Sizes and training.
    seed
        Of weights, crops and views.
    place
        Where to train.

    Raises
    ------
    InputError
        When a video cannot be read, or no animal is ever there.
    """
    rng = np.random.default_rng(seed)
    images = torch.from_numpy((yield from _draw_crops(sessions, looks, config, rng)))[:, None]  # (N, 1, S, S)
    torch.manual_seed(seed)
    net = ContrastNet(config.width, config.projection).to(place).train()
    optimizer = torch.optim.Adam(net.parameters(), config.learning_rate)
    steps = max(1, len(images) // config.batch)
    total = config.epochs * steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    for done in range(total):
        if done % steps == 0:
            batches = np.array_split(rng.permutation(len(images)), steps)
        batch = images[batches[done % steps]].to(place) / 255
        views = torch.cat([_jittered(augmented(batch, config.crop_area, config.flip), config.jitter) for _ in range(2)])
        loss = contrast_loss(net(views), config.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield Progress(done + 1, total, "learning by contrast", {"loss": loss.item()})
    return ContrastEncoder(net.eval().requires_grad_(False), config.size, config.width)


def contrast_loss(projections: Tensor, temperature: float) -> Tensor:
    """NT-Xent (equation 1 of Chen et al.): cross-entropy of finding the other view of a crop among all other views.

    Parameters
    ----------
    projections
        (2N, P): the first views of N crops, followed by the second.
    temperature
        τ, which divides cosine similarities.
    """
    z = F.normalize(projections, dim=-1)
    similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def _jittered(images: Tensor, jitter: float) -> Tensor:
    """Images (N, 1, S, S) in 0…1, each made brighter or darker and of more or less contrast."""
    brightness, contrast = (torch.empty(len(images), 1, 1, 1, device=images.device) for _ in range(2))
    brightness, contrast = (each.uniform_(1 - jitter, 1 + jitter) for each in (brightness, contrast))
    bright = images * brightness
    mean = bright.mean((1, 2, 3), keepdim=True)
    return ((bright - mean) * contrast + mean).clamp(0, 1)


def _draw_crops(
    sessions: Sequence[Session], looks: Config, config: ContrastConfig, rng: np.random.Generator
) -> Generator[Progress, None, np.ndarray]:
    """Crops (N, S, S) uint8 of animals, more of those that move."""
    weights = [_motion(session, looks) for session in sessions]  # (T, A) each
    flat = np.concatenate([weight.ravel() for weight in weights])
    if not flat.any():
        raise InputError(f"No animal is to be seen in {', '.join(s.recording for s in sessions)}.")
    size = min(config.images, int(np.count_nonzero(flat)))
    chosen = np.zeros(len(flat), bool)
    chosen[rng.choice(len(flat), size, replace=False, p=flat / flat.sum())] = True
    images: list[np.ndarray] = []
    for session, weight in zip(sessions, weights, strict=True):
        own, chosen = chosen[: weight.size].reshape(weight.shape), chosen[weight.size :]
        crops = crops_of(session, looks, config.size)
        with session.open_video() as video:
            for t, frame in video.frames(np.flatnonzero(own.any(1)), grey=True):
                images += [crops.cut(frame, t, int(animal)) for animal in np.flatnonzero(own[t])]
                yield Progress(len(images), size, "reading crops to contrast")
    return np.stack(images)


def _motion(session: Session, looks: Config) -> np.ndarray:
    """How much every animal moves from the frame before, (T, A): mean step of its keypoints; 0 where it is absent.

    Where nothing is known to move, all frames count alike.
    """
    crops = crops_of(session, looks, 1)
    if crops.kind == "frame":
        return np.ones((session.n_frames, 1))
    session = trusted(session, looks.features.confidence_threshold)
    step = np.linalg.norm(np.diff(session.keypoints, axis=0, prepend=session.keypoints[:1]), axis=-1)  # (T, A, J)
    known = ~np.isnan(step)
    motion = np.where(known, step, 0).sum(-1) / known.sum(-1).clip(1)
    motion = motion * present(session, crops)
    return motion if motion.any() else present(session, crops).astype(float)
