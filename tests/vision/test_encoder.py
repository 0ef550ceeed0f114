"""Keeping an encoder beside a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from transformers import ViTMAEModel

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.session import Session
from napari_lookagain.vision import precision
from napari_lookagain.vision.beast import BeastShape
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.encoder import load_encoder, save_encoder
from napari_lookagain.vision.hub import HubEncoder
from napari_lookagain.vision.look import see
from napari_lookagain.vision.pca import PCAEncoder


def pca(seed: int = 0) -> PCAEncoder:
    return PCAEncoder.fit(np.random.default_rng(seed).integers(0, 256, (100, 8, 8), dtype=np.uint8), components=4)


def save_dinov2(folder: Path, seed: int = 0) -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(seed)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 16, "patch_size": 8}
    Dinov2Model(Dinov2Config(**size)).save_pretrained(folder)


def test_a_pca_encoder_comes_back(tmp_path: Path) -> None:
    encoder = pca()
    save_encoder(encoder, tmp_path / "model")
    loaded = load_encoder(tmp_path / "model")
    images = np.random.default_rng(1).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    assert_array_equal(loaded.encode(images), encoder.encode(images))
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"encoder.json", "encoder.safetensors"}


def test_a_hub_encoder_comes_back_by_name(tmp_path: Path) -> None:
    save_dinov2(tmp_path / "dinov2")
    encoder = load_encoder(tmp_path / "dinov2")
    assert isinstance(encoder, HubEncoder)
    save_encoder(encoder, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["encoder.json"]
    loaded = load_encoder(tmp_path / "model")
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert_array_equal(loaded.encode(images), encoder.encode(images))


def tiny_beast(seed: int = 0) -> BeastEncoder:
    torch.manual_seed(seed)
    shape = BeastShape(16, 8, 1, 32, 2, 2, 64)
    return BeastEncoder(ViTMAEModel(shape.vit_mae(mask_ratio=0.0)), shape, torch.tensor([0.5]), torch.tensor([0.2]))


@pytest.mark.parametrize("kind", ["beast", "hub"])
def test_bfloat16_gives_nearly_the_same_features_under_another_fingerprint(tmp_path: Path, kind: str) -> None:
    save_dinov2(tmp_path / "dinov2")
    encoder = tiny_beast() if kind == "beast" else HubEncoder(str(tmp_path / "dinov2"))
    images = np.random.default_rng(1).integers(0, 256, (5, 16, 16) if encoder.grey else (5, 16, 16, 3), dtype=np.uint8)
    before = encoder.encode(images)
    assert encoder.computing("float32") is encoder
    short = encoder.computing("bfloat16")
    features = short.encode(images)
    assert features.dtype == np.float32
    assert not np.array_equal(features, before)
    assert_allclose(
        (features * before).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(before, axis=1), 1, atol=1e-3
    )
    assert short.fingerprint != encoder.fingerprint
    assert_array_equal(encoder.encode(images), before)


@pytest.mark.parametrize("able", [False, True])
def test_auto_takes_bfloat16_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: able)
    cpu = torch.device("cpu")
    assert precision.takes_bfloat16("auto", cpu) == able
    assert precision.takes_bfloat16("bfloat16", cpu)
    assert not precision.takes_bfloat16("float32", cpu)
    assert not precision.takes_bfloat16("auto", torch.device("cuda"))  # its weights are bfloat16 already


def test_features_of_both_precisions_are_kept_apart(session: Session) -> None:
    encoder, looked = tiny_beast(), np.zeros((session.n_frames, session.n_animals), bool)
    looked[5] = True
    rows, kept = np.argwhere(looked), []
    for choice in ("float32", "bfloat16"):
        config = Config.preset("quick", vision={"precision": choice})
        kept.append(drain(see(session, encoder, config, looked)))
    assert kept[0].folder != kept[1].folder
    assert_allclose(kept[0].read(rows), kept[1].read(rows), atol=0.1)


def test_weights_that_changed_since_are_refused(tmp_path: Path) -> None:
    save_dinov2(tmp_path / "dinov2")
    save_encoder(load_encoder(tmp_path / "dinov2"), tmp_path / "model")
    save_dinov2(tmp_path / "dinov2", seed=1)
    with pytest.raises(InputError, match="no longer has the weights with which"):
        load_encoder(tmp_path / "model")
    save_encoder(pca(), tmp_path / "model")
    pca(seed=1).save(tmp_path / "model")
    with pytest.raises(InputError, match="no longer has the weights with which"):
        load_encoder(tmp_path / "model")


def test_pca_cannot_be_loaded_before_it_is_fitted() -> None:
    with pytest.raises(InputError, match="fitted on a session's own crops"):
        load_encoder("pca")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "pca"}', "\xff"])
def test_a_damaged_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "encoder.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="does not describe a vision encoder"):
        load_encoder(tmp_path)


def test_an_encoder_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text(json.dumps({"kind": "new", "name": "new", "fingerprint": ""}))
    with pytest.raises(InputError, match=r"kind 'new', expected 'pca', 'beast' or 'hub'; update"):
        load_encoder(tmp_path)
