"""Looking: decode the chosen frames, and no other, and encode what is seen of each animal."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted
from napari_lookagain.progress import Progress
from napari_lookagain.vision.cache import FeatureCache, FeatureMemory, Features
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.encoder import VisionEncoder, What
from napari_lookagain.vision.on_the_fly import OnTheFly, Seen

if TYPE_CHECKING:
    from napari_lookagain.config import Config
    from napari_lookagain.session import Session


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
    nothing is. What is encoded goes into the cache at once, so a run that is cancelled or killed resumes where it was.

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
        After every frame decoded; `done` counts the images encoded.

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
    rows = np.argwhere(looked)
    features: Features = FeatureMemory(_shape(session, encoder, crops, what), rows) if cache is None else cache
    missing = features.missing(rows)
    if len(missing) == 0:
        return features
    if cache is not None:
        cache.reserve(len(missing))
    done = 0
    waiting: list[np.ndarray] = []
    for images in _images(session, encoder, crops, missing):
        waiting += images
        while len(waiting) >= batch or (waiting and done + len(waiting) == len(missing)):
            some = waiting[:batch]
            encoded = encoder.encode(np.stack(some), what)  # (N, D_v), or (N, P, D_v)
            features.write(missing[done : done + len(some)], encoded.reshape(len(some), -1))
            waiting, done = waiting[batch:], done + len(some)
        yield Progress(done, len(missing), "looking at the video")
    return features


def _crops_of_trusted(session: Session, config: Config, size: int) -> Crops:
    return Crops(session, config.vision.crop, config.vision.crop_scale, size)


def _images(session: Session, encoder: VisionEncoder, crops: Crops, rows: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Decode every frame of sorted rows (N, 2) once, and give the crops of its animals in the order of the rows."""
    animals = {frame: [int(a) for _, a in group] for frame, group in groupby(rows.tolist(), key=lambda row: row[0])}
    with session.open_video() as video:
        for index, frame in video.frames(list(animals), grey=encoder.grey):
            yield [crops.cut(frame, index, animal) for animal in animals[index]]


def _shape(session: Session, encoder: VisionEncoder, crops: Crops, what: What) -> tuple[int, int, int]:
    width = encoder.width * (encoder.n_patches if what == "patches" else 1)
    return session.n_frames, 1 if crops.kind == "frame" else session.n_animals, width
