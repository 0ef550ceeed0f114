"""Eq. 13–17: where to look, and what the looks tell of every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_lookagain.config import LookConfig
from napari_lookagain.model.layers import MLP, OneScale, Transformer
from napari_lookagain.model.motion import Motion
from napari_lookagain.model.pooling import AttentionPooling


@dataclass(frozen=True, slots=True)
class GateScore:
    """α of Eq. 14 and what it was made of, each (B, A, T).

    Parameters
    ----------
    logit
        The gate's output before the sigmoid; `score` is its sigmoid.
    reliability, saliency, semantics
        c_t, g_t and s_t.
    """

    logit: Tensor
    reliability: Tensor
    saliency: Tensor
    semantics: Tensor

    @property
    def score(self) -> Tensor:
        """α in (0, 1)."""
        return self.logit.sigmoid()


class Gate(nn.Module):
    """Eq. 14–15: ``α_t = σ(MLP([c_t ‖ g_t ‖ s_t]))``, from keypoints alone.

    The paper does not state the gate's hidden width (we use 32) nor the saliency of a window's first frame (we repeat
    the second's). A term left out of `terms` enters as 0.
    """

    def __init__(self, width: int, terms: tuple[str, ...]) -> None:
        super().__init__()
        self.terms = terms
        self.semantics = nn.Linear(width, 1)
        self.mlp = MLP(3, 1, hidden=32)

    def forward(self, motion: Motion) -> GateScore:
        """Score every frame of a batch of windows."""
        semantics = self.semantics(motion.embedding).squeeze(-1)  # (B, A, T)
        told = {"reliability": motion.reliability, "saliency": saliency(motion.latent), "semantics": semantics}
        read = [told[name] if name in self.terms else torch.zeros_like(told[name]) for name in told]
        return GateScore(self.mlp(torch.stack(read, -1)).squeeze(-1), *told.values())


def saliency(latent: Tensor) -> Tensor:
    """Eq. 15: ``g_t = log(1 + ‖z_e,t − z_e,t−1‖₂)``, (B, A, T) from (B, A, T, D_z)."""
    if latent.shape[-2] < 2:
        return latent.new_zeros(latent.shape[:-1])
    step = (latent[..., 1:, :] - latent[..., :-1, :]).norm(dim=-1).log1p()
    return torch.cat([step[..., :1], step], -1)


def explore(logit: Tensor, noise: str, progress: float) -> Tensor:
    """The scores that looks are chosen by in training (Eq. 16).

    Parameters
    ----------
    logit
        The gate's logit.
    noise
        "paper" adds N(0, 1) to α, which lies in (0, 1) and drowns in it; "annealed" adds it to the logit and fades it
        out over the first half of training; "none" adds nothing.
    progress
        Share of the training that is done, 0–1.
    """
    if noise == "paper":
        return logit.sigmoid() + torch.randn_like(logit)
    if noise == "annealed" and progress < 0.5:
        return (logit + (1 - 2 * progress) * torch.randn_like(logit)).sigmoid()
    return logit.sigmoid()


def select_frames(
    score: Tensor, valid: Tensor, budget: float, select: str = "spread", pinned: Tensor | None = None
) -> Tensor:
    """Choose k = ceil(budget × valid frames) frames of every window and animal (Eq. 16).

    Parameters
    ----------
    score
        α, (..., T); not read by "grid" and "random", and no less than 1e-6 to "spread".
    valid
        (..., T) bool; no frame outside it is ever chosen.
    budget
        Share of the valid frames, 0–1.
    select
        "topk" takes the k highest scores (the paper). "spread" takes k frames one by one, each the highest
        ``α_t · (1 − max_j exp(−(t − t_j)² / 2τ²))`` over the looks t_j taken so far, τ = T / 2k: a look beside another
        look has diminishing returns. "grid" and "random" do not ask the gate.
    pinned
        (..., T) bool: valid frames that are chosen before any other. They count; where they are more than k, they are
        all that is chosen.

    Returns
    -------
    Tensor
        looked, (..., T) bool.
    """
    shape = score.shape
    score, valid = score.detach().reshape(-1, shape[-1]), valid.reshape(-1, shape[-1])  # (S, T)
    pinned = torch.zeros_like(valid) if pinned is None else pinned.reshape(valid.shape) & valid
    n_valid = valid.sum(-1)
    share = budget * n_valid.cpu().double()  # not every device has doubles
    k = torch.ceil(share - 1e-9).long().clamp_min(0).to(valid.device)  # 0.07 · 100 is a little over 7 in binary
    if select == "spread":
        looked = _spread(score, valid, k, pinned)
    else:
        if select == "random":
            score = torch.rand_like(score)
        elif select == "grid":
            score = _grid(valid, k, n_valid)
        score = score.masked_fill(~valid, -math.inf).masked_fill(pinned, math.inf)
        order = score.argsort(stable=True, dim=-1, descending=True)
        rank = torch.empty_like(order).scatter_(
            -1, order, torch.arange(shape[-1], device=order.device).expand_as(order)
        )
        looked = rank < torch.maximum(k, pinned.sum(-1)).unsqueeze(-1)
    return looked.view(shape)


class Spread:
    """Looks with diminishing returns, taken one by one in many windows side by side.

    Parameters
    ----------
    score
        α, (S, T), no less than 1e-6.
    valid, pinned
        (S, T) bool: frames that may be looked at, and those that are from the start.
    tau
        τ of `select_frames`, (S,) frames.
    """

    def __init__(self, score: Tensor, valid: Tensor, pinned: Tensor, tau: Tensor) -> None:
        self.score, self.tau = score.clamp_min(1e-6), tau  # noise may bring a score below 0
        self.open = valid & ~pinned  # not looked at yet
        self.time = torch.arange(score.shape[-1], dtype=self.score.dtype, device=score.device)
        self.novelty = torch.ones_like(self.score)  # 1 − max_j exp(…)
        if pinned.any():
            nearest = torch.where(pinned.any(-1, keepdim=True), nearest_look(pinned)[1], math.inf)  # (S, T) frames
            self.novelty = self._at(nearest)

    def best(self) -> tuple[Tensor, Tensor]:
        """Gain and frame of the next look in every window, each (S,); a gain of −inf where no frame is left."""
        # Where every gain underflows to 0, far from 1 024 looks in a window, the score alone decides.
        gain = (self.score * self.novelty + 1e-12 * self.score).masked_fill(~self.open, -math.inf)
        return gain.max(-1)

    def take(self, frame: Tensor) -> None:
        """Look at one frame (S,) of every window."""
        self.open.scatter_(-1, frame.unsqueeze(-1), False)
        self.novelty = torch.minimum(self.novelty, self._at(self.time - frame.unsqueeze(-1)))

    def keep(self, rows: Tensor) -> None:
        """Go on with these windows, (S,) bool, alone."""
        self.score, self.tau, self.open, self.novelty = (
            each[rows] for each in (self.score, self.tau, self.open, self.novelty)
        )

    def _at(self, distance: Tensor) -> Tensor:
        """How much of a frame's worth is left at a distance (S, T) from a look, in frames."""
        return -torch.expm1(-0.5 * (distance / self.tau.unsqueeze(-1)) ** 2)


def _spread(score: Tensor, valid: Tensor, k: Tensor, pinned: Tensor) -> Tensor:
    """Greedy looks with diminishing returns, (S, T) bool; k of them, (S,), in every window."""
    spread = Spread(score, valid, pinned, valid.sum(-1) / (2 * k.clamp_min(1)))
    rows = torch.arange(len(score), device=score.device)
    left, looked = k - pinned.sum(-1), pinned.clone()
    for step in range(int(left.max()) if len(left) else 0):
        _, chosen = spread.best()  # (S,)
        looked[rows, chosen] |= step < left
        spread.take(chosen)
    return looked


def _grid(valid: Tensor, k: Tensor, n_valid: Tensor) -> Tensor:
    """Scores that are 1 at the middles of k equal stretches of the valid frames of every window, 0 elsewhere."""
    k, n = k.unsqueeze(-1), n_valid.clamp_min(1).unsqueeze(-1)
    place = valid.cumsum(-1) - 1 - n // (2 * k.clamp_min(1))  # index among valid frames, half a stretch back
    begins = (place * k // n != (place - 1) * k // n) & (place >= 0)  # of k equal stretches
    return (begins & valid).float()


class VisualContext(nn.Module):
    """Eq. 13 and 17: from the features of the frames looked at to a context v̄ at every frame.

    Parameters
    ----------
    visual_width
        D_v of the vision encoder.
    width, heads, window
        D, heads of attention, and the longest window in frames.
    config
        `fill` says what a frame not looked at inherits: "zero" is the paper's Eq. 17; "hold" gives it the nearest look
        and a learnt embedding of the distance to it in frames.
    attends
        Whether the patches of an image come one by one, to be pooled by attention (appendix E.4 of the BEAST paper).
    weighs
        Whether α weighs what was seen, as in Eq. 17. α is made of keypoints, and would tell of them.
    """

    def __init__(
        self,
        visual_width: int,
        width: int,
        heads: int,
        window: int,
        config: LookConfig,
        dropout: float,
        *,
        attends: bool = False,
        weighs: bool = True,
    ) -> None:
        super().__init__()
        self.fill, self.weighs = config.fill, weighs
        self.visual_width = visual_width
        self.pool = AttentionPooling(visual_width) if attends else None
        self.project = MLP(visual_width, width)
        self.position = nn.Parameter(torch.randn(window, width) * 0.02)
        self.distance = nn.Embedding(window + 1, width)  # the last row: nothing was looked at in this window
        nn.init.normal_(self.distance.weight, std=0.02)
        self.aggregate = Transformer(width, heads, config.layers, dropout)

    def forward(self, visual_features: Tensor, score: Tensor, looked: Tensor, valid: Tensor) -> Tensor:
        """Spread what was seen over the window.

        Parameters
        ----------
        visual_features
            v_raw, (B, A, T, D_v), or patches (B, A, T, P · D_v); read only where `looked`.
        score
            α, (B, A, T): its product with v̂ is what lets gradient reach the gate.
        looked, valid
            (B, A, T) bool.

        Returns
        -------
        Tensor
            v̄, (B, A, T, D).
        """
        batch, animals, frames = looked.shape
        raw = visual_features[looked]  # (M, D_v) of the M frames looked at, or (M, P · D_v)
        if self.pool is not None:
            raw = self.pool(raw.unflatten(-1, (-1, self.visual_width)))  # (M, D_v)
        embedded = self.project(raw)  # v̂, (M, D)
        if self.weighs:
            embedded = score[looked].unsqueeze(-1) * embedded  # α v̂
        seen = embedded.new_zeros((batch, animals, frames, embedded.shape[-1]))
        seen[looked] = embedded
        if self.fill == "hold":
            nearest, distance = nearest_look(looked)
            distance = torch.where(distance < frames, distance, self.distance.num_embeddings - 1)
            seen = seen.gather(2, nearest.unsqueeze(-1).expand_as(seen)) + self.distance(distance)
        x = seen + self.position[:frames]
        return self.aggregate(x.flatten(0, 1), valid.flatten(0, 1)).view(batch, animals, frames, -1)


class HeldLooks(OneScale):
    """What was seen at the nearest look, v̂, for a head that learns nothing: centered, and of total variance 1.

    It is zero, the mean, in a window without a look, and in training dense looks are what it is fitted to.

    Parameters
    ----------
    width
        D_v of the vision encoder; where it gives patches, (…, P · D_v), their mean counts.
    """

    def pool(self, raw: Tensor) -> Tensor:
        """(..., D_v) of an image, from itself or from its patches."""
        return raw.unflatten(-1, (-1, len(self.mean))).mean(-2)

    def forward(self, visual_features: Tensor, score: Tensor, looked: Tensor, valid: Tensor) -> Tensor:
        """v̂, (B, A, T, D_v); parameters as of `VisualContext`, where neither α nor padding counts."""
        seen = visual_features.new_zeros((*looked.shape, len(self.mean)))
        seen[looked] = self.standardize(self.pool(visual_features[looked]))
        nearest, _ = nearest_look(looked)
        return seen.gather(2, nearest.unsqueeze(-1).expand_as(seen))


def nearest_look(looked: Tensor) -> tuple[Tensor, Tensor]:
    """For every frame the index of the nearest frame looked at, and the distance to it in frames.

    Both are (B, A, T) int64. Of two equally near the earlier one counts. In a window without a look the index is the
    frame itself and the distance is T.
    """
    frames = looked.shape[-1]
    time = torch.arange(frames, device=looked.device)
    before = torch.where(looked, time, -frames).cummax(-1).values  # the last look up to t
    after = torch.where(looked, time, 2 * frames).flip(-1).cummin(-1).values.flip(-1)  # the next look from t
    nearest = torch.where(time - before <= after - time, before, after)
    none = ~looked.any(-1, keepdim=True)
    return torch.where(none, time, nearest), torch.where(none, frames, (time - nearest).abs())
