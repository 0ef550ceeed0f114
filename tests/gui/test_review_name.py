"""Naming clusters in the third step, with clicks and keys, in a viewer on the screen."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QColorDialog, QLineEdit

from napari_lookagain.gui.review.cluster_model import COLOR, COUNT, KEY, MEAN, NAME, SHARE, TOTAL
from napari_lookagain.gui.state import Selection
from napari_lookagain.gui.timeline.bar import Bar
from napari_lookagain.naming import Naming

Key, Button = Qt.Key, Qt.MouseButton


@pytest.fixture
def panel(review):
    return review.name


@pytest.fixture
def naming(dock):
    """Gives the naming in view."""
    return lambda: dock.view.state.naming


def cell(panel, row, column):
    """The middle of a cell, as the mouse sees it."""
    return panel.table.visualRect(panel.table.model().index(row, column)).center()


def choose(panel, row, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    QTest.mouseClick(panel.table.viewport(), Button.LeftButton, modifier, cell(panel, row, COUNT))


def type_into(panel, row, column, text) -> None:
    """Double-click a cell, type, and press Enter."""
    viewport = panel.table.viewport()
    QTest.mouseClick(viewport, Button.LeftButton, pos=cell(panel, row, column))
    QTest.mouseDClick(viewport, Button.LeftButton, pos=cell(panel, row, column))
    type_and_enter(panel, text)


def type_and_enter(panel, text) -> None:
    """Type into the cell that is open."""
    [editor] = [editor for editor in panel.table.viewport().findChildren(QLineEdit) if editor.isVisible()]
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Key.Key_Return)
    QApplication.processEvents()


def shown(panel, row) -> list[str]:
    model = panel.table.model()
    return [model.data(model.index(row, column)) for column in range(model.columnCount())]


def test_the_table_tells_what_is_measured(panel, naming):
    told = naming().statistics()
    row = shown(panel, 1)
    assert row[NAME] == "cluster 2"
    assert row[COUNT] == str(told["count"].iloc[1])
    assert (row[TOTAL], row[MEAN]) == ("7.2 s", "1.2 s")
    assert row[SHARE:] == ["30 %", "30 %"]
    assert panel.table.rows == []


def test_a_click_marks_the_bouts_of_a_cluster(dock, panel, monkeypatch):
    heard = []
    monkeypatch.setattr(dock.view.timeline, "emphasize", lambda *what: heard.append(what))
    choose(panel, 2)
    assert heard[-1] == ("discovered", 2)
    dock.review_step.tabs.setCurrentIndex(1)
    assert heard[-1] == ("discovered", None)
    dock.review_step.tabs.setCurrentIndex(0)
    assert heard[-1] == ("discovered", 2)
    QTest.keyClick(panel.table, Key.Key_Escape)
    assert heard[-1] == ("discovered", None)


def test_names_and_keys_are_typed_in_place_and_kept(dock, panel, naming, session):
    type_into(panel, 1, NAME, "trot")
    type_into(panel, 1, KEY, "7")
    assert shown(panel, 1)[KEY : NAME + 1] == ["7", "trot"]
    assert dock.view.timeline.keys["7"] == "trot"
    assert list(dock.view.layers.get("discovered").features["name"])[1] == "trot"
    assert Naming.open(session.run_folder("segment")).names[1] == "trot"


def test_a_name_in_use_is_refused_in_the_panel(panel, naming):
    type_into(panel, 1, NAME, "cluster 1")
    assert "Two clusters cannot both be called 'cluster 1'" in panel.panel.message.text.text()
    assert naming().names[1] == "cluster 2"
    type_into(panel, 1, NAME, "trot")
    assert panel.panel.message.isHidden()


def test_keys_alone_do_it_too(panel, naming):
    panel.table.setFocus()
    panel.table.choose(0)
    QTest.keyClick(panel.table, Key.Key_Down)
    QTest.keyClick(panel.table, Key.Key_F2)
    type_and_enter(panel, "trot")
    assert naming().names[1] == "trot"


def test_another_color_reaches_layers_and_timeline(dock, panel, naming, monkeypatch):
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#123456"))
    QTest.mouseClick(panel.table.viewport(), Button.LeftButton, pos=cell(panel, 0, COLOR))
    QTest.mouseDClick(panel.table.viewport(), Button.LeftButton, pos=cell(panel, 0, COLOR))
    assert naming().classes[0].color == "#123456"
    assert dock.view.layers.get("discovered").features["color"].iloc[0] == "#123456"
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor())  # cancelled
    QTest.keyClick(panel.table, Key.Key_Return)
    assert naming().classes[0].color == "#123456"


def test_what_it_looks_like_and_which_behavior_it_is(panel, naming):
    choose(panel, 0)
    panel.description.setFocus()
    QTest.keyClicks(panel.description, "nose to the wall")
    panel.behavior.lineEdit().setFocus()  # leaving the field is enough
    assert naming().classes[0].description == "nose to the wall"
    QTest.keyClicks(panel.behavior.lineEdit(), "sniff")
    QTest.keyClick(panel.behavior.lineEdit(), Key.Key_Return)
    assert naming().classes[0].behavior == "sniff"
    assert shown(panel, 0)[NAME] == "cluster 1 → sniff"
    assert "sniff" in panel._view.state.behaviors
    choose(panel, 1)
    assert (panel.description.text(), panel.behavior.currentText()) == ("", "")
    choose(panel, 0)
    assert (panel.description.text(), panel.behavior.currentText()) == ("nose to the wall", "sniff")


def test_merge_and_undo(dock, panel, naming, click):
    choose(panel, 1)
    assert not panel.merge.isEnabled()
    choose(panel, 3, Qt.KeyboardModifier.ControlModifier)
    click(panel.merge)
    assert naming().names == ("cluster 1", "cluster 2", "cluster 3")
    assert panel.table.rows == [1]
    assert dock.view.layers.get("discovered").data.max() == 3
    panel.table.setFocus()
    QTest.keyClick(panel.table, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert naming().names == ("cluster 1", "cluster 2", "cluster 3", "cluster 4")
    QTest.keyClick(panel.table, Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert len(naming().names) == 3
    QTest.keyClick(panel.table, Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert dock.view.timeline.findChild(Bar).told == "There is nothing to redo."


def test_split(dock, panel, naming, qtbot, click):
    choose(panel, 1)
    panel.parts.setValue(3)
    click(panel.split)
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=20_000)
    assert naming().names == ("cluster 1", "cluster 2.1", "cluster 2.2", "cluster 2.3", "cluster 3", "cluster 4")
    assert panel.table.model().rowCount() == 6
    assert panel.table.rows == [1]
    assert panel.table.isEnabled()
    assert "cluster 2.1, cluster 2.2, cluster 2.3" in panel.panel.message.text.text()
    dock.view.state.undo()
    assert len(naming().names) == 4


def test_what_cannot_be_split_is_told(dock, panel, naming, qtbot, click):
    for values in (getattr(naming().found, term) for term in ("reliability", "saliency", "semantics")):
        values[:] = 0
    choose(panel, 0)
    click(panel.split)
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=20_000)
    assert "too few or too much alike" in panel.panel.message.text.text()
    assert panel.table.isEnabled()
    assert len(naming().names) == 4


def test_bouts_are_walked_and_played(dock, panel, naming, click):
    state = dock.view.state
    choose(panel, 1)
    places = []
    for _ in range(3):
        click(panel.next)
        places.append((state.selection.start, state.selection.animal))
        assert state.frame == state.selection.start
        assert (naming().label[state.selection.start : state.selection.stop, state.selection.animal] == 1).all()
    assert places == sorted(set(places))
    click(panel.previous)
    assert (state.selection.start, state.selection.animal) == places[1]
    click(panel.play)
    assert dock.view.timeline.player.is_playing
    click(panel.play)
    assert not dock.view.timeline.player.is_playing
    state.select(Selection(0, 299, 300))
    click(panel.next)
    assert "no further bout of cluster 2" in panel.panel.message.text.text()


def test_without_clusters_it_says_what_to_do(dock, session):
    dock.open(session)
    dock.steps[2].unfold()
    dock.review_step.tabs.setCurrentIndex(0)
    assert dock.review_step.name.empty.isVisible()
    assert not dock.review_step.name.table.isVisible()


def test_another_session_takes_its_place(dock, review, session, clusters, tmp_path):
    choose(review.name, 1)
    session.save(tmp_path / "other.lookagain")
    from napari_lookagain.session import load_session

    dock.open(load_session(tmp_path / "other.lookagain"))
    assert review.name.table.model().rowCount() == 0
    assert review.name.cluster == -1
