"""Autoregressive hidden Markov model of pose, with dynamax: the syllables of MoSeq as one method among others."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from napari_lookagain.baselines.arhmm_dynamics import Dynamics, check_dynamax
from napari_lookagain.baselines.arhmm_poses import Reduction, aligned_poses, chunked, lagged
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.material import check_tracked
from napari_lookagain.model.lookagain import ModelCard
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Settings

if TYPE_CHECKING:
    from napari_lookagain.session import Session


class ArHmmConfig(Settings):
    """How poses are reduced and the model is fitted."""

    clusters: int = Field(8, ge=2)
    """States. MoSeq is given more than it needs and a prior to use few of them; here every method gets as many."""
    confidence_threshold: float = Field(0.25, ge=0, le=1)
    """Keypoints below this confidence count as missing."""
    variance: float = Field(0.9, gt=0, le=1)
    """Share of the variance of poses that the principal components hold."""
    components: int = Field(10, ge=1)
    """Most components."""
    lags: int = Field(3, ge=1)
    """Frames of the past that foretell the next."""
    stickiness: float = Field(1000.0, ge=0)
    """Prior that a state stays, in frames for every frame of the mean cluster. The default gives bouts of 0.4 s, which
    MoSeq aims at; where they come out shorter than behavior is, raise it."""
    restarts: int = Field(3, ge=1)
    """Beginnings, of which the likeliest goes on."""
    trial_iterations: int = Field(10, ge=1)
    """Of expectation maximization, for every beginning."""
    iterations: int = Field(40, ge=0)
    """Most of them for the one that goes on."""
    tolerance: float = Field(1e-5, ge=0)
    """A log likelihood that grows by a smaller share ends the fit."""
    chunk: int = Field(1000, ge=16)
    """Frames of a training sequence; fewer where a recording is shorter."""


class ArHmm:
    """Syllables: states with linear dynamics of their own, between which pose switches [1]_, fitted by dynamax [2]_.

    Keypoints are interpolated where they are missing, moved to the animal's center, turned to its heading (not turned
    where the session names none) and divided by its body length; a third coordinate is counted from the recording's
    floor instead, for height is what rearing changes. Whitened principal components of the training recordings are the
    pose x. In state z it moves as ``x_t = Σ_l A_{z,l} x_{t−l} + b_z + noise``, and z is a Markov chain that a prior
    makes stay. From k-means of pose and its change, expectation maximization finds the likeliest parameters, with a
    weak prior on the dynamics that keypoint-MoSeq [3]_ has, too: the pose stays as it is. Labels are the likeliest
    sequence of states (Viterbi), probabilities those of the smoother. An animal that is never seen has neither.

    What differs from keypoint-MoSeq: the number of states is given; keypoints are taken as they were tracked, not
    cleaned along with the fit; parameters are found, not sampled.

    Parameters
    ----------
    config
        All choices.

    References
    ----------
    .. [1] Wiltschko et al. (2015), Mapping sub-second structure in mouse behavior. Neuron.
    .. [2] Linderman et al. (2025), Dynamax: a Python package for probabilistic state space modeling with JAX. JOSS.
    .. [3] Weinreb et al. (2024), Keypoint-MoSeq: parsing behavior by linking point tracking to pose dynamics. Nature
       Methods.
    """

    kind: Literal["cluster"] = "cluster"
    takes_budget = False

    def __init__(self, config: ArHmmConfig = ArHmmConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, ArHmmLabeler]:
        """Fit to the poses of all animals; jax chooses the device, and nothing is kept in `folder`.

        Raises
        ------
        InputError
            When dynamax is not installed, keypoints are missing or differ, or there is too little to fit to.
        """
        config, first = self.config, sessions[0]
        check_dynamax()
        check_tracked(sessions)
        names = tuple(f"cluster {i + 1}" for i in range(config.clusters))
        card = ModelCard(first.keypoint_names, first.n_coords, 0, 0, 1, "cluster", names)
        for session in sessions:
            card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
        poses = [pose for session in sessions for pose in aligned_poses(session, config.confidence_threshold)]
        poses = [pose for pose in poses if not np.isnan(pose).all()]
        reduce = Reduction.fit(poses, config)
        before, after = chunked([lagged(reduce(pose), config.lags) for pose in poses], config.chunk)
        n_frames = after.shape[0] * after.shape[1]
        if n_frames < 2 * config.clusters:
            raise InputError(
                f"{n_frames} frames are too few for {config.clusters} states; ask for fewer, or add recordings."
            )
        dynamics = Dynamics(config, reduce.width, n_frames)
        total = config.restarts * config.trial_iterations + config.iterations
        best, likeliest, done = None, -np.inf, 0
        for restart in range(config.restarts):
            parameters, likelihood = dynamics.begin(before, after, seed + 1000 * restart), -np.inf
            for _ in range(config.trial_iterations):
                parameters, likelihood = yield from dynamics.improve(parameters, before, after, done, total)
                done += 1
            if likelihood > likeliest:
                best, likeliest = parameters, likelihood
        if best is None:
            raise InputError("The AR-HMM found no finite likelihood; ask for fewer states or less stickiness.")
        for _ in range(config.iterations):
            best, likelihood = yield from dynamics.improve(best, before, after, done, total)
            done += 1
            if likelihood - likeliest < config.tolerance * abs(likeliest):
                break
            likeliest = likelihood
        return ArHmmLabeler(config, card, reduce, dynamics, best)


class ArHmmLabeler:
    """A fitted model and the reduction of the poses it knows."""

    def __init__(
        self, config: ArHmmConfig, card: ModelCard, reduce: Reduction, dynamics: Dynamics, parameters: Any
    ) -> None:
        self.config, self.card, self.reduce = config, card, reduce
        self.dynamics, self.parameters = dynamics, parameters

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every animal at every frame; a budget has no meaning here, and no frame is looked at.

        The first `lags` frames, which nothing foretells, take the label of the next.

        Raises
        ------
        InputError
            When the session has other keypoints than those learnt from, or no frame beyond the lags.
        """
        self.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
        shape, lags = (session.n_frames, session.n_animals), self.config.lags
        label = np.full(shape, -1, np.int16)
        probabilities = np.full((*shape, self.config.clusters), np.nan, np.float16)
        for animal, pose in enumerate(aligned_poses(session, self.config.confidence_threshold)):
            if not np.isnan(pose).all():
                states, smoothed = self.dynamics.read(self.parameters, *lagged(self.reduce(pose), lags))
                label[:, animal] = np.pad(states, (lags, 0), mode="edge")
                probabilities[:, animal] = np.pad(smoothed, ((lags, 0), (0, 0)), mode="edge")
            yield Progress(animal + 1, session.n_animals, "reading syllables")
        told = Ethogram.from_labels(
            label, self.card.names, recording=session.recording, fps=session.fps, animals=session.animals
        )
        return replace(told, kind="cluster", probabilities=probabilities)
