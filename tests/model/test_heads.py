"""The heads: how what was seen enters, and what becomes a probability."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from napari_lookagain.model.heads import BehaviorHead, ClusterHead, Fusion, KMeansHead
from napari_lookagain.model.losses import class_weights


def test_fusion_is_as_written():
    fuse = Fusion(6)
    x, seen = torch.randn(2, 1, 4, 6), torch.randn(2, 1, 4, 6)
    torch.testing.assert_close(fuse(x, seen), x + fuse.mlp(torch.cat([x, seen], -1)) * seen)
    assert torch.equal(fuse(x, torch.zeros_like(seen)), x), "nothing seen, nothing added"


def head(motion_dropout=0.0, n_classes=3):
    torch.manual_seed(0)
    return BehaviorHead(8, n_classes, 0.0, motion_dropout)


def test_the_classifier_reads_the_fused_embedding():
    behavior, x, seen = head().eval(), torch.randn(2, 1, 4, 8), torch.randn(2, 1, 4, 8)
    assert behavior(x, seen).shape == (2, 1, 4, 3)
    torch.testing.assert_close(behavior(x, seen), behavior.classify(behavior.fuse(x, seen)))


@pytest.mark.parametrize(
    "make", [lambda *reads: BehaviorHead(8, 3, 0.0, 0.5, *reads), lambda *reads: ClusterHead(8, 8, 3, *reads)]
)
def test_a_head_that_reads_the_video_alone_knows_nothing_of_the_motion(make):
    x, seen = torch.randn(2, 1, 4, 8), torch.randn(2, 1, 4, 8)
    blind, both = make("video").eval(), make().eval()
    assert torch.equal(blind(x, seen), blind(x + 1, seen))
    assert not torch.allclose(blind(x, seen), blind(x, seen + 1))
    assert not torch.allclose(both(x, seen), both(x + 1, seen))
    x.requires_grad_()
    blind.train()(x, seen).sum().backward()
    assert x.grad is None or not x.grad.any()


def test_motion_is_dropped_for_whole_windows_and_in_training_only():
    behavior, x, seen = head(motion_dropout=0.5), torch.randn(400, 2, 4, 8), torch.randn(400, 2, 4, 8)
    with torch.no_grad():
        kept = behavior.classify(behavior.fuse(x, seen))
        blind = behavior.classify(behavior.fuse(torch.zeros_like(x), seen))
        torch.testing.assert_close(behavior.eval()(x, seen), kept)
        out = behavior.train()(x, seen)
    is_kept, is_blind = (torch.isclose(out, other, atol=1e-5).all(-1).all(-1) for other in (kept, blind))  # (B, A)
    assert (is_kept ^ is_blind).all()
    assert is_blind.float().mean() == pytest.approx(0.5, abs=0.08)


def test_without_motion_dropout_training_is_as_inference():
    behavior, x, seen = head(), torch.randn(4, 2, 4, 8), torch.randn(4, 2, 4, 8)
    torch.testing.assert_close(behavior.train()(x, seen), behavior.eval()(x, seen))


def test_correcting_the_prior_divides_by_the_weights_of_the_loss():
    behavior = head()
    logits = tensor([0.2, 0.5, 0.3]).log()
    torch.testing.assert_close(behavior.probabilities(logits), tensor([0.2, 0.5, 0.3]))
    behavior.correct_prior(tensor([0.5, 2.0, 1.0]))
    odds = tensor([0.2 / 0.5, 0.5 / 2, 0.3 / 1])
    torch.testing.assert_close(behavior.probabilities(logits), odds / odds.sum())


def test_with_nothing_to_go_by_the_corrected_probabilities_are_the_frequencies():
    behavior, scored = head(), tensor([0] * 12 + [1] * 6 + [2] * 2 + [-1] * 30)
    # What minimizes the weighted loss of a head that cannot tell frames apart: all classes alike.
    logits = torch.zeros(3, requires_grad=True)
    weights = class_weights(scored, 3)
    loss = torch.nn.functional.cross_entropy(logits.expand(50, 3), scored, weights, ignore_index=-1)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.zeros(3), atol=1e-6, rtol=0)
    behavior.correct_prior(weights)
    torch.testing.assert_close(behavior.probabilities(logits.detach()), tensor([0.6, 0.3, 0.1]))


def test_a_class_that_was_never_scored_makes_no_nan():
    behavior = head()
    behavior.correct_prior(tensor([0.5, 0.0, 2.0]))
    assert torch.isfinite(behavior.probabilities(torch.randn(5, 3))).all()


def test_the_correction_is_saved_with_the_head():
    behavior, other = head(), head()
    behavior.correct_prior(tensor([0.5, 2.0, 1.0]))
    other.load_state_dict(behavior.state_dict())
    logits = torch.randn(5, 3)
    assert torch.equal(other.probabilities(logits), behavior.probabilities(logits))


def test_clusters_are_fused_in_the_width_of_the_tokens():
    cluster, tokens, seen = ClusterHead(8, 4, 3), torch.randn(2, 1, 5, 4), torch.randn(2, 1, 5, 8)
    f = cluster(tokens, seen)
    assert f.shape == (2, 1, 5, 4)
    torch.testing.assert_close(f, cluster.fuse(tokens, cluster.project(seen)))


def test_cluster_probabilities_are_student_t():
    cluster = ClusterHead(8, 2, 2)
    with torch.no_grad():
        cluster.centers.copy_(tensor([[0.0, 0], [2, 1]]))
    q = cluster.probabilities(tensor([[[1.0, 0.0], [2, 1]]]))
    torch.testing.assert_close(q, tensor([[[3 / 5, 2 / 5], [1 / 7, 6 / 7]]]))
    f = torch.randn(50, 2)
    assert torch.equal(cluster.probabilities(f).argmax(-1), torch.cdist(f, cluster.centers).argmin(-1))
    cluster.probabilities(f)[:, 0].sum().backward()
    assert cluster.centers.grad.abs().sum() > 0, "the centers learn"


def test_each_head_reads_its_own_part_of_the_motion(make_model, make_batch):
    batch = make_batch()
    kmeans, keypoints = {"discover": "kmeans"}, {"discover": "kmeans", "cluster_reads": "keypoints"}
    for kind, part, how in (
        ("behavior", "embedding", {}),
        ("cluster", "tokens", {}),
        ("cluster", "tokens", kmeans),
        ("cluster", "descriptor", keypoints),
    ):
        model = make_model(kind, finetune=how)
        told = model.motion_encoder(batch.motion, batch.valid)
        assert model.head.read(told) is getattr(told, part)
        assert model.head.read_width == getattr(told, part).shape[-1]


def test_kmeans_reads_motion_and_sight_side_by_side_on_one_scale():
    z, seen = 5 * torch.randn(3, 2, 40, 4) + 7, torch.randn(3, 2, 40, 2)
    head = KMeansHead(4, 2, 3, reach=0)
    head.fit_scale(z.flatten(0, -2))
    f = head(z, seen)
    assert f.shape == (3, 2, 40, 6)
    assert torch.equal(f[..., 4:], seen)
    own = f[..., :4].flatten(0, -2)
    torch.testing.assert_close(own.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    assert own.var(0, correction=0).sum() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(own * head.scale + head.mean, z.flatten(0, -2))  # columns keep their proportions


def test_kmeans_averages_over_time_and_over_less_at_the_edge_of_a_window():
    z = torch.arange(6.0).view(1, 1, 6, 1).expand(1, 2, 6, 1) * tensor([1.0, 10]).view(1, 2, 1, 1)
    f = KMeansHead(1, 1, 2, reach=1)(z, torch.zeros_like(z))
    torch.testing.assert_close(f[0, 0, :, 0], tensor([0.5, 1, 2, 3, 4, 4.5]))
    torch.testing.assert_close(f[0, 1], 10 * f[0, 0])  # animals are not mixed


def test_kmeans_of_the_video_alone_knows_nothing_of_the_motion():
    head, z, seen = KMeansHead(4, 2, 3, 1, reads="video"), torch.randn(1, 1, 8, 4), torch.randn(1, 1, 8, 2)
    assert torch.equal(head(z, seen), head(z + 1, seen))
    assert not torch.equal(head(z, seen), head(z, seen + 1))


def test_kmeans_gives_the_nearest_center_the_highest_probability():
    head = KMeansHead(1, 1, 2, 0)
    head.centers.copy_(tensor([[0.0, 0], [3, 0]]))
    f = tensor([[0.0, 1], [0, -1], [3, 2], [3, -2]])  # within clusters they differ in one direction, by 2.5 on average
    head.fit_variance(f)
    assert head.variance == pytest.approx(2.5)
    q = head.probabilities(tensor([[[1.0, 0.0], [3, 0]]]))
    torch.testing.assert_close(q, tensor([[[-1 / 5, -4 / 5], [-9 / 5, 0]]]).softmax(-1))
    head.fit_variance(torch.cat([f, f.flip(0) * 0 + head.centers.repeat(2, 1)]))
    assert head.variance == pytest.approx(1.25)
    assert not list(head.parameters())
