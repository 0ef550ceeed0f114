"""Weights that BEAST starts from, as tiny models laid out on disk exactly as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ViTMAEModel

from napari_lookagain.config import BeastConfig
from napari_lookagain.errors import InputError
from napari_lookagain.vision.beast import SHAPES, Beast, BeastShape
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.beast_weights import load_beast, save_beast, start_beast
from napari_lookagain.vision.encoder import load_encoder

SHAPE = BeastShape(32, 8, 3, 24, 2, 3, 40, 16, 1, 2, 20, projection_width=24)
TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
TINY |= {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
TINY |= {"decoder_intermediate_size": 20, "image_size": 32, "patch_size": 8, "num_channels": 3}
HUB = {"model_type": "vit_mae", "architectures": ["ViTMAEForPreTraining"], **TINY}
BEFORE = (  # what transformers called weights before its version 5, which all public files still do
    ("vit.layers.", "vit.encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)


def beast(depth: int = 1, width: int = 24, seed: int = 0) -> Beast:
    """A model of which every number is random, also those of norms, biases and batch statistics."""
    torch.manual_seed(seed)
    model = Beast(BeastShape(**(vars(SHAPE) | {"projection_depth": depth, "projection_width": width})))
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape) + 0.5)
        elif name not in ("mean", "std"):
            value.copy_(torch.rand(value.shape) - 0.3 if value.is_floating_point() else torch.tensor(7))
    return model


def old(name: str) -> str:
    for now, before in BEFORE:
        name = name.replace(now, before)
    return name


def hub(folder: Path, kind: str = "old", without: str = "", **more: Any) -> Path:
    """A folder of the hub, with the ViT-MAE of `beast()`: names of today, of before, or of before in a pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(HUB | more))
    state = {
        key: value for key, value in beast().vit_mae.state_dict().items() if not (without and key.startswith(without))
    }
    named = {key if kind == "new" else old(key): value for key, value in state.items()}
    if kind == "bin":
        torch.save(named, folder / "pytorch_model.bin")
    else:
        save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def public(folder: Path, depth: int = 2, contrast: bool = True, **more: Any) -> Path:
    """A folder of the public code: config.yaml, and what Lightning saved some levels below."""
    state = {old(key): value for key, value in beast(depth, 20).state_dict().items() if key not in ("mean", "std")}
    if not contrast:
        state = {key: value for key, value in state.items() if not key.startswith("proj.")}
    state |= {"temperature": torch.zeros(()), "perceptual_loss.net.0.weight": torch.ones(3)}
    write(folder / "tb_logs" / "version_0" / "checkpoints" / "epoch=9-step=90-best.ckpt", state)
    told = {**TINY, "embed_size": 20, "mask_ratio": 0.5, "use_infoNCE": contrast, "temp_scale": True, **more}
    text = yaml.safe_dump(
        {"model": {"seed": 0, "model_class": "vit", "model_params": told}, "data": {"data_dir": "/x"}}
    )
    (folder / "config.yaml").write_text(text)
    return folder


def write(path: Path, state: dict[str, Any], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    optimizer = {"state": {0: {"step": torch.tensor(90.0)}}, "param_groups": [{"lr": 5e-5}]}
    torch.save({"epoch": 9, "state_dict": state, "optimizer_states": [optimizer], **more}, path)


def checkpoint(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = next(folder.rglob("*.ckpt"))
    return path, torch.load(path, weights_only=True)["state_dict"]


def start(place: Path | str, **more: Any) -> Beast:
    return start_beast(BeastConfig(start=str(place), **more))


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def positions_are_there(model: Beast) -> bool:
    where = model.vit_mae.decoder.decoder_pos_embed[0, 1:]
    return len(torch.unique(where, dim=0)) == len(where)


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_from_scratch_the_size_and_the_seed_are_the_callers(size: Any) -> None:
    torch.manual_seed(3)
    model = start("scratch", size=size, mask_ratio=0.5)
    assert model.shape == SHAPES[size]
    assert model.vit_mae.config.mask_ratio == 0.5
    assert positions_are_there(model)
    torch.manual_seed(3)
    assert same(model.state_dict(), Beast(SHAPES[size], 0.5).state_dict())


@pytest.mark.parametrize("kind", ["new", "old", "bin"])
def test_a_model_of_the_hub_gives_all_its_weights_whatever_their_names(tmp_path: Path, kind: str) -> None:
    model = start(hub(tmp_path, kind), mask_ratio=0.5)
    assert model.shape == SHAPE
    assert same(model.vit_mae.state_dict(), beast().vit_mae.state_dict())
    assert model.vit_mae.vit.embeddings.config.mask_ratio == 0.5
    assert model.training


def test_what_transformers_itself_saves_is_read(tmp_path: Path) -> None:
    beast().vit_mae.save_pretrained(tmp_path)
    assert same(start(tmp_path).vit_mae.state_dict(), beast().vit_mae.state_dict())


def test_the_names_of_before_are_those_of_the_public_files() -> None:
    names = {old(name) for name in beast().vit_mae.state_dict()}
    layer = "vit.encoder.layer.1.attention."
    assert {f"{layer}attention.query.weight", f"{layer}output.dense.bias", f"{layer[:-10]}output.dense.bias"} <= names
    assert "decoder.decoder_layers.0.intermediate.dense.weight" in names
    assert not any(now in name for name in names for now, _ in BEFORE)


def test_the_features_are_those_of_the_model_of_the_hub(tmp_path: Path) -> None:
    encoder = BeastEncoder.of(start(hub(tmp_path)))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    theirs = ViTMAEModel.from_pretrained(tmp_path, mask_ratio=0.0).eval()
    scaled = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    with torch.inference_mode():
        pixels = torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)
        tokens = theirs(pixels, noise=torch.arange(16).expand(3, -1)).last_hidden_state.numpy()
    assert tokens.std() > 0.1
    assert_allclose(encoder.encode(images, "cls"), tokens[:, 0], atol=1e-5)
    assert_allclose(encoder.encode(images, "patches"), tokens[:, 1:], atol=1e-5)


@pytest.mark.parametrize("encoder_alone", [False, True])
def test_a_model_without_its_decoder_starts_with_a_new_one_and_says_so(tmp_path: Path, encoder_alone: bool) -> None:
    hub(tmp_path, "old", without="decoder.")
    if encoder_alone:  # as transformers saves the encoder's own class
        file = tmp_path / "model.safetensors"
        save_file({key.removeprefix("vit."): value for key, value in load_file(file).items()}, file, {"format": "pt"})
    with pytest.warns(UserWarning, match="has no decoder: it starts anew"):
        model = start(tmp_path)
    assert same(model.vit_mae.vit.state_dict(), beast().vit_mae.vit.state_dict())
    assert positions_are_there(model)


@pytest.mark.parametrize("lost", ["vit.layers.1.mlp.fc1.bias", "vit.embeddings.position", "decoder.mask_token"])
def test_a_model_that_lacks_one_weight_is_refused(tmp_path: Path, lost: str) -> None:
    with pytest.raises(
        InputError, match=f"lacks 1 of its weights, such as {lost}.*; download the model again, or start"
    ):
        start(hub(tmp_path, without=lost))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model_type": "vit"}, "type 'vit', expected vit_mae"),
        ({"hidden_act": "relu"}, "unknown kind .expected GELU"),
        ({"qkv_bias": False}, "unknown kind .expected GELU, and biases"),
        ({"image_size": [32, 64]}, "unknown kind .expected square images"),
        ({"patch_size": 12}, "whole patches"),
        ({"hidden_size": "wide"}, "unknown kind"),
        ({"intermediate_size": 41}, r"weight \S+ of the vision encoder .* is of shape .*40.* should be .*41"),
        ({"quantization_config": {}}, "quantized"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        start(hub(tmp_path, **settings))


@pytest.mark.parametrize("depth", [1, 2])
def test_a_public_checkpoint_gives_all_its_weights(tmp_path: Path, depth: int) -> None:
    model = start(public(tmp_path, depth), mask_ratio=0.9)
    theirs = beast(depth, 20)
    assert model.shape == theirs.shape
    assert same(model.state_dict(), theirs.state_dict())
    assert model.vit_mae.vit.embeddings.config.mask_ratio == 0.9
    images, readings = torch.rand(4, 3, 32, 32), []
    for each in (model.eval(), theirs.eval()):
        each.vit_mae.config.mask_ratio = 0.75
        torch.manual_seed(5)
        readings.append(each(images))
    assert torch.equal(readings[0].patches, readings[1].patches)
    assert torch.equal(readings[0].projected, readings[1].projected)
    assert readings[0].projected.isfinite().all()


def test_a_public_checkpoint_is_found_by_its_file_and_the_best_before_others(tmp_path: Path) -> None:
    path, state = checkpoint(public(tmp_path))
    write(path.with_name("epoch=5.ckpt"), {key: value + 1 for key, value in state.items()})
    assert same(start(tmp_path).state_dict(), beast(2, 20).state_dict())
    assert same(start(path).state_dict(), beast(2, 20).state_dict())
    assert not same(start(path.with_name("epoch=5.ckpt")).state_dict(), beast(2, 20).state_dict())
    path.rename(path.with_name("epoch=9.ckpt"))
    with pytest.raises(InputError, match=r"holds 2 checkpoints, such as tb_logs.*, expected one; name the file"):
        start(tmp_path)
    (tmp_path / "config.yaml").rename(tmp_path / "settings.yaml")
    with pytest.raises(InputError, match="no config.yaml beside or above"):
        start(path.with_name("epoch=9.ckpt"))


def test_a_public_checkpoint_of_grey_images_takes_them_as_color(tmp_path: Path) -> None:
    assert start(public(tmp_path, num_channels=1, layer_norm_eps="1e-12")).shape.channels == 3


def test_a_public_checkpoint_without_the_contrast_gets_a_new_projection(tmp_path: Path) -> None:
    model = start(public(tmp_path, contrast=False))
    assert same(model.vit_mae.state_dict(), beast(2, 20).vit_mae.state_dict())
    assert (model.shape.projection_depth, model.shape.projection_width) == (1, 24)
    public(tmp_path, contrast=False, use_infoNCE=True)
    with pytest.raises(InputError, match=r"lacks 9 of its weights, such as proj\.proj\.0\.bias"):
        start(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "vit_mae.vit.encoder.layer.0.attention.attention.key.bias",
            r"lacks 1 .* vit\.layers\.0\.attention\.k_proj\.bias",
        ),
        ("vit_mae.decoder.decoder_pos_embed", r"lacks 1 of its weights, such as decoder\.decoder_pos_embed"),
        ("proj.proj.4.running_var", r"lacks 1 of its weights, such as proj\.proj\.4\.running_var"),
    ],
)
def test_a_public_checkpoint_that_lacks_one_weight_is_refused(tmp_path: Path, name: str, told: str) -> None:
    path, state = checkpoint(public(tmp_path))
    del state[name]
    write(path, state)
    with pytest.raises(InputError, match=told):
        start(tmp_path)


@pytest.mark.parametrize("name", ["vit_mae.vit.pooler.bias", "proj.proj.9.bias", "proj.other.weight", "head.weight"])
def test_a_public_checkpoint_with_a_weight_too_many_is_refused(tmp_path: Path, name: str) -> None:
    path, state = checkpoint(public(tmp_path))
    write(path, state | {name: torch.ones(2, 2)})
    with pytest.raises(InputError, match=f"holds 1 weights that no BEAST model has, such as .*{name.split('.')[-2]}"):
        start(tmp_path)


def test_a_public_checkpoint_of_other_sizes_than_its_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is of shape .*40.*, but by its own settings it should be .*48"):
        start(public(tmp_path, intermediate_size=48))
    path, state = checkpoint(public(tmp_path))
    write(path, state | {"proj.proj.1.weight": torch.ones(23)})
    with pytest.raises(InputError, match="projection of .* does not fit its settings"):
        start(tmp_path)


def test_a_public_checkpoint_can_run_no_code(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    path, state = checkpoint(public(tmp_path))
    write(path, state, callbacks=Harm())
    told = r"cannot be read as a checkpoint .*; save its state_dict alone with torch\.save, or start anew"
    with pytest.raises(InputError, match=told) as error:
        start(tmp_path)
    assert "\n" not in str(error.value)
    for content in (b"", b"\x80\x04.", path.read_bytes()[:500]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=told):
            start(tmp_path)
    write(path, state | {"vit_mae.vit.layernorm.bias": "text"})
    with pytest.raises(InputError, match=told):
        start(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "text", ["", "[", "model: 1", "model: {model_class: vit}", "!!python/object/apply:os.getcwd []"]
)
def test_damaged_settings_of_a_public_checkpoint_are_refused(tmp_path: Path, text: str) -> None:
    (public(tmp_path) / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="does not describe a BEAST model"):
        start(tmp_path)


def test_a_public_model_of_another_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {model_class: resnet, model_params: {}}")
    with pytest.raises(InputError, match="holds 0 checkpoints, expected one"):
        start(tmp_path)
    write(tmp_path / "best.ckpt", {})
    with pytest.raises(InputError, match="class 'resnet', expected 'vit'"):
        start(tmp_path)


def test_a_model_made_here_comes_back_whole(tmp_path: Path) -> None:
    model, images = beast(2, 20), np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    model.load_state_dict(model.state_dict() | {"mean": torch.full((1, 3, 1, 1), 0.2)})  # as from scratch
    model.vit_mae.config.mask_ratio = 0.5
    encoder = BeastEncoder.of(model, images)
    save_beast(model, encoder, tmp_path / "eye")
    files = {"encoder.json", "beast.json", "encoder.safetensors", "beast.safetensors"}
    assert {path.name for path in (tmp_path / "eye").iterdir()} == files
    back, eye = load_beast(tmp_path / "eye"), load_encoder(tmp_path / "eye")
    assert back.shape == model.shape
    assert same(back.state_dict(), model.state_dict())
    assert back.vit_mae.vit.embeddings.config.mask_ratio == 0.5
    assert eye.fingerprint == encoder.fingerprint
    assert_allclose(eye.encode(images), encoder.encode(images), atol=1e-6)
    again = start(tmp_path / "eye", mask_ratio=0.8)
    assert same(again.state_dict(), model.state_dict())
    assert again.vit_mae.vit.embeddings.config.mask_ratio == 0.8
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]


def test_weights_that_a_gpu_rounded_are_not_what_is_kept(tmp_path: Path) -> None:
    model = beast()
    encoder = BeastEncoder.of(model)
    encoder.vit.to(torch.bfloat16)
    save_beast(model, encoder, tmp_path)
    assert same(load_beast(tmp_path).state_dict(), model.state_dict())


def test_an_encoder_alone_is_refused(tmp_path: Path) -> None:
    save_beast(beast(), BeastEncoder.of(beast()), tmp_path)
    (tmp_path / "beast.safetensors").unlink()
    for load in (load_beast, start):
        with pytest.raises(InputError, match="lacks beast.safetensors, .* name the folder that its pretraining wrote"):
            load(tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    save_beast(beast(), BeastEncoder.of(beast()), tmp_path)
    path = tmp_path / "beast.safetensors"
    whole, weights = path.read_bytes(), load_file(path)
    for content in (b"", whole[:-50]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="does not hold a whole BEAST model .*; pretrain it again"):
            load_beast(tmp_path)
    save_file(weights, path)
    with pytest.raises(InputError, match="does not hold a whole BEAST model"):
        load_beast(tmp_path)
    path.write_bytes(whole)
    other = beast(seed=1)
    BeastEncoder.of(other).save(tmp_path)
    with pytest.raises(InputError, match="its files are of different models"):
        load_beast(tmp_path)


def test_weights_of_another_named_size_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Beast(SHAPES["tiny"])
    save_beast(model, BeastEncoder.of(model), tmp_path / "eye")
    told = r"holds a model of the size 'tiny' \(images of 48 pixels.*'base' .* asked for; use --set beast.size=tiny, or"
    with pytest.raises(InputError, match=told):
        start(tmp_path / "eye")
    assert start(tmp_path / "eye", size="tiny").shape == SHAPES["tiny"]
    model.vit_mae.save_pretrained(tmp_path / "hub")
    with pytest.raises(InputError, match=told):
        start(tmp_path / "hub")
    assert start(tmp_path / "hub", size="tiny").shape == SHAPES["tiny"]


def test_what_holds_no_weights_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    with pytest.raises(InputError, match="holds no weights to start from: expected .*, or start anew with --set"):
        start(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match="'facebook/vit-mae-base' is neither .* or start anew with --set beast.start=scratch"
    ):
        start("vit-mae")


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start(hub(tmp_path / "hub"))
    start(public(tmp_path / "public"))
    assert capfd.readouterr() == ("", "")
