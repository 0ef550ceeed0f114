"""What an encoder tells patches apart by, as colors: their first three principal components (appendix B.5 of BEAST)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.vision.encoder import VisionEncoder

_TAILS = (1.0, 99.0)  # percentiles of a component that become 0 and 255


@dataclass(frozen=True, eq=False)
class PatchColors:
    """A way to paint patches, the same for every image: patches of one color are alike to the encoder.

    Parameters
    ----------
    ground
        (3, D_v) what is taken off before: the mean, and how much a feature grows across an image and down it.
    components
        (3, D_v) first principal components, the strongest first. Fewer features leave rows of zeros.
    low, high
        (3,) what becomes 0 and what becomes 255 in red, green and blue.
    """

    ground: np.ndarray
    components: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, encoder: VisionEncoder, images: np.ndarray) -> PatchColors:
        """Find the components over all patches of images, (N, S, S[, 3]) uint8.

        The paper fits to 100 frames, and states neither sign nor scale. Here (◇) the sign is that by which few patches
        are bright, so that it is the same for other images of the same animals, and the scale is that of all but the
        outermost 1 % on either side. What features grow by from side to side and from top to bottom of all images is
        taken off before (◇): an eye of few patches otherwise shows little else than where they are.

        Raises
        ------
        InputError
            When the encoder has no patches in a square, or the images do not fit it.
        """
        features = encoder.encode(images, "patches").astype(np.float64)  # (N, P, D_v)
        ground = np.linalg.lstsq(_places(encoder), features.mean(0), rcond=None)[0]
        centered = (features - _places(encoder) @ ground).reshape(-1, encoder.width)  # (N · P, D_v)
        _, axes = np.linalg.eigh(centered.T @ centered)  # rising
        components = np.zeros((3, encoder.width))
        found = axes[:, ::-1][:, :3].T
        components[: len(found)] = found
        scores = centered @ components.T  # (N · P, 3)
        sign = np.where((scores**3).sum(0) < 0, -1.0, 1.0)
        low, high = np.percentile(scores * sign, _TAILS, axis=0)
        return cls(ground, components * sign[:, None], low, high)

    def paint(self, encoder: VisionEncoder, images: np.ndarray) -> np.ndarray:
        """Color the patches of images (N, S, S[, 3]) uint8, as images (N, S, S, 3) uint8 of the same size."""
        features = encoder.encode(images, "patches") - _places(encoder) @ self.ground  # (N, P, D_v)
        span = np.maximum(self.high - self.low, 1e-9)
        shade = np.clip((features @ self.components.T - self.low) / span, 0, 1)  # (N, P, 3)
        n = round(encoder.n_patches**0.5)
        grid = np.round(255 * shade).astype(np.uint8).reshape(-1, n, n, 3)
        side = np.arange(encoder.size) * n // encoder.size  # the patch that a row or column of pixels belongs to
        return grid[:, side][:, :, side]


def _places(encoder: VisionEncoder) -> np.ndarray:
    """1, and where a patch is across and down the image, from −1 to 1: (P, 3)."""
    n = round(encoder.n_patches**0.5)
    if n * n != encoder.n_patches:
        raise InputError(
            f"{encoder.name} has {encoder.n_patches} patches, which lie in no square; take another encoder."
        )
    down, across = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j].reshape(2, -1)
    return np.stack([np.ones(n * n), across, down], axis=1)


def patch_colors(encoder: VisionEncoder, images: np.ndarray) -> np.ndarray:
    """Paint images (N, S, S[, 3]) uint8 by their own patches: (N, S, S, 3) uint8; see `PatchColors`."""
    return PatchColors.fit(encoder, images).paint(encoder, images)
