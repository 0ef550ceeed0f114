"""Training the heads: what a step does, worked out by hand, and that it ends the same however often it is cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import napari_lookagain.actions.sequences as sequences_module
import napari_lookagain.actions.training as training
from napari_lookagain.actions.training import learning_rate, train_heads
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain


def differing(one, other):
    """Names of the weights and buffers that are not equal bit for bit."""
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


def test_the_learning_rate_restarts_as_torch_has_it(small):
    config = small(training={"restart": 3, "learning_rate": 1e-3, "lowest_learning_rate": 5e-5}).training
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2, 5e-5)
    for epoch in range(25):
        assert learning_rate(config, epoch, pooled=True) == pytest.approx(optimizer.param_groups[0]["lr"])
        assert learning_rate(config, epoch, pooled=False) == 1e-3
        optimizer.step()
        schedule.step()


def test_the_loss_weighs_scored_frames_by_hand(material):
    model, sequences, _ = material(training={"epochs": 1, "seeds": 1, "batch": 1000, "validation_share": 0})
    label = sequences.labels[0]
    label[:] = -1
    label[3:9, 0], label[40:42, 1] = 0, 4  # 6 frames of one behavior, 2 of another; all others enter no loss
    windows = [window for window in training_windows(sequences) if window.start < 64]
    with torch.no_grad():  # no filter, and logits that are known
        for name, parameter in model.heads[0].named_parameters():
            parameter.zero_()
            if name == "filters.classify.bias":
                parameter.copy_(torch.arange(5.0))
    told = next(train_heads(model, sequences, [(windows, [])], device="cpu")).metrics["loss"]
    log_softmax = torch.arange(5.0).log_softmax(0)
    weights = {0: 8 / (2 * 6), 4: 8 / (2 * 2)}  # inversely proportional to frequency, mean 1 over scored frames
    expected = -(6 * weights[0] * log_softmax[0] + 2 * weights[4] * log_softmax[4]) / 8
    assert told == pytest.approx(float(expected), rel=1e-5)


def training_windows(sequences):
    return sequences_module.scored_windows(sequences.labels, sequences.length)


def test_a_batch_in_portions_is_the_same_batch(material, monkeypatch):
    changes = {"head": {"dropout": 0.0}, "training": {"epochs": 2}}
    model, *rest = material(**changes)
    drain(train_heads(model, *rest, device="cpu"))
    other, *rest = material(**changes)
    monkeypatch.setattr(sequences_module, "AT_ONCE", 1)
    drain(train_heads(other, *rest, device="cpu"))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_every_head_is_another_one_and_learns(material):
    model, sequences, parts = material(training={"epochs": 30, "validation_share": 0.2})
    histories = drain(train_heads(model, sequences, parts, device="cpu"))
    assert len(histories) == 2
    assert not torch.equal(*(head.filters.classify.weight for head in model.heads))
    for history, (_, held_out) in zip(histories, parts, strict=True):
        assert history.loss[-1] < 0.5 * history.loss[0]
        assert len(history.held_out_loss) == (30 if held_out else 0)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_the_prior_is_that_of_the_training_sequences(material):
    model, sequences, parts = material(training={"epochs": 1})
    drain(train_heads(model, sequences, parts, device="cpu"))
    for head, (windows, _) in zip(model.heads, parts, strict=True):
        classes = sequences.behavior(windows)
        count = np.bincount(classes[classes >= 0], minlength=5)
        np.testing.assert_allclose(head.log_weights, np.log(count.sum() / (5 * count)), rtol=1e-5)
    model, sequences, parts = material(training={"epochs": 1, "correct_prior": False})
    drain(train_heads(model, sequences, parts, device="cpu"))
    assert not any(head.log_weights.any() for head in model.heads)


def test_training_that_is_cancelled_resumes_as_if_it_had_not_been(material, tmp_path, monkeypatch):
    whole, *rest = material()
    histories = drain(train_heads(whole, *rest, device="cpu"))
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = tmp_path / "training.pt"
    for stage, share in (("training head 1 of 2", 0.6), ("training head 2 of 2", 0.3), ("training head 2 of 2", 0.8)):
        model, *rest = material()
        work = train_heads(model, *rest, device="cpu", checkpoint=checkpoint)
        next(told for told in work if told.stage == stage and told.done / told.total > share)
        work.close()
    resumed, *rest = material()
    assert drain(train_heads(resumed, *rest, device="cpu", checkpoint=checkpoint)) == histories
    assert differing(whole, resumed) == []
    again, *rest = material()
    assert next(train_heads(again, *rest, device="cpu", checkpoint=checkpoint), None) is None, "it was finished"


KILLED = """
import os, signal, sys
from pathlib import Path
import napari_lookagain.actions.training as training
from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.jobs import train_actions
from napari_lookagain.session import load_session

folder, out, settings = sys.argv[1:]
training.SECONDS_BETWEEN_CHECKPOINTS = 0.0
config = ActionConfig.model_validate_json(settings)
for told in train_actions([load_session(folder)], Path(out), config, device="cpu"):
    if told.stage == "training head 2 of 2" and told.done / told.total > 0.6:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_a_killed_training_goes_on(by_keypoints, mice, small, tmp_path):
    from napari_lookagain.actions.jobs import train_actions
    from napari_lookagain.actions.model import ActionModel
    from napari_lookagain.session import load_session

    config, out = small(head={"reads": ["keypoints"]}), tmp_path / "model"
    command = [sys.executable, "-c", KILLED, str(mice), str(out), config.model_dump_json()]
    killed = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir()] == ["training.pt"]
    with pytest.raises(InputError, match="was written with other settings or labels"):
        drain(train_actions([load_session(mice)], out, config.updated(training={"batch": 8}), device="cpu"))
    drain(train_actions([load_session(mice)], out, config, device="cpu"))
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "metrics.json", "weights.safetensors"]
    whole, resumed = (ActionModel.load(folder) for folder in (by_keypoints, out))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_no_number_is_told(material):
    model, *rest = material(training={"learning_rate": 1e30})
    with pytest.raises(InputError, match="The loss is .*; lower training.learning_rate, which is 1e\\+30"):
        drain(train_heads(model, *rest, device="cpu"))
