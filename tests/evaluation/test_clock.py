"""What a prediction takes, whoever looked before: put together from made-up times."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_lookagain.evaluation.clock import Clock, seconds_alone
from napari_lookagain.progress import Progress, drain


def trial(arm: str, *budgets: tuple[float | None, int, float, float, float, int]) -> dict:
    """Of every budget: looks it needs; seconds of motion, looking and rest; images it looked at itself."""
    names = ("motion", "looking", "rest", "images")
    return {
        "arm": arm,
        "budgets": [
            {"budget": budget, "looks": looks, "clock": dict(zip(names, clock, strict=True))}
            for budget, looks, *clock in budgets
        ],
    }


def test_a_budget_pays_for_what_others_had_seen_and_read_before_it():
    gate = trial("gate", (0, 0, 4.0, 0.0, 1.0, 0), (0.5, 50, 0.0, 5.0, 1.0, 50), (1, 100, 0.0, 5.0, 1.5, 50))
    assert seconds_alone([gate]) == [[5.0, 10.0, 15.5]]  # a tenth of a second for each look


def test_an_arm_for_which_others_had_seen_everything_pays_at_their_pace():
    gate = trial("gate", (1, 100, 4.0, 20.0, 1.0, 100))
    grid = trial("grid", (0.5, 50, 4.0, 0.0, 1.0, 0))
    assert seconds_alone([gate, grid]) == [[25.0], [15.0]]


def test_a_method_without_a_budget_took_what_it_took():
    assert seconds_alone([trial("trees", (None, 100, 0.0, 3.0, 2.0, 200))]) == [[5.0]]


def test_where_nothing_was_seen_anew_the_time_of_looks_is_not_known():
    [[blind, sees]] = seconds_alone([trial("gate", (0, 0, 4.0, 0.0, 1.0, 0), (1, 100, 0.0, 0.1, 1.0, 0))])
    assert blind == 5
    assert np.isnan(sees)


def _busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_the_clock_counts_by_stage_and_not_between_the_steps():
    def work():
        for stage, done in (("reading motion", 1), ("looking at the video", 3), ("looking at the video", 7)):
            _busy(0.02)
            yield Progress(done, 7, stage)
        _busy(0.02)
        return "told"

    def asked():
        steps = clock.over(work())
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            _busy(0.1)
            yield step

    clock = Clock()
    assert drain(asked()) == "told"
    assert clock.images == 7
    for seconds, least in ((clock.motion, 0.02), (clock.looking, 0.04), (clock.rest, 0.02)):
        assert seconds >= least
    assert clock.motion + clock.looking + clock.rest < 0.08 + 0.1  # 0.3 were spent between


@pytest.mark.parametrize("fails", [ValueError, KeyboardInterrupt])
def test_what_fails_under_the_clock_fails(fails):
    def work():
        yield Progress(0, 1, "reading motion")
        raise fails

    with pytest.raises(fails):
        drain(Clock().over(work()))
