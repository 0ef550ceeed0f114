"""Journals: when what stands in them was done, and one order of undoing over several."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_lookagain import journal as module
from napari_lookagain.annotations import Annotations
from napari_lookagain.journal import Journal, made_last, undone_last


@pytest.fixture
def clock(monkeypatch):
    """A clock that is read once for every edit, and goes on by a second each time."""

    class Clock:
        seconds = 0

        @classmethod
        def now(cls, zone):
            cls.seconds += 1
            return module_datetime.fromtimestamp(cls.seconds, zone)

    module_datetime = module.datetime
    monkeypatch.setattr(module, "datetime", Clock)
    return Clock


def seconds(times: list[str]) -> list[int]:
    return [int(time[17:19]) for time in times]


def test_what_stands_and_what_was_taken_back_survive_closing(clock, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal({"schema": 1})
    journal.attach(path)
    for op in ("a", "b", "undo", "c", "d", "e", "undo", "undo", "redo"):
        journal.append({"op": op})
    reopened = Journal({"schema": 1})
    reopened.attach(path)
    for each in (journal, reopened):
        assert seconds(each.done) == [1, 4, 5]
        assert [seconds(times) for times in each.undone] == [[6, 7]]


def test_edits_that_are_joined_are_one(clock) -> None:
    journal = Journal({"schema": 1})
    for edit in ({"op": "a"}, {"op": "a", "join": True}, {"op": "undo"}):
        journal.append(edit)
    assert journal.done == []
    assert [seconds(times) for times in journal.undone] == [[1, 3]]


def test_one_order_over_several_journals(clock) -> None:
    first, second = journals = Journal({"schema": 1}), Journal({"schema": 1})
    assert (made_last(journals), undone_last(journals)) == (None, None)
    for journal in (first, second, first):
        journal.append({"op": "a"})
    undone = []
    while (journal := made_last(journals)) is not None:
        undone.append(journal)
        journal.append({"op": "undo"})
    assert undone == [first, second, first]
    redone = []
    while (journal := undone_last(journals)) is not None:
        redone.append(journal)
        journal.append({"op": "redo"})
    assert redone == [first, second, first]


def test_a_new_edit_ends_redoing_in_every_journal(clock) -> None:
    first, second = journals = Journal({"schema": 1}), Journal({"schema": 1})
    first.append({"op": "a"})
    first.append({"op": "undo"})
    second.append({"op": "b"})
    assert undone_last(journals) is None
    second.append({"op": "undo"})
    assert undone_last(journals) is second
    second.append({"op": "redo"})
    assert undone_last(journals) is None


def test_scoring_frame_after_frame_is_undone_at_once(tmp_path: Path) -> None:
    annotations = Annotations.open(tmp_path, 40, ("ann",))
    annotations.assign(0, 0, 10, "rest")
    for frame in range(5, 15):
        annotations.assign(0, frame, frame + 1, "walk", join=frame > 5)
    for _ in range(2):
        each = Annotations.open(tmp_path, 40, ("ann",))
        assert each.bouts()[1].stop == 15
        assert each.undo()
        assert [(bout.behavior, bout.start, bout.stop) for bout in each.bouts()] == [("rest", 0, 10)]
        assert each.behaviors == ("rest",)
        assert each.redo()
        assert each.bouts()[1].stop == 15


def test_there_is_nothing_to_join_before_the_first_edit() -> None:
    annotations = Annotations(40, ("ann",))
    annotations.assign(0, 5, 6, "walk", join=True)
    assert annotations.undo()
    assert not annotations.undo()
