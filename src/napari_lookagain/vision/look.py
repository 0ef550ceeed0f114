"""Looking: decode the chosen frames, and no other, and encode what is seen of each animal."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted
from napari_lookagain.progress import Progress
from napari_lookagain.vision.cache import FeatureCache, FeatureMemory, Features
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.encoder import ChoosesPrecision, VisionEncoder, What
from napari_lookagain.vision.on_the_fly import OnTheFly, Seen
from napari_lookagain.vision.pipeline import Writer, work_ahead

if TYPE_CHECKING:
    from napari_lookagain.config import Config
    from napari_lookagain.session import Session

_SPAN = 1 << 16  # frames whose rows are listed at a time


def open_features(session: Session, encoder: VisionEncoder, crops: Crops, what: What = "mean") -> FeatureCache | None:
    """Open the session's cache for the features of this encoder and crop rule, None for a session only in memory.

    Whole frames are the same for all animals, and are kept once. Crops follow the keypoints: when these are corrected,
    another cache is opened, because a crop placed by two animals confused shows the other one.

    Raises
    ------
    InputError
        When its folder cannot be written.
    """
    if session.path is None or session.video is None:
        return None
    key = f"{encoder.name}-{encoder.fingerprint}-{crops.key}-{session.video.fingerprint}"
    if crops.kind != "frame":
        places = blake2b(np.ascontiguousarray(session.keypoints).data, digest_size=16).hexdigest()
        key += f"-{places}"
    if what != "mean":
        key += f"-{what}"
    return FeatureCache(session.features_folder, key, _shape(session, encoder, crops, what))


def crops_of(session: Session, config: Config, size: int) -> Crops:
    """What an encoder of this size is shown of a session; crops are placed by keypoints that the model trusts."""
    return _crops_of_trusted(trusted(session, config.features.confidence_threshold), config, size)


def read_by(config: Config) -> What:
    """What the pooling of a model reads of an image."""
    return "patches" if config.vision.pooling == "attention" else "mean"


def see(
    session: Session, encoder: VisionEncoder, config: Config, looked: np.ndarray, what: What = "mean"
) -> Generator[Progress, None, Seen]:
    """Look with the configured crops and keep what is seen in the session's folder; see `look`.

    Where nothing is to be kept (`vision.keep`), nothing is looked at before it is read.
    """
    if isinstance(encoder, ChoosesPrecision):
        encoder = encoder.in_precision(config.vision.precision)
    session = trusted(session, config.features.confidence_threshold)
    crops = _crops_of_trusted(session, config, encoder.size)
    if not config.vision.keep:
        return OnTheFly(session, encoder, crops, what)
    return (yield from look(session, encoder, crops, looked, open_features(session, encoder, crops, what), what))


def look(
    session: Session,
    encoder: VisionEncoder,
    crops: Crops,
    looked: np.ndarray,
    cache: FeatureCache | None = None,
    what: What = "mean",
    batch: int = 16,
) -> Generator[Progress, None, Features]:
    """Encode the video where it is looked at: `v_raw = MeanPool(f_vision(I_t))` (Eq. 7), or what pooling would read.

    Only frames at which something is missing are decoded, each once for all its animals; no video is opened when
    nothing is. One thread decodes and cuts, a few batches ahead of the caller's, which encodes. A run that is cancelled
    resumes where it was, one that is killed a second or a batch earlier.

    Parameters
    ----------
    session, encoder, crops
        What is looked at, by whom, and at which part of the frame.
    looked
        Where to look, (T, A) bool.
    cache
        Where features are kept; without one they are held in memory.
    what, batch
        What the encoder gives (patches as one row of P · D_v numbers), and images encoded together, across frames.

    Yields
    ------
    Progress
        After every batch, and ten times a second while none is ready; `done` counts the images encoded.

    Returns
    -------
    FeatureCache or FeatureMemory
        The cache, or what stands in for it: `read(rows)` gives the features (N, D_v) of rows (N, 2), frame and animal.

    Raises
    ------
    InputError
        When `looked` does not fit the session, the video cannot be read, or the disk is full.
    """
    if looked.shape != (session.n_frames, session.n_animals):
        raise InputError(f"Looks are of shape {looked.shape}, expected {session.n_frames, session.n_animals}.")
    shape = _shape(session, encoder, crops, what)
    features: Features = FeatureMemory(shape, np.argwhere(looked)) if cache is None else cache
    missing = _missing(features, looked)
    done, total = 0, int(missing.sum())
    if total == 0:
        return features
    if cache is not None:
        cache.reserve(total)
    with closing(work_ahead(_batches(session, encoder.grey, crops, missing, batch))) as ready, Writer(features) as kept:
        for item in ready:
            if item is not None:
                rows, images = item
                encoded = encoder.encode(images, what)  # (N, D_v), or (N, P, D_v)
                kept.write(rows, encoded.reshape(len(rows), -1))
                done += len(rows)
            yield Progress(done, total, "looking at the video")
    return features


def _crops_of_trusted(session: Session, config: Config, size: int) -> Crops:
    return Crops(session, config.vision.crop, config.vision.crop_scale, size)


def _missing(features: Features, looked: np.ndarray) -> np.ndarray:
    """Where it is still to be looked, of (T, A) bool: the same shape, or (T, 1) where one row serves all animals."""
    missing = np.zeros(features.shape[:2], bool)
    for start in range(0, len(looked), _SPAN):
        frames, animals = looked[start : start + _SPAN].nonzero()
        rows = features.missing(np.column_stack([frames + start, animals]))
        missing[rows[:, 0], rows[:, 1]] = True
    return missing


def _batches(
    session: Session, grey: bool, crops: Crops, missing: np.ndarray, batch: int
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Decode every frame of (T, A) bool once: rows (N, 2), in order, and the images of these animals there."""
    rows: list[tuple[int, int]] = []
    images: list[np.ndarray] = []
    with session.open_video() as video:
        for start in range(0, len(missing), _SPAN):
            frames = np.flatnonzero(missing[start : start + _SPAN].any(1)) + start
            for index, frame in video.frames(frames, grey=grey, view=True):
                for animal in np.flatnonzero(missing[index]).tolist():
                    rows.append((index, animal))
                    images.append(crops.cut(frame, index, animal))
                    if len(rows) == batch:
                        yield np.array(rows), np.stack(images)
                        rows, images = [], []
    if rows:
        yield np.array(rows), np.stack(images)


def _shape(session: Session, encoder: VisionEncoder, crops: Crops, what: What) -> tuple[int, int, int]:
    width = encoder.width * (encoder.n_patches if what == "patches" else 1)
    return session.n_frames, 1 if crops.kind == "frame" else session.n_animals, width
