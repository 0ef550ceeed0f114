"""Keeps the layers of classes, gate score and looks beside the picture as the state of the session has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels, Layer

from napari_lookagain.gui.layers.layers import CLASSES, STRIP, LayerData, layer_of, role_of
from napari_lookagain.gui.layers.session_layers import SessionLayers
from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.timeline.lanes import CORRECTED

_EVENTS = ("visible", "data", "colormap", "features", "name")  # what a lane shows of a layer


class StripFollower:
    """Adds, fills and colors the layers of the strip, and tells when one of them was changed by anybody.

    Parameters
    ----------
    layers
        Of the session in a viewer.
    state
        Of the session.
    changed
        Called after a layer was changed, added or removed, so that the timeline draws it anew.
    changed_in_part
        Called after frames [start, stop) of an animal were changed in the layer with a role.
    """

    def __init__(
        self,
        layers: SessionLayers,
        state: SessionState,
        changed: Callable[[], None],
        changed_in_part: Callable[[str, int, int, int], None],
    ) -> None:
        self._layers, self._state = layers, state
        self._changed, self._changed_in_part = changed, changed_in_part
        self._busy = False
        state.ethograms_changed.connect(self._show_ethograms)
        state.classes_changed.connect(self._show_classes)
        state.labels_changed.connect(self._show_labels)

    def adopt(self, layer: Layer) -> None:
        """Take care of a layer of the strip; its frames are corrected on the timeline, not with napari's brush."""
        if role_of(layer) in STRIP:
            layer.editable = False
            for name in _EVENTS:
                if hasattr(layer.events, name):
                    getattr(layer.events, name).connect(self._layer_changed)
            self._layer_changed()

    def _layer_changed(self) -> None:
        if not self._busy:
            self._changed()

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Tell of many changes together."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        self._changed()

    def _show_ethograms(self) -> None:
        with self._at_once():
            for role in STRIP:
                if (found := layer_of(self._state, role)) is not None:
                    self._show(role, found)

    def _show_classes(self) -> None:
        with self._at_once():
            for role in CLASSES:
                if self._layers.get(role) is not None and (found := layer_of(self._state, role)) is not None:
                    self._show(role, found)

    def _show_labels(self, animal: int, start: int, stop: int) -> None:
        layer = self._layers.get(CORRECTED)
        if layer is None:
            return
        label = self._state.session.annotations.labels()[start:stop, animal]
        layer.data[start:stop, animal, 0] = label + 1
        if start <= self._state.frame < stop:
            layer.refresh()
        self._changed_in_part(CORRECTED, animal, start, stop)

    def _show(self, role: str, found: LayerData) -> None:
        layer = self._layers.get(role)
        if layer is None:
            self._layers.add(found)
            return
        data, attributes, _ = found
        if not np.array_equal(layer.data, data, equal_nan=data.dtype.kind == "f"):
            layer.data = data
        if isinstance(layer, Labels):
            _color(layer, attributes)


def _color(layer: Labels, attributes: dict[str, Any]) -> None:
    """Give a layer its class table; a colormap takes time to build, so only when there are other colors."""
    table = attributes["features"]
    known = layer.features.reindex(columns=table.columns)
    if not table.equals(known):
        layer.features = table
    if list(table["color"]) != list(known["color"]):
        layer.colormap = attributes["colormap"]
