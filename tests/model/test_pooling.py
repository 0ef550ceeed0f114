"""Attention pooling: the same as torch's own attention, and what it must do with patches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_lookagain.model.pooling import AttentionPooling


@pytest.fixture
def pooling():
    torch.manual_seed(0)
    pooling = AttentionPooling(16, heads=4)
    with torch.no_grad():
        pooling.query.normal_()
    return pooling


@pytest.fixture
def patches():
    return torch.randn(2, 3, 5, 16, generator=torch.Generator().manual_seed(1))


def test_it_is_attention_of_one_query(pooling, patches):
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([torch.eye(16), pooling.key.weight, pooling.value.weight]))
        attention.in_proj_bias.copy_(torch.cat([torch.zeros(32), pooling.value.bias]))
        attention.out_proj.load_state_dict(pooling.out.state_dict())
        flat = patches.flatten(0, 1)
        query = pooling.query.view(1, 1, 16).expand(6, 1, 16)
        expected, weights = attention(query, flat, flat, average_attn_weights=False)
        torch.testing.assert_close(pooling(patches), expected.view(2, 3, 16))
        torch.testing.assert_close(pooling.weights(patches), weights.view(2, 3, 4, 5))


def test_it_learns_what_attention_learns(pooling, patches):
    pooling(patches).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in pooling.parameters())


def test_the_order_of_patches_does_not_matter(pooling, patches):
    torch.testing.assert_close(pooling(patches.flip(-2)), pooling(patches))


def test_a_single_patch_is_taken_whole(pooling):
    patch = torch.randn(7, 1, 16)
    torch.testing.assert_close(pooling(patch), pooling.out(pooling.value(patch[:, 0])))


def test_at_the_start_it_is_nearly_a_mean():
    torch.manual_seed(0)
    weights = AttentionPooling(32, heads=8).weights(torch.randn(10, 4, 32))
    assert weights.shape == (10, 8, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(10, 8))
    assert (weights - 0.25).abs().max() < 0.05


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="8 heads cannot share patch embeddings of width 20"):
        AttentionPooling(20)
