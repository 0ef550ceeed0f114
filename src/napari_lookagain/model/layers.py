"""The few blocks that the model is built of."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        first = TransformerLayer(width, heads, dropout)
        alike = nn.ModuleList(deepcopy(first) for _ in range(layers))  # as in torch's own
        self.encoder = nn.ModuleDict({"layers": alike, "norm": nn.LayerNorm(width)})

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (S, L, D) to (S, L, D); `valid` is (S, L) bool."""
        keys = valid | ~valid.any(-1, keepdim=True)
        for layer in self.encoder["layers"].children():
            x = layer(x, keys)
        return self.encoder["norm"](x)


class TransformerLayer(nn.Module):
    """Attention and a network of two layers, each after a norm and beside what it adds to.

    It has the parameters of torch's own layer, by their names, and computes the same. Torch's takes a third longer to
    train on a CPU, for the masks of its `dropout`, and does not use its fused attention to predict.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Map (S, L, D) to (S, L, D); `keys` (S, L) bool are what is attended to."""
        x = x + self.drop(self.attend(self.norm1(x), keys))
        return x + self.drop(self.linear2(self.drop(F.gelu(self.linear1(self.norm2(x))))))

    def attend(self, x: Tensor, keys: Tensor) -> Tensor:
        """Self-attention of all heads, (S, L, D)."""
        own = self.self_attn
        each = F.linear(x, own.in_proj_weight, own.in_proj_bias).unflatten(-1, (3, own.num_heads, -1))
        q, k, v = each.permute(2, 0, 3, 1, 4)  # each (S, H, L, D / H)
        attended = keys[:, None, None]  # (S, 1, 1, L)
        share = self.dropout if self.training else 0.0
        if share and x.is_cpu:
            score = (q * own.head_dim**-0.5) @ k.transpose(-1, -2)  # (S, H, L, L)
            if not keys.all():
                score = score.masked_fill(~attended, -torch.inf)
            heads = self.drop(score.softmax(-1)) @ v  # (S, H, L, D / H)
        else:
            heads = F.scaled_dot_product_attention(q, k, v, attended, share)
        joined: Tensor = own.out_proj(heads.transpose(1, 2).flatten(2))
        return joined

    def drop(self, x: Tensor) -> Tensor:
        """Dropout in training, none else."""
        return dropout(x, self.dropout) if self.training and self.dropout else x


def dropout(x: Tensor, share: float) -> Tensor:
    """`F.dropout`, which draws its masks slowly on a CPU: there, 16 random bits make an entry, and not 64."""
    if not x.is_cpu:
        return F.dropout(x, share)
    draws = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    kept = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(bits, round(share * 2**16) - 2**15, out=kept)
    return x * kept.div_(1 - share)


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
