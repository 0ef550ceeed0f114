"""What BEAST is shown at a time: anchors with a neighbor in time, each cropped at random."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

_ASPECT = (3 / 4, 4 / 3)  # of random crops, as in MAE


def draw_batches(n_anchors: int, n_batches: int, pairs: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """All anchors once, in random order, in batches; each with a positive from one frame before or after.

    Yields
    ------
    np.ndarray
        (2, n) indices of anchors and of their positives in the triplet, 0 or 2. Without pairs the second row is 1, the
        anchor itself: it is alone.
    """
    side = rng.integers(0, 2, n_anchors) * 2 if pairs else np.ones(n_anchors, int)
    order = rng.permutation(n_anchors)
    for batch in np.array_split(order, n_batches):
        yield np.stack([batch, side[batch]])


def augmented(images: Tensor, area: tuple[float, float], flip: float) -> Tensor:
    """A random crop of every image (B, C, S, S), resized to its size, and some mirrored (appendix B.2 of the paper).

    The paper does not state whether the two images of a pair are cropped alike; here each is drawn on its own (◇).
    """
    n, device = len(images), images.device
    share = torch.empty(n, device=device).uniform_(*area)
    aspect = torch.empty(n, device=device).uniform_(*(math.log(each) for each in _ASPECT)).exp()
    width = (share * aspect).sqrt().clamp(max=1).maximum(share)  # so that the height is at most 1, too
    height = share / width
    x, y = ((2 * torch.rand(n, device=device) - 1) * (1 - side) for side in (width, height))
    mirror = torch.where(torch.rand(n, device=device) < flip, -1.0, 1.0)
    zero = torch.zeros_like(x)
    crop = torch.stack([torch.stack([width * mirror, zero, x], -1), torch.stack([zero, height, y], -1)], 1)  # (B, 2, 3)
    grid = affine_grid(crop, list(images.shape), align_corners=False)
    edge = 1 - 1 / images.shape[-1]  # the middle of the outermost pixels, beyond which they go on
    return grid_sample(images, grid.clamp(-edge, edge), align_corners=False)


def take_images(triplets: np.ndarray, part: np.ndarray, pairs: bool) -> np.ndarray:
    """Anchors (n, S, S[, 3]), with pairs followed by their positives."""
    anchors = triplets[part[0], 1]
    return np.concatenate([anchors, triplets[part[0], part[1]]]) if pairs else anchors
