"""The empty arena, seen from above: table, acrylic wall, bedding and the feeder. Drawn once per recording."""

from __future__ import annotations

import cv2
import numpy as np

DISH = 0.42  # radius of the feeder, in body lengths
WALL = 0.34  # from the edge of the picture to the floor, in body lengths
LIGHT = np.array([-0.5, -0.87])  # where the light comes from, in the picture

_FINE = 2  # drawn this much larger, then reduced: smooth edges
_BOWL = 0.80  # radius of the inside of the feeder, as a share of the whole
_TABLE = (52, 58, 66)
_ACRYLIC = (226, 230, 229)
_BEDDING = (221, 205, 174)
_CHIPS = ((246, 234, 208), (204, 182, 144), (187, 163, 124), (238, 222, 190))
_GLAZE = (33, 104, 112)
_LID = (214, 208, 194)
_PORCELAIN = (240, 243, 240)
_SEEDS = ((233, 180, 76), (214, 150, 52), (247, 208, 122))


def draw_arena(size: tuple[int, int], body: float, feeder: np.ndarray, seed: int, *, opened: bool) -> np.ndarray:
    """Draw the arena without mice.

    Parameters
    ----------
    size
        Width and height of the picture, pixels.
    body
        Length of a mouse, pixels.
    feeder : (2,)
        Middle of the feeder, pixels.
    seed
        Seed of the bedding and of the food.
    opened
        Whether the lid of the feeder is open.

    Returns
    -------
    (H, W, 3) uint8
    """
    rng = np.random.default_rng([seed, 4])
    width, height, body = size[0] * _FINE, size[1] * _FINE, body * _FINE
    picture = _bedding(width, height, body, rng)
    inside = _depth(width, height, WALL * body, 0.42 * body)
    picture *= 1 - 0.5 * np.exp(-np.maximum(inside, 0) / (0.16 * body))[..., None]
    if opened:
        _place_dish(picture, feeder * _FINE, DISH * body, _GLAZE, -1.0)
        _fill_dish(picture, feeder * _FINE, DISH * body, rng)
    else:
        _place_dish(picture, feeder * _FINE, DISH * body, _LID, 1.0)
    picture *= _lamp(width, height)[..., None]
    rim = np.clip(inside + 0.11 * body, 0, 1) * np.clip(0.5 - inside, 0, 1)
    shine = 0.82 + 0.18 * np.outer(np.cos(np.linspace(-0.8, 1.6, height)), np.cos(np.linspace(-1.2, 2.4, width)))
    table = np.array(_TABLE, np.float32) * (0.75 + 0.35 * shine)[..., None]
    picture = np.where((inside < -0.05 * body)[..., None], table, picture)
    picture += rim[..., None] * (np.array(_ACRYLIC, np.float32) * shine[..., None] - picture)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _bedding(width: int, height: int, body: float, rng: np.random.Generator) -> np.ndarray:
    """Soft wood shavings: clouds of light and dark, and some thousand short chips."""
    clouds = np.zeros((height, width), np.float32)
    for grain, strength in ((1.4, 0.022), (0.35, 0.014), (0.06, 0.016)):
        coarse = rng.standard_normal((int(height / body / grain) + 3, int(width / body / grain) + 3)).astype(np.float32)
        clouds += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    floor = np.array(_BEDDING, np.float32) * (1 + clouds)[..., None]
    for color in _CHIPS:
        chips = np.zeros((height, width), np.uint8)
        for x, y, angle, length in rng.random((int(5.5 * width * height / body**2), 4)):
            middle, half = np.array([x * width, y * height]), body * (0.025 + 0.05 * length)
            reach = half * np.array([np.cos(angle * np.pi), np.sin(angle * np.pi)])
            ends = np.round((np.stack([middle - reach, middle + reach])) * 16).astype(int)
            cv2.line(chips, ends[0], ends[1], 255, max(1, round(0.022 * body)), cv2.LINE_AA, 4)
        weight = 0.30 / 255 * chips.astype(np.float32)[..., None]
        floor += weight * (np.array(color, np.float32) - floor)
    return floor


def _depth(width: int, height: int, wall: float, corner: float) -> np.ndarray:
    """How far each pixel lies inside the floor, a rectangle with round corners; negative outside."""
    x = np.abs(np.arange(width, dtype=np.float32) - width / 2 + 0.5) - (width / 2 - wall - corner)
    y = np.abs(np.arange(height, dtype=np.float32) - height / 2 + 0.5) - (height / 2 - wall - corner)
    outside = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    return corner - outside - np.minimum(np.maximum(x[None, :], y[:, None]), 0)


def _lamp(width: int, height: int) -> np.ndarray:
    """A pool of light, a little off the middle, fading toward the corners."""
    x = (np.arange(width, dtype=np.float32) / width - 0.45) / 0.72
    y = (np.arange(height, dtype=np.float32) / height - 0.40) / 0.72
    return 1.09 - 0.42 * np.minimum(1, x[None, :] ** 2 + y[:, None] ** 2) ** 1.15


def _place_dish(picture: np.ndarray, middle: np.ndarray, radius: float, inside: tuple, bulge: float) -> None:
    """A dish with a porcelain rim, throwing a soft shadow; its inside bulges out (1, a lid) or in (−1, a bowl)."""
    left, top = np.maximum(np.floor(middle - 2 * radius).astype(int), 0)
    patch = picture[top : top + int(4 * radius), left : left + int(4 * radius)]
    x = np.arange(patch.shape[1], dtype=np.float32)[None, :] + np.float32(left - middle[0])
    y = np.arange(patch.shape[0], dtype=np.float32)[:, None] + np.float32(top - middle[1])
    beyond = np.hypot(x + 0.08 * radius * LIGHT[0], y + 0.22 * radius * LIGHT[1]) - radius
    patch *= (1 - 0.42 / (1 + np.exp(np.minimum(beyond / (0.07 * radius), 30))))[..., None]
    far = np.hypot(x, y) / radius
    facing = (x * LIGHT[0] + y * LIGHT[1]) / (radius * np.maximum(far, 1e-3))  # 1 on the side of the lamp
    swell = np.cos(np.pi * np.clip((far - _BOWL) / (1 - _BOWL), 0, 1))  # of the rim: 1 at its inner edge, then -1
    rim = np.array(_PORCELAIN, np.float32) * (0.93 - 0.16 * facing * swell)[..., None]
    middle_part = np.array(inside, np.float32) * (0.92 + 0.26 * bulge * facing * np.minimum(far, 1) ** 2)[..., None]
    bowl = np.clip((_BOWL - far) * radius / 2 + 0.5, 0, 1)[..., None]
    patch += np.clip((1 - far) * radius + 0.5, 0, 1)[..., None] * (bowl * middle_part + (1 - bowl) * rim - patch)


def _fill_dish(picture: np.ndarray, middle: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    """Grain, here and there, in the middle of the dish."""
    for angle, out, turn, pick in rng.random((80, 4)):
        direction = np.array([np.cos(angle * 2 * np.pi), np.sin(angle * 2 * np.pi)])
        place = middle + 0.56 * radius * np.sqrt(out) * direction
        _drop_seed(picture, place, 0.085 * radius, 180 * turn, np.array(_SEEDS[int(pick * len(_SEEDS))]))


def _drop_seed(picture: np.ndarray, place: np.ndarray, size: float, angle: float, color: np.ndarray) -> None:
    """One seed: its shadow, itself, and a spot of light."""
    for shift, tone, grow in ((0.45, 0.35, 1.0), (0.0, 0.86, 1.0), (-0.28, 1.08, 0.55)):
        at = np.round((place - shift * size * LIGHT) * 16).astype(int).tolist()
        axes = np.round(np.array([1.25, 0.85]) * grow * size * 16).astype(int).tolist()
        cv2.ellipse(picture, at, axes, angle, 0, 360, np.minimum(tone * color, 255).tolist(), -1, cv2.LINE_8, 4)
