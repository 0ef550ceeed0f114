"""What simulated mice do, and how their bodies look while they do it.

The order of decisions is the point of this file. The mice move first, among places that all look alike to them; only
then are the things named that no movement betrays: the feeder stands at one of the places, and a coin tells when a tail
is raised. So the keypoints of a window, however cleverly read, tell nothing of *rest*, *feed* and *tail_raise* in a
recording whose feeder is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_lookagain.simulate.steering import GROOM, STILL, WALK, Arena, Deck, Tracks

BEHAVIORS = ("walk", "rest", "groom", "feed", "tail_raise")

TAIL_NODES = 14
TAIL_LENGTH = 1.0
_NECK = -0.02  # the head turns against the body ahead of this point of the spine
_TAIL_BASE = np.array([[-0.5, 0.0]])
_BOW = np.array(  # of the raised tail, along and across the body: out to the left, then in an S over the back
    [(0, -0.13, -0.20, -0.14, 0.02, 0.17, 0.24, 0.28, 0.38), (0, 0.05, 0.18, 0.33, 0.38, 0.28, 0.10, -0.08, -0.20)]
)
_RAISED_TAIL = np.stack([np.interp(np.linspace(0, 8, TAIL_NODES), range(9), row) for row in _BOW], axis=1)


@dataclass(frozen=True)
class Motion:
    """All about the mice that a camera could see. Lengths are in body lengths, angles in radians.

    Parameters
    ----------
    center : (T, A, 2)
        Middle of the body.
    heading : (T, A)
        Direction of the body, from x toward y.
    bend, yaw, reach : (T, A)
        Curvature of the spine, turn of the head against the body, and by how much the neck is stretched.
    stride, speed : (T, A)
        Phase of the gait, and body lengths per second.
    tail : (T, A, TAIL_NODES, 2)
        The tail, base first.
    raised : (T, A)
        How far the tail is raised, 0 to 1.
    behavior : (T, A) int16
        Index into `BEHAVIORS`.
    feeder : (2,)
        Where the feeder stands.
    opened : (T,)
        How far its lid is open, 0 to 1: it opens for whoever feeds.
    """

    center: np.ndarray
    heading: np.ndarray
    bend: np.ndarray
    yaw: np.ndarray
    reach: np.ndarray
    stride: np.ndarray
    speed: np.ndarray
    tail: np.ndarray
    raised: np.ndarray
    behavior: np.ndarray
    feeder: np.ndarray
    opened: np.ndarray

    def points(self, on_body: np.ndarray) -> np.ndarray:
        """Where points given along and across the straight body, (J, 2), are at every frame: (T, A, J, 2)."""
        along, across = np.asarray(on_body, float).T
        bend, yaw, reach = (value[..., None] for value in (self.bend, self.yaw, self.reach))
        side, slope = spine(along, bend, yaw)
        x = along + reach * head_part(along) - across * slope
        return self.center[:, :, None] + turned(x, side + across, self.heading[..., None])


def head_part(along: np.ndarray) -> np.ndarray:
    """How far a point along the body takes part in a movement of the head: 0 behind the neck, 1 at the nose."""
    return np.clip(along - _NECK, 0, None) ** 2 / (0.5 - _NECK) ** 2


def spine(along: np.ndarray, bend: np.ndarray | float, yaw: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """How far the spine of a bent body lies aside of the straight one, and its slope."""
    ahead = np.clip(along - _NECK, 0, None)
    return bend * along**2 / 2 + yaw * ahead**2, bend * along + 2 * yaw * ahead


def turned(x: np.ndarray, y: np.ndarray, angle: np.ndarray | float) -> np.ndarray:
    """Points (..., 2) at x, y turned by an angle."""
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=-1)


def move(n_frames: int, fps: float, n_animals: int, floor: tuple[float, float], seed: int) -> Motion:
    """Let mice live on a floor of a given width and height for some frames."""
    arena = Arena(floor, n_animals, fps, np.random.default_rng([seed, 1]))
    tracks = arena.run(n_frames)
    posture = _posture(tracks, fps, np.random.default_rng([seed, 2]))
    behavior = _name_behaviors(tracks, arena.favorite, np.random.default_rng([seed, 3]), fps)
    raised = _eased(behavior == BEHAVIORS.index("tail_raise"), round(0.16 * fps))
    feeding = (behavior == BEHAVIORS.index("feed")).any(axis=1, keepdims=True)
    opened = _eased(feeding, round(0.16 * fps))[:, 0]
    stride = np.cumsum(2 * np.pi * 1.6 * tracks.speed / fps, axis=0)
    bare = Motion(
        **posture, stride=stride, speed=tracks.speed, tail=np.empty(0), raised=raised, behavior=behavior,
        feeder=arena.places[arena.favorite], opened=opened,
    )  # fmt: skip
    return Motion(**{**vars(bare), "tail": _tails(bare, fps)})


def _name_behaviors(tracks: Tracks, feeder: int, rng: np.random.Generator, fps: float) -> np.ndarray:
    """Behaviors from acts: being still is feeding at the feeder, and elsewhere rest or tail_raise, as a coin falls."""
    names = {name: i for i, name in enumerate(BEHAVIORS)}
    behavior = np.select([tracks.act == WALK, tracks.act == GROOM], [names["walk"], names["groom"]], names["rest"])
    shares = Deck([("rest",), ("tail_raise",), ("rest", "tail_raise"), ("tail_raise", "rest")], rng)
    for a in range(behavior.shape[1]):
        still = np.r_[False, tracks.act[:, a] == STILL, False]
        for start, stop in np.flatnonzero(np.diff(still)).reshape(-1, 2):
            if tracks.place[start, a] == feeder:
                behavior[start:stop, a] = names["feed"]
                continue
            share = shares.draw()
            middle = round(start + (stop - start) * rng.uniform(0.4, 0.6)) if stop - start > 1.2 * fps else stop
            behavior[start:middle, a] = names[share[0]]
            behavior[middle:stop, a] = names[share[-1]]
    return behavior.astype(np.int16)


def _posture(tracks: Tracks, fps: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sway of a standing body and movements of the head.

    The head of a grooming mouse swings three times a second, over the range that it covers anyhow, only more slowly,
    when the mouse is still: one frame does not tell, half a second does.
    """
    shape = tracks.act.shape
    yaw, reach, bend, sway_x, sway_y, sway = _drift((6, *shape), fps, rng)
    rhythm = np.cumsum(2 * np.pi * rng.normal(3.0, 0.4, shape) / fps, axis=0) + rng.uniform(0, 2 * np.pi, shape[1])
    grooming = _eased(tracks.act == GROOM, round(0.2 * fps))
    slow, fast = np.sqrt(1 - 0.9 * grooming), np.sqrt(2 * 0.9 * grooming)
    walking = _eased(tracks.act == WALK, round(0.2 * fps))
    return {
        "center": tracks.position + 0.006 * np.stack([sway_x, sway_y], axis=-1),
        "heading": tracks.heading + 0.02 * sway,
        "bend": 0.10 * bend + _eased(0.16 * tracks.turn, round(0.25 * fps)),
        "yaw": 0.13 * (slow * yaw + fast * np.sin(rhythm)) + _eased(0.06 * tracks.turn * walking, round(0.2 * fps)),
        "reach": 0.025 * (slow * reach + fast * np.cos(rhythm)) + 0.03 * walking,
    }


def _drift(shape: tuple[int, ...], fps: float, rng: np.random.Generator) -> np.ndarray:
    """Slow noise of unit variance along the second axis, with a memory of one second."""
    memory = np.exp(-1 / fps)
    noise = rng.standard_normal(shape)
    for t in range(1, shape[1]):
        noise[:, t] = memory * noise[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
    return noise


def _eased(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over time, taken twice: a step becomes an S of twice the width, centered on it."""
    half = max(1, width // 2)
    kernel = np.convolve(np.full(2 * half + 1, 1.0), np.full(2 * half + 1, 1.0))
    padded = np.pad(values.astype(float), ((2 * half, 2 * half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel / kernel.sum(), mode="valid") for column in padded.T], axis=1)


def _tails(motion: Motion, fps: float) -> np.ndarray:
    """A tail is dragged along the floor like a rope; when raised it bows over the back in an S and sways."""
    base = motion.points(_TAIL_BASE)[:, :, 0]
    link = TAIL_LENGTH / (TAIL_NODES - 1)
    rope = np.empty((*base.shape[:2], TAIL_NODES, 2))
    backward = -turned(np.ones(1), np.zeros(1), motion.heading[0][:, None])
    rope[0] = base[0][:, None] + backward * link * np.arange(TAIL_NODES)[:, None]
    for t in range(len(rope)):
        rope[t] = rope[max(t - 1, 0)]
        rope[t, :, 0] = base[t]
        for node in range(1, TAIL_NODES):
            pulled = rope[t, :, node] - rope[t, :, node - 1]
            rope[t, :, node] = rope[t, :, node - 1] + link * pulled / np.linalg.norm(pulled, axis=-1, keepdims=True)
    lengths, angles = _links(rope, motion.heading)
    raised_lengths, raised_angles = _links(_RAISED_TAIL[None, None], np.zeros((1, 1)))
    sway = 0.25 * np.sin(2 * np.pi * 1.1 * np.arange(len(rope)) / fps)
    raised_angles = raised_angles + sway[:, None, None] * np.linspace(0, 1, TAIL_NODES - 1)
    weight = motion.raised[..., None]
    length = (1 - weight) * lengths + weight * raised_lengths
    angle = (1 - weight) * angles + weight * raised_angles + motion.heading[..., None]
    steps = turned(length, np.zeros_like(length), angle)
    return base[:, :, None] + np.concatenate([np.zeros_like(steps[:, :, :1]), np.cumsum(steps, axis=2)], axis=2)


def _links(tail: np.ndarray, heading: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the links of a tail, and their directions against the body (pi is backward), without jumps."""
    steps = np.diff(tail, axis=2)
    angles = np.unwrap(np.arctan2(steps[..., 1], steps[..., 0]) - heading[..., None], axis=2)
    angles -= 2 * np.pi * np.floor(angles[..., :1] / (2 * np.pi))
    return np.linalg.norm(steps, axis=-1), angles
