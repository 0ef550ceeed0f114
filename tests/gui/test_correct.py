"""Correcting in the third step: buttons, keys on the timeline and over the canvas, and while the video plays."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_lookagain.annotations import Annotations
from napari_lookagain.gui.state import Selection

Key = Qt.Key


@pytest.fixture
def panel(review, behaviors, third_scored):
    """The second panel; a model has predicted behaviors, and a person has scored a hundred frames."""
    third_scored.show(behaviors)
    review.tabs.setCurrentIndex(1)
    return review.correct


@pytest.fixture
def state(panel, third_scored):
    return third_scored


@pytest.fixture
def timeline(dock, panel):
    dock.view.timeline.setFocus()
    return dock.view.timeline


def labels(state, start, stop, animal=0) -> set[str | None]:
    """What is scored in some frames."""
    annotations = state.session.annotations
    return {annotations.behaviors[code] if code >= 0 else None for code in annotations.labels()[start:stop, animal]}


def on_disk(state) -> np.ndarray:
    session = state.session
    return Annotations.open(session.path / "annotations", session.n_frames, session.animals).labels()


def rows(panel) -> list[list[str]]:
    table = panel.behaviors
    return [[table.item(row, column).text() for column in (1, 2, 3)] for row in range(table.rowCount())]


def test_behaviors_are_listed_with_their_keys_and_frames(panel, state):
    told = rows(panel)
    assert [row[1] for row in told[:-1]] == [name for name in state.behaviors if name != "background"]
    assert told[-1][:2] == ["0", "background"]
    assert {row[1]: row[0] for row in told} == {name: key for key, name in state.keys.items()}
    assert sum(int(row[2]) for row in told) == 200


def test_marked_frames_are_scored_by_key_and_on_disk_at_once(state, timeline, panel, qtbot):
    state.select(Selection(0, 120, 150))
    QTest.keyClick(timeline, Key.Key_2)
    assert labels(state, 120, 150) == {state.keys["2"]}
    np.testing.assert_array_equal(on_disk(state), state.session.annotations.labels())
    assert (state.predicted.label[120:150, 0] >= 0).any()
    qtbot.waitUntil(lambda: sum(int(row[2]) for row in rows(panel)) == 230)


def test_background_is_not_unscored(state, timeline, panel, click):
    state.select(Selection(0, 120, 150))
    QTest.keyClick(timeline, Key.Key_0)
    assert labels(state, 120, 150) == {"background"}
    click(panel.clear)
    assert labels(state, 120, 150) == {None}


def test_a_new_behavior_is_typed_and_gets_a_key(state, timeline, panel, click):
    state.select(Selection(0, 120, 150))
    panel.behavior.lineEdit().setFocus()
    QTest.keyClicks(panel.behavior.lineEdit(), "rearing")
    click(panel.score)
    assert labels(state, 120, 150) == {"rearing"}
    assert "rearing" in timeline.keys.values()
    assert "rearing" in [row[1] for row in rows(panel)]
    assert "frames 120 to 149" in panel.told.text()


def test_the_bout_in_view_is_scored_where_nothing_is_marked(state, panel, click):
    state.seek(150)
    bout = state.bout_at(0, 150)
    QTest.mouseClick(
        panel.behaviors.viewport(),
        Qt.MouseButton.LeftButton,
        pos=panel.behaviors.visualItemRect(panel.behaviors.item(1, 2)).center(),
    )
    name = rows(panel)[1][1]
    assert panel.behavior.currentText() == name
    click(panel.score)
    assert labels(state, bout.start, bout.stop) == {name}


def test_nothing_to_score_with_is_told(state, panel, click):
    click(panel.score)
    assert "Choose a behavior" in panel.told.text()
    panel.behavior.setCurrentText(" no\tname")
    state.select(Selection(0, 0, 5))
    click(panel.score)
    assert "cannot name a behavior" in panel.message.text.text()


def test_start_and_end_at_the_frame_in_view(state, panel, click):
    state.seek(120)
    click(panel.start)
    state.seek(139)
    click(panel.stop)
    assert state.selection == Selection(0, 120, 140)
    panel.behavior.setCurrentText("walk")
    click(panel.score)
    state.seek(125)
    click(panel.start)
    assert labels(state, 120, 125) == {None}
    assert labels(state, 125, 140) == {"walk"}


def test_the_prediction_is_accepted_by_button_and_by_key(state, timeline, panel, click):
    before = state.predicted.label.copy()
    state.select(Selection(1, 120, 160))
    click(panel.accept)
    expected = {state.predicted.names[code] for code in before[120:160, 1]}
    assert labels(state, 120, 160, animal=1) == expected
    state.select(Selection(0, 120, 160))
    QTest.keyClick(timeline, Key.Key_A)
    assert None not in labels(state, 120, 160)
    np.testing.assert_array_equal(state.predicted.label, before)


def test_a_key_held_while_it_plays_scores_what_goes_by(dock, state, timeline, panel, click, qtbot):
    panel.speed.setCurrentText("4 ×")
    behavior = state.keys["1"]
    state.seek(110)
    timeline.setFocus()
    QTest.keyClick(timeline, Key.Key_Space)
    QTest.keyPress(timeline, Key.Key_1)
    assert f"Scoring {behavior}" in panel.told.text()
    start = state.frame
    qtbot.waitUntil(lambda: state.frame > 180, timeout=10_000)
    np.testing.assert_array_equal(on_disk(state), state.session.annotations.labels())
    QTest.keyRelease(timeline, Key.Key_1)
    end = state.frame
    QTest.keyClick(timeline, Key.Key_Space)
    assert not timeline.player.is_playing
    assert labels(state, start, end + 1) == {behavior}
    assert labels(state, end + 1, 300) == {None}
    assert panel.told.text() == ""
    QTest.keyClick(timeline, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert labels(state, 110, 300) == {None}


def test_from_press_to_press_is_an_option(dock, state, timeline, panel):
    panel.mode.setCurrentIndex(1)
    state.seek(110)
    QTest.keyClick(timeline, Key.Key_1)
    for frame in range(111, 131):
        state.seek(frame)
    QTest.keyClick(timeline, Key.Key_1)
    state.seek(140)
    assert labels(state, 110, 131) == {state.keys["1"]}
    assert labels(state, 131, 141) == {None}


def test_escape_ends_it_and_scores_no_bout(dock, state, timeline, panel):
    panel.mode.setCurrentIndex(1)
    state.seek(110)
    QTest.keyClick(timeline, Key.Key_1)
    QTest.keyClick(timeline, Key.Key_Escape)
    state.seek(130)
    assert labels(state, 100, 300) == {None}
    assert panel.told.text() == ""


def test_a_held_key_ends_when_the_keyboard_goes_elsewhere(dock, state, timeline, panel):
    state.seek(110)
    QTest.keyPress(timeline, Key.Key_1)
    state.seek(120)
    panel.rater.setFocus()
    assert dock.view.reviewer.recorder.behavior == ""
    state.seek(130)
    assert labels(state, 110, 121) == {state.keys["1"]}
    assert labels(state, 121, 131) == {None}


def test_keys_over_the_canvas_record_too(viewer, dock, state, timeline):
    canvas = viewer.window._qt_viewer.canvas.native
    viewer.layers.selection.active = dock.view.layers.get("video")
    state.seek(110)
    QTest.keyPress(canvas, Key.Key_1)
    for frame in range(111, 121):
        state.seek(frame)
    QTest.keyRelease(canvas, Key.Key_1)
    state.seek(130)
    assert labels(state, 110, 121) == {state.keys["1"]}
    assert labels(state, 121, 131) == {None}


def test_bouts_are_walked_by_button_and_key(state, timeline, panel, click):
    state.seek(150)
    click(panel.next)
    first = state.selection
    QTest.keyClick(timeline, Key.Key_Period)
    assert state.selection.start > first.start
    QTest.keyClick(timeline, Key.Key_Comma)
    assert state.selection == first
    click(panel.previous)
    assert state.selection.start < first.start


def test_each_rater_is_kept(state, timeline, panel):
    panel.rater.setFocus()
    panel.rater.selectAll()
    QTest.keyClicks(panel.rater, "eve")
    timeline.setFocus()
    state.select(Selection(0, 10, 20))
    QTest.keyClick(timeline, Key.Key_2)
    annotations = state.session.annotations
    assert annotations.raters == ("simulated truth", "eve")
    QTest.keyClick(timeline, Key.Key_Delete)
    assert None not in labels(state, 10, 20)
    panel.rater.setFocus()
    panel.rater.selectAll()
    QTest.keyClick(panel.rater, Key.Key_Backspace)
    timeline.setFocus()
    assert state.rater == "user"


def test_a_behavior_is_renamed_in_place(state, panel, timeline):
    old = rows(panel)[0][1]
    table = panel.behaviors
    place = table.visualItemRect(table.item(0, 2)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    [editor] = [editor for editor in table.viewport().findChildren(QLineEdit) if editor.isVisible()]
    editor.selectAll()
    QTest.keyClicks(editor, "trot")
    QTest.keyClick(editor, Key.Key_Return)
    QApplication.processEvents()
    assert "trot" in state.session.annotations.behaviors
    assert old not in state.session.annotations.behaviors
    assert "trot" in timeline.keys.values()
    state.undo()
    assert old in state.session.annotations.behaviors
