"""The layers of one session in one viewer, and the lanes that the timeline draws of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_lookagain.gui.layers.layers import LayerData, role_of
from napari_lookagain.gui.timeline.lanes import (
    CORRECTED,
    DISCOVERED,
    GATE_SCORE,
    LOOKED,
    PREDICTED,
    ClassLane,
    Lane,
    ScoreLane,
    TickLane,
)
from napari_lookagain.session import Session

_LANES = (DISCOVERED, PREDICTED, CORRECTED, GATE_SCORE, LOOKED)  # from top to bottom


class SessionLayers:
    """What a viewer holds of a session. Nothing is remembered: layers come and go, and tell themselves what they are.

    Parameters
    ----------
    viewer
        A viewer with or without a window.
    session
        Whose layers.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self.viewer = viewer
        self._path = None if session.path is None else str(session.path)

    def __iter__(self) -> Iterator[Layer]:
        return (layer for layer in self.viewer.layers if layer in self)

    def __contains__(self, layer: Layer) -> bool:
        return bool(role_of(layer)) and layer.metadata["lookagain"].get("session") == self._path

    def get(self, role: str) -> Any:
        """The layer with a role, of whichever kind; None when there is none."""
        return next((layer for layer in self if role_of(layer) == role), None)

    def add(self, layer_data: LayerData, above: Layer | None = None) -> None:
        """Add a layer on top, or right above another; what was selected stays so, and the frame in view the same."""
        active, layers = self.viewer.layers.selection.active, self.viewer.layers
        layers.insert(len(layers) if above is None else layers.index(above) + 1, Layer.create(*layer_data))
        if active is not None:
            self.viewer.layers.selection.active = active

    def remove(self) -> None:
        """Take all of them out of the viewer."""
        for layer in list(self):
            self.viewer.layers.remove(layer)


def lanes_of(viewer: ViewerModel) -> list[Lane]:
    """Tell the timeline what to draw: the layers of a session, as they are now, whoever changed them last."""
    layers = {role_of(layer): layer for layer in viewer.layers}
    return [_lane(role, layers[role]) for role in _LANES if role in layers]


def _lane(role: str, layer: Any) -> Lane:
    array = np.asarray(layer.data)[..., 0]
    if isinstance(layer, Image):
        return ScoreLane(role, layer.name, array, layer.visible)
    if role == LOOKED:
        return TickLane(role, layer.name, array, layer.visible)
    assert isinstance(layer, Labels)
    names = tuple(layer.features.get("name", ()))
    colors = layer.colormap.map(np.arange(1, len(names) + 1))
    return ClassLane(role, layer.name, array, names, tuple(_hex(color) for color in colors), layer.visible)


def _hex(color: np.ndarray) -> str:
    return "#" + "".join(f"{round(float(part) * 255):02x}" for part in color[:3])
