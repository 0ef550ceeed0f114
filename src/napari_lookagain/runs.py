"""Whole jobs: from sessions to a trained model, and to runs that are kept in the sessions' folders."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_lookagain.config import Config, Scope
from napari_lookagain.decode_cost import decoded_share
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, load_ethogram
from napari_lookagain.material import Material, behavior_labels, check_tracked, gather
from napari_lookagain.metrics import frame_scores
from napari_lookagain.model.lookagain import Kind, LookAgain, ModelCard
from napari_lookagain.predict import predict, settle_budget
from napari_lookagain.progress import Progress
from napari_lookagain.run_folder import check_out, check_run, is_finished, keep_run, write_json
from napari_lookagain.session import Session
from napari_lookagain.train import finetune, pretrain
from napari_lookagain.training_loop import History
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder, save_encoder
from napari_lookagain.windows import Window


def segment(
    sessions: Sequence[Session],
    config: Config,
    *,
    minutes: float | None = None,
    run: str = "segment",
    device: str = "auto",
) -> Generator[Progress, None, list[Ethogram]]:
    """Discover clusters in one or more recordings, without labels, and keep a run in every session.

    Parameters
    ----------
    sessions
        Saved sessions with the same keypoints.
    config
        All choices.
    minutes
        Time to look at each recording for the run, once the model is trained; no limit by default. See `predict`.
    run
        Name of the run. One that was cut off is resumed; a finished one is never written over.

    Returns
    -------
    list of Ethogram
        Of every session, as kept in ``runs/NAME/ethogram.npz``.

    Raises
    ------
    InputError
        When the run is there already, keypoints differ between sessions, or a video cannot be looked at.
    """
    check_run(sessions, run, device)
    config.look.asked()
    home = sessions[0].run_folder(run)  # where the model is trained; the other sessions get their copy
    model, encoder, told = yield from _cluster(sessions, config, home, None, device)
    place = accelerator(device)
    if place.is_main_process:
        yield from _predict_each(model, encoder, sessions, run, device, told, minutes=minutes)
        _drop_checkpoints(home)
    place.wait_for_everyone()  # of several processes that trained together one keeps the run
    return [load_ethogram(session.run_folder(run) / "ethogram.npz") for session in sessions]


def discover(
    sessions: Sequence[Session],
    out: Path,
    config: Config,
    *,
    pretrained: Path | None = None,
    device: str = "auto",
) -> Generator[Progress, None, dict[str, Any]]:
    """Discover clusters in recordings, and keep the model in a folder, to be applied to others.

    Parameters and errors as in `train`; labels are not read.

    Returns
    -------
    dict
        The recordings, and how both trainings went.
    """
    check_out(out, device)
    model, encoder, told = yield from _cluster(sessions, config, out, pretrained, device)
    report = {"recordings": [session.recording for session in sessions], **told}
    _keep(model, encoder, out, report, device)
    return report


def train(
    sessions: Sequence[Session],
    out: Path,
    config: Config,
    *,
    pretrained: Path | None = None,
    rater: str | None = None,
    device: str = "auto",
) -> Generator[Progress, None, dict[str, Any]]:
    """Train the supervised head on what people scored, and keep the model in a folder.

    Parameters
    ----------
    sessions
        Saved sessions with the same keypoints; those that nobody scored serve pretraining.
    out
        Folder for the model; training that was cut off is resumed, a finished model is never written over.
    pretrained
        Folder of a model whose motion encoder and vision encoder are taken over; pretraining is left out.
    rater
        Whose labels to learn from; by default everybody's, the latest edit first.

    Returns
    -------
    dict
        Counts of all scored frames and of those in training windows, how both trainings went, and F1 per behavior on
        the held-out windows.

    Raises
    ------
    InputError
        When `out` is a file or holds a model, no frame is scored, or fewer than two behaviors are.
    """
    check_out(out, device)
    behavior, names = behavior_labels(sessions, rater)
    base, config = _base(pretrained, sessions, config)
    material = yield from gather(sessions, config, behavior=behavior, encoder_from=pretrained, device=device)
    model, told = yield from _train(sessions, material, "behavior", names, out, device, base)
    windows, _ = material.split(material.fine_windows)
    report = {
        "scored_frames": _counts(behavior, names),
        "trained_frames": _counts([behavior[w.recording][w.start : w.stop] for w in windows], names),
        "recordings": [session.recording for session in sessions],
        **told,
    }
    _keep(model, material.encoder, out, report, device)
    return report


def predict_all(
    model: Path,
    sessions: Sequence[Session],
    *,
    budget: float | None = None,
    scope: Scope | None = None,
    decode: float | None = None,
    minutes: float | None = None,
    run: str = "predict",
    device: str = "auto",
) -> Generator[Progress, None, list[Ethogram]]:
    """Apply a model, of behaviors or of clusters, to sessions and keep a run in each.

    `budget`, `scope`, `decode` and `minutes` are those of `predict`; run, result and errors as in `segment`.
    """
    loaded = LookAgain.load(model)
    check_tracked(sessions)
    check_run(sessions, run, device)
    encoder = load_encoder(model / "encoder", str(accelerator(device).device)) if (model / "encoder").is_dir() else None
    for session in sessions:
        settle_budget(loaded, session, encoder, budget)
    loaded.config.look.asked(scope, decode)
    looking = {"budget": budget, "scope": scope, "decode": decode, "minutes": minutes}
    return (yield from _predict_each(loaded, encoder, sessions, run, device, {}, **looking))


def prepare(
    sessions: Sequence[Session], out: Path, config: Config, *, device: str = "auto"
) -> Generator[Progress, None, dict[str, Any]]:
    """Pretrain a motion encoder, with the eye it foretells, and keep both in a folder for several models to take over.

    Parameters and errors as in `discover`; the model's head has learnt nothing.

    Returns
    -------
    dict
        The recordings, and how the pretraining went.
    """
    check_out(out, device)
    material = yield from gather(sessions, config, device=device)
    model, told = yield from _start(sessions, material, "cluster", ("none", "yet"), out, device, None)
    report = {"recordings": [session.recording for session in sessions], **told}
    _keep(model, material.encoder, out, report, device)
    return report


def free_name(sessions: Sequence[Session], base: str) -> str:
    """The first of base, base-2, base-3, … that no session has a finished run of; one that was cut off is resumed."""
    number = 1
    while True:
        name = base if number == 1 else f"{base}-{number}"
        if not any(is_finished(session, name) for session in sessions):
            return name
        number += 1


def _cluster(
    sessions: Sequence[Session], config: Config, folder: Path, pretrained: Path | None, device: str
) -> Generator[Progress, None, tuple[LookAgain, VisionEncoder | None, dict[str, Any]]]:
    """Train a cluster head, and give it with its eye; checkpoints are kept in `folder`."""
    base, config = _base(pretrained, sessions, config)
    material = yield from gather(sessions, config, encoder_from=pretrained, device=device)
    names = tuple(f"cluster {i + 1}" for i in range(config.finetune.clusters))
    model, told = yield from _train(sessions, material, "cluster", names, folder, device, base)
    return model, material.encoder, told


def _base(pretrained: Path | None, sessions: Sequence[Session], config: Config) -> tuple[LookAgain | None, Config]:
    """The model whose motion encoder is taken over, and the settings with those that belong to it."""
    if pretrained is None:
        return None, config
    base = LookAgain.load(pretrained)
    _check_base(base, sessions, sees=(pretrained / "encoder").is_dir())
    same = {name: getattr(base.config, name).model_dump() for name in ("features", "motion", "vision", "pretrain")}
    return base, config.updated(**same)


def _start(
    sessions: Sequence[Session],
    material: Material,
    kind: Kind,
    names: tuple[str, ...],
    folder: Path,
    device: str,
    base: LookAgain | None,
) -> Generator[Progress, None, tuple[LookAgain, dict[str, Any]]]:
    """A model whose motion encoder is pretrained, or taken over; a checkpoint is kept in `folder`."""
    first, features = sessions[0], material.batches.recordings[0].features
    card = ModelCard(
        keypoint_names=first.keypoint_names,
        n_coords=first.n_coords,
        n_features=features.width,
        n_neighbors=features.n_neighbors,
        visual_width=material.visual_width,
        n_patches=material.n_patches,
        kind=kind,
        names=names,
    )
    torch.manual_seed(material.config.training.seed)
    model = LookAgain(card, material.config)
    told: dict[str, Any] = {}
    if base is None:
        windows, held_out = material.split(material.windows)
        images = yield from material.for_pretraining()
        history = yield from pretrain(
            model, images, windows, held_out, device=device, checkpoint=folder / "pretraining.pt"
        )
        if history.loss:
            told["pretraining"] = _told(history)
    else:
        for part in ("motion_encoder", "predict_keypoints", "predict_vision"):
            getattr(model, part).load_state_dict(getattr(base, part).state_dict())
    return model, told


def _train(
    sessions: Sequence[Session],
    material: Material,
    kind: Kind,
    names: tuple[str, ...],
    folder: Path,
    device: str,
    base: LookAgain | None = None,
) -> Generator[Progress, None, tuple[LookAgain, dict[str, Any]]]:
    """Pretrain (or take over a motion encoder) and fine-tune; checkpoints are kept in `folder`."""
    model, told = yield from _start(sessions, material, kind, names, folder, device, base)
    batches = material.batches
    windows, held_out = material.split(material.fine_windows)
    history = yield from finetune(model, batches, windows, held_out, device=device, checkpoint=folder / "finetuning.pt")
    if history.loss:
        told["finetuning"] = _told(history)
    if kind == "behavior" and held_out:
        told["held_out"] = _held_out_scores(model, material, held_out)
    return model, told


def _held_out_scores(model: LookAgain, material: Material, held_out: Sequence[Window]) -> dict[str, Any]:
    """Precision, recall and F1 on the scored frames of the held-out windows, at the configured budget."""
    size = material.config.finetune.batch
    truth, predicted = [], []
    for start in range(0, len(held_out), size):
        batch = material.batches(held_out[start : start + size])
        with torch.inference_mode():
            output = model(batch.motion, batch.valid, batch.visual_features).head
            predicted.append(model.head.probabilities(output).argmax(-1).flatten())
        truth.append(batch.behavior.flatten())
    return frame_scores(torch.cat(truth).numpy(), torch.cat(predicted).numpy(), model.card.names)


def _counts(labels: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, int]:
    """Frames of every behavior in arrays of classes."""
    return {name: sum(int((each == i).sum()) for each in labels) for i, name in enumerate(names)}


def _check_base(base: LookAgain, sessions: Sequence[Session], *, sees: bool) -> None:
    check_tracked(sessions)
    for session in sessions:
        base.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
        if sees != (session.video is not None):
            raise InputError(
                f"The pretrained model learnt {'with' if sees else 'without'} videos, but {session.recording} has "
                f"{'none' if sees else 'one'}; pretrain on such recordings."
            )
    n_neighbors = max(session.n_animals for session in sessions) - 1
    if base.card.n_neighbors != n_neighbors:
        raise InputError(
            f"The pretrained model knows {base.card.n_neighbors} neighbors of an animal, these recordings have "
            f"{n_neighbors}; pretrain on recordings with as many animals."
        )


def _predict_each(
    model: LookAgain,
    encoder: VisionEncoder | None,
    sessions: Sequence[Session],
    run: str,
    device: str,
    told: dict[str, Any],
    **looking: Any,
) -> Generator[Progress, None, list[Ethogram]]:
    """Predict all sessions, then keep a run in each: until then a job can be repeated under the same name."""
    ethograms = []
    for session in sessions:
        ethogram = yield from predict(model, session, encoder, device=device, **looking)
        ethograms.append(ethogram)
    look = {name: getattr(model.config.look, name) for name in ("budget", "scope", "decode")}
    look |= {name: value for name, value in looking.items() if value is not None}
    for session, ethogram in zip(sessions, ethograms, strict=True):
        _save(model, encoder, session.run_folder(run) / "model")
        came_out = {"looked_share": float(ethogram.looked.mean())}  # with a limit of time, less than the budget
        with suppress(InputError):  # what was seen may be kept where the video is gone
            came_out["decoded_share"] = decoded_share(session, ethogram.looked)
        keep_run(session, run, ethogram, log=_log(model, ethogram, look | came_out, told), **look, **came_out, **told)
    return ethograms


def _log(model: LookAgain, ethogram: Ethogram, look: dict[str, Any], told: dict[str, Any]) -> list[str]:
    limit = f", for at most {look['minutes']:g} minutes" if "minutes" in look else ""
    decoded = f", {look['decoded_share']:.4g} of the video decoded for it" if look.get("decoded_share") else ""
    lines = [
        f"model: {model.card.kind}, {', '.join(model.card.names)}",
        f"budget {look['budget']} of every {look['scope']}{limit}: "
        f"looked at {ethogram.looked.sum()} frames of animals, a share of {ethogram.looked.mean():.4g}{decoded}",
    ]
    for stage, history in told.items():
        end = "had flattened" if history["flattened"] else "was still falling: more epochs would help"
        lines.append(f"{stage}: {len(history['loss'])} epochs, loss {history['loss'][-1]:.4f}, which {end}")
    return lines


def _told(history: History) -> dict[str, Any]:
    return {**asdict(history), "flattened": history.flattened}


def _keep(model: LookAgain, encoder: VisionEncoder | None, out: Path, report: dict[str, Any], device: str) -> None:
    """Keep a trained model and how its training went; of several processes one does, and the others wait."""
    place = accelerator(device)
    if place.is_main_process:
        write_json(out / "metrics.json", report)
        _save(model, encoder, out)
        _drop_checkpoints(out)
    place.wait_for_everyone()


def _save(model: LookAgain, encoder: VisionEncoder | None, folder: Path) -> None:
    """A model and its eye; the weights come last, so that a folder with weights is whole."""
    if encoder is not None:
        save_encoder(encoder, folder / "encoder")
    model.save(folder)


def _drop_checkpoints(folder: Path) -> None:
    for name in ("pretraining.pt", "finetuning.pt"):
        (folder / name).unlink(missing_ok=True)
