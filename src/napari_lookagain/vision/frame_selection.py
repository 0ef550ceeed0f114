"""Which frames a vision encoder learns from: those that move, as different from each other as can be."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress
from napari_lookagain.vision.crops import Crops, present

if TYPE_CHECKING:
    from napari_lookagain.session import Session

THUMBNAIL = 32  # pixels of a thumbnail's side, in which movement is measured and frames are compared
_MOST_THUMBNAILS = 40_000  # kept of a recording; 40 MB
_COMPONENTS = 32  # of thumbnails, in which they are clustered
_FEWEST = 4  # anchors that pairs can be contrasted with


def choose_anchors(
    session: Session,
    crops: Crops,
    n_anchors: int,
    *,
    select: Literal["energy", "random"] = "energy",
    seed: int = 0,
) -> Generator[Progress, None, np.ndarray]:
    """Choose frames that move and differ (appendix B.2 of the BEAST paper).

    Everything is shrunk to 32 × 32 pixels. Motion energy is the mean absolute difference from the frame before; of the
    frames, or with crops the animals at a frame, the lower half by motion energy is left out. What remains is
    clustered by k-means, with as many clusters as anchors are wanted, on its first 32 principal components (the
    paper's table 4 names them, its text does not), and of every cluster the frame nearest to the center is taken.

    The video is read once, from its first frame to its last, and memory does not grow with it: of a recording of more
    than 40 000 frames times animals, every second, third, … can be chosen (◇).

    Parameters
    ----------
    session
        With a video.
    crops
        What an image shows; its `size` does not matter here.
    n_anchors
        How many are wanted. Where fewer move, those that do are taken, with a warning.
    select
        "random" draws them, moving or not.
    seed
        Of the draw and of k-means.

    Yields
    ------
    Progress
        After every frame.

    Returns
    -------
    np.ndarray
        (N, 2) frame and animal of every anchor, in their order; there are a frame before and a frame after.

    Raises
    ------
    InputError
        When nothing moves in the video, or there are fewer than 4 frames to choose from.
    """
    watched = yield from _watch(session, Crops(session, crops.kind, crops.scale, THUMBNAIL))
    rows = _candidates(session, crops, watched)
    if select == "energy":
        rows = _moving(session, rows, watched.energy[rows[:, 0], rows[:, 1]], n_anchors)
    _check_enough(session, len(rows), n_anchors)
    if len(rows) <= n_anchors:
        return rows
    if select == "random":
        return rows[np.sort(np.random.default_rng(seed).choice(len(rows), n_anchors, replace=False))]
    yield Progress(0, 1, "choosing frames that differ")
    return rows[_different(watched.thumbnails[rows[:, 0] // watched.step, rows[:, 1]], n_anchors, seed)]


def read_triplets(
    session: Session, crops: Crops, anchors: np.ndarray, grey: bool, out: np.ndarray
) -> Generator[Progress, None, None]:
    """Read every anchor between its two neighbors in time.

    Parameters
    ----------
    session, crops
        What is looked at, and which part of it; `crops.size` is the side of the images.
    anchors
        (N, 2) frame and animal.
    grey
        Whether images have one channel.
    out
        (N, 3, size, size[, 3]) uint8 to be filled: the frame before, the anchor, the frame after.
    """
    wanted: dict[int, list[tuple[int, int, int]]] = {}
    for i, (frame, animal) in enumerate(anchors.tolist()):
        for k in range(3):
            wanted.setdefault(frame + k - 1, []).append((i, k, animal))
    with session.open_video() as video:
        for done, (t, image) in enumerate(video.frames(list(wanted), grey=grey)):
            for i, k, animal in wanted[t]:
                out[i, k] = crops.cut(image, t, animal)
            yield Progress(done + 1, len(wanted), "reading the chosen frames")


@dataclass(frozen=True)
class _Watched:
    """What was seen of a recording: motion energy (T, A), and (T / step, A, 32, 32) of every step-th frame."""

    energy: np.ndarray
    thumbnails: np.ndarray
    step: int


def _watch(session: Session, crops: Crops) -> Generator[Progress, None, _Watched]:
    """Read the video once, thumbnail by thumbnail."""
    animals = range(1 if crops.kind == "frame" else session.n_animals)
    step = max(1, int(np.ceil(session.n_frames * len(animals) / _MOST_THUMBNAILS)))
    energy = np.zeros((session.n_frames, len(animals)), np.float32)
    kept = np.zeros((-(-session.n_frames // step), len(animals), THUMBNAIL, THUMBNAIL), np.uint8)
    before: np.ndarray | None = None
    with session.open_video() as video:
        for t, frame in video.frames(np.arange(session.n_frames), grey=True):
            now = np.stack([crops.cut(frame, t, animal) for animal in animals])  # (A, 32, 32)
            if before is not None:
                energy[t] = np.abs(now.astype(np.int16) - before).mean((1, 2))
            if t % step == 0:
                kept[t // step] = now
            before = now
            yield Progress(t + 1, session.n_frames, "looking for frames that move")
    return _Watched(energy, kept, step)


def _candidates(session: Session, crops: Crops, watched: _Watched) -> np.ndarray:
    """(N, 2) frames that have neighbors, and the animals that are there."""
    frames = np.zeros(session.n_frames, bool)
    frames[1:-1] = True
    frames[np.arange(session.n_frames) % watched.step != 0] = False
    return np.argwhere(frames[:, None] & present(session, crops))


def _check_enough(session: Session, n_found: int, n_anchors: int) -> None:
    if n_found < _FEWEST:
        raise InputError(
            f"{session.recording} has {n_found} frames that the eye could learn from, expected at least {_FEWEST}; "
            "give a longer video."
        )
    if n_found < n_anchors:
        warnings.warn(
            f"{session.recording} has only {n_found} frames to learn from, fewer than the {n_anchors} anchors "
            "asked for; all of them are taken (beast.anchors asks for fewer).",
            UserWarning,
            stacklevel=3,
        )


def _moving(session: Session, rows: np.ndarray, energy: np.ndarray, n_anchors: int) -> np.ndarray:
    """The upper half by motion energy; where that is too few, all that move."""
    if not len(rows):
        return rows
    if not (energy > 0).any():
        raise InputError(
            f"Nothing moves in the video of {session.recording}: every frame is like the one before, so there is "
            "nothing to learn; check that it is the right video."
        )
    upper = rows[(energy > 0) & (energy >= np.median(energy))]
    return upper if len(upper) >= n_anchors else rows[energy > 0]


def _different(thumbnails: np.ndarray, n_anchors: int, seed: int) -> np.ndarray:
    """Indices of as many thumbnails (N, 32, 32), one for each cluster, in rising order."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32) / 255
    with threadpool_limits(1):  # rounding depends on their number, and the same seed gives the same frames
        low = PCA(min(_COMPONENTS, *flat.shape), svd_solver="randomized", random_state=seed).fit_transform(flat)
        means = KMeans(n_anchors, n_init=1, max_iter=50, random_state=seed).fit(low)
    distance = ((low - means.cluster_centers_[means.labels_]) ** 2).sum(1)
    order = np.lexsort([distance, means.labels_])
    _, first = np.unique(means.labels_[order], return_index=True)
    return np.sort(order[first])
