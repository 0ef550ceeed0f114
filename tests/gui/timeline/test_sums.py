"""Sums over stretches of lanes, against counting frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lookagain.gui.timeline.lanes import ClassLane, ScoreLane, TickLane
from napari_lookagain.gui.timeline.sums import BLOCK, Columns, LaneSums

NAMES, COLORS = ("a", "b", "c"), ("#ff0000", "#00ff00", "#0000ff")
LANES = ("classes", "score", "ticks")


def lane_of(kind: str, n_frames: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    match kind:
        case "classes":
            return ClassLane("c", "c", rng.integers(0, 5, (n_frames, 2)).astype(np.uint16), NAMES, COLORS)
        case "score":
            values = rng.random((n_frames, 2)).astype(np.float32)
            values[rng.random(values.shape) < 0.2] = np.nan
            return ScoreLane("s", "s", values)
        case _:
            return TickLane("t", "t", rng.random((n_frames, 2)) < 0.3)


def counted(lane, animal: int, start: int, stop: int) -> np.ndarray:
    part = lane.array[start:stop, animal]
    match lane:
        case ClassLane():
            return np.array([(part == code + 1).sum() for code in range(3)])
        case ScoreLane():
            return np.array([np.nansum(part), np.isfinite(part).sum()])
        case _:
            return np.array([part.sum()])


@pytest.mark.parametrize("kind", LANES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), n_frames=st.integers(1, 200), n=st.integers(1, 40))
def test_means_are_those_of_the_frames_of_a_column(kind, data, n_frames, n):
    start = data.draw(st.floats(0, n_frames - 0.5))
    stop = data.draw(st.floats(start + 0.1, n_frames))
    columns = Columns(start, stop, n, n_frames)
    lane = lane_of(kind, n_frames)
    means = LaneSums(lane).means(1, columns)
    if columns.frames_per_column <= 1:
        expected = [counted(lane, 1, frame, frame + 1) for frame in columns.frames]
    else:
        spans = zip(columns.edges[:-1], columns.edges[1:], strict=True)
        expected = [counted(lane, 1, a, b) / max(b - a, 1) for a, b in spans]
    np.testing.assert_allclose(means, expected, atol=1e-6)


@pytest.mark.parametrize("kind", LANES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), n_frames=st.integers(1, 5 * BLOCK))
def test_updated_sums_are_those_made_anew(kind, data, n_frames):
    start = data.draw(st.integers(0, n_frames - 1))
    stop = data.draw(st.integers(start + 1, n_frames))
    lane, other = lane_of(kind, n_frames), lane_of(kind, n_frames, seed=1)
    sums = LaneSums(lane)
    lane.array[start:stop, 0] = other.array[start:stop, 0]
    sums.update(0, start, stop)
    np.testing.assert_allclose(sums.whole(), LaneSums(lane).whole(), atol=1e-6)
    columns = Columns(0, n_frames, 7, n_frames)
    np.testing.assert_allclose(sums.means(0, columns), LaneSums(lane).means(0, columns), atol=1e-6)


def test_sums_are_kept_for_the_same_array_under_other_colors():
    lane = lane_of("classes", 100)
    sums = LaneSums(lane)
    recolored = ClassLane("c", "c", lane.label[:], NAMES, COLORS[::-1])
    assert sums.hand_over(recolored) is sums
    assert sums.lane is recolored
    assert sums.hand_over(ClassLane("c", "c", lane.label.copy(), NAMES, COLORS)) is not sums
    assert sums.hand_over(ClassLane("c", "c", lane.label, NAMES[:2], COLORS[:2])) is not sums


def test_values_without_a_name_are_drawn_as_none():
    lane = ClassLane("c", "c", np.array([[1], [9], [3]], np.uint16), NAMES, COLORS)
    assert LaneSums(lane).whole().tolist() == [[1, 0, 1]]
    assert lane.bout_at(0, 1) is None


@pytest.mark.parametrize(("frame", "expected"), [(0, (0, 5)), (7, None), (10, (10, 6000)), (6000, (6000, 9000))])
def test_bout_at_a_frame_however_long_it_is(frame, expected):
    label = np.repeat([1, 0, 2, 1], [5, 5, 5990, 3000]).astype(np.uint16)[:, None]
    assert ClassLane("c", "c", label, NAMES, COLORS).bout_at(0, frame) == expected


@pytest.mark.parametrize(
    ("values", "limits"),
    [([0.1, 0.9], (0, 1)), ([0.5, 0.6], (0.5, 0.6)), ([-2, 3], (-2, 3)), ([np.nan], (0, 1))],
)
def test_limits_of_a_score(values, limits):
    assert ScoreLane("s", "s", np.array(values, np.float32)[:, None]).limits == pytest.approx(limits)
