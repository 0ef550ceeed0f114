"""The eye a job works with, and what it is shown of a session."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.eyes.kept import kept_eye
from napari_lookagain.eyes.pretraining import pretrain_eye
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder


def open_encoder(
    sessions: Sequence[Session], config: Config, device: str = "auto"
) -> Generator[Progress, None, VisionEncoder]:
    """The encoder that is configured: of "beast" the one these sessions keep, or a new one, which the first will keep.

    Raises
    ------
    InputError
        As in `load_encoder` and `pretrain_eye`, or when patches are wanted of an encoder that has none.
    """
    name: str | Path = config.vision.encoder
    if name == "beast":
        kept = kept_eye(sessions, config)
        if kept is None:
            return (yield from pretrain_eye(sessions, config, device=device))
        name = kept
    encoder = load_encoder(name, str(accelerator(device).device))
    check_pooling(encoder.name, encoder.n_patches, config)
    return encoder


def check_pooling(name: str, n_patches: int, config: Config) -> None:
    """Refuse to pool patches by attention where an encoder cuts none.

    Raises
    ------
    InputError
        With what to do instead.
    """
    if config.vision.pooling == "attention" and n_patches == 0:
        raise InputError(
            f"The encoder {name!r} has no patches to pool by attention: it gives one vector of an image; use "
            "vision.pooling=mean, or another encoder such as 'beast'."
        )
