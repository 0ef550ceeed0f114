"""What is drawn, pixel by pixel, and where rows lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qtpy.QtTest import QTest

from napari_lookagain.gui.state import Selection
from napari_lookagain.gui.timeline.clock import clock, grouped, tick_spacing
from napari_lookagain.gui.timeline.lanes import ClassLane, ScoreLane, TickLane
from napari_lookagain.gui.timeline.raster import draw_rows, draw_score, draw_strip, draw_ticks, packed
from napari_lookagain.gui.timeline.rows import rows_of

COLORS = np.array([[255, 0, 0], [0, 0, 255]], float)
RED, BLUE, WHITE = packed(COLORS[0]), packed(COLORS[1]), packed(np.full(3, 255.0))
GROUND = np.full(3, 255.0)


def test_strip_shows_every_frame_in_its_color():
    picture = np.zeros((2, 3), np.uint32)
    draw_strip(picture, np.array([[1, 0], [0, 1], [0, 0]]), COLORS, GROUND)
    assert (picture == [RED, BLUE, WHITE]).all()


def test_rows_show_shares_as_opacity_and_what_is_rare_too():
    picture = np.zeros((8, 4), np.uint32)
    draw_rows(picture, np.array([[1, 0], [0.5, 0.5], [0.001, 0.9], [0, 0]]), COLORS, GROUND, [0, 1])
    red, blue = (picture[1] >> 8) & 0xFF, (picture[5] >> 8) & 0xFF  # the green that is left of white
    assert red[0] == 0
    assert red[0] < red[1] < red[2] < 255
    assert red[3] == blue[3] == blue[0] == 255
    assert (picture[3] == 0).all(), "rows are parted"


def test_score_is_an_area_under_a_line_with_gaps():
    picture = np.zeros((11, 3), np.uint32)
    draw_score(picture, np.array([0.0, np.nan, 1.0]), (0, 1), COLORS[0], COLORS[1])
    assert picture[:, 0].tolist() == [0] * 10 + [BLUE]
    assert picture[:, 1].tolist() == [0] * 11
    assert picture[:, 2].tolist() == [BLUE] + [RED] * 10


def test_ticks_at_the_sides_are_cut():
    picture = np.zeros((1, 5), np.uint32)
    draw_ticks(picture, np.array([-1, 2, 4]), COLORS[0], 2)
    assert (picture == [[RED, 0, RED, RED, RED]]).all()


def lanes(visible: bool = True) -> list:
    classes = ClassLane("discovered", "d", np.zeros((9, 2), np.uint16), ("a",) * 12, ("#000000",) * 12, visible)
    gate = ScoreLane("gate_score", "g", np.zeros((9, 2), np.float32))
    return [classes, gate, TickLane("looked", "l", np.zeros((9, 2), bool))]


def test_rows_lie_below_each_other_animal_by_animal():
    rows = rows_of(lanes(), 2, 1000, {"discovered": 12})
    assert [(row.animal, row.lane.role) for row in rows] == [
        (0, "discovered"), (0, "gate_score"), (1, "discovered"), (1, "gate_score")
    ]  # fmt: skip
    assert all(above.bottom < below.top for above, below in itertools.pairwise(rows))
    assert rows[1].ticks is not None
    assert rows[-1].bottom <= 1000


def test_rows_stay_high_enough_to_be_read():
    rows = rows_of(lanes(), 2, 10, {"discovered": 12})
    assert rows[0].height >= 3 * 12
    assert rows[-1].bottom > 10


def test_ticks_have_a_row_of_their_own_without_a_gate_score():
    rows = rows_of([lanes()[0], lanes()[2]], 1, 100, {})
    assert [row.lane.role for row in rows] == ["discovered", "looked"]
    assert [row.lane.role for row in rows_of(lanes(visible=False), 1, 100, {})] == ["gate_score"]


def test_time_is_written_as_people_read_it():
    assert clock(1234, 25) == "0:49.36"
    assert clock(1234, 25, 0) == "0:49"
    assert clock(59.999 * 25, 25) == "1:00.00"
    assert clock(1_080_000 + 75 * 30, 30, 0) == "10:01:15"
    assert grouped(1_080_000) == "1\u2009080\u2009000"


@pytest.mark.parametrize(
    ("least", "expected"), [(0.3, 1), (3, 5), (24, 25), (26, 50), (25 * 50, 25 * 60), (9e9, 25 * 86400)]
)
def test_ticks_stand_at_round_frames_then_at_round_seconds(least, expected):
    assert tick_spacing(least, 25) == expected


@pytest.mark.parametrize("span", [(0, 300), (60, 100)])
def test_part_of_a_lane_drawn_anew_is_as_the_whole(scene, span):
    """Frames that changed in place are drawn as they would be from the start, at every zoom."""
    scene.timeline.show_span(*span)
    scene.state.assign(Selection(0, 10, 20), "walk")
    scene.timeline.grab()
    scene.state.assign(Selection(0, 50, 90), "walk")
    QTest.qWait(20)
    part = scene.timeline.grab().toImage()
    scene.corrected = scene.corrected.copy()
    scene.timeline.set_lanes(scene.lanes())
    QTest.qWait(20)
    assert scene.timeline.grab().toImage() == part
