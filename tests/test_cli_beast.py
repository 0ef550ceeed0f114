"""``lookagain beast`` from end to end, as a lab would use it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from napari_lookagain.config import Config
from napari_lookagain.eyes.pretraining import pretrain_eye
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session

SHORT = ("--set", "beast.anchors=24", "--set", "beast.epochs=2", "--set", "beast.batch=16")
TINY = ("motion.width=16", "motion.latent_width=8", "motion.codes=16", "motion.layers=1", "motion.social_layers=1")
TINY = (*TINY, "motion.heads=2", "motion.window=32", "pretrain.epochs=1", "finetune.epochs=1")
SETTINGS = (*SHORT, *(word for setting in TINY for word in ("--set", setting)))


@pytest.fixture(scope="module")
def eye(mice, tmp_path_factory) -> Path:
    """An eye that has hardly learnt anything."""
    config = Config.preset("quick", beast={"anchors": 24, "epochs": 2, "batch": 16})
    folder = tmp_path_factory.mktemp("eyes") / "eye"
    drain(pretrain_eye([load_session(mice)], config, folder, device="cpu"))
    return folder


def test_an_eye_is_pretrained_drawn_and_used(lookagain, session, tmp_path):
    eye = tmp_path / "eye"
    told = lookagain("beast", "pretrain", session.path, "--out", eye, *SHORT)
    assert told.status == 0, told.err
    assert {"encoder.json", "loss.png", "reconstructions.png", "patches.png"} <= {path.name for path in eye.iterdir()}
    told = lookagain("beast", "embed", eye, session.path, "--out", tmp_path / "cls.npy", "--json")
    assert json.loads(told.out)["shape"] == [300, 2, 128]
    assert np.load(tmp_path / "cls.npy").shape == (300, 2, 128)
    assert json.loads(lookagain("info", eye, "--json").out)["patches"] == 36
    assert "holds an eye, not a model" in lookagain("predict", eye, session.path).err
    told = lookagain("segment", session.path, "--encoder", eye, "--run", "by-eye", *SETTINGS)
    assert told.status == 0, told.err
    assert not (session.path / "beast").exists()  # it was given, so none was made
    kept = json.loads((session.run_folder("by-eye") / "model" / "encoder" / "encoder.json").read_text())
    assert kept["kind"] == "beast"


def test_a_session_pretrains_its_eye_once(lookagain, session):
    told = lookagain("segment", session.path, "--encoder", "beast", "--run", "first", *SETTINGS)
    assert told.status == 0, told.err
    (kept,) = (session.path / "beast").iterdir()
    made = (kept / "encoder.safetensors").stat().st_mtime_ns
    pooled = ("--set", "vision.pooling=attention")
    told = lookagain("segment", session.path, "--encoder", "beast", "--run", "second", *SETTINGS, *pooled)
    assert told.status == 0, told.err
    assert [path.name for path in (session.path / "beast").iterdir()] == [kept.name]
    assert (kept / "encoder.safetensors").stat().st_mtime_ns == made
    again = lookagain(
        "predict", session.run_folder("second") / "model", session.path, "--budget", 0.1, "--run", "third"
    )
    assert again.status == 0, again.err


def test_a_pretraining_that_is_killed_goes_on_to_the_same_weights(mice, tmp_path):
    """Killed without a chance to tidy up, at a moment that nobody chose."""
    command = [sys.executable, "-m", "napari_lookagain.cli", "beast", "pretrain", str(mice), "--device", "cpu"]
    command += ["--set", "beast.anchors=48", "--set", "beast.batch=16", "--set", "beast.epochs=4"]
    always = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = "import napari_lookagain.vision.beast_training as t; t.SECONDS_BETWEEN_CHECKPOINTS = 0.0; "
    code += "import sys; from napari_lookagain.cli import main; main()"
    hurried = [sys.executable, "-c", code, *command[3:]]
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    subprocess.run([*command, "--out", str(straight)], check=True, capture_output=True, env=always, timeout=300)
    begun = subprocess.Popen(
        [*hurried, "--out", str(cut)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=always
    )
    until = time.monotonic() + 200
    while not any(cut.glob("pretraining-*.pt")) and begun.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    assert any(cut.glob("pretraining-*.pt"))
    subprocess.run([*command, "--out", str(cut)], check=True, capture_output=True, env=always, timeout=300)
    one, other = (load_file(folder / "encoder.safetensors") for folder in (straight, cut))
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_a_video_without_keypoints_is_learnt_from(lookagain, data, tmp_path):
    (video,) = (data / "mirror_mouse" / "videos").glob("*.mp4")
    told = lookagain("beast", "pretrain", video, "--out", tmp_path / "eye", *SHORT, "--json")
    assert told.status == 0, told.err
    assert json.loads(told.out)["anchors"] == 24
    told = lookagain("beast", "embed", tmp_path / "eye", video, "--out", tmp_path / "p.npy", "--what", "patches")
    assert told.status == 0, told.err
    assert np.load(tmp_path / "p.npy", mmap_mode="r").shape == (994, 36, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "{mice}", "--out", "{new}", "--size", "huge"], "beast.size is 'huge'"),
        (["pretrain", "{new}.mp4", "--out", "{new}"], "is not there|does not exist|no such file|cannot be"),
        (["pretrain", "{mice}", "--out", "{eye}"], "holds something else already"),
        (["pretrain", "{mice}", "--out", "{new}", "--set", "beast.epoch=3"], "the nearest is 'beast.epochs'"),
        (["embed", "{eye}", "{mice}", "--out", "{new}.csv"], "give a name that ends in .npy"),
        (["embed", "{eye}", "{mice}", "--out", "{new}.npy", "--what", "all"], "choose cls, patches or mean"),
        (["pretrain", "{mice}", "--out", ""], "holds something else already"),
        (["embed", "{mice}", "{mice}", "--out", "{new}.npy"], "config.json"),
    ],
)
def test_bad_input_is_one_sentence(lookagain, mice, eye, tmp_path, arguments, message):
    words = [word.format(mice=mice, eye=eye, new=tmp_path / "new") for word in arguments]
    told = lookagain("beast", *words)
    assert told.status == 2
    assert told.err.startswith("Error: ")
    assert len(told.err.strip().splitlines()) == 1
    assert re.search(message, told.err), told.err
    assert not (tmp_path / "new" / "encoder.json").exists()
