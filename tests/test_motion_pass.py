"""The motion pass is read once, in stretches that are never read again, and is told by all it depends on."""

from __future__ import annotations

import importlib
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_lookagain import motion_pass
from napari_lookagain.batches import Batches, Recording
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.motion_pass import motion_key
from napari_lookagain.predict import predict
from napari_lookagain.progress import drain
from napari_lookagain.windows import sliding_windows

module = importlib.import_module("napari_lookagain.predict")  # the package's own `predict` is the function


@pytest.fixture
def model(session, tiny):
    """Random weights, and codebooks that start at what the session shows."""
    config = tiny()
    features = MotionFeatures(session, config.features)
    torch.manual_seed(0)
    names = session.keypoint_names
    made = LookAgain(ModelCard(names, 2, features.width, features.n_neighbors, 8, "behavior", ("walk", "rest")), config)
    batch = Batches([Recording(features, session.n_frames, 2)], 32, 0)(sliding_windows(session.n_frames, 32)[:8])
    with torch.no_grad():
        made.train().motion_encoder(batch.motion, batch.valid)
    return made.eval()


def forbid(monkeypatch, owner, name):
    def refuse(*arguments, **options):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, refuse)


@pytest.mark.parametrize("change", ["keypoints", "confidence", "heading", "fps", "weights"])
def test_a_motion_pass_is_of_these_keypoints_and_this_model(session, model, monkeypatch, change):
    drain(predict(model, session, budget=0, device="cpu"))
    if change == "keypoints":
        session.keypoints[17, 1, 0] += 1
    elif change == "confidence":
        session.confidence[17, 1, 0] *= 0.5
    elif change == "heading":
        session.set_heading(session.heading[::-1])
    elif change == "fps":
        session.fps *= 2
    else:
        with torch.no_grad():
            model.gate.mlp[0].bias += 0.01
    forbid(monkeypatch, model.motion_encoder, "forward")
    with pytest.raises(AssertionError, match="forward was called"):
        drain(predict(model, session, budget=0, device="cpu"))


def test_two_runs_may_read_one_recording_at_once(session, model):
    wanted = drain(predict(model, replace(session, path=None), budget=0, device="cpu"))
    slow = predict(model, session, budget=0, device="cpu")
    assert next(slow).stage == "reading motion"
    fast = drain(predict(model, session, budget=0, device="cpu"))
    for ethogram in (fast, drain(slow)):
        np.testing.assert_array_equal(ethogram.gate_score, wanted.gate_score)
        np.testing.assert_array_equal(ethogram.probabilities, wanted.probabilities)
    assert [path.name.split("-")[0] for path in session.features_folder.iterdir()] == ["motion"]


@pytest.fixture
def strides(monkeypatch):
    """Stretches of two strides, so that a short recording has many of them."""
    for where in (module, motion_pass):
        monkeypatch.setattr(where, "STRIDES", 2)


def test_stretches_hold_what_one_pass_over_all_would(session, model, strides, monkeypatch):
    long = drain(predict(model, session, budget=0, device="cpu"))
    whole = replace(session, path=None)
    monkeypatch.setattr(motion_pass, "STRIDES", 1000)
    wanted = drain(predict(model, whole, budget=0, device="cpu"))
    np.testing.assert_allclose(long.gate_score, wanted.gate_score, atol=1e-6)
    np.testing.assert_allclose(long.saliency, wanted.saliency, atol=1e-5)
    assert (long.looked == wanted.looked).all()


@pytest.mark.parametrize("stop", [1, 4, 10, 11, 15, 20])
def test_a_prediction_that_was_cut_off_goes_on_where_it_was(session, model, strides, stop):
    wanted = drain(predict(model, replace(session, path=None), budget=0, device="cpu"))
    work = predict(model, session, budget=0, device="cpu")
    steps = [next(work) for _ in range(stop)]  # of ten stretches with a step each, read and then told
    work.close()
    again = list(predict(model, session, budget=0, device="cpu"))
    assert len(steps + again) <= 21, "all but the stretch that was cut off is done once"
    ethogram = drain(predict(model, session, budget=0, device="cpu"))
    for name in ("label", "probabilities", "gate_score", "reliability", "saliency", "semantics"):
        np.testing.assert_array_equal(getattr(ethogram, name), getattr(wanted, name))


@pytest.mark.parametrize("name", ["read", "gate"])
def test_a_damaged_motion_pass_is_made_anew(session, model, name):
    wanted = drain(predict(model, session, budget=0, device="cpu"))
    [folder] = session.features_folder.glob("motion-*")
    file = folder / f"{name}.npy"
    whole = file.read_bytes()
    np.save(short := session.path / "short.npy", np.load(file)[:, :-1])
    for content in (b"", b"junk", whole[:100], whole[:-1], short.read_bytes(), None):
        file.write_bytes(content) if content is not None else file.unlink()
        again = drain(predict(model, session, budget=0, device="cpu"))
        np.testing.assert_array_equal(again.probabilities, wanted.probabilities)
        assert file.read_bytes() == whole
        assert sorted(path.name for path in folder.glob("*.npy")) == ["done.npy", "gate.npy", "read.npy"]


@pytest.mark.parametrize("pause", [4000, 0], ids=["an hour between", "at once, as other processes may read them"])
def test_the_motion_passes_used_last_are_kept(session, model, pause):
    start, made = model.gate.mlp[0].bias.clone(), []
    for change in (0, 1, 2, 3, 0, 4, 5):
        with torch.no_grad():
            model.gate.mlp[0].bias.copy_(start + change)
        drain(predict(model, session, budget=0, device="cpu"))
        made.append(session.features_folder / f"motion-{motion_key(model, session)}")
        for path in session.features_folder.rglob("*"):  # time goes by
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - pause))
    kept = {0: made, 4000: [made[0], made[3], made[5], made[6]]}[pause]
    assert set(session.features_folder.glob("motion-*")) == set(kept)


def test_what_a_killed_process_left_is_removed_once_nobody_writes_it(session, model):
    old, new = (session.features_folder / f".motion-{name}" for name in ("old-1", "new-1"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "read.npy").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    for path in (*old.iterdir(), old, new):  # in the folder of the other a file was written just now
        os.utime(path, (yesterday, yesterday))
    drain(predict(model, session, budget=0, device="cpu"))
    assert not old.exists()
    assert (new / "read.npy").exists()


def test_a_motion_pass_that_the_disk_cannot_hold_is_refused(session, model, monkeypatch):
    full = shutil.disk_usage(session.path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(InputError, match="The disk is full"):
        drain(predict(model, session, budget=0, device="cpu"))
    assert list(session.features_folder.iterdir()) == []
