"""The timeline under real clicks, wheels and keys."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QPalette, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QWidget

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.gui.state import Selection
from napari_lookagain.gui.timeline import Timeline
from napari_lookagain.gui.timeline.bar import Bar
from napari_lookagain.gui.timeline.legend import Legend

Key, Button, Modifier = Qt.Key, Qt.MouseButton, Qt.KeyboardModifier


class Window(QWidget):
    """Notes the keys that its content leaves to it."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[int] = []

    def keyPressEvent(self, event) -> None:
        self.keys.append(event.key())


def turn(scene, at: QPoint, notches: int, modifier=Modifier.NoModifier) -> None:
    """Turn the wheel at a point of the canvas."""
    event = QWheelEvent(
        QPointF(at),
        QPointF(scene.viewport.mapToGlobal(at)),
        QPoint(),
        QPoint(0, 120 * notches),
        Button.NoButton,
        modifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(scene.viewport, event)


def told(scene) -> str:
    return scene.timeline.findChild(Bar).told


def press(scene, name: str) -> None:
    button = next(button for button in scene.timeline.findChildren(QAbstractButton) if button.text() == name)
    QTest.mouseClick(button, Button.LeftButton)


def test_click_goes_to_the_frame(scene):
    QTest.mouseClick(scene.viewport, Button.LeftButton, pos=scene.at(123.5))
    assert scene.state.frame == 123
    QTest.mouseClick(scene.viewport, Button.LeftButton, pos=scene.ruler(40.5))
    assert scene.state.frame == 40


def test_click_makes_an_animal_the_one_that_keys_act_on(scene):
    scene.state.select(Selection(0, 10, 20))
    QTest.mouseClick(scene.viewport, Button.LeftButton, pos=scene.at(50, animal=1))
    assert scene.timeline.active_animal == 1
    assert scene.state.selection is None
    scene.key(Key.Key_Up)
    assert scene.timeline.active_animal == 0


def test_wheel_keeps_the_frame_under_the_mouse(scene):
    place = scene.at(100)
    before = scene.canvas.spot(QPointF(place)).position
    turn(scene, place, 5)
    start, stop = scene.timeline.span
    assert stop - start == pytest.approx(300 * 0.8**5)
    assert scene.canvas.spot(QPointF(place)).position == pytest.approx(before, abs=1e-6)
    turn(scene, place, -50)
    assert scene.timeline.span == pytest.approx((0, 300))


def test_fit_and_keys_that_zoom(scene):
    scene.state.seek(150)
    scene.key(Key.Key_Plus)
    assert scene.timeline.span == pytest.approx((60.2, 240.2))
    scene.key(Key.Key_F)
    assert scene.timeline.span == pytest.approx((0, 300))
    scene.key(Key.Key_Plus, Key.Key_Minus)
    press(scene, "Fit")
    assert scene.timeline.span == pytest.approx((0, 300))


@pytest.mark.parametrize("button", [Button.LeftButton, Button.MiddleButton])
def test_drag_pans(scene, button):
    scene.timeline.show_span(100, 200)
    place = scene.ruler if button == Button.LeftButton else scene.at
    scene.drag(place(150), place(120), button)
    assert scene.timeline.span == pytest.approx((130, 230), abs=0.2)
    assert scene.state.frame == 0
    assert scene.state.selection is None


def test_shift_and_wheel_pan(scene):
    scene.timeline.show_span(100, 200)
    turn(scene, scene.at(150), -1, Modifier.ShiftModifier)
    assert scene.timeline.span == pytest.approx((110, 210))


def test_cursor_is_kept_in_view_while_following(scene):
    scene.timeline.show_span(0, 100)
    scene.state.seek(100)
    assert scene.timeline.span == pytest.approx((90, 190))
    scene.state.seek(89)
    assert scene.timeline.span == pytest.approx((0, 100), abs=1)
    press(scene, "Follow")
    scene.state.seek(250)
    assert scene.timeline.span == pytest.approx((0, 100), abs=1)


def test_brush_marks_frames(scene):
    scene.drag(scene.at(80.5, animal=1), scene.at(60.5, animal=1))
    assert scene.state.selection == Selection(1, 60, 81)
    assert scene.timeline.active_animal == 1
    assert told(scene).startswith("Marked 21 frames")
    scene.key(Key.Key_Escape)
    assert scene.state.selection is None


def test_double_click_takes_the_bout_of_the_lane(scene):
    QTest.mouseDClick(scene.viewport, Button.LeftButton, pos=scene.at(70))
    assert scene.state.selection == Selection(0, 60, 90)
    scene.state.assign(Selection(0, 65, 75), "walk")
    QTest.mouseDClick(scene.viewport, Button.LeftButton, pos=scene.at(70, "corrected"))
    assert scene.state.selection == Selection(0, 65, 75)
    QTest.mouseDClick(scene.viewport, Button.LeftButton, pos=scene.at(70, "gate_score"))
    assert scene.state.selection == Selection(0, 65, 75), "what a person scored counts before all else"


def test_enter_takes_the_bout_at_the_cursor(scene):
    scene.state.predicted = None
    scene.state.seek(100)
    scene.key(Key.Key_Return)
    assert scene.state.selection == Selection(0, 90, 120)


def test_key_assigns_and_is_on_disk(scene):
    session = scene.state.session
    scene.drag(scene.at(10.5), scene.at(29.5))
    scene.key(Key.Key_2)
    stored = Annotations.open(session.path / "annotations", session.n_frames, session.animals)
    expected = np.full(session.n_frames, "", object)
    expected[10:30] = "groom"
    names = np.array([*stored.behaviors, ""], object)
    assert (names[stored.labels()[:, 0]] == expected).all()
    assert (stored.labels()[:, 1] == -1).all()
    assert told(scene).startswith("groom: frames 10 to 29.")
    assert scene.corrected[10:30, 0].all()


def test_key_without_marked_frames_assigns_nothing_but_is_told(scene):
    heard = []
    scene.timeline.key_pressed.connect(lambda key: heard.append(("down", key)))
    scene.timeline.key_released.connect(lambda key: heard.append(("up", key)))
    scene.key(Key.Key_G)
    assert heard == [("down", "g"), ("up", "g")]
    assert (scene.state.session.annotations.labels() == -1).all()


def test_delete_makes_frames_unscored(scene):
    scene.state.assign(Selection(0, 10, 40), "walk")
    scene.state.select(Selection(0, 20, 30))
    scene.key(Key.Key_Delete)
    assert scored(scene) == [(10, 20, "walk"), (30, 40, "walk")]
    scene.state.select(Selection(0, 10, 20))
    scene.key(Key.Key_0)
    assert scored(scene) == [(30, 40, "walk")]


def test_edge_is_dragged(scene):
    scene.state.assign(Selection(0, 60, 120), "walk")
    scene.drag(scene.at(120, "corrected") + QPoint(3, 0), scene.at(150, "corrected") + QPoint(3, 0))
    assert scored(scene) == [(60, 150, "walk")]
    scene.drag(scene.at(60, "corrected"), scene.at(90, "corrected"))
    assert scored(scene) == [(90, 150, "walk")]
    scene.drag(scene.at(150, "corrected"), scene.at(10, "corrected"))
    assert scored(scene) == [(90, 91, "walk")], "a frame is left"
    assert scene.state.selection is None


def test_edge_shows_where_it_can_be_taken(scene):
    scene.state.assign(Selection(0, 60, 120), "walk")
    QTest.mouseMove(scene.viewport, scene.at(90, "corrected"))
    QTest.mouseMove(scene.viewport, scene.at(120, "corrected"))
    QTest.qWait(20)
    assert scene.viewport.cursor().shape() == Qt.CursorShape.SplitHCursor
    QTest.mouseMove(scene.viewport, scene.at(120, "discovered"))
    QTest.qWait(20)
    assert scene.viewport.cursor().shape() == Qt.CursorShape.ArrowCursor


def test_brackets_bound_what_is_marked(scene):
    scene.state.seek(50)
    scene.key(Key.Key_BracketLeft)
    assert scene.state.selection == Selection(0, 50, 51)
    scene.state.seek(70)
    scene.key(Key.Key_BracketRight)
    assert scene.state.selection == Selection(0, 50, 71)
    assert scored(scene) == []


def test_brackets_move_the_ends_of_a_marked_bout(scene):
    scene.state.assign(Selection(0, 60, 120), "walk")
    scene.state.select(Selection(0, 60, 120))
    scene.state.seek(80)
    scene.key(Key.Key_BracketLeft)
    scene.state.seek(140)
    scene.key(Key.Key_BracketRight)
    assert scored(scene) == [(80, 141, "walk")]
    assert scene.state.selection == Selection(0, 80, 141)


def test_undo_and_redo(scene):
    scene.state.select(Selection(0, 10, 20))
    scene.key(Key.Key_1)
    scene.key(Key.Key_Z, modifier=Modifier.ControlModifier)
    assert scored(scene) == []
    assert not scene.corrected.any()
    scene.key(Key.Key_Z, modifier=Modifier.ControlModifier | Modifier.ShiftModifier)
    assert scored(scene) == [(10, 20, "walk")]
    press(scene, "Undo")
    assert scored(scene) == []
    press(scene, "Redo")
    assert scored(scene) == [(10, 20, "walk")]


def test_arrows_step(scene):
    scene.key(Key.Key_Right, Key.Key_Right, Key.Key_Left)
    assert scene.state.frame == 1
    scene.key(Key.Key_End)
    assert scene.state.frame == 299
    scene.key(Key.Key_Left, modifier=Modifier.ShiftModifier)
    assert scene.state.frame == 299 - round(scene.state.session.fps)
    scene.key(Key.Key_Home)
    assert scene.state.frame == 0


def test_keys_without_a_meaning_are_left_to_the_window(scene, qtbot):
    window = Window()
    qtbot.addWidget(window)
    scene.timeline.setParent(window)
    window.show()
    scene.key(Key.Key_Q, Key.Key_F)
    assert window.keys == [Key.Key_Q]
    scene.timeline.setParent(None)


def test_deleted_timeline_listens_no_more(no_leaks, qapp, unscored):
    timeline = Timeline(unscored)
    assert len(unscored.frame_changed) == 1
    timeline.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert len(unscored.frame_changed) == 0


def test_why_an_edit_could_not_be_made(scene, monkeypatch):
    def fail(*_, **__):
        raise InputError("The edit is not made: the disk is full.")

    monkeypatch.setattr(scene.state.session.annotations, "assign", fail)
    scene.state.select(Selection(0, 10, 20))
    scene.key(Key.Key_1)
    assert told(scene) == "The edit is not made: the disk is full."


def test_hover_says_what_is_there(scene):
    QTest.mouseMove(scene.viewport, scene.at(40))
    QTest.mouseMove(scene.viewport, scene.at(68.5))
    QTest.qWait(20)
    assert "frame 68" in told(scene)
    assert "discovered: cluster 3 (frames 60 to 89, " in told(scene)
    QTest.mouseMove(scene.viewport, scene.at(68.5, "gate_score"))
    QTest.qWait(20)
    assert "gate score 0." in told(scene)
    assert "looked at" in told(scene)


def test_gate_terms_on_demand(scene):
    press(scene, "Gate terms")
    assert {row.lane.role for row in scene.canvas.rows} >= {"reliability", "saliency", "semantics"}
    press(scene, "Gate terms")
    assert "reliability" not in {row.lane.role for row in scene.canvas.rows}


def test_legend_names_classes_and_their_keys(scene):
    scene.state.assign(Selection(0, 10, 20), "walk")
    text = scene.timeline.findChild(Legend).text().replace("&nbsp;", " ")
    assert "cluster 4" in text
    assert "walk [1]" in text


def test_without_lanes_it_says_what_to_do(scene):
    scene.timeline.set_lanes([])
    assert not scene.canvas.isVisible()
    assert scene.timeline.findChild(Legend).isHidden()
    scene.show_lanes()
    assert scene.canvas.isVisible()


def test_rows_that_do_not_fit_are_scrolled(scene):
    scene.timeline.resize(1200, 260)
    press(scene, "Gate terms")
    QTest.qWait(20)
    assert scene.canvas.hidden > 0
    turn(scene, QPoint(20, 100), -1)
    assert scene.canvas.top == min(40, scene.canvas.hidden)
    turn(scene, scene.at(100), 50, Modifier.AltModifier)
    assert scene.canvas.top == 0
    scene.timeline.resize(1200, 200)
    QTest.qWait(20)
    scene.key(Key.Key_Down)
    assert scene.canvas.top > 0, "the other animal was out of view"


def test_colors_follow_the_theme(scene):
    palette = QPalette()
    palette.setColor(QPalette.ColorRole.Window, QColor("#102030"))
    palette.setColor(QPalette.ColorRole.WindowText, QColor("#f0f0f0"))
    scene.timeline.setPalette(palette)
    assert scene.canvas.backgroundBrush().color().name() == "#102030"


def test_other_classes_fade(scene):
    place = scene.viewport.mapTo(scene.timeline, scene.at(45, "discovered"))  # of cluster 2

    def color() -> QColor:
        QTest.qWait(20)
        return scene.timeline.grab().toImage().pixelColor(place + QPoint(20, 10))

    full = color()
    scene.timeline.emphasize("discovered", 0)
    assert color().saturation() < full.saturation()
    scene.timeline.emphasize("discovered", 1)
    assert color() == full


def scored(scene) -> list[tuple[int, int, str]]:
    return [(b.start, b.stop, b.behavior) for b in scene.state.session.annotations.bouts() if b.animal == 0]
