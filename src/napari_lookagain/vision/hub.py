"""Vision encoders of the Hugging Face hub, each without the parts that do not see."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from napari_lookagain.errors import InputError
from napari_lookagain.vision.encoder import Precision, Runtime, What
from napari_lookagain.vision.hub_files import (
    ALIASES,
    find_model,
    load_model,
    read_json,
    read_model_config,
    refuse_missing,
)
from napari_lookagain.vision.openvino import OpenVINO
from napari_lookagain.vision.placement import to_device
from napari_lookagain.vision.precision import BFLOAT16, OPENVINO, way_of

_WITHOUT_CLASS_TOKEN = ("qwen3_vl", "qwen3_vl_vision", "videomae")
_OTHERWISE = "use the encoder 'pca', which needs no download"
_AT_ONCE = 16  # images in one forward pass; bounds the memory whatever the caller asks for


@dataclass(frozen=True)
class _Family:
    tower: str  # class in transformers that holds the vision part alone
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # where the checkpoint does not say: ImageNet's
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    key_mapping: dict[str, str] = field(default_factory=dict)
    norm: str = ""  # norm of the last layer where the tower itself leaves the patches without it


# Without its key mapping Qwen3-VL's tower would find none of its weights and stay random.
_QWEN = _Family("Qwen3VLVisionModel", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), {r"^model\.visual\.": ""})
_CLIP = _Family(
    "CLIPVisionModel",
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
    norm="post_layernorm",
)
_FAMILIES = {
    "qwen3_vl": _QWEN,
    "qwen3_vl_vision": _QWEN,
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "dinov2": _Family("Dinov2Model"),
    "beit": _Family("BeitModel", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), norm="pooler.layernorm"),
    "vit_mae": _Family("ViTMAEModel"),
    "videomae": _Family("VideoMAEModel"),
}


class HubEncoder:
    """Frozen vision part of a model of the hub: `MeanPool(f_vision(I))` over patch tokens (Eq. 7), or the tokens.

    Qwen3-VL gives the mean of the merged patches that its language model would read (2048 features for the 2B, the
    paper's encoder); DINOv2 and ViT-MAE their last layer, normed; CLIP likewise, by the norm of its class token, and
    BEiT by that of its pooled patches.
    VideoMAE needs a clip of 16 frames and gets the one frame 16 times: it sees no motion. The paper does not state at
    which size frames are encoded; each model gets the size its own preprocessing names.

    Weights are bfloat16 on CUDA devices that have it, else float32. Code that comes with a model is never run.

    Parameters
    ----------
    name
        Name on the hub, local folder in the hub's layout, or one of the aliases "qwen3-vl", "dinov2", "vit-mae",
        "clip", "videomae" and "beit".
    device
        Where the encoder works, as torch names it.

    Raises
    ------
    InputError
        When the model cannot be had, is of an unknown kind, or lacks any weight of its vision part.
    """

    kind: ClassVar[str] = "hub"
    grey: ClassVar[bool] = False

    def __init__(self, name: str, device: str = "cpu") -> None:
        name = ALIASES.get(name, name)
        folder = find_model(name, _OTHERWISE)
        self.name = str(folder) if Path(name).is_dir() else name
        config = read_model_config(folder, name, tuple(_FAMILIES))
        self._model_type = str(config["model_type"])
        family = _FAMILIES[self._model_type]
        self._model = _load_tower(folder, name, family, device)
        preprocessing = folder / "preprocessor_config.json"
        seen_as = read_json(preprocessing) if preprocessing.exists() else {}
        self.size = _side(self._model.config, self._model_type, seen_as)
        self._mean = torch.tensor(seen_as.get("image_mean", family.mean), device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(seen_as.get("image_std", family.std), device=device).view(1, 3, 1, 1)
        width = getattr(self._model.config, "out_hidden_size", self._model.config.hidden_size)
        self.width = int(width)
        self.n_patches = _count_patches(self._model.config, self._model_type, self.size)
        self.fingerprint = self._digest(config)
        self._way = ""  # it computes in, as its fingerprint ends
        self._openvino = OpenVINO()  # of this encoder and its copies

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        return str(self._mean.device)

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        """Encode color images (N, S, S, 3) uint8, resized to `size` where S differs; see `VisionEncoder.encode`.

        Raises
        ------
        InputError
            When the images are not square, of three colors and uint8, or the model has no class token.
        """
        if what == "cls" and self._model_type in _WITHOUT_CLASS_TOKEN:
            raise InputError(f"{self.name} has no class token; take the mean or the patches, or another encoder.")
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3 or images.dtype != np.uint8:
            raise InputError(
                f"{self.name} got images of shape {images.shape} and type {images.dtype}, "
                f"expected uint8 images of shape (N, {self.size}, {self.size}, 3)."
            )
        shape = (self.n_patches, self.width) if what == "patches" else (self.width,)
        features = np.empty((len(images), *shape), np.float32)
        for start in range(0, len(images), _AT_ONCE):
            with torch.inference_mode():
                pixels = self._pixels(to_device(images[start : start + _AT_ONCE], self._mean.device))
                with torch.autocast("cpu", torch.bfloat16, enabled=self._way == BFLOAT16):
                    tokens = self._tokens(pixels, what == "cls")
                tokens = tokens.float()
                features[start : start + _AT_ONCE] = (tokens.mean(1) if what == "mean" else tokens).cpu().numpy()
        return features

    def computing(self, precision: Precision, runtime: Runtime = "torch") -> HubEncoder:
        """The same encoder, computing like this on a CPU; see `ComputesAsTold`."""
        if runtime == "openvino" and self._model_type.startswith("qwen3_vl"):
            raise InputError(f"OpenVINO does not run Qwen3-VL ({self.name}) here; set vision.runtime to torch.")
        way = way_of(precision, runtime, self._mean.device)
        if way == self._way:
            return self
        other = copy(self)
        other._way, other.fingerprint = way, self.fingerprint.removesuffix(self._way) + way
        return other

    def save(self, folder: Path) -> None:
        """Write nothing: the weights stay in the hub's cache or in their folder."""

    def _pixels(self, images: Tensor) -> Tensor:
        """Resize and normalize (N, S, S, 3) uint8 into (N, 3, size, size)."""
        pixels = images.permute(0, 3, 1, 2).float()
        if pixels.shape[-1] != self.size:
            pixels = interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True)
            pixels = pixels.round().clamp(0, 255)  # the models were trained on images resized as bytes
        return ((pixels / 255 - self._mean) / self._std).to(self._model.dtype)

    def _tokens(self, pixels: Tensor, cls: bool) -> Tensor:
        """Patch tokens (N, P, width), or class tokens (N, width), of normalized images (N, 3, size, size)."""
        model = self._model
        if self._model_type.startswith("qwen3_vl"):
            patches, grid = _qwen_patches(pixels, model.config)
            return model(patches, grid_thw=grid).pooler_output.view(len(pixels), -1, self.width)
        if self._way.startswith(OPENVINO):
            tokens = self._openvino(self._see, pixels, self._way.endswith(BFLOAT16))
        else:
            tokens = self._see(pixels)
        if self._model_type == "videomae":
            return tokens  # no class token
        tokens = tokens[:, 0] if cls else tokens[:, 1:]
        name = _FAMILIES[self._model_type].norm
        norm = attrgetter(name)(model) if name else None  # a BEiT that pools by its class token norms all tokens
        return tokens if norm is None else norm(tokens)

    def _see(self, pixels: Tensor) -> Tensor:
        """What the last layer gives, (N, tokens, width), of normalized images (N, 3, size, size)."""
        model, order = self._model, {}
        if self._model_type == "videomae":
            pixels = pixels[:, None].expand(-1, model.config.num_frames, -1, -1, -1)  # (N, T, 3, size, size)
        if self._model_type == "vit_mae":
            # It shuffles patches by this noise even when none is masked; rising noise keeps them in order.
            rising = torch.arange(model.embeddings.patch_embeddings.num_patches, device=pixels.device)
            order = {"noise": rising.expand(pixels.shape[0], -1)}
        tokens: Tensor = model(pixels, **order).last_hidden_state
        return tokens

    def _digest(self, config: dict[str, Any]) -> str:
        """Digest of everything that features depend on: the same on every device, whatever file the weights came in."""
        digest = blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=16)
        digest.update(repr((self.size, self._mean.flatten().tolist(), self._std.flatten().tolist())).encode())
        for key, weight in sorted(self._model.state_dict().items()):
            digest.update(key.encode())
            digest.update(weight.to(torch.bfloat16).cpu().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


def _qwen_patches(pixels: Tensor, config: Any) -> tuple[Tensor, Tensor]:
    """Cut images (N, 3, size, size) into the rows Qwen3-VL reads, and say how many rows each has.

    A row is one patch, (color, time, y, x) flattened, with the image as both moments of time. Patches are ordered so
    that the merge x merge of them that become one token follow one another.
    """
    n, colors, side, _ = pixels.shape
    patch, merge, times = config.patch_size, config.spatial_merge_size, config.temporal_patch_size
    blocks = side // (patch * merge)
    cut = pixels.view(n, colors, blocks, merge, patch, blocks, merge, patch)
    cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)  # (N, Y, X, y in Y, x in X, color, 1, patch, patch)
    cut = cut.expand(-1, -1, -1, -1, -1, -1, times, -1, -1)
    grid = torch.tensor([[1, blocks * merge, blocks * merge]] * n, device=pixels.device)
    return cut.reshape(n * (blocks * merge) ** 2, -1), grid


def _count_patches(config: Any, model_type: str, side: int) -> int:
    """Tokens that an image of this side becomes, its class token left out."""
    if model_type.startswith("qwen3_vl"):
        return int(side // (config.patch_size * config.spatial_merge_size)) ** 2
    moments = config.num_frames // config.tubelet_size if model_type == "videomae" else 1
    return int(moments * (side // config.patch_size) ** 2)


def _side(config: Any, model_type: str, seen_as: dict[str, Any]) -> int:
    """Side of the images a model wants: what its preprocessing names where the model leaves the choice."""
    if model_type.startswith("qwen3_vl"):
        unit = config.patch_size * config.spatial_merge_size
        least = (seen_as.get("size") or {}).get("shortest_edge") or 256 * 256  # named an edge, but a number of pixels
        return unit * ceil(least**0.5 / unit)
    if model_type == "dinov2" and "height" in (seen_as.get("crop_size") or {}):
        return int(seen_as["crop_size"]["height"]) // config.patch_size * config.patch_size
    return int(config.image_size)


def _load_tower(folder: Path, name: str, family: _Family, device: str) -> Any:
    """Load the vision part alone, and refuse it unless the checkpoint holds every weight of it."""
    bfloat = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if bfloat else torch.float32
    mapping = family.key_mapping or None
    model, missing, _ = load_model(family.tower, folder, name, _OTHERWISE, dtype=dtype, key_mapping=mapping)
    refuse_missing(missing, name, _OTHERWISE)  # what the parts left out have more is of no concern
    if getattr(model.config, "mask_ratio", 0):
        model.config.mask_ratio = 0.0  # ViT-MAE hides no patch of what it is to describe
    return model.to(device).requires_grad_(False).eval()
