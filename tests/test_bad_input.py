"""Bad input: one clear line on stderr, an exit status that is not 0, and nothing half-written left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from napari_lookagain.progress import drain
from napari_lookagain.runs import segment, train
from napari_lookagain.session import load_session, new_session


@pytest.fixture(scope="module")
def kept(simulated, mice, tiny, tmp_path_factory):
    """Good and bad files of every kind; tests work on a copy."""
    folder = tmp_path_factory.mktemp("kept")
    for path in (simulated.video, simulated.pose, simulated.labels):
        shutil.copy(path, folder)
    session = load_session(shutil.copytree(mice, folder / "mice.lookagain"))
    drain(segment([session], tiny(), device="cpu"))
    drain(train([session], folder / "model", tiny(), device="cpu"))
    shutil.copytree(mice, folder / "unlabelled.lookagain", ignore=shutil.ignore_patterns("*.json*"))
    shutil.copy(mice / "session.json", folder / "unlabelled.lookagain")
    make_bad_videos(folder)
    make_bad_poses(folder)
    make_bad_labels(folder)
    make_bad_folders(folder)
    return folder


@pytest.fixture
def place(kept, tmp_path, monkeypatch):
    """A copy of these files, to stand in."""
    copy = shutil.copytree(kept, tmp_path / "place")
    monkeypatch.chdir(copy)
    return copy


def make_bad_videos(folder):
    content = (folder / "mice.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video\n" * 100)
    nothing = ["-f", "lavfi", "-i", "testsrc2", "-frames:v", "0", "-c:v", "mjpeg", folder / "none.avi"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *nothing], check=True)
    first = ["-i", folder / "mice.mp4", "-frames:v", "200", folder / "short.mp4"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *first], check=True)


def make_bad_poses(folder):
    lines = (folder / "mice.pose.csv").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("0,"))
    head, width = lines[:first], lines[first].count(",")
    (folder / "one.csv").write_text("\n".join([*head, lines[first]]) + "\n")
    (folder / "nan.csv").write_text("\n".join([*head, *(f"{i}" + "," * width for i in range(300))]) + "\n")
    (folder / "torn.csv").write_text("\n".join([*head, "0,1,2,three"]) + "\n")
    (folder / "notes.csv").write_text("dear diary,\nnothing happened\n")
    (folder / "random.h5").write_bytes(np.random.default_rng(0).bytes(3000))


def make_bad_labels(folder):
    head = "animal,behavior,start_frame,stop_frame\n"
    (folder / "past.csv").write_text(head + "mouse1,walk,290,301\n")
    (folder / "overlap.csv").write_text(head + "mouse1,walk,10,20\nmouse2,walk,15,30\nmouse1,rest,19,30\n")
    (folder / "who.csv").write_text(head + "rat,walk,10,20\n")
    (folder / "one_behavior.csv").write_text(head + "mouse1,walk,10,20\n")


def make_bad_folders(folder):
    session = new_session(video=folder / "mice.mp4", recording="untracked")
    session.annotations.set_frames(np.arange(300)[:, None] % 2, ["walk", "rest"])
    session.save(folder / "untracked.lookagain")
    for name, kind, change in (
        ("newer.lookagain", "mice.lookagain/session.json", {"schema": 99}),
        ("newer_model", "model/config.json", {"schema": 99}),
        ("other_model", "model/config.json", {}),
    ):
        source, file = kind.split("/")
        shutil.copytree(folder / source, folder / name)
        told = json.loads((folder / name / file).read_text(encoding="utf-8")) | change
        if name == "other_model":
            told["card"]["keypoint_names"][0] = "snout"
        (folder / name / file).write_text(json.dumps(told), encoding="utf-8")
    shutil.copytree(folder / "model", folder / "damaged_model")
    (folder / "damaged_model" / "weights.safetensors").write_bytes(b"torn")
    shutil.copytree(folder / "mice.lookagain", folder / "damaged.lookagain")
    (folder / "damaged.lookagain" / "keypoints.npz").write_bytes(b"PK\x03\x04torn")
    shutil.copytree(folder / "mice.lookagain", folder / "moved.lookagain")
    told = json.loads((folder / "moved.lookagain" / "session.json").read_text(encoding="utf-8"))
    told["video"] |= {"path": "/nowhere/mice.mp4", "relative": "../nowhere.mp4"}
    (folder / "moved.lookagain" / "session.json").write_text(json.dumps(told), encoding="utf-8")


def listing(folder):
    """Every file with its content, folders too; what is kept of a look is whole by itself."""
    found = (path for path in folder.rglob("*") if "features" not in path.parts)
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in found}


NEW = "new x.lookagain --pose"
BAD = {
    # videos
    "truncated video": (f"{NEW} mice.pose.csv --video cut.mp4", "cut.mp4 .*cut short"),
    "empty video": (f"{NEW} mice.pose.csv --video empty.mp4", "empty.mp4 is empty"),
    "no video": (f"{NEW} mice.pose.csv --video text.mp4", "text.mp4 .*not a video"),
    "no frames": (f"{NEW} mice.pose.csv --video none.avi", "none.avi .*without a single frame"),
    "missing video": (f"{NEW} mice.pose.csv --video nowhere.mp4", r"nowhere\.mp4"),
    "other video": (f"{NEW} mice.pose.csv --video short.mp4", "pose has 300 frames and the video 200"),
    "moved video": ("segment moved.lookagain --run x", "The video of the session mice is not at .*nowhere"),
    # poses
    "pose of the wrong kind": (f"{NEW} mice.mp4", r"mice\.mp4"),
    "notes for a pose": (f"{NEW} notes.csv", r"notes\.csv"),
    "random bytes for a pose": (f"{NEW} random.h5", r"random\.h5"),
    "torn pose": (f"{NEW} torn.csv --fps 25", r"torn\.csv"),
    "another program's pose": (f"{NEW} mice.pose.csv --software SLEAP", "mice.pose.csv cannot be opened as HDF5"),
    "missing pose": (f"{NEW} nowhere.csv", r"nowhere\.csv"),
    "all NaN": (f"{NEW} nan.csv --fps 25", "[Nn]o keypoint"),
    "one frame": (f"{NEW} one.csv --fps 25", "1 frame"),
    "no frame rate": (f"{NEW} mice.pose.csv", "give --fps"),
    "unknown heading": (f"{NEW} mice.pose.csv --fps 25 --heading tail,nose", "the keypoints are nose, "),
    "half a heading": (f"{NEW} mice.pose.csv --fps 25 --heading nose", "expected two keypoints"),
    "session exists": ("new mice.lookagain --pose mice.pose.csv --fps 25", "mice.lookagain exists already"),
    "no file at all": ("new x.lookagain", "nothing to make a session of; give a pose file"),
    "keypoints of a video": ("new x.lookagain --video mice.mp4 --keypoints nose,tail", "are those of a pose file"),
    # labels
    "label past the end": ("label mice.lookagain --from past.csv", "frame 300 is past the end.*300 frames"),
    "overlapping bouts": ("label mice.lookagain --from overlap.csv", "overlap"),
    "unknown animal": ("label mice.lookagain --from who.csv", "'rat' is unknown.*mouse1, mouse2"),
    "no labels": ("label mice.lookagain --from mice.mp4", "not a text table"),
    "unknown label format": ("label mice.lookagain --from past.csv --format xls", "format 'xls' is not known"),
    # settings
    "budget over 1": ("segment mice.lookagain --budget 1.5", "look.budget is 1.5.*less than or equal to 1"),
    "budget under 0": ("segment mice.lookagain --budget -0.1", "look.budget is -0.1.*greater than or equal to 0"),
    "budget of words": ("segment mice.lookagain --budget much", "'--budget'.*valid number"),
    "budget of predict": ("predict model mice.lookagain --budget 1.5", "The budget is 1.5.*from 0 to 1"),
    "budget that is none": ("predict model mice.lookagain --budget nan", "The budget is nan"),
    "unknown key": (
        "segment mice.lookagain --set look.bugdet=1",
        "no setting 'look.bugdet'; the nearest is 'look.budget'",
    ),
    "unknown section": ("train mice.lookagain --out x --set lok.budget=1", "no setting 'lok'; the nearest is 'look'"),
    "setting of no section": ("segment mice.lookagain --set budget=1", "expected SECTION.KEY=VALUE"),
    "settings that do not fit": ("segment mice.lookagain --set motion.heads=3", "must be multiples of heads"),
    "unknown preset": ("segment mice.lookagain --preset slow", "no preset 'slow'; choose one of quick, labels, paper"),
    "unknown device": ("segment mice.lookagain --device tpu", "no device 'tpu' here; choose one of auto, cpu"),
    "unknown device of predict": ("predict model mice.lookagain --device tpu", "no device 'tpu'"),
    "unknown encoder": ("segment mice.lookagain --encoder ./nothing", "nothing"),
    "negative seed": ("segment mice.lookagain --seed -1", "'--seed'"),
    "too many clusters": ("segment mice.lookagain --clusters 1", "finetune.clusters is 1"),
    # models and runs
    "other keypoints": ("predict other_model mice.lookagain", "has the keypoints nose, .* the model knows snout, "),
    "no keypoints": ("predict model untracked.lookagain", "untracked has no keypoints.*--head tcn"),
    "no keypoints for a pretrained model": (
        "train untracked.lookagain --out x --pretrained model",
        "untracked has no keypoints.*--head tcn",
    ),
    "no model": ("predict mice.lookagain mice.lookagain", "not a model folder"),
    "newer model": ("predict newer_model mice.lookagain", "written by a newer version .schema 99.*update"),
    "damaged model": ("predict damaged_model mice.lookagain", "damaged_model is damaged"),
    "finished run": ("segment mice.lookagain --run segment", "has a finished run 'segment' already"),
    "run of a bad name": ("segment mice.lookagain --run ../x", "cannot name a run"),
    "model exists": ("train mice.lookagain --out model", "holds a trained model already"),
    "model is a file": ("train mice.lookagain --out mice.mp4", "mice.mp4 is a file"),
    "nothing scored": ("train unlabelled.lookagain --out x", "no frame is scored in mice"),
    "unknown rater": ("train mice.lookagain --out x --rater nobody", "no frame is scored in mice"),
    "unknown run": ("export mice.lookagain --what frames --out x.csv --run x", "has no run 'x'; it has segment"),
    "unknown table": ("export mice.lookagain --what rows --out x.csv", "choose frames, bouts, stats or boris"),
    "unknown table format": ("export mice.lookagain --what bouts --out x.xls --format xls", "choose csv"),
    "table into a folder": ("export mice.lookagain --what bouts --out mice.lookagain", r"mice\.lookagain"),
    # sessions
    "no session": ("segment model", "model is no session folder"),
    "missing session": ("info nowhere", "nothing at nowhere"),
    "newer session": ("segment newer.lookagain", "written by a newer version .schema 99.*update"),
    "damaged session": ("segment damaged.lookagain", r"keypoints\.npz is missing or damaged"),
    "demo among other things": ("demo --out model", "model is not empty"),
    "demo into a file": ("demo --out mice.mp4", r"mice\.mp4"),
    # words
    "unknown command": ("segmant mice.lookagain", "No such command 'segmant'"),
    "unknown option": ("segment mice.lookagain --clustres 3", "No such option: --clustres"),
    "missing argument": ("predict model", "Missing argument"),
    "missing option": ("train mice.lookagain", "Missing option '--out'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_one_line(lookagain, place, case, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    command, message = BAD[case]
    before = listing(place)
    told = lookagain(*command.split())
    assert told.status == 2
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("Error: ")
    assert re.search(message, told.err), told.err
    assert listing(place) == before


def test_bad_input_of_a_process(place):
    command = [sys.executable, "-m", "napari_lookagain.cli", "predict", "model", "mice.lookagain", "--budget", "2"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "Error: The budget is 2.0; it is the share of frames to look at, a number from 0 to 1.\n"


FILLS_THE_DISK = {
    "new x.lookagain --pose mice.pose.csv --video mice.mp4": "x.lookagain",
    "segment mice.lookagain --run x --set motion.window=32 --set pretrain.epochs=1 --set finetune.epochs=1": "runs/x",
    "train mice.lookagain --out x --set motion.window=32 --set pretrain.epochs=1 --set finetune.epochs=1": "x",
    "predict model mice.lookagain --run x": "runs/x",
    "export mice.lookagain --what frames --out x.csv": "x.csv",
}


@pytest.mark.parametrize("command", FILLS_THE_DISK)
def test_a_full_disk_is_told_in_one_line(lookagain, place, monkeypatch, command):
    def full(*paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths[0]))

    before = listing(place)
    monkeypatch.setattr(os, "replace", full)
    told = lookagain(*command.split())
    monkeypatch.undo()
    assert told.status == 2
    assert told.err.count("\n") == 1
    assert "disk is full" in told.err
    assert FILLS_THE_DISK[command] in told.err
    after = {path: content for path, content in listing(place).items() if content is not None}
    assert after == {path: content for path, content in before.items() if content is not None}


def test_a_disk_that_is_full_while_writing(lookagain, place, monkeypatch):
    write_bytes = Path.write_bytes

    def fill(path, content):
        write_bytes(path, bytes(content)[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    before = listing(place)
    monkeypatch.setattr(Path, "write_bytes", fill)
    told = lookagain("predict", "model", "mice.lookagain", "--run", "x")
    monkeypatch.undo()
    assert told.status == 2
    assert re.fullmatch("Error: The disk is full: .* could not be written; free some space.\n", told.err)
    left = {path for path, content in listing(place).items() if content is not None} - before.keys()
    assert not {path.name for path in left} & {"weights.safetensors", "ethogram.npz"}
    assert not [path for path in left if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("closed", "command"),
    [
        ("mice.lookagain", "segment mice.lookagain"),
        ("mice.lookagain", "info mice.lookagain"),
        ("mice.lookagain/runs", "segment mice.lookagain --budget 0"),
        ("mice.pose.csv", "new x.lookagain --pose mice.pose.csv --fps 25"),
        ("mice.mp4", "new x.lookagain --pose mice.pose.csv --video mice.mp4"),
        ("model", "predict model mice.lookagain"),
        (".", "new sub/x.lookagain --pose mice.pose.csv --fps 25"),
    ],
)
def test_what_may_not_be_read_is_told_in_one_line(lookagain, place, closed, command):
    before = listing(place)
    mode = (place / closed).stat().st_mode
    (place / closed).chmod(0o500 if closed == "." else 0)
    if os.access(place / closed, os.W_OK):
        (place / closed).chmod(mode)
        pytest.skip("this user may read and write everything")
    told = lookagain(*command.split())
    (place / closed).chmod(mode)
    assert told.status == 2
    assert told.err.startswith("Error: ")
    assert told.err.count("\n") == 1
    assert listing(place) == before
