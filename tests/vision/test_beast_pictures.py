"""Reconstructions: what was hidden is hidden, what was given is given, and what is painted is what the decoder says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_lookagain.vision.beast import Beast, BeastShape
from napari_lookagain.vision.beast_pictures import reconstructions


@pytest.fixture(params=[1, 3], ids=["grey", "color"])
def beast(request) -> Beast:
    torch.manual_seed(0)
    sizes = {"width": 16, "depth": 1, "heads": 2, "hidden": 16}
    decoder = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "decoder_hidden": 16}
    return Beast(BeastShape(24, 6, request.param, **sizes, **decoder, projection_width=8, spread=0.3))


def images(beast: Beast, n: int = 20) -> np.ndarray:
    color = () if beast.shape.channels == 1 else (3,)
    return np.random.default_rng(0).integers(0, 256, (n, 24, 24, *color), dtype=np.uint8)


def hidden(found: np.ndarray) -> np.ndarray:
    """Which patches the eye did not get, (n, rows, columns)."""
    return (found[:, 1] == 128).reshape(len(found), 4, 6, 4, 6, -1).all(axis=(2, 4, 5))


def test_a_quarter_of_the_patches_is_given_and_the_rest_is_grey(beast):
    shown = images(beast)
    found = reconstructions(beast, shown)
    assert (found.shape, found.dtype) == ((20, 3, *shown.shape[1:]), np.uint8)
    assert_array_equal(found[:, 0], shown)
    grey = hidden(found)
    assert_array_equal(grey.sum(axis=(1, 2)), np.full(20, 12))
    given = ~grey.repeat(6, axis=1).repeat(6, axis=2)
    assert_array_equal(found[:, 1][given], shown[given])


def test_what_is_painted_is_what_the_decoder_says(beast):
    shown = images(beast)
    with torch.no_grad():
        beast.vit_mae.decoder.decoder_pred.weight.zero_()
        beast.vit_mae.decoder.decoder_pred.bias.fill_(-0.5)
    level = 255 * (beast.mean - 0.5 * beast.std).flatten()
    painted = reconstructions(beast, shown)[:, 2].reshape(-1, beast.shape.channels)
    assert_array_equal(painted, np.broadcast_to(level.round().numpy(), painted.shape))


def test_a_seed_hides_the_same_patches_of_every_image(beast):
    shown = images(beast)
    one, again, other = (reconstructions(beast, each, seed) for each, seed in ((shown, 1), (shown, 1), (shown, 2)))
    assert_array_equal(one, again)
    assert (one[:, 1] != other[:, 1]).any()
    assert_array_equal(hidden(reconstructions(beast, 255 - shown[:1], 1))[0], hidden(one)[0])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    reconstructions(beast, shown[:1])
    assert_array_equal(torch.random.get_rng_state(), before)  # a training beside it draws the same numbers
