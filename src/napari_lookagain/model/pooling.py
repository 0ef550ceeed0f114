"""Attention over the patches of an image: what a learnt question asks of them, instead of their mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """Multi-head attention pooling of patch embeddings (BEAST, appendix E.4; Lee et al., 2019).

    One learnt query asks the patches of an image; they are keys and values. What comes out is that of
    `torch.nn.MultiheadAttention` without biases of query and key: a bias of the keys would raise the scores of all
    patches alike. It is computed another way. With a single query, its product with the key weights can be taken before
    any patch is seen, and values are linear, so that patches may be averaged before they are projected: of P patches
    of width D this asks for P · D · heads multiplications instead of P · D², and holds no keys or values in memory.

    At the start, all patches weigh nearly the same.

    Parameters
    ----------
    width
        D of the embeddings.
    heads
        Heads of attention, a divisor of `width`; 8 in the paper.

    Raises
    ------
    ValueError
        When the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads cannot share patch embeddings of width {width}")
        self.heads = heads
        self.query = nn.Parameter(torch.randn(heads, width // heads) * 0.02)  # as class tokens begin
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def weights(self, patches: Tensor) -> Tensor:
        """How much every head attends to every patch of (…, P, D): (…, heads, P), summing to 1 over P."""
        width = patches.shape[-1]
        key = self.key.weight.view(self.heads, -1, width)  # (heads, d, D)
        asked = torch.einsum("hd,hdw->hw", self.query, key) * self.query.shape[1] ** -0.5
        return (patches @ asked.T).transpose(-1, -2).softmax(-1)

    def forward(self, patches: Tensor) -> Tensor:
        """Pool patch embeddings (…, P, D) to (…, D)."""
        averages = self.weights(patches) @ patches  # (…, heads, D)
        value = self.value.weight.view(self.heads, -1, patches.shape[-1])  # (heads, d, D)
        pooled = torch.einsum("...hw,hdw->...hd", averages, value).flatten(-2) + self.value.bias
        return self.out(pooled)
