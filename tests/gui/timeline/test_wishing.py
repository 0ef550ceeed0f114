"""Pins and mutes on the timeline: real keys and clicks, on disk at once, told, and marked where they hold."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QContextMenuEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMenu

from napari_lookagain.errors import InputError
from napari_lookagain.gui.state import Selection, SessionState
from napari_lookagain.gui.timeline import ClassLane, ScoreLane
from napari_lookagain.gui.timeline.bar import Bar
from napari_lookagain.gui.timeline.rows import rows_of
from napari_lookagain.gui.timeline.sums import Columns
from napari_lookagain.gui.timeline.wish_marks import draw_wishes, spans_of
from napari_lookagain.gui.timeline.wishing import why_not
from napari_lookagain.looks import LookWishes, Wish, keep_wishes, wishes_of

Key, Shift = Qt.Key, Qt.KeyboardModifier.ShiftModifier


def told(scene) -> str:
    return scene.timeline.findChild(Bar).told


def stored(scene) -> dict[str, list[str]]:
    return wishes_of(scene.state.session).told()


@pytest.fixture
def wait_for_menu(qtbot):
    """Wait for the menu that was asked for."""

    def act() -> QMenu:
        qtbot.waitUntil(lambda: isinstance(QApplication.activePopupWidget(), QMenu))
        return QApplication.activePopupWidget()

    return act


@pytest.fixture
def right_click(wait_for_menu):
    """Ask for the menu at a point of the canvas."""

    def act(scene, at: QPoint) -> QMenu:
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, scene.viewport.mapToGlobal(at))
        QApplication.sendEvent(scene.viewport, event)
        return wait_for_menu()

    return act


def choose(menu: QMenu, text: str) -> None:
    action = next(action for action in menu.actions() if action.text().startswith(text))
    QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())


def test_keys_pin_mute_and_release_what_is_marked(scene):
    scene.drag(scene.at(20.5, animal=1), scene.at(59.5, animal=1))
    scene.key(Key.Key_L)
    assert stored(scene) == {"pinned": ["20-60 of mouse2"], "muted": []}
    assert told(scene) == (
        "Always looked at: frames 20 to 59 of mouse2, from the next run or Look again on. G takes it back."
    )
    scene.drag(scene.at(40.5), scene.at(79.5))
    scene.key("N", modifier=Shift)
    assert stored(scene) == {"pinned": ["20-40 of mouse2"], "muted": ["40-80"]}, "the later wish holds"
    assert "frames 40 to 79 of all animals" in told(scene)
    scene.state.select(Selection(0, 50, 300))
    scene.key(Key.Key_G)
    assert told(scene).startswith("groom:"), "keys of behaviors come first"
    scene.timeline.keys = {}
    scene.key(Key.Key_G)
    assert stored(scene) == {"pinned": ["20-40 of mouse2"], "muted": ["40-50", "50-80 of mouse2"]}


def test_what_the_command_line_said_meanwhile_stays(state):
    keep_wishes(state.session, wishes_of(state.session).mute(200, 210))
    state.wish("pin", Selection(0, 10, 20))
    assert state.wishes.told() == {"pinned": ["10-20 of mouse1"], "muted": ["200-210"]}


def test_the_menu_speaks_of_what_is_marked(scene, right_click):
    scene.state.select(Selection(0, 10, 20))
    menu = right_click(scene, scene.at(200))
    texts = [action.text() for action in menu.actions() if not action.isSeparator()]
    assert texts[0] == "Always look at frames 10 to 19 of mouse1\tL"
    assert texts[5] == "Look at frames 10 to 19 of all animals where the gate wants\tShift+G"
    choose(menu, "Never look at frames 10 to 19 of mouse1")
    assert stored(scene)["muted"] == ["10-20 of mouse1"]
    assert scene.state.selection == Selection(0, 10, 20)


def test_the_menu_marks_what_is_under_the_mouse(scene, right_click):
    menu = right_click(scene, scene.at(70, animal=1))
    assert scene.state.selection == Selection(1, 60, 90), "a bout"
    choose(menu, "Always look at")
    scene.key(Key.Key_Escape)
    scene.state.wish("mute", Selection(1, 80, 200))
    choose(right_click(scene, scene.at(100, "gate_score", animal=1)), "Look at frames 80 to 199 of mouse2 where")
    assert stored(scene) == {"pinned": ["60-80 of mouse2"], "muted": []}


def test_why_nothing_can_be_wanted(scene, wait_for_menu, untracked):
    event = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, QPoint(5, 5), scene.timeline.mapToGlobal(QPoint(5, 5)))
    for path, reason in ((scene.state.session.path, "Mark frames first"), (None, "in memory only; save it first")):
        scene.state.session.path = path
        QApplication.sendEvent(scene.timeline, event)
        menu = wait_for_menu()
        assert menu.toolTipsVisible()
        for action in menu.actions():
            assert action.isSeparator() or (not action.isEnabled() and reason in action.toolTip())
        QTest.keyClick(menu, Key.Key_Escape)
    scene.key(Key.Key_L)
    assert "in memory only; save it first" in told(scene)
    assert scene.state.wishes.wishes == ()
    assert "has no gate" in why_not(untracked)
    scene.state.session.video = None
    assert "no video to look at" in why_not(scene.state.session)


def test_marks_show_where_wishes_hold(scene):
    scene.timeline.show_span(0, 300)

    def pixels(frame: float, animal: int = 0) -> set[str]:
        QTest.qWait(20)
        x = scene.viewport.mapTo(scene.timeline, scene.at(frame, "gate_score", animal)).x()
        row = next(row for row in scene.canvas.rows if (row.lane.role, row.animal) == ("gate_score", animal))
        top = scene.viewport.mapTo(scene.timeline, scene.at(frame, "gate_score", animal)).y() - row.height // 2
        image = scene.timeline.grab().toImage()
        return {image.pixelColor(x + i, top + j).name() for i in range(9) for j in range(row.height)}

    before = pixels(100), pixels(200), pixels(100, 1)
    scene.state.wish("pin", Selection(0, 80, 140))
    scene.state.wish("mute", Selection(0, 180, 240))
    assert "#00876c" in pixels(100) - before[0]
    assert len(pixels(200) - before[1]) >= 2, "cover and hatch"
    assert pixels(100, 1) == before[2]
    QTest.mouseMove(scene.viewport, scene.at(40))
    QTest.mouseMove(scene.viewport, scene.at(200))
    QTest.qWait(20)
    assert told(scene).endswith("never looked at")
    scene.state.wish(None, Selection(0, 0, 300))
    assert (pixels(100), pixels(200)) == before[:2]


def test_marks_of_single_frames_are_seen_in_a_long_recording():
    picture = np.full((10, 100), 0xFFFFFFFF, np.uint32)
    colors = np.array([0.0, 255, 0]), np.array([0.0, 0, 0])
    spans = [Wish("pin", 500_000, 500_001), Wish("mute", 900_000, 900_001)]
    draw_wishes(picture, spans, Columns(0, 1_000_000, 100, 1_000_000), colors)
    assert (picture[:, 50:52] == 0xFF00FF00).all()
    assert (picture[:, 90:92] != 0xFFFFFFFF).all()
    assert (np.delete(picture, [50, 51, 90, 91], axis=1) == 0xFFFFFFFF).all()


def test_marks_hold_without_overlap():
    wishes = LookWishes(100, ("mouse1", "mouse2")).pin(10, 30).mute(20, 25, "mouse1")
    assert spans_of(wishes) == [
        [Wish("pin", 10, 20, "mouse1"), Wish("mute", 20, 25, "mouse1"), Wish("pin", 25, 30, "mouse1")],
        [Wish("pin", 10, 30, "mouse2")],
    ]


def test_marks_have_one_row_of_an_animal():
    lanes = [ClassLane("corrected", "", np.zeros((9, 1), np.uint16), (), ())]
    lanes.append(ScoreLane("gate_score", "", np.zeros((9, 1), np.float32)))
    assert [row.wished for row in rows_of(lanes, 2, 400, {})] == [False, True, False, True]
    assert [row.wished for row in rows_of(lanes[:1], 1, 400, {})] == [True]


def test_damaged_wishes_are_told_when_the_session_is_opened(session):
    (session.path / "looks.json").write_text("nonsense")
    with pytest.raises(InputError, match=r"looks.json is damaged"):
        SessionState(session)
