"""The few blocks that the model is built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MLP(nn.Sequential):
    """Two linear layers with a GELU between (appendix A: "all MLPs are two-layer networks")."""

    def __init__(self, width_in: int, width_out: int, hidden: int | None = None) -> None:
        hidden = hidden or width_out
        super().__init__(nn.Linear(width_in, hidden), nn.GELU(), nn.Linear(hidden, width_out))


class Transformer(nn.Module):
    """Pre-norm transformer encoder in which invalid positions are no keys.

    A sequence without any valid position attends to all of them, so that its (unused) output stays finite.
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (S, L, D) to (S, L, D); `valid` is (S, L) bool."""
        hidden = ~valid & valid.any(-1, keepdim=True)
        return self.encoder(x, src_key_padding_mask=hidden)


class TemporalConv(nn.ModuleList):
    """Two 1-D convolutions over time to which invalid positions are zero, each followed by a GELU but for `last`.

    The paper does not state the kernel; we use 5 frames.
    """

    def __init__(self, width_in: int, width_out: int, hidden: int, *, last: bool) -> None:
        convolve, again = nn.Conv1d(width_in, hidden, 5, padding=2), nn.Conv1d(hidden, width_out, 5, padding=2)
        super().__init__([convolve, nn.GELU(), again, nn.Identity() if last else nn.GELU()])

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (S, L, C_in) to (S, L, C_out); `valid` is (S, L) bool."""
        convolve, activate, again, finish = self
        x = activate(convolve(at(valid, x).transpose(1, 2))).transpose(1, 2)
        return finish(again(at(valid, x).transpose(1, 2))).transpose(1, 2)


def at(valid: Tensor, x: Tensor) -> Tensor:
    """`x` (..., F) where `valid` (...) holds, and 0 elsewhere."""
    return torch.where(valid.unsqueeze(-1), x, x.new_zeros(()))


class OneScale(nn.Module):
    """Centers what has many columns, and brings it to a total variance of 1: columns keep their proportions."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))

    def fit_scale(self, x: Tensor) -> None:
        """Take the mean of every column and the one scale from x (M, F), the valid frames to be trained on."""
        self.mean.copy_(x.mean(0))
        self.scale.copy_(x.var(0, correction=0).sum().sqrt().clamp_min(1e-6))

    def standardize(self, x: Tensor) -> Tensor:
        """(..., F) on that scale."""
        return (x - self.mean) / self.scale
