"""The ensemble: what it averages, what it refuses, and the folder that keeps it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_lookagain.actions.model import ActionCard, ActionModel, is_action_model
from napari_lookagain.errors import InputError
from napari_lookagain.session import load_session


@pytest.fixture
def ensemble(small):
    return ActionModel(ActionCard(("a", "b", "c"), ("pca",), (4,)), small(training={"seeds": 3})).eval()


def test_logits_are_averaged_before_the_softmax(ensemble):
    x, valid = torch.randn(2, 9, 4), torch.ones(2, 9, dtype=torch.bool)
    ensemble.heads[1].correct_prior(torch.tensor([4.0, 1.0, 0.5]))
    with torch.no_grad():
        logits = [head(x, valid) for head in ensemble.heads]
        logits[1] = logits[1] - torch.tensor([4.0, 1.0, 0.5]).log()
        torch.testing.assert_close(ensemble(x, valid), torch.stack(logits).mean(0).softmax(-1))


def test_principal_components_keep_their_proportions(small):
    card = ActionCard(("a", "b"), ("keypoints", "pca", "cls"), (2, 3, 2))
    mean, deviation = np.arange(7.0), np.array([2.0, 0.0, 3.0, 4.0, 5.0, 0.1, 0.0])
    model = ActionModel(card, small())
    model.fit_scale(mean, deviation)
    one = (50 / 3) ** 0.5
    for head in model.heads:
        np.testing.assert_allclose(head.mean, mean)
        np.testing.assert_allclose(head.scale, [2, 0.02, one, one, one, 0.1, 0.05 * 0.005**0.5], rtol=1e-5)
    model = ActionModel(card, small(head={"scale": "column"}))
    model.fit_scale(mean, deviation)
    np.testing.assert_allclose(model.heads[0].scale[2:5], [3, 4, 5], rtol=1e-5)


def test_what_is_saved_is_what_is_loaded(ensemble, tmp_path):
    ensemble.save(tmp_path / "model")
    assert is_action_model(tmp_path / "model")
    loaded = ActionModel.load(tmp_path / "model")
    assert (loaded.card, loaded.config) == (ensemble.card, ensemble.config)
    assert loaded.fingerprint() == ensemble.fingerprint()
    told = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert (told["schema"], told["kind"], told["card"]["names"]) == (1, "actions", ["a", "b", "c"])


def test_the_same_seed_starts_the_same(small):
    card = ActionCard(("a", "b"), ("pca",), (4,))
    prints = [ActionModel(card, small(training={"seed": seed})).fingerprint() for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_what_is_no_such_model_is_refused(ensemble, tmp_path):
    model = tmp_path / "model"
    for spoil, message in (
        (lambda: None, "is not a model folder; name the folder that training wrote"),
        (lambda: ensemble.save(model) or rewrite(model, kind=None), "is not one of action segmentation heads"),
        (lambda: ensemble.save(model) or rewrite(model, schema=2), "was written by a newer version"),
        (lambda: ensemble.save(model) or rewrite(model, card={}), "is damaged"),
        (lambda: ensemble.save(model) or (model / "weights.safetensors").write_bytes(b"no"), "is damaged"),
        (lambda: (model / "config.json").write_text("{"), "is damaged"),
    ):
        spoil()
        with pytest.raises(InputError, match=message):
            ActionModel.load(model)
    assert not is_action_model(tmp_path / "nowhere")
    assert not is_action_model(model)


def rewrite(folder, **changes):
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(told | changes), encoding="utf-8")


def test_recordings_that_lack_what_is_read_are_refused(by_keypoints, mice, untracked, tmp_path):
    session = load_session(shutil.copytree(mice, tmp_path / "mice.lookagain"))
    card = ActionModel.load(by_keypoints).card
    card.check(session, "turned")
    with pytest.raises(InputError, match="untracked has the keypoints none in 2 coordinates, but the model knows nose"):
        card.check(untracked, "turned")
    seeing = ActionCard(("a", "b"), ("pca",), (4,))
    seeing.check(untracked, "frame")
    with pytest.raises(InputError, match="reads crops around animals, but untracked has no keypoints to find them"):
        seeing.check(untracked, "turned")
    with pytest.raises(InputError, match="mice has no video, which the model reads"):
        seeing.check(replace(session, video=None, path=None), "turned")
