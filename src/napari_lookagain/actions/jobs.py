"""Whole jobs with action segmentation heads: from scored sessions to a model, and to runs kept in sessions' folders."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.eyes import load_eyes, save_eyes
from napari_lookagain.actions.features import settle
from napari_lookagain.actions.heads import ActionHead
from napari_lookagain.actions.material import gather_actions
from napari_lookagain.actions.model import ActionModel, seeds
from napari_lookagain.actions.prediction import predict_actions
from napari_lookagain.actions.sequences import Sequences, Split, moments, splits
from napari_lookagain.actions.training import train_heads
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.material import behavior_labels
from napari_lookagain.metrics import frame_scores
from napari_lookagain.progress import Progress
from napari_lookagain.run_folder import check_out, check_run, keep_run, write_json
from napari_lookagain.windows import Window

if TYPE_CHECKING:
    from napari_lookagain.session import Session


def train_actions(
    sessions: Sequence[Session], out: Path, config: ActionConfig, *, rater: str | None = None, device: str = "auto"
) -> Generator[Progress, None, dict[str, Any]]:
    """Train an ensemble of heads on what people scored, and keep it in a folder.

    Parameters
    ----------
    sessions
        Saved sessions, with keypoints or without; those that nobody scored teach nothing.
    out
        Folder for the model; training that was cut off is resumed, a finished model is never written over.
    config
        All choices; what is read is settled for these sessions where it is left open.
    rater
        Whose labels to learn from; by default everybody's, the latest edit first.

    Returns
    -------
    dict
        What is read, counts of scored frames, the last loss of every head and whether it had flattened, and F1 per
        behavior on held-out sequences: of all heads together, each on the sequences it was not trained on.

    Raises
    ------
    InputError
        When `out` is a file or holds a model, fewer than two behaviors are scored, or what is to be read is not there.
    """
    check_out(out, device)
    labels, names = behavior_labels(sessions, rater)
    config = settle(config, sessions)
    eyes, card, sequences, windows = yield from gather_actions(sessions, labels, names, config, device)
    model = ActionModel(card, config)
    model.fit_scale(*(yield from moments(sequences, windows, card.flat, card.patches)))
    parts = splits(labels, windows, config.training.validation_share, seeds(config))
    histories = yield from train_heads(model, sequences, parts, device=device, checkpoint=out / "training.pt")
    report = {
        "reads": list(card.reads),
        "scored_frames": {name: sum(int((label == i).sum()) for label in labels) for i, name in enumerate(names)},
        "recordings": [session.recording for session in sessions],
        "loss": [history.loss[-1] for history in histories],
        "flattened": [history.flattened for history in histories],
        **_held_out_scores(model, sequences, parts),
    }
    write_json(out / "metrics.json", report | {"training": [asdict(history) for history in histories]})
    save_eyes(eyes, out)
    model.save(out)
    (out / "training.pt").unlink(missing_ok=True)
    return report


def predict_all_actions(
    folder: Path, sessions: Sequence[Session], *, run: str = "predict", device: str = "auto"
) -> Generator[Progress, None, list[Ethogram]]:
    """Apply a trained ensemble to sessions, and keep a run in each.

    Parameters
    ----------
    folder
        Of the model.
    sessions
        Saved, with what the model reads.
    run
        Name of the run; a finished one is never written over.

    Returns
    -------
    list of Ethogram
        Of every session, as kept in ``runs/NAME/ethogram.npz``.

    Raises
    ------
    InputError
        When the run is there already, or a session lacks what the model reads.
    """
    model = ActionModel.load(folder)
    check_run(sessions, run, device)
    for session in sessions:
        model.card.check(session, model.config.vision.crop)
    eyes = load_eyes(folder, model.config, device)
    ethograms = []
    for session in sessions:
        ethogram = yield from predict_actions(model, session, eyes, device=device)
        ethograms.append(ethogram)
    for session, ethogram in zip(sessions, ethograms, strict=True):
        home = session.run_folder(run) / "model"
        save_eyes(eyes, home)
        model.save(home)
        seen = bool(ethogram.looked.all())
        keep_run(session, run, ethogram, budget=float(seen), log=_log(model, seen))
    return ethograms


def _held_out_scores(model: ActionModel, sequences: Sequences, parts: Sequence[Split]) -> dict[str, Any]:
    """F1 of all heads, each on the sequences it was not trained on; nothing when there are none."""
    truth: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    each = []
    for head, (_, held_out) in zip(model.heads, parts, strict=True):
        own = _tell(head, sequences, held_out) if held_out else []
        if own:
            truth.append(np.concatenate([behavior for behavior, _ in own]))
            predicted.append(np.concatenate([told for _, told in own]))
            each.append(frame_scores(truth[-1], predicted[-1], model.card.names)["macro_f1"])
    if not each:
        return {}
    told = frame_scores(np.concatenate(truth), np.concatenate(predicted), model.card.names)
    return {"held_out": told | {"macro_f1_of_heads": each}}


def _tell(head: ActionHead, sequences: Sequences, windows: Sequence[Window]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scored and predicted classes of these sequences, flat, some sequences at a time."""
    out = []
    for x, valid, behavior in sequences(windows):
        with torch.inference_mode():
            logits = head(x, valid) - head.log_weights
        out.append((behavior.flatten().numpy(), logits.argmax(-1).flatten().numpy()))
    return out


def _log(model: ActionModel, seen: bool) -> list[str]:
    kind = {"tcn": "temporal convolution networks", "linear": "linear heads"}[model.config.head.kind]
    return [
        f"model: {len(model.heads)} {kind} that read {', '.join(model.card.reads)}: {', '.join(model.card.names)}",
        f"looked at {'every frame' if seen else 'no frame'}",
    ]
