"""The layers of a session, as napari takes them: data, attributes and kind. They are known by their metadata."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Layer
from napari.utils import CyclicLabelColormap

from napari_lookagain.colors import behavior_colors
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.gui.layers.frames import LazyFrames
from napari_lookagain.gui.layers.keypoints import KeypointWindow, point_size
from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.timeline.lanes import CORRECTED, DISCOVERED, GATE_SCORE, LOOKED, PREDICTED
from napari_lookagain.session import Session

VIDEO, KEYPOINTS, TRACKS = "video", "keypoints", "tracks"
CLASSES = (CORRECTED, PREDICTED, DISCOVERED)
STRIP = (*CLASSES, GATE_SCORE, LOOKED)
"""Roles of the layers beside the picture, from the picture outward."""
ROLES = (VIDEO, *STRIP, TRACKS, KEYPOINTS)
"""Roles of all layers, the lowest first."""
LOOKED_COLOR = "#ff8a3c"

_TITLES = {CORRECTED: "corrected", PREDICTED: "predicted", DISCOVERED: "clusters", GATE_SCORE: "gate score"}
_TITLES |= {LOOKED: "looked at"}
_WIDTH, _PITCH = 0.03, 0.04  # of a column of the strip and from one to the next, as a share of the picture's width
_PLAIN = {"multiscale": False, "projection_mode": "none"}  # the mean over one frame is that frame, and takes time
_SAMPLE = 2000  # frames that tell where the animals are when there is no video

LayerData = tuple[Any, dict[str, Any], str]


def role_of(layer: Layer) -> str:
    """What a layer of ours shows; empty for any other layer."""
    told = layer.metadata.get("lookagain")
    return str(told.get("role", "")) if isinstance(told, dict) else ""


def layers_of(state: SessionState) -> list[LayerData]:
    """Lay out all there is to show, the lowest layer first; errors as in `layer_of`."""
    return [layer for role in ROLES if (layer := layer_of(state, role)) is not None]


def layer_of(state: SessionState, role: str) -> LayerData | None:
    """Lay out what has a role; None when there is nothing of it.

    Raises
    ------
    InputError
        When another video stands in the place of that of the session.
    """
    found = _of_session(state, role) if role in (VIDEO, TRACKS, KEYPOINTS) else _of_strip(state, role)
    if found is None:
        return None
    data, attributes, kind = found
    session = state.session
    path = None if session.path is None else str(session.path)
    told: dict[str, Any] = {"role": role, "session": path, "recording": session.recording, "fps": session.fps}
    told["animals"] = list(session.animals)
    axes = ("time", "y", "x")
    return data, {"name": role, **attributes, "metadata": {"lookagain": told}, "axis_labels": axes}, kind


def scored_model(state: SessionState) -> Ethogram | None:
    """Whose gate score and looks are shown: that of the behaviors when it has them, else that of the clusters."""
    models = [model for model in (state.predicted, state.discovered) if model is not None]
    return next((model for model in models if np.isfinite(model.gate_score).any()), None)


def class_table(names: Sequence[str], colors: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    """Tell what the values of a Labels layer mean, a row each; 0 is none and has no row."""
    return pd.DataFrame({"index": np.arange(len(names)) + 1, "name": names, "color": colors, "key": keys})


def color_labels(colors: Sequence[str]) -> CyclicLabelColormap:
    """Color value v as class v - 1 and leave 0 clear; the first direct colormap would take seconds to make."""
    return CyclicLabelColormap(colors=["transparent", *(colors or ["white"])])  # it divides by their number


def _of_session(state: SessionState, role: str) -> LayerData | None:
    session = state.session
    if role == VIDEO:
        if session.video is None or not os.path.isfile(session.video.path):
            return None
        frames = LazyFrames(session.open_video(), session.n_frames)
        return frames, {"rgb": True, "contrast_limits": (0, 255), **_PLAIN}, "image"
    if not session.has_keypoints:
        return None
    window = KeypointWindow(session, state.frame)
    if role == TRACKS:
        return window.centers, {"visible": False, "tail_length": 30, "tail_width": 2, "colormap": "turbo"}, "tracks"
    attributes = {
        "features": window.features,
        **window.colors("animal"),
        "border_width": 0.15,
        "size": point_size(session),
        "canvas_size_limits": (4, 30),
        "ndim": 3,
    }
    return window.data, attributes, "points"


def _of_strip(state: SessionState, role: str) -> LayerData | None:
    attributes = {"name": _TITLES[role], **_Place.of(state.session).column(role, state.session.n_animals)}
    if role in CLASSES:
        label, names, colors, keys = _classes(state, role)
        if label is None:
            return None
        attributes |= {"features": class_table(names, colors, keys), "colormap": color_labels(colors), "opacity": 1}
        return (label + 1).astype(np.uint16)[..., None], attributes, "labels"
    model = scored_model(state)
    if model is None:
        return None
    if role == LOOKED:
        attributes |= {"features": class_table(["looked at"], [LOOKED_COLOR], [""]), "opacity": 1}
        attributes |= {"colormap": color_labels([LOOKED_COLOR])}
        return model.looked.astype(np.uint16)[..., None], attributes, "labels"
    attributes |= {"contrast_limits": (0, 1), "colormap": "gray", **_PLAIN}
    return model.gate_score[..., None], attributes, "image"


def _classes(state: SessionState, role: str) -> tuple[np.ndarray | None, Sequence[str], Sequence[str], Sequence[str]]:
    """Labels (T, A), -1 = none, with names, colors and keys of their classes."""
    if role == DISCOVERED:
        if state.naming is None:
            return None, (), (), ()
        classes = state.naming.classes
        colors, keys = [each.color for each in classes], [each.key for each in classes]
        return state.naming.label, state.naming.names, colors, keys
    if role == PREDICTED:
        label, names = (None, ()) if state.predicted is None else (state.predicted.label, state.predicted.names)
    else:
        label, names = state.session.annotations.labels(), state.session.annotations.behaviors
    color_of, key_of = behavior_colors(state.behaviors), {behavior: key for key, behavior in state.keys.items()}
    return label, names, [color_of[name] for name in names], [key_of.get(name, "") for name in names]


@dataclass(frozen=True)
class _Place:
    """The rectangle that the animals move in, in pixels: that of the video, or what the keypoints reach."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, session: Session) -> _Place:
        if session.frame_size is not None:
            return cls(-0.5, -0.5, *session.frame_size)
        frames = np.linspace(0, session.n_frames - 1, min(session.n_frames, _SAMPLE)).astype(int)
        points = session.keypoints[frames][..., :2].reshape(-1, 2)
        points = points[np.isfinite(points[:, 0])]
        if not len(points):
            return cls(0, 0, 1, 1)
        low, high = points.min(axis=0), points.max(axis=0)
        width, height = np.maximum(high - low, 1e-3)
        return cls(float(low[0]), float(low[1]), float(width), float(height))

    def column(self, role: str, n_animals: int) -> dict[str, Any]:
        """Lay a (T, A, 1) layer out left of the picture: a block for each animal, the first on top."""
        block = self.height / n_animals
        x = self.x - (STRIP.index(role) + 1) * _PITCH * self.width
        return {"scale": (1, block, _WIDTH * self.width), "translate": (0, self.y + block / 2, x)}
