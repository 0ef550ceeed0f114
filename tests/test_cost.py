"""What a run costs: looks counted exactly, time told from what is expected and from how it goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_lookagain.allocation import choose_looks
from napari_lookagain.cost import (
    Forecast,
    Part,
    count_learnt,
    count_looks,
    expected,
    in_words,
    look_again,
    segmentation,
)
from napari_lookagain.kept_runs import resumable_segment
from napari_lookagain.motion_pass import MotionPass
from napari_lookagain.progress import Progress


@pytest.mark.parametrize("n_frames", [1, 31, 32, 300])
@pytest.mark.parametrize("budget", [0.0, 0.07, 0.25, 1.0])
@pytest.mark.parametrize("scope", ["window", "recording"])
def test_looks_are_counted_as_they_will_be_chosen(n_frames, budget, scope, tiny):
    class Model:
        config = tiny()

    torch.manual_seed(0)
    motion = MotionPass(np.zeros((1, n_frames, 2), np.float32), np.random.default_rng(0).normal(size=(1, n_frames, 4)))
    assert choose_looks(Model(), motion, budget, scope).sum() == count_looks(n_frames, 32, budget, scope)


def test_a_long_recording_is_learnt_in_part(tiny):
    config = tiny(training={"max_windows": 10})
    assert count_learnt(300, config) == 300
    assert count_learnt(1_000_000, config) == 320


def test_the_stages_are_those_that_a_run_goes_through(session, tiny):
    config = tiny()
    told = []
    work = resumable_segment(session, config, run="segment", device="cpu")
    for progress in work:
        if not told or told[-1].stage != progress.stage:
            told.append(progress)
    parts = segmentation(session, config)
    inside = {"held-out windows", "finding clusters"}
    stages = list(dict.fromkeys(each.stage for each in told if each.stage not in inside))
    assert stages == list(dict.fromkeys(part.stage for part in parts))  # the second look finds all of it kept
    totals = {each.stage: each.total for each in told}
    for part in parts:
        if part.stage in ("pretraining", "fine-tuning", "reading motion", "reading behavior"):
            assert part.steps == pytest.approx(totals[part.stage], rel=0.35), part.stage


def test_without_a_video_nothing_is_looked_at(session, tiny):
    session.video = None
    stages = [part.stage for part in segmentation(session, tiny(look={"budget": 0.0}))]
    assert stages == ["pretraining", "reading motion", "reading behavior"]  # k-means alone has no gate to tune
    blind = tiny(look={"budget": 0.0}, finetune={"discover": "dec"})
    assert "fine-tuning" in [part.stage for part in segmentation(session, blind)]
    assert [part.stage for part in look_again(session, tiny(), 0.0)] == ["reading motion", "reading behavior"]


def test_what_is_expected_is_said_in_one_sentence(session, tiny):
    config = tiny(look={"budget": 0.1})
    looks = 2 * 2 * count_looks(300, 32, 0.1)
    said = expected([session, session], config, "cpu")
    assert said.startswith(f"Looks at {looks} of 1200 frames of animals; takes ")
    assert expected([session], config, "cpu", budget=0.0, trained=True).startswith("Looks at 0 of 600 frames")


def test_more_costs_more(session, tiny):
    def seconds(**changes):
        return Forecast(segmentation(session, tiny(**changes))).seconds

    assert seconds() < seconds(pretrain={"epochs": 30})
    assert seconds() < seconds(motion={"width": 64, "heads": 2})
    assert seconds() < seconds(vision={"encoder": "dinov2"}) < seconds(vision={"encoder": "qwen3-vl"})
    assert Forecast(look_again(session, tiny(), 0.1)).seconds < Forecast(look_again(session, tiny(), 0.9)).seconds


@pytest.fixture
def parts():
    """Two stages of 10 s each."""
    return [Part("learning", 100, 0.1, "learning"), Part("looking", 10, 1.0, "looking pca")]


def test_before_it_starts_the_time_left_is_what_is_expected(parts):
    forecast = Forecast(parts, {"looking pca": 3.0})
    assert forecast.seconds == forecast.left(5.0) == pytest.approx(40)
    assert forecast.share(5.0) == 0
    assert forecast.stage == ""


def test_the_time_left_follows_what_is_measured(parts):
    forecast = Forecast(parts)
    for done in range(1, 51):
        forecast.watch(Progress(done, 100, "learning"), 100 + 0.2 * (done - 1))  # twice as slow as expected
    assert forecast.stage == "learning"
    assert forecast.left(109.8) == pytest.approx(30, rel=0.15)
    assert forecast.share(109.8) == pytest.approx(0.25, rel=0.15)


def test_a_stage_within_another_counts_to_it(parts):
    forecast = Forecast(parts)
    forecast.watch(Progress(1, 100, "learning"), 0)
    forecast.watch(Progress(1, 3, "held-out windows"), 1)
    assert forecast.stage == "learning"
    forecast.watch(Progress(100, 100, "learning"), 20)
    forecast.watch(Progress(1, 10, "looking"), 21)
    assert forecast.stage == "looking"
    forecast.watch(Progress(10, 10, "looking"), 30)
    factors = forecast.end()
    assert factors["learning"] == pytest.approx(20 / 9.9, rel=0.02)
    assert factors["looking pca"] == pytest.approx(1, rel=0.02)


def test_a_resumed_stage_is_measured_from_where_it_went_on(parts):
    forecast = Forecast(parts)
    forecast.watch(Progress(80, 100, "learning"), 0)
    assert forecast.left(0) == pytest.approx(12, rel=0.05)


def test_a_stage_that_was_skipped_takes_no_time(parts):
    forecast = Forecast(parts)
    forecast.watch(Progress(1, 10, "looking"), 0)
    assert forecast.left(0) == pytest.approx(9, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "a few seconds"), (6, "about 10 s"), (80, "about 80 s"), (200, "about 3 min"), (9000, "about 2.5 h")],
)
def test_times_are_told_no_more_exactly_than_they_are_known(seconds, words):
    assert in_words(seconds).replace("\N{NO-BREAK SPACE}", " ") == words
