"""Encoders that compute through OpenVINO: the same features, kept apart, and refused where it cannot be had."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Qwen3VLVisionModel,
    VideoMAEConfig,
    VideoMAEModel,
    ViTMAEConfig,
    ViTMAEModel,
)
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.session import Session
from napari_lookagain.vision import openvino, precision
from napari_lookagain.vision.beast import BeastShape
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.encoder import save_encoder
from napari_lookagain.vision.hub import HubEncoder
from napari_lookagain.vision.look import see

# Not imported here: that alone would be reported to its server.
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
multiplies = pytest.mark.skipif(not precision._multiplies_bfloat16(), reason="this CPU has no bfloat16")
SMALL = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT = SMALL | {"image_size": 32, "patch_size": 8}


def encoder_of(kind: str, folder: Path) -> Any:
    """A small encoder whose weights are all random."""
    torch.manual_seed(0)
    if kind == "beast":
        shape = BeastShape(16, 8, 1, 32, 2, 2, 64)
        encoder = BeastEncoder(
            ViTMAEModel(shape.vit_mae(mask_ratio=0.0)), shape, torch.tensor([0.5]), torch.tensor([0.2])
        )
        drain(encoder.take_scale(images(encoder, 40), 40))
        return encoder
    if kind == "clip":
        model = CLIPVisionModel(CLIPVisionConfig(**VIT))
    elif kind == "vit_mae":
        model = ViTMAEModel(ViTMAEConfig(**VIT))
    elif kind == "videomae":
        model = VideoMAEModel(VideoMAEConfig(**VIT, num_frames=2))
    else:
        vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 24}
        vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
        model = Qwen3VLVisionModel(Qwen3VLVisionConfig(**vision))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder / kind)
    return HubEncoder(str(folder / kind))


def images(encoder: Any, count: int) -> np.ndarray:
    shape = (count, encoder.size, encoder.size) if encoder.grey else (count, encoder.size, encoder.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (some * others).sum(-1) / np.linalg.norm(some, axis=-1) / np.linalg.norm(others, axis=-1)


@needs_openvino
@pytest.mark.parametrize("kind", ["beast", "clip", "vit_mae", "videomae"])
def test_features_are_those_of_torch(tmp_path: Path, kind: str) -> None:
    encoder = encoder_of(kind, tmp_path)
    other, pixels = encoder.computing("float32", "openvino"), images(encoder, 19)  # more than go through in one pass
    for what in ("mean", "patches") if kind == "videomae" else ("mean", "patches", "cls"):
        expected = encoder.encode(pixels, what)
        features = other.encode(pixels, what)
        assert features.shape == expected.shape
        assert features.dtype == np.float32
        assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        assert_allclose(other.encode(pixels[:1], what), features[:1], rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        assert other.encode(pixels[:0], what).shape == expected[:0].shape


@needs_openvino
@multiplies
@pytest.mark.parametrize("kind", ["beast", "clip"])
def test_features_in_bfloat16_are_nearly_those_of_torch(tmp_path: Path, kind: str) -> None:
    encoder = encoder_of(kind, tmp_path)
    other, pixels = encoder.computing("bfloat16", "openvino"), images(encoder, 5)
    for what in ("mean", "patches", "cls"):
        expected, features = encoder.encode(pixels, what), other.encode(pixels, what)
        assert not np.allclose(features, expected, rtol=1e-4, atol=1e-5), "it did not compute in bfloat16"
        assert cosines(features, expected).min() > 0.999


@needs_openvino
def test_every_way_to_compute_has_its_fingerprint(tmp_path: Path) -> None:
    encoder = encoder_of("beast", tmp_path)
    ways = [(numbers, runtime) for numbers in ("float32", "bfloat16") for runtime in ("torch", "openvino")]
    others = [encoder.computing(*way) for way in ways]
    endings = ("", "-openvino", "-bfloat16", "-openvino-bfloat16")
    assert [other.fingerprint for other in others] == [f"{encoder.fingerprint}{ending}" for ending in endings]
    for other in others:
        assert [other.computing(*way).fingerprint for way in ways] == [each.fingerprint for each in others]


@needs_openvino
def test_what_is_compiled_serves_all_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    compile = openvino._compile
    monkeypatch.setattr(openvino, "_compile", lambda *given: compiled.append(given[2]) or compile(*given))
    encoder = encoder_of("beast", tmp_path)
    for _ in range(2):
        for numbers in ("float32", "bfloat16"):
            encoder.computing(numbers, "openvino").encode(images(encoder, 2))
    assert compiled == [False, True]


@needs_openvino
def test_features_are_kept_apart_from_those_of_torch(session: Session, tmp_path: Path) -> None:
    encoder, looked = encoder_of("beast", tmp_path), np.zeros((session.n_frames, session.n_animals), bool)
    looked[5] = True
    rows, seen = np.argwhere(looked), []
    for runtime in ("torch", "openvino"):
        config = Config.preset("quick", vision={"precision": "float32", "runtime": runtime})
        seen.append(drain(see(session, encoder, config, looked)))
    assert seen[0].folder != seen[1].folder
    assert_allclose(seen[0].read(rows), seen[1].read(rows), atol=1e-2)


@needs_openvino
def test_a_run_looks_through_it(lookagain: Any, session: Session, tmp_path: Path) -> None:
    save_encoder(encoder_of("beast", tmp_path), tmp_path / "eye")
    settings = ["motion.width=16", "motion.latent_width=8", "motion.codes=16", "motion.layers=1", "motion.heads=2"]
    settings += ["motion.social_layers=1", "motion.window=32", "pretrain.epochs=1", "finetune.epochs=1"]
    settings += ["vision.runtime=openvino", "vision.precision=float32"]
    words = [word for setting in settings for word in ("--set", setting)]
    told = lookagain("segment", session.path, "--encoder", tmp_path / "eye", "--run", "fast", *words)
    assert told.status == 0, told.err
    (kept,) = (path for path in session.features_folder.iterdir() if path.name.startswith("beast-"))
    assert "-openvino" in kept.name
    model = session.run_folder("fast") / "model"
    assert json.loads((model / "config.json").read_text())["config"]["vision"]["runtime"] == "openvino"
    assert "-openvino" not in json.loads((model / "encoder" / "encoder.json").read_text())["fingerprint"]


@needs_openvino
def test_openvino_reports_nothing_to_its_server() -> None:
    openvino.OpenVINO()(lambda pixels: pixels.flatten(2), torch.zeros(1, 1, 2, 2), False)
    assert "openvino" in sys.modules
    assert not any(name.startswith("openvino_telemetry.") for name in sys.modules)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of("beast", tmp_path)
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "napari-lookagain\[openvino\]", or set vision.runtime to torch'):
        encoder.computing("auto", "openvino")
    assert encoder.computing("float32", "torch") is encoder


def test_on_another_device_than_the_cpu_it_is_refused() -> None:
    with pytest.raises(InputError, match="the vision encoder is on cuda:0; take the device cpu"):
        precision.way_of("auto", "openvino", torch.device("cuda:0"))


def test_qwen_stays_with_torch(tmp_path: Path) -> None:
    encoder = encoder_of("qwen3_vl", tmp_path)
    with pytest.raises(InputError, match="does not run Qwen3-VL"):
        encoder.computing("auto", "openvino")
