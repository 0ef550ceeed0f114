"""From a recording to an ethogram with a trained ensemble of heads, in chunks that overlap by what a head sees."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_lookagain.actions.features import Eyes, Reading, read_features
from napari_lookagain.actions.model import ActionModel
from napari_lookagain.device import accelerator
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.session import Session

CHUNK = 2**22  # numbers of features in memory at a time, 16 MiB
LEAST = 64  # frames of a chunk, however wide


def predict_actions(
    model: ActionModel, session: Session, eyes: Eyes, *, device: str = "auto"
) -> Generator[Progress, None, Ethogram]:
    """Tell the behavior of every animal at every frame of a recording.

    Heads have no gate: those that read keypoints alone look at no frame, all others at every one, and gate score and
    its terms are not computed. What is seen is kept in the session's folder, and read from there chunk by chunk.

    Parameters
    ----------
    model, eyes
        As trained together.
    session
        With what the model reads.
    device
        "auto", "cpu", "cuda" or "mps".

    Returns
    -------
    Ethogram
        Of kind "behavior"; `looked` is the same everywhere, and the four of the gate are NaN.

    Raises
    ------
    InputError
        When keypoints or the video are missing, or are not those the model knows.
    """
    model.card.check(session, model.config.vision.crop)
    everything = np.ones(session.n_frames, bool)
    reading = yield from read_features(session, model.config, eyes, everything, model.card.n_neighbors)
    probabilities = yield from _read_heads(model, reading, device)
    return Ethogram.from_probabilities(session, probabilities, model.card.names, looked=bool(reading.seen))


def _read_heads(model: ActionModel, reading: Reading, device: str) -> Generator[Progress, None, np.ndarray]:
    """Probabilities (T, A, K), those that all frames at once would give: chunks overlap by what a head sees."""
    place = accelerator(device).device
    model.to(place).eval()
    length = max(LEAST, CHUNK // (reading.n_animals * reading.width))
    out = np.zeros((reading.n_frames, reading.n_animals, len(model.card.names)), np.float32)
    for start in range(0, reading.n_frames, length):
        stop = min(start + length, reading.n_frames)
        first, last = max(0, start - model.reach), min(stop + model.reach, reading.n_frames)
        x = torch.from_numpy(reading(first, last)).to(place)
        with torch.inference_mode():
            told = model(x, torch.ones(x.shape[:2], dtype=torch.bool, device=place))  # (A, L, K)
        out[start:stop] = told[:, start - first : stop - first].swapaxes(0, 1).cpu().numpy()
        yield Progress(stop, reading.n_frames, "reading behavior")
    model.cpu()
    return out
