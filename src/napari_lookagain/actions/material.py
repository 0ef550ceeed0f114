"""What heads are trained on: the eyes, what is read of every recording, and the sequences with scored frames."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.eyes import open_eyes
from napari_lookagain.actions.features import Eyes, Reading, eye_of, ordered, read_features
from napari_lookagain.actions.model import ActionCard
from napari_lookagain.actions.sequences import Sequences, scored_windows
from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress
from napari_lookagain.windows import Window

if TYPE_CHECKING:
    from napari_lookagain.session import Session


def gather_actions(
    sessions: Sequence[Session],
    labels: Sequence[np.ndarray],
    names: tuple[str, ...],
    config: ActionConfig,
    device: str,
) -> Generator[Progress, None, tuple[Eyes, ActionCard, Sequences, list[Window]]]:
    """Open the eyes, and look at every frame of the sequences in which something is scored.

    Parameters
    ----------
    sessions
        All of them.
    labels, names
        (T, A) classes of every session, −1 = unscored, and the behaviors they index.
    config
        Settled.
    device
        For the encoder.

    Returns
    -------
    tuple
        The eyes, what an ensemble is made for, what reads sequences, and the sequences.

    Raises
    ------
    InputError
        When sessions do not fit each other, or an encoder does not give what is to be read.
    """
    _check_keypoints(sessions, config)
    windows = scored_windows(labels, config.training.sequence)
    frames = [np.zeros(len(label), bool) for label in labels]
    for window in windows:
        frames[window.recording][window.start : window.stop] = True
    eyes = yield from open_eyes(sessions, frames, config, device)
    n_neighbors = max(session.n_animals for session in sessions) - 1
    readings = []
    for session, where in zip(sessions, frames, strict=True):
        reading = yield from read_features(session, config, eyes, where, n_neighbors)
        readings.append(reading)
    card = _card(sessions[0], config, eyes, readings[0], names, n_neighbors)
    return eyes, card, Sequences(readings, labels, config.training.sequence), windows


def _check_keypoints(sessions: Sequence[Session], config: ActionConfig) -> None:
    first = sessions[0]
    for session in sessions[1:]:
        alike = (session.keypoint_names, session.n_coords) == (first.keypoint_names, first.n_coords)
        if "keypoints" in config.head.reads and not alike:
            raise InputError(
                f"{session.recording} has the keypoints {', '.join(session.keypoint_names)}, but {first.recording} has "
                f"{', '.join(first.keypoint_names)}; train on recordings with the same keypoints."
            )


def _card(
    session: Session, config: ActionConfig, eyes: Eyes, reading: Reading, names: tuple[str, ...], n_neighbors: int
) -> ActionCard:
    """What the ensemble is made for; refuses heads of attention that do not share the width of a patch."""
    reads = ordered(config.head.reads)
    widths = [] if reading.motion is None else [reading.motion.width]
    widths += [eyes[eye_of(read)].width for read in reads if read != "keypoints"]
    n_patches, heads = 0, config.head.pooling_heads
    if "patches" in reads:
        n_patches = eyes["encoder"].n_patches
        if widths[-1] % heads:
            raise InputError(
                f"{heads} heads cannot share patch embeddings of width {widths[-1]}; "
                "set head.pooling_heads to a number that divides it."
            )
    card = ActionCard(names, tuple(reads), tuple(widths), n_patches)
    if reading.motion is None:
        return card
    return replace(card, keypoint_names=session.keypoint_names, n_coords=session.n_coords, n_neighbors=n_neighbors)
