"""The AR-HMM: what it reads, that it finds dynamics that are there, and what it does without dynamax."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.baselines.arhmm import ArHmm, ArHmmConfig
from napari_lookagain.baselines.arhmm_poses import Reduction, aligned_poses, chunked, lagged
from napari_lookagain.errors import InputError
from napari_lookagain.metrics import apply_map, majority_map
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session

needs_dynamax = pytest.mark.skipif(find_spec("dynamax") is None, reason="dynamax (extra bench) is not installed")
QUICK = {"trial_iterations": 4, "iterations": 6, "stickiness": 1.0, "chunk": 200}


def moving(session, keypoints, animals=None, **changes):
    """The session with other keypoints (T, A, J, C), all of them sure and nothing scored."""
    n_frames, n_animals = keypoints.shape[:2]
    animals = animals or session.animals[:n_animals]
    return replace(
        session,
        keypoints=keypoints,
        confidence=np.isfinite(keypoints[..., 0]).astype(np.float32),
        animals=animals,
        annotations=Annotations(n_frames, animals),
        path=None,
        video=None,
        edited=None,
        **changes,
    )


@pytest.fixture(scope="module")
def loaded(mice):
    return load_session(mice)


@pytest.fixture(scope="module")
def switching(loaded):
    """Two sessions of one body that changes its ways every 60 frames, slow or fast, and which it was."""
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        fast = np.repeat(rng.permutation(np.arange(10) % 2), 60)
        phase = np.cumsum(np.where(fast == 1, 0.9, 0.15))
        points = np.zeros((600, 1, 3, 2))
        points[:, 0, 1] = (20, 0)
        points[:, 0, 2] = (40, 0)
        points[:, 0, 1, 1] = 6 * np.sin(phase)
        points[:, 0, 2, 0] += 6 * np.cos(phase)
        points += rng.normal(0, 0.05, points.shape)
        names = ("tail", "back", "nose")
        made.append((moving(loaded, points, keypoint_names=names, heading=("tail", "nose")), fast[:, None]))
    return made


def test_poses_do_not_know_where_an_animal_is_or_faces(loaded):
    rng = np.random.default_rng(0)
    body = rng.normal(0, 10, (50, 1, loaded.n_keypoints, 2))
    angle = rng.uniform(-3, 3, (50, 1, 1))
    x, y = body[..., 0], body[..., 1]
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], -1)
    one, other = (
        aligned_poses(moving(loaded, points.astype(np.float32)), 0.25)[0]
        for points in (body, turned + rng.uniform(0, 500, (50, 1, 1, 2)))
    )
    assert np.abs(one).max() > 0.3  # of a body length
    np.testing.assert_allclose(one, other, atol=2e-4)
    rear, front = loaded.heading_index
    np.testing.assert_allclose(one[:, 2 * front + 1], one[:, 2 * rear + 1], atol=2e-4)  # ahead is along x


def test_height_is_kept(loaded):
    points = np.tile(np.random.default_rng(0).normal(0, 10, (1, 1, loaded.n_keypoints, 3)), (60, 1, 1, 1))
    points[30:, ..., 2] += 25  # the whole animal rises
    pose = aligned_poses(moving(loaded, points.astype(np.float32)), 0.25)[0].reshape(60, -1, 3)
    length = moving(loaded, points.astype(np.float32)).body_length
    np.testing.assert_allclose(pose[30:, :, 2] - pose[:30, :, 2], 25 / length, atol=1e-4)
    np.testing.assert_allclose(pose[30:, :, :2], pose[:30, :, :2], atol=1e-6)


def test_gaps_are_interpolated_and_what_is_never_seen_is_the_mean(loaded):
    points = np.tile(np.random.default_rng(0).normal(0, 10, (1, 2, loaded.n_keypoints, 2)), (40, 1, 1, 1))
    whole = aligned_poses(moving(loaded, points.astype(np.float32)), 0.25)
    points[10:20, 0, 1] = np.nan
    points[:, 1, 1] = np.nan
    gap, missing = aligned_poses(moving(loaded, points.astype(np.float32)), 0.25)
    np.testing.assert_allclose(gap, whole[0], rtol=1e-4, atol=1e-5)  # nothing moves
    assert np.isnan(missing[:, 2:4]).all()
    assert np.isfinite(np.delete(missing, [2, 3], axis=1)).all()
    rng = np.random.default_rng(1)
    varied = [gap + rng.normal(size=gap.shape)]
    assert np.isfinite(Reduction.fit(varied, ArHmmConfig())(missing)).all()


def test_components_hold_the_variance_and_are_whitened():
    rng = np.random.default_rng(0)
    poses = [rng.normal(size=(400, 6)) * [10, 5, 1, 0.1, 0.1, 0.1] for _ in range(2)]
    reduce = Reduction.fit(poses, ArHmmConfig())
    assert reduce.width == 2  # 100 + 25 of 126
    assert Reduction.fit(poses, ArHmmConfig(components=1)).width == 1
    np.testing.assert_allclose(np.cov(reduce(np.concatenate(poses)).T), np.eye(2), atol=1e-6)
    with pytest.raises(InputError, match="never do"):
        Reduction.fit([np.ones((20, 6))], ArHmmConfig())


def test_chunks_hold_every_frame_and_what_came_before_it():
    pose = np.arange(50.0)[:, None]
    before, after = lagged(pose, 3)
    np.testing.assert_array_equal(before[0], [2, 1, 0])  # the latest first
    assert after[0, 0] == 3
    cut = chunked([(before, after), lagged(pose[:30] + 100, 3)], 20)
    assert [part.shape for part in cut] == [(5, 20, 3), (5, 20, 1)]
    assert set(cut[1].ravel()) == {*range(3, 50), *range(103, 130)}
    np.testing.assert_array_equal(cut[0], cut[1] - [1, 2, 3])
    with pytest.raises(InputError, match="3 frames has none beyond the 3 lags"):
        lagged(pose[:3], 3)


def test_without_dynamax_it_says_what_to_install(switching, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dynamax", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "dynamax.hidden_markov_model", raising=False)
    with pytest.raises(InputError, match=r'pip install "napari-lookagain\[bench\]"'):
        drain(ArHmm().fit([switching[0][0]], tmp_path, seed=0))


def watched(work):
    """The result of long work, and the log likelihood at each of its steps that tells one."""
    told = []
    while True:
        try:
            told.append(next(work))
        except StopIteration as end:
            return end.value, [step.metrics["log likelihood"] for step in told if step.metrics]


@pytest.fixture(scope="module")
def fitted(switching, tmp_path_factory):
    """What the first of the sessions taught two states, and how its likelihood went."""
    method = ArHmm(ArHmmConfig(clusters=2, restarts=1, **QUICK))
    return watched(method.fit([switching[0][0]], tmp_path_factory.mktemp("arhmm"), seed=0))


@needs_dynamax
def test_it_finds_dynamics_that_no_single_pose_shows(switching, fitted):
    (train, train_truth), (test, truth) = switching
    labeler, likelihood = fitted
    mapping = majority_map(drain(labeler.label(train)).label, train_truth, 2)
    ethogram = drain(labeler.label(test))
    assert (ethogram.kind, ethogram.names) == ("cluster", ("cluster 1", "cluster 2"))
    assert (apply_map(mapping, ethogram.label) == truth).mean() > 0.95
    assert not ethogram.looked.any()
    probabilities = ethogram.probabilities.astype(float)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=2e-3)
    assert (probabilities.argmax(-1) == ethogram.label).mean() > 0.98  # smoother and Viterbi nearly agree
    assert len(likelihood) > 2
    assert np.diff(likelihood).min() > -1e-3 * abs(likelihood[-1])  # the prior on switches is no part of it


@needs_dynamax
def test_an_animal_that_is_never_seen_has_no_label(switching, fitted):
    points = switching[1][0].keypoints
    pair = moving(switching[1][0], np.concatenate([points, np.full_like(points, np.nan)], 1), animals=("one", "other"))
    ethogram = drain(fitted[0].label(pair))
    np.testing.assert_array_equal(ethogram.label[:, :1], drain(fitted[0].label(switching[1][0])).label)
    assert (ethogram.label[:, 1] == -1).all()
    assert np.isnan(ethogram.probabilities[:, 1].astype(float)).all()


@needs_dynamax
def test_too_few_frames_are_refused(loaded, tmp_path):
    with pytest.raises(InputError, match="too few for 400 states"):
        drain(ArHmm(ArHmmConfig(clusters=400)).fit([loaded], tmp_path, seed=0))


@needs_dynamax
@pytest.mark.slow
def test_stickiness_makes_bouts_longer_and_a_seed_gives_one_labeler(loaded, tmp_path):
    labels = []
    for stickiness in (0.0, 1e5, 1e5):
        method = ArHmm(ArHmmConfig(clusters=4, restarts=2, **QUICK | {"stickiness": stickiness}))
        labels.append(drain(drain(method.fit([loaded], tmp_path, seed=0)).label(loaded)).label)
    changes = [np.count_nonzero(np.diff(label, axis=0)) for label in labels]
    assert 0 < changes[1] < changes[0] / 2
    np.testing.assert_array_equal(labels[1], labels[2])
