"""The AR-HMM itself: dynamax's, with a prior on its dynamics and a likely place to start from."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import uniform_filter1d
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.baselines.arhmm import ArHmmConfig

PRIOR_VARIANCE = 0.01  # of a step of whitened components, as in keypoint-MoSeq; so is the next
PRIOR_PRECISION = 0.1  # with which a pose is held to stay as it is
RAREST = 1e-6  # probability of a switch; dynamax takes what is below 1e-8 for 0, and divides by it
START_STAY = 0.95  # probability that a state stays, before anything is fitted
AT_ONCE = 16  # chunks in one call
PADDED = 4096  # lengths are rounded up to a multiple of it, as every new length is compiled anew
KMEANS_FRAMES = 50_000
BEGIN_FRAMES = 9  # over which k-means takes poses and speeds together


def check_dynamax() -> None:
    """Refuse, with an `InputError` that says what to install, to go on without dynamax."""
    try:
        with warnings.catch_warnings():  # tensorflow-probability, which it brings, asks jax for what jax will drop
            warnings.simplefilter("ignore", DeprecationWarning)
            import dynamax.hidden_markov_model  # noqa: F401
    except ImportError as error:
        raise InputError(
            'The AR-HMM needs dynamax, which is not installed; run pip install "napari-lookagain[bench]".'
        ) from error


class Dynamics:
    """dynamax's linear autoregressive HMM with a prior on its dynamics.

    dynamax has none, and a state with few frames would have no covariance. The prior enters as statistics of frames
    that were never there. Everything is computed in float64: noise is what sums of squares leave when nearly all of
    them is explained.

    Parameters
    ----------
    config, width, n_frames
        Choices, components of a pose, and frames it will be fitted to.
    """

    def __init__(self, config: ArHmmConfig, width: int, n_frames: int) -> None:
        import jax
        from dynamax.hidden_markov_model import LinearAutoregressiveHMM

        self.config, self.width, self.jax = config, width, jax
        n_states = config.clusters
        with jax.enable_x64(True):
            self.model = LinearAutoregressiveHMM(
                n_states,
                width,
                config.lags,
                transition_matrix_stickiness=config.stickiness * n_frames / n_states,
            )
            leave = (1 - START_STAY) / (n_states - 1)
            switches = np.full((n_states, n_states), leave) + (START_STAY - leave) * np.eye(n_states)
            self.start, self.kinds = self.model.initialize(
                jax.random.PRNGKey(0),
                initial_probs=jax.numpy.full(n_states, 1 / n_states),
                transition_matrix=jax.numpy.asarray(switches),
            )
            by_state = jax.vmap(self._likelihood, (None, 0, None, None))
            self.likelihoods = jax.jit(jax.vmap(by_state, (None, None, 0, 0)))
            self.expect = jax.jit(jax.vmap(self.model.e_step, (None, 0, 0)))
            self.maximize = jax.jit(self._maximize)

    def begin(self, before: np.ndarray, after: np.ndarray, seed: int) -> Any:
        """Parameters that fit k-means of mean pose and speed over some frames, of (S, L, lags·D) and (S, L, D)."""
        n_states = self.config.clusters
        step = np.log((after - before[..., : self.width]) ** 2 + 1e-6)
        both = uniform_filter1d(np.concatenate([after, step / step.std()], -1), BEGIN_FRAMES, axis=1, mode="nearest")
        both = both.reshape(-1, 2 * self.width)
        chosen = np.random.default_rng(seed).permutation(len(both))[:KMEANS_FRAMES]
        with threadpool_limits(1):
            kmeans = KMeans(n_states, n_init=1, random_state=seed).fit(both[chosen])
            certain = np.eye(n_states)[kmeans.predict(both)].reshape(*after.shape[:2], n_states)
        switches = np.einsum("slj,slk->sjk", certain[:, :-1], certain[:, 1:])
        each = [_statistics(*parts) for parts in zip(certain, before, after, strict=True)]
        emissions = {name: np.stack([found[name] for found in each]) for name in each[0]}
        with self.jax.enable_x64(True):
            return self._plain(self.maximize(self.start, (certain[:, 0], switches, emissions)))

    def improve(
        self, parameters: Any, before: np.ndarray, after: np.ndarray, done: int, total: int
    ) -> Generator[Progress, None, tuple[Any, float]]:
        """One step of expectation maximization: the parameters after it, and the log likelihood before."""
        jax, found, likelihood = self.jax, [], 0.0
        for first in range(0, len(after), AT_ONCE):
            rows = np.arange(first, first + AT_ONCE)
            kept = int((rows < len(after)).sum())
            with jax.enable_x64(True):
                statistics, each = self.expect(parameters, after[rows % len(after)], before[rows % len(after)])
                found.append(jax.tree_util.tree_map(lambda part, kept=kept: part[:kept], statistics))
                likelihood += float(each[:kept].sum())
            yield Progress(done, total, "fitting dynamics")
        with jax.enable_x64(True):
            statistics = jax.tree_util.tree_map(lambda *parts: jax.numpy.concatenate(parts), *found)
            parameters = self._plain(self.maximize(parameters, statistics))
        yield Progress(done + 1, total, "fitting dynamics", {"log likelihood": likelihood})
        return parameters, likelihood

    def read(self, parameters: Any, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest states (T,), and the smoothed probability of every state (T, K), of (T, …) lagged poses."""
        from dynamax.hidden_markov_model import hmm_posterior_mode, hmm_smoother

        n_frames = len(after)
        beyond = ((0, -n_frames % PADDED), (0, 0))
        with self.jax.enable_x64(True):
            states = np.arange(self.config.clusters)
            likelihood = self.likelihoods(parameters, states, np.pad(after, beyond), np.pad(before, beyond))
            likelihood = np.where(np.arange(len(likelihood))[:, None] < n_frames, likelihood, 0.0)  # beyond, any state
            chain = (parameters.initial.probs, parameters.transitions.transition_matrix, likelihood)
            found, smoothed = hmm_posterior_mode(*chain), hmm_smoother(*chain).smoothed_probs
            return np.asarray(found)[:n_frames], np.asarray(smoothed)[:n_frames]

    def _plain(self, parameters: Any) -> Any:
        """Parameters as arrays of numpy: jax compiles anew for numbers that it thinks of otherwise."""
        return self.jax.tree_util.tree_map(np.asarray, parameters)

    def _likelihood(self, parameters: Any, state: Any, after: Any, before: Any) -> Any:
        return self.model.emission_distribution(parameters, state, before).log_prob(after)

    def _maximize(self, parameters: Any, statistics: Any) -> Any:
        initial, transitions, emissions = statistics
        state = self.model.initialize_m_step_state(parameters, self.kinds)
        together = (initial, transitions, self._with_prior(emissions))
        parameters, _ = self.model.m_step(parameters, self.kinds, together, state)
        floored = self.jax.numpy.maximum(parameters.transitions.transition_matrix, RAREST)
        switches = floored / floored.sum(1, keepdims=True)
        return parameters._replace(transitions=parameters.transitions._replace(transition_matrix=switches))

    def _with_prior(self, statistics: dict[str, Any]) -> dict[str, Any]:
        """Add a sequence in which the next pose is the last, up to a little noise."""
        n_states, width = self.config.clusters, self.width
        precision = PRIOR_PRECISION * np.eye(width * self.config.lags)
        stays = np.eye(width, width * self.config.lags)  # the latest of what comes before
        prior = {
            "sum_w": np.array(width + 2.0),
            "sum_x": np.zeros(width * self.config.lags),
            "sum_y": np.zeros(width),
            "sum_xxT": precision,
            "sum_xyT": precision @ stays.T,
            "sum_yyT": stays @ precision @ stays.T + PRIOR_VARIANCE * np.eye(width),
        }
        numpy = self.jax.numpy
        return {
            name: numpy.concatenate([found, numpy.broadcast_to(prior[name], (1, n_states, *prior[name].shape))])
            for name, found in statistics.items()
        }


def _statistics(states: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """What dynamax sums up of one chunk: (L, K) states, (L, lags·D) and (L, D)."""
    x, y = states.T[..., None] * before, states.T[..., None] * after  # (K, L, …)
    sums = {"sum_w": states.sum(0), "sum_x": x.sum(1), "sum_y": y.sum(1)}
    x, y = x.swapaxes(1, 2), y.swapaxes(1, 2)
    return sums | {"sum_xxT": x @ before, "sum_xyT": x @ after, "sum_yyT": y @ after}
