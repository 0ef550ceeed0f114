"""BAMS: causal convolutions over a short and a long past, what they foretell, and the losses that teach them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class CausalBlock(nn.Module):
    """Two dilated convolutions that see the past alone, beside a shortcut; PReLU throughout."""

    def __init__(self, width_in: int, width_out: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.convolve = nn.Conv1d(width_in, width_out, kernel, dilation=dilation)
        self.again = weight_norm(nn.Conv1d(width_out, width_out, kernel, dilation=dilation))
        self.shortcut = nn.Identity() if width_in == width_out else nn.Conv1d(width_in, width_out, 1)
        self.activations = nn.ModuleList(nn.PReLU(init=0.1) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (S, C_in, L) to (S, C_out, L)."""
        first, second, last = self.activations
        out = self.dropout(first(self.convolve(F.pad(x, (self.past, 0)))))
        out = self.dropout(second(self.again(F.pad(out, (self.past, 0)))))
        return last(out + self.shortcut(x))


class CausalNetwork(nn.Sequential):
    """Blocks of growing dilation: block i skips ``dilation ** i`` frames.

    Parameters
    ----------
    width_in
        Columns of the input.
    channels
        Width of every block; the last is that of the embedding.
    kernel, dilation, dropout
        Of all blocks.
    """

    def __init__(self, width_in: int, channels: Sequence[int], kernel: int, dilation: int, dropout: float) -> None:
        widths = [width_in, *channels]
        blocks = [
            CausalBlock(before, after, kernel, dilation**i, dropout)
            for i, (before, after) in enumerate(pairwise(widths))
        ]
        super().__init__(*blocks)
        self.width = widths[-1]
        self.reach = 2 * sum(block.past for block in blocks)
        """Frames of the past that an embedding depends on, beside its own."""


class BamsNetwork(nn.Module):
    """Two encoders, and what they are asked: the actions to come, and each other time of the same scale.

    Parameters
    ----------
    width, n_actions, bins
        Columns of the input, actions foretold, and bins of the histogram of each.
    short_channels, long_channels, kernel, short_dilation, long_dilation, dropout
        Of the two encoders, as `CausalNetwork` takes them.
    hidden
        Widths of the hidden layers that foretell actions.
    """

    def __init__(
        self,
        width: int,
        n_actions: int,
        bins: int,
        *,
        short_channels: Sequence[int],
        long_channels: Sequence[int],
        kernel: int,
        short_dilation: int,
        long_dilation: int,
        dropout: float,
        hidden: Sequence[int],
    ) -> None:
        super().__init__()
        self.bins = bins
        self.short = CausalNetwork(width, short_channels, kernel, short_dilation, dropout)
        self.long = CausalNetwork(width, long_channels, kernel, long_dilation, dropout)
        self.reach = max(self.short.reach, self.long.reach)
        layers: list[nn.Module] = []
        for before, after in pairwise([self.width + width, *hidden]):
            layers += [nn.Linear(before, after), nn.PReLU()]
        self.foretell = nn.Sequential(*layers, nn.Linear(hidden[-1], n_actions * bins))
        self.bootstrap = nn.ModuleList(_bootstrap(encoder.width) for encoder in (self.short, self.long))

    @property
    def width(self) -> int:
        """Columns of the embedding: those of the short and the long scale side by side."""
        return self.short.width + self.long.width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embed standardized inputs (S, L, N) at both scales, (S, L, D_short) and (S, L, D_long)."""
        turned = x.transpose(1, 2)
        return self.short(turned).transpose(1, 2), self.long(turned).transpose(1, 2)

    def histograms(self, short: Tensor, long: Tensor, x: Tensor) -> Tensor:
        """Foretold histograms (…, n_actions, bins), each summing to 1, from embeddings and inputs (…, D) of frames."""
        told = self.foretell(torch.cat([short, long, x], -1))
        return told.unflatten(-1, (-1, self.bins)).softmax(-1)


def _bootstrap(width: int) -> nn.Sequential:
    """The predictor of BYOL that keeps embeddings from falling to a point without negatives."""
    return nn.Sequential(
        nn.Linear(width, 4 * width, bias=False), nn.BatchNorm1d(4 * width), nn.ReLU(), nn.Linear(4 * width, width)
    )


def action_histograms(
    bins: Tensor, present: Tensor, frames: Tensor, horizon: int, n_bins: int
) -> tuple[Tensor, Tensor]:
    """The distribution of every action over the frames that follow.

    Parameters
    ----------
    bins
        (S, L, F) bin of every action.
    present
        (S, L) bool; frames where the animal is not seen are left out.
    frames
        (S, M) frames t; t + 1 … t + `horizon` are counted, all within L.
    horizon, n_bins
        Frames ahead, and bins of a histogram.

    Returns
    -------
    histograms
        (S, M, F, n_bins), summing to 1 where anything was seen, else 0.
    weight
        (S, M): share of the frames ahead that count, 0 where the frame itself does not.
    """
    ahead = frames[..., None] + torch.arange(1, horizon + 1, device=frames.device)  # (S, M, H)
    row = torch.arange(len(frames), device=frames.device)[:, None, None]
    counts = present[row, ahead].float()  # (S, M, H)
    chosen = bins[row, ahead].transpose(-1, -2)  # (S, M, F, H)
    histograms = counts.new_zeros((*chosen.shape[:-1], n_bins))
    histograms.scatter_add_(-1, chosen, counts[..., None, :].expand(chosen.shape))
    seen = counts.sum(-1)
    weight = seen / horizon * present[row[..., 0], frames]
    return histograms / seen.clamp_min(1.0)[..., None, None], weight


def histogram_loss(foretold: Tensor, happened: Tensor, weight: Tensor) -> Tensor:
    """Squared earth mover's distance of histograms (…, F, bins), a mean over bins and actions and over weighed frames.

    In one dimension it is the squared difference of the cumulated histograms.
    """
    distance = (foretold.cumsum(-1) - happened.cumsum(-1)).square().mean((-1, -2))
    return (distance * weight).sum() / weight.sum().clamp_min(1e-12)


def bootstrap_loss(predictor: nn.Module, embedding: Tensor, other: Tensor) -> Tensor:
    """``1 − cos(predictor(embedding), sg(other))`` of (M, D): one time foretells another of the same animal.

    0 of fewer than two pairs, which have no deviation to be normalized by.
    """
    if len(embedding) < 2:
        return embedding.sum() * 0
    return 1 - F.cosine_similarity(predictor(embedding), other.detach(), dim=-1).mean()
