"""Colors of patches: alike is one color, whatever the sign of a component and the number of images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_lookagain.errors import InputError
from napari_lookagain.vision.patch_colors import PatchColors, patch_colors
from napari_lookagain.vision.pca import PCAEncoder


def encoder(width: int = 6, turn: np.ndarray | None = None) -> SimpleNamespace:
    """An eye of 4 × 4 patches of 2 pixels, whose features of a patch are powers of its brightness, turned or not."""

    def encode(images: np.ndarray, what: str) -> np.ndarray:
        assert what == "patches"
        shade = images[:, ::2, ::2].reshape(len(images), 16, 1) / 255.0
        features = np.concatenate([shade ** (k + 1) / (k + 1) for k in range(width)], axis=-1).astype(np.float32)
        return features if turn is None else features @ turn

    return SimpleNamespace(encode=encode, width=width, n_patches=16, size=8)


def images(n: int = 6, seed: int = 0) -> np.ndarray:
    """Patches of which most are dark."""
    shade = np.random.default_rng(seed).uniform(0, 1, (n, 4, 4)) ** 4
    return (255 * shade).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)


def test_patches_are_where_they_are_and_alike_ones_have_one_color():
    shown = images(100)
    shown[0, :2, :2] = shown[0, 6:, 6:] = 200
    painted = patch_colors(encoder(), shown)
    assert (painted.shape, painted.dtype) == ((100, 8, 8, 3), np.uint8)
    assert_allclose(painted[0, :2, :2, 0].astype(int), painted[0, 6:, 6:, 0], atol=40)
    assert_array_equal(painted, painted[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2))
    bright = shown[:, ::2, ::2] > 200
    red = painted[:, ::2, ::2, 0]
    assert red[bright].min() > red[shown[:, ::2, ::2] < 20].max()  # the rare is bright


def test_the_same_colors_however_features_are_turned():
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    plain, turned, mirrored = (
        patch_colors(encoder(turn=t), images()) for t in (None, turn.astype(np.float32), -np.eye(6))
    )
    assert np.abs(plain.astype(int) - turned).max() <= 1
    assert np.abs(plain.astype(int) - mirrored).max() <= 1


def test_where_a_patch_is_does_not_color_it():
    """A feature that grows across all images alike says nothing of what is there."""
    plain = encoder()
    across = np.linspace(-9, 9, 4)[None, :].repeat(4, axis=0).reshape(16, 1)
    tilted = SimpleNamespace(**{**vars(plain), "encode": lambda shown, what: plain.encode(shown, what) + across})
    difference = patch_colors(tilted, images(40)).astype(int) - patch_colors(plain, images(40))
    assert np.abs(difference).max() <= 1


def test_one_way_to_paint_serves_every_image():
    colors = PatchColors.fit(encoder(), images(40))
    some = images(3, seed=5)
    assert_array_equal(colors.paint(encoder(), some)[1:2], colors.paint(encoder(), some[1:2]))


@pytest.mark.parametrize("width", [1, 2])
def test_fewer_features_than_colors_leave_colors_dark(width):
    painted = patch_colors(encoder(width), images())
    assert painted[..., :width].max() == 255
    assert painted[..., width:].max() == 0


def test_images_of_one_shade_are_painted_without_a_warning():
    assert patch_colors(encoder(), np.full((2, 8, 8), 7, np.uint8)).shape == (2, 8, 8, 3)


def test_an_encoder_without_patches_is_refused():
    shown = np.random.default_rng(0).integers(0, 256, (8, 16, 16), dtype=np.uint8)
    with pytest.raises(InputError, match="in no square"):
        patch_colors(SimpleNamespace(**{**vars(encoder()), "n_patches": 15, "name": "odd"}), images())
    with pytest.raises(InputError, match="has no patches"):
        patch_colors(PCAEncoder.fit(shown, 4), shown)
