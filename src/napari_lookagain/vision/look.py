"""Looking: decode the chosen frames, and no other, and encode what is seen of each animal."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted
from napari_lookagain.progress import Progress
from napari_lookagain.vision.cache import FeatureCache, FeatureMemory, Features
from napari_lookagain.vision.crops import Crops, in_one_thread
from napari_lookagain.vision.encoder import OnDevice, VisionEncoder, What, as_configured
from napari_lookagain.vision.on_the_fly import OnTheFly, Seen
from napari_lookagain.vision.pipeline import Writer, work_ahead

if TYPE_CHECKING:
    from napari_lookagain.config import Config
    from napari_lookagain.session import Session
    from napari_lookagain.video import Video

_SPAN = 1 << 16  # frames whose rows are listed at a time
_BATCHES = 8  # that a stretch of the video holds, at least: the last one of every stretch is not full
_MOST_DECODERS = 8
_SMALL = 128  # pixels, side of the images of an encoder that is about as fast as decoding

Batch = tuple[np.ndarray, np.ndarray]  # rows (N, 2) of frame and animal, and their images (N, S, S[, 3])


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
    session, encoder, crops = _settle(session, encoder, config)
    if not config.vision.keep:
        return OnTheFly(session, encoder, crops, what)
    return (yield from look(session, encoder, crops, looked, open_features(session, encoder, crops, what), what))


def kept(session: Session, encoder: VisionEncoder, config: Config, what: What = "mean") -> FeatureCache | None:
    """Open what `see` has kept by these settings, None for a session only in memory; see `open_features`."""
    session, encoder, crops = _settle(session, encoder, config)
    return open_features(session, encoder, crops, what)


def look(
    session: Session,
    encoder: VisionEncoder,
    crops: Crops,
    looked: np.ndarray,
    cache: FeatureCache | None = None,
    what: What = "mean",
    batch: int = 16,
    decoders: int | None = None,
) -> Generator[Progress, None, Features]:
    """Encode the video where it is looked at: `v_raw = MeanPool(f_vision(I_t))` (Eq. 7), or what pooling would read.

    Only frames at which something is missing are decoded, each once for all its animals; no video is opened when
    nothing is. A run that is cancelled resumes where it was, one that is killed a second or a batch earlier.

    Parameters
    ----------
    session, encoder, crops
        What is looked at, by whom, and at which part of the frame.
    looked
        Where to look, (T, A) bool.
    cache
        Where features are kept; without one they are held in memory.
    what, batch, decoders
        What the encoder gives (patches as one row of P · D_v numbers), images encoded together, and threads that decode
        and cut, whose number changes no feature: by default 1, for a GPU one less than there are cores, at most 8.

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
    features: Features = cache or FeatureMemory(_shape(session, encoder, crops, what), np.argwhere(looked))
    missing = _missing(features, looked)
    done, total = 0, int(missing.sum())
    if total == 0:
        return features
    if cache is not None:
        cache.reserve(total)
    ahead = _made_ahead(session, encoder, crops, missing, batch, decoders := decoders or _decoders(encoder))
    with _beside(encoder, decoders), closing(ahead), Writer(features) as kept:
        for item in ahead:
            if item is not None:
                rows, images = item
                kept.write(rows, encoder.encode(images, what).reshape(len(rows), -1))  # patches flat
                done += len(rows)
            yield Progress(done, total, "looking at the video")
    return features


def _settle(session: Session, encoder: VisionEncoder, config: Config) -> tuple[Session, VisionEncoder, Crops]:
    """Who looks by these settings, and at what: kept features are found again by all three."""
    encoder = as_configured(encoder, config.vision)
    session = trusted(session, config.features.confidence_threshold)
    return session, encoder, _crops_of_trusted(session, config, encoder.size)


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


def _device(encoder: VisionEncoder) -> str:
    return encoder.device.partition(":")[0] if isinstance(encoder, OnDevice) else "cpu"


def _stacker(encoder: VisionEncoder) -> Callable[[list[np.ndarray]], np.ndarray]:
    if _device(encoder) != "cuda":
        return np.stack
    from napari_lookagain.vision.placement import stack_pinned

    return stack_pinned


def _beside(encoder: VisionEncoder, decoders: int) -> AbstractContextManager[None]:
    """Leave cores to who decodes while an encoder of torch is at work: with more threads than cores both are slower.

    An encoder of large images takes a hundred times as long as decoding them does, and keeps all cores.
    """
    if not isinstance(encoder, OnDevice) or encoder.size > _SMALL:
        return nullcontext()
    from napari_lookagain.device import leave_cores

    return leave_cores(decoders)


def _decoders(encoder: VisionEncoder) -> int:
    if _device(encoder) == "cpu":
        return 1
    from dask.system import cpu_count

    return max(1, min(cpu_count() - 1, _MOST_DECODERS))


def _made_ahead(
    session: Session, encoder: VisionEncoder, crops: Crops, missing: np.ndarray, batch: int, decoders: int
) -> Generator[Batch | None, None, None]:
    """Batches of all that is missing, made in threads, and None while there is none; the video outlives the threads."""
    with in_one_thread(), ExitStack() as opened:
        parts = _parts(opened, session, encoder, crops, missing, batch)
        yield from opened.enter_context(closing(work_ahead(parts, decoders)))


def _parts(
    opened: ExitStack, session: Session, encoder: VisionEncoder, crops: Crops, missing: np.ndarray, batch: int
) -> Iterator[Generator[Batch, None, None]]:
    """Part (T, A) bool into stretches of the video, which `opened` closes, and give the batches of each.

    They are the same however many threads make them: how features are rounded depends on what is encoded together.
    """
    video = opened.enter_context(session.open_video())
    crops.affine(0, 0)  # where all crops lie is found here, once, and not by every thread
    frames = np.flatnonzero(missing.any(1))
    group = np.searchsorted(video.keyframes, frames, side="right")  # of pictures, decoded from one keyframe
    for stretch in _stretches(group, missing[frames].sum(1), _BATCHES * batch):
        yield _batches(video, encoder, crops, missing, frames[stretch], batch)


def _stretches(group: np.ndarray, images: np.ndarray, least: int) -> Iterator[slice]:
    """Part frames, of which group and number of images are given, (F,) each, into whole groups of enough images."""
    made, begin, before = images.cumsum(), 0, 0
    for cut in (np.flatnonzero(np.diff(group)) + 1).tolist():
        if made[cut - 1] - before >= least:
            yield slice(begin, cut)
            begin, before = cut, made[cut - 1]
    yield slice(begin, len(group))


def _batches(
    video: Video, encoder: VisionEncoder, crops: Crops, missing: np.ndarray, frames: np.ndarray, batch: int
) -> Generator[Batch, None, None]:
    """Decode every frame once: rows (N, 2), in order, and the images of the animals that are missing there."""
    rows: list[tuple[int, int]] = []
    images: list[np.ndarray] = []
    stack = _stacker(encoder)
    for index, frame in video.frames(frames, grey=encoder.grey, view=True):
        for animal in np.flatnonzero(missing[index]).tolist():
            rows.append((index, animal))
            images.append(crops.cut(frame, index, animal))
            if len(rows) == batch:
                yield np.array(rows), stack(images)
                rows, images = [], []
    if rows:
        yield np.array(rows), stack(images)


def _shape(session: Session, encoder: VisionEncoder, crops: Crops, what: What) -> tuple[int, int, int]:
    width = encoder.width * (encoder.n_patches if what == "patches" else 1)
    return session.n_frames, 1 if crops.kind == "frame" else session.n_animals, width
