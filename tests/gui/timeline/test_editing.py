"""What marks, edges and keys do to the labels, without a window."""

from __future__ import annotations

import pytest

from napari_lookagain.gui.state import Selection
from napari_lookagain.gui.timeline.editing import assign, move_edge, start_here, stop_here


@pytest.fixture
def bouts(unscored):
    """Animal 0: walk in 20 to 39, groom in 40 to 59, rear in 80 to 89."""
    for start, stop, behavior in ((20, 40, "walk"), (40, 60, "groom"), (80, 90, "rear")):
        unscored.assign(Selection(0, start, stop), behavior)
    return unscored


def scored(state) -> list[tuple[int, int, str]]:
    return [(bout.start, bout.stop, bout.behavior) for bout in state.session.annotations.bouts()]


@pytest.mark.parametrize(
    ("edge", "to", "expected"),
    [
        (40, 50, [(20, 50, "walk"), (50, 60, "groom"), (80, 90, "rear")]),
        (40, 30, [(20, 30, "walk"), (30, 60, "groom"), (80, 90, "rear")]),
        (40, 70, [(20, 70, "walk"), (80, 90, "rear")]),
        (60, 85, [(20, 40, "walk"), (40, 85, "groom"), (85, 90, "rear")]),
        (60, 50, [(20, 40, "walk"), (40, 50, "groom"), (80, 90, "rear")]),
        (60, 0, [(20, 40, "walk"), (40, 41, "groom"), (80, 90, "rear")]),
        (80, 95, [(20, 40, "walk"), (40, 60, "groom"), (89, 90, "rear")]),
        (80, 300, [(20, 40, "walk"), (40, 60, "groom"), (89, 90, "rear")]),
        (20, 0, [(0, 40, "walk"), (40, 60, "groom"), (80, 90, "rear")]),
        (40, 40, [(20, 40, "walk"), (40, 60, "groom"), (80, 90, "rear")]),
    ],
)
def test_edge_moves(bouts, edge, to, expected):
    move_edge(bouts, 0, edge, to)
    assert scored(bouts) == expected


def test_edges_at_the_ends_of_the_recording(unscored):
    last = unscored.session.n_frames
    unscored.assign(Selection(0, 0, 10), "walk")
    unscored.assign(Selection(0, last - 10, last), "rear")
    move_edge(unscored, 0, 0, 5)
    move_edge(unscored, 0, last, last - 5)
    assert scored(unscored) == [(5, 10, "walk"), (last - 10, last - 5, "rear")]


def test_nothing_is_assigned_without_marked_frames(unscored):
    assert assign(unscored, "walk").startswith("Mark frames first")
    assert scored(unscored) == []


def test_start_beyond_the_end_marks_the_frame_alone(unscored):
    unscored.select(Selection(0, 10, 20))
    unscored.seek(30)
    start_here(unscored, 0)
    assert unscored.selection == Selection(0, 30, 31)
    unscored.seek(5)
    stop_here(unscored, 0)
    assert unscored.selection == Selection(0, 5, 6)
    stop_here(unscored, 1)
    assert unscored.selection == Selection(1, 5, 6)


def test_part_of_a_bout_can_be_marked_without_changing_it(bouts):
    before = scored(bouts)
    bouts.select(Selection(0, 20, 39))
    bouts.seek(30)
    start_here(bouts, 0)
    assert scored(bouts) == before


def test_what_another_rater_said_stays_and_is_told(bouts):
    bouts.rater = "anna"
    bouts.select(Selection(0, 20, 40))
    assert "What user said there stays" in assign(bouts, None)
    assert assign(bouts, "rear").startswith("rear: frames 20 to 39.")
    assert bouts.session.annotations.labels("anna")[20, 0] >= 0
