"""What tests of the baselines may ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.session import PoseSource, Session

NAMES = ("tail", "nose", "left", "right")


@pytest.fixture(scope="session")
def walk() -> Callable[..., Session]:
    """A session in memory of animals that walk or rest, by turns of 40 frames, each frame scored."""

    def make(seed: int = 0, n_frames: int = 400, n_animals: int = 1) -> Session:
        rng = np.random.default_rng(seed)
        walks = (np.arange(n_frames)[:, None] // 40 + np.arange(n_animals) + seed) % 2 == 0  # (T, A)
        heading = np.cumsum(rng.normal(size=walks.shape) * 0.1, 0) + rng.uniform(0, 6, n_animals)
        step = np.where(walks, 2.0, 0.0)[..., None] * np.stack([np.cos(heading), np.sin(heading)], -1)
        center = np.cumsum(step, 0) + 60 * np.arange(n_animals)[:, None]
        ahead, aside = np.array([-10.0, 10, 0, 0]), np.array([0.0, 0, -4, 4])
        cos, sin = np.cos(heading)[..., None], np.sin(heading)[..., None]
        body = np.stack([ahead * cos - aside * sin, ahead * sin + aside * cos], -1)  # (T, A, J, 2)
        keypoints = center[:, :, None] + body + rng.normal(size=body.shape) * 0.1
        animals = tuple("abc"[:n_animals])
        annotations = Annotations(n_frames, animals)
        annotations.set_frames(np.where(walks, 0, 1), ["walk", "rest"], "truth")
        return Session(
            recording=f"walk {seed}",
            keypoints=keypoints.astype(np.float32),
            confidence=np.ones(keypoints.shape[:3], np.float32),
            animals=animals,
            keypoint_names=NAMES,
            fps=20.0,
            heading=("tail", "nose"),
            pose=PoseSource("/data/walk.csv", "xyz", "00"),
            video=None,
            annotations=annotations,
        )

    return make


@pytest.fixture(scope="session")
def agreement() -> Callable[..., float]:
    """Share of the scored frames of a session that an ethogram tells right."""

    def share(ethogram, session) -> float:
        truth = session.annotations.labels()
        names = np.array(session.annotations.behaviors)
        right = np.array(ethogram.names)[ethogram.label] == names[truth]
        return float(right[truth >= 0].mean())

    return share
