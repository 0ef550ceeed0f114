"""Where a training that was cut off goes on from: written whole or not at all, read as weights only."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

SECONDS_BETWEEN_CHECKPOINTS = 10.0  # at least, from one checkpoint to the next


def write_checkpoint(path: Path, key: str, **state: Any) -> None:
    """Write tensors and plain values; `key` tells what they are good for: settings, labels, data.

    Raises
    ------
    InputError
        When the disk is full or the folder cannot be written.
    """
    written = io.BytesIO()  # torch would not tell a full disk from any other trouble
    torch.save({"key": key, **state}, written)
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getbuffer())


def read_checkpoint(path: Path, key: str, device: torch.device) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, tensors onto a device.

    Raises
    ------
    InputError
        When it is damaged, or was written with another key.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        known = state.pop("key")
    except Exception as error:  # torch, zipfile and pickle each raise their own
        raise InputError(f"The checkpoint {path} is damaged; delete it to train anew.") from error
    if known != key:
        raise InputError(
            f"The checkpoint {path} was written with other settings or labels; delete it to train anew, "
            "or go back to those it was begun with."
        )
    return state
