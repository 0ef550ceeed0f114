"""Eq. 18–23: the two heads, one for behaviors that people scored and one for clusters that nobody named yet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_lookagain.model.layers import MLP
from napari_lookagain.model.losses import soft_assignment
from napari_lookagain.model.motion import Motion


class Fusion(nn.Module):
    """``x + MLP([x ‖ v̄]) · v̄``: what was seen enters as far as the motion asks for it (Eq. 18 and 20).

    Where only the "video" is read, x is 0: the paper's ablation "removes the Motion Encoder".
    """

    def __init__(self, width: int, reads: str = "both") -> None:
        super().__init__()
        self.reads = reads
        self.mlp = MLP(2 * width, width)

    def forward(self, x: Tensor, visual_context: Tensor) -> Tensor:
        """Fuse two (B, A, T, D)."""
        if self.reads == "video":
            x = torch.zeros_like(x)
        return x + self.mlp(torch.cat([x, visual_context], -1)) * visual_context


class BehaviorHead(nn.Module):
    """Eq. 18–19: logits of K behaviors at every frame.

    In training ê of a share `motion_dropout` of the windows is hidden: the frozen motion encoder knows every training
    window by heart, and a head that may always ask it never learns to read the looks.
    """

    log_weights: Tensor

    def __init__(self, width: int, n_classes: int, dropout: float, motion_dropout: float, reads: str = "both") -> None:
        super().__init__()
        self.motion_dropout = motion_dropout
        self.register_buffer("log_weights", torch.zeros(n_classes))
        self.fuse = Fusion(width, reads)
        self.classify = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), MLP(width, n_classes, hidden=width))

    def read(self, motion: Motion) -> Tensor:
        """ê, what this head reads of the motion encoder."""
        return motion.embedding

    def forward(self, embedding: Tensor, visual_context: Tensor) -> Tensor:
        """(B, A, T, K) logits."""
        if self.training and self.motion_dropout > 0:
            kept = torch.rand((*embedding.shape[:2], 1, 1), device=embedding.device) >= self.motion_dropout
            embedding = embedding * kept
        return self.classify(self.fuse(embedding, visual_context))

    def correct_prior(self, weights: Tensor) -> None:
        """Give probabilities by the frequencies of the classes in training, though the loss weighed them alike.

        A loss with inverse class-frequency weights w (Eq. 19) makes the softmax that of a world in which all behaviors
        are equally frequent, and rare ones are reported far too often; dividing by w undoes that. Without this step,
        the paper's form, the softmax is taken as it is.
        """
        self.log_weights.copy_(torch.where(weights > 0, weights, 1.0).log())

    def probabilities(self, output: Tensor) -> Tensor:
        """(…, K) probabilities from logits."""
        return (output - self.log_weights).softmax(-1)


class ClusterHead(nn.Module):
    """Eq. 20–22: features f and their soft assignment to K trainable centers.

    v̄ is projected to D_z first, since the paper's widths differ.
    """

    def __init__(self, width: int, latent_width: int, n_clusters: int, reads: str = "both") -> None:
        super().__init__()
        self.project = nn.Linear(width, latent_width)
        self.fuse = Fusion(latent_width, reads)
        self.centers = nn.Parameter(torch.randn(n_clusters, latent_width))

    def read(self, motion: Motion) -> Tensor:
        """z_q, what this head reads of the motion encoder."""
        return motion.tokens

    def forward(self, tokens: Tensor, visual_context: Tensor) -> Tensor:
        """f, (B, A, T, D_z)."""
        return self.fuse(tokens, self.project(visual_context))

    def probabilities(self, output: Tensor) -> Tensor:
        """q, (…, K): soft assignment of f; the label of a frame is the nearest center."""
        return soft_assignment(output, self.centers)
