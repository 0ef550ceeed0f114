"""Where to look in a whole recording: its budget allotted to windows, or to all of it at once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_lookagain.config import Scope
from napari_lookagain.decode_cost import needed, reachable
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
    decode: float = 1.0,
    keyframes: np.ndarray | None = None,
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
    decode, keyframes
        Share of the video that may be decoded for looks over the recording, and `Video.keyframes`; without these there
        is no limit. Looks that would need more are allotted anew, as many of them, among the frames that are worth
        decoding (`decode_cost.reachable`); where these are fewer, all of them are looked at. What is pinned is looked
        at whatever it needs.
    """
    looked = np.zeros(motion.gate.shape[1::-1], bool)
    if budget == 0:
        return looked
    torch.manual_seed(model.config.training.seed)  # for select="random"
    valid = np.ones_like(looked) if muted is None else ~muted
    pinned = looked if pinned is None else pinned & valid
    if (scope or model.config.look.scope) == "window":
        return _by_window(model, motion, budget, valid, pinned)
    k = np.ceil(budget * valid.sum(0) - 1e-9).astype(int)  # (A,)
    looked, gain = _by_recording(model, motion, k, valid, pinned)
    wanted = np.asarray(looked.any(1))
    if keyframes is None or needed(wanted, keyframes).sum() <= (most := int(decode * len(wanted) + 1e-9)):
        return looked
    return _by_recording(model, motion, k, valid, pinned, reachable(gain, keyframes, most))[0]


def _by_window(
    model: LookAgain, motion: MotionPass, budget: float, valid: np.ndarray, pinned: np.ndarray
) -> np.ndarray:
    """Looks (T, A), as many as allowed in every window."""
    looked, length = np.zeros_like(valid), model.config.motion.window
    for start in range(0, len(looked), _AT_ONCE * length):
        span = slice(start, start + _AT_ONCE * length)
        score, there, wanted = (
            _in_windows(torch.from_numpy(np.ascontiguousarray(each)), length)
            for each in (motion.gate[:, span, 0], valid[span].T, pinned[span].T)
        )
        chosen = select_frames(score.sigmoid(), there, budget, model.config.look.select, wanted)  # (A, windows, length)
        looked[span] = chosen.flatten(1)[:, : len(looked[span])].T.numpy()
    return looked


def _by_recording(
    model: LookAgain,
    motion: MotionPass,
    k: np.ndarray,
    valid: np.ndarray,
    pinned: np.ndarray,
    within: np.ndarray | bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Looks (T, A), k (A,) of each animal, and what those at a frame gain, (T,) float, inf where one is pinned.

    Looks `within` (T,) bool keep the distances that they would have without a limit, τ = valid frames / 2k: those that
    can be reached lie far apart.
    """
    looked, gain = np.zeros_like(valid), np.zeros(len(valid))
    select, length = model.config.look.select, model.config.motion.window
    tau = valid.sum(0) / (2 * np.maximum(k, 1))
    for animal, most in enumerate(k.tolist()):  # one by one, for memory
        score, there, wanted = (
            torch.from_numpy(np.ascontiguousarray(each))
            for each in (motion.gate[animal, :, 0], valid[:, animal] & within, pinned[:, animal])
        )
        score = score.sigmoid()
        if select == "spread":
            chosen, gains = _over_recording(score, there, wanted, most, tau[animal], length)
        else:
            chosen = select_frames(score, there, min(most / max(int(there.sum()), 1), 1.0), select, wanted)
            gains = np.where(chosen, score if select == "topk" else 1.0, 0.0)
        looked[:, animal] = chosen.numpy()
        gain += np.where(pinned[:, animal], np.inf, gains)
    return looked, gain


def _in_windows(values: Tensor, length: int) -> Tensor:
    """Cut (..., T) into windows (..., W, length) that do not overlap, the last one padded with 0 or False."""
    return functional.pad(values, (0, -values.shape[-1] % length)).unflatten(-1, (-1, length))


def _over_recording(
    score: Tensor, valid: Tensor, pinned: Tensor, k: int, tau: float, length: int
) -> tuple[Tensor, np.ndarray]:
    """Looks of "spread", (T,) bool of all (T,), to the windows in which they gain most, and the gain of each, (T,).

    In every window looks are taken one by one, as `select_frames` takes them, and each has a gain. What is kept are the
    k largest gains of all: what a single greedy choice over the whole recording would take, but that looks on both
    sides of a window's edge do not know of each other. Windows whose next gain is too small already are dropped.
    """
    looked, gained = pinned.clone(), np.zeros(len(score))
    left = k - int(looked.sum())
    if left <= 0:
        return looked, gained
    if k >= int(valid.sum()):
        return valid, np.where(valid, score, 0.0)
    score, valid, given = (_in_windows(each, length) for each in (score, valid, looked))
    spread = Spread(score, valid, given, torch.full((len(score),), tau))
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
    kept = np.argsort(-gains, kind="stable")[:left]
    looked[torch.from_numpy(places[kept])] = True
    gained[places[kept]] = gains[kept]
    return looked, gained
