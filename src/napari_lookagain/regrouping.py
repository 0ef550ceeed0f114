"""Merging and splitting classes: which frames go where, and what becomes of labels and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.files import atomic_path

FIT_FRAMES = 50_000  # frames that k-means learns from
_CHUNK = 65_536  # frames placed at a time


def part_frames(features: np.ndarray, within: np.ndarray, parts: int, seed: int = 0) -> np.ndarray:
    """Part frames by k-means on their features, every column on one scale.

    Parameters
    ----------
    features
        (T, A, F); what is not finite counts as the mean of its column.
    within
        (T, A) bool: the frames to part.
    parts
        How many parts, 2 to 9.
    seed
        The same seed gives the same parts.

    Returns
    -------
    np.ndarray
        (T, A) int8, the part that every frame is nearest to, those outside of `within` too; the largest part is 0.

    Raises
    ------
    InputError
        When the features are of other frames, or too few frames differ for so many parts.
    """
    if features.ndim != 3 or features.shape[:2] != within.shape:
        raise InputError(f"The features are {features.shape}, expected (T, A, F) with {within.shape} frames, animals.")
    rows = features[within].astype(np.float32)  # (M, F)
    generator = np.random.default_rng(seed)
    rows = rows[np.sort(generator.permutation(len(rows))[:FIT_FRAMES])]
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (rows - mean) ** 2, 0).sum(axis=0) / count)
    scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)  # a column that never differs tells nothing

    def scaled(some: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(some), (some - mean) * scale, 0).astype(np.float32)

    rows = scaled(rows)
    if len(np.unique(rows, axis=0)) < parts:
        raise InputError(f"These frames are too few or too much alike for {parts} parts; ask for fewer.")
    kmeans = KMeans(parts, n_init=5, random_state=seed)
    part = np.empty(within.shape, np.int8)
    with threadpool_limits(1):  # threads add up their shares in any order, and rounding then differs from run to run
        kmeans.fit(rows)
        for start in range(0, len(part), _CHUNK):
            some = scaled(np.asarray(features[start : start + _CHUNK], np.float32))
            part[start : start + _CHUNK] = kmeans.predict(some.reshape(-1, some.shape[-1])).reshape(some.shape[:2])
    order = np.argsort(-np.bincount(part[within], minlength=parts), kind="stable")
    return np.argsort(order).astype(np.int8)[part]


def ethogram_features(ethogram: Ethogram) -> np.ndarray:
    """What an ethogram alone tells frames apart by, (T, A, K + 3): log-probabilities, and the terms of the gate."""
    sure = np.log(np.maximum(ethogram.probabilities.astype(np.float32), 1e-4))
    terms = (ethogram.reliability, ethogram.saliency, ethogram.semantics)
    return np.concatenate([sure, np.stack(terms, axis=-1)], axis=-1)


def parts_digest(part: np.ndarray) -> str:
    """Tell a part of every frame, (T, A) int8, from any other."""
    return blake2b(np.ascontiguousarray(part).data, digest_size=8).hexdigest()


def save_parts(part: np.ndarray, path: Path) -> None:
    """Keep the part of every frame, (T, A) int8; errors as in `atomic_path`."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, part=part)


def load_parts(path: Path, digest: str) -> np.ndarray:
    """Read the part of every frame, (T, A) int8.

    Raises
    ------
    InputError
        When the file is not there, or not what was kept.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            part: np.ndarray = file["part"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}, which tells how a cluster was split, is missing or damaged ({error})") from error
    if parts_digest(part) != digest:
        raise InputError(f"{path} does not hold what a cluster was split into")
    return part


def merge_table(n_classes: int, indices: Sequence[int]) -> np.ndarray:
    """New index of each class, (K,) int16, when some become one in the place of the first of them."""
    dropped = set(indices[1:])
    table = np.cumsum([index not in dropped for index in range(n_classes)]).astype(np.int16) - np.int16(1)
    table[list(dropped)] = table[indices[0]]
    return table


def merge_labels(label: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(T, A) labels under new indices, -1 where the table (K,) says so; -1 stays."""
    return np.append(table, np.int16(-1))[label]


def merge_probabilities(probabilities: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Sum (T, A, K) probabilities by the new index of each class, leaving out those of -1."""
    merged = np.zeros((*probabilities.shape[:2], int(table.max(initial=-1)) + 1), probabilities.dtype)
    for old, new in enumerate(table):
        if new >= 0:
            merged[..., new] += probabilities[..., old]
    return merged


def split_labels(label: np.ndarray, index: int, parts: int, part: np.ndarray) -> np.ndarray:
    """(T, A) labels once a class has become several, which take its place."""
    later = np.where(label > index, label + np.int16(parts - 1), label)
    return np.where(label == index, np.int16(index) + part, later)


def split_probabilities(probabilities: np.ndarray, index: int, parts: int, part: np.ndarray) -> np.ndarray:
    """(T, A, K) probabilities once a class has become several: at each frame its part takes all of it."""
    own = probabilities[..., index, None] * (part[..., None] == np.arange(parts))
    return np.concatenate([probabilities[..., :index], own, probabilities[..., index + 1 :]], axis=-1)
