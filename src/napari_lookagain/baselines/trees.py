"""Gradient-boosted trees on hand-crafted features of poses and their statistics over time: the strong baseline."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from napari_lookagain.baselines.pose_features import PoseFeatures
from napari_lookagain.baselines.window_statistics import CHUNK, STATISTICS, in_windows, scored_rows
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.material import behavior_labels
from napari_lookagain.model.lookagain import ModelCard
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Settings

if TYPE_CHECKING:
    from napari_lookagain.session import Session

ROUNDS = 20  # of boosting between two steps of progress
ENOUGH = 3000  # frames that a member is left with at least, where there are so many


class TreesConfig(Settings):
    """What the trees read, and how they are grown."""

    confidence_threshold: float = Field(0.25, ge=0, le=1)
    """Keypoints below this confidence count as missing."""
    windows: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)
    """Seconds over which mean, deviation, least and greatest of every feature are told; none: the frame alone."""
    members: int = Field(2, ge=1)
    """Classifiers whose probabilities are averaged, each grown on frames of its own as far as `step` goes."""
    step: float = Field(0.4, ge=0)
    """Seconds, on average, from one frame that a member learns from to the next, while that leaves it enough frames."""
    rounds: int = Field(100, ge=1)
    """Of boosting; each grows a tree for every behavior."""
    learning_rate: float = Field(0.1, gt=0)
    leaves: int = Field(31, ge=2)
    """Most leaves of a tree."""
    least_frames: int = Field(20, ge=1)
    """In a leaf."""
    columns: float = Field(0.2, gt=0, le=1)
    """Share of the columns that a split is chosen from, drawn anew for every split."""
    balanced: bool = False
    """Weigh frames by the inverse frequency of their class."""
    early_stopping: bool = False
    """Stop when a tenth of the frames, drawn at random, gains nothing in ten rounds. They lie beside frames that are
    learnt from, so it stops late."""
    max_frames: int = Field(100_000, ge=2)
    """More scored frames than this, of all animals, are thinned evenly."""


class Trees:
    """Histogram gradient boosting [1]_ on `PoseFeatures` and their statistics over windows of time.

    What a lab would train today without deep learning: features of poses made by hand, their statistics over the
    second around every frame, and boosted trees, as MARS [2]_ does and in kind SimBA [3]_. Unscored frames are not
    learnt from, though windows reach into them; missing features are told as missing; what the trees say is not
    smoothed over time.

    Frames beside each other are nearly alike. Trees that see all of them learn the bouts of the training by heart; a
    few frames of each second do better, and so does a split chosen from a part of the columns (`docs/results.md`).

    Parameters
    ----------
    config
        All choices.

    References
    ----------
    .. [1] Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree; here as in scikit-learn.
    .. [2] Segalin et al. (2021), The Mouse Action Recognition System (MARS) software pipeline.
    .. [3] Goodwin et al. (2024), Simple Behavioral Analysis (SimBA) as a platform for explainable machine learning.
    """

    kind: Literal["behavior"] = "behavior"
    takes_budget = False

    def __init__(self, config: TreesConfig = TreesConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, TreesLabeler]:
        """Learn from the scored frames, on one core of the CPU; nothing is kept in the folder. See `Method.fit`.

        Raises
        ------
        InputError
            When fewer than two behaviors are scored, or keypoints are missing or differ.
        """
        labels, names = behavior_labels(sessions, None)
        n_neighbors = max(session.n_animals for session in sessions) - 1
        card = ModelCard(sessions[0].keypoint_names, sessions[0].n_coords, 0, n_neighbors, 1, "behavior", names)
        labeler = TreesLabeler(self.config, card)
        reads = [labeler.read(session) for session in sessions]
        windows = [labeler.windows(session) for session in sessions]
        x, y = yield from scored_rows(reads, labels, windows, STATISTICS, self.config.max_frames)
        order = np.random.default_rng(seed).permutation(len(x))
        parts = max(1, min(round(self.config.step * sessions[0].fps), len(x) // ENOUGH))
        for i in range(self.config.members):
            some = np.sort(order[i % parts :: parts])
            labeler.members.append((yield from _grow(self.config, x[some], y[some], seed, i)))
        return labeler


class TreesLabeler:
    """Grown trees, with what they read.

    Parameters
    ----------
    config
        What is read.
    card
        Which keypoints were learnt from, and the names of the behaviors.
    """

    def __init__(self, config: TreesConfig, card: ModelCard) -> None:
        self.config, self.card = config, card
        self.members: list[HistGradientBoostingClassifier] = []

    def read(self, session: Session) -> PoseFeatures:
        """What reads the features of a session; refuses one with other keypoints."""
        self.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
        return PoseFeatures(session, self.config.confidence_threshold, self.card.n_neighbors)

    def windows(self, session: Session) -> list[int]:
        """Lengths of the windows of a session, in frames."""
        return [max(1, round(seconds * session.fps)) for seconds in self.config.windows]

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every animal; no frame is looked at.

        Raises
        ------
        InputError
            When the session has other keypoints than those learnt from.
        """
        read, windows, n_frames, names = self.read(session), self.windows(session), session.n_frames, self.card.names
        probabilities = np.zeros((n_frames, session.n_animals, len(names)), np.float32)
        for start in range(0, n_frames, CHUNK):
            stop = min(start + CHUNK, n_frames)
            x = in_windows(read, start, stop, n_frames, windows)
            rows = x.reshape(-1, x.shape[-1])
            for trees in self.members:
                with threadpool_limits(1):
                    own = trees.predict_proba(rows).reshape(*x.shape[:2], -1)
                probabilities[start:stop, :, trees.classes_] += own / len(self.members)
            yield Progress(stop, n_frames, "reading behavior")
        return Ethogram.from_probabilities(session, probabilities, names, looked=False)


def _grow(
    config: TreesConfig, x: np.ndarray, y: np.ndarray, seed: int, member: int
) -> Generator[Progress, None, HistGradientBoostingClassifier]:
    """Grow the trees of one member from features (M, F) and classes (M,), some rounds at a time."""
    trees = HistGradientBoostingClassifier(
        learning_rate=config.learning_rate,
        max_leaf_nodes=config.leaves,
        min_samples_leaf=config.least_frames,
        max_features=config.columns,
        class_weight="balanced" if config.balanced else None,
        early_stopping=config.early_stopping,
        random_state=1000 * seed + member,
        warm_start=True,  # goes on with the trees there are, and with the draw of columns
    )
    for rounds in [*range(ROUNDS, config.rounds, ROUNDS), config.rounds]:
        with threadpool_limits(1):  # threads add up gradients in another order
            trees.set_params(max_iter=rounds).fit(x, y)
        yield Progress(member * config.rounds + rounds, config.members * config.rounds, "growing trees")
        if trees.n_iter_ < rounds:  # stopped early
            break
    return trees
