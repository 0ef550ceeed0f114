"""Where the model looks: as often as the budget says, spread as defined, and blind where it did not look."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from napari_lookagain.config import LookConfig
from napari_lookagain.model.grounding import (
    Gate,
    HeldLooks,
    VisualContext,
    explore,
    nearest_look,
    saliency,
    select_frames,
)
from napari_lookagain.model.motion import Motion

SELECTS = ("spread", "topk", "grid", "random")
every_select = pytest.mark.parametrize("select", SELECTS)
ALL = ("reliability", "saliency", "semantics")


def look(score, budget, select="spread", valid=None):
    """Indices looked at in one window."""
    score = torch.as_tensor(score, dtype=torch.float32)
    valid = torch.ones(score.shape, dtype=torch.bool) if valid is None else valid
    return torch.nonzero(select_frames(score, valid, budget, select)).flatten().tolist()


def motion(frames=6, animals=1, width=8, seed=0):
    """What a motion encoder might have said of one window."""
    torch.manual_seed(seed)
    shape = (1, animals, frames)
    codes = torch.zeros(*shape, 2, dtype=torch.long)
    latent, embedding = torch.randn(*shape, 4), torch.randn(*shape, width)
    return Motion(latent, latent, codes, embedding, torch.rand(shape), torch.randn(*shape, 5))


# The gate


def test_saliency_by_hand():
    latent = tensor([[0.0, 0], [3, 4], [3, 4], [3, 5]])[None, None]
    expected = tensor([math.log(6), math.log(6), 0, math.log(2)])
    torch.testing.assert_close(saliency(latent)[0, 0], expected)
    assert saliency(latent[..., :1, :]).tolist() == [[[0.0]]]


def test_saliency_does_not_look_ahead_into_padding():
    latent = torch.randn(1, 1, 8, 4)
    other = latent.clone()
    other[..., 5:, :] = 99
    torch.testing.assert_close(saliency(latent)[..., :5], saliency(other)[..., :5])


def test_the_gate_shows_its_terms():
    told = motion()
    gate = Gate(8, ALL)
    score = gate(told)
    torch.testing.assert_close(score.reliability, told.reliability)
    torch.testing.assert_close(score.saliency, saliency(told.latent))
    torch.testing.assert_close(score.semantics, gate.semantics(told.embedding)[..., 0])
    terms = torch.stack([score.reliability, score.saliency, score.semantics], -1)
    torch.testing.assert_close(score.logit, gate.mlp(terms)[..., 0])
    torch.testing.assert_close(score.score, 1 / (1 + torch.exp(-score.logit)))


@pytest.mark.parametrize("left_out", ALL)
def test_a_term_left_out_has_no_influence(left_out):
    told = motion()
    others = {
        "reliability": replace(told, reliability=told.reliability + 0.3),
        "saliency": replace(told, latent=torch.randn(1, 1, 6, 4)),
        "semantics": replace(told, embedding=torch.randn(1, 1, 6, 8)),
    }
    gate = Gate(8, tuple(term for term in ALL if term != left_out))
    for term, other in others.items():
        same = torch.equal(gate(other).logit, gate(told).logit)
        assert same == (term == left_out)
    gate(told).logit.sum().backward()
    learns = gate.semantics.weight.grad is not None and bool(gate.semantics.weight.grad.any())
    assert learns == (left_out != "semantics")


# Noise in training


def test_the_noise_of_the_paper_is_added_to_the_score():
    logit = torch.full((200_000,), 1.2)
    torch.manual_seed(0)
    noisy = explore(logit, "paper", 0.9)
    assert noisy.mean() == pytest.approx(float(logit[0].sigmoid()), abs=0.01)
    assert noisy.std() == pytest.approx(1, abs=0.01)
    assert noisy.min() < 0, "cut off at 0, the order among low scores would be lost"


def test_annealed_noise_is_added_to_the_logit_and_fades():
    logit = torch.full((200_000,), 1.2)
    torch.manual_seed(0)
    for progress, sigma in ((0.0, 1.0), (0.25, 0.5), (0.45, 0.1)):
        noisy = explore(logit, "annealed", progress)
        assert ((noisy > 0) & (noisy < 1)).all()
        assert noisy.logit().mean() == pytest.approx(1.2, abs=0.01)
        assert noisy.logit().std() == pytest.approx(sigma, abs=0.01)
    for progress in (0.5, 1.0):
        assert torch.equal(explore(logit, "annealed", progress), logit.sigmoid())


def test_no_noise_is_the_score():
    logit = torch.randn(50)
    assert torch.equal(explore(logit, "none", 0.0), logit.sigmoid())


# Choosing frames


def test_all_of_few_and_few_of_many():
    for budget, n_valid, k in [(0.07, 100, 7), (0.3, 10, 3), (0.1, 30, 3), (0.29, 100, 29), (0.57, 100, 57)]:
        for select in SELECTS:
            assert len(look(torch.rand(n_valid), budget, select)) == k, f"{budget} of {n_valid} is {k} frames"
    assert len(look(torch.rand(101), 0.07)) == 8


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=4),
    st.one_of(st.sampled_from([0, 1, 1000]), st.integers(0, 1000)),
    st.sampled_from(SELECTS),
    st.integers(0, 3),
)
def test_exactly_k_valid_frames_are_chosen(lengths, thousandths, select, seed):
    torch.manual_seed(seed)
    valid = torch.arange(40) < tensor(lengths)[:, None]
    valid = valid[:, torch.randperm(40)] if seed == 3 else valid  # a user's muted spans leave holes
    looked = select_frames(torch.rand(valid.shape), valid, thousandths / 1000, select)
    assert looked.dtype == torch.bool
    assert not (looked & ~valid).any()
    assert looked.sum(-1).tolist() == [math.ceil(Fraction(thousandths, 1000) * length) for length in lengths]


@every_select
def test_windows_and_animals_do_not_disturb_each_other(select):
    score, valid = torch.rand(2, 3, 20), torch.ones(2, 3, 20, dtype=torch.bool)
    valid[0, 1, 12:] = False
    valid[1, 2] = False
    looked = select_frames(score, valid, 0.3, select)
    assert looked.shape == (2, 3, 20)
    assert looked.sum(-1).tolist() == [[6, 4, 6], [6, 6, 0]]


@pytest.mark.parametrize("select", ["spread", "topk", "grid"])
def test_a_short_window_is_looked_at_alike_padded_or_not(select):
    torch.manual_seed(0)
    score, lengths = torch.rand(30, 40), torch.randint(1, 40, (30,))
    looked = select_frames(score, torch.arange(40) < lengths[:, None], 0.3, select)
    for i, length in enumerate(lengths.tolist()):
        assert look(score[i, :length], 0.3, select) == torch.nonzero(looked[i]).flatten().tolist()


@every_select
def test_what_stands_in_padding_does_not_matter(select):
    score, valid = torch.rand(4, 20), torch.arange(20).expand(4, 20) < 11
    torch.manual_seed(0)
    looked = select_frames(torch.where(valid, score, 0.0), valid, 0.4, select)
    torch.manual_seed(0)
    assert torch.equal(looked, select_frames(torch.where(valid, score, 9.0), valid, 0.4, select))


def test_topk_is_torch_topk():
    score = torch.rand(5, 33)
    looked = select_frames(score, torch.ones(5, 33, dtype=torch.bool), 0.2, "topk")
    expected = torch.zeros(5, 33, dtype=torch.bool).scatter_(-1, score.topk(7).indices, True)
    assert torch.equal(looked, expected)


def test_topk_orders_scores_below_zero():
    assert look([-0.1, -3, -0.2, 2, -5, -0.3], 0.5, "topk") == [0, 2, 3]


def spread(score, k):
    """The definition, word by word."""
    tau, looks = len(score) / (2 * k), []
    for _ in range(k):
        gain = {
            t: score[t] * (1 - max((math.exp(-((t - look) ** 2) / (2 * tau**2)) for look in looks), default=0))
            for t in range(len(score))
            if t not in looks
        }
        looks.append(max(gain, key=gain.get))
    return sorted(looks)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(1, 20), st.integers(0, 1000))
def test_spread_is_as_defined(frames, k, seed):
    k = min(k, frames)
    score = torch.rand(frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9 + 0.05
    valid = torch.ones(frames, dtype=torch.bool)
    chosen = torch.nonzero(select_frames(score, valid, k / frames, "spread")).flatten().tolist()
    assert chosen == spread(score.tolist(), k)


@pytest.mark.parametrize("k", [1, 2, 5, 8, 16, 32, 64, 127, 128])
def test_an_indifferent_gate_spreads_its_looks(k):
    looks = look(torch.full((128,), 0.5), k / 128)
    edges = [-1, *looks, 128]
    gaps = [b - a for a, b in pairwise(edges)]
    assert len(looks) == k
    assert max(gaps[1:-1], default=0) <= 2 * math.ceil(128 / k)
    assert k == 1 or max(gaps[0], gaps[-1]) <= 2 * math.ceil(128 / k)


def test_an_insistent_gate_gathers_its_looks():
    score = torch.full((128,), 0.02)
    score[40:56] = 0.98
    inside = [t for t in look(score, 16 / 128) if 40 <= t < 56]
    indifferent = [t for t in look(torch.full((128,), 0.5), 16 / 128) if 40 <= t < 56]
    assert len(inside) >= 8 > 3 >= len(indifferent)
    assert look(score, 16 / 128, "topk") == list(range(40, 56))


def test_spread_takes_scores_that_noise_has_brought_below_zero():
    looks = look(torch.full((64,), -0.5), 8 / 64)
    assert max(b - a for a, b in pairwise([-1, *looks, 64])) <= 16


@pytest.mark.parametrize(
    "frames, budget, expected",
    [
        (8, 0.25, [2, 6]),
        (10, 0.2, [2, 7]),
        (9, 1 / 3, [1, 4, 7]),
        (5, 1.0, [0, 1, 2, 3, 4]),
        (7, 1 / 7, [3]),
        (4, 0, []),
    ],
)
def test_the_grid_is_regular(frames, budget, expected):
    assert look(torch.rand(frames), budget, "grid") == expected


@settings(deadline=None)
@given(st.integers(1, 130), st.integers(1, 130))
def test_the_gaps_of_the_grid_differ_by_one_frame_at_most(frames, k):
    looks = look(torch.rand(frames), min(k, frames) / frames, "grid")
    gaps = {b - a for a, b in pairwise(looks)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert looks[0] <= frames / len(looks)
    assert frames - looks[-1] <= frames / len(looks) + 1


def test_the_grid_counts_valid_frames_only():
    valid = tensor([False, True, True, False, False, True, True, True, True, False])
    assert look(torch.rand(10), 1 / 3, "grid", valid) == [2, 7]


def test_random_looks_do_not_ask_the_gate():
    score = torch.linspace(0, 1, 100)
    torch.manual_seed(0)
    first, second = look(score, 0.2, "random"), look(score, 0.2, "random")
    assert first != second
    torch.manual_seed(0)
    assert look(-score, 0.2, "random") == first


def test_no_gradient_comes_back_through_the_choice():
    score = torch.rand(20, requires_grad=True)
    assert not select_frames(score, torch.ones(20, dtype=torch.bool), 0.5).requires_grad


# What was seen


def test_the_nearest_look_by_hand():
    looked = tensor([[False, True, False, False, True, False, False, False], [False] * 8])[None]
    nearest, distance = nearest_look(looked)
    assert nearest[0, 0].tolist() == [1, 1, 1, 4, 4, 4, 4, 4]
    assert distance[0, 0].tolist() == [1, 0, 1, 1, 0, 1, 2, 3]
    assert nearest[0, 1].tolist() == list(range(8))
    assert distance[0, 1].tolist() == [8] * 8
    nearest, _ = nearest_look(tensor([True, False, False, False, True])[None, None])
    assert nearest[0, 0].tolist() == [0, 0, 0, 4, 4], "of two equally near the earlier one"


def context(fill, window=8, seed=0):
    torch.manual_seed(seed)
    return VisualContext(5, 16, 2, window, LookConfig(fill=fill, layers=1), 0.0).eval()


every_fill = pytest.mark.parametrize("fill", ["hold", "zero"])


@every_fill
def test_what_was_not_looked_at_has_no_influence(fill):
    see = context(fill)
    visual, score = torch.randn(2, 1, 8, 5), torch.rand(2, 1, 8)
    looked, valid = torch.rand(2, 1, 8) < 0.4, torch.ones(2, 1, 8, dtype=torch.bool)
    blind = torch.where(looked.unsqueeze(-1), visual, math.nan)
    assert torch.equal(see(blind, score, looked, valid), see(visual, score, looked, valid))
    other = torch.where(looked.unsqueeze(-1), visual + 1, visual)
    assert not torch.allclose(see(other, score, looked, valid), see(visual, score, looked, valid))
    nothing = torch.zeros_like(looked)
    assert torch.equal(see(visual, score, nothing, valid), see(-visual, 1 - score, nothing, valid))


@every_fill
def test_padding_is_not_attended_to(fill):
    see = context(fill)
    valid = torch.arange(8).expand(1, 2, 8) < 6
    visual, score, looked = torch.randn(1, 2, 8, 5), torch.rand(1, 2, 8), torch.rand(1, 2, 8) < 0.5
    looked &= valid
    out = see(visual, score, looked, valid)
    padding = ~valid
    other = see(torch.where(padding.unsqueeze(-1), 99.0, visual), torch.where(padding, 0.9, score), looked, valid)
    torch.testing.assert_close(out[valid], other[valid])


@every_fill
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_short_window_sees_the_same_padded_or_not(fill, share):
    see = context(fill)
    visual, score = torch.randn(2, 1, 8, 5), torch.rand(2, 1, 8)
    valid = torch.arange(8).expand(2, 1, 8) < 5
    looked = (torch.rand(2, 1, 8) < share) & valid
    assert bool(looked[..., :5].any(-1).all()) == (share > 0)
    short = see(visual[..., :5, :], score[..., :5], looked[..., :5], valid[..., :5])
    torch.testing.assert_close(short, see(visual, score, looked, valid)[..., :5, :])


@every_fill
def test_gradient_reaches_the_score_where_it_looked_and_nowhere_else(fill):
    see = context(fill)
    visual, score = torch.randn(1, 1, 8, 5), torch.rand(1, 1, 8, requires_grad=True)
    looked = tensor([[[False, True, False, False, False, True, False, False]]])
    see(visual, score, looked, torch.ones_like(looked)).square().sum().backward()
    assert torch.equal(score.grad != 0, looked)


def test_where_the_score_does_not_weigh_it_tells_nothing():
    visual, looked = torch.randn(1, 1, 8, 5), torch.arange(8).expand(1, 1, 8) % 3 == 0
    scores = torch.rand(2, 1, 1, 8)
    for weighs in (True, False):
        see = VisualContext(5, 16, 2, 8, LookConfig(layers=1), 0.0, weighs=weighs).eval()
        one, other = (see(visual, score, looked, torch.ones_like(looked)) for score in scores)
        assert torch.equal(one, other) != weighs


def test_a_frame_holds_the_nearest_look_and_its_distance():
    see = context("hold")
    reads = []
    see.aggregate.register_forward_pre_hook(lambda module, inputs: reads.append(inputs[0]))
    visual, score = torch.randn(1, 1, 4, 5), torch.rand(1, 1, 4)
    looked, valid = tensor([[[False, True, False, False]]]), torch.ones(1, 1, 4, dtype=torch.bool)
    see(visual, score, looked, valid)
    held = score[0, 0, 1] * see.project(visual[0, 0, 1])
    torch.testing.assert_close(reads[0][0], held + see.distance.weight[[1, 0, 1, 2]] + see.position[:4])


def test_the_form_of_the_paper_leaves_zeros_at_known_positions():
    see = context("zero")
    reads = []
    see.aggregate.register_forward_pre_hook(lambda module, inputs: reads.append(inputs[0]))
    visual, score = torch.randn(1, 1, 4, 5), torch.rand(1, 1, 4)
    looked, valid = tensor([[[False, True, False, False]]]), torch.ones(1, 1, 4, dtype=torch.bool)
    see(visual, score, looked, valid)
    seen = torch.zeros(4, 16)
    seen[1] = score[0, 0, 1] * see.project(visual[0, 0, 1])
    torch.testing.assert_close(reads[0][0], seen + see.position[:4])


def test_held_looks_are_those_of_the_nearest_frame_looked_at():
    context = HeldLooks(2)
    raw = torch.randn(50, 2) * tensor([3.0, 4.0]) + 1
    context.fit_scale(raw)
    assert ((raw - context.mean) / context.scale).var(0, correction=0).sum() == pytest.approx(1, rel=1e-5)
    visual, valid = torch.randn(1, 2, 5, 2), torch.ones(1, 2, 5, dtype=torch.bool)
    looked = torch.zeros_like(valid)
    looked[0, 0, [1, 4]] = True
    held = context(torch.where(looked.unsqueeze(-1), visual, math.nan), valid.float(), looked, valid)
    expected = (visual[0, 0, [1, 1, 1, 4, 4]] - context.mean) / context.scale
    torch.testing.assert_close(held[0, 0], expected)
    assert not held[0, 1].any(), "nothing was looked at: the mean of all frames"


def test_of_patches_the_mean_is_held():
    context, patches = HeldLooks(3), torch.randn(1, 1, 4, 5 * 3)
    looked = torch.ones(1, 1, 4, dtype=torch.bool)
    held = context(patches, looked.float(), looked, looked)
    torch.testing.assert_close(held, patches.view(1, 1, 4, 5, 3).mean(-2))
