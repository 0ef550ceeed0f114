"""The heads: what is stated of them in the paper, worked out by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_lookagain.actions.config import HeadConfig
from napari_lookagain.actions.heads import ActionHead, DilatedTCN, LinearHead

HEADS = pytest.mark.parametrize("kind", ["linear", "tcn"])


def head_of(kind, width=3, patches=(0, 0), classes=2, **changes):
    torch.manual_seed(0)
    return ActionHead(width, patches, classes, HeadConfig(kind=kind, hidden=4, filter_length=5, **changes)).eval()


def everywhere(x):
    return torch.ones(x.shape[:2], dtype=torch.bool)


def reached(head, width, at=60, length=121):
    """Frames whose features change what is said of one frame: by how far the first and the last are away."""
    x = torch.randn(1, length, width, generator=torch.Generator().manual_seed(1)).requires_grad_()
    head(x, everywhere(x))[0, at].sum().backward()
    frames = x.grad[0].abs().sum(-1).nonzero().flatten()
    return at - int(frames[0]), int(frames[-1]) - at


def test_receptive_field():
    torch.manual_seed(0)
    assert reached(LinearHead(3, 2, 4, 9), 3) == (4, 4)
    tcn = DilatedTCN(3, 2, 4, 9).eval()  # 2 filters of 4 frames to each side, then 2 of 8
    assert (tcn.reach, reached(tcn, 3)) == (24, (24, 24))
    deeper = DilatedTCN(3, 2, 4, 5, blocks=3).eval()  # 2 · 2 · (1 + 2 + 4)
    assert (deeper.reach, reached(deeper, 3)) == (28, (28, 28))


@HEADS
@pytest.mark.parametrize("difference", [True, False])
def test_what_a_head_says_depends_on_no_frame_beyond_its_reach(kind, difference):
    head = head_of(kind, difference=difference)
    before, after = reached(head, 3)
    assert max(before, after) == before == head.reach
    assert after == head.reach - difference  # the difference is to the frame before


def test_the_linear_head_is_linear():
    torch.manual_seed(0)
    head = LinearHead(3, 2, 4, 5)
    x, y = torch.randn(2, 1, 30, 3)
    zero = head(torch.zeros_like(x), everywhere(x))
    torch.testing.assert_close(
        head(2 * x + y, everywhere(x)) - zero,
        2 * (head(x, everywhere(x)) - zero) + head(y, everywhere(x)) - zero,
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_linear_head_by_hand():
    head = LinearHead(1, 2, 1, 3)
    with torch.no_grad():
        head.filter.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
        head.filter.bias.fill_(0.5)
        head.classify.weight.copy_(torch.tensor([[1.0], [-2.0]]))
        head.classify.bias.copy_(torch.tensor([0.0, 1.0]))
        x = torch.tensor([[[1.0], [2.0], [3.0]]])
        filtered = torch.tensor([210.5, 321.5, 32.5])  # beyond the ends there are zeros
        torch.testing.assert_close(head(x, everywhere(x))[0, :, 0], filtered)
        torch.testing.assert_close(head(x, everywhere(x))[0, :, 1], 1 - 2 * filtered)


def test_a_dilation_block_by_hand():
    tcn = DilatedTCN(1, 1, 1, 3, blocks=2).eval()
    with torch.no_grad():
        for parameter in tcn.parameters():
            parameter.zero_()
        tcn.classify.weight.fill_(1)
        first, second = tcn.blocks
        first.filters[0].weight.copy_(torch.tensor([[[1.0, 0.0, 0.0]]]))  # the frame before
        first.filters[1].weight.copy_(torch.tensor([[[0.0, -1.0, 0.0]]]))  # turned round
        second.filters[0].weight.copy_(torch.tensor([[[0.0, 0.0, 1.0]]]))  # two frames ahead
        second.filters[1].weight.copy_(torch.tensor([[[0.0, 1.0, 0.0]]]))
        x = torch.tensor([1.0, -2.0, 3.0, 5.0])
        before = torch.tensor([0.0, 1.0, -2.0, 3.0])
        block = x + F.leaky_relu(-F.leaky_relu(before))
        ahead = torch.tensor([block[2], block[3], 0.0, 0.0])
        expected = block + F.leaky_relu(F.leaky_relu(ahead))
        told = tcn(x.view(1, 4, 1), torch.ones(1, 4, dtype=torch.bool))
        torch.testing.assert_close(told[0, :, 0], expected)


def test_widths_that_differ_are_projected():
    tcn = DilatedTCN(7, 2, 4, 5)
    assert tcn.blocks[0].project.weight.shape == (4, 7)
    assert list(tcn.blocks[1].project.parameters()) == []


def test_dropout_is_in_training_alone():
    torch.manual_seed(0)
    tcn = DilatedTCN(3, 2, 16, 5, dropout=0.5)
    x = torch.randn(1, 20, 3)
    assert not torch.equal(tcn(x, everywhere(x)), tcn(x, everywhere(x)))
    tcn.eval()
    assert torch.equal(tcn(x, everywhere(x)), tcn(x, everywhere(x)))


@HEADS
def test_padding_changes_nothing(kind):
    head = head_of(kind)
    x = torch.randn(2, 20, 3)
    alone = head(x[:, :12], torch.ones(2, 12, dtype=torch.bool))
    valid = everywhere(x)
    valid[:, 12:] = False
    torch.testing.assert_close(head(x, valid)[:, :12], alone)
    x[:, 12:] = 1e6
    torch.testing.assert_close(head(x, valid)[:, :12], alone)


@HEADS
def test_sequences_do_not_mix(kind):
    head = head_of(kind)
    x = torch.randn(3, 15, 3)
    torch.testing.assert_close(head(x, everywhere(x))[1:2], head(x[1:2], everywhere(x[1:2])))


def test_differences_are_appended():
    head = head_of("linear")
    seen = []
    head.filters.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.tensor([[[1.0, 2.0, 0.0], [4.0, 2.0, 1.0], [4.0, 0.0, 3.0]]])
    head.mean.copy_(torch.tensor([1.0, 0.0, 0.0]))
    head.scale.copy_(torch.tensor([1.0, 2.0, 1.0]))
    head(x, everywhere(x))
    expected = torch.tensor([[0.0, 1, 0, 0, 0, 0], [3, 1, 1, 3, 0, 1], [3, 0, 3, 0, -1, 2]])
    torch.testing.assert_close(seen[0][0], expected)


def test_patches_are_pooled_before_the_difference():
    head = head_of("tcn", width=2, patches=(3, 8), pooling_heads=4)
    seen = []
    head.filters.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 6, 2 + 3 * 8)
    assert head(x, everywhere(x)).shape == (2, 6, 2)
    pooled = head.pool(x[..., 2:].view(2, 6, 3, 8))
    torch.testing.assert_close(seen[0][..., :10], torch.cat([x[..., :2], pooled], -1))
    torch.testing.assert_close(seen[0][:, 1:, 10:], seen[0][:, 1:, :10] - seen[0][:, :-1, :10])


def test_the_prior_is_taken_back():
    head = head_of("tcn", classes=3)
    head.correct_prior(torch.tensor([2.0, 0.0, 0.5]))
    torch.testing.assert_close(head.log_weights, torch.tensor([2.0, 1.0, 0.5]).log())
