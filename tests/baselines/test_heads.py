"""The heads of BEAST as a method: their settings, that they train once, and that they tell what heads tell."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.model import ActionModel
from napari_lookagain.actions.prediction import predict_actions
from napari_lookagain.baselines.heads import Heads, HeadsConfig
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain

FEW = {"training.sequence": 32, "training.epochs": 15, "training.seeds": 2, "training.learning_rate": 1e-2}
SMALL = HeadsConfig(settings={**FEW, "head.hidden": 8, "head.filter_length": 5, "vision.components": 6})


def fit(sessions, folder, config=SMALL, seed=0):
    return drain(Heads(config).fit(sessions, folder, seed=seed, device="cpu"))


def test_settings():
    config = HeadsConfig(head="linear", reads=("keypoints",), preset="paper", settings={"training.epochs": 7})
    expected = ActionConfig.preset(
        "paper", head={"kind": "linear", "reads": ["keypoints"]}, training={"epochs": 7, "seed": 3}
    )
    assert config.actions(3) == expected
    assert HeadsConfig(encoder="beast").actions(0).vision.encoder == "beast"
    assert HeadsConfig().actions(0) == ActionConfig.preset("quick")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 7}, "'epochs' has no section; expected SECTION.KEY"),
        ({"training.epoch": 7}, "no setting 'training.epoch'; the nearest is 'training.epochs'"),
        ({"training.epochs": 0}, "training.epochs is 0"),
    ],
)
def test_settings_that_are_not_there(settings, message):
    with pytest.raises(InputError, match=message):
        HeadsConfig(settings=settings).actions(0)


def test_what_was_learnt_is_told_in_another_recording(walk, agreement, tmp_path):
    labeler = fit([walk(0), walk(1, n_animals=2)], tmp_path)
    assert labeler.model.card.reads == ("keypoints",)
    other = walk(2)
    ethogram = drain(labeler.label(other))
    assert agreement(ethogram, other) > 0.9
    assert not ethogram.looked.any()
    direct = drain(predict_actions(ActionModel.load(tmp_path / "heads"), other, {}, device="cpu"))
    np.testing.assert_array_equal(ethogram.probabilities, direct.probabilities)


def test_heads_are_trained_once(walk, tmp_path):
    session, method = walk(0, 100), Heads(SMALL)
    first = list(method.fit([session], tmp_path, seed=0, device="cpu"))
    assert any("training" in step.stage for step in first)
    assert list(method.fit([session], tmp_path, seed=0, device="cpu")) == []
    again = fit([session], tmp_path)
    assert again.model.fingerprint() == ActionModel.load(tmp_path / "heads").fingerprint()
    with pytest.raises(InputError, match="holds a trained model already"):
        fit([session], tmp_path, seed=1)


def test_they_look_where_there_is_a_video(session, tmp_path):
    labeler = fit([session], tmp_path, SMALL.model_copy(update={"head": "linear"}))
    assert labeler.model.card.reads == ("keypoints", "pca")
    assert labeler.model.config.head.kind == "linear"
    assert labeler.eyes["pca"].width == 6
    assert drain(labeler.label(session)).looked.all()
