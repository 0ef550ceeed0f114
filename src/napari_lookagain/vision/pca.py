"""The encoder that needs no download: principal components of small grey crops."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.vision.encoder import What

_FILE = "encoder.safetensors"
_MOST_IMAGES = 10_000  # enough for the mean and 64 components of 48 x 48 pixels; bounds the memory of a fit to 0.3 GB
_LEAST_VARIANCE = 1e-6  # of the first component's; below it lies rounding, which scaling would blow up


@dataclass(frozen=True, eq=False)
class PCAEncoder:
    """Principal components of flattened grey images, each divided by the square root of its standard deviation.

    That is half the way to unit variance. All on one scale, a limb that moves few pixels is learnt too slowly; all of
    unit variance, the many components that hold little but noise are learnt by heart (`docs/results.md`). Components
    too weak to be more than rounding are left out. The paper has no such encoder.

    Parameters
    ----------
    mean
        Mean image, (size * size,) float32, 0-1.
    components
        Features per unit of brightness, (width, size * size) float32: unit vectors over the root of their deviation.
    """

    mean: np.ndarray
    components: np.ndarray

    kind: ClassVar[str] = "pca"
    name: ClassVar[str] = "pca"
    n_patches: ClassVar[int] = 0
    grey: ClassVar[bool] = True

    @classmethod
    def fit(cls, images: np.ndarray, components: int = 64, seed: int = 0) -> PCAEncoder:
        """Fit to the crops of training frames; no other image may be among them.

        Parameters
        ----------
        images
            Grey images, (N, size, size) uint8. Of more than 10 000, as many are drawn at random.
        components
            Features wanted, D_v. Images that do not vary in so many ways give fewer, with a warning.
        seed
            Of the draw and of the randomized decomposition; the same seed gives the same encoder.

        Raises
        ------
        InputError
            When the images are not square, grey and uint8, or do not differ.
        """
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        _check(images, None)
        if components < 1:
            raise InputError(f"PCA was asked for {components} components; ask for at least 1.")
        if len(images) > _MOST_IMAGES:
            chosen = np.random.default_rng(seed).choice(len(images), _MOST_IMAGES, replace=False)
            images = images[np.sort(chosen)]
        if len(images) < 2 or (images == images[0]).all():
            raise InputError(
                f"PCA got {len(images)} images that do not differ, expected crops of different frames; "
                "check that the video shows something and that the keypoints lie in it."
            )
        flat = images.reshape(len(images), -1).astype(np.float32) / 255
        pca = PCA(min(components, *flat.shape), svd_solver="randomized", random_state=seed)
        with threadpool_limits(1):  # rounding depends on their number, and the same seed gives the same encoder
            pca.fit(flat)
        kept = pca.explained_variance_ > _LEAST_VARIANCE * pca.explained_variance_[0]
        if kept.sum() < components:
            warnings.warn(
                f"{len(images)} crops vary in only {kept.sum()} ways, so the PCA encoder has {kept.sum()} components "
                f"instead of {components}.",
                UserWarning,
                stacklevel=2,
            )
        scaled = pca.components_[kept] / pca.explained_variance_[kept, None] ** 0.25
        return cls(pca.mean_.astype(np.float32), scaled.astype(np.float32))

    @property
    def width(self) -> int:
        """Number of features, D_v."""
        return len(self.components)

    @property
    def size(self) -> int:
        """Side of the square images it takes, pixels."""
        return round(self.mean.size**0.5)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights."""
        return blake2b(self.mean.tobytes() + self.components.tobytes(), digest_size=16).hexdigest()

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        """Encode grey images (N, size, size) uint8 into features (N, width) float32.

        Raises
        ------
        InputError
            When the images have another size or kind than those fitted, or class tokens or patches are asked for.
        """
        if what != "mean":
            raise InputError(
                f"The encoder 'pca' has no {'patches' if what == 'patches' else 'class token'}: it gives one vector of "
                "an image; use vision.pooling=mean, or another encoder such as 'beast'."
            )
        _check(images, self.size)
        # In doubles: how a sum of floats is rounded depends on how many images there are, and how many threads.
        flat = images.reshape(len(images), self.mean.size) / 255
        return ((flat - self.mean) @ self.components.T.astype(float)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the weights into a folder as `encoder.safetensors`."""
        from safetensors.numpy import save

        with atomic_path(Path(folder) / _FILE) as path:
            path.write_bytes(save({"mean": self.mean, "components": self.components}))

    @classmethod
    def load(cls, folder: str | Path) -> PCAEncoder:
        """Read the weights that `save` wrote.

        Raises
        ------
        InputError
            When the file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = Path(folder) / _FILE
        try:
            weights = load_file(path)
            mean, components = weights["mean"], weights["components"]
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"{path} does not hold the weights of a PCA encoder; save the model again.") from error
        if mean.ndim != 1 or components.ndim != 2 or components.shape[1] != mean.size:
            raise InputError(
                f"{path} holds a mean of shape {mean.shape} and components of shape {components.shape}, "
                "which do not belong together; save the model again."
            )
        return cls(mean, components)


def _check(images: np.ndarray, size: int | None) -> None:
    wanted = "size" if size is None else str(size)
    square = images.ndim == 3 and images.shape[1] == images.shape[2] and size in (None, images.shape[1])
    if not square or images.dtype != np.uint8:
        raise InputError(
            f"The PCA encoder got images of shape {images.shape} and type {images.dtype}, "
            f"expected grey uint8 images of shape (N, {wanted}, {wanted})."
        )
