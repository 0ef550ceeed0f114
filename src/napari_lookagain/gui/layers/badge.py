"""A mark on the canvas for every animal, that tells whether the model looked at it in the frame in view."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay

from napari_lookagain.gui.layers.keypoints import animal_color
from napari_lookagain.gui.layers.layers import scored_model
from napari_lookagain.gui.state import SessionState


class LookedBadge:
    """A line above the picture for each animal that was looked at, in the color of its keypoints.

    Lines come and go as they are: laying out a text anew at a frame would take as long as drawing the frame.

    Parameters
    ----------
    viewer
        On whose canvas.
    state
        Of the session in it.
    """

    def __init__(self, viewer: ViewerModel, state: SessionState) -> None:
        self._state = state
        self._overlays = viewer.canvas.overlays
        self._lines = {
            f"lookagain {animal}": TextOverlay(
                text=f"◉ looked at {name}",
                color=animal_color(animal),
                font_size=8,
                box_color="black",
                position="top_center",
            )
            for animal, name in enumerate(state.session.animals)
        }
        self._overlays.update(self._lines)
        state.frame_changed.connect(self.follow)
        state.ethograms_changed.connect(self._take_model)
        self._take_model()

    def follow(self) -> None:
        """Tell of the frame in view."""
        for animal, line in enumerate(self._lines.values()):
            line.visible = self._model is not None and bool(self._model.looked[self._state.frame, animal])

    def _take_model(self) -> None:
        self._model = scored_model(self._state)
        self.follow()

    def remove(self) -> None:
        """Take it off the canvas."""
        for name in self._lines:
            self._overlays.pop(name, None)
