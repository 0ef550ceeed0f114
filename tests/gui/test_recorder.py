"""Scoring while the video plays: what a key that goes down and up leaves behind."""

from __future__ import annotations

import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.gui.review import recorder as module
from napari_lookagain.gui.review.recorder import Recorder
from napari_lookagain.gui.state import Selection


class Clock:
    """Time that only goes on when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def state(state):
    """Nothing is scored but the first frame, so that there are names."""
    for animal in range(2):
        state.session.annotations.clear(animal, 0, 300, "simulated truth")
    return state


@pytest.fixture
def recorder(state, clock) -> Recorder:
    return Recorder(state)


def play(state, start: int, stop: int, step: int = 1) -> None:
    for frame in range(start, stop, step):
        state.seek(frame)


def scored(state) -> list[tuple]:
    return [(b.animal, b.behavior, b.start, b.stop) for b in state.session.annotations.bouts() if b.rater == "user"]


def test_a_key_scores_as_long_as_it_is_held(state, recorder):
    behavior = state.keys["1"]
    play(state, 0, 21)
    recorder.press("1", 1)
    assert recorder.behavior == behavior
    play(state, 21, 41, 3)  # not every frame is drawn
    assert scored(state) == [(1, behavior, 20, 40)]  # on disk already
    recorder.release("1")
    play(state, 40, 50)
    assert scored(state) == [(1, behavior, 20, 40)]
    assert recorder.behavior == ""


def test_one_press_is_undone_at_once(state, recorder):
    play(state, 0, 21)
    recorder.press("1", 0)
    play(state, 21, 41)
    recorder.release("1")
    assert state.undo()
    assert scored(state) == []
    assert state.redo()
    assert scored(state) == [(0, state.keys["1"], 20, 41)]


def test_what_somebody_else_scores_meanwhile_is_another_edit(state, recorder):
    play(state, 0, 21)
    recorder.press("1", 0)
    play(state, 21, 31)
    state.assign(Selection(1, 0, 5), "other")
    play(state, 31, 41)
    recorder.release("1")
    state.undo()
    assert (0, state.keys["1"], 20, 31) in scored(state)
    assert (1, "other", 0, 5) in scored(state)


def test_from_press_to_press(state, recorder):
    first, second = state.keys["1"], state.keys["2"]
    recorder.hold = False
    play(state, 0, 11)
    recorder.press("1", 0)
    recorder.release("1")
    play(state, 11, 21)
    recorder.press("2", 0)  # ends the one and begins the other
    recorder.release("2")
    play(state, 21, 31)
    recorder.press("2", 0)
    play(state, 31, 41)
    assert scored(state) == [(0, first, 10, 20), (0, second, 20, 31)]


def test_going_back_ends_it_and_scores_nothing_more(state, recorder):
    play(state, 0, 101)
    recorder.press("1", 0)
    state.seek(50)
    assert recorder.behavior == ""
    assert scored(state) == []
    recorder.press("1", 0)
    play(state, 51, 61)
    state.seek(0)  # as when the video begins anew
    play(state, 0, 300, 10)
    assert scored(state) == [(0, state.keys["1"], 50, 61)]


def test_while_the_video_stands_still_a_key_is_for_the_bout_in_view(state, recorder, clock):
    told = []
    recorder.told.connect(told.append)
    state.seek(70)
    clock.now += 1
    bout = state.bout_at(0, 70)
    recorder.press("2", 0)
    recorder.release("2")
    assert scored(state) == [(0, state.keys["2"], bout.start, bout.stop)]
    assert state.keys["2"] in told[-1]


def test_a_short_press_while_it_plays_is_not_for_a_whole_bout(state, recorder):
    state.seek(70)
    recorder.press("2", 0)
    recorder.release("2")
    assert scored(state) == [(0, state.keys["2"], 70, 71)]


def test_where_there_is_no_bout_it_says_so(session, clock):
    from napari_lookagain.gui.state import SessionState

    session.annotations.clear(0, 0, 300, "simulated truth")
    state, told = SessionState(session), []
    recorder = Recorder(state)
    recorder.told.connect(told.append)
    recorder.press("1", 0)
    recorder.release("1")
    assert "no bout here" in told[0]
    assert scored(state) == []


def test_where_frames_are_marked_keys_are_for_those(state, recorder):
    state.select(Selection(0, 5, 9))
    recorder.press("1", 0)
    assert recorder.behavior == ""
    state.select(None)
    recorder.press("no such key", 0)
    assert recorder.behavior == ""


def test_a_full_disk_ends_it_with_a_sentence(state, recorder, monkeypatch):
    told = []
    recorder.told.connect(told.append)

    def refuse(*_, **__):
        raise InputError("There is no room.")

    monkeypatch.setattr(state, "assign", refuse)
    recorder.press("1", 0)
    state.seek(1)
    assert told == ["There is no room."]
    assert recorder.behavior == ""
