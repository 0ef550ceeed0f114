"""LookAgain with patches that are pooled by attention (appendix E.4 of the BEAST paper)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_lookagain.config import LookConfig
from napari_lookagain.model.grounding import VisualContext
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.model.objectives import Finetuning

PATCHES, WIDTH = 4, 8


@pytest.fixture
def attending(make_model) -> LookAgain:
    """The tiny model, but of images in four patches of eight features each."""
    plain = make_model()
    card = replace(plain.card, visual_width=WIDTH, n_patches=PATCHES)
    torch.manual_seed(0)
    model = LookAgain(card, plain.config)
    model.motion_encoder.load_state_dict(plain.motion_encoder.state_dict())
    return model.eval()


@pytest.fixture
def batch(make_batch):
    plain = make_batch()
    torch.manual_seed(1)
    seen = torch.randn(*plain.valid.shape, PATCHES * WIDTH) * plain.valid.unsqueeze(-1)
    return replace(plain, visual_features=seen)


def test_what_is_read_of_an_image_is_all_its_patches(attending):
    assert attending.card.seen_width == PATCHES * WIDTH
    assert ModelCard(("a",), 2, 3, 0, 5, "behavior", ("x", "y")).seen_width == 5


def test_the_order_of_patches_does_not_matter(attending, batch):
    patches = batch.visual_features.unflatten(-1, (PATCHES, WIDTH))
    turned = patches.flip(-2).flatten(-2)
    with torch.no_grad():
        told = attending(batch.motion, batch.valid, batch.visual_features, 0.5)
        again = attending(batch.motion, batch.valid, turned, 0.5)
    torch.testing.assert_close(told.head, again.head)


def test_it_is_not_the_mean_that_is_seen(attending, batch):
    """Patches whose mean is the same, but not what attention finds in them."""
    attending.visual_context.pool.query.data.mul_(100)
    patches = batch.visual_features.unflatten(-1, (PATCHES, WIDTH))
    flat = patches.mean(-2, keepdim=True).expand_as(patches).flatten(-2)
    with torch.no_grad():
        told = attending(batch.motion, batch.valid, batch.visual_features, 1.0)
        mean = attending(batch.motion, batch.valid, flat, 1.0)
    assert not torch.allclose(told.head, mean.head, atol=1e-3)


def test_frames_not_looked_at_have_no_influence(attending, batch):
    with torch.no_grad():
        told = attending(batch.motion, batch.valid, batch.visual_features, 0.25)
        soiled = torch.where(told.looked.unsqueeze(-1), batch.visual_features, torch.nan)
        again = attending(batch.motion, batch.valid, soiled, 0.25)
    torch.testing.assert_close(told.head, again.head)


def test_the_query_learns_in_fine_tuning(attending, batch):
    objective = Finetuning(attending, torch.ones(3)).train()
    objective(batch, None, 1.0)["loss"].backward()
    pool = attending.visual_context.pool
    assert all(float(p.grad.abs().sum()) > 0 for p in pool.parameters())
    assert {id(p) for p in pool.parameters()} <= {id(p) for p in attending.finetuned_parameters()}


def test_it_is_saved_and_comes_back(attending, batch, tmp_path):
    attending.save(tmp_path)
    again = LookAgain.load(tmp_path)
    assert again.card == attending.card
    with torch.no_grad():
        told, same = (model(batch.motion, batch.valid, batch.visual_features, 0.5) for model in (attending, again))
    torch.testing.assert_close(told.head, same.head)


def test_with_nothing_looked_at_nothing_is_pooled():
    context = VisualContext(WIDTH, 16, 2, 6, LookConfig(layers=1), 0.0, attends=True).eval()
    nothing = torch.zeros(1, 1, 6, dtype=torch.bool)
    with torch.no_grad():
        out = context(torch.randn(1, 1, 6, PATCHES * WIDTH), torch.rand(1, 1, 6), nothing, ~nothing)
    assert out.shape == (1, 1, 6, 16)
    assert out.isfinite().all()
