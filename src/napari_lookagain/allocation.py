"""Where to look in a whole recording: its budget allotted to windows, or to all of it at once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_lookagain.config import Scope
from napari_lookagain.model.grounding import Spread, select_frames
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.motion_pass import MotionPass

_AT_ONCE = 64  # windows


def choose_looks(
    model: LookAgain,
    motion: MotionPass,
    budget: float,
    scope: Scope | None = None,
    *,
    pinned: np.ndarray | None = None,
    muted: np.ndarray | None = None,
) -> np.ndarray:
    """Where to look, (T, A) bool.

    Every animal has a budget of its own, or one that moves much would take the looks of one that does not.

    Parameters
    ----------
    model
        Its settings say how looks are chosen, and the length of a window.
    motion
        Its gate.
    budget
        Share of the frames, 0–1, muted ones not counted. At 0 nothing is looked at, whatever is pinned.
    scope
        "window": k = ceil(budget × frames) of every window, windows not overlapping, as in the paper. "recording":
        k = ceil(budget × frames) of the whole, to wherever they gain most. The model's own by default.
    pinned, muted
        (T, A) bool: frames that are looked at before any other, and those that never are. More pinned frames than k
        are all looked at, and nothing else.
    """
    n_animals, n_frames, _ = motion.gate.shape
    settings, length = model.config.look, model.config.motion.window
    looked = np.zeros((n_frames, n_animals), bool)
    if budget == 0:
        return looked
    torch.manual_seed(model.config.training.seed)  # for select="random"
    valid = np.ones_like(looked) if muted is None else ~muted
    pinned = looked.copy() if pinned is None else pinned
    if (scope or settings.scope) == "window":
        for start in range(0, n_frames, _AT_ONCE * length):
            span = slice(start, start + _AT_ONCE * length)
            score, there, wanted = (
                _in_windows(torch.from_numpy(np.ascontiguousarray(each)), length)
                for each in (motion.gate[:, span, 0], valid[span].T, pinned[span].T)
            )
            chosen = select_frames(score.sigmoid(), there, budget, settings.select, wanted)  # (A, windows, length)
            looked[span] = chosen.flatten(1)[:, : len(looked[span])].T.numpy()
        return looked
    for animal in range(n_animals):  # one by one, for memory
        score, there, wanted = (
            torch.from_numpy(np.ascontiguousarray(each))
            for each in (motion.gate[animal, :, 0], valid[:, animal], pinned[:, animal])
        )
        if settings.select == "spread":
            chosen = _over_recording(score.sigmoid(), there, wanted, budget, length)
        else:
            chosen = select_frames(score.sigmoid(), there, budget, settings.select, wanted)
        looked[:, animal] = chosen.numpy()
    return looked


def _in_windows(values: Tensor, length: int) -> Tensor:
    """Cut (..., T) into windows (..., W, length) that do not overlap, the last one padded with 0 or False."""
    return functional.pad(values, (0, -values.shape[-1] % length)).unflatten(-1, (-1, length))


def _over_recording(score: Tensor, valid: Tensor, pinned: Tensor, budget: float, length: int) -> Tensor:
    """Looks of "spread", (T,) bool of all (T,), to the windows in which they gain most.

    In every window looks are taken one by one, as `select_frames` takes them, and each has a gain. What is kept are the
    k largest gains of all: what a single greedy choice over the whole recording would take, but that looks on both
    sides of a window's edge do not know of each other. Windows whose next gain is too small already are dropped.
    """
    n_valid = int(valid.sum())
    k = math.ceil(budget * n_valid - 1e-9)
    looked = pinned & valid
    left = k - int(looked.sum())
    if left <= 0 or k == n_valid:
        return looked if left <= 0 else valid
    score, valid, given = (_in_windows(each, length) for each in (score, valid, looked))
    spread = Spread(score, valid, given, torch.full((len(score),), n_valid / (2 * k)))
    rows = torch.arange(len(score))
    gains, places, least = np.zeros(0, np.float32), np.zeros(0, np.int64), -math.inf
    while True:
        gain, frame = spread.best()
        going = gain > least  # at first: where a frame is left
        if not going.any():
            break
        spread.keep(going)
        rows, gain, frame = rows[going], gain[going], frame[going]
        gains, places = np.append(gains, gain.numpy()), np.append(places, (rows * length + frame).numpy())
        if len(gains) >= left:
            least = float(np.partition(gains, -left)[-left])
        spread.take(frame)
    looked[torch.from_numpy(places[np.argsort(-gains, kind="stable")[:left]])] = True
    return looked
