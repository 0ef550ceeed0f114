"""BAMS: what its networks see, what they foretell, and that it tells apart what only time shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_lookagain.annotations import Annotations
from napari_lookagain.baselines import bams_pretraining
from napari_lookagain.baselines.bams import Bams, BamsConfig, Classifier
from napari_lookagain.baselines.bams_network import (
    BamsNetwork,
    CausalNetwork,
    action_histograms,
    bootstrap_loss,
    histogram_loss,
)
from napari_lookagain.baselines.bams_pretraining import read_courses
from napari_lookagain.config import FeatureConfig
from napari_lookagain.errors import InputError
from napari_lookagain.metrics import apply_map, majority_map
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session

TINY = {
    "short_channels": (16, 8),
    "long_channels": (16, 8),
    "hidden": (32,),
    "bins": 8,
    "window": 200,
    "warmup": 20,
    "foretold": 0.3,
    "epochs": 30,
    "batch": 2,
    "learning_rate": 3e-3,
}


@pytest.fixture(scope="module")
def loaded(mice):
    return load_session(mice)


@pytest.fixture(scope="module")
def switching(loaded):
    """Two sessions of a body that wags slowly or fast, by turns of 60 frames; the second half of each is unscored."""
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        fast = np.repeat(rng.permutation(np.arange(10) % 2), 60)
        phase = np.cumsum(np.where(fast == 1, 1.2, 0.15))
        points = np.zeros((600, 1, 3, 2))
        points[:, 0, 1] = (20, 0)
        points[:, 0, 2] = (40, 0)
        points[:, 0, 1, 1] = 6 * np.sin(phase)
        points += rng.normal(0, 0.05, points.shape)
        session = replace(
            loaded,
            keypoints=points,
            confidence=np.ones((600, 1, 3)),
            animals=("mouse",),
            keypoint_names=("tail", "back", "nose"),
            heading=("tail", "nose"),
            annotations=Annotations(600, ("mouse",)),
            path=None,
            video=None,
            edited=None,
        )
        session.annotations.set_frames(np.where(np.arange(600) < 300, fast, -1)[:, None], ("slow", "fast"))
        made.append((session, fast[:, None]))
    return made


def test_encoders_see_as_far_back_as_they_say_and_no_future():
    torch.manual_seed(0)
    network = CausalNetwork(2, (4, 4, 3), 3, 2, 0.5).eval()
    assert (network.reach, network.width) == (2 * 2 * (1 + 2 + 4), 3)
    x = torch.randn(1, 2, 80)
    for moved in (40 - network.reach - 1, 40 - network.reach, 41):
        other = x.clone()
        other[..., moved] += 5
        same = torch.equal(network(x)[..., 40], network(other)[..., 40])
        assert same == (moved != 40 - network.reach)


def test_the_paths_of_the_authors():
    sizes = {name: getattr(BamsConfig(), name) for name in bams_pretraining.SIZES}
    network = BamsNetwork(10, 5, 32, **sizes)
    assert (network.short.reach, network.long.reach, network.width) == (60, 1364, 64)
    x = torch.randn(2, 7, 10)
    short, long = network(x)
    told = network.histograms(short, long, x)
    assert told.shape == (2, 7, 5, 32)
    torch.testing.assert_close(told.sum(-1), torch.ones(2, 7, 5))


def test_histograms_count_what_is_ahead_and_seen():
    bins = torch.tensor([[[0], [1], [1], [2], [0], [1]]])
    present = torch.tensor([[True, True, True, False, True, True]])
    histograms, weight = action_histograms(bins, present, torch.tensor([[0, 1, 3]]), 2, 3)
    torch.testing.assert_close(histograms[0, 0, 0], torch.tensor([0.0, 1.0, 0.0]))  # frames 1 and 2
    torch.testing.assert_close(histograms[0, 1, 0], torch.tensor([0.0, 1.0, 0.0]))  # frame 2; the animal is gone at 3
    torch.testing.assert_close(weight, torch.tensor([[1.0, 0.5, 0.0]]))


def test_a_histogram_farther_off_costs_more():
    told = torch.eye(4)[:, None]  # four frames, one action, all in bin 0, 1, 2 or 3
    happened, sure = torch.eye(4)[[0, 0, 0, 0]][:, None], torch.ones(4)
    each = [float(histogram_loss(told[i : i + 1], happened[:1], sure[:1])) for i in range(4)]
    assert each == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4])
    weight = torch.tensor([1.0, 0, 0, 3])
    assert float(histogram_loss(told, happened, weight)) == pytest.approx(3 / 4 * 3 / 4)


def test_bootstrap_teaches_the_predictor_and_not_the_target():
    predictor = torch.nn.Linear(3, 3)
    one, other = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    bootstrap_loss(predictor, one, other).backward()
    assert one.grad is not None
    assert other.grad is None
    torch.testing.assert_close(bootstrap_loss(torch.nn.Identity(), one, 2 * one), torch.tensor(0.0))
    assert bootstrap_loss(predictor, one[:1], other[:1]).item() == 0


def test_courses_hold_the_change_of_what_was_seen_twice(loaded):
    points = loaded.keypoints.copy()
    points[10, 0, 0] = np.nan
    session = replace(loaded, keypoints=points, confidence=np.isfinite(points[..., 0]), path=None, edited=None)
    first, _ = read_courses(session, FeatureConfig(), 1)
    width = 2 * session.n_keypoints
    pose, change = first.inputs[:, :width], first.inputs[:, -width:]
    np.testing.assert_array_equal(change[0], 0)
    np.testing.assert_array_equal(change[10:12, :2], 0)
    seen = first.inputs[:, width : width + session.n_keypoints] > 0
    twice = np.repeat(seen[1:] & seen[:-1], 2, axis=1)
    assert 0 < twice.mean() < 1
    np.testing.assert_allclose(change[1:], np.where(twice, np.diff(pose, axis=0), 0), atol=1e-6)
    np.testing.assert_array_equal(first.actions[:, :width], change)
    assert first.actions.shape[1] == width + 3  # and the velocity
    assert np.abs(first.actions[:, -3:]).max() > 0
    arena, _ = read_courses(session, FeatureConfig(frame="arena"), 1)
    assert arena.actions.shape[1] == width


def test_embedding_in_chunks_is_that_of_all_frames(loaded, tmp_path, monkeypatch):
    labeler = drain(Bams(BamsConfig(**TINY | {"epochs": 1})).fit([loaded], tmp_path, seed=0))
    course = read_courses(loaded, FeatureConfig(), 1)[0]
    whole = drain(labeler.embed(course))
    monkeypatch.setattr(bams_pretraining, "CHUNK", 37)
    torch.testing.assert_close(drain(labeler.embed(course)), whole, atol=1e-5, rtol=1e-4)
    assert whole.std(0).min() > 0


@pytest.mark.parametrize("kind", ["behavior", "cluster"])
def test_it_tells_apart_what_only_time_shows(switching, tmp_path, kind):
    (train, train_truth), (test, truth) = switching
    method = Bams(BamsConfig(kind=kind, clusters=4, classifier_epochs=60, **TINY))
    labeler = drain(method.fit([train], tmp_path, seed=0))
    ethogram = drain(labeler.label(test))
    assert method.kind == ethogram.kind == kind
    assert not ethogram.looked.any()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=5e-3)
    np.testing.assert_array_equal(ethogram.probabilities.argmax(-1) == ethogram.label, True)
    if kind == "behavior":
        told = np.array([("slow", "fast").index(name) for name in ethogram.names])[ethogram.label]
    else:
        assert ethogram.names == tuple(f"cluster {i}" for i in range(1, 5))
        told = apply_map(majority_map(drain(labeler.label(train)).label, train_truth, 4), ethogram.label)
    assert (told == truth).mean() > 0.9  # it reads the past alone, and is late


def test_foretelling_improves_and_a_killed_training_goes_on(switching, tmp_path, monkeypatch):
    monkeypatch.setattr(bams_pretraining, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    session = switching[0][0]
    method = Bams(BamsConfig(clusters=3, **TINY))
    told = []
    work = method.fit([session], tmp_path / "whole", seed=3)
    while True:
        try:
            told.append(next(work))
        except StopIteration as end:
            whole = drain(end.value.label(session))
            break
    losses = [step.metrics["histograms"] for step in told if step.stage == "pretraining"]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    steps = len(losses) // TINY["epochs"]
    killed = method.fit([session], tmp_path / "killed", seed=3)
    for _ in range(5 * steps + 1):
        next(killed)
    killed.close()
    resumed = method.fit([session], tmp_path / "killed", seed=3)
    assert next(resumed).done == 5 * steps + 1
    np.testing.assert_array_equal(drain(drain(resumed).label(session)).probabilities, whole.probabilities)
    with pytest.raises(InputError, match="other settings"):
        drain(method.fit([session], tmp_path / "whole", seed=4))


def test_what_cannot_be_learnt_from_is_refused(loaded, switching, tmp_path):
    with pytest.raises(InputError, match="foretells 500 frames, and no recording is longer than 300"):
        drain(Bams(BamsConfig(**TINY | {"horizon": 20.0})).fit([loaded], tmp_path, seed=0))
    unscored = replace(switching[0][0], annotations=Annotations(600, ("mouse",)))
    with pytest.raises(InputError, match="nothing to learn from"):
        drain(Bams(BamsConfig(kind="behavior", **TINY)).fit([unscored], tmp_path, seed=0))


@pytest.mark.parametrize(("correct_prior", "expected", "by"), [(True, 0.1, 0.03), (False, 0.5, 0.1)])
def test_with_nothing_to_go_by_a_rare_behavior_is_as_probable_as_it_is_frequent(correct_prior, expected, by):
    torch.manual_seed(0)
    embeddings, behavior = torch.randn(4000, 4), torch.arange(4000) % 10 // 9  # one in ten is of the second class
    config = BamsConfig(kind="behavior", correct_prior=correct_prior, classifier_epochs=5, classifier_hidden=8)
    classifier = drain(Classifier.fit(embeddings, behavior, 2, config, seed=0))
    assert classifier.probabilities(embeddings)[:, 1].mean().item() == pytest.approx(expected, abs=by)
