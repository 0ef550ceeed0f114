"""Models of the Hugging Face hub: found in a folder, in the cache or by download, and read without running code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_lookagain.errors import InputError

ALIASES = {
    "qwen3-vl": "Qwen/Qwen3-VL-2B-Instruct",
    "dinov2": "facebook/dinov2-base",
    "vit-mae": "facebook/vit-mae-base",
    "clip": "openai/clip-vit-base-patch16",
    "videomae": "MCG-NJU/videomae-base",
    "beit": "microsoft/beit-base-patch16-224-pt22k-ft22k",
}
_CONFIGS = ("config.json", "preprocessor_config.json")
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_TORCH = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")


def find_model(name: str, otherwise: str) -> Path:
    """Find a model: a local folder, or one of the hub in the local cache, or download what is needed of it.

    Parameters
    ----------
    name
        Name on the hub, or a local folder in the hub's layout.
    otherwise
        What else can be done, to end the sentence of an error.

    Raises
    ------
    InputError
        When there is no such folder and no such model, or no network.
    """
    from huggingface_hub import snapshot_download

    if Path(name).is_dir():
        return Path(name).resolve()
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*_CONFIGS, *_SAFETENSORS]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_CONFIGS, *_TORCH]))
    except Exception as error:  # not found, no network, no access, disk full, or no name at all
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise InputError(
            f"The vision encoder {name!r} is neither a folder nor in the local cache, and it could not be downloaded "
            f"({reason}); connect once to download it, name a local folder that holds its config.json and weights, "
            f"or {otherwise}."
        ) from error
    return folder


def read_model_config(folder: Path, name: str, model_types: tuple[str, ...]) -> dict[str, Any]:
    """Read what a folder in the hub's layout says of its model.

    Raises
    ------
    InputError
        When it says nothing, the model is of none of these types, or its weights are quantized.
    """
    config = read_json(folder / "config.json")
    if config.get("model_type") not in model_types:
        raise InputError(
            f"{name} is a model of type {str(config.get('model_type'))!r}, "
            f"expected {'one of ' if len(model_types) > 1 else ''}{', '.join(sorted(model_types))}."
        )
    if "quantization_config" in config:
        raise InputError(f"{name} holds quantized weights, which are not read; name the model they were made from.")
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model's folder.

    Raises
    ------
    InputError
        When there is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as JSON; a vision encoder's folder holds its config.json and weights, "
            "as the Hugging Face hub lays them out."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; download the model again.")
    return content


def load_model(
    class_name: str, folder: Path | None, name: str, otherwise: str, **given: Any
) -> tuple[Any, set[str], set[str]]:
    """Load a model, or a part of one, by a class of transformers, which also knows the names that weights had before.

    Parameters
    ----------
    class_name
        In transformers.
    folder
        In the hub's layout; None when `given` has the weights, as ``state_dict``, and the ``config``.
    name, otherwise
        What users call the model, and what else can be done: for the sentence of an error.
    **given
        More for ``from_pretrained``.

    Returns
    -------
    tuple
        The model; the names of its weights that were not found, which are random; and of those found that are none of
        its own.

    Raises
    ------
    InputError
        When the weights are damaged, or of other sizes.
    """
    import transformers

    try:
        with _quiet():
            model, info = getattr(transformers, class_name).from_pretrained(
                folder,
                attn_implementation="sdpa",  # whatever the file asks for: some attention kernels are downloaded code
                local_files_only=True,
                weights_only=True,
                ignore_mismatched_sizes=True,  # they are told and refused below
                output_loading_info=True,
                **given,
            )
    except Exception as error:  # a damaged file makes transformers fail in many ways, all of them the file's fault
        raise InputError(
            f"The weights of the vision encoder {name} cannot be loaded ({' '.join(str(error).split())[:200]}); "
            f"download the model again, or {otherwise}."
        ) from error
    for key, found, expected in sorted(info["mismatched_keys"]):
        raise InputError(
            f"The weight {key} of the vision encoder {name} is of shape {tuple(found)}, but by its own settings it "
            f"should be {tuple(expected)}; download the model again, or {otherwise}."
        )
    return model, set(info["missing_keys"]), set(info["unexpected_keys"])


def refuse_missing(missing: set[str], name: str, otherwise: str) -> None:
    """Weights that are not found stay random without an error of the library's.

    Raises
    ------
    InputError
        When any is missing.
    """
    if missing:
        raise InputError(
            f"The checkpoint of the vision encoder {name} lacks {len(missing)} of its weights, "
            f"such as {', '.join(sorted(missing)[:3])}; download the model again, or {otherwise}."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from listing on screen the weights that are left out on purpose."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
