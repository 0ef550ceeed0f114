"""Encoders of the hub, as tiny random models laid out on disk exactly as the hub lays out the real ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_lookagain.errors import InputError
from napari_lookagain.vision.hub import HubEncoder
from napari_lookagain.vision.hub_files import ALIASES

SMALL = {"hidden_size": 24, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT = SMALL | {"image_size": 32, "patch_size": 8}
DECODER = {f"decoder_{key}": value for key, value in SMALL.items()}
KINDS = ("qwen3_vl", "clip", "dinov2", "vit_mae", "videomae", "beit")


def tiny(kind: str) -> Any:
    """The whole model, with the parts the encoder leaves out, every weight random (norms and biases too)."""
    import transformers as hf

    torch.manual_seed(0)
    if kind == "qwen3_vl":
        text = SMALL | {"vocab_size": 64, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}
        text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
        vision = {"depth": 3, "hidden_size": 32, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 24}
        vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
        tokens = {f"{name}_token_id": i for i, name in enumerate(("image", "video", "vision_start", "vision_end"))}
        model = hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(text_config=text, vision_config=vision, **tokens))
    elif kind == "clip":
        text = SMALL | {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1}
        model = hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=VIT, projection_dim=8))
    elif kind == "dinov2":
        model = hf.Dinov2Model(hf.Dinov2Config(**VIT))
    elif kind == "beit":
        model = hf.BeitForImageClassification(hf.BeitConfig(**VIT, use_relative_position_bias=True))
    elif kind == "vit_mae":
        model = hf.ViTMAEForPreTraining(hf.ViTMAEConfig(**VIT, **DECODER))
    else:
        model = hf.VideoMAEForPreTraining(hf.VideoMAEConfig(**VIT, **DECODER))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def tower(model: Any, kind: str) -> Any:
    """The vision part inside the whole model."""
    inside = {"qwen3_vl": "model.visual", "clip": "vision_model", "dinov2": "", "vit_mae": "vit"}
    return model.get_submodule(inside.get(kind, kind))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    for kind in KINDS:
        tiny(kind).save_pretrained(root / kind)
    preprocessing = {
        "qwen3_vl": {"size": {"shortest_edge": 64 * 64, "longest_edge": 10**6}},
        "dinov2": {"crop_size": {"height": 52, "width": 52}, "image_std": [0.2, 0.3, 0.4]},
    }
    for kind, content in preprocessing.items():
        (root / kind / "preprocessor_config.json").write_text(json.dumps(content))
    return root


def images(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def normalized(pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    scaled = (pixels / 255 - np.array(mean)) / np.array(std)
    return torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_the_original_ones(folders: Path, kind: str) -> None:
    loaded = HubEncoder(str(folders / kind))._model.state_dict()
    original = tower(tiny(kind), kind).state_dict()
    assert loaded.keys() == original.keys()
    for key, weight in original.items():
        assert torch.equal(loaded[key], weight), key


@pytest.mark.parametrize("kind", KINDS)
def test_features_do_not_depend_on_chance_or_on_the_batch(folders: Path, kind: str) -> None:
    encoder = HubEncoder(str(folders / kind))
    pixels = images(19, encoder.size)  # more than go through in one pass
    features = encoder.encode(pixels)
    assert features.shape == (19, encoder.width)
    assert features.dtype == np.float32
    assert not np.allclose(features[0], features[1], atol=1e-3)
    torch.manual_seed(1)
    np.testing.assert_allclose(encoder.encode(pixels[17:]), features[17:], rtol=1e-4, atol=1e-5)
    assert encoder.encode(pixels[:0]).shape == (0, encoder.width)


@pytest.mark.parametrize(
    ("kind", "patches", "class_token"),
    [
        ("qwen3_vl", 4, False),
        ("clip", 16, True),
        ("dinov2", 36, True),
        ("vit_mae", 16, True),
        ("videomae", 128, False),
        ("beit", 16, True),
    ],
)
def test_patches_and_class_tokens(folders: Path, kind: str, patches: int, class_token: bool) -> None:
    encoder = HubEncoder(str(folders / kind))
    pixels = images(19, encoder.size)
    features = encoder.encode(pixels, "patches")
    assert features.dtype == np.float32
    assert features.shape == (19, patches, encoder.width) == (19, encoder.n_patches, encoder.width)
    np.testing.assert_allclose(features.mean(1), encoder.encode(pixels), rtol=1e-4, atol=1e-5)
    assert encoder.encode(pixels[:0], "patches").shape == (0, patches, encoder.width)
    if not class_token:
        with pytest.raises(InputError, match="has no class token; take the mean or the patches"):
            encoder.encode(pixels, "cls")
        return
    cls = encoder.encode(pixels, "cls")
    torch.manual_seed(1)
    np.testing.assert_allclose(encoder.encode(pixels[17:], "cls"), cls[17:], rtol=1e-4, atol=1e-5)
    assert cls.shape == (19, encoder.width)
    assert np.abs(cls[:, None] - features).max(2).min() > 1e-2  # it is none of the patches


@pytest.mark.parametrize("kind", ["clip", "dinov2", "vit_mae"])
def test_the_class_token_is_what_the_model_itself_gives_first(folders: Path, kind: str) -> None:
    encoder = HubEncoder(str(folders / kind))
    pixels, vision = images(2, encoder.size), tower(tiny(kind), kind)
    if kind == "vit_mae":
        vision.config.mask_ratio = 0.0
    with torch.inference_mode():
        seen = vision(encoder._pixels(torch.from_numpy(pixels)))
    expected = seen.pooler_output if kind == "clip" else seen.last_hidden_state[:, 0]
    np.testing.assert_allclose(encoder.encode(pixels, "cls"), expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["clip", "dinov2", "vit_mae", "videomae", "qwen3_vl"])
def test_patches_come_row_by_row(folders: Path, kind: str) -> None:
    encoder = HubEncoder(str(folders / kind))
    moments = 8 if kind == "videomae" else 1
    n = round((encoder.n_patches / moments) ** 0.5)
    pixels, side = images(1, encoder.size).repeat(1 + n * n, 0) // 8, encoder.size // n
    for patch in range(n * n):
        y, x = patch // n * side, patch % n * side
        pixels[patch, y : y + side, x : x + side] = 255
    patches = encoder.encode(pixels, "patches").reshape(1 + n * n, moments, n * n, -1).mean(1)
    change = np.linalg.norm(patches[:-1] - patches[-1], axis=2)
    assert (change.argmax(1) == np.arange(n * n)).mean() > 0.7  # attention of random weights spreads some elsewhere


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_qwen_feature_is_what_its_own_processor_and_model_give(folders: Path) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    encoder = HubEncoder(str(folders / "qwen3_vl"))
    assert (encoder.size, encoder.width) == (64, 24)
    processor = Qwen2VLImageProcessorPil(patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    pixels = images(2, 64)
    seen = processor(list(pixels), return_tensors="pt")
    assert seen["image_grid_thw"].tolist() == [[1, 4, 4]] * 2
    with torch.inference_mode():
        visual = tower(tiny("qwen3_vl"), "qwen3_vl")
        tokens = visual(seen["pixel_values"], grid_thw=seen["image_grid_thw"]).pooler_output
    expected = tokens.view(2, 4, 24).mean(1).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-4, atol=1e-5)


def test_clip_feature_is_the_mean_of_its_normed_patches(folders: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    encoder = HubEncoder(str(folders / "clip"))
    pixels = images(2, 32)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    with torch.inference_mode():
        vision = tower(tiny("clip"), "clip")
        states = vision(processor(list(pixels), return_tensors="pt")["pixel_values"]).last_hidden_state
        expected = vision.post_layernorm(states[:, 1:]).mean(1).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pools", [True, False])
def test_beit_feature_is_the_mean_of_its_normed_patches(tmp_path: Path, pools: bool) -> None:
    import transformers as hf

    torch.manual_seed(0)
    model = hf.BeitModel(hf.BeitConfig(**VIT, use_mean_pooling=pools, use_mask_token=True)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(tmp_path)
    encoder = HubEncoder(str(tmp_path))
    pixels = images(2, 32)
    with torch.inference_mode():
        states = model(normalized(pixels, (0.5,) * 3, (0.5,) * 3)).last_hidden_state[:, 1:]
        expected = (model.pooler.layernorm(states) if pools else states).mean(1).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-4, atol=1e-5)


def test_dinov2_feature_is_the_mean_of_its_patches_at_the_size_of_its_preprocessing(folders: Path) -> None:
    encoder = HubEncoder(str(folders / "dinov2"))
    assert encoder.size == 48  # 52 in whole patches of 8
    pixels = images(2, 48)
    with torch.inference_mode():
        states = tiny("dinov2")(normalized(pixels, IMAGENET[0], (0.2, 0.3, 0.4))).last_hidden_state
    assert states.shape[1] == 1 + 36
    np.testing.assert_allclose(encoder.encode(pixels), states[:, 1:].mean(1).numpy(), rtol=1e-4, atol=1e-5)


def test_vit_mae_hides_no_patch_and_keeps_their_order(folders: Path) -> None:
    encoder = HubEncoder(str(folders / "vit_mae"))
    pixels = images(2, 32)
    vit = tower(tiny("vit_mae"), "vit_mae")
    vit.config.mask_ratio = 0.0
    with torch.inference_mode():
        seen = vit(normalized(pixels, *IMAGENET), noise=torch.rand(2, 16))
        patches = torch.gather(seen.last_hidden_state[:, 1:], 1, seen.ids_restore[..., None].expand(-1, -1, 24))
        ours = encoder._tokens(encoder._pixels(torch.from_numpy(pixels)), cls=False)
    torch.testing.assert_close(ours, patches, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(pixels), patches.mean(1).numpy(), rtol=1e-4, atol=1e-5)


def test_videomae_sees_the_frame_sixteen_times(folders: Path) -> None:
    encoder = HubEncoder(str(folders / "videomae"))
    pixels = images(2, 32)
    clips = normalized(pixels, *IMAGENET)[:, None].repeat(1, 16, 1, 1, 1)
    with torch.inference_mode():
        expected = tower(tiny("videomae"), "videomae")(clips).last_hidden_state.mean(1).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-4, atol=1e-5)


def test_images_are_resized_as_the_models_own_processor_does(folders: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    encoder = HubEncoder(str(folders / "clip"))
    wave = np.sin(np.arange(96) / 7)
    grey = (127 + 60 * wave[:, None] + 60 * wave[::-1]).astype(np.uint8)
    pixels = grey[None, ..., None] // np.array([1, 2, 3], np.uint8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    expected = processor(list(pixels), return_tensors="pt")["pixel_values"]
    ours = encoder._pixels(torch.from_numpy(pixels))
    assert ours.std() > 0.3
    assert (ours - expected).abs().max() <= 1.01 / 255 / 0.26  # one step of a byte: the library rounds twice


def test_images_of_another_kind_are_refused(folders: Path) -> None:
    encoder = HubEncoder(str(folders / "clip"))
    for wrong in (images(2, 32)[..., 0], images(2, 32).astype(np.float32), images(2, 32)[:, :20]):
        with pytest.raises(InputError, match=r"uint8 images of shape \(N, 32, 32, 3\)"):
            encoder.encode(wrong)


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("qwen3_vl", "model.visual.merger.linear_fc2.weight"),
        ("clip", "vision_model.encoder.layers.1.mlp.fc1.bias"),
        ("dinov2", "encoder.layer.0.attention.attention.query.weight"),
        ("vit_mae", "vit.embeddings.cls_token"),
        ("videomae", "videomae.encoder.layer.1.attention.attention.q_bias"),
        ("beit", "beit.pooler.layernorm.weight"),
    ],
)
def test_a_checkpoint_that_lacks_one_weight_is_refused(folders: Path, tmp_path: Path, kind: str, lost: str) -> None:
    shutil.copytree(folders / kind, tmp_path / kind)
    weights = load_file(tmp_path / kind / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / kind / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 of its weights, such as .*; download the model again"):
        HubEncoder(str(tmp_path / kind))


def test_a_truncated_checkpoint_is_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "dinov2", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be loaded"):
        HubEncoder(str(tmp_path / "cut"))
    weights.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        HubEncoder(str(tmp_path / "cut"))


def test_the_fingerprint_is_that_of_the_vision_weights_alone(folders: Path, tmp_path: Path) -> None:
    before = HubEncoder(str(folders / "qwen3_vl")).fingerprint
    prints = {}
    for changed in ("model.language_model.norm.weight", "model.visual.blocks.1.mlp.linear_fc1.weight"):
        shutil.copytree(folders / "qwen3_vl", tmp_path / changed)
        weights = load_file(tmp_path / changed / "model.safetensors")
        weights[changed].view(-1)[3] += 1
        save_file(weights, tmp_path / changed / "model.safetensors", metadata={"format": "pt"})
        prints[changed] = HubEncoder(str(tmp_path / changed)).fingerprint == before
    assert list(prints.values()) == [True, False]


def test_a_pickled_checkpoint_can_run_no_code(folders: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    shutil.copytree(folders / "dinov2", tmp_path / "bin")
    weights = load_file(tmp_path / "bin" / "model.safetensors")
    (tmp_path / "bin" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "bin" / "pytorch_model.bin")
    same = HubEncoder(str(tmp_path / "bin"))
    assert same.fingerprint == HubEncoder(str(folders / "dinov2")).fingerprint
    torch.save(weights | {"more": Harm()}, tmp_path / "bin" / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        HubEncoder(str(tmp_path / "bin"))
    assert not (tmp_path / "harm").exists()


def test_a_model_that_is_none_of_ours_is_refused(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "auto_map": {"AutoModel": "harm.Model"}}')
    with pytest.raises(InputError, match="type 'bert', expected one of beit, clip, "):
        HubEncoder(str(tmp_path))
    config = json.loads((folders / "dinov2" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    with pytest.raises(InputError, match="quantized"):
        HubEncoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        HubEncoder(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="no JSON object"):
        HubEncoder(str(tmp_path))


@pytest.mark.parametrize("name", ["nobody/has-this-model", "qwen3-vl", "no such folder/at/all"])
def test_a_missing_download_is_told_in_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as error:
        HubEncoder(name)
    text = str(error.value)
    assert ALIASES.get(name, name) in text
    assert "local folder" in text
    assert "'pca', which needs no download" in text
    assert "\n" not in text


def test_a_model_of_the_hub_is_found_in_its_cache(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit, repository = "0" * 40, tmp_path / "models--facebook--dinov2-base"
    shutil.copytree(folders / "dinov2", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    encoder = HubEncoder("dinov2")
    assert encoder.name == "facebook/dinov2-base"
    assert encoder.fingerprint == HubEncoder(str(folders / "dinov2")).fingerprint


def test_nothing_is_printed(folders: Path, capfd: pytest.CaptureFixture[str]) -> None:
    HubEncoder(str(folders / "clip")).encode(images(1, 32))
    assert capfd.readouterr() == ("", "")
