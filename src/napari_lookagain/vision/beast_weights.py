"""Where the weights of BEAST start from, and how a whole model is kept."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from transformers import ViTMAEConfig

from napari_lookagain.config import BeastConfig
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.vision.beast import SHAPES, Beast, BeastShape
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.encoder import save_encoder
from napari_lookagain.vision.hub_files import ALIASES, find_model, load_model, read_model_config, refuse_missing

_ENCODER, _REST = "beast.json", "beast.safetensors"
_ALL = "ViTMAEForPreTraining"
_OTHERWISE = "start anew with --set beast.start=scratch"
_SEEN = "vit_mae.vit."  # of the names of weights: those the encoder has, too
_NOT_OURS = ("temperature", "perceptual_loss.")  # of a public checkpoint: what the paper's losses do without
_WIDTHS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_PICTURE = ("image_size", "patch_size", "num_channels")
_KINDS = ("hidden_act", "qkv_bias", "layer_norm_eps", "initializer_range")
_WORDS = (*_WIDTHS, *(f"decoder_{word}" for word in _WIDTHS), *_PICTURE, *_KINDS)  # of transformers, for the sizes
_LEVELS = 5  # folders above a public checkpoint in which its config.yaml may lie


def start_beast(config: BeastConfig) -> Beast:
    """Make the model that pretraining starts with, on the CPU, by `config.weights`.

    "scratch": random weights of `config.size`. A name of the hub, or a folder in its layout: a ViT-MAE, whose decoder
    starts anew, with a warning, where it is not there; the projection always does. A folder with a ``config.yaml`` and
    a checkpoint ``*.ckpt`` (``*best.ckpt`` before others), or that file itself: a public BEAST checkpoint; its
    projection starts anew if it was trained without the contrast. A folder written by `save_beast`: all of it.

    Weights bring their own sizes. If these are by image, patch, width and depth those of another name than
    `config.size`, that is an error, lest a CPU gets a large model unasked; sizes that have no name are taken as they
    are (◇). The share of hidden patches is `config.mask_ratio`, whatever the weights were trained with.

    What starts anew is random: seed torch before.

    Raises
    ------
    InputError
        When there are no such weights, they are damaged, incomplete, of another model or size, or come with more than
        weights, which might run code.
    """
    if config.weights == "scratch":
        return Beast(SHAPES[config.size], config.mask_ratio)
    place = Path(config.weights)
    if (place / _ENCODER).is_file():
        beast = load_beast(place)
        _refuse_other_size(beast.shape, config)
        beast.vit_mae.config.mask_ratio = config.mask_ratio
        return beast
    if place.is_file() or (place / "config.yaml").is_file():
        return _from_checkpoint(*_find_checkpoint(place), config)
    if place.is_dir() and not (place / "config.json").is_file():
        raise InputError(
            f"{place} holds no weights to start from: expected a model in the hub's layout (config.json), a BEAST "
            f"checkpoint (config.yaml) or what pretraining wrote ({_ENCODER}); name another folder, or {_OTHERWISE}."
        )
    return _from_hub(ALIASES.get(config.weights, config.weights), config)


def save_beast(beast: Beast, encoder: BeastEncoder, folder: str | Path) -> None:
    """Keep a whole model: its encoder, as `save_encoder` does, and in `beast.safetensors` what only pretraining needs.

    Parameters
    ----------
    beast
        The model, on any device.
    encoder
        The encoder made of it, for the scale of its features.
    folder
        Where to; files of an earlier model are replaced.

    Raises
    ------
    InputError
        When the folder cannot be written or its disk is full.
    """
    exact = BeastEncoder.of(beast)  # in float32: an encoder that works on a GPU has rounded its weights
    exact.scale = encoder.scale
    kept = beast.state_dict().items()
    rest = {name: value.cpu().contiguous() for name, value in kept if not name.startswith((_SEEN, "mean", "std"))}
    told = {"encoder": exact.fingerprint, "mask_ratio": str(beast.vit_mae.config.mask_ratio)}
    with atomic_path(Path(folder) / _REST) as path:
        path.write_bytes(save(rest, metadata=told))
    save_encoder(exact, folder)


def load_beast(folder: str | Path, device: str = "cpu") -> Beast:
    """Read a whole model that `save_beast` wrote: to paint pictures and to go on learning.

    Raises
    ------
    InputError
        When the folder holds the encoder alone, or anything in it is missing, damaged or of another model.
    """
    folder = Path(folder)
    if not (folder / _REST).is_file():
        raise InputError(
            f"{folder} lacks {_REST}, the decoder and the projection, without which a BEAST model can only see, not "
            "paint or learn on; name the folder that its pretraining wrote, or pretrain again."
        )
    encoder = BeastEncoder.load(folder)
    try:
        with safe_open(folder / _REST, "pt") as file:
            told = file.metadata()
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        if told["encoder"] != encoder.fingerprint:
            raise ValueError("its files are of different models")
        beast = Beast(encoder.shape, float(told["mask_ratio"]))
        state |= {_SEEN + name: value for name, value in encoder.vit.state_dict().items()}
        beast.load_state_dict({**state, "mean": encoder.mean, "std": encoder.std})
    except Exception as error:  # files, safetensors and torch each raise their own
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{folder} does not hold a whole BEAST model ({reason}); pretrain it again or copy it anew."
        ) from error
    return beast.to(device)


def _from_hub(name: str, config: BeastConfig) -> Beast:
    """A ViT-MAE in the hub's layout."""
    folder = find_model(name, _OTHERWISE)
    shape = _shape(read_model_config(folder, name, ("vit_mae",)), name)
    _refuse_other_size(shape, config)
    vit_mae = shape.vit_mae(config.mask_ratio)
    model, missing, _ = load_model(_ALL, folder, name, _OTHERWISE, config=vit_mae, dtype=torch.float32)
    decoder = {key for key in model.state_dict() if key.startswith("decoder.")}
    if decoder <= missing:
        missing -= decoder
        warnings.warn(f"{name} has no decoder: it starts anew, with random weights.", UserWarning, stacklevel=3)
    else:
        decoder = set()
    refuse_missing(missing, name, _OTHERWISE)
    beast = Beast(shape, config.mask_ratio)
    found = {key: value for key, value in model.state_dict().items() if key not in decoder}
    beast.vit_mae.load_state_dict(found, strict=False)
    return beast


def _find_checkpoint(place: Path) -> tuple[Path, Path]:
    """The one checkpoint of a public BEAST model and its config.yaml, by its folder or by the checkpoint itself."""
    if place.is_file():
        above = place.absolute().parents[:_LEVELS]  # a link into the hub's cache leads away from its folder
        settings = next((folder / "config.yaml" for folder in above if (folder / "config.yaml").is_file()), None)
        if settings is None:
            raise InputError(f"There is no config.yaml beside or above {place}; put the one of its training there.")
        return place, settings
    found = sorted(place.rglob("*best.ckpt")) or sorted(place.rglob("*.ckpt"))
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(place)) for path in found[:3])
        raise InputError(
            f"{place} holds {len(found)} checkpoints{f', such as {names}' if found else ''}, expected one; name the "
            f"file *.ckpt itself, or {_OTHERWISE}."
        )
    return found[0], place / "config.yaml"


def _from_checkpoint(path: Path, settings: Path, config: BeastConfig) -> Beast:
    """A public BEAST checkpoint: what Lightning saved of the ViT-MAE and, trained with the contrast, the projection."""
    told = _read_settings(settings)
    state = _read_state(path)
    vit_mae = {name.removeprefix("vit_mae."): value for name, value in state.items() if name.startswith("vit_mae.")}
    projection = {name.removeprefix("proj."): value for name, value in state.items() if name.startswith("proj.")}
    pixels = vit_mae.get("vit.embeddings.patch_embeddings.projection.weight")
    if pixels is not None and pixels.ndim == 4:  # there, 1 channel in the settings means grey images shown as color
        told = {**told, "num_channels": pixels.shape[1]}
    layers = [
        name for name, value in projection.items() if re.fullmatch(r"proj\.\d+\.weight", name) and value.ndim == 2
    ]
    layers.sort(key=lambda name: int(name.split(".")[1]))
    depth = {"projection_depth": len(layers) - 1, "projection_width": len(projection[layers[-1]])} if layers else {}
    shape = _shape(told, str(path), **depth)
    _refuse_other_size(shape, config)
    sizes = shape.vit_mae(config.mask_ratio)
    model, missing, unknown = load_model(
        _ALL, None, str(path), _OTHERWISE, config=sizes, state_dict=vit_mae, dtype=torch.float32
    )
    beast = Beast(shape, config.mask_ratio)
    if projection or told.get("use_infoNCE"):
        own = beast.proj.state_dict()
        missing |= {f"proj.{name}" for name in own.keys() - projection.keys()}
        unknown |= {f"proj.{name}" for name in projection.keys() - own.keys()}
    refuse_missing(missing, str(path), _OTHERWISE)
    unknown |= {name for name in state if not name.startswith(("vit_mae.", "proj.", *_NOT_OURS))}
    if unknown:
        raise InputError(
            f"{path} holds {len(unknown)} weights that no BEAST model has, such as {', '.join(sorted(unknown)[:3])}; "
            f"name a checkpoint of the class 'vit', or {_OTHERWISE}."
        )
    beast.vit_mae.load_state_dict(model.state_dict())
    if projection:
        try:
            beast.proj.load_state_dict(projection)
        except RuntimeError as error:  # of other shapes
            raise InputError(
                f"The projection of {path} does not fit its settings in {settings}; put the config.yaml of the same "
                f"training there, or {_OTHERWISE}."
            ) from error
    return beast


def _read_settings(path: Path) -> dict[str, Any]:
    """The sizes in the config.yaml of a public BEAST model."""
    try:
        model = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
        kind, told = model["model_class"], dict(model["model_params"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} does not describe a BEAST model by model.model_class and model.model_params; put the config.yaml "
            f"of its training there, or {_OTHERWISE}."
        ) from error
    if str(kind).lower() != "vit":
        raise InputError(
            f"{path} describes a model of the class {kind!r}, expected 'vit'; name another, or {_OTHERWISE}."
        )
    return told


def _read_state(path: Path) -> dict[str, Tensor]:
    """The weights of a Lightning checkpoint, and nothing that could run code."""
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("not all of it are weights")
    except Exception as error:  # torch, zipfile and pickle each raise their own
        raise InputError(
            f"{path} cannot be read as a checkpoint of weights and plain values: it is damaged, or holds other objects "
            f"and with them code; save its state_dict alone with torch.save, or {_OTHERWISE}."
        ) from error
    return state


def _shape(told: dict[str, Any], name: str, **projection: int) -> BeastShape:
    """Sizes of a ViT-MAE in the words of transformers, those left out being ViT-B's, and of the projection."""
    try:
        known = {word: told[word] for word in _WORDS if word in told}
        for word in ("layer_norm_eps", "initializer_range"):
            known |= {word: float(known[word])} if word in known else {}  # YAML takes 1e-12 for a word
        vit = ViTMAEConfig(**known)
        side, patch = vit.image_size, vit.patch_size
        if not isinstance(side, int) or not isinstance(patch, int) or side % patch or vit.num_channels not in (1, 3):
            raise ValueError("expected square images, grey or color, of whole patches")
        if vit.hidden_act != "gelu" or not vit.qkv_bias:
            raise ValueError("expected GELU, and biases in the attention")
    except Exception as error:  # transformers has errors of its own for values of a wrong type
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{name} is a ViT-MAE of an unknown kind ({reason}); name another, or {_OTHERWISE}."
        ) from error
    return BeastShape(
        side,
        patch,
        vit.num_channels,
        vit.hidden_size,
        vit.num_hidden_layers,
        vit.num_attention_heads,
        vit.intermediate_size,
        vit.decoder_hidden_size,
        vit.decoder_num_hidden_layers,
        vit.decoder_num_attention_heads,
        vit.decoder_intermediate_size,
        spread=vit.initializer_range,
        layer_norm_eps=vit.layer_norm_eps,
        **{"projection_width": vit.hidden_size, **projection},
    )


def _refuse_other_size(shape: BeastShape, config: BeastConfig) -> None:
    def sizes(shape: BeastShape) -> tuple[int, int, int, int]:
        return shape.image_size, shape.patch_size, shape.width, shape.depth

    name = next((name for name, known in SHAPES.items() if sizes(known) == sizes(shape)), config.size)
    if name != config.size:
        got, asked = (
            f"{name!r} (images of {side} pixels, patches of {patch}, {width} wide, {depth} layers)"
            for name, (side, patch, width, depth) in ((name, sizes(shape)), (config.size, sizes(SHAPES[config.size])))
        )
        raise InputError(
            f"{config.weights} holds a model of the size {got}, but {asked} was asked for; "
            f"use --set beast.size={name}, or {_OTHERWISE}."
        )
