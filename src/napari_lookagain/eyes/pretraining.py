"""Pretraining of an eye: BEAST on the videos of sessions, from choosing frames to keeping what has learnt."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.lib.format import open_memmap

from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.eyes.kept import eye_key
from napari_lookagain.files import atomic_path, check_room
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.vision.beast import SHAPES, Beast
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.beast_training import BeastHistory, train_beast
from napari_lookagain.vision.beast_weights import save_beast, start_beast
from napari_lookagain.vision.crops import Crops, present
from napari_lookagain.vision.frame_selection import choose_anchors, read_triplets
from napari_lookagain.vision.look import crops_of

_SCALED_ON = 1500  # crops of all recordings that features are scaled by: twice as many as the widest eye has features


def pretrain_eye(
    sessions: Sequence[Session], config: Config, out: Path | None = None, *, device: str = "auto"
) -> Generator[Progress, None, BeastEncoder]:
    """Pretrain BEAST on the videos of sessions, without labels, and keep it.

    All frames may be chosen: what is held out of a training of behaviors is held out of its labels, not of the eye.

    Parameters
    ----------
    sessions
        With a video each; those without keypoints show whole frames.
    config
        `beast`, how crops are cut, and the seed.
    out
        Folder for the eye, new or empty; by default one in the folder of the first session, where `kept_eye` finds it.
    device
        "auto", "cpu", "cuda" or "mps". Where `accelerate launch` started several processes, they share the training,
        and the first of them writes.

    Returns
    -------
    BeastEncoder
        Kept in the folder together with what only pretraining needs, its settings and how it went. A pretraining that
        was cut off goes on from the end of an epoch; one that is done is not done again.

    Raises
    ------
    InputError
        When a session has no video, nothing moves in it, the folder holds anything else, or weights do not fit.
    """
    key = eye_key(sessions, config)
    folder = _home(sessions[0], key) if out is None else out
    place = accelerator(device)
    if _is_done(folder, key):
        return BeastEncoder.load(folder, str(place.device))
    frames, checkpoint = folder / f"frames-{key}.npy", folder / f"pretraining-{key}.pt"
    _check_folder(folder, frames, checkpoint)
    torch.manual_seed(config.training.seed)
    beast = start_beast(config.beast)
    _check_size(sessions, beast)
    begun = time.perf_counter()
    with place.main_process_first():  # of several processes one reads, and the others find what it read
        if not frames.exists():
            yield from _read(sessions, config, beast, frames)
    reading = time.perf_counter() - begun
    triplets = np.load(frames, mmap_mode="r", allow_pickle=False)
    if config.beast.weights == "scratch":
        _take_scale(beast, triplets)
    history = yield from train_beast(
        beast, triplets, config.beast, seed=config.training.seed, device=device, checkpoint=checkpoint, key=key
    )
    encoder = BeastEncoder.of(beast, None, str(place.device))
    yield from _scale_features(encoder, sessions, config)
    if place.is_main_process:
        told = _told(history, len(triplets), reading, place.device)
        _keep(beast, encoder, folder, key, sessions, config, told)
        frames.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
    place.wait_for_everyone()
    return encoder


def _read(sessions: Sequence[Session], config: Config, beast: Beast, path: Path) -> Generator[Progress, None, None]:
    """Choose the frames of all recordings, and write them to a file beside its place, (N, 3, S, S[, 3]) uint8."""
    shape, settings = beast.shape, config.beast
    recordings = _in_order(sessions, config, shape.image_size)
    chosen = []
    for session, crop in recordings:
        seed, select = config.training.seed, settings.select
        anchors = yield from choose_anchors(session, crop, settings.anchors, select=select, seed=seed)
        chosen.append(anchors)
    color = () if shape.channels == 1 else (3,)
    count = sum(map(len, chosen))
    size = (count, 3, shape.image_size, shape.image_size, *color)
    with atomic_path(path) as temporary:
        check_room(path.parent, int(np.prod(size)), "the chosen frames")
        out = open_memmap(temporary, "w+", np.uint8, size)
        first = 0
        for (session, crop), anchors in zip(recordings, chosen, strict=True):
            yield from read_triplets(session, crop, anchors, shape.channels == 1, out[first : first + len(anchors)])
            first += len(anchors)
        out.flush()


def _in_order(sessions: Sequence[Session], config: Config, size: int) -> list[tuple[Session, Crops]]:
    """Sessions and their crops by the fingerprints of videos: whichever session comes first, the eye is the same."""
    in_order = sorted(sessions, key=lambda session: session.video.fingerprint if session.video else "")
    return [(session, crops_of(session, config, size)) for session in in_order]


def _take_scale(beast: Beast, triplets: np.ndarray) -> None:
    """Normalize pixels by the mean and deviation of the chosen frames, for weights that know no other."""
    channels = beast.shape.channels
    sums, count = np.zeros((2, channels)), 0
    for anchor in triplets[:, 1]:
        pixels = anchor.reshape(-1, channels).astype(float) / 255
        sums += pixels.sum(0), (pixels**2).sum(0)
        count += len(pixels)
    mean = sums[0] / count
    std = np.sqrt(np.maximum(sums[1] / count - mean**2, 1e-6))
    beast.mean.copy_(torch.from_numpy(mean).view(1, -1, 1, 1))
    beast.std.copy_(torch.from_numpy(std).view(1, -1, 1, 1))


def _scale_features(
    encoder: BeastEncoder, sessions: Sequence[Session], config: Config
) -> Generator[Progress, None, None]:
    """Scale features by crops spread evenly over the recordings.

    Looks fall anywhere, and anchors do not: they move and differ.
    """
    recordings = _in_order(sessions, config, encoder.size)
    wanted = [_spread(session, crops, _SCALED_ON // len(sessions)) for session, crops in recordings]
    images = (_cut(session, crops, own, encoder.grey) for (session, crops), own in zip(recordings, wanted, strict=True))
    yield from encoder.take_scale(chain.from_iterable(images), sum(int(own.sum()) for own in wanted))


def _spread(session: Session, crops: Crops, most: int) -> np.ndarray:
    """(T, A) bool: all animals that are there at frames of even distance, about so many in all."""
    there = present(session, crops)
    frames = np.flatnonzero(there.any(1))
    count = min(len(frames), max(1, most // there.shape[1]))
    kept = frames[np.linspace(0, len(frames) - 1, count).astype(int)]
    wanted = np.zeros_like(there)
    wanted[kept] = there[kept]
    return wanted


def _cut(session: Session, crops: Crops, wanted: np.ndarray, grey: bool) -> Iterator[np.ndarray]:
    """The crops (S, S[, 3]) of all animals that are wanted (T, A), frame by frame."""
    with session.open_video() as video:
        for t, frame in video.frames(np.flatnonzero(wanted.any(1)), grey=grey):
            for animal in np.flatnonzero(wanted[t]):
                yield crops.cut(frame, t, int(animal))


def _keep(
    beast: Beast,
    encoder: BeastEncoder,
    folder: Path,
    key: str,
    sessions: Sequence[Session],
    config: Config,
    told: dict[str, Any],
) -> None:
    """Write an eye, the file that says it is whole last."""
    made = {
        "key": key,
        "recordings": [session.recording for session in sessions],
        "beast": config.beast.model_dump(),
        "crop": config.vision.crop,
        "crop_scale": config.vision.crop_scale,
        "confidence_threshold": config.features.confidence_threshold,
        "seed": config.training.seed,
    }
    for name, content in (("config.json", made), ("metrics.json", told)):
        with atomic_path(folder / name) as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_beast(beast, encoder, folder)


def _told(history: BeastHistory, n_anchors: int, reading: float, device: torch.device) -> dict[str, Any]:
    """How a pretraining went, in plain values."""
    losses = asdict(history)
    minutes = (losses.pop("seconds") + reading) / 60
    return {"anchors": n_anchors, "minutes": round(minutes, 2), "memory_gb": round(_peak(device) / 1e9, 2), **losses}


def _peak(device: torch.device) -> float:
    """The most memory that this process has had so far, in bytes: the device's own, or of a CPU the system's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset)
    import resource  # is not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else 1024 * peak)


def _home(session: Session, key: str) -> Path:
    if session.path is None:
        raise InputError(f"{session.recording} is in memory only; save it first, or name a folder for the eye.")
    return session.path / "beast" / key


def _is_done(folder: Path, key: str) -> bool:
    """Whether a folder holds the eye that is asked for, whole."""
    try:
        made = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return (folder / "encoder.json").exists() and isinstance(made, dict) and made.get("key") == key
    except (OSError, ValueError):
        return False


def _check_folder(folder: Path, frames: Path, checkpoint: Path) -> None:
    """Refuse a folder that holds anything but this pretraining, cut off: what is there is somebody's."""
    cut_off = frames.exists() or checkpoint.exists()
    if folder.is_file() or (not cut_off and folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            f"{folder} is a file or holds something else already, such as a model or an eye with other settings; "
            "choose another folder with --out."
        )


def _check_size(sessions: Sequence[Session], beast: Beast) -> None:
    """Refuse videos whose frames have fewer pixels than the model has patches."""
    side = beast.shape.image_size // beast.shape.patch_size
    for session in sessions:
        assert session.video is not None  # eye_key refuses others
        if min(session.video.width, session.video.height) < side:
            raise InputError(
                f"The frames of {session.recording} are {session.video.width}×{session.video.height} pixels, but the "
                f"eye cuts an image into {side}×{side} patches; give a video of at least {side} pixels, or use "
                f"--set beast.size=tiny, which needs {SHAPES['tiny'].image_size // SHAPES['tiny'].patch_size}."
            )
