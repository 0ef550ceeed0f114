"""How simulated mice find their way: from place to place, around each other, with a stop at every place.

Lengths are in body lengths, angles in radians, time in frames; the origin is a corner of the floor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WALK, STILL, GROOM = range(3)  # what a mouse does, as far as its movement shows

PLACES = 6
_STOP = 0.3  # a mouse stops when its nose is this near to the middle of a place
_FAR = 2.2  # mice like to walk at least this far
_PATIENCE_S = 3.5  # after so long a walk the nearest place will do
_VISITS = ((STILL,), (STILL, GROOM), (GROOM, STILL), (STILL, GROOM, STILL))
_SECONDS = {STILL: (1.2, 4.2), GROOM: (1.2, 3.0)}
_FAVORITE, _OTHER = True, False
_CHOICES = {  # of where to go, by the number of mice: the more there are, the more often the favorite place is taken
    1: (_FAVORITE, _OTHER, _FAVORITE, _OTHER, _OTHER),
    2: (_FAVORITE, _OTHER),
    3: (_FAVORITE,),
}


@dataclass
class Tracks:
    """Where every mouse went: position (T, A, 2), heading, speed, turn rate, act and the index of its place (T, A)."""

    position: np.ndarray
    heading: np.ndarray
    speed: np.ndarray
    turn: np.ndarray
    act: np.ndarray
    place: np.ndarray


class Deck:
    """Draws cards in random order, every card once before any card comes again, so that shares come out even."""

    def __init__(self, cards: Sequence[Any], rng: np.random.Generator) -> None:
        self.cards, self.rng = cards, rng
        self.left: list[Any] = []

    def draw(self) -> Any:
        """Give the next card, of a deck shuffled anew whenever it is empty."""
        if not self.left:
            self.left = [self.cards[i] for i in self.rng.permutation(len(self.cards))]
        return self.left.pop()


@dataclass
class _Mouse:
    position: np.ndarray
    heading: float
    place: int
    visits: Deck
    choices: Deck
    pace: float = 2.5
    speed: float = 0.0
    turn: float = 0.0
    walked: int = 0
    friend: int | None = None  # a mouse to be greeted on the way
    plan: list[tuple[int, int]] = field(default_factory=list)  # what is left to do here: (act, frames)

    @property
    def state(self) -> tuple[np.ndarray, float, float, float]:
        return self.position, self.heading, self.speed, self.turn

    @property
    def forward(self) -> np.ndarray:
        return np.array([math.cos(self.heading), math.sin(self.heading)])


class Arena:
    """A floor of some width and height, with places at which mice stop; at the `favorite` one they stop most."""

    def __init__(self, floor: tuple[float, float], n_animals: int, fps: float, rng: np.random.Generator) -> None:
        self.floor, self.fps, self.rng = np.asarray(floor, float), fps, rng
        self.places = _scatter(PLACES, self.floor, 0.85, rng)
        self.favorite = int(rng.integers(PLACES))
        starts = _scatter(n_animals, self.floor, 1.0, rng)
        self.mice = [
            _Mouse(start, rng.uniform(-math.pi, math.pi), -1, Deck(_VISITS, rng), Deck(_CHOICES[n_animals], rng))
            for start in starts
        ]
        for mouse in self.mice:
            self._set_out(mouse)

    def run(self, n_frames: int) -> Tracks:
        """Let the mice live for a while."""
        shape = (n_frames, len(self.mice))
        heading, speed, turn = np.empty((3, *shape))
        act, place = np.empty((2, *shape), int)
        tracks = Tracks(np.empty((*shape, 2)), heading, speed, turn, act, place)
        for t in range(n_frames):
            for a, mouse in enumerate(self.mice):
                place[t, a], act[t, a] = mouse.place, self._step(mouse)
                tracks.position[t, a], heading[t, a], speed[t, a], turn[t, a] = mouse.state
        return tracks

    def _step(self, mouse: _Mouse) -> int:
        if mouse.plan:
            (act, frames), rest = mouse.plan[0], mouse.plan[1:]
            mouse.plan = [(act, frames - 1), *rest] if frames > 1 else rest
            mouse.speed *= 0.5
            mouse.turn *= 0.5
            if not mouse.plan:
                self._set_out(mouse)
        else:
            act = WALK
            self._walk(mouse)
        mouse.heading += mouse.turn / self.fps
        mouse.position = np.clip(mouse.position + mouse.speed / self.fps * mouse.forward, 0.4, self.floor - 0.4)
        return act

    def _set_out(self, mouse: _Mouse) -> None:
        """Choose the next place, free and not too near, and perhaps a mouse to greet on the way."""
        free = self._free_places(mouse)
        free = [place for place in free if self._distance(mouse, place) > _FAR] or free
        wants_favorite = mouse.choices.draw()
        if wants_favorite and self.favorite in free:
            mouse.place = self.favorite
        else:
            mouse.place = int(self.rng.choice([place for place in free if place != self.favorite] or free))
            if wants_favorite:
                mouse.choices.left.append(wants_favorite)  # next time, then
        friends = [i for i, other in enumerate(self.mice) if other is not mouse]
        mouse.friend = int(self.rng.choice(friends)) if friends and self.rng.random() < 0.4 else None
        mouse.pace, mouse.walked = self.rng.uniform(2.2, 3.4), 0

    def _free_places(self, mouse: _Mouse) -> list[int]:
        taken = {other.place for other in self.mice if other is not mouse}
        return [i for i in range(PLACES) if i not in taken and i != mouse.place]

    def _distance(self, mouse: _Mouse, place: int) -> float:
        return float(np.linalg.norm(self.places[place] - mouse.position))

    def _arrive(self, mouse: _Mouse) -> None:
        mouse.plan = [(act, round(self.fps * self.rng.uniform(*_SECONDS[act]))) for act in mouse.visits.draw()]

    def _walk(self, mouse: _Mouse) -> None:
        """Steer toward the goal and around what stands in the way; arrive, or lose patience and go elsewhere."""
        friend = None if mouse.friend is None else self.mice[mouse.friend]
        goal = self.places[mouse.place] if friend is None else friend.position
        offset = goal - mouse.position
        distance = float(np.linalg.norm(offset))
        pull = offset / max(distance, 1e-6) + self._push(mouse, friend)
        error = math.remainder(math.atan2(pull[1], pull[0]) - mouse.heading, math.tau)
        near = min(1.0, 0.25 + distance / 1.5) if friend is None else 1.0
        wanted = mouse.pace * near * max(0.12, math.cos(error)) ** 1.5
        mouse.speed += (wanted - mouse.speed) * min(1.0, 8 / self.fps)
        wanted_turn = float(np.clip(5 * error, -4.5, 4.5)) + 0.5 * self.rng.standard_normal()
        mouse.turn += (wanted_turn - mouse.turn) * min(1.0, 8 / self.fps)
        mouse.walked += 1
        if friend is not None:
            if distance < 0.75 or mouse.walked > self.fps:
                mouse.friend = None
        elif np.linalg.norm(mouse.position + 0.5 * mouse.forward - goal) < _STOP and abs(error) < 0.5:
            self._arrive(mouse)
        elif mouse.walked % round(_PATIENCE_S * self.fps) == 0:
            mouse.place = min(self._free_places(mouse), key=lambda place: self._distance(mouse, place))

    def _push(self, mouse: _Mouse, friend: _Mouse | None) -> np.ndarray:
        """What keeps a walking mouse off mice, walls and places; all but walls nudge it to pass on the nearer side."""
        in_the_way = [(place, 0.95) for i, place in enumerate(self.places) if i != mouse.place or friend is not None]
        for other in self.mice:
            if other is not mouse and other is not friend:
                in_the_way += [(other.position + s * other.forward, 0.8) for s in (-0.3, 0.25)]
        push = np.zeros(2)
        ahead = mouse.position + 0.35 * mouse.forward
        for point, radius in in_the_way:
            away = ahead - point
            distance = float(np.linalg.norm(away)) + 1e-6
            if distance < radius:
                side = np.array([-away[1], away[0]])
                side *= math.copysign(1.0, float(side @ mouse.forward))
                push += 3.0 * (1 - distance / radius) * (away + side) / distance
        for axis in range(2):
            push[axis] += max(0.0, 0.7 - ahead[axis]) * 3 - max(0.0, ahead[axis] - self.floor[axis] + 0.7) * 3
        return push


def _scatter(n: int, floor: np.ndarray, margin: float, rng: np.random.Generator) -> np.ndarray:
    """Points well apart, each the best of many candidates; shuffled, since their order would tell where they lie."""
    points = rng.uniform(margin, floor - margin, (1, 2))
    while len(points) < n:
        candidates = rng.uniform(margin, floor - margin, (40, 2))
        distance = np.linalg.norm(candidates[:, None] - points, axis=2).min(axis=1)
        points = np.vstack([points, candidates[distance.argmax()]])
    return rng.permutation(points)
