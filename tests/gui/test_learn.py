"""Learning in the third step: train on corrections, see how good it is, and go through what is uncertain."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_lookagain.annotations import Bout
from napari_lookagain.gui.present import prepare
from napari_lookagain.gui.review import learn as module
from napari_lookagain.gui.state import Selection
from napari_lookagain.learning import Lesson, learn
from napari_lookagain.progress import Progress
from napari_lookagain.session import load_session

Key = Qt.Key


@pytest.fixture
def panel(review, behaviors, third_scored):
    """The third panel; the first third of the recording is scored."""
    review.tabs.setCurrentIndex(2)
    return review.learn


@pytest.fixture
def state(panel, third_scored):
    return third_scored


@pytest.fixture
def queue(dock, panel, state, behaviors, click, qtbot) -> tuple[Bout, ...]:
    """What is uncertain in a prediction, on the screen."""
    state.show(behaviors)
    click(panel.uncertain)
    qtbot.waitUntil(lambda: bool(dock.view.reviewer.queue), timeout=10_000)
    return dock.view.reviewer.queue


def rows(panel) -> list[list[str]]:
    table = panel.table
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())]


def test_what_is_scored_is_counted_before(panel, state, session):
    labels = session.annotations.labels()
    told = {name: int(count.replace(",", "")) for name, count, _ in rows(panel)}
    assert sum(told.values()) == (labels >= 0).sum() == 200
    assert panel.train.isEnabled()
    assert "Learns all anew" in panel.about.text()  # the run of clusters was kept without its model


def test_with_one_behavior_there_is_nothing_to_learn(panel, state, qtbot):
    for animal in range(2):
        state.session.annotations.clear(animal, 0, 300, "simulated truth")
    state.assign(Selection(0, 0, 10), "walk")
    qtbot.waitUntil(lambda: not panel.train.isEnabled())
    assert "at least two behaviors" in panel.about.text()


def test_it_trains_predicts_and_shows(dock, panel, state, click, qtbot, tiny, monkeypatch):
    config = tiny(look={"budget": 0.1})
    monkeypatch.setattr(module, "learn", lambda session: learn(session, config))
    click(panel.train)
    assert not panel.train.isEnabled()
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=120_000)
    assert "F1 is" in panel.panel.message.text.text()
    assert state.predicted.names == tuple(row[0].split()[-1] for row in rows(panel))
    assert all(0 <= float(f1) <= 1 for *_, f1 in rows(panel))
    n = len(state.predicted.names)
    assert panel.table.columnCount() == 3 + n
    for row in range(n):
        shares = [panel.table.item(row, 3 + column).text() for column in range(n)]
        assert sum(int(share or 0) for share in shares) in (0, *range(98, 103))
    assert "held-out frames of" in panel.table.item(0, 3).toolTip()
    assert dock.view.layers.get("predicted") is not None
    assert panel.train.isEnabled()
    assert dock.run_step.runs.list.item(0).text().startswith("● behavior")
    reopened = prepare(load_session(state.session.path))[0]
    assert reopened.predicted.names == state.predicted.names


def test_what_goes_wrong_is_told(dock, panel, click, qtbot, monkeypatch):
    def fail(session):
        yield Progress(0, 1, "fine-tuning")
        raise OSError(28, "No space left on device", "/there")

    monkeypatch.setattr(module, "learn", fail)
    click(panel.train)
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=10_000)
    assert panel.panel.message.text.text() == "/there: No space left on device."
    assert panel.panel.message.copy.isVisible()


def test_a_lesson_for_another_session_is_not_shown(dock, panel, state, behaviors, tmp_path):
    view = dock.view
    state.session.save(tmp_path / "other.lookagain")
    dock.open(load_session(tmp_path / "other.lookagain"))
    panel._show_lesson(view, Lesson("behavior", behaviors, {}))
    assert dock.view.state.predicted is None


def test_the_uncertain_are_walked(dock, panel, state, queue, click):
    assert panel.bout.text().startswith(f"1 of {len(queue)}: <b>{queue[0].behavior}</b>?")
    assert (state.selection.start, state.selection.stop) == (queue[0].start, queue[0].stop)
    click(panel.next)
    assert panel.bout.text().startswith("2 of")
    assert state.selection.start == state.frame == queue[1].start
    click(panel.previous)
    click(panel.previous)
    assert "first of them" in panel.panel.message.text.text()
    QTest.keyClick(dock.view.timeline, Key.Key_Period)
    assert panel.bout.text().startswith("2 of")


def test_one_key_accepts_or_corrects_and_goes_on(dock, panel, state, queue):
    timeline, annotations = dock.view.timeline, state.session.annotations
    QTest.keyClick(timeline, Key.Key_A)
    first, second = queue[:2]
    names = annotations.behaviors
    assert {names[code] for code in annotations.labels()[first.start : first.stop, first.animal]} == {first.behavior}
    assert state.selection.start == second.start
    key = next(key for key, name in state.keys.items() if name != second.behavior)
    QTest.keyClick(timeline, getattr(Key, f"Key_{key}"))
    corrected = {names[code] for code in annotations.labels()[second.start : second.stop, second.animal]}
    assert corrected == {state.keys[key]}
    assert panel.bout.text().startswith("3 of")
    state.undo()
    assert panel.bout.text().startswith("3 of")


def test_walking_ends(dock, panel, state, queue, click, behaviors):
    click(panel.uncertain)
    assert dock.view.reviewer.queue == ()
    assert not panel.bout.isVisible()
    click(panel.uncertain)


def test_another_model_is_unsure_of_other_bouts(dock, panel, state, queue, behaviors):
    state.show(behaviors)
    assert dock.view.reviewer.queue == ()
    assert not panel.uncertain.isChecked()


def test_nothing_to_be_unsure_of_is_told(dock, panel, state, click, qtbot):
    for animal in range(2):
        state.assign(Selection(animal, 0, 300), "walk")
    click(panel.uncertain)
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=10_000)
    assert "Nothing is left to be unsure of" in panel.panel.message.text.text()
    assert not panel.uncertain.isChecked()
