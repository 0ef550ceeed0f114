"""The command line from end to end, as a lab would use it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from napari_lookagain.ethogram import load_ethogram
from napari_lookagain.session import load_session

TINY = {
    "motion": {"width": 16, "latent_width": 8, "codes": 16, "layers": 1, "social_layers": 1, "heads": 2, "window": 32},
    "pretrain": {"epochs": 2, "stride": 32},
    "finetune": {"epochs": 2},
    "vision": {"components": 8},
}
SETTINGS = [
    word
    for section, values in TINY.items()
    for key, value in values.items()
    for word in ("--set", f"{section}.{key}={value}")
]
BORIS = """\
Time,Total length,FPS,Subject,Behavior,Status
0.00,12,25,No focal subject,walk,START
1.52,12,25,No focal subject,walk,STOP
2.00,12,25,No focal subject,groom,START
2.48,12,25,No focal subject,groom,STOP
"""
COMMANDS = ("new", "relocate", "label", "segment", "train", "predict", "export", "demo", "info", "doctor")


@pytest.fixture
def ask(lookagain):
    """Run a command that must succeed, and give what it says as JSON: exactly one line."""

    def run(*arguments):
        told = lookagain(*arguments, "--json")
        assert told.status == 0, told.err
        assert told.out.count("\n") == 1
        return json.loads(told.out)

    return run


@pytest.mark.slow
def test_from_files_to_tables(ask, simulated, tmp_path):
    folder, model = tmp_path / "mice.lookagain", tmp_path / "model"
    made = ask("new", folder, "--pose", simulated.pose, "--video", simulated.video)
    assert (made["recording"], made["frames"], made["animals"]) == ("mice", 300, list(simulated.animals))
    assert made["keypoints"] == list(simulated.keypoint_names)
    assert made["fps"] == 25
    labels = ask("label", folder, "--from", simulated.labels)
    assert labels["scored_frames"] == {
        name: int((simulated.truth == i).sum()) for i, name in enumerate(simulated.behaviors)
    }
    found = ask("segment", folder, "--budget", 0.25, "--clusters", 3, "--device", "cpu", *SETTINGS)
    assert found["run"] == "segment"
    [session] = found["sessions"]
    assert (session["frames"], session["looked"], session["of"]) == (300, 2 * (9 * 8 + 3), 600)
    assert session["classes"] == ["cluster 1", "cluster 2", "cluster 3"]
    report = ask("train", folder, "--out", model, "--device", "cpu", "--seed", 5, *SETTINGS)
    assert report["scored_frames"] == labels["scored_frames"]
    predicted = ask("predict", model, folder, "--budget", 0.1)
    assert predicted["sessions"][0]["looked"] == 2 * (9 * 4 + 2)
    assert ask("predict", model, folder)["run"] == "predict-2"
    for what, rows in (("frames", 600), ("bouts", None), ("stats", 10)):
        told = ask("export", folder, "--what", what, "--out", tmp_path / f"{what}.csv", "--run", "predict")
        table = pd.read_csv(tmp_path / f"{what}.csv")
        assert len(table) == told["rows"] == (rows or len(table)) > 0
    assert ask("info", folder)["runs"] == ["predict", "predict-2", "segment"]
    assert set(ask("info", model)["names"]) == set(simulated.behaviors)
    assert ask("info", simulated.video)["frames"] == 300
    assert ask("info", simulated.pose)["software"] == "DeepLabCut"
    again = ask("segment", folder, "--model", folder / "runs" / "segment" / "model", "--budget", 0)
    assert (again["run"], again["sessions"][0]["looked"]) == ("segment-2", 0)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))["config"]
    assert config["training"]["seed"] == 5
    assert config["motion"]["codes"] == 16


def test_exported_labels_are_read_back(ask, mice, simulated, tmp_path):
    folder = shutil.copytree(mice, tmp_path / "a.lookagain")
    ask("export", folder, "--what", "bouts", "--out", tmp_path / "bouts.csv")
    blank = tmp_path / "b.lookagain"
    ask("new", blank, "--pose", simulated.pose, "--fps", 25)
    ask("label", blank, "--from", tmp_path / "bouts.csv", "--rater", "ann")
    one, other = load_session(folder).annotations, load_session(blank).annotations
    assert other.raters == ("ann",)
    names = [[each.behaviors[code] for code in each.labels().ravel()] for each in (one, other)]
    assert names[0] == names[1]


def test_a_video_alone_is_scored_and_exported(ask, lookagain, simulated, tmp_path):
    folder = tmp_path / "watched.lookagain"
    made = ask("new", folder, "--video", simulated.video)
    assert (made["frames"], made["animals"], made["keypoints"], made["pose"]) == (300, ["animal_0"], [], None)
    (tmp_path / "boris.csv").write_text(BORIS, encoding="utf-8")
    assert ask("label", folder, "--from", tmp_path / "boris.csv")["scored_frames"] == {"walk": 38, "groom": 12}
    assert ask("info", folder) == made | {"behaviors": ["walk", "groom"]}
    for what, rows in (("bouts", 2), ("stats", 2), ("boris", 4)):
        assert ask("export", folder, "--what", what, "--out", tmp_path / f"{what}.csv")["rows"] == rows
    for command in (("segment",), ("train", "--out", tmp_path / "model")):
        told = lookagain(command[0], folder, *command[1:])
        assert told.status == 2
        assert "watched has no keypoints" in told.err
        assert "lookagain train --head tcn" in told.err
    assert ask("info", folder)["runs"] == []


def test_a_video_that_moved_is_found_again(ask, lookagain, simulated, tmp_path):
    folder, video = tmp_path / "mice.lookagain", shutil.copy(simulated.video, tmp_path / "mice.mp4")
    made = ask("new", folder, "--pose", simulated.pose, "--video", video)
    moved = shutil.move(video, tmp_path / "moved.mp4")
    shutil.copy(simulated.pose, tmp_path / "other.mp4")
    before = (folder / "session.json").read_bytes()
    for wrong, message in (("other.mp4", "is not the video this session was"), ("none.mp4", "cannot be read")):
        told = lookagain("relocate", folder, "--video", tmp_path / wrong)
        assert told.status == 2
        assert message in told.err
    assert (folder / "session.json").read_bytes() == before
    relocated = ask("relocate", folder, "--video", moved)
    assert relocated == made | {"video": made["video"].replace(str(video), str(moved))}
    load_session(folder).open_video().close()


def test_without_a_video_the_budget_is_0(ask, simulated, tmp_path):
    folder = tmp_path / "blind.lookagain"
    ask("new", folder, "--pose", simulated.pose, "--fps", 25, "--heading", "tailbase,nose")
    ask("label", folder, "--from", simulated.labels)
    assert ask("segment", folder, *SETTINGS)["sessions"][0]["looked"] == 0
    ask("train", folder, "--out", tmp_path / "model", *SETTINGS)
    assert ask("predict", tmp_path / "model", folder)["sessions"][0]["looked"] == 0


@pytest.mark.slow
def test_a_model_is_applied_with_its_own_budget(ask, lookagain, mice, tmp_path):
    folder = shutil.copytree(mice, tmp_path / "mice.lookagain")
    model = folder / "runs" / "segment" / "model"
    few = 2 * (9 * 4 + 2)  # windows of 32, the last of 12
    assert ask("segment", folder, "--budget", 0.1, "--clusters", 3, *SETTINGS)["sessions"][0]["looked"] == few
    assert ask("segment", folder, "--model", model)["sessions"][0]["looked"] == few
    told = lookagain("segment", folder, "--model", model, "--clusters", 4)
    assert (told.status, told.out) == (2, "")
    assert "With --model nothing is trained; leave out --clusters" in told.err


def test_what_a_person_reads(lookagain, mice):
    told = lookagain("info", mice)
    assert told.status == 0
    assert told.out.splitlines()[:2] == ["recording: mice", "frames: 300"]
    assert "animals: mouse1, mouse2" in told.out
    assert told.err == ""


def test_doctor_answers(ask, lookagain):
    assert ask("doctor")
    assert "napari-lookagain" in lookagain("doctor").out


@pytest.mark.parametrize("arguments", [(), ("--help",), *((command, "--help") for command in COMMANDS)])
def test_there_is_help(lookagain, arguments):
    told = lookagain(*arguments)
    assert told.status == 0
    assert "Usage:" in told.out
    assert told.err == ""


LISTENS = """
import signal
from napari_lookagain.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background is deaf to it
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_a_command_that_is_interrupted_says_how_to_go_on(mice, lookagain, tmp_path):
    folder = shutil.copytree(mice, tmp_path / "mice.lookagain")
    arguments = ["segment", str(folder), *SETTINGS, "--set", "pretrain.epochs=100000"]
    command = subprocess.Popen([sys.executable, "-c", LISTENS, *arguments], stderr=subprocess.PIPE, text=True)
    checkpoint, end = folder / "runs" / "segment" / "pretraining.pt", time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    try:
        _, err = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 130
    assert err == "Stopped; the same command goes on from here.\n"
    told = lookagain(*arguments[:-1], "pretrain.epochs=3")
    assert "checkpoint" in told.err, "the same command would take this run up again"


def rows_by_animal(path):
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {animal: sum(row["animal"] == animal for row in rows) for animal in {row["animal"] for row in rows}}


XYZ = "nose,neck,back,hip,tail,front_left,front_right,hind_left,hind_right"
RECORDINGS = {
    "flies": ("flies/flies.analysis.h5", "flies/flies.mp4", 3000, 2, []),
    "flies slp": ("flies/flies.slp", "flies/flies.mp4", 3000, 2, []),
    "mabe": ("mabe/*.h5", "mabe/*.mp4", 1800, 3, []),
    "vame_mouse": ("vame_mouse/*.csv", "vame_mouse/*.mp4", 749, 1, []),
    "subtle_mice": ("subtle_mice/coords/*", None, None, 1, ["--fps", "20", "--keypoints", XYZ]),
}


@pytest.mark.slow
@pytest.mark.parametrize("recording", RECORDINGS)
def test_real_recordings(data, ask, tmp_path, recording):
    pose, video, n_frames, n_animals, options = RECORDINGS[recording]
    folder = tmp_path / "real.lookagain"
    given = [] if video is None else ["--video", sorted(data.glob(video))[0]]
    made = ask("new", folder, "--pose", sorted(data.glob(pose))[0], *given, *options)
    n_frames = n_frames or made["frames"]
    assert (made["frames"], len(made["animals"])) == (n_frames, n_animals)
    budget = 0 if video is None else 0.25
    few = ["--set", "training.max_windows=4", "--set", "pretrain.epochs=1", "--set", "finetune.epochs=1"]
    ask("segment", folder, "--budget", budget, "--clusters", 3, "--device", "cpu", *SETTINGS, *few)
    ethogram = load_ethogram(folder / "runs" / "segment" / "ethogram.npz")
    assert ethogram.label.shape == (n_frames, n_animals)
    assert (ethogram.label >= 0).all()
    starts = range(0, n_frames, 32)
    looks = [ethogram.looked[start : start + 32].sum(0).tolist() for start in starts]
    wanted = [-(-len(ethogram.looked[start : start + 32]) // 4) if budget else 0 for start in starts]
    assert looks == [[k] * n_animals for k in wanted]
    ask("export", folder, "--what", "frames", "--out", tmp_path / "frames.csv")
    assert rows_by_animal(tmp_path / "frames.csv") == dict.fromkeys(made["animals"], n_frames)


def test_napari_without_qt_says_what_to_install(mice, lookagain, monkeypatch):
    monkeypatch.setitem(sys.modules, "napari_lookagain.gui.present", None)  # what an import that fails looks like
    told = lookagain("open", mice)
    assert told.status != 0
    assert "pip install 'napari-lookagain[all]'" in told.err
    assert "\n" not in told.err.strip()
