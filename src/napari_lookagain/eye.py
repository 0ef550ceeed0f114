"""The eye of a session: BEAST pretrained on its own video, and kept in its folder for every later run."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.lib.format import open_memmap

from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted
from napari_lookagain.files import atomic_path
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.vision.beast import SHAPES, Beast
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.beast_training import BeastHistory, train_beast
from napari_lookagain.vision.beast_weights import save_beast, start_beast
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder
from napari_lookagain.vision.frame_selection import choose_anchors, read_triplets

_SCALED_ON = 2000  # images that the scale of features is taken from


def kept_eye(session: Session, config: Config) -> Path | None:
    """The folder of the eye that was pretrained on this session with these settings; None when there is none."""
    if session.path is None or session.video is None:
        return None
    folder = _folder(session, config)
    return folder if (folder / "encoder.json").exists() else None


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
        Folder for the eye; by default in the folder of the first session, where `kept_eye` finds it.
    device
        "auto", "cpu", "cuda" or "mps".

    Returns
    -------
    BeastEncoder
        Kept in the folder together with what only pretraining needs, its settings and how it went. One that was cut
        off goes on where it was.

    Raises
    ------
    InputError
        When a session has no video, nothing moves in it, a folder holds an eye already, or weights do not fit.
    """
    folder = _folder(sessions[0], config) if out is None else out
    _check(sessions, folder)
    begun, place = time.perf_counter(), accelerator(device)
    torch.manual_seed(config.training.seed)
    beast = start_beast(config.beast)
    _check_size(sessions, beast)
    key = _key(sessions, config)
    frames, checkpoint = folder / f"frames-{key}.npy", folder / "pretraining.pt"
    with place.main_process_first():  # of several processes one reads, and the others find what it read
        if not frames.exists():
            yield from _read(sessions, config, beast, frames)
    triplets = np.load(frames, mmap_mode="r", allow_pickle=False)
    if config.beast.start == "scratch":
        _take_scale(beast, triplets)
    history = yield from train_beast(
        beast, triplets, config.beast, seed=config.training.seed, device=device, checkpoint=checkpoint, key=key
    )
    some = np.linspace(0, len(triplets) - 1, min(len(triplets), _SCALED_ON)).astype(int)
    encoder = BeastEncoder.of(beast, triplets[some, 1], str(place.device))
    if place.is_main_process:
        told = _told(history, len(triplets), (time.perf_counter() - begun) / 60)
        _keep(beast, encoder, folder, sessions, config, told)
        for path in (frames, checkpoint):
            path.unlink(missing_ok=True)
    place.wait_for_everyone()
    return encoder


def open_encoder(
    sessions: Sequence[Session], config: Config, device: str = "auto"
) -> Generator[Progress, None, VisionEncoder]:
    """The encoder that is configured: of "beast" the one that a session keeps, or a new one, which the first will keep.

    Raises
    ------
    InputError
        As in `load_encoder` and `pretrain_eye`.
    """
    name: str | Path = config.vision.encoder
    if name == "beast":
        kept = [folder for folder in (kept_eye(session, config) for session in sessions) if folder is not None]
        if not kept:
            return (yield from pretrain_eye(sessions, config, device=device))
        name = kept[0]
    return load_encoder(name, str(accelerator(device).device))


def crops_of(session: Session, config: Config, size: int) -> Crops:
    """What an encoder of this size is shown of a session; keypoints that are not trusted place no crop."""
    placed = trusted(session, config.features.confidence_threshold)
    return Crops(placed, config.vision.crop, config.vision.crop_scale, size)


def settings_of(folder: Path) -> Config:
    """How an eye was made and is to be used; of an encoder that says nothing of it, the settings of "quick"."""
    try:
        made = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        vision = {"crop": made["crop"], "crop_scale": made["crop_scale"]}
        return Config.preset("quick", beast=made["beast"], vision=vision)
    except FileNotFoundError:
        return Config.preset("quick")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'} does not describe an eye ({error}); pretrain it again.") from error


def told_of(folder: Path) -> dict[str, Any]:
    """How the pretraining of an eye went: anchors, minutes, memory, and the last of every loss."""
    told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {name: value[-1] if isinstance(value, list) else value for name, value in told.items() if value != []}


def _read(sessions: Sequence[Session], config: Config, beast: Beast, path: Path) -> Generator[Progress, None, None]:
    """Choose the frames of all recordings, and write them to a file beside its place, (N, 3, S, S[, 3]) uint8."""
    shape, settings = beast.shape, config.beast
    crops = [crops_of(session, config, shape.image_size) for session in sessions]
    chosen = []
    for session, crop in zip(sessions, crops, strict=True):
        seed, select = config.training.seed, settings.select
        anchors = yield from choose_anchors(session, crop, settings.anchors, select=select, seed=seed)
        chosen.append(anchors)
    color = () if shape.channels == 1 else (3,)
    count = sum(map(len, chosen))
    with atomic_path(path) as temporary:
        out = open_memmap(temporary, "w+", np.uint8, (count, 3, shape.image_size, shape.image_size, *color))
        first = 0
        for session, crop, anchors in zip(sessions, crops, chosen, strict=True):
            yield from read_triplets(session, crop, anchors, shape.channels == 1, out[first : first + len(anchors)])
            first += len(anchors)
        out.flush()


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


def _keep(
    beast: Beast,
    encoder: BeastEncoder,
    folder: Path,
    sessions: Sequence[Session],
    config: Config,
    told: dict[str, Any],
) -> None:
    """Write an eye, the file that says it is whole last."""
    made = {
        "recordings": [session.recording for session in sessions],
        "beast": config.beast.model_dump(),
        "crop": config.vision.crop,
        "crop_scale": config.vision.crop_scale,
        "seed": config.training.seed,
    }
    for name, content in (("config.json", made), ("metrics.json", told)):
        with atomic_path(folder / name) as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_beast(beast, encoder, folder)


def _told(history: BeastHistory, n_anchors: int, minutes: float) -> dict[str, Any]:
    """How a pretraining went, in plain values."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss
    return {"anchors": n_anchors, "minutes": round(minutes, 2), "memory_gb": round(peak / 1e9, 2), **asdict(history)}


def _check(sessions: Sequence[Session], folder: Path) -> None:
    blind = [session.recording for session in sessions if session.video is None]
    if blind:
        raise InputError(f"{', '.join(blind)} has no video to learn from; make the session with one.")
    if folder.is_file() or (folder / "encoder.json").exists():
        raise InputError(f"{folder} is a file or holds an encoder already; choose another folder with --out.")


def _check_size(sessions: Sequence[Session], beast: Beast) -> None:
    """Refuse videos whose frames have fewer pixels than the model has patches."""
    side = beast.shape.image_size // beast.shape.patch_size
    for session in sessions:
        assert session.video is not None
        if min(session.video.width, session.video.height) < side:
            raise InputError(
                f"The frames of {session.recording} are {session.video.width}×{session.video.height} pixels, but the "
                f"eye cuts an image into {side}×{side} patches; give a video of at least {side} pixels, or use "
                f"--set beast.size=tiny, which needs {SHAPES['tiny'].image_size // SHAPES['tiny'].patch_size}."
            )


def _folder(session: Session, config: Config) -> Path:
    if session.path is None:
        raise InputError(f"{session.recording} is in memory only; save it first, or name a folder for the eye.")
    return session.path / "beast" / _key([session], config)


def _key(sessions: Sequence[Session], config: Config) -> str:
    """Differs when the settings, the rule of crops or the videos differ."""
    digest = blake2b(config.beast.model_dump_json().encode(), digest_size=8)
    digest.update(f"{config.vision.crop} {config.vision.crop_scale} {config.training.seed}".encode())
    digest.update(f"{config.features.confidence_threshold}".encode())
    for session in sessions:
        assert session.video is not None
        digest.update(
            f"{session.video.fingerprint} {session.heading}".encode()
        )  # a corrected keypoint costs no new eye
    return digest.hexdigest()
