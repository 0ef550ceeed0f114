"""BAMS (Azabou et al. 2023): embeddings learnt without labels at two time scales, then k-means or a classifier."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from napari_lookagain.baselines.bams_pretraining import Embedding, pretrain_bams, read_courses
from napari_lookagain.config import FeatureConfig
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.material import behavior_labels, check_tracked
from napari_lookagain.model.layers import MLP
from napari_lookagain.model.lookagain import ModelCard
from napari_lookagain.model.losses import class_weights, log_weights, soft_assignment
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Settings

if TYPE_CHECKING:
    from napari_lookagain.session import Session

KMEANS_FRAMES = 50_000


class BamsConfig(Settings):
    """How BAMS is trained and what is made of it.

    The defaults take two minutes on one core for four recordings of 12 000 frames. Sizes, weights and rates are those
    of the authors' code for the mouse triplets of MABe22, which besides has `epochs` 500 (of some 500 updates each),
    `batch` 32, `foretold` 1 and `features.pace_window` 0: the values to take for a comparison in print.
    """

    kind: Literal["behavior", "cluster"] = "cluster"
    """"cluster": k-means on the embeddings; "behavior": a classifier on the frozen embeddings."""
    clusters: int = Field(8, ge=2)
    features: FeatureConfig = FeatureConfig()
    short_channels: tuple[int, ...] = Field((64, 64, 32, 32), min_length=1)
    long_channels: tuple[int, ...] = Field((64, 64, 64, 32, 32), min_length=1)
    kernel: int = Field(3, ge=2)
    short_dilation: int = Field(2, ge=1)
    long_dilation: int = Field(4, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    hidden: tuple[int, ...] = Field((256, 512, 512), min_length=1)
    """Layers between the embeddings and the foretold histograms."""
    bins: int = Field(32, ge=2, le=256)
    horizon: float = Field(1.0, gt=0)
    """Seconds ahead whose actions are foretold."""
    near: float = Field(0.17, ge=0)
    """Seconds ahead up to which the short scale foretells itself: 5 frames at 30 frames a second."""
    warmup: int = Field(60, ge=0)
    """First frames of a window, which know too little of their past and enter no loss; at most a quarter of it."""
    window: int = Field(1800, ge=16)
    """Frames of a training window, one minute in MABe22."""
    epochs: int = Field(60, ge=1)
    """Rounds in which as many frames are read as there are."""
    batch: int = Field(4, ge=2)
    foretold: float = Field(0.1, gt=0, le=1)
    """Share of the frames of a window that enter the losses of an update: those beside each other ask the same."""
    learning_rate: float = Field(1e-3, gt=0)
    """A tenth of it after two fifths of the epochs; ten times as much for the predictors of BYOL."""
    weight_decay: float = Field(4e-5, ge=0)
    histogram_weight: float = Field(500.0, ge=0)
    bootstrap_weight: float = Field(0.5, ge=0)
    """Of either scale."""
    classifier_hidden: int = Field(256, ge=1)
    classifier_epochs: int = Field(20, ge=1)
    classifier_batch: int = Field(1024, ge=2)
    correct_prior: bool = True
    """◇ Undo the class weights of the loss in the probabilities, as is done for every other method here."""


class Bams:
    """BAMS, "Bootstrap Across Multiple Scales" [1]_: discovers with k-means, or learns behaviors from its embeddings.

    Two causal convolutional networks embed every frame of every animal, one with a short and one with a long past.
    Together they foretell for every action the histogram of the values it takes over the second to come (squared earth
    mover's distance); besides, the embedding of each scale foretells that of another time of the same animal, close by
    for the short scale and anywhere in the window for the long one, with the predictor and the stopped gradient of BYOL
    and no negatives. Unscored frames serve as well as scored ones.

    As LookAgain's paper compares with it, k-means of the embeddings segments, and an MLP on the frozen embeddings, with
    weighted cross-entropy, classifies.

    What differs from the authors' code: it reads the columns of `MotionFeatures` and the frame-to-frame change of the
    pose instead of features made for each data set; actions are that change, and in the egocentric frame the animal's
    velocity. Columns are standardized instead of divided by their largest value. Windows are drawn from recordings of
    any length. The losses are taken at a share of the frames, drawn anew at every update. Company enters through the
    neighbor columns instead of being pooled over animals. One `warmup` serves both scales, where theirs has 60 and 100
    frames. Histograms are of the frames to come, as the paper says.

    Parameters
    ----------
    config
        All choices.

    References
    ----------
    .. [1] Azabou, Mendelson, Ahad, Sorokin, Thakoor, Urzay, Dyer (2023), Relax, it doesn't matter how you get there: a
       new self-supervised approach for multi-timescale behavior analysis. NeurIPS.
    """

    takes_budget = False

    def __init__(self, config: BamsConfig = BamsConfig()) -> None:  # noqa: B008
        self.config = config

    @property
    def kind(self) -> Literal["behavior", "cluster"]:
        """As the settings say."""
        return self.config.kind

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, BamsLabeler]:
        """Pretrain on all frames, going on from ``folder/bams.pt`` if it is there; then cluster or classify.

        Raises
        ------
        InputError
            When keypoints are missing or differ, no recording is longer than the horizon, there is nothing to tell
            apart, or the checkpoint is of other settings or recordings.
        """
        config, first = self.config, sessions[0]
        check_tracked(sessions)
        labels: list[np.ndarray] = []
        names = tuple(f"cluster {i + 1}" for i in range(config.clusters))
        if config.kind == "behavior":
            labels, names = behavior_labels(sessions, None)
        n_neighbors = max(session.n_animals for session in sessions) - 1
        card = ModelCard(first.keypoint_names, first.n_coords, 0, n_neighbors, 1, config.kind, names)
        for session in sessions:
            card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
        courses = [each for session in sessions for each in read_courses(session, config.features, n_neighbors)]
        place = accelerator(device).device
        kept = folder / "bams.pt"
        embed = yield from pretrain_bams(config, courses, first.fps, seed=seed, place=place, checkpoint=kept)
        embedded = []
        for course in courses:
            embedded.append((yield from embed(course)))
        embeddings = torch.cat(embedded)  # (M, D), all animals of all recordings one after the other
        present = torch.from_numpy(np.concatenate([course.present for course in courses]))
        if config.kind == "cluster":
            tell: Centers | Classifier = Centers.fit(embeddings[present], config.clusters, seed)
        else:
            behavior = torch.from_numpy(np.concatenate([label.T.ravel() for label in labels]).astype(np.int64))
            tell = yield from Classifier.fit(embeddings, behavior, len(names), config, seed)
        return BamsLabeler(config, card, embed, tell)


class BamsLabeler:
    """Embeddings of BAMS, and what tells classes from them."""

    def __init__(self, config: BamsConfig, card: ModelCard, embed: Embedding, tell: Centers | Classifier) -> None:
        self.config, self.card, self.embed, self.tell = config, card, embed, tell

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every animal at every frame; a budget has no meaning here, and no frame is looked at.

        Raises
        ------
        InputError
            When the session has other keypoints than those learnt from.
        """
        card = self.card
        card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
        each = []
        for course in read_courses(session, self.config.features, card.n_neighbors):
            embedding = yield from self.embed(course)
            each.append(self.tell.probabilities(embedding).numpy())
        probabilities = np.stack(each, axis=1)  # (T, A, K)
        return Ethogram.from_probabilities(session, probabilities, card.names, kind=card.kind, looked=False)


class Centers:
    """k-means of standardized embeddings."""

    def __init__(self, mean: Tensor, scale: Tensor, centers: Tensor) -> None:
        self.mean, self.scale, self.centers = mean, scale, centers

    @classmethod
    def fit(cls, embeddings: Tensor, n_clusters: int, seed: int) -> Centers:
        """Cluster (M, D) embeddings of frames where the animal is seen, or as many of them as are enough.

        Raises
        ------
        InputError
            When there are fewer frames than clusters.
        """
        if len(embeddings) < n_clusters:
            raise InputError(f"{len(embeddings)} frames cannot be {n_clusters} clusters; ask for fewer.")
        mean, scale = _scale_of(embeddings)
        chosen = np.random.default_rng(seed).permutation(len(embeddings))[:KMEANS_FRAMES]
        kmeans = KMeans(n_clusters, n_init=5, random_state=seed)
        with threadpool_limits(1):  # threads add up their shares in any order, and rounding then differs
            kmeans.fit(((embeddings[chosen] - mean) / scale).numpy())
        return cls(mean, scale, torch.from_numpy(kmeans.cluster_centers_))

    def probabilities(self, embeddings: Tensor) -> Tensor:
        """(M, K): Student-t similarity to the centers as in Eq. 22, since k-means has none; highest at the nearest."""
        return soft_assignment((embeddings - self.mean) / self.scale, self.centers)


class Classifier:
    """An MLP on frozen, standardized embeddings."""

    def __init__(self, mean: Tensor, scale: Tensor, mlp: MLP, correction: Tensor) -> None:
        self.mean, self.scale, self.mlp, self.correction = mean, scale, mlp, correction

    @classmethod
    def fit(
        cls, embeddings: Tensor, behavior: Tensor, n_classes: int, config: BamsConfig, seed: int
    ) -> Generator[Progress, None, Classifier]:
        """Learn from (M, D) embeddings and their (M,) classes, −1 = unscored, with inverse class-frequency weights."""
        scored = behavior >= 0
        x, y = embeddings[scored], behavior[scored]
        mean, scale = _scale_of(x)
        x = (x - mean) / scale
        torch.manual_seed(seed)
        mlp, weights = MLP(x.shape[-1], n_classes, hidden=config.classifier_hidden), class_weights(y, n_classes)
        optimizer = torch.optim.AdamW(mlp.parameters(), config.learning_rate)
        for epoch in range(config.classifier_epochs):
            for chosen in torch.randperm(len(x)).split(config.classifier_batch):
                loss = F.cross_entropy(mlp(x[chosen]), y[chosen], weights)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield Progress(epoch + 1, config.classifier_epochs, "learning behaviors", {"loss": float(loss.detach())})
        correction = log_weights(weights) if config.correct_prior else torch.zeros_like(weights)
        return cls(mean, scale, mlp.requires_grad_(False), correction)

    def probabilities(self, embeddings: Tensor) -> Tensor:
        """(M, K) softmax, the weights of the loss undone if so asked."""
        return (self.mlp((embeddings - self.mean) / self.scale) - self.correction).softmax(-1)


def _scale_of(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every column; a column that never changes stays 0."""
    return embeddings.mean(0), embeddings.std(0, correction=0).clamp_min(1e-6)
