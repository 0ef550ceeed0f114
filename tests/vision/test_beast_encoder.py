"""The eye that BEAST leaves, against a forward pass written by hand and against transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear
from transformers import ViTMAEModel

from napari_lookagain.errors import InputError
from napari_lookagain.vision.beast import Beast, BeastShape
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.encoder import What, load_encoder, save_encoder

GREY = BeastShape(32, 8, 1, 24, 2, 3, 48, 16, 1, 2, 32, projection_width=24, spread=0.2)
COLOR = replace(GREY, channels=3)
KINDS: tuple[What, ...] = get_args(What)


def beast(shape: BeastShape = GREY, seed: int = 0) -> Beast:
    torch.manual_seed(seed)
    model = Beast(shape)
    for name, weight in model.vit_mae.vit.named_parameters():
        if "norm" in name or name.endswith("bias"):  # which start as 1 and 0, and would hide what is left out
            weight.data += 0.3 * torch.randn(weight.shape)
    return model


def images(n: int = 5, shape: BeastShape = GREY, seed: int = 1) -> np.ndarray:
    size = (n, 32, 32) if shape.channels == 1 else (n, 32, 32, 3)
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def by_hand(weights: dict[str, Tensor], pixels: Tensor, shape: BeastShape) -> Tensor:
    """Class token and patches (N, 1 + P, D) of normalized images: a pre-norm vision transformer in plain torch."""

    def layer(name: str, x: Tensor) -> Tensor:
        return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, (shape.width,), weights[f"{name}.weight"], weights[f"{name}.bias"], shape.layer_norm_eps)

    kernel, bias = (weights[f"embeddings.patch_embeddings.projection.{part}"] for part in ("weight", "bias"))
    x = conv2d(pixels, kernel, bias, stride=shape.patch_size).flatten(2).transpose(1, 2)  # (N, P, D), row by row
    x = (
        torch.cat([weights["embeddings.cls_token"].expand(len(x), -1, -1), x], 1)
        + weights["embeddings.position_embeddings"]
    )
    for i in range(shape.depth):
        normed = norm(f"layers.{i}.layernorm_before", x)
        query, key, value = (
            layer(f"layers.{i}.attention.{part}_proj", normed).unflatten(2, (shape.heads, -1)).transpose(1, 2)
            for part in "qkv"
        )
        share = (query @ key.transpose(2, 3) / (shape.width / shape.heads) ** 0.5).softmax(3)
        x = x + layer(f"layers.{i}.attention.o_proj", (share @ value).transpose(1, 2).flatten(2))
        inner = gelu(layer(f"layers.{i}.mlp.fc1", norm(f"layers.{i}.layernorm_after", x)))
        x = x + layer(f"layers.{i}.mlp.fc2", inner)
    return norm("layernorm", x)


@pytest.mark.parametrize("shape", [GREY, COLOR], ids=["grey", "color"])
def test_features_are_those_of_a_forward_pass_written_by_hand(shape: BeastShape) -> None:
    model, pixels = beast(shape), images(shape=shape)
    encoder = BeastEncoder.of(model)
    mean, std = (
        (0.5, 0.25) if shape.channels == 1 else (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
    )
    scaled = torch.tensor((pixels / 255 - mean) / std, dtype=torch.float32)
    scaled = scaled[:, None] if shape.channels == 1 else scaled.permute(0, 3, 1, 2)
    with torch.no_grad():
        tokens = by_hand(model.vit_mae.vit.state_dict(), scaled, shape).numpy()
    assert tokens.std() > 0.3
    assert_allclose(encoder.encode(pixels, "cls"), tokens[:, 0], atol=1e-5)
    assert_allclose(encoder.encode(pixels, "patches"), tokens[:, 1:], atol=1e-5)
    assert_allclose(encoder.encode(pixels), tokens[:, 1:].mean(1), atol=1e-5)
    assert (encoder.width, encoder.n_patches, encoder.size, encoder.kind) == (24, 16, 32, "beast")
    assert encoder.grey == (shape.channels == 1)


def test_features_are_those_of_transformers_however_it_shuffles_the_patches() -> None:
    model, pixels = beast(), images()
    vit = ViTMAEModel(GREY.vit_mae(mask_ratio=0.0)).eval()
    vit.load_state_dict(model.vit_mae.vit.state_dict())
    with torch.inference_mode():
        seen = vit(model.normalized(torch.from_numpy(pixels)), noise=torch.rand(5, 16))
        patches = torch.gather(seen.last_hidden_state[:, 1:], 1, seen.ids_restore[..., None].expand(-1, -1, 24))
    encoder = BeastEncoder.of(model)
    assert_allclose(encoder.encode(pixels, "patches"), patches.numpy(), atol=1e-5)
    assert_allclose(encoder.encode(pixels, "cls"), seen.last_hidden_state[:, 0].numpy(), atol=1e-5)


def test_patches_come_row_by_row() -> None:
    encoder, dark = BeastEncoder.of(beast()), np.zeros((17, 32, 32), np.uint8)
    for patch in range(16):
        y, x = patch // 4 * 8, patch % 4 * 8
        dark[patch, y : y + 8, x : x + 8] = 255
    patches = encoder.encode(dark, "patches")
    change = np.linalg.norm(patches[:16] - patches[16], axis=2)  # (which is bright, which changed)
    assert_array_equal(change.argmax(1), np.arange(16))
    assert np.linalg.norm(patches[16][:, None] - patches[16], axis=2)[~np.eye(16, dtype=bool)].min() > 0.1  # positions


@pytest.mark.parametrize("what", KINDS)
def test_features_do_not_depend_on_chance_or_on_the_batch(what: What) -> None:
    encoder, pixels = BeastEncoder.of(beast()), images(70)  # more than go through in one pass
    features = encoder.encode(pixels, what)
    assert features.dtype == np.float32
    assert features.shape == (70, 16, 24) if what == "patches" else (70, 24)
    torch.manual_seed(9)
    assert_allclose(encoder.encode(pixels[60:], what), features[60:], atol=1e-5)
    assert encoder.encode(pixels[:0], what).shape == (0, *features.shape[1:])


@pytest.mark.parametrize("what", KINDS)
def test_features_are_components_half_the_way_to_unit_variance(what: What) -> None:
    pixels = images(100) // np.random.default_rng(3).integers(1, 9, (100, 1, 1)).astype(np.uint8)
    plain, scaled = BeastEncoder.of(beast()), BeastEncoder.of(beast(), pixels)
    features, raw = scaled.encode(pixels, what).reshape(-1, 24), plain.encode(pixels, what).reshape(-1, 24)
    assert_allclose(features.mean(0), 0, atol=1e-3)
    covariance = np.cov(features.T, bias=True)
    assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)
    fitted = PCA(24).fit(raw)
    variance = fitted.explained_variance_ * (len(raw) - 1) / len(raw)
    variance[variance < 1e-6 * variance[0]] = 0  # the last layer norm leaves 23 ways to differ
    assert_allclose(np.diag(covariance), variance**0.5, rtol=1e-2, atol=1e-6)
    other = plain.encode(images(3, seed=8), what).reshape(-1, 24)
    strong = variance > 1e-3 * variance[0]  # the directions of weaker ones are not told so well
    expected = fitted.transform(other)[:, strong] / variance[strong] ** 0.25
    found = scaled.encode(images(3, seed=8), what).reshape(-1, 24)[:, strong]
    assert_allclose(np.abs(found), np.abs(expected), rtol=1e-2, atol=1e-2)


def test_the_scale_does_not_depend_on_how_images_come() -> None:
    pixels = images(40)
    one, two = BeastEncoder.of(beast(), pixels), BeastEncoder.of(beast())
    told = list(two.take_scale((image for image in pixels), 40))
    assert [each.done for each in told] == [16, 32, 40]
    assert two.fingerprint == one.fingerprint
    for what in KINDS:
        components = one.scale[what][1:].numpy()
        strongest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
        assert (strongest >= 0).all()  # of two directions the same one, whatever the decomposition came upon


def test_images_that_do_not_differ_give_no_features_without_bounds() -> None:
    encoder = BeastEncoder.of(beast(), np.repeat(images(1), 70, axis=0))
    assert all(np.abs(encoder.encode(images(4), what)).max() < 1e3 for what in KINDS)


def test_making_an_encoder_leaves_the_model_as_it_is() -> None:
    model = beast()
    encoder = BeastEncoder.of(model)
    assert model.vit_mae.config.mask_ratio == 0.75
    assert all(weight.requires_grad for name, weight in model.vit_mae.vit.named_parameters() if "position" not in name)
    before = encoder.encode(images())
    for weight in model.vit_mae.vit.parameters():
        weight.data.zero_()
    assert_array_equal(encoder.encode(images()), before)


def test_an_encoder_comes_back_from_its_folder(tmp_path: Path) -> None:
    encoder = BeastEncoder.of(beast(COLOR), images(40, COLOR))
    save_encoder(encoder, tmp_path / "eye")
    assert {path.name for path in (tmp_path / "eye").iterdir()} == {"encoder.json", "beast.json", "encoder.safetensors"}
    loaded = load_encoder(tmp_path / "eye")
    assert isinstance(loaded, BeastEncoder)
    assert (loaded.shape, loaded.fingerprint) == (COLOR, encoder.fingerprint)
    for what in KINDS:
        assert_array_equal(loaded.encode(images(3, COLOR), what), encoder.encode(images(3, COLOR), what))


def test_the_fingerprint_tells_weights_scales_and_sizes(tmp_path: Path) -> None:
    model = beast()
    prints = [BeastEncoder.of(model).fingerprint, BeastEncoder.of(model, images(20)).fingerprint]
    assert BeastEncoder.of(model).fingerprint == prints[0]
    model.vit_mae.decoder.decoder_pred.bias.data += 1  # is no part of the encoder
    assert BeastEncoder.of(model).fingerprint == prints[0]
    model.vit_mae.vit.layers[1].mlp.fc2.bias.data[3] += 1
    prints.append(BeastEncoder.of(model).fingerprint)
    prints += [BeastEncoder.of(beast(replace(GREY, heads=2))).fingerprint, BeastEncoder.of(beast(seed=1)).fingerprint]
    assert len(set(prints)) == len(prints)


def test_weights_that_changed_since_are_refused(tmp_path: Path) -> None:
    save_encoder(BeastEncoder.of(beast()), tmp_path)
    BeastEncoder.of(beast(seed=1)).save(tmp_path)
    with pytest.raises(InputError, match="no longer has the weights with which"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"vit.layers.1.mlp.fc1.bias": None},
        {"vit.layers.1.mlp.fc1.bias": torch.ones(3)},
        {"vit.more": torch.ones(3)},
        {"mean": None},
        {"scale.cls": torch.ones(2, 24)},
    ],
    ids=["lost", "short", "more", "no mean", "scale"],
)
def test_an_encoder_of_other_weights_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    BeastEncoder.of(beast()).save(tmp_path)
    weights = load_file(tmp_path / "encoder.safetensors") | change
    save_file({name: value for name, value in weights.items() if value is not None}, tmp_path / "encoder.safetensors")
    with pytest.raises(
        InputError, match="does not hold a whole BEAST encoder .*; pretrain it again or copy it anew"
    ) as told:
        BeastEncoder.load(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"image_size": "wide"}', '{"image_size": 0}', '{"sides": 4}', "null"]
)
def test_damaged_sizes_are_refused(tmp_path: Path, text: str) -> None:
    BeastEncoder.of(beast()).save(tmp_path)
    assert json.loads((tmp_path / "beast.json").read_text())["width"] == 24
    (tmp_path / "beast.json").write_text(text)
    with pytest.raises(InputError, match="does not hold a whole BEAST encoder"):
        BeastEncoder.load(tmp_path)


@pytest.mark.parametrize("name", ["beast.json", "encoder.safetensors"])
def test_missing_and_cut_files_are_refused(tmp_path: Path, name: str) -> None:
    BeastEncoder.of(beast()).save(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-40])
    for _ in range(2):
        with pytest.raises(InputError, match="does not hold a whole BEAST encoder"):
            BeastEncoder.load(tmp_path)
        path.unlink(missing_ok=True)


def test_images_of_another_kind_are_refused() -> None:
    for shape, told in ((GREY, r"\(N, 32, 32\)"), (COLOR, r"\(N, 32, 32, 3\)")):
        encoder, fitting = BeastEncoder.of(beast(shape)), images(2, shape)
        for wrong in (
            fitting[:, :16],
            fitting.astype(np.float32),
            fitting[0],
            images(2, COLOR if shape == GREY else GREY),
        ):
            with pytest.raises(InputError, match=f"expected uint8 images of shape {told}"):
                encoder.encode(wrong)


def test_an_eye_that_was_not_pretrained_cannot_be_loaded() -> None:
    with pytest.raises(InputError, match=r"'beast' is fitted on a session's own crops .* lookagain beast pretrain"):
        load_encoder("beast")
