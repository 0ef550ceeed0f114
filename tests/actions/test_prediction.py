"""Prediction with heads: in chunks as at once, and what an ethogram says where there is no gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_lookagain.actions.prediction as module
import napari_lookagain.video
from napari_lookagain.actions.model import ActionCard, ActionModel
from napari_lookagain.actions.prediction import predict_actions
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.progress import drain


@pytest.fixture
def model(by_keypoints):
    return ActionModel.load(by_keypoints)


def test_chunks_say_what_all_frames_at_once_say(model, session, monkeypatch):
    motion = torch.from_numpy(MotionFeatures(session, model.config.features, 1)(0, session.n_frames))
    with torch.inference_mode():
        expected = model(motion, torch.ones(motion.shape[:2], dtype=torch.bool)).swapaxes(0, 1)
    monkeypatch.setattr(module, "CHUNK", 1)
    for frames in (17, 64, 300):
        monkeypatch.setattr(module, "LEAST", frames)
        steps = list(module._read_heads(model, reading_of(model, session), "cpu"))
        assert [step.done for step in steps] == [*range(frames, 300, frames), 300]
        told = drain(module._read_heads(model, reading_of(model, session), "cpu"))
        np.testing.assert_allclose(told, expected, atol=1e-5)


def reading_of(model, session):
    return drain(module.read_features(session, model.config, {}, np.ones(session.n_frames, bool), 1))


def test_keypoints_alone_look_at_nothing(model, session, monkeypatch):
    monkeypatch.setattr(napari_lookagain.video, "Video", None)
    ethogram = drain(predict_actions(model, session, {}, device="cpu"))
    assert (ethogram.kind, ethogram.names, ethogram.animals) == ("behavior", model.card.names, session.animals)
    assert ethogram.label.shape == (300, 2)
    assert not ethogram.looked.any()
    for term in (ethogram.gate_score, ethogram.reliability, ethogram.saliency, ethogram.semantics):
        assert np.isnan(term).all()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=2e-3)
    truth = session.annotations.labels()
    names = np.array(session.annotations.behaviors)
    assert (np.array(ethogram.names)[ethogram.label] == names[truth]).mean() > 0.5


def test_another_recording_is_refused(model, untracked):
    with pytest.raises(InputError, match="untracked has the keypoints none"):
        drain(predict_actions(model, untracked, {}))


def test_a_recording_shorter_than_a_filter(small, open_lab, lab):
    session = open_lab(lab)
    width = MotionFeatures(session, n_neighbors=0).width
    card = ActionCard(("a", "b"), ("keypoints",), (width,), 0, ("nose", "tail"), 2, 0)
    model = ActionModel(card, small(head={"reads": ["keypoints"], "filter_length": 33}))
    assert drain(predict_actions(model, session, {}, device="cpu")).label.shape == (20, 1)
