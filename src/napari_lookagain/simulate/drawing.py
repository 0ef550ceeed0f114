"""Mice, drawn from above onto the arena: fur bent along the spine and lit by one lamp, over paws, tail and shadow.

The fur of a mouse is drawn once, on a straight body. At every frame, each pixel around the mouse looks up where on the
straight body it lies, which undoes `Motion.points`; that is quick and leaves smooth edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from napari_lookagain.simulate.arena import LIGHT, draw_arena
from napari_lookagain.simulate.motion import Motion, head_part, spine, turned

_COATS = ((62, 58, 60), (122, 78, 50), (84, 94, 110))  # charcoal, cinnamon, slate
_SKIN = np.array((214, 150, 138), np.float32)
_TAIL = np.array((202, 152, 136), np.float32)
_RAISED_TAIL = np.array((255, 226, 212), np.float32)

# In body lengths along the body, from its middle to the nose, and across it
_FLESH = ((-0.23, 0.285, 0.225, 0.21), (-0.02, 0.28, 0.185, 0.18), (0.20, 0.20, 0.145, 0.16), (0.34, 0.17, 0.085, 0.12))
_EARS = ((0.17, 0.135), (0.17, -0.135))
_FACE = (  # eyes with a glint, and the nose: along, across, radius, color
    (0.325, 0.082, 0.022, (12, 10, 12)), (0.325, -0.082, 0.022, (12, 10, 12)),
    (0.331, 0.076, 0.008, (235, 240, 245)), (0.331, -0.088, 0.008, (235, 240, 245)),
    (0.490, 0.000, 0.030, (214, 150, 138)),
)  # fmt: skip
# Paws: along, across, phase of the gait
_PAWS = ((0.19, 0.15, 0.0), (0.19, -0.15, np.pi), (-0.17, 0.22, np.pi), (-0.17, -0.22, 0.0))
_ALONG, _ACROSS = 0.62, 0.36  # half the extent of the picture of a coat

_FINE = 4  # drawn this much larger, then reduced
_SHIFT = 4  # bits behind the point in OpenCV's coordinates


@dataclass(frozen=True)
class _Coat:
    """A straight mouse: color and cover (h, w, 4), slope of its surface (h, w, 2), and pixels per body length."""

    color: np.ndarray
    slope: np.ndarray
    scale: float

    def find(self, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of places on the body."""
        x, y = (along + _ALONG) * self.scale - 0.5, (across + _ACROSS) * self.scale - 0.5
        return x.astype(np.float32), y.astype(np.float32)


def draw(motion: Motion, size: tuple[int, int], body: float, corner: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Draw the frames of a recording.

    Parameters
    ----------
    motion
        What the mice do, in body lengths.
    size
        Width and height of the video, pixels.
    body
        Length of a mouse, pixels.
    corner : (2,)
        Where the corner of the floor is in the picture, pixels.
    seed
        Seed of bedding, food and fur.

    Yields
    ------
    (H, W, 3) uint8
        One frame after the other.
    """
    margin = int(2 * body)  # so that nothing is ever drawn over the edge of the canvas
    closed, opened = (
        cv2.copyMakeBorder(
            draw_arena(size, body, motion.feeder * body + corner, seed, opened=lid),
            margin, margin, margin, margin, cv2.BORDER_REPLICATE,
        )
        for lid in (False, True)
    )  # fmt: skip
    coats = [_coat(color, body, np.random.default_rng([seed, 5, a])) for a, color in enumerate(_COATS)]
    for t in range(len(motion.center)):
        frame = cv2.addWeighted(closed, 1 - motion.opened[t], opened, motion.opened[t], 0)
        mice = [_Mouse(motion, t, a, body, corner + margin, coats[a]) for a in range(motion.center.shape[1])]
        for mouse in mice:
            mouse.darken_floor(frame)
        for mouse in mice:
            mouse.paint(frame)
        yield frame[margin:-margin, margin:-margin]


@dataclass(frozen=True)
class _Layer:
    """How much of each pixel something covers, (h, w) in [0, 1], and where in the frame its corner lies, x and y."""

    cover: np.ndarray
    at: tuple[int, int]

    def paint(self, frame: np.ndarray, color: np.ndarray) -> None:
        """Lay a color, or a picture of the size of the layer, over the frame."""
        patch = self._patch(frame)
        patch[:] = _blend(patch, color, self.cover)

    def shade(self, frame: np.ndarray, strength: float, shift: np.ndarray, softness: float) -> None:
        """Throw a shadow, shifted and softened by some pixels."""
        pad = int(2.5 * softness) + 1
        soft = cv2.GaussianBlur(np.pad(self.cover, pad), (2 * pad + 1, 2 * pad + 1), softness)
        x, y = np.round(shift).astype(int) + self.at - pad
        patch = _Layer(soft, (x, y))._patch(frame)
        patch[:] = patch * (1 - strength * soft[..., None])

    def _patch(self, frame: np.ndarray) -> np.ndarray:
        (x, y), (height, width) = self.at, self.cover.shape
        return frame[y : y + height, x : x + width]


class _Mouse:
    """One mouse at one frame. The canvas is measured in pixels, the mouse in body lengths."""

    def __init__(self, motion: Motion, t: int, a: int, body: float, corner: np.ndarray, coat: _Coat) -> None:
        self.body, self.coat = body, coat
        self.center = motion.center[t, a] * body + corner
        self.tail = motion.tail[t, a] * body + corner
        self.heading, self.raised = float(motion.heading[t, a]), float(motion.raised[t, a])
        self.bend, self.yaw, self.reach = float(motion.bend[t, a]), float(motion.yaw[t, a]), float(motion.reach[t, a])
        self.stride, self.speed = float(motion.stride[t, a]), float(motion.speed[t, a])
        self.trunk, self.fur = self._bend_coat()

    def darken_floor(self, frame: np.ndarray) -> None:
        """Throw a shadow away from the lamp, and one all around, where the body keeps out the light of the room."""
        self.trunk.shade(frame, 0.42, -0.09 * self.body * LIGHT, 0.07 * self.body)
        self.trunk.shade(frame, 0.22, -0.02 * self.body * LIGHT, 0.15 * self.body)

    def paint(self, frame: np.ndarray) -> None:
        """Paint paws, tail and body; a raised tail comes last."""
        if self.raised < 0.5:
            self._paint_tail(frame)
        self._paws().paint(frame, _SKIN)
        self.trunk.paint(frame, self.fur)
        if self.raised >= 0.5:
            self._paint_tail(frame)

    def _paint_tail(self, frame: np.ndarray) -> None:
        up = self.raised
        whole = self._stroke(0.062 + 0.05 * up, 0.020 + 0.05 * up)
        whole.shade(frame, 0.35 + 0.1 * up, -(0.03 + 0.09 * up) * self.body * LIGHT, (0.025 + 0.02 * up) * self.body)
        color = (1 - up) * _TAIL + up * _RAISED_TAIL
        whole.paint(frame, (0.84 + 0.04 * up) * color)
        self._stroke(0.026 + 0.034 * up, 0.006 + 0.028 * up).paint(frame, color)

    def _bend_coat(self) -> tuple[_Layer, np.ndarray]:
        """The body as it lies now: its cover, and its lit colors."""
        half = int(0.72 * self.body)
        x0, y0 = np.floor(self.center).astype(int) - half
        pixels = np.arange(2 * half, dtype=np.float32)
        x = (pixels[None, :] + (x0 - self.center[0])) / self.body
        y = (pixels[:, None] + (y0 - self.center[1])) / self.body
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        along, across = cos * x + sin * y, cos * y - sin * x
        side, slope = spine(along, self.bend, self.yaw)
        across -= side
        along += across * slope - self.reach * head_part(along)
        where = self.coat.find(along, across)
        rgba = cv2.remap(self.coat.color, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        tilt = cv2.remap(self.coat.slope, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        lamp = cos * LIGHT[0] + sin * LIGHT[1], cos * LIGHT[1] - sin * LIGHT[0]
        light = 1 - 0.38 * (tilt[..., 0] * lamp[0] + tilt[..., 1] * lamp[1])
        return _Layer(rgba[..., 3], (x0, y0)), np.clip(rgba[..., :3] * light[..., None], 0, 255)

    def _stroke(self, base: float, tip: float) -> _Layer:
        """A smooth line along the tail that grows thinner from base to tip."""
        fine = np.linspace(0, len(self.tail) - 1, 3 * len(self.tail))
        path = np.stack([np.interp(fine, range(len(self.tail)), column) for column in self.tail.T], axis=1)
        path[1:-1] = (path[:-2] + path[1:-1] + path[2:]) / 3
        widths = np.maximum(1, np.round(np.linspace(base, tip, len(path)) * self.body * _FINE)).astype(int)
        ink, at = _blank(path, 0.08 * self.body)
        ends = _fixed(path - at)
        for one, two, width in zip(ends[:-1], ends[1:], widths.tolist(), strict=False):
            cv2.line(ink, one, two, 255, width, cv2.LINE_8, _SHIFT)
        return _reduced(ink, at)

    def _paws(self) -> _Layer:
        along, across, phase = np.array(_PAWS).T
        step = along + 0.09 * min(1.0, self.speed) * np.sin(self.stride + phase)
        side, _ = spine(step, self.bend, self.yaw)
        places = turned(step, side + across, self.heading) * self.body + self.center
        ink, at = _blank(places, 0.1 * self.body)
        for place, behind in zip(_fixed(places - at), along < 0, strict=True):
            axes = _fixed(self.body * np.array((0.07, 0.035) if behind else (0.045, 0.032)))
            cv2.ellipse(ink, place, axes, np.degrees(self.heading), 0, 360, 255, -1, cv2.LINE_8, _SHIFT)
        return _reduced(ink, at)


def _blank(points: np.ndarray, margin: float) -> tuple[np.ndarray, tuple[int, int]]:
    """An empty sheet, `_FINE` times as large, around points; and where its corner lies."""
    low = np.floor(points.min(axis=0) - margin).astype(int)
    width, height = np.ceil(points.max(axis=0) + margin).astype(int) - low
    return np.zeros((height * _FINE, width * _FINE), np.uint8), (low[0], low[1])


def _fixed(values: np.ndarray) -> list:
    """Pixels as the fixed-point numbers that OpenCV draws with, on a sheet `_FINE` times as large."""
    return np.round(values * _FINE * 2**_SHIFT).astype(int).tolist()


def _reduced(ink: np.ndarray, at: tuple[int, int]) -> _Layer:
    """Sheet to layer; averaging makes the edges smooth."""
    size = ink.shape[1] // _FINE, ink.shape[0] // _FINE
    return _Layer(cv2.resize(ink, size, interpolation=cv2.INTER_AREA) * np.float32(1 / 255), at)


def _blend(under: np.ndarray, color: np.ndarray, cover: np.ndarray) -> np.ndarray:
    return under + cover[..., None] * (color - under)


def _coat(color: tuple[int, int, int], body: float, rng: np.random.Generator) -> _Coat:
    """Draw a straight mouse: flesh as a union of ellipsoids, fur with a dark stripe, ears, eyes and nose."""
    scale = _FINE * max(1.5 * body, 60.0)
    along = np.arange(-_ALONG, _ALONG, 1 / scale, dtype=np.float32)[None, :]
    across = np.arange(-_ACROSS, _ACROSS, 1 / scale, dtype=np.float32)[:, None]
    lumps = [h**2 * np.maximum(1 - ((along - x) / a) ** 2 - (across / b) ** 2, 0) for x, a, b, h in _FLESH]
    height = cv2.GaussianBlur(np.sum(np.square(lumps), axis=0) ** 0.25, (0, 0), 0.012 * scale)
    slope = np.stack(np.gradient(height, 1 / scale)[::-1], axis=-1)
    upward = 1 / np.sqrt(1 + (slope**2).sum(axis=-1))
    noise = rng.standard_normal(height.shape, np.float32)
    hair = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.03 * scale, sigmaY=0.005 * scale)
    tone = (0.50 + 0.62 * upward) * (1 + 0.07 * hair / hair.std()) * (1 - 0.22 * np.exp(-((across / 0.05) ** 2)))
    picture = np.array(color, np.float32) * tone[..., None]
    cover = 1 / (1 + np.exp(-(height - 0.045) * 160))
    for x, y in _EARS:
        far = np.hypot(1.15 * (along - x), across - y) / 0.098  # 1 at the edge of the ear
        ear = np.clip((1 - far) * 10, 0, 1)
        rosy = 0.72 * _SKIN + 0.28 * np.array(color, np.float32)
        picture = _blend(picture, 0.8 * np.array(color, np.float32), ear)
        picture = _blend(picture, rosy * (0.80 + 0.25 * far[..., None]), np.clip((0.74 - far) * 8, 0, 1))
        cover, slope = np.maximum(cover, ear), slope * (1 - ear)[..., None]
    for x, y, radius, shade in _FACE:
        spot = np.clip((1 - np.hypot(along - x, across - y) / radius) * 6, 0, 1)
        picture = _blend(picture, np.array(shade, np.float32), spot)
    size = round(height.shape[1] / _FINE), round(height.shape[0] / _FINE)
    rgba, slope = (
        cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for part in (np.dstack([picture, cover]), slope)
    )
    return _Coat(rgba, slope, scale / _FINE)
