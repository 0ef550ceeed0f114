"""Where clusters start, and what becomes of those that nobody belongs to."""

from __future__ import annotations

import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import tensor

from napari_lookagain.model.clustering import refresh_target, start_centers
from napari_lookagain.model.heads import ClusterHead
from napari_lookagain.model.losses import target_distribution

MIDDLES = tensor([[0.0, 0], [8, 0], [0, 8], [8, 8]])


@pytest.fixture
def blobs():
    """Features in four tight heaps of 60, 100, 30 and 10 frames."""
    torch.manual_seed(0)
    return torch.cat([middle + 0.1 * torch.randn(n, 2) for middle, n in zip(MIDDLES, (60, 100, 30, 10), strict=True)])


def head(centers=None, n_clusters=4):
    torch.manual_seed(0)
    head = ClusterHead(8, 2, n_clusters)
    if centers is not None:
        with torch.no_grad():
            head.centers.copy_(centers)
    return head


def in_order(centers):
    return centers[torch.cdist(MIDDLES, centers).argmin(-1)]


def test_centers_start_in_the_middle_of_heaps(blobs):
    clusters = head()
    start_centers(clusters, blobs[torch.randperm(200)], seed=0)
    heaps = blobs.split([60, 100, 30, 10])
    means = torch.stack([heap.mean(0) for heap in heaps])
    torch.testing.assert_close(in_order(clusters.centers.detach()), means, atol=1e-4, rtol=0)
    assert clusters.centers.requires_grad


def test_the_same_seed_starts_the_same():
    torch.manual_seed(0)
    shapeless, starts = torch.rand(300, 2), []
    for seed in (3, 3, 4):
        clusters = head(n_clusters=9)
        start_centers(clusters, shapeless, seed)
        starts.append(clusters.centers.detach())
    assert torch.equal(starts[0], starts[1])
    assert not torch.allclose(starts[0], starts[2])


def test_the_start_does_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    shapeless, starts = torch.randn(2000, 2), []
    for threads in (1, 2):
        clusters = head(n_clusters=9)
        with threadpool_limits(threads):
            start_centers(clusters, shapeless, seed=0)
        starts.append(clusters.centers.detach())
    assert torch.equal(*starts)


def test_the_target_is_that_of_the_paper_where_no_cluster_is_empty(blobs):
    clusters = head(MIDDLES)
    p = refresh_target(clusters, blobs)
    assert torch.equal(clusters.centers, MIDDLES)
    assert torch.equal(p, target_distribution(clusters.probabilities(blobs)).detach())
    assert not p.requires_grad


def test_an_empty_cluster_starts_anew_where_the_others_are_far(blobs):
    # The second is nowhere, and the heap around (8, 8) is far from every center.
    clusters = head(tensor([[0.0, 0], [500, 500], [0, 8], [8, 0]]))
    p = refresh_target(clusters, blobs)
    assert torch.equal(clusters.centers[[0, 2, 3]], tensor([[0.0, 0], [0, 8], [8, 0]]))
    assert (clusters.centers[1] - MIDDLES[3]).norm() < 1
    assert p.argmax(-1).bincount(minlength=4).tolist() == [60, 10, 30, 100]
    torch.testing.assert_close(p.sum(-1), torch.ones(200))


def test_several_empty_clusters_do_not_start_at_one_place(blobs):
    clusters = head(tensor([[0.0, 0], [500, 500], [600, 600], [700, 700]]))
    p = refresh_target(clusters, blobs)
    assert sorted(p.argmax(-1).bincount(minlength=4).tolist()) == [10, 30, 60, 100]


def test_a_small_cluster_is_not_an_empty_one(blobs):
    centers = MIDDLES.clone()
    clusters = head(centers)
    refresh_target(clusters, torch.cat([blobs[:160], MIDDLES[2:]]))
    assert torch.equal(clusters.centers, centers)
