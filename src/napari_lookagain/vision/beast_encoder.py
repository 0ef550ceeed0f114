"""The eye that BEAST leaves: its vision transformer, which gets all patches, and the scale of what it gives."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from copy import copy
from dataclasses import asdict
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import ViTMAEModel

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.progress import Progress, drain
from napari_lookagain.vision.beast import Beast, BeastShape, normalize_pixels
from napari_lookagain.vision.encoder import Precision, Runtime, What
from napari_lookagain.vision.openvino import OpenVINO
from napari_lookagain.vision.placement import to_device
from napari_lookagain.vision.precision import BFLOAT16, OPENVINO, way_of

_SHAPE, _WEIGHTS = "beast.json", "encoder.safetensors"
_AT_ONCE = 16  # images in one forward pass; bounds the memory whatever the caller asks for
_LEAST_VARIANCE = 1e-6  # of the first component's; below it lies rounding, which scaling would blow up
_NO_VARIANCE = 1e-12  # below it, images do not differ at all
_KINDS: tuple[What, ...] = ("mean", "cls", "patches")


class BeastEncoder:
    """Frozen vision transformer of BEAST: the mean over patches, the class token, or the patches.

    Features of each kind are the principal components of what the transformer gives, each divided by the square root
    of its deviation (◇; the paper does not state a scale), as those of `PCAEncoder` are: what differs between frames of
    one cage is small beside what they share, and is learnt too slowly on one scale; all of unit variance, noise is
    learnt by heart (`docs/results.md`).

    Parameters
    ----------
    vit, shape
        The transformer, without masking, and its sizes.
    mean, std
        Of the pixels, one number for each channel, brightness 0–1.
    scale
        By kind of features their center, and below it the scaled components, (1 + D_v, D_v); kinds that are left out
        are given as they are.
    device
        Where the encoder works, as torch names it; weights are bfloat16 on CUDA devices that have it.
    """

    kind: ClassVar[str] = "beast"
    name: ClassVar[str] = "beast"

    def __init__(
        self,
        vit: nn.Module,
        shape: BeastShape,
        mean: Tensor,
        std: Tensor,
        scale: dict[What, Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        bfloat = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
        self._dtype = torch.bfloat16 if bfloat else torch.float32
        self._way = ""  # it computes in, as its fingerprint ends
        self._openvino = OpenVINO()  # of this encoder and its copies
        self.vit = vit.to(device, self._dtype).requires_grad_(False).eval()
        self.shape = shape
        self.mean, self.std = (each.detach().float().to(device).view(1, -1, 1, 1) for each in (mean, std))
        self.scale = {what: value.detach().float().cpu() for what, value in (scale or {}).items()}

    @classmethod
    def of(cls, beast: Beast, images: np.ndarray | None = None, device: str = "cpu") -> BeastEncoder:
        """The encoder of a model, with the scale of its features on images (N, S, S[, 3]) uint8."""
        vit = ViTMAEModel(beast.shape.vit_mae(mask_ratio=0.0))
        vit.load_state_dict(beast.vit_mae.vit.state_dict())
        encoder = cls(vit, beast.shape, beast.mean, beast.std, None, device)
        if images is not None:
            drain(encoder.take_scale(images, len(images)))
        return encoder

    @property
    def width(self) -> int:
        """Number of features, D_v."""
        return self.shape.width

    @property
    def size(self) -> int:
        """Side of the square images it takes, pixels."""
        return self.shape.image_size

    @property
    def n_patches(self) -> int:
        """Number of patches, P."""
        return self.shape.n_patches

    @property
    def grey(self) -> bool:
        """Whether it takes grey images."""
        return self.shape.channels == 1

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        return str(self.mean.device)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the sizes, the weights and the scales: the same on every device."""
        digest = blake2b(json.dumps(asdict(self.shape), sort_keys=True).encode(), digest_size=16)
        for name, value in sorted(self._state().items()):
            digest.update(name.encode())
            digest.update(value.to(torch.bfloat16).flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        """Encode uint8 images (N, size, size[, 3]) into float32 features; see `VisionEncoder.encode`.

        Raises
        ------
        InputError
            When the images do not fit the encoder.
        """
        expected = (self.size, self.size) if self.grey else (self.size, self.size, 3)
        if images.shape[1:] != expected or images.dtype != np.uint8:
            raise InputError(
                f"The BEAST encoder got images of shape {images.shape} and type {images.dtype}, expected uint8 images "
                f"of shape (N, {', '.join(map(str, expected))})."
            )
        shape = (self.n_patches, self.width) if what == "patches" else (self.width,)
        features = np.empty((len(images), *shape), np.float32)
        for start in range(0, len(images), _AT_ONCE):
            tokens = self._tokens(images[start : start + _AT_ONCE])
            kept = tokens[:, 0] if what == "cls" else tokens[:, 1:] if what == "patches" else tokens[:, 1:].mean(1)
            if what in self.scale:
                center, components = self.scale[what][0], self.scale[what][1:]
                kept = (kept - center) @ components.T
            features[start : start + len(kept)] = kept.numpy()
        return features

    def computing(self, precision: Precision, runtime: Runtime = "torch") -> BeastEncoder:
        """The same encoder, computing like this on a CPU; see `ComputesAsTold`."""
        way = way_of(precision, runtime, self.mean.device)
        if way == self._way:
            return self
        other = copy(self)
        other._way, other.fingerprint = way, self.fingerprint.removesuffix(self._way) + way
        return other

    def take_scale(self, images: Iterable[np.ndarray], count: int) -> Generator[Progress, None, None]:
        """Take center and components of every kind of features over some images as their scale.

        Parameters
        ----------
        images
            (S, S[, 3]) uint8 each. They should be as those that will be looked at: what varies in them is what features
            are told apart by.
        count
            How many there are; they are taken as they come, and never held together.
        """
        self.scale, done = {}, 0
        sums = {what: torch.zeros(1 + self.width, self.width, dtype=torch.float64) for what in _KINDS}
        coming = iter(images)
        while some := list(islice(coming, _AT_ONCE)):
            tokens = self._tokens(np.stack(some))
            own = {"mean": tokens[:, 1:].mean(1), "cls": tokens[:, 0], "patches": tokens[:, 1:].flatten(0, 1)}
            for what in _KINDS:
                found = own[what].double()
                sums[what] += torch.cat([found.mean(0, keepdim=True), found.T @ found / len(found)]) * len(some)
            done += len(some)
            yield Progress(done, count, "scaling what the eye sees")
        self.scale = {what: _half_way(total[0] / done, total[1:] / done) for what, total in sums.items()}

    def save(self, folder: Path) -> None:
        """Write sizes and weights to a folder, as `beast.json` and `encoder.safetensors`."""
        with atomic_path(Path(folder) / _SHAPE) as path:
            path.write_text(json.dumps(asdict(self.shape), indent=2) + "\n", encoding="utf-8")
        with atomic_path(Path(folder) / _WEIGHTS) as path:
            path.write_bytes(save(self._state()))

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> BeastEncoder:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When a file is missing or damaged, or the weights are of other sizes.
        """
        folder = Path(folder)
        try:
            shape = BeastShape(**json.loads((folder / _SHAPE).read_text(encoding="utf-8")))
            state = load_file(folder / _WEIGHTS)
            vit = ViTMAEModel(shape.vit_mae(mask_ratio=0.0))
            vit.load_state_dict({name[4:]: value for name, value in state.items() if name.startswith("vit.")})
            scale: dict[What, Tensor] = {what: state[f"scale.{what}"] for what in _KINDS if f"scale.{what}" in state}
            if {value.shape for value in scale.values()} - {(1 + shape.width, shape.width)}:
                raise ValueError("its scale is of another width")
            return cls(vit, shape, state["mean"], state["std"], scale, device)
        except Exception as error:  # files, safetensors, torch and transformers each raise their own
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"{folder} does not hold a whole BEAST encoder ({reason}); pretrain it again or copy it anew."
            ) from error

    def _tokens(self, images: np.ndarray) -> Tensor:
        """Class token and patches (N, 1 + P, D_v) of a few images (N, S, S[, 3]) uint8."""
        pixels = normalize_pixels(to_device(images, self.mean.device), self.mean, self.std).to(self._dtype)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._way == BFLOAT16):
            if self._way.startswith(OPENVINO):
                return self._openvino(self._see, pixels, self._way.endswith(BFLOAT16))
            return self._see(pixels).float().cpu()

    def _see(self, pixels: Tensor) -> Tensor:
        """Class token and patches (N, 1 + P, D_v) of normalized images (N, C, S, S)."""
        # ViT-MAE shuffles patches by this noise even when it hides none; rising noise keeps them in order.
        order = torch.arange(self.n_patches, device=pixels.device).expand(pixels.shape[0], -1)
        tokens: Tensor = self.vit(pixels, noise=order).last_hidden_state
        return tokens

    def _state(self) -> dict[str, Tensor]:
        state = {f"vit.{name}": value.float().cpu().contiguous() for name, value in self.vit.state_dict().items()}
        state |= {f"scale.{what}": value.contiguous() for what, value in self.scale.items()}
        return {**state, "mean": self.mean.cpu().contiguous(), "std": self.std.cpu().contiguous()}


def _half_way(center: Tensor, product: Tensor) -> Tensor:
    """Center and components, (1 + D, D) float32, of features with that mean and mean outer product (D, D).

    Components are unit vectors over the root of their deviation, the strongest first; those too weak are 0.
    """
    rising, columns = torch.linalg.eigh(product - torch.outer(center, center))
    variance, components = rising.flip(0), columns.T.flip(0)
    sign = components.gather(1, components.abs().argmax(1, keepdim=True)).sign()  # which would else be chance
    kept = variance > (_LEAST_VARIANCE * variance[0]).clamp_min(_NO_VARIANCE)
    scaled = sign * components / variance.clamp_min(_NO_VARIANCE)[:, None] ** 0.25
    return torch.cat([center[None], torch.where(kept[:, None], scaled, 0.0)]).float()
