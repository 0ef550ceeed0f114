"""Work in a thread: what it tells, how it ends, and that nothing of it stays behind."""

from __future__ import annotations

import threading
import time
import warnings

import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.gui.jobs.jobs import Job, Jobs, at_once
from napari_lookagain.progress import Progress


@pytest.fixture
def jobs(qtbot, no_leaks):
    """A runner whose jobs have all ended after the test."""
    jobs = Jobs()
    yield jobs
    assert jobs.stop()


@pytest.fixture
def run(qtbot, jobs):
    """Start work, and note all its signals by their names."""

    def start(work, **options) -> tuple[Job, list]:
        job, heard = Job("Testing", work, **options), []
        for name in ("told", "noted", "returned", "failed", "stopped", "ended"):
            getattr(job, name).connect(lambda *values, name=name: heard.append((name, *values)))
        jobs.start(job)
        return job, heard

    return start


def wait_for(qtbot, heard, name):
    qtbot.waitUntil(lambda: name in [each[0] for each in heard], timeout=5000)


def counting(n, seconds=0.0):
    """Work of n steps that is closed properly."""
    closed = threading.Event()

    def work():
        try:
            for i in range(n):
                time.sleep(seconds)
                yield Progress(i + 1, n, "counting", {"loss": 1 / (i + 1)})
            return n
        finally:
            closed.set()

    work.closed = closed
    return work


def test_all_that_is_told_arrives_and_then_the_result(qtbot, run, jobs):
    job, heard = run(counting(1000))
    assert jobs.running == [job]
    wait_for(qtbot, heard, "ended")
    told = [progress for name, *values in heard if name == "told" for progress in values[0]]
    assert [progress.done for progress in told] == list(range(1, 1001))
    assert [each for each in heard if each[0] != "told"] == [("returned", 1000), ("ended",)]
    assert jobs.running == []


def test_a_flood_of_progress_is_told_in_few_pieces(qtbot, run):
    _, heard = run(counting(3000, 1e-4))
    wait_for(qtbot, heard, "ended")
    assert sum(name == "told" for name, *_ in heard) < 100


def test_stop_closes_the_work_within_a_second(qtbot, run):
    work = counting(1_000_000, 0.01)
    job, heard = run(work)
    wait_for(qtbot, heard, "told")
    start = time.monotonic()
    job.stop()
    wait_for(qtbot, heard, "ended")
    assert time.monotonic() - start < 1
    assert work.closed.is_set()
    assert [name for name, *_ in heard if name != "told"] == ["stopped", "ended"]


def test_a_job_stopped_before_it_began_does_nothing(qtbot, run):
    begun = []
    job, heard = run(at_once(lambda: begun.append(1)))
    job.stop()
    wait_for(qtbot, heard, "ended")
    assert ("stopped",) in heard or ("returned", None) in heard  # it may have been faster


def test_bad_input_is_one_sentence_and_its_details(qtbot, run):
    def refuse():
        raise InputError("There is no such thing.")

    _, heard = run(at_once(refuse))
    wait_for(qtbot, heard, "ended")
    (failure,) = [values[0] for name, *values in heard if name == "failed"]
    assert failure.sentence == "There is no such thing."
    assert "Traceback" in failure.details
    assert "refuse" in failure.details


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("Give the rate (--fps)."), "Give the rate."),
        (PermissionError(13, "Permission denied", "/there"), "/there: Permission denied."),
        (KeyError("x"), "This should not have happened (KeyError: 'x'). Please send us the details."),
    ],
)
def test_every_error_becomes_a_sentence(qtbot, run, error, sentence):
    def fail():
        yield Progress(0, 1, "failing")
        raise error

    _, heard = run(fail)
    wait_for(qtbot, heard, "ended")
    assert [values[0].sentence for name, *values in heard if name == "failed"] == [sentence]


def test_our_warnings_are_told_and_those_of_libraries_are_not(qtbot, run):
    def warn():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn_explicit("Mind this.", UserWarning, "/x/napari_lookagain/session.py", 1)
            warnings.warn_explicit("A library's.", UserWarning, "/x/torch/nn.py", 1)
            warnings.warn_explicit("Old.", DeprecationWarning, "/x/napari_lookagain/session.py", 1)

    _, heard = run(at_once(warn))
    wait_for(qtbot, heard, "ended")
    assert [values for name, *values in heard if name == "noted"] == [["Mind this."]]


def test_the_runner_stops_everything_and_says_who_is_alone(qtbot, run, jobs):
    works = [counting(1_000_000, 0.01) for _ in range(2)]
    _, first = run(works[0])
    assert jobs.busy == ""
    _, second = run(works[1], alone=True)
    assert jobs.busy == "Testing"
    wait_for(qtbot, first, "told")
    wait_for(qtbot, second, "told")
    assert jobs.stop(5)
    assert jobs.running == []
    assert all(work.closed.is_set() for work in works)


def test_the_runner_gives_up_on_work_that_does_not_yield(qtbot, run, jobs):
    go_on = threading.Event()
    run(at_once(lambda: go_on.wait(10)))
    qtbot.wait(50)
    assert not jobs.stop(0.2)
    go_on.set()


def test_what_was_noted_stays_when_the_work_is_done(qtbot, qapp):
    from napari_lookagain.gui.message import Message

    message = Message()
    qtbot.addWidget(message)
    message.note("Mind this.")
    message.note("And this.")
    assert message.text.text() == "Mind this.\nAnd this."
    message.done("All is done.")
    assert message.text.text() == "All is done.\nMind this.\nAnd this."
    message.clear()
    message.done("Again.")
    assert message.text.text() == "Again."
