"""Keeps keypoints and tracks around the frame in view, and takes what a person does to a keypoint into the session."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer, Points
from napari.layers.base import ActionType
from napari.utils.notifications import show_info

from napari_lookagain.gui.layers.keypoints import KeypointWindow, missing_near
from napari_lookagain.gui.layers.layers import KEYPOINTS, TRACKS, role_of
from napari_lookagain.gui.layers.session_layers import SessionLayers
from napari_lookagain.gui.preferences import preferred
from napari_lookagain.gui.state import SessionState


class KeypointFollower:
    """Fills the keypoint layers anew when the frame in view leaves their window; those that are hidden wait.

    Dragging a keypoint moves it in the session, deleting one makes it missing, and adding one puts a missing keypoint
    back: the one that was nearest to the place.

    Parameters
    ----------
    layers
        Of the session in a viewer.
    state
        Of the session.
    """

    def __init__(self, layers: SessionLayers, state: SessionState) -> None:
        self._layers, self._state = layers, state
        self._colored_by = preferred("keypoint_colors")
        self._windows: dict[str, KeypointWindow] = {}  # by role, what the layer holds
        self._removing: list[tuple[int, int, int]] = []
        state.frame_changed.connect(self.follow)
        state.keypoints_changed.connect(self._moved)

    @property
    def colored_by(self) -> str:
        """What the colors of keypoints tell: their ``"animal"`` or their ``"keypoint"``."""
        return self._colored_by

    @colored_by.setter
    def colored_by(self, by: str) -> None:
        self._colored_by = by
        self._refill()

    def adopt(self, layer: Layer) -> None:
        """Take care of a layer of keypoints or tracks."""
        role = role_of(layer)
        if role in (KEYPOINTS, TRACKS):
            self._windows.pop(role, None)
            layer.events.visible.connect(self.follow)
            if role == KEYPOINTS:
                layer.events.data.connect(self._edited)
            self.follow()

    def follow(self) -> None:
        """Show the keypoints around the frame in view."""
        for role in (KEYPOINTS, TRACKS):
            window, layer = self._windows.get(role), self._layers.get(role)
            if layer is not None and layer.visible and (window is None or self._state.frame not in window):
                self._fill(layer, role)

    def _fill(self, layer: Any, role: str) -> None:
        window = self._windows[role] = KeypointWindow(self._state.session, self._state.frame)
        if role == TRACKS:
            layer.data = window.centers
            return
        with layer.events.data.blocker(self._edited):
            layer.data = window.data
        layer.features = window.features
        for name, colors in window.colors(self._colored_by).items():
            setattr(layer, name, colors)

    def _refill(self) -> None:
        self._windows.clear()
        self.follow()

    def _moved(self, frame: int) -> None:
        if any(frame in window for window in self._windows.values()):
            self._refill()

    def _edited(self, event: Any) -> None:
        """Take over what was done to points with the tools of the layer, or by another plugin."""
        layer, window = event.source, self._windows.get(KEYPOINTS)
        if window is None:
            return
        if event.action == ActionType.REMOVING:
            self._removing = [window.place_of(row) for row in event.data_indices]
        elif event.action == ActionType.REMOVED:
            self._put([(place, None) for place in self._removing])
        elif event.action == ActionType.CHANGED and len(layer.data) == len(window.data):
            moved = np.flatnonzero((layer.data != window.data).any(axis=1)).tolist()
            self._put([(window.place_of(row), _position(layer, row)) for row in moved])
        elif event.action == ActionType.ADDED:
            self._add(layer, event.data_indices)

    def _put(self, moves: list[tuple[tuple[int, int, int], tuple[float, float] | None]]) -> None:
        with self._state.keypoints_changed.blocked():
            for place, position in moves:
                self._state.move_keypoint(*place, position)
        for frame in {place[0] for place, _ in moves}:
            self._state.keypoints_changed.emit(frame)

    def _add(self, layer: Points, rows: Any) -> None:
        session = self._state.session
        for row in rows:
            position = _position(layer, row)
            missing = missing_near(session, self._state.frame, position)
            if missing is None:
                show_info("Every keypoint has its place in this frame; drag one to correct it.")
            else:
                self._state.move_keypoint(self._state.frame, *missing, position)
        self._refill()


def _position(layer: Points, row: int) -> tuple[float, float]:
    _, y, x = layer.data[row]
    return float(x), float(y)
