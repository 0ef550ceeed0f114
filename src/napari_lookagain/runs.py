"""Whole jobs: from sessions to a trained model, and to runs that are kept in the sessions' folders."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, ethogram_kind, load_ethogram
from napari_lookagain.formats.boris import boris_table
from napari_lookagain.formats.tables import bouts_table, frames_table, stats_table
from napari_lookagain.material import Material, behavior_labels, check_tracked, gather
from napari_lookagain.metrics import frame_scores
from napari_lookagain.model.lookagain import Kind, LookAgain, ModelCard
from napari_lookagain.naming import Naming
from napari_lookagain.predict import predict, settle_budget
from napari_lookagain.progress import Progress
from napari_lookagain.run_folder import check_out, check_run, is_finished, keep_run, write_json
from napari_lookagain.session import Session
from napari_lookagain.train import History, finetune, pretrain
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder, save_encoder
from napari_lookagain.windows import Window


def segment(
    sessions: Sequence[Session],
    config: Config,
    *,
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
    home = sessions[0].run_folder(run)  # where the model is trained; the other sessions get their copy
    model, encoder, told = yield from _cluster(sessions, config, home, None, device)
    ethograms = yield from _predict_each(model, encoder, sessions, None, run, device, told)
    _drop_checkpoints(home)
    return ethograms


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
    write_json(out / "metrics.json", report)
    _save(model, encoder, out)
    _drop_checkpoints(out)
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
    write_json(out / "metrics.json", report)
    _save(model, material.encoder, out)
    _drop_checkpoints(out)
    return report


def predict_all(
    model: Path,
    sessions: Sequence[Session],
    *,
    budget: float | None = None,
    run: str = "predict",
    device: str = "auto",
) -> Generator[Progress, None, list[Ethogram]]:
    """Apply a model, of behaviors or of clusters, to sessions and keep a run in each.

    `budget` is the model's own by default; run, result and errors as in `segment`.
    """
    loaded = LookAgain.load(model)
    check_tracked(sessions)
    check_run(sessions, run, device)
    encoder = load_encoder(model / "encoder", str(accelerator(device).device)) if (model / "encoder").is_dir() else None
    for session in sessions:
        settle_budget(loaded, session, encoder, budget)
    return (yield from _predict_each(loaded, encoder, sessions, budget, run, device, {}))


def free_name(sessions: Sequence[Session], base: str) -> str:
    """The first of base, base-2, base-3, … that no session has a finished run of; one that was cut off is resumed."""
    number = 1
    while True:
        name = base if number == 1 else f"{base}-{number}"
        if not any(is_finished(session, name) for session in sessions):
            return name
        number += 1


def export_table(session: Session, what: str, run: str | None = None) -> pd.DataFrame:
    """Frames, bouts or statistics of a session's runs; clusters as they are named, and what people scored wins.

    Parameters
    ----------
    session
        With at least one finished run, or for bouts and statistics with scored frames.
    what
        "frames", "bouts", "stats", or "boris": bouts in the layout of BORIS' tabular events.
    run
        This run alone; by default the latest of behaviors and the latest of clusters. Bouts and statistics are of the
        first that there is: predicted behaviors, those that clusters were assigned to, scored frames, clusters.

    Raises
    ------
    InputError
        When there is no such run, nothing to export, or `what` is another word.
    """
    if what not in ("frames", "bouts", "stats", "boris"):
        raise InputError(f"There is no table {what!r}; choose frames, bouts, stats or boris.")
    found = _latest_runs(session, run)
    behavior, clusters = found.get("behavior"), found.get("cluster")
    scored = session.annotations if (session.annotations.labels() >= 0).any() else None
    if what == "frames":
        return frames_table(behavior, clusters, scored)
    if behavior is None and scored is not None and run is None:
        behavior = Ethogram.from_labels(
            scored.labels(),
            scored.behaviors,
            recording=session.recording,
            fps=session.fps,
            animals=session.animals,
        )
    ethogram = clusters if behavior is None else behavior if scored is None else behavior.with_corrections(scored)
    if ethogram is None:
        raise InputError(f"{session.recording} has no finished run and no scored frame; run segment or predict first.")
    if what == "stats":
        return stats_table(ethogram)
    whose: dict[str, Any] = {"recording": session.recording, "animals": session.animals, "fps": session.fps}
    if what == "boris":
        video = None if session.video is None else session.video.path
        return boris_table(ethogram.bouts(), **whose, n_frames=session.n_frames, video=video)
    return bouts_table(ethogram.bouts(), **whose)


def _latest_runs(session: Session, run: str | None) -> dict[str, Ethogram]:
    """The named run, or the latest finished one of each kind."""
    if run is not None and run not in session.runs:
        raise InputError(f"{session.recording} has no run {run!r}; it has {', '.join(session.runs) or 'none'}.")
    files = [session.run_folder(name) / "ethogram.npz" for name in ([run] if run else session.runs)]
    finished = sorted((file for file in files if file.exists()), key=lambda file: file.stat().st_mtime_ns)
    if run is not None and not finished:
        raise InputError(
            f"The run {run!r} of {session.recording} was cut off; give the same command again to finish it."
        )
    latest = {ethogram_kind(file): file for file in finished}
    found: dict[str, Ethogram] = {kind: load_ethogram(file) for kind, file in latest.items()}
    if "cluster" in found:
        naming = Naming(found["cluster"], latest["cluster"].parent)
        found["cluster"] = naming.ethogram
        if any(each.behavior for each in naming.classes):
            found.setdefault("behavior", naming.behaviors)
    return found


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
    config, batches, first = material.config, material.batches, sessions[0]
    card = ModelCard(
        keypoint_names=first.keypoint_names,
        n_coords=first.n_coords,
        n_features=batches.recordings[0].features.width,
        n_neighbors=batches.recordings[0].features.n_neighbors,
        visual_width=material.visual_width,
        n_patches=material.n_patches,
        kind=kind,
        names=names,
    )
    torch.manual_seed(config.training.seed)
    model = LookAgain(card, config)
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
    windows, held_out = material.split(material.fine_windows)
    history = yield from finetune(model, batches, windows, held_out, device=device, checkpoint=folder / "finetuning.pt")
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
    budget: float | None,
    run: str,
    device: str,
    told: dict[str, Any],
) -> Generator[Progress, None, list[Ethogram]]:
    """Predict all sessions, then keep a run in each: until then a job can be repeated under the same name."""
    ethograms = []
    for session in sessions:
        ethogram = yield from predict(model, session, encoder, budget=budget, device=device)
        ethograms.append(ethogram)
    budget = model.config.look.budget if budget is None else budget
    for session, ethogram in zip(sessions, ethograms, strict=True):
        _save(model, encoder, session.run_folder(run) / "model")
        keep_run(session, run, ethogram, budget=budget, log=_log(model, ethogram, budget, told), **told)
    return ethograms


def _log(model: LookAgain, ethogram: Ethogram, budget: float, told: dict[str, Any]) -> list[str]:
    lines = [
        f"model: {model.card.kind}, {', '.join(model.card.names)}",
        f"budget {budget}: looked at {ethogram.looked.sum()} frames of animals",
    ]
    for stage, history in told.items():
        end = "had flattened" if history["flattened"] else "was still falling: more epochs would help"
        lines.append(f"{stage}: {len(history['loss'])} epochs, loss {history['loss'][-1]:.4f}, which {end}")
    return lines


def _told(history: History) -> dict[str, Any]:
    return {**asdict(history), "flattened": history.flattened}


def _save(model: LookAgain, encoder: VisionEncoder | None, folder: Path) -> None:
    """A model and its eye; the weights come last, so that a folder with weights is whole."""
    if encoder is not None:
        save_encoder(encoder, folder / "encoder")
    model.save(folder)


def _drop_checkpoints(folder: Path) -> None:
    for name in ("pretraining.pt", "finetuning.pt"):
        (folder / name).unlink(missing_ok=True)
