"""Learning from corrections: a run with a model, a report, and nothing left behind when it is stopped."""

from __future__ import annotations

import shutil

import pytest

from napari_lookagain.cost import Forecast
from napari_lookagain.errors import InputError
from napari_lookagain.kept_runs import kept_runs
from napari_lookagain.learning import base_run, latest_report, learn, stages
from napari_lookagain.progress import drain
from napari_lookagain.runs import segment


@pytest.fixture(scope="module")
def segmented(mice, tiny, tmp_path_factory):
    """A session with a run of clusters; not to be changed."""
    from napari_lookagain.session import load_session

    session = load_session(shutil.copytree(mice, tmp_path_factory.mktemp("segmented") / "mice.lookagain"))
    drain(segment([session], tiny(look={"budget": 0.2})))
    return session.path


@pytest.fixture
def clustered(segmented, tmp_path):
    """A copy of it."""
    from napari_lookagain.session import load_session

    return load_session(shutil.copytree(segmented, tmp_path / "clustered.lookagain"))


def test_the_head_is_trained_on_what_the_clusters_learnt(clustered):
    assert base_run(clustered).name == "segment"
    assert latest_report(clustered) is None
    told = []
    work = learn(clustered)
    try:
        while True:
            told.append(next(work).stage)
    except StopIteration as end:
        lesson = end.value
    assert "fine-tuning" in told
    assert "pretraining" not in told
    assert lesson.run == "behavior"
    assert lesson.ethogram.kind == "behavior"
    assert lesson.ethogram.looked.mean() == pytest.approx(0.2, abs=0.03)
    assert latest_report(clustered) == lesson.report
    names = list(lesson.report["scored_frames"])
    assert len(lesson.report["held_out"]["confusion"]) == len(names)
    assert kept_runs(clustered)[0].name == "behavior"


def test_a_second_lesson_is_another_run(clustered):
    drain(learn(clustered))
    clustered.annotations.assign(0, 0, 50, "sniff")
    lesson = drain(learn(clustered))
    assert lesson.run == "behavior-2"
    assert "sniff" in lesson.ethogram.names
    assert latest_report(clustered) == lesson.report


def test_without_clusters_everything_is_learnt(session, tiny):
    assert base_run(session) is None
    lesson = drain(learn(session, tiny(look={"budget": 0.0})))
    assert "pretraining" in lesson.report
    assert not lesson.ethogram.looked.any()


def test_stopped_work_leaves_nothing_behind(clustered):
    work = learn(clustered)
    while next(work).stage != "fine-tuning":
        pass
    work.close()
    assert clustered.runs == ["segment"]


def test_too_little_is_refused(clustered):
    for animal in range(2):
        clustered.annotations.clear(animal, 0, clustered.n_frames, "simulated truth")
    clustered.annotations.assign(0, 0, 10, "walk")
    with pytest.raises(InputError, match="only 'walk' is scored"):
        drain(learn(clustered))
    assert clustered.runs == ["segment"]


def test_the_forecast_counts_what_is_to_be_learnt(clustered, session):
    whole = stages(clustered)
    names = [part.stage for part in whole]
    assert "pretraining" not in names
    assert "pretraining" in [part.stage for part in stages(session)]
    for animal in range(2):
        clustered.annotations.clear(animal, 100, clustered.n_frames, "simulated truth")
    part = stages(clustered)
    steps = [each[names.index("fine-tuning")].steps for each in (part, whole)]
    assert 0 < steps[0] < steps[1]
    assert Forecast(part).seconds < Forecast(whole).seconds
