"""BEAST: a vision transformer that learns from the lab's own video to fill in patches and to tell times apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from napari_lookagain.config import BeastConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BeastShape:
    """Sizes of a ViT-MAE and of the projection of its class token.

    Parameters
    ----------
    image_size, patch_size
        Sides in pixels.
    channels
        1 for grey images, 3 for color.
    width, depth, heads, hidden
        Of the encoder: D, layers, heads of attention, and units between the two layers of its MLPs.
    decoder_width, decoder_depth, decoder_heads, decoder_hidden
        Of the decoder.
    projection_depth
        Hidden layers of the projection: 1 in the paper, 2 in the public checkpoints.
    projection_width
        Of what is contrasted.
    spread
        Standard deviation of the weights at the start. A narrow model learns slowly from the 0.02 of a wide one.
    """

    image_size: int = 224
    patch_size: int = 16
    channels: int = 3
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    decoder_hidden: int = 2048
    projection_depth: int = 1
    projection_width: int = 768
    spread: float = 0.02
    layer_norm_eps: float = 1e-12

    @property
    def n_patches(self) -> int:
        """Patches of an image, P."""
        return (self.image_size // self.patch_size) ** 2

    def vit_mae(self, mask_ratio: float) -> ViTMAEConfig:
        """The same sizes in the words of transformers."""
        return ViTMAEConfig(
            image_size=self.image_size,
            patch_size=self.patch_size,
            num_channels=self.channels,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.hidden,
            decoder_hidden_size=self.decoder_width,
            decoder_num_hidden_layers=self.decoder_depth,
            decoder_num_attention_heads=self.decoder_heads,
            decoder_intermediate_size=self.decoder_hidden,
            initializer_range=self.spread,
            layer_norm_eps=self.layer_norm_eps,
            mask_ratio=mask_ratio,
        )


SHAPES = {
    "tiny": BeastShape(48, 8, 1, 128, 4, 4, 512, 64, 2, 2, 256, projection_width=128, spread=0.08),
    "small": BeastShape(224, 16, 3, 384, 12, 6, 1536, 256, 4, 8, 1024, projection_width=384, spread=0.04),
    "base": BeastShape(),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model makes of a batch of images.

    Parameters
    ----------
    patches
        (B, P, p² · C): all patches as the decoder paints them; row by row, each as (y, x, channel).
    hidden
        (B, P) bool: patches that the encoder did not get.
    projected
        (B, E): class tokens, projected, of length 1.
    """

    patches: Tensor
    hidden: Tensor
    projected: Tensor


class Projection(nn.Module):
    """Linear, batch norm, ReLU, and a linear layer: without batch norm the contrast does not learn (figure 5)."""

    def __init__(self, width: int, out: int, depth: int) -> None:
        super().__init__()
        hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())]
        self.proj = nn.Sequential(*hidden, nn.Linear(width, out))

    def forward(self, cls: Tensor) -> Tensor:
        """(B, D) to (B, E)."""
        return self.proj(cls)


class Beast(nn.Module):
    """ViT, MAE decoder and projection (figure 1A).

    Parameters
    ----------
    shape
        All sizes.
    mask_ratio
        Share of the patches that the encoder does not get.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: BeastShape, mask_ratio: float = 0.75) -> None:
        super().__init__()
        self.shape = shape
        self.vit_mae = ViTMAEForPreTraining(shape.vit_mae(mask_ratio))
        # transformers leaves the positions of both halves at 0 for good, and the two tokens: without positions the
        # encoder cannot tell where a patch is, and the decoder paints all hidden patches alike.
        with torch.no_grad():
            self.vit_mae.vit.embeddings.position_embeddings.copy_(positions(shape.n_patches, shape.width))
            self.vit_mae.decoder.decoder_pos_embed.copy_(positions(shape.n_patches, shape.decoder_width))
        nn.init.normal_(self.vit_mae.vit.embeddings.cls_token, std=shape.spread)
        nn.init.normal_(self.vit_mae.decoder.mask_token, std=shape.spread)
        self.proj = Projection(shape.width, shape.projection_width, shape.projection_depth)
        color = shape.channels == 3
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN if color else (0.5,)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD if color else (0.25,)).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Reading:
        """Hide most patches of normalized images (B, C, S, S), paint them all, and project the class token."""
        seen = self.vit_mae.vit(images)  # the class token and the patches that are not hidden, (B, 1 + L, D)
        tokens = seen.last_hidden_state
        patches = self.vit_mae.decoder(tokens, seen.ids_restore).logits  # (B, P, p² · C)
        projected = normalize(self.proj(tokens[:, 0]), dim=-1)  # (B, E)
        return Reading(patches, seen.mask.bool(), projected)

    def normalized(self, images: Tensor) -> Tensor:
        """Images (B, S, S[, 3]) uint8 as (B, C, S, S) float, each channel less the mean and over the deviation."""
        return normalize_pixels(images, self.mean, self.std)


def normalize_pixels(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (B, S, S[, 3]) uint8 as (B, C, S, S) float, less `mean` and over `std`, both (1, C, 1, 1)."""
    pixels = images.unsqueeze(-1) if images.ndim == 3 else images
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def beast_losses(reading: Reading, images: Tensor, config: BeastConfig, patch_size: int) -> dict[str, Tensor]:
    """``L = MSE + λ InfoNCE`` (section 3 of the paper) of normalized images (B, C, S, S) and what was made of them.

    With `contrast_weight` above 0 the first half of the images are anchors, the second half their positives.

    Returns
    -------
    dict
        "loss" is the one to minimize. "reconstruct" is the mean squared error of all patches, hidden or not; "contrast"
        the InfoNCE, and "told" the share of anchors whose positive is the most similar of all images.
    """
    out = {}
    loss = images.new_zeros(())
    if config.reconstruct_weight > 0:
        out["reconstruct"] = (reading.patches - patchify(images, patch_size)).square().mean()
        loss = loss + config.reconstruct_weight * out["reconstruct"]
    if config.contrast_weight > 0:
        out["contrast"], out["told"] = info_nce(reading.projected, config.temperature)
        loss = loss + config.contrast_weight * out["contrast"]
    return {"loss": loss, **out}


def info_nce(projected: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """``−(2/B) Σ_anchors log( exp(z_i·z_i′) / Σ_{j≠i} exp(z_i·z_j) )`` (section 3 of the paper).

    The paper does not state a temperature nor that z is normalized; here z has length 1, and its products are divided
    by `temperature` (◇).

    Parameters
    ----------
    projected
        z, (B, E): anchors first, then their positives in the same order. All others are an anchor's negatives.

    Returns
    -------
    tuple of Tensor
        The loss, and the share of anchors whose positive is nearest.
    """
    anchors = len(projected) // 2
    similarity = projected @ projected.T / temperature  # (B, B)
    similarity = similarity.masked_fill(
        torch.eye(len(projected), dtype=torch.bool, device=projected.device), -torch.inf
    )
    positive = torch.arange(anchors, 2 * anchors, device=projected.device)
    nearest = similarity[:anchors].argmax(1) == positive
    return cross_entropy(similarity[:anchors], positive), nearest.float().mean()


def positions(n_patches: int, width: int) -> Tensor:
    """Fixed positions (1, 1 + P, width): 0 of the class token, then sines and cosines of x and of y, row by row.

    The order, x in the first half, is that of the public weights of ViT-MAE.
    """
    n, rates = round(n_patches**0.5), width // 4
    angles = torch.arange(n)[:, None] / 10_000.0 ** (torch.arange(rates) / rates)  # (n, width / 4)
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    laid = torch.cat([waves.expand(n, n, -1), waves[:, None].expand(n, n, -1)], 2)  # (y, x, width)
    return torch.cat([torch.zeros(1, width), laid.flatten(0, 1)])[None]


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images (B, C, S, S) into patches (B, P, p² · C), row by row, each as (y, x, channel)."""
    batch, channels, side, _ = images.shape
    n = side // patch_size
    cut = images.view(batch, channels, n, patch_size, n, patch_size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, n * n, -1)  # (B, Y, X, y, x, C)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """Put patches (B, P, p² · C) together into images (B, C, S, S): the inverse of `patchify`."""
    batch, n_patches, _ = patches.shape
    n = round(n_patches**0.5)
    laid = patches.view(batch, n, n, patch_size, patch_size, -1)
    return laid.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, n * patch_size, n * patch_size)
