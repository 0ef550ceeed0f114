"""Many recordings: results as of one by one, what is skipped, tried again, killed, stopped or refused."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, replace

import dask
import numpy as np
import pytest
import torch
from dask.system import cpu_count
from threadpoolctl import threadpool_limits

import napari_lookagain.batch.workers as starting
from napari_lookagain.batch.dispatch import ENDED, KILLED, Batch
from napari_lookagain.batch.tasks import Task, carry_out
from napari_lookagain.batch.workers import open_workers
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, load_ethogram
from napari_lookagain.progress import drain
from napari_lookagain.runs import train
from napari_lookagain.session import load_session

WORKERS = 2


@pytest.fixture(scope="module")
def workers():
    """Two workers for all tests."""
    with open_workers("local", WORKERS, "cpu") as there:
        yield there


@pytest.fixture(scope="module")
def week(mice, tiny, tmp_path_factory):
    """Two recordings, the second without its video, and a model trained on the first; not to be changed."""
    folder = tmp_path_factory.mktemp("week")
    monday = load_session(shutil.copytree(mice, folder / "monday.lookagain"))
    replace(monday, video=None, path=None, recording="friday").save(folder / "friday.lookagain")
    drain(train([monday], folder / "model", tiny(), device="cpu"))
    return folder


@pytest.fixture
def folders(week, tmp_path):
    """Copies of the recordings, for a test to write into."""
    return [
        shutil.copytree(week / f"{name}.lookagain", tmp_path / f"{name}.lookagain") for name in ("monday", "friday")
    ]


@pytest.fixture(scope="module")
def long(tiny):
    """A training that lasts after its first checkpoint."""
    return tiny(pretrain={"epochs": 12})


def predicting(folders, week, **options) -> list[Task]:
    return [Task(f, "predict", run="predict", model=week / "model", device="cpu", **options) for f in folders]


@contextmanager
def as_in_a_worker():
    """One thread count for both: that of a worker."""
    threads = max(1, cpu_count() // WORKERS)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def one_by_one(tasks, folder) -> list[Ethogram]:
    """What the tasks give when nothing else is going on, each on a copy of its recording."""
    found = []
    for task in tasks:
        copy = shutil.copytree(task.folder, folder / task.folder.name)
        with as_in_a_worker():
            drain(carry_out(replace(task, folder=copy)))
        found.append(load_ethogram(copy / "runs" / task.run / "ethogram.npz"))
    return found


def assert_same(one: Ethogram, other: Ethogram) -> None:
    for each in fields(Ethogram):
        np.testing.assert_array_equal(getattr(one, each.name), getattr(other, each.name), err_msg=each.name)


def kept(task: Task) -> Ethogram:
    return load_ethogram(task.folder / "runs" / task.run / "ethogram.npz")


def test_results_are_those_of_one_by_one(workers, week, folders, tmp_path):
    tasks = predicting(folders, week)
    expected = one_by_one(tasks, tmp_path / "alone")
    batch = Batch(tasks)
    steps, seen = batch.run(workers), []
    for step in steps:
        seen.append((step.done, step.total))
        assert len(batch.of("running")) <= WORKERS
    assert seen[0] == (0, 2)
    assert seen == sorted(seen)
    assert [(row.state, row.tries, row.reason) for row in batch.rows] == [("done", 1, "")] * 2
    assert [row.result["looked"] > 0 for row in batch.rows] == [True, False]  # the second has no video
    assert {row.stage for row in batch.rows} <= {"reading motion", "looking", "reading behavior"}
    for task, ethogram in zip(tasks, expected, strict=True):
        assert_same(kept(task), ethogram)


def test_what_is_there_is_skipped_and_of_other_choices_refused(week, folders, tiny):
    run = [replace(task, folder=folders[0]) for task in predicting(folders[:1], week, budget=0.1)]
    drain(carry_out(run[0]))
    assert [(row.state, row.tries, row.reason) for row in Batch(run).rows] == [
        ("skipped", 0, "the run 'predict' is there already")
    ]
    for other in (replace(run[0], budget=0.2), replace(run[0], model=None, config=tiny())):
        (row,) = Batch([other]).rows
        assert row.state == "failed"
        assert "monday has a finished run 'predict' of another model, another budget or other settings" in row.reason
    (folders[0] / "runs" / "predict" / "ethogram.npz").write_bytes(b"damaged")
    assert [row.state for row in Batch(run).rows] == ["failed"]


def test_a_killed_worker_loses_only_its_recording_which_goes_on(workers, week, folders, long, tmp_path):
    """Killed after its first checkpoint; a second worker goes on, and ends as if nothing had happened."""
    tasks = [
        Task(folders[0], "segment", run="segment", config=long, device="cpu"),
        *predicting(folders[1:], week),
    ]
    expected = one_by_one(tasks, tmp_path / "alone")
    batch, killed = Batch(tasks), None
    checkpoint = folders[0] / "runs" / "segment" / "pretraining.pt"
    for _ in batch.run(workers):
        if killed is None and checkpoint.exists():
            pids = workers.client.run(os.getpid)
            busy = [where for where, keys in workers.client.processing().items() if any("-0-1" in k for k in keys)]
            killed = pids[busy[0]]
            os.kill(killed, signal.SIGKILL)
            written = checkpoint.read_bytes()
        if batch.rows[0].tries == 1 and batch.rows[0].state == "waiting":
            assert batch.rows[0].reason == KILLED
            assert checkpoint.read_bytes() == written  # it goes on from there
    assert [(row.state, row.tries) for row in batch.rows] == [("done", 2), ("done", 1)]
    assert killed not in workers.client.run(os.getpid).values()
    for task, ethogram in zip(tasks, expected, strict=True):
        assert_same(kept(task), ethogram)
    again = Batch(tasks)
    assert [row.state for row in again.rows] == ["skipped", "skipped"]
    assert [row.state for row in Batch([replace(tasks[0], budget=0.9)]).rows] == ["failed"]


def test_a_batch_that_is_stopped_stops_its_workers(workers, folders, long):
    batch = Batch([Task(folders[0], "segment", run="segment", config=long, device="cpu")])
    steps = batch.run(workers)
    for _ in steps:
        if (folders[0] / "runs" / "segment" / "pretraining.pt").exists():
            break
    steps.close()
    assert not any(workers.client.processing().values())
    assert not (folders[0] / "runs" / "segment" / "ethogram.npz").exists()
    assert workers.count == WORKERS


def test_bad_input_is_reported_and_other_errors_are_tried_again(workers, week, folders):
    missing, good = predicting([folders[0].with_name("sunday.lookagain"), folders[1]], week)
    broken = replace(good, folder=folders[0], model=None)  # nothing says what to train
    batch = Batch([missing, broken, good], retries=1)
    rows = drain(batch.run(workers))
    assert [(row.state, row.tries) for row in rows] == [("failed", 1), ("failed", 2), ("done", 1)]
    assert "sunday" in rows[0].reason
    assert rows[1].reason.startswith("AssertionError")
    assert "(tasks.py, line" in rows[1].reason


def test_a_recording_is_given_once(folders, week):
    with pytest.raises(InputError, match=r"monday\.lookagain is given twice"):
        Batch(predicting([folders[0], folders[0]], week))


def test_workers_that_are_there_are_used_and_left_alone(workers):
    with open_workers(workers.client.scheduler.address) as found:
        assert (found.count, found.sharing) == (WORKERS, None)
    assert workers.count == WORKERS


def test_clusters_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(starting, "SECONDS_TO_ANSWER", 0.5)
    for address in ("tcp://127.0.0.1:1", "somewhere"):
        with pytest.raises(InputError, match=f"No dask scheduler answers at '{address}'"), open_workers(address):
            pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(InputError, match=r"napari-lookagain\[slurm\]"), open_workers("slurm", 2):
        pass


def test_slurm_is_asked_for_where_it_is(monkeypatch, tmp_path):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="There is no sbatch here"), open_workers("slurm", 2):
        pass


SLURM = {  # what is asked of it: to start a job, and to end one
    "sbatch": """#!/bin/sh
cp "$1" "$0.job"
setsid sh "$0.job" >/dev/null 2>&1 &
echo "Submitted batch job $!"
""",
    "scancel": """#!/bin/sh
kill -9 -- "-$1"
""",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setsid") is None, reason="jobs are started with setsid")
def test_a_job_of_slurm_that_ends_is_replaced(monkeypatch, tmp_path, week, folders):
    pytest.importorskip("dask_jobqueue")
    for name, script in SLURM.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    job = {"jobqueue.slurm.cores": 1, "jobqueue.slurm.memory": "1GB", "distributed.deploy.lost-worker-timeout": "100ms"}
    with dask.config.set(job), open_workers("slurm", 1) as workers:
        batch, killed, until = Batch(predicting(folders, week)), None, time.monotonic() + 240
        for _ in batch.run(workers):
            assert time.monotonic() < until, "no job took the place of the one that ended"
            if killed is None and batch.of("running"):
                (killed,) = workers.client.run(os.getpid).values()
                os.kill(killed, signal.SIGKILL)
            if batch.rows[0].tries == 1 and batch.rows[0].state == "waiting":
                assert batch.rows[0].reason == ENDED
        assert killed not in workers.client.run(os.getpid).values()
    assert [(row.state, row.tries) for row in batch.rows] == [("done", 2), ("done", 1)]
