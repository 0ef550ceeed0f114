"""Heads as a lab uses them: train on some recordings, predict others, with keypoints or none, from the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from napari_lookagain.ethogram import load_ethogram
from napari_lookagain.session import load_session, new_session

SMALL = ("training.sequence=32", "training.seeds=2", "vision.pca_size=16", "vision.components=8", "head.hidden=8")
SETTINGS = [word for setting in SMALL for word in ("--set", setting)]
QUICK = [*SETTINGS, "--set", "training.epochs=3", "--set", "training.pooled_epochs=2", "--device", "cpu"]


@pytest.fixture
def ask(lookagain):
    """Run a command that must succeed, and give what it says as JSON."""

    def run(*arguments):
        told = lookagain(*arguments, "--json")
        assert told.status == 0, told.err
        return json.loads(told.out)

    return run


@pytest.fixture
def tracked(mice, tmp_path):
    return shutil.copytree(mice, tmp_path / "mice.lookagain")


@pytest.fixture
def scored(simulated, tmp_path):
    """A session of the video alone, scored by what one of the mice does."""
    session = new_session(video=simulated.video, recording="video")
    session.annotations.set_frames(simulated.truth[:, :1], simulated.behaviors)
    session.save(tmp_path / "video.lookagain")
    return session.path


def test_pixels_tell_what_keypoints_cannot(ask, tracked, tmp_path):
    settings = [*SETTINGS, "--set", "training.epochs=60", "--set", "vision.pca_size=32"]
    report = ask("train", tracked, "--out", tmp_path / "model", "--head", "tcn", *settings)
    assert report["reads"] == ["keypoints", "pca"]
    assert report["recordings"] == ["mice"]
    assert len(report["loss"]) == len(report["flattened"]) == 2
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "metrics.json",
        "pca",
        "weights.safetensors",
    ]
    told = ask("predict", tmp_path / "model", tracked)
    assert (told["run"], told["sessions"][0]["looked"]) == ("predict", 600)
    session = load_session(tracked)
    ethogram = load_ethogram(session.run_folder("predict") / "ethogram.npz")
    truth = np.array(session.annotations.behaviors)[session.annotations.labels()]
    right = np.array(ethogram.names)[ethogram.label] == truth
    assert right[truth == "tail_raise"].mean() > 0.8


def test_a_run_is_kept_as_any_other(ask, lookagain, by_keypoints, tracked, tmp_path):
    ask("predict", by_keypoints, tracked, "--run", "heads")
    session = load_session(tracked)
    assert session.runs == ["heads"]
    kept = session.run_folder("heads")
    assert sorted(path.name for path in kept.iterdir()) == ["ethogram.npz", "log.txt", "metrics.json", "model"]
    assert "2 temporal convolution networks that read keypoints" in (kept / "log.txt").read_text(encoding="utf-8")
    assert json.loads((kept / "metrics.json").read_text(encoding="utf-8"))["looked"] == {"mouse1": 0, "mouse2": 0}
    assert ask("predict", kept / "model", tracked)["run"] == "predict"
    for what, rows in (("frames", 600), ("stats", 10)):
        ask("export", tracked, "--what", what, "--out", tmp_path / "table.csv", "--run", "heads")
        assert len(pd.read_csv(tmp_path / "table.csv")) == rows
    info = ask("info", by_keypoints)
    assert (info["kind"], info["head"], info["heads"], info["reads"]) == ("behavior", "tcn", 2, ["keypoints"])
    told = lookagain("predict", by_keypoints, tracked, "--run", "heads")
    assert (told.status, "has a finished run 'heads' already" in told.err) == (2, True)


def test_a_video_alone(ask, scored, tmp_path):
    report = ask("train", scored, "--out", tmp_path / "model", "--head", "linear", *QUICK)
    assert report["reads"] == ["pca"]
    assert ask("predict", tmp_path / "model", scored)["sessions"][0]["looked"] == 300
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))["config"]
    assert (config["vision"]["crop"], config["head"]["kind"]) == ("frame", "linear")


def test_patches_are_pooled(ask, scored, eye, tmp_path):
    options = ("--head", "tcn", "--features", "patches,pca", "--encoder", eye, "--seed", 3)
    report = ask("train", scored, "--out", tmp_path / "model", *options, *QUICK)
    assert report["reads"] == ["pca", "patches"]
    told = json.loads((tmp_path / "model" / "metrics.json").read_text(encoding="utf-8"))
    assert [len(each["loss"]) for each in told["training"]] == [2, 2]
    card = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))["card"]
    assert (card["widths"], card["n_patches"]) == ([8, 16], 4)
    assert (tmp_path / "model" / "encoder" / "encoder.json").exists()
    assert ask("predict", tmp_path / "model", scored)["sessions"][0]["looked"] == 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--head", "mlp"], "The setting head.kind is 'mlp': input should be 'tcn' or 'linear'"),
        (
            ["--head", "tcn", "--budget", "0.5"],
            "--head tcn reads every frame and is trained at once; leave out --budget",
        ),
        (["--features", "pca"], "--features is what --head tcn and --head linear read"),
        (["--head", "tcn", "--features", "cls"], "cls is read from an encoder; name one with --encoder"),
        (["--head", "tcn", "--features", "wings"], "The setting head.reads.0 is 'wings'"),
        (["--head", "tcn", "--set", "head.hiden=3"], "There is no setting 'head.hiden'; the nearest is 'head.hidden'"),
        (["--head", "tcn", "--features", "patches", "--set", "head.pooling_heads=3"], "3 heads cannot share patch"),
    ],
)
def test_bad_input_is_one_line(lookagain, tracked, eye, tmp_path, options, message):
    encoder = ["--encoder", eye] if "patches" in options else []
    told = lookagain("train", tracked, "--out", tmp_path / "model", *options, *encoder)
    assert told.status == 2
    assert message in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_models_are_not_mixed_up(lookagain, by_keypoints, tracked, tmp_path):
    told = lookagain("predict", by_keypoints, tracked, "--budget", "0.5")
    assert (told.status, "has no gate that a budget could be given to" in told.err) == (2, True)
    told = lookagain("train", tracked, "--out", by_keypoints, "--head", "tcn")
    assert (told.status, "holds a trained model already" in told.err) == (2, True)
