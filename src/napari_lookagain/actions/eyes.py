"""The eyes of a head: principal components of what it is trained on, and an encoder that was there before."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.features import Eyes, eye_of
from napari_lookagain.device import accelerator
from napari_lookagain.eyes.opening import open_encoder
from napari_lookagain.material import fit_pca
from napari_lookagain.progress import Progress
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder, save_encoder

if TYPE_CHECKING:
    from napari_lookagain.session import Session


def open_eyes(
    sessions: Sequence[Session], frames: Sequence[np.ndarray], config: ActionConfig, device: str
) -> Generator[Progress, None, Eyes]:
    """Load or pretrain the encoder and fit principal components, whichever the head reads.

    Parameters
    ----------
    sessions
        All of them.
    frames
        (T,) bool of every session: the frames of training sequences. Principal components know no labels, so those of
        the sequences that one head or another holds out are among them.
    config
        Settled.
    device
        For the encoder.
    """
    eyes: dict[str, VisionEncoder] = {}
    for name in dict.fromkeys(eye_of(read) for read in config.head.reads if read != "keypoints"):
        if name == "pca":
            eyes[name] = yield from fit_pca(sessions, frames, config.looks, config.vision.pca_size)
        else:
            eyes[name] = yield from open_encoder(sessions, config.looks, device)
    return eyes


def load_eyes(folder: Path, config: ActionConfig, device: str) -> Eyes:
    """The eyes kept beside a model; errors as in `napari_lookagain.vision.encoder.load_encoder`."""
    names = dict.fromkeys(eye_of(read) for read in config.head.reads if read != "keypoints")
    return {name: load_encoder(folder / name, str(accelerator(device).device)) for name in names}


def save_eyes(eyes: Eyes, folder: Path) -> None:
    """Keep the eyes in folders ``pca`` and ``encoder``, whichever there are."""
    for name, eye in eyes.items():
        save_encoder(eye, folder / name)
