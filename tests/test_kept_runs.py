"""Which runs a session has, which of them can go on, and what they were begun with."""

from __future__ import annotations

import json
import os

import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.kept_runs import kept_runs, resumable_segment, unused_name
from napari_lookagain.progress import drain
from napari_lookagain.runs import predict_all


@pytest.fixture
def ethogram(session):
    """An ethogram to stand in a run."""
    return Ethogram.from_labels(
        session.annotations.labels(),
        session.annotations.behaviors,
        recording=session.recording,
        fps=session.fps,
        animals=session.animals,
    )


def test_a_finished_run_tells_how_it_was_made(session, tiny):
    config = tiny(look={"budget": 0.2})
    (ethogram,) = drain(resumable_segment(session, config, run="first", device="cpu"))
    (run,) = kept_runs(session)
    assert (run.name, run.kind, run.budget, run.finished) == ("first", "cluster", 0.2, True)
    assert run.config == config
    assert run.scope == "window"
    assert run.model == session.run_folder("first") / "model"
    assert not (session.run_folder("first") / "begun.json").exists()
    assert ethogram.kind == "cluster"
    drain(predict_all(run.model, [session], budget=0.1, scope="recording", run="again", device="cpu"))
    again = next(each for each in kept_runs(session) if each.name == "again")
    assert (again.budget, again.scope) == (0.1, "recording"), "and not what the model was made with"


def test_runs_are_listed_the_latest_first(session, ethogram):
    for i, name in enumerate(("a", "c", "b")):
        file = session.run_folder(name) / "ethogram.npz"
        ethogram.save(file)
        os.utime(file, (1000 + i, 1000 + i))
    assert [run.name for run in kept_runs(session)] == ["b", "c", "a"]
    assert all(run.kind == "behavior" and run.model is None and run.config is None for run in kept_runs(session))


def test_a_run_that_was_cut_off_remembers_its_settings_and_goes_on(session, tiny):
    config = tiny(pretrain={"epochs": 5})
    work = resumable_segment(session, config, run="long", device="cpu")
    while not any(session.run_folder("long").glob("*.pt")):
        next(work)
    work.close()
    (run,) = kept_runs(session)
    assert not run.finished
    assert run.config == config
    drain(resumable_segment(session, run.config, run=run.name, device="cpu"))
    assert kept_runs(session)[0].finished


def test_a_run_that_had_not_begun_to_learn_leaves_nothing(session, tiny):
    work = resumable_segment(session, tiny(), run="short", device="cpu")
    next(work)
    assert session.runs == ["short"]
    work.close()
    assert session.runs == []


def test_a_run_that_was_refused_leaves_nothing(session, tiny):
    with pytest.raises(InputError, match="no device 'tpu'"):
        drain(resumable_segment(session, tiny(), run="bad", device="tpu"))
    assert session.runs == []


@pytest.mark.parametrize("content", ["nonsense", "[]", json.dumps({"look": {"unheard": 1}})])
def test_settings_that_cannot_be_read_are_not_known(session, content):
    folder = session.run_folder("old")
    folder.mkdir(parents=True)
    (folder / "begun.json").write_text(content, "utf-8")
    (run,) = kept_runs(session)
    assert not run.finished
    assert run.config is None


def test_a_damaged_ethogram_counts_as_cut_off(session):
    folder = session.run_folder("broken")
    folder.mkdir(parents=True)
    (folder / "ethogram.npz").write_bytes(b"PK\x03\x04")
    (run,) = kept_runs(session)
    assert not run.finished


def test_names_are_free_of_finished_and_unfinished_runs(session, ethogram):
    assert unused_name(session, "segment") == "segment"
    ethogram.save(session.run_folder("segment") / "ethogram.npz")
    session.run_folder("segment-2").mkdir(parents=True)
    assert unused_name(session, "segment") == "segment-3"
