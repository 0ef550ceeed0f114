"""The supervised transformer: what it learns from, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_lookagain.annotations import Annotations
from napari_lookagain.baselines.transformer import Network, Transformer, TransformerConfig
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.model.lookagain import ModelCard
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session

SMALL = TransformerConfig(width=16, heads=2, layers=1, window=32, epochs=12, learning_rate=3e-3)


def fit(sessions, folder, config=SMALL, seed=0):
    return drain(Transformer(config).fit(sessions, folder, seed=seed, device="cpu"))


def scored(session, labels):
    """The session with these (T, A) labels alone."""
    annotations = Annotations(session.n_frames, session.animals)
    annotations.set_frames(labels, session.annotations.behaviors, "ann")
    return replace(session, annotations=annotations)


def test_what_was_learnt_is_told_in_another_recording(walk, agreement, tmp_path):
    labeler = fit([walk(0), walk(1)], tmp_path)
    other = walk(2)
    ethogram = drain(labeler.label(other))
    assert agreement(ethogram, other) > 0.9
    assert (ethogram.kind, set(ethogram.names), ethogram.animals) == ("behavior", {"walk", "rest"}, ("a",))
    assert ethogram.probabilities.shape == (400, 1, 2)
    assert not ethogram.looked.any()
    assert np.isnan(ethogram.gate_score).all()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=2e-3)
    assert list(tmp_path.iterdir()) == []


def test_recordings_with_other_numbers_of_animals(walk, agreement, tmp_path):
    labeler = fit([walk(0), walk(1, n_animals=3)], tmp_path, SMALL.model_copy(update={"epochs": 25}))
    other = walk(3, n_animals=2)
    assert agreement(drain(labeler.label(other)), other) > 0.85


def test_a_seed_gives_one_result(walk, tmp_path):
    session, config = walk(0, 100), SMALL.model_copy(update={"epochs": 2})
    told = [drain(fit([session], tmp_path, config, seed).label(session)).probabilities for seed in (0, 0, 1)]
    np.testing.assert_array_equal(told[0], told[1])
    assert (told[0] != told[2]).any()


def test_a_recording_shorter_than_a_window(walk, tmp_path):
    labeler = fit([walk(0, 60)], tmp_path, SMALL.model_copy(update={"window": 128, "epochs": 1}))
    ethogram = drain(labeler.label(walk(1, 50)))
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=2e-3)


def test_windows_without_a_scored_frame_are_not_read(walk, tmp_path, monkeypatch):
    session = walk(0)
    labels = session.annotations.labels()
    labels[100:] = -1
    spans = []

    def remember(features, start, stop):
        spans.append((start, stop))
        return read(features, start, stop)

    read = MotionFeatures.__call__
    monkeypatch.setattr(MotionFeatures, "__call__", remember)
    fit([scored(session, labels)], tmp_path, SMALL.model_copy(update={"epochs": 3}))
    assert max(stop for _, stop in spans) <= 128 + 16, "beyond the scored windows, and half of one"
    assert len({start for start, _ in spans} - {0, 32, 64, 96}) > 3, "windows are not shifted"


def test_classes_are_weighed_and_the_weights_undone(walk, tmp_path):
    session = walk(0, 200)
    rare = np.random.default_rng(0).random((200, 1)) < 0.1  # nothing shows it
    session = scored(session, np.where(rare, session.annotations.behaviors.index("rest"), 0))
    few = SMALL.model_copy(update={"epochs": 4})
    told = [
        drain(fit([session], tmp_path, few.model_copy(update={"correct_prior": each})).label(session))
        for each in (False, True)
    ]
    share = [each.probabilities.astype(float)[..., each.names.index("rest")].mean() for each in told]
    assert 0.35 < share[0] < 0.65
    assert 0.05 < share[1] < 0.2


def test_columns_are_standardized():
    card = ModelCard(("tail", "nose"), 2, 3, 0, 1, "behavior", ("walk", "rest"))
    torch.manual_seed(0)
    network = Network(card, SMALL).eval()
    x = torch.randn(1, 2, 32, 3)
    valid = torch.ones(1, 2, 32, dtype=torch.bool)
    plain = network(x, valid)
    network.fit_scale(torch.tensor([[2.0, 0, 0], [4, 20, 0]]))
    assert network.scale.tolist() == pytest.approx([1, 10, 0.02])
    torch.testing.assert_close(network(x * network.scale + network.mean, valid), plain)


def test_padding_tells_nothing():
    card = ModelCard(("tail", "nose"), 2, 3, 0, 1, "behavior", ("walk", "rest"))
    torch.manual_seed(0)
    network = Network(card, SMALL).eval()
    x = torch.randn(1, 1, 32, 3)
    valid = torch.arange(32)[None, None] < 20
    garbled = torch.where(valid[..., None], x, 9.0)
    torch.testing.assert_close(network(garbled, valid)[:, :, :20], network(x, valid)[:, :, :20])


def test_a_loss_that_is_no_number_is_told(walk, tmp_path):
    wild = SMALL.model_copy(update={"learning_rate": 1e30, "gradient_clip": 1e30})
    with pytest.raises(InputError, match="The loss is .*; lower learning_rate"):
        fit([walk(0, 100)], tmp_path, wild)


def test_bad_settings_and_recordings_are_refused(walk, untracked, tmp_path):
    with pytest.raises(InputError, match="width 16 must be a multiple of heads, which is 3"):
        TransformerConfig.parse({"width": 16, "heads": 3})
    with pytest.raises(InputError, match="untracked has no keypoints"):
        fit([untracked], tmp_path)
    other = replace(walk(1, 100), keypoint_names=("tail", "nose", "port", "starboard"))
    with pytest.raises(InputError, match="walk 1 has the keypoints tail, nose, port, starboard"):
        fit([walk(0, 100), other], tmp_path)
    labeler = fit([walk(0, 100)], tmp_path, SMALL.model_copy(update={"epochs": 1}))
    with pytest.raises(InputError, match="walk 1 has the keypoints tail, nose, port, starboard"):
        drain(labeler.label(other))


def test_the_video_is_not_opened(mice, tmp_path, monkeypatch):
    session = load_session(mice)
    monkeypatch.setattr(type(session), "open_video", None)
    labeler = fit([session], tmp_path, SMALL.model_copy(update={"epochs": 1}))
    assert drain(labeler.label(session)).label.shape == (300, 2)
