"""The window of examples: clips that are read in a thread, run, and are gone when it closes."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_lookagain.errors import InputError
from napari_lookagain.gui.review import examples as module
from napari_lookagain.gui.review.clip_tile import SIZE


@pytest.fixture
def window(qtbot, dock, review, click):
    """Examples of the second cluster, all read."""
    review.name.table.choose(1)
    click(review.name.examples)
    wait_for_clips(qtbot, dock)
    return review.examples


def wait_for_clips(qtbot, dock) -> None:
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=20_000)


def bouts(window) -> list[tuple]:
    return [(tile.clip.bout.animal, tile.clip.bout.start) for tile in window.tiles if tile.clip is not None]


def test_clips_of_the_cluster_are_shown(window, dock):
    naming = dock.view.state.naming
    assert window.isVisible()
    assert window.windowTitle() == "Examples of cluster 2"
    assert len(bouts(window)) == len(set(bouts(window))) == 6
    for animal, start in bouts(window):
        assert naming.label[start, animal] == 1
    assert window.tiles[0].clip.pictures.shape[1:] == (SIZE, SIZE, 3)
    assert [tile.isEnabled() for tile in window.tiles] == [True] * 6 + [False] * 3


def test_they_run(window, qtbot):
    tile = window.tiles[0]
    first = tile.grab().toImage()
    qtbot.waitUntil(lambda: tile.grab().toImage() != first, timeout=5000)


def test_a_rim_tells_what_is_in_the_bout(window):
    tile = window.tiles[0]
    color = window._state.naming.classes[1].color
    inside = int(np.flatnonzero(tile.clip.inside)[0])
    tile.show_time(inside / tile.clip.fps + 1e-3)
    assert tile.grab().toImage().pixelColor(1, 1).name() == color


def test_a_click_and_a_key_go_to_the_bout(window, dock):
    state = dock.view.state
    QTest.mouseClick(window.tiles[3], Qt.MouseButton.LeftButton)
    assert (state.selection.animal, state.selection.start) == bouts(window)[3]
    assert state.frame == state.selection.start
    window.tiles[4].setFocus()
    QTest.keyClick(window.tiles[4], Qt.Key.Key_Space)
    assert (state.selection.animal, state.selection.start) == bouts(window)[4]


def test_another_cluster_and_other_bouts(window, dock, review, click, qtbot, monkeypatch):
    asked = []
    draw = module.examples
    monkeypatch.setattr(module, "examples", lambda *order: asked.append(order[1:]) or draw(*order))
    review.name.table.choose(2)
    wait_for_clips(qtbot, dock)
    assert window.windowTitle() == "Examples of cluster 3"
    assert all(dock.view.state.naming.label[start, animal] == 2 for animal, start in bouts(window))
    click(window.others)
    wait_for_clips(qtbot, dock)
    assert asked == [(2, 9, 0), (2, 9, 1)]


def test_closing_stops_timers_and_forgets_the_pictures(window, dock, review, click, qtbot):
    click(window.others)
    window.close()
    assert not any(timer.isActive() for timer in window.findChildren(QTimer))
    assert bouts(window) == []
    wait_for_clips(qtbot, dock)
    assert bouts(window) == []
    review.name.table.choose(2)
    assert not dock.jobs.running
    assert not window.isVisible()


def test_what_cannot_be_read_is_told(dock, review, click, qtbot, monkeypatch):
    def refuse():
        raise InputError("The video has gone.")

    monkeypatch.setattr(dock.view.state.session, "open_video", refuse)
    review.name.table.choose(1)
    click(review.name.examples)
    wait_for_clips(qtbot, dock)
    assert review.examples.message.text.text() == "The video has gone."
    review.examples.close()


def test_another_session_closes_it(window, dock, session, tmp_path):
    from napari_lookagain.session import load_session

    session.save(tmp_path / "other.lookagain")
    dock.open(load_session(tmp_path / "other.lookagain"))
    assert not window.isVisible()
