"""Where the centers of clusters start, and what deep embedded clustering (appendix A) sharpens them towards."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from napari_lookagain.errors import InputError
from napari_lookagain.model.heads import ClusterHead, KMeansHead
from napari_lookagain.model.losses import target_distribution

EMPTY_SHARE = 1e-3  # a cluster with a smaller share of the frames is re-seeded
KMEANS_FRAMES, STARTS = 50_000, 20  # of k-means; with 5 starts its optimum still differs from seed to seed


@torch.no_grad()
def start_centers(head: ClusterHead | KMeansHead, features: Tensor, seed: int) -> None:
    """Start the centers from k-means on f (M, F), the valid frames of the training windows.

    Raises
    ------
    InputError
        When there are fewer frames than clusters.
    """
    if len(features) < len(head.centers):
        raise InputError(f"{len(features)} frames cannot be {len(head.centers)} clusters; ask for fewer.")
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(features))[:KMEANS_FRAMES]
    kmeans = KMeans(len(head.centers), n_init=STARTS, random_state=seed)
    with threadpool_limits(1):  # threads add up their shares in any order, and rounding then differs from run to run
        kmeans.fit(features[chosen].cpu().numpy())
    head.centers.copy_(torch.from_numpy(kmeans.cluster_centers_))


@torch.no_grad()
def refresh_target(head: ClusterHead, features: Tensor, learnt: Tensor | None = None) -> Tensor:
    """p of Eq. 23 for f (M, D_z) of all valid frames, (M, K), after re-seeding empty clusters.

    Only frames where `learnt` (M,) holds, by default all, say how frequent clusters are and re-seed them. An empty
    cluster starts anew at the frame farthest from its own center. The paper does not state what becomes of empty ones.
    """
    learnt = torch.ones(len(features), dtype=torch.bool, device=features.device) if learnt is None else learnt
    q = head.probabilities(features)  # (M, K)
    own, label = features[learnt], q[learnt].argmax(-1)
    share = torch.bincount(label, minlength=q.shape[-1]) / len(label)
    empty = torch.nonzero(share < EMPTY_SHARE).flatten().tolist()
    if empty:
        distance = (own - head.centers[label]).norm(dim=-1)
        for cluster in empty:
            farthest = int(distance.argmax())
            head.centers[cluster] = own[farthest]
            distance = torch.minimum(distance, (own - own[farthest]).norm(dim=-1))
        q = head.probabilities(features)
    return target_distribution(q, q[learnt].sum(0))
