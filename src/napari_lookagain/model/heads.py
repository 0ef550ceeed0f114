"""Eq. 18–23: heads for behaviors that people scored, and for clusters that nobody named yet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_lookagain.model.layers import MLP, OneScale
from napari_lookagain.model.losses import log_weights, soft_assignment, square_distance
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
        self.read_width, self.motion_dropout = width, motion_dropout
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
        self.log_weights.copy_(log_weights(weights))

    def probabilities(self, output: Tensor) -> Tensor:
        """(…, K) probabilities from logits."""
        return (output - self.log_weights).softmax(-1)


class ClusterHead(nn.Module):
    """Deep embedded clustering, Eq. 20–22: features f and their soft assignment to K trainable centers.

    v̄ is projected to D_z first, since the paper's widths differ.
    """

    def __init__(self, width: int, latent_width: int, n_clusters: int, reads: str = "both") -> None:
        super().__init__()
        self.read_width = latent_width
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


class KMeansHead(OneScale):
    """Clusters by k-means on motion and sight side by side; ours, where the paper has a `ClusterHead`.

    Deep embedded clustering sharpens what it started from, and has nothing that tells it what to keep: on recordings
    that were scored, its clusters agree with behavior less than those of k-means on its own inputs do. Here nothing is
    trained: ``f = mean over t ± reach of [(z − μ)/σ ‖ v̂]``, where σ² is the total variance of z over frames, so that
    motion and sight (`HeldLooks`, on the same scale) count alike.

    Parameters
    ----------
    width_read
        Of z: motion tokens, or the standardized descriptor of Eq. 1.
    width_seen
        D_v of what was seen.
    n_clusters
        K.
    reach
        Frames to either side of t that f_t is a mean over, as far as the window goes.
    source
        What `read` takes of the motion.
    reads
        As in `Fusion`.
    """

    centers: Tensor
    variance: Tensor

    def __init__(
        self, width_read: int, width_seen: int, n_clusters: int, reach: int, source: str = "tokens", reads: str = "both"
    ) -> None:
        super().__init__(width_read)
        self.read_width = width_read
        self.reach, self.source, self.reads = reach, source, reads
        self.register_buffer("centers", torch.zeros(n_clusters, width_read + width_seen))
        self.register_buffer("variance", torch.ones(()))  # σ² within clusters

    def fit_variance(self, features: Tensor) -> None:
        """Take σ² from f (M, F + D_v): ``tr C² / tr C``, C the covariance within clusters.

        The mean variance of a direction, each weighed by itself: f has many columns, but few in which frames differ.
        """
        apart = features - self.centers[square_distance(features, self.centers).argmin(-1)]
        covariance = apart.T @ apart / len(apart)
        self.variance.copy_((covariance**2).sum() / covariance.trace().clamp_min(1e-12)).clamp_(1e-12)

    def read(self, motion: Motion) -> Tensor:
        """z, what this head reads of the motion encoder."""
        return motion.tokens if self.source == "tokens" else motion.descriptor

    def forward(self, read: Tensor, seen: Tensor) -> Tensor:
        """f, (B, A, T, F + D_v), of z (B, A, T, F) and v̂ (B, A, T, D_v)."""
        z = torch.zeros_like(read) if self.reads == "video" else self.standardize(read)
        f = torch.cat([z, seen], -1)  # (B, A, T, F + D_v)
        series = f.flatten(0, 1).transpose(1, 2)  # (B·A, F + D_v, T)
        mean = F.avg_pool1d(series, 2 * self.reach + 1, stride=1, padding=self.reach, count_include_pad=False)
        return mean.transpose(1, 2).view_as(f)

    def probabilities(self, output: Tensor) -> Tensor:
        """q, (…, K): ``softmax(−‖f − c‖² / 2σ²)``, as of equal spherical Gaussians; the label is the nearest center."""
        return (-square_distance(output, self.centers) / (2 * self.variance)).softmax(-1)
