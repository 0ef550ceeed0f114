"""``lookagain batch``: what it says, writes and refuses."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from distributed import LocalCluster

from napari_lookagain.progress import drain
from napari_lookagain.runs import train
from napari_lookagain.session import load_session


@pytest.fixture(scope="module")
def model(mice, tiny, tmp_path_factory):
    """A model trained on the simulated mice."""
    folder = tmp_path_factory.mktemp("trained")
    session = load_session(shutil.copytree(mice, folder / "mice.lookagain"))
    drain(train([session], folder / "model", tiny(), device="cpu"))
    return folder / "model"


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with one worker, here a thread."""
    here = {"processes": False, "protocol": "tcp://", "dashboard_address": None, "silence_logs": False}
    with LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=0, **here) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def week(mice, tmp_path):
    return [shutil.copytree(mice, tmp_path / f"{day}.lookagain") for day in ("monday", "friday")]


def test_recordings_are_predicted_skipped_and_exported(lookagain, scheduler, week, model, tmp_path):
    missing = tmp_path / "sunday.lookagain"
    predict = ["batch", *week, missing, "--command", "predict", "--model", model, "--device", "cpu"]
    told = lookagain(*predict, "--scheduler", scheduler, "--budget", 0.1, "--json", "--report", tmp_path / "report.csv")
    assert told.status == 1
    report = json.loads(told.out)
    assert (report["done"], report["skipped"], report["failed"]) == (2, 0, 1)
    assert [row["state"] for row in report["recordings"]] == ["done", "done", "failed"]
    assert report["recordings"][0]["result"]["frames"] == 300
    assert "sunday" in report["recordings"][2]["reason"]
    assert "monday: done" in told.err  # a log has a line for each
    table = pd.read_csv(tmp_path / "report.csv")
    assert list(table.columns) == ["recording", "folder", "state", "tries", "seconds", "reason"]
    assert list(table["tries"]) == [1, 1, 1]

    again = lookagain("batch", *week, "--command", "predict", "--model", model, "--budget", 0.1)  # starts no worker
    assert again.status == 0
    assert again.out.splitlines() == [
        "monday: skipped: the run 'predict' is there already",
        "friday: skipped: the run 'predict' is there already",
        "0 done, 2 skipped, 0 failed",
    ]

    export = ["batch", *week, "--command", "export", "--what", "stats", "--out", tmp_path / "tables"]
    assert lookagain(*export, "--scheduler", scheduler).status == 0
    alone = lookagain("export", week[1], "--what", "stats", "--out", tmp_path / "alone.csv")
    assert alone.status == 0
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["friday.csv", "monday.csv"]
    assert (tmp_path / "tables" / "friday.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--command", "train"], "batch got --command train, expected one of segment, predict, export"),
        (["--command", "predict"], "--command predict needs a trained model"),
        (["--command", "predict", "--model", "nowhere"], "nowhere is not a model folder"),
        (["--command", "predict", "--model", "MODEL", "--clusters", 4], "does not take --clusters"),
        (["--command", "segment", "--model", "MODEL", "--set", "look.select=topk"], "does not take --set"),
        (["--command", "segment", "--set", "look.selekt=topk"], "selekt"),
        (["--command", "export"], "needs a folder for the tables"),
        (["--command", "export", "--out", "tables", "--budget", 0.1], "does not take --budget"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_worker_starts(lookagain, week, model, options, error):
    told = lookagain("batch", *week, *[model if word == "MODEL" else word for word in options])
    assert told.status == 2
    assert error in told.err
    assert told.err.count("\n") == 1
    assert not list((week[0] / "runs").iterdir())


def test_tables_of_two_recordings_of_one_name_are_refused(lookagain, week, tmp_path):
    other = shutil.copytree(week[0], tmp_path / "other" / "monday.lookagain")
    told = lookagain("batch", week[0], other, "--command", "export", "--out", tmp_path / "tables")
    assert told.status == 2
    assert "would be one file" in told.err
