"""BEAST's model and loss, against numbers worked by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import cos, exp, log, sin

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import ViTMAEConfig

from napari_lookagain.config import BeastConfig
from napari_lookagain.vision.beast import (
    SHAPES,
    Beast,
    BeastShape,
    Reading,
    beast_losses,
    info_nce,
    patchify,
    positions,
    unpatchify,
)

SHAPE = BeastShape(32, 8, 3, 24, 2, 3, 48, 16, 2, 2, 32, projection_width=20, spread=0.2)
ANCHORS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
POSITIVES = torch.tensor([[1.0, 0.0], [0.6, 0.8]])


def model(mask_ratio: float = 0.75, shape: BeastShape = SHAPE) -> Beast:
    torch.manual_seed(0)
    return Beast(shape, mask_ratio)


def pictures(n: int = 4, channels: int = 3, side: int = 32) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def read(beast: Beast, images: Tensor, seed: int = 2) -> Reading:
    torch.manual_seed(seed)
    return beast(images)


def gradients(beast: Beast, images: Tensor, config: BeastConfig) -> dict[str, set[bool]]:
    """Whether the weights of every part that learns got a gradient."""
    beast_losses(read(beast, images), images, config, beast.shape.patch_size)["loss"].backward()
    parts = {"encoder": beast.vit_mae.vit, "decoder": beast.vit_mae.decoder, "projection": beast.proj}
    return {
        name: {weight.grad is not None for weight in part.parameters() if weight.requires_grad}
        for name, part in parts.items()
    }


def test_the_contrast_of_four_images_worked_by_hand() -> None:
    # Products with the first anchor: 0 (the second), 1 (its positive), 0.6. With the second: 0, 0, 0.8 (its positive).
    first = log(exp(0) + exp(10) + exp(6)) - 10  # 0.018195
    second = log(exp(0) + exp(0) + exp(8)) - 8  # 0.000671
    loss, told = info_nce(torch.cat([ANCHORS, POSITIVES]), temperature=0.1)
    assert (first, second) == pytest.approx((0.018195, 0.000671), abs=1e-6)
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-6)
    assert float(told) == 1.0


def test_the_contrast_knows_which_is_whose_positive() -> None:
    loss, told = info_nce(torch.cat([ANCHORS, POSITIVES.flip(0)]), temperature=0.1)
    first = log(exp(0) + exp(10) + exp(6)) - 6  # its positive is the one at 0.6 now
    second = log(exp(0) + exp(0) + exp(8)) - 0
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-6)
    assert float(told) == 0.0


def test_a_higher_temperature_softens_the_contrast() -> None:
    loss, _ = info_nce(torch.cat([ANCHORS, POSITIVES]), temperature=1.0)
    expected = (log(1 + exp(1) + exp(0.6)) - 1 + log(2 + exp(0.8)) - 0.8) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_reconstruction_is_the_mean_over_all_patches_hidden_or_not() -> None:
    images = pictures()
    painted = patchify(images, 8).clone()
    painted[0, 3, 5] += 3.0
    painted[2, 9, 100] -= 4.0
    hidden = torch.zeros(4, 16, dtype=torch.bool)
    hidden[:, :12] = True
    reading = Reading(painted, hidden, torch.cat([ANCHORS, POSITIVES]))
    losses = beast_losses(reading, images, BeastConfig(reconstruct_weight=2.0, contrast_weight=0.5), 8)
    assert float(losses["reconstruct"]) == pytest.approx((9 + 16) / images.numel(), rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(2 * 25 / images.numel() + 0.5 * float(losses["contrast"]), rel=1e-4)
    assert float(losses["contrast"]) == pytest.approx(0.0094326, abs=1e-6)


def test_the_two_weights_make_vit_m_and_vit_c() -> None:
    images = pictures()
    reading = read(model(), images)
    both = beast_losses(reading, images, BeastConfig(), 8)
    masked = beast_losses(reading, images, BeastConfig(contrast_weight=0), 8)
    contrasted = beast_losses(reading, images, BeastConfig(reconstruct_weight=0), 8)
    assert set(both) == {"loss", "reconstruct", "contrast", "told"}
    assert set(masked) == {"loss", "reconstruct"}
    assert set(contrasted) == {"loss", "contrast", "told"}
    assert_close(masked["loss"], both["reconstruct"])
    assert_close(contrasted["loss"], 0.01 * both["contrast"])
    assert_close(both["loss"], both["reconstruct"] + 0.01 * both["contrast"])


@pytest.mark.parametrize(
    ("config", "untouched"),
    [
        (BeastConfig(), ()),
        (BeastConfig(contrast_weight=0), ("projection",)),
        (BeastConfig(reconstruct_weight=0), ("decoder",)),
    ],
    ids=["BEAST", "ViT-M", "ViT-C"],
)
def test_gradients_reach_every_part_that_the_loss_asks_for(config: BeastConfig, untouched: tuple[str, ...]) -> None:
    beast = model()
    reached = gradients(beast, pictures(), config)
    assert reached == {name: {name not in untouched} for name in ("encoder", "decoder", "projection")}
    seen = beast.vit_mae.vit.embeddings.patch_embeddings.projection.weight.grad
    assert seen is not None
    assert float(seen.abs().max()) > 0
    assert beast.vit_mae.vit.embeddings.position_embeddings.grad is None  # sines and cosines, not learnt
    assert beast.vit_mae.decoder.decoder_pos_embed.grad is None


@pytest.mark.parametrize(("channels", "patch"), [(1, 8), (3, 8), (3, 4)])
def test_patches_are_cut_as_transformers_does_and_put_together_again(channels: int, patch: int) -> None:
    vit_mae = model(shape=replace(SHAPE, channels=channels, patch_size=patch)).vit_mae
    images = pictures(channels=channels)
    patches = patchify(images, patch)
    assert patches.shape == (4, (32 // patch) ** 2, patch * patch * channels)
    assert_close(patches, vit_mae.patchify(images))
    assert torch.equal(unpatchify(patches, patch), images)
    assert_close(unpatchify(patches, patch), vit_mae.unpatchify(patches))


def test_patches_lie_row_by_row_each_as_y_x_channel() -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[0, 1, 8 + 2, 16 + 5] = 1.0  # the green of a pixel in the second row and third column of patches
    assert patchify(images, 8).nonzero().tolist() == [[0, 1 * 4 + 2, (2 * 8 + 5) * 3 + 1]]


@pytest.mark.parametrize(("mask_ratio", "hidden"), [(0.75, 12), (0.5, 8), (0.9, 15)])
def test_of_every_image_the_same_share_of_patches_is_hidden_but_not_the_same_ones(
    mask_ratio: float, hidden: int
) -> None:
    reading = read(model(mask_ratio), pictures(8))
    assert reading.hidden.dtype == torch.bool
    assert reading.hidden.sum(1).tolist() == [hidden] * 8
    assert len(torch.unique(reading.hidden, dim=0)) > 4
    assert reading.patches.shape == (8, 16, 8 * 8 * 3)


def test_what_is_hidden_is_not_seen() -> None:
    beast, images = model().eval(), pictures()
    before = read(beast, images)
    noise = torch.where(before.hidden[..., None], 5 * torch.randn(4, 16, 192), torch.zeros(1))
    after = read(beast, images + unpatchify(noise, 8))
    assert torch.equal(after.hidden, before.hidden)
    assert torch.equal(after.patches, before.patches)
    assert torch.equal(after.projected, before.projected)
    shown = torch.where(before.hidden[..., None], torch.zeros(1), torch.ones(4, 16, 192))
    assert not torch.allclose(read(beast, images + unpatchify(shown, 8)).patches, before.patches, atol=1e-3)


def test_what_is_contrasted_has_length_one() -> None:
    projected = read(model(), pictures()).projected
    assert projected.shape == (4, 20)
    assert_close(projected.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_encoder_and_decoder_know_where_patches_are(size: str) -> None:
    beast, shape = model(shape=SHAPES[size]), SHAPES[size]
    embeddings, decoder = beast.vit_mae.vit.embeddings, beast.vit_mae.decoder
    for where, width in (
        (embeddings.position_embeddings, shape.width),
        (decoder.decoder_pos_embed, shape.decoder_width),
    ):
        assert where.shape == (1, shape.n_patches + 1, width)
        assert not where.requires_grad
        assert where[0, 0].abs().max() == 0  # the class token's
        assert len(torch.unique(where[0, 1:], dim=0)) == shape.n_patches
        laid = where[0, 1:].unflatten(0, (round(shape.n_patches**0.5), -1))  # (row, column, width)
        x, y = laid.chunk(2, dim=2)  # in this order in the public weights
        assert torch.equal(x, x[:1].expand_as(x))
        assert torch.equal(y, y[:, :1].expand_as(y))
    for token in (embeddings.cls_token, decoder.mask_token):
        assert token.requires_grad
        assert token.std().item() == pytest.approx(shape.spread, rel=0.3)


def test_positions_are_those_of_transformers() -> None:
    decoder = model().vit_mae.decoder
    ours = decoder.decoder_pos_embed.clone()
    decoder.decoder_pos_embed.data.zero_()
    decoder.initialize_weights(SHAPE.n_patches)
    assert_close(ours, decoder.decoder_pos_embed)
    third = positions(16, 4)[0, 1 + 4 * 1 + 2]  # of the second row
    assert_close(third, torch.tensor([sin(2), cos(2), sin(1), cos(1)]))


def test_the_decoder_paints_hidden_patches_each_in_its_own_way() -> None:
    with torch.no_grad():
        reading = read(model().eval(), torch.zeros(1, 3, 32, 32))
    assert torch.pdist(reading.patches[0, reading.hidden[0]]).min().item() > 1e-3


def test_the_projection_has_batch_norm_and_as_many_layers_as_asked_for() -> None:
    for depth in (1, 2):
        layers = list(model(shape=replace(SHAPE, projection_depth=depth)).proj.proj)
        assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * depth + [nn.Linear]
        assert layers[-1].out_features == 20


def test_images_are_normalized_by_their_own_kind() -> None:
    grey = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    one = model(shape=replace(SHAPE, channels=1)).normalized(grey)
    assert_close(one, torch.tensor([[[[-2.0, 2.0], [-1.2, -0.4]]]]))
    color = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)  # (1, 1, 1, 3)
    three = model().normalized(color)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert_close(three.flatten(), torch.tensor(expected))
    assert three.shape == (1, 3, 1, 1)


def test_the_sizes_are_told_in_plain_values() -> None:
    assert BeastShape(**json.loads(json.dumps(asdict(SHAPE)))) == SHAPE
    assert SHAPES["base"].vit_mae(0.75).to_dict() == ViTMAEConfig().to_dict()  # ViT-B/16
    assert [SHAPES[size].n_patches for size in ("tiny", "small", "base")] == [36, 196, 196]
