"""BEAST, appendix E.1 and E.4: the heads that tell behaviors from features of every frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lookagain.actions.config import HeadConfig
from napari_lookagain.model.layers import at
from napari_lookagain.model.losses import log_weights
from napari_lookagain.model.pooling import AttentionPooling


class LinearHead(nn.Module):
    """One 1-D temporal convolution, then a linear layer: nothing of it is nonlinear.

    The paper does not state how many channels lie between the two; it makes no difference to what can be learnt while
    there are at least as many as classes.

    Parameters
    ----------
    width
        Features of a frame.
    n_classes
        K.
    hidden
        Channels between convolution and linear layer.
    filter_length
        Frames of the filter, an odd number.
    """

    def __init__(self, width: int, n_classes: int, hidden: int, filter_length: int) -> None:
        super().__init__()
        self.reach = filter_length // 2
        self.filter = nn.Conv1d(width, hidden, filter_length, padding="same")
        self.classify = nn.Linear(hidden, n_classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (S, L, F) to logits (S, L, K); `valid` is (S, L) bool, and frames beyond it are zeros to the filter."""
        return self.classify(self.filter(at(valid, x).transpose(1, 2)).transpose(1, 2))


class DilatedTCN(nn.Module):
    """Temporal convolution network (Lea et al., 2016) of dilation blocks, then a linear layer.

    The first block has dilation 1, every next one twice that of the one before, so that the network sees far with few
    weights: `reach` frames to each side, 24 for two blocks of filters of 9 frames.

    Parameters
    ----------
    width, n_classes, hidden, filter_length
        As in `LinearHead`.
    blocks
        Dilation blocks; 2 in the paper.
    dropout
        After every convolution; 0.1 in the paper.
    """

    def __init__(
        self, width: int, n_classes: int, hidden: int, filter_length: int, blocks: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        widths = [width, *(hidden for _ in range(blocks))]
        self.blocks = nn.ModuleList(
            _DilationBlock(widths[i], hidden, filter_length, 2**i, dropout) for i in range(blocks)
        )
        self.reach = 2 * (filter_length // 2) * (2**blocks - 1)
        self.classify = nn.Linear(hidden, n_classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (S, L, F) to logits (S, L, K); `valid` is (S, L) bool, and frames beyond it are zeros to every filter."""
        for block in self.blocks:
            x = block(x, valid)
        return self.classify(x)


class _DilationBlock(nn.Module):
    """Twice convolution, leaky ReLU and dropout, around which the input is added, projected where widths differ."""

    def __init__(self, width: int, hidden: int, filter_length: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.filters = nn.ModuleList(
            nn.Conv1d(channels, hidden, filter_length, padding="same", dilation=dilation)
            for channels in (width, hidden)
        )
        self.project = nn.Identity() if width == hidden else nn.Linear(width, hidden)  # a convolution of 1 × 1

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (S, L, width) to (S, L, hidden)."""
        y = x
        for convolve in self.filters:
            y = F.leaky_relu(convolve(at(valid, y).transpose(1, 2)).transpose(1, 2))
            y = F.dropout(y, self.dropout, self.training)
        return self.project(x) + y


class ActionHead(nn.Module):
    """From what is read of every frame to logits: standardize, pool patches, append differences, filter, classify.

    Parameters
    ----------
    width
        Features of a frame but for its patches.
    patches
        How many patches of which width follow them, (P, D); (0, 0) when none are read.
    n_classes
        K.
    config
        Which head, of what size.
    """

    mean: Tensor
    scale: Tensor
    log_weights: Tensor

    def __init__(self, width: int, patches: tuple[int, int], n_classes: int, config: HeadConfig) -> None:
        super().__init__()
        self.width, self.patches, self.difference = width, patches, config.difference
        columns = width + patches[1]
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.register_buffer("log_weights", torch.zeros(n_classes))
        self.pool = AttentionPooling(patches[1], config.pooling_heads) if patches[0] else None
        columns *= 2 if config.difference else 1
        self.filters: LinearHead | DilatedTCN
        if config.kind == "linear":
            self.filters = LinearHead(columns, n_classes, config.hidden, config.filter_length)
        else:
            self.filters = DilatedTCN(
                columns, n_classes, config.hidden, config.filter_length, config.blocks, config.dropout
            )

    @property
    def reach(self) -> int:
        """Frames to each side that the logits of a frame depend on."""
        return self.filters.reach + self.difference

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Give logits (S, L, K) of features (S, L, width + P · D); `valid` is (S, L) bool, False at padding."""
        frames = (x[..., : self.width] - self.mean[: self.width]) / self.scale[: self.width]
        if self.pool is not None:
            patches = x[..., self.width :].unflatten(-1, self.patches)  # (S, L, P, D)
            pooled = self.pool((patches - self.mean[self.width :]) / self.scale[self.width :])
            frames = torch.cat([frames, pooled], -1)
        if self.difference:  # of the first frame of a sequence 0
            frames = torch.cat([frames, F.pad(frames.diff(dim=1), (0, 0, 1, 0))], -1)
        return self.filters(frames, valid)

    def correct_prior(self, weights: Tensor) -> None:
        """Give probabilities by the frequencies of the classes in training, though the loss weighs them alike.

        As `napari_lookagain.model.heads.BehaviorHead.correct_prior`; without this step the softmax is taken as it is,
        which is the paper's form.
        """
        self.log_weights.copy_(log_weights(weights))
