"""A real viewer and the state of a session for the tests of the plugin; nothing they start may outlive them."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

os.environ["NAPARI_CONFIG"] = ""  # napari's settings are its defaults and are not kept; read when it is imported

from napari_lookagain.ethogram import Ethogram
from napari_lookagain.gui.state import SessionState
from napari_lookagain.session import Session

CLUSTERS = ("cluster 1", "cluster 2", "cluster 3", "cluster 4")


@pytest.fixture(scope="session")
def display() -> None:
    """A screen; tests that need one are skipped where there is none."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.skip("there is no display; run the tests of the plugin under xvfb-run")


@pytest.fixture
def qapp(display, qapp):
    """The application of pytest-qt, once it is known that there is a screen to show it on."""
    return qapp


@pytest.fixture(autouse=True)
def forgetful(tmp_path) -> None:
    """What the plugin remembers from day to day is kept elsewhere."""
    from qtpy.QtCore import QSettings

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


@pytest.fixture
def dock(qtbot, viewer):
    """The dock, as the menu of plugins opens it."""
    dock = viewer.window.add_plugin_dock_widget("napari-lookagain", "LookAgain")[1]
    qtbot.waitUntil(dock.isVisible)
    return dock


@pytest.fixture
def click(qtbot):
    """Click a button, which must be there to be clicked."""
    from qtpy.QtCore import Qt

    def act(button) -> None:
        assert button.isVisible()
        assert button.isEnabled()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    return act


@pytest.fixture
def review(qtbot, dock, session, clusters):
    """The third step, open for a session with a run of clusters, in a window that has the keyboard."""
    clusters.save(session.run_folder("segment") / "ethogram.npz")
    dock.open(session)
    dock.steps[1].unfold(False)
    dock.steps[2].unfold()
    dock.activateWindow()  # no window manager does it on a screen in memory
    qtbot.waitUntil(dock.isActiveWindow)
    return dock.review_step


@pytest.fixture
def third_scored(dock, review) -> SessionState:
    """The state of that session, of which the first hundred frames are scored, a third."""
    state = dock.view.state
    for animal in range(2):
        state.session.annotations.clear(animal, 100, 300, "simulated truth")
    return state


@pytest.fixture
def viewer(qtbot, no_leaks) -> Iterator:
    """A viewer on the screen, closed after the test."""
    import napari

    viewer = napari.Viewer(show=False, show_welcome_screen=False)
    viewer.window.show()
    viewer.window.resize(1366, 768)
    yield viewer
    with suppress(RuntimeError):  # a test has closed the window
        viewer.close()


@pytest.fixture
def no_leaks(qapp) -> Iterator[None]:
    """Whatever a test starts has ended when it is over: threads, timers and widgets of ours."""
    from qtpy.QtCore import QCoreApplication, QEvent, QThreadPool

    before = set(threading.enumerate())
    yield
    assert QThreadPool.globalInstance().waitForDone(5000), "a worker thread is still running"
    for _ in range(2):  # deleting a widget may ask for the deletion of another
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()
    gc.collect()
    started = [thread.name for thread in threading.enumerate() if thread not in before]
    assert [name for name in started if not name.startswith("Dummy-")] == []  # a thread of Qt's pool, which is idle
    assert [type(widget).__name__ for widget in qapp.allWidgets() if _is_ours(widget)] == []
    assert list(_running_timers()) == []


def _is_ours(thing: object) -> bool:
    return type(thing).__module__.startswith("napari_lookagain")


def _running_timers() -> Iterator[str]:
    """Timers of ours that still tick."""
    from qtpy.QtCore import QTimer

    for timer in gc.get_objects():
        if issubclass(type(timer), QTimer):  # isinstance would ask each object, and wake what is lazy or deprecated
            try:
                parent = timer.parent()
                if timer.isActive() and (_is_ours(timer) or _is_ours(parent)):
                    yield f"a timer of {type(parent).__name__}"
            except RuntimeError:  # what Qt has deleted does not tick
                pass


@pytest.fixture
def clusters(session) -> Ethogram:
    """Four clusters in runs of 30 frames, with a gate score; every fourth frame was looked at."""
    return _ethogram(session, "cluster", CLUSTERS, (np.arange(session.n_frames) // 30) % 4)


@pytest.fixture
def behaviors(session) -> Ethogram:
    """Behaviors as a model might have predicted them: what was scored, ten frames late."""
    scored = session.annotations.labels()
    label = np.concatenate([scored[:10], scored[:-10]])
    return _ethogram(session, "behavior", session.annotations.behaviors, label)


@pytest.fixture
def state(session, clusters, behaviors) -> SessionState:
    """The state of a simulated session with clusters and predicted behaviors in view."""
    state = SessionState(session)
    state.show(clusters)
    state.show(behaviors)
    return state


def _ethogram(session: Session, kind: str, names: tuple[str, ...], label: np.ndarray) -> Ethogram:
    label = np.broadcast_to(label.reshape(len(label), -1), (session.n_frames, session.n_animals)).astype(np.int16)
    frame = np.arange(session.n_frames)
    gate_score = np.stack([(1 + np.sin(frame / 20 + animal)) / 2 for animal in range(session.n_animals)], axis=1)
    sure = np.where(np.arange(len(names)) == label[..., None], 0.7, 0.3 / (len(names) - 1))
    return Ethogram(
        recording=session.recording,
        fps=session.fps,
        animals=session.animals,
        kind=kind,
        names=names,
        label=label,
        probabilities=sure.astype(np.float16),
        gate_score=gate_score.astype(np.float32),
        reliability=gate_score.astype(np.float32),
        saliency=np.zeros(label.shape, np.float32),
        semantics=np.zeros(label.shape, np.float32),
        looked=np.broadcast_to(frame[:, None] % 4 == 0, label.shape),
    )
