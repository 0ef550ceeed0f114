"""Clusters by k-means: what is put on one scale, what the gate learns, and what becomes a center."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import napari_lookagain.training_loop as training
from napari_lookagain.material import gather
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session
from napari_lookagain.train import finetune
from napari_lookagain.training_loop import History

KEYPOINTS = {"finetune": {"cluster_reads": "keypoints"}}


@pytest.fixture(scope="module")
def material(mice, tiny):
    session = replace(load_session(mice), path=None)
    return drain(gather([session], tiny(finetune={"discover": "kmeans"}), device="cpu"))


def discovery(material, checkpoint=None, **changes):
    """A model of three clusters and the generator that finds them."""
    features = material.batches.recordings[0].features
    width = material.batches.seen_width
    card = ModelCard(tuple("abcdefgh"), 2, features.width, 1, width, "cluster", ("a", "b", "c"))
    torch.manual_seed(0)
    model = LookAgain(card, material.config.updated(**KEYPOINTS).updated(**changes))
    windows, held_out = material.split(material.fine_windows)
    return model, finetune(model, material.batches, windows, held_out, device="cpu", checkpoint=checkpoint)


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def differing(one, other):
    return {name.split(".")[0] for name, value in one.items() if not torch.equal(value, other[name])}


def features_of(model, material):
    """f (M, F) of all valid frames of the training windows, with the looks of the gate, and what was seen."""
    f, seen = [], []
    for window in material.split(material.fine_windows)[0]:
        batch = material.batches([window])
        with torch.no_grad():
            f.append(model(batch.motion, batch.valid, batch.visual_features).head[batch.valid])
        seen.append(batch.visual_features[batch.valid])
    return torch.cat(f), torch.cat(seen)


def test_centers_are_those_of_what_the_taught_gate_shows(material):
    model, work = discovery(material)
    before = copied(model)
    history = drain(work)
    assert len(history.loss) == model.config.finetune.epochs
    assert differing(before, model.state_dict()) == {"gate", "visual_context", "head"}
    f, seen = features_of(model, material)
    standardized = (seen - model.visual_context.mean) / model.visual_context.scale
    assert standardized.var(0, correction=0).sum() == pytest.approx(1, rel=1e-4)
    square = torch.cdist(f, model.head.centers) ** 2
    own = square.argmin(-1)
    for k, center in enumerate(model.head.centers):  # k-means has converged: every center is the mean of its frames
        torch.testing.assert_close(f[own == k].mean(0), center, atol=2e-2, rtol=0)
    assert 0 < model.head.variance < square.min(-1).values.mean()


def test_work_that_was_cut_off_ends_as_if_it_had_not_been(material, tmp_path, monkeypatch):
    whole, work = discovery(material)
    history = drain(work)
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = tmp_path / "checkpoint.pt"
    _, work = discovery(material, checkpoint)
    assert next(each for each in work if each.stage == "fine-tuning" and each.done / each.total > 1 / 2)
    work.close()
    assert checkpoint.exists()
    resumed, work = discovery(material, checkpoint)
    assert drain(work) == history
    assert differing(whole.state_dict(), resumed.state_dict()) == set()


def test_without_looks_there_is_nothing_to_learn(material):
    model, work = discovery(material, look={"budget": 0})
    before = copied(model)
    assert drain(work) == History()
    assert differing(before, model.state_dict()) == {"visual_context", "head"}
    assert not any(p.requires_grad for p in model.parameters())
