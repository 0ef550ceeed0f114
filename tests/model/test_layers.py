"""The transformer beside torch's own, and its dropout beside what dropout is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_lookagain.model.layers import Transformer, dropout

WIDTH, HEADS, LAYERS = 32, 4, 2
VALID = torch.ones(3, 10, dtype=torch.bool)
VALID[1, 6:] = False


def torchs_own(share: float = 0.0) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, share, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)


def both(share: float = 0.0) -> tuple[Transformer, nn.TransformerEncoder, Tensor]:
    torch.manual_seed(0)
    ours = Transformer(WIDTH, HEADS, LAYERS, share)
    torch.manual_seed(0)
    theirs = torchs_own(share)
    return ours, theirs, torch.randn(3, 10, WIDTH)


def test_it_starts_with_the_weights_of_torchs_own():
    ours, theirs, _ = both()
    state, known = ours.encoder.state_dict(), theirs.state_dict()
    assert state.keys() == known.keys()
    assert all(torch.equal(state[name], known[name]) for name in known)


@pytest.mark.parametrize("valid", [VALID, torch.ones_like(VALID)], ids=["padded", "whole"])
@pytest.mark.parametrize("share", [0.0, 1e-9], ids=["fused", "step by step"])  # no draw of 16 bits is below 1e-9
def test_it_computes_what_torchs_own_does(valid, share):
    ours, theirs, x = both(share)
    theirs.eval()  # torch's own would draw, and so differ from then on
    out, known = ours(x, valid)[valid], theirs(x, src_key_padding_mask=~valid)[valid]
    assert torch.allclose(out, known, atol=1e-5)
    gradients = torch.autograd.grad(out.square().sum(), list(ours.parameters()))
    expected = torch.autograd.grad(known.square().sum(), list(theirs.parameters()))
    assert all(torch.allclose(*each, atol=1e-3) for each in zip(gradients, expected, strict=True))


def test_a_sequence_without_a_valid_position_stays_finite():
    for share in (0.0, 0.5):
        ours, _, x = both(share)
        assert torch.isfinite(ours(x, torch.zeros_like(VALID))).all()


def test_invalid_positions_are_no_keys_in_training():
    ours, _, x = both(0.5)
    moved = torch.where(VALID.unsqueeze(-1), x, x + 1)
    outs = []
    for each in (x, moved):
        torch.manual_seed(1)
        outs.append(ours(each, VALID)[VALID])
    assert torch.equal(*outs)


def test_nothing_is_dropped_in_prediction():
    ours, _, x = both(0.5)
    ours.eval()
    assert torch.equal(ours(x, VALID), ours(x, VALID))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    x = torch.ones(100_001, requires_grad=True)
    out = dropout(x, share)
    dropped = (out == 0).float().mean().item()
    assert dropped == pytest.approx(share, abs=4 * (share * (1 - share) / len(x)) ** 0.5)
    assert out.detach().unique().tolist() == pytest.approx([0, 1 / (1 - share)])
    [gradient] = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out.detach())


def test_dropout_drops_every_entry_for_itself():
    """Four entries share a draw of 64 bits: none of them tells of another, nor of the next draw."""
    torch.manual_seed(0)
    gone = (dropout(torch.ones(400_000), 0.5) == 0).float() - 0.5
    for lag in range(1, 9):
        correlation = 4 * (gone[lag:] * gone[:-lag]).mean().item()
        assert abs(correlation) < 4 / 400_000**0.5


def test_dropout_is_the_same_for_the_same_seed():
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(dropout(torch.ones(5, 7), 0.5))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_dropout_of_any_size():
    assert [dropout(torch.ones(n), 0.5).shape for n in range(6)] == [(n,) for n in range(6)]
