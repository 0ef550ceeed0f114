"""A timeline on the screen, with lanes that follow the state as those of a viewer's layers do."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_lookagain.colors import behavior_colors
from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.timeline import ClassLane, Lane, ScoreLane, TickLane, Timeline
from napari_lookagain.gui.timeline.canvas import Canvas

BEHAVIORS = ("background", "walk", "groom", "rear")


@pytest.fixture
def unscored(state) -> SessionState:
    """The state of the simulated session after all that was scored in it was taken back."""
    for animal in range(state.session.n_animals):
        state.session.annotations.clear(animal, 0, state.session.n_frames, "simulated truth")
    return state


class Scene:
    """A timeline in a window, and the mouse over it, in frames and lanes."""

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self.corrected = np.zeros((state.session.n_frames, state.session.n_animals), np.uint16)
        self.timeline = Timeline(state)
        self.timeline.resize(1200, 420)
        state.classes_changed.connect(self.show_lanes)
        state.labels_changed.connect(self.show_labels)
        self.timeline.undo_requested.connect(state.undo)
        self.timeline.redo_requested.connect(state.redo)
        self.show_lanes()

    def show_lanes(self) -> None:
        self.corrected[:] = self.state.session.annotations.labels() + 1
        self.timeline.set_lanes(self.lanes())

    def show_labels(self, animal: int, start: int, stop: int) -> None:
        self.corrected[start:stop, animal] = self.state.session.annotations.labels()[start:stop, animal] + 1
        self.timeline.update_lane("corrected", animal, start, stop)

    def lanes(self) -> list[Lane]:
        naming, model = self.state.naming, self.state.discovered
        names = self.state.session.annotations.behaviors
        shades = behavior_colors(names)
        colors = tuple(each.color for each in naming.classes)
        return [
            ClassLane("discovered", "discovered", (naming.label + 1).astype(np.uint16), naming.names, colors),
            ClassLane("corrected", "corrected", self.corrected, names, tuple(shades[name] for name in names)),
            ScoreLane("gate_score", "gate score", model.gate_score),
            TickLane("looked", "looked at", model.looked),
        ]

    @property
    def canvas(self) -> Canvas:
        return self.timeline.findChild(Canvas)

    @property
    def viewport(self):
        return self.canvas.viewport()

    def at(self, frame: float, role: str = "discovered", animal: int = 0) -> QPoint:
        """The point on the screen at a position in frames, in the middle of a lane."""
        canvas = self.canvas
        row = next(row for row in canvas.rows if (row.lane.role, row.animal) == (role, animal))
        start, stop = canvas.span
        origin = canvas.box.mapToScene(0.0, 0.0)
        x = origin.x() + canvas.box.width() * (frame - start) / (stop - start)
        return QPoint(round(x), round(origin.y() + row.top - canvas.top + row.height / 2))

    def ruler(self, frame: float) -> QPoint:
        """The point on the ruler at a position in frames."""
        return QPoint(self.at(frame).x(), 12)

    def drag(self, start: QPoint, stop: QPoint, button=Qt.MouseButton.LeftButton) -> None:
        """Press, move in steps, release."""
        QTest.mousePress(self.viewport, button, pos=start)
        for part in (0.2, 0.6, 1.0):
            QTest.mouseMove(self.viewport, start + (stop - start) * part)
            QTest.qWait(5)
        QTest.mouseRelease(self.viewport, button, pos=stop)

    def key(self, *keys, modifier=Qt.KeyboardModifier.NoModifier) -> None:
        """Press keys in the timeline."""
        for key in keys:
            QTest.keyClick(self.timeline, key, modifier)


@pytest.fixture
def scene(no_leaks, qtbot, unscored) -> Scene:
    """The timeline of a simulated session in which nothing is scored yet; 300 frames of two mice."""
    scene = Scene(unscored)
    qtbot.addWidget(scene.timeline)
    with qtbot.waitExposed(scene.timeline):
        scene.timeline.show()
    scene.timeline.keys = {"1": "walk", "2": "groom", "g": "groom", "0": None}
    return scene
