"""The first step: session folders opened, sessions made of files, and what is said when that cannot be done."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_lookagain.gui.session import new_session, session_step
from napari_lookagain.gui.session.recent import recent_sessions
from napari_lookagain.gui.state import Selection
from napari_lookagain.session import load_session


@pytest.fixture
def step(dock):
    """The step in its dock, in a viewer on the screen."""
    return dock.session_step


def drop(widget, *paths):
    """Drag files over a widget and let go."""
    from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    carried = QMimeData()
    carried.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    how = (Qt.DropAction.CopyAction, carried, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    entering = QDragEnterEvent(QPoint(20, 20), *how)
    QApplication.sendEvent(widget.viewport(), entering)
    assert entering.isAccepted()
    QApplication.sendEvent(widget.viewport(), QDropEvent(QPointF(20, 20), *how))


def wait_for_session(qtbot, dock, recording):
    qtbot.waitUntil(lambda: dock.view is not None and dock.view.state.session.recording == recording, timeout=10_000)


def test_a_session_folder_is_opened_and_remembered(qtbot, viewer, dock, step, click, session, monkeypatch):
    monkeypatch.setattr(session_step, "ask_folder", lambda *_: session.path)
    click(step.open)
    wait_for_session(qtbot, dock, "mice")
    assert {layer.metadata["lookagain"]["role"] for layer in viewer.layers} >= {"video", "keypoints", "corrected"}
    assert "300 frames at 25 per second" in step.about.text()
    assert recent_sessions() == [session.path]
    step.recent.menu().aboutToShow.emit()
    assert [action.text() for action in step.recent.menu().actions()] == ["mice"]


def test_a_recent_session_is_opened_from_the_menu_and_replaces_the_one_before(qtbot, viewer, dock, step, session):
    other = load_session(shutil.copytree(session.path, session.path.with_name("other.lookagain")))
    for opened in (session, other):
        dock.open(opened)
    n_layers = len(viewer.layers)
    step.recent.menu().aboutToShow.emit()
    actions = step.recent.menu().actions()
    assert [action.text() for action in actions] == ["other", "mice"]
    actions[1].trigger()
    qtbot.waitUntil(lambda: dock.view.state.session.path == session.path, timeout=10_000)
    assert len(viewer.layers) == n_layers


def test_recent_sessions_that_are_gone_are_left_out(dock, step, session):
    dock.open(session)
    shutil.rmtree(session.path)
    step.recent.menu().aboutToShow.emit()
    assert [action.text() for action in step.recent.menu().actions()] == ["None yet"]


def test_a_dropped_session_folder_is_opened(qtbot, dock, session):
    drop(dock, session.path)
    wait_for_session(qtbot, dock, "mice")


def test_what_is_no_session_is_one_sentence_to_copy(qtbot, dock, step, click, tmp_path):
    from qtpy.QtWidgets import QApplication

    drop(dock, tmp_path)
    qtbot.waitUntil(step.panel.message.isVisible)
    assert "is no session folder" in step.panel.message.text.text()
    click(step.panel.message.copy)
    assert "Traceback" in QApplication.clipboard().text()
    assert dock.view is None


def test_files_become_a_session_that_was_confirmed_and_mended(
    qtbot, dock, step, click, simulated, tmp_path, monkeypatch
):
    click(step.new)
    drop(dock, simulated.video, simulated.pose)
    qtbot.waitUntil(step.form.save.isEnabled, timeout=20_000)
    told = step.form.recognized.text()
    assert "300 frames at 25 per second" in told
    assert "2 animals: mouse1, mouse2" in told
    assert "pose by DeepLabCut, video of 240×180" in told
    assert (step.form.rear.currentText(), step.form.front.currentText()) == ("tailbase", "nose")
    qtbot.keyClicks(step.form.name, "my mice")
    step.form.rear.setCurrentText("center")
    asked = []
    monkeypatch.setattr(new_session, "ask_new_file", lambda *given: asked.append(given[2]) or tmp_path / "my.lookagain")
    click(step.form.save)
    wait_for_session(qtbot, dock, "my mice")
    assert asked == [simulated.video.with_name("my mice.lookagain")]
    saved = load_session(tmp_path / "my.lookagain")
    assert (saved.recording, saved.heading) == ("my mice", ("center", "nose"))
    assert not step.form.isVisible()


def test_a_video_alone_becomes_a_session_that_is_scored_by_keys(
    qtbot, viewer, dock, step, click, simulated, tmp_path, monkeypatch
):
    from qtpy.QtCore import Qt

    drop(dock, simulated.video)
    qtbot.waitUntil(step.form.save.isEnabled, timeout=20_000)
    assert "no keypoints, video of 240×180\nChoose its pose file, too; or save it" in step.form.recognized.text()
    assert not step.form.rear.isEnabled()
    monkeypatch.setattr(new_session, "ask_new_file", lambda *_: tmp_path / "watched.lookagain")
    click(step.form.save)
    wait_for_session(qtbot, dock, simulated.video.stem)
    state = dock.view.state
    state.assign(Selection(0, 0, 10), "walk")
    state.seek(100)
    qtbot.keyPress(dock.view.timeline, Qt.Key.Key_1)
    state.seek(120)
    qtbot.keyRelease(dock.view.timeline, Qt.Key.Key_1)
    scored = [(bout.behavior, bout.start, bout.stop) for bout in load_session(state.session.path).annotations.bouts()]
    assert scored == [("walk", 0, 10), ("walk", 100, 121)]


def test_with_no_file_left_the_form_asks_for_one(qtbot, dock, step, simulated):
    drop(dock, simulated.video)
    qtbot.waitUntil(step.form.save.isEnabled, timeout=20_000)
    step.form.video.set_path(None)
    assert not step.form.save.isEnabled()
    assert step.form.recognized.text().startswith("Choose a video, the pose file")


def test_numbers_without_a_header_are_named(qtbot, dock, step, tmp_path):
    pose = tmp_path / "numbers.csv"
    np.savetxt(pose, np.random.default_rng(0).uniform(10, 90, (50, 6)), delimiter=",", fmt="%.2f")
    drop(dock, pose)
    message = step.panel.message
    qtbot.waitUntil(message.isVisible, timeout=20_000)
    assert "6 columns of numbers without names" in message.text.text()
    assert "--" not in message.text.text()
    assert not step.form.save.isEnabled()
    type_into(qtbot, step.form.keypoints, "nose, middle, tail")
    qtbot.waitUntil(lambda: "frame rate" in message.text.text(), timeout=20_000)
    step.form.fps.setValue(30)
    type_into(qtbot, step.form.keypoints, "")
    qtbot.waitUntil(step.form.save.isEnabled, timeout=20_000)
    assert "50 frames at 30 per second" in step.form.recognized.text()
    assert "3 keypoints: nose, middle, tail" in step.form.recognized.text()
    assert step.form.front.currentText() == "nose"


def type_into(qtbot, field, text):
    from qtpy.QtCore import Qt

    field.setFocus()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def test_a_video_of_other_length_is_noted(qtbot, dock, step, simulated, tmp_path):
    rows = simulated.pose.read_text("utf-8").splitlines(keepends=True)
    shorter = tmp_path / "shorter.csv"
    shorter.write_text("".join(rows[:-1]), "utf-8")
    drop(dock, shorter, simulated.video)
    qtbot.waitUntil(step.form.save.isEnabled, timeout=20_000)
    assert "299 frames and the video 300" in step.panel.message.text.text()


def test_a_cancelled_save_keeps_the_form(qtbot, dock, step, click, simulated, monkeypatch):
    drop(dock, simulated.pose, simulated.video)
    qtbot.waitUntil(step.form.save.isEnabled, timeout=20_000)
    monkeypatch.setattr(new_session, "ask_new_file", lambda *_: None)
    click(step.form.save)
    assert step.form.isVisible()
    assert dock.view is None


@pytest.fixture
def moved(session) -> Path:
    """The video of the session, which is no longer where it was."""
    there = Path(session.video.path)
    here = session.path.with_name("moved.mp4")
    shutil.copy(there, here)
    there = session.path.with_name("gone.mp4")
    shutil.copy(here, there)
    session.relocate_video(there)
    there.unlink()
    return here


def test_a_video_that_was_moved_is_found(qtbot, viewer, dock, step, click, session, moved, monkeypatch):
    drop(dock, session.path)
    qtbot.waitUntil(step.find.isVisible, timeout=10_000)
    assert dock.view is None
    monkeypatch.setattr(session_step, "ask_file", lambda *_: session.path / "session.json")
    click(step.find)
    assert "is not the video this session was made with" in step.panel.message.text.text()
    monkeypatch.setattr(session_step, "ask_file", lambda *_: moved)
    click(step.find)
    wait_for_session(qtbot, dock, "mice")
    assert not step.find.isVisible()
    assert load_session(session.path).video.path == str(moved)


def test_a_session_is_opened_without_its_video(qtbot, viewer, dock, step, click, session, moved):
    drop(dock, session.path)
    qtbot.waitUntil(step.without.isVisible, timeout=10_000)
    click(step.without)
    wait_for_session(qtbot, dock, "mice")
    assert "video" not in {layer.metadata["lookagain"]["role"] for layer in viewer.layers}
