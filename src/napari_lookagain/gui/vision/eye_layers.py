"""What an eye makes of a frame, as layers that lie over the animals it looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_lookagain.gui.layers.layers import VIDEO, role_of
from napari_lookagain.gui.layers.session_layers import SessionLayers
from napari_lookagain.session import Session

if TYPE_CHECKING:
    from napari_lookagain.eyes.pictures import Glimpse

COLORS, PAINTED = "patch colors", "reconstruction"
EYE = (PAINTED, COLORS)
"""Roles of the layers of an eye, the lowest first; with several animals, each has its own."""
_OPACITY = {COLORS: 0.55, PAINTED: 1.0}


class EyeLayers:
    """Adds and fills the layers of an eye; what they show belongs to one frame, and is not to be seen at any other.

    Parameters
    ----------
    layers
        Of the session in a viewer.
    session
        Whose animals.
    visible
        Whether new layers are to be seen, by role.
    """

    def __init__(self, layers: SessionLayers, session: Session, visible: dict[str, bool]) -> None:
        self.visible = dict(visible)
        self._layers, self._session = layers, session
        self._added: set[tuple[str, int]] = set()
        self._last: tuple[int, list[Glimpse]] = (0, [])

    def __iter__(self) -> Iterator[Layer]:
        return (layer for layer in self._layers if role_of(layer) in EYE)

    @property
    def taken_away(self) -> bool:
        """Whether someone has removed all that there was."""
        return bool(self._added) and next(iter(self), None) is None

    def renew(self) -> None:
        """Add layers again, whatever someone has removed."""
        self._added.clear()

    def show(self, frame: int, glimpses: list[Glimpse]) -> None:
        """Show what was seen at a frame; hidden layers wait, and one that someone has removed stays away."""
        self._last = frame, glimpses
        for glimpse in glimpses:
            for role, picture in ((PAINTED, glimpse.painted), (COLORS, glimpse.colors)):
                layer, place = self._get(role, glimpse.animal), _place(frame, glimpse.affine)
                if layer is None and (role, glimpse.animal) not in self._added:
                    self._add(role, glimpse.animal, picture[None].copy(), place)
                elif layer is not None and layer.visible:
                    layer.data[0] = picture  # in place: napari would lay out all layers anew for another array
                    layer.affine = place  # draws
                self._added.add((role, glimpse.animal))

    def set_visible(self, role: str, visible: bool) -> None:
        """Show or hide all layers of a role, those to come, too."""
        self.visible[role] = visible
        for layer in self:
            if role_of(layer) == role:
                layer.visible = visible

    def remove(self) -> None:
        """Take them out of the viewer."""
        for layer in list(self):
            self._layers.viewer.layers.remove(layer)

    def _get(self, role: str, animal: int) -> Any:
        """The layer of an animal; None when there is none."""
        mine = (layer for layer in self if role_of(layer) == role)
        return next((layer for layer in mine if layer.metadata["lookagain"].get("animal") == animal), None)

    def _add(self, role: str, animal: int, data: np.ndarray, place: np.ndarray) -> None:
        """Put a layer right above the video and the other layers of an eye, below keypoints and strips."""
        session = self._session
        path = None if session.path is None else str(session.path)
        told: dict[str, Any] = {"role": role, "session": path, "recording": session.recording, "fps": session.fps}
        told |= {"animals": list(session.animals), "animal": animal}
        whose = f", {session.animals[animal]}" if session.n_animals > 1 else ""
        attributes = {
            "name": f"{role}{whose}",
            "affine": place,
            "visible": self.visible[role],
            "metadata": {"lookagain": told},
            "axis_labels": ("time", "y", "x"),
            "rgb": data.ndim == 4,
            "contrast_limits": (0, 255),
            "opacity": _OPACITY[role],
            "multiscale": False,
            "projection_mode": "none",
        }
        lower = EYE[: EYE.index(role) + 1]
        below = [layer for layer in self._layers if role_of(layer) in (VIDEO, *lower)]
        self._layers.add((data, attributes, "image"), above=below[-1] if below else None)
        self._get(role, animal).events.visible.connect(self._show_again)

    def _show_again(self) -> None:
        self.show(*self._last)


def _place(frame: int, affine: np.ndarray) -> np.ndarray:
    """The affine of a layer (1, S, S) in time, y and x, of one that maps x and y to x and y."""
    matrix = np.eye(4)
    matrix[0, 3] = frame
    matrix[1:3, 1:3] = affine[::-1, 1::-1]
    matrix[1:3, 3] = affine[::-1, 2]
    return matrix
