"""The dock: its steps in order, and what becomes of work when it or the window closes."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from napari_lookagain.annotations import USER
from napari_lookagain.gui.jobs.jobs import Job
from napari_lookagain.gui.present import SessionView
from napari_lookagain.gui.state import Selection
from napari_lookagain.progress import Progress
from napari_lookagain.session import load_session


class Endless:
    """Work that never ends by itself, and says when it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __call__(self):
        try:
            for i in range(1_000_000):
                time.sleep(0.01)
                yield Progress(i, 1_000_000, "working")
        finally:
            self.closed.set()


@pytest.fixture
def working(qtbot, dock, session):
    """A dock with a session, in which a long job runs."""
    dock.open(session)
    work = Endless()
    told = []
    job = Job("Running gated segmentation", work, alone=True)
    job.told.connect(told.append)
    dock.jobs.start(job)
    qtbot.waitUntil(lambda: bool(told))
    return work


@pytest.fixture
def answer(qtbot):
    """Click a button of the next question by its text; gives the list that the question is put into."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QMessageBox

    timers = []

    def prepare(text) -> list[str]:
        asked = []

        def look() -> None:
            box = QApplication.activeModalWidget()
            if isinstance(box, QMessageBox):
                timer.stop()
                asked.append(box.text())
                next(button for button in box.buttons() if button.text() == text).click()

        timer = QTimer(interval=20)
        timer.timeout.connect(look)
        timer.start()
        timers.append(timer)
        return asked

    yield prepare
    for timer in timers:
        timer.stop()


def test_steps_say_why_they_wait(dock, session, qtbot):
    from qtpy.QtCore import Qt

    assert [step.is_open for step in dock.steps] == [True, False, False, False]
    for step in dock.steps[1:]:
        qtbot.mouseClick(step.header, Qt.MouseButton.LeftButton)
        assert step.reason.isVisible()
        assert "Open a session first" in step.reason.text()
        assert not step.body.isEnabled()
    dock.open(session)
    for step in dock.steps:
        assert step.body.isEnabled()
        assert not step.reason.isVisible()
    assert "mice" in dock.steps[0].header.text()


def test_there_is_nothing_to_write_before_anything_is_found(dock, simulated, tmp_path):
    from napari_lookagain.session import new_session

    bare = new_session(simulated.pose, simulated.video)
    bare.save(tmp_path / "bare.lookagain")
    dock.open(bare)
    assert not dock.export_step.isEnabled()
    assert "nothing to write yet" in dock.steps[3].reason.text()
    dock.view.state.assign(Selection(0, 10, 20), "sniffing")
    assert dock.export_step.isEnabled()


def test_every_control_can_be_reached_and_explains_itself(dock, session):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider, QTabBar, QTableView

    dock.open(session)
    whole = [
        widget for kind in (QComboBox, QAbstractSpinBox, QTabBar, QTableView) for widget in dock.findChildren(kind)
    ]
    for kind in (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider):
        for control in dock.findChildren(kind):
            if control.parent() not in whole:  # else it is a part that Qt has put there
                assert control.toolTip(), control
                assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


def test_steps_unfold_by_the_keyboard(qtbot, dock):
    from qtpy.QtCore import Qt

    header = dock.steps[1].header
    header.setFocus()
    qtbot.keyClick(header, Qt.Key.Key_Space)
    assert dock.steps[1].is_open
    qtbot.keyClick(header, Qt.Key.Key_Space)
    assert not dock.steps[1].is_open


def test_the_dock_finds_the_session_that_is_in_the_viewer(qtbot, viewer, session):
    from napari_lookagain.gui.present import open_in_viewer

    view = open_in_viewer(viewer, session)  # opens the dock
    dock = next(widget for widget in viewer.window.dock_widgets.values() if hasattr(widget, "session_step"))
    assert dock.view is view
    assert SessionView.of(viewer) is view


def test_the_dock_fits_on_a_small_screen(qtbot, viewer, dock, session):
    dock.open(session)
    for step in dock.steps:
        step.unfold()
    qtbot.wait(100)
    assert dock.widget().width() <= dock.viewport().width()
    assert dock.width() <= 400


def test_closing_the_window_asks_and_goes_on(qtbot, viewer, dock, working, answer):
    asked = answer("Let it go on")
    window = dock.window()
    assert not window.close()
    assert "Running gated segmentation is not done. Stop it?" in asked[0]
    assert window.isVisible()
    assert not working.closed.is_set()
    assert dock.jobs.stop(5)


def test_closing_the_window_stops_work_and_the_session_keeps_everything(qtbot, viewer, dock, session, working, answer):
    dock.view.state.assign(Selection(0, 10, 20), "sniffing")
    asked = answer("Stop it")
    start = time.monotonic()
    assert dock.window().close()
    assert len(asked) == 1
    assert working.closed.is_set()
    assert dock.jobs.running == []
    assert time.monotonic() - start < 3
    again = load_session(session.path)
    behaviors = again.annotations.behaviors
    assert behaviors[again.annotations.labels(USER)[15, 0]] == "sniffing"


def test_a_script_that_closes_the_viewer_is_not_asked(qtbot, viewer, dock, working):
    viewer.close()
    assert working.closed.is_set()


def close_button(widget):
    """The cross in the title of a docked widget."""
    from qtpy.QtWidgets import QPushButton

    title = widget.parentWidget().titleBarWidget()
    return next(button for button in title.findChildren(QPushButton) if button.objectName() == "QTitleBarCloseButton")


def test_closing_the_dock_asks_and_comes_back(qtbot, viewer, dock, working, answer):
    asked = answer("Let it go on")
    name = dock.parentWidget().windowTitle()
    close_button(dock).click()
    qtbot.waitUntil(lambda: bool(asked))
    qtbot.waitUntil(dock.isVisible)
    assert dock.parentWidget().windowTitle() == name
    assert not working.closed.is_set()
    assert dock.jobs.busy
    assert dock.jobs.stop(5)


def test_closing_the_dock_stops_work_and_leaves_the_session(qtbot, viewer, dock, working, answer):
    asked = answer("Stop it")
    view = dock.view
    close_button(dock).click()
    qtbot.waitUntil(lambda: bool(asked))
    qtbot.waitUntil(working.closed.is_set)
    assert SessionView.of(viewer) is view
    assert len(viewer.layers) > 0
    again = viewer.window.add_plugin_dock_widget("napari-lookagain", "LookAgain")[1]
    assert again.view is view
    assert again.jobs is not dock.jobs


def test_a_timeline_that_was_closed_comes_back(qtbot, viewer, dock, session, click):
    dock.open(session)
    close_button(dock.view.timeline).click()
    qtbot.waitUntil(lambda: dock.view.timeline is None)
    click(dock.steps[0].header)
    click(dock.session_step.timeline)
    qtbot.waitUntil(lambda: dock.view.timeline is not None and dock.view.timeline.isVisible())


def test_hiding_the_dock_lets_work_go_on(qtbot, viewer, dock, working):
    dock.parentWidget().close()
    qtbot.waitUntil(lambda: not dock.isVisible())
    assert dock.jobs.busy
    assert not working.closed.is_set()
    assert dock.jobs.stop(5)


def test_another_session_is_not_shown_what_was_found_in_the_one_before(qtbot, dock, session, clusters, tmp_path):
    import shutil

    other = load_session(shutil.copytree(session.path, tmp_path / "other.lookagain"))
    dock.open(session)
    go_on = threading.Event()

    def slow():
        while not go_on.wait(0.01):
            yield Progress(0, 1, "working")
        return clusters

    job = Job("Looking", slow)
    dock.run_step._start(job, partial(dock.run_step._show, None))
    dock.open(other)
    go_on.set()
    qtbot.waitUntil(lambda: not dock.jobs.running)
    assert dock.view.state.discovered is None
