"""Whole jobs: what they leave in folders, what they never write over, and what is exported of them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_lookagain.training_loop as training
from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import load_ethogram
from napari_lookagain.export import export_table
from napari_lookagain.formats.tables import BOUT_COLUMNS, FRAME_COLUMNS
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.naming import Naming
from napari_lookagain.progress import drain
from napari_lookagain.runs import free_name, predict_all, segment, train
from napari_lookagain.session import load_session

RUN_FILES = ["ethogram.npz", "log.txt", "metrics.json", "model"]
MODEL_FILES = ["config.json", "encoder", "weights.safetensors"]


@pytest.fixture(scope="module")
def worked(mice, tiny, tmp_path_factory):
    """Folder of a session with a run of each kind, and of the trained model; not to be changed."""
    folder = tmp_path_factory.mktemp("worked")
    session = load_session(shutil.copytree(mice, folder / "mice.lookagain"))
    drain(segment([session], tiny(), device="cpu"))
    drain(train([session], folder / "model", tiny(training={"seed": 1}), device="cpu"))
    drain(predict_all(folder / "model", [session], budget=0.1, device="cpu"))
    return folder


@pytest.fixture
def done(worked, tmp_path):
    """A copy of that session, for a test to write into."""
    return load_session(shutil.copytree(worked / "mice.lookagain", tmp_path / "done.lookagain"))


@pytest.fixture
def blind(session, tmp_path):
    """The session without its video, in a folder of its own."""
    without = replace(session, video=None, path=None, recording="blind")
    without.save(tmp_path / "blind.lookagain")
    return without


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_kept_whole(worked):
    session = load_session(worked / "mice.lookagain")
    assert session.runs == ["predict", "segment"]
    for name, kind, budget in (("segment", "cluster", 0.25), ("predict", "behavior", 0.1)):
        folder = session.run_folder(name)
        assert names_in(folder) == RUN_FILES
        assert names_in(folder / "model") == MODEL_FILES
        ethogram = load_ethogram(folder / "ethogram.npz")
        assert (ethogram.kind, ethogram.recording, ethogram.n_frames) == (kind, "mice", 300)
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["budget"] == budget
        assert metrics["looked"] == dict(zip(session.animals, ethogram.looked.sum(0).tolist(), strict=True))
        assert LookAgain.load(folder / "model").card.names == ethogram.names
    log = (session.run_folder("segment") / "log.txt").read_text(encoding="utf-8")
    assert "recording mice: 300 frames, 2 animals" in log
    assert "pretraining: 3 epochs" in log


def test_a_trained_model_comes_with_a_report(worked):
    assert names_in(worked / "model") == sorted([*MODEL_FILES, "metrics.json"])
    report = json.loads((worked / "model" / "metrics.json").read_text(encoding="utf-8"))
    session = load_session(worked / "mice.lookagain")
    assert sum(report["scored_frames"].values()) == 600
    assert set(report["scored_frames"]) == set(session.annotations.behaviors)
    assert len(report["pretraining"]["loss"]) == 3
    assert 0 < sum(report["trained_frames"].values()) == 600 - report["held_out"]["frames"]
    assert all(0 < n <= report["scored_frames"][name] for name, n in report["trained_frames"].items())
    assert set(report["held_out"]["classes"]) == set(report["scored_frames"])
    assert report["held_out"]["frames"] > 0
    documented = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in documented for key in report)


def test_a_job_that_was_cut_off_resumes(session, worked, tiny, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    for stage in ("pretraining", "fine-tuning", "reading motion"):
        work = segment([session], tiny(), device="cpu")
        next(told for told in work if told.stage == stage and told.done / told.total > 0.5)
        work.close()
        assert free_name([session], "segment") == "segment", "the same command goes on with it"
        assert "ethogram.npz" not in names_in(session.run_folder("segment"))
    [ethogram] = drain(segment([session], tiny(), device="cpu"))
    whole = worked / "mice.lookagain" / "runs" / "segment"
    assert (ethogram.probabilities == load_ethogram(whole / "ethogram.npz").probabilities).all()
    assert names_in(session.run_folder("segment")) == RUN_FILES
    weights = session.run_folder("segment") / "model" / "weights.safetensors"
    assert weights.read_bytes() == (whole / "model" / "weights.safetensors").read_bytes()


def test_a_finished_run_is_never_written_over(done, worked, tiny):
    before = content(done.path)
    with pytest.raises(InputError, match="mice has a finished run 'segment' already; choose another name with --run"):
        drain(segment([done], tiny(), run="segment", device="cpu"))
    with pytest.raises(InputError, match="finished run 'predict' already"):
        drain(predict_all(worked / "model", [done], run="predict", device="cpu"))
    with pytest.raises(InputError, match="finished run 'segment' already"):
        drain(predict_all(done.run_folder("segment") / "model", [done], run="segment", device="cpu"))
    assert content(done.path) == before


def test_a_trained_model_is_never_written_over(session, worked, tiny, tmp_path):
    before = content(worked / "model")
    with pytest.raises(InputError, match="holds a trained model already; choose another folder with --out"):
        drain(train([session], worked / "model", tiny(), device="cpu"))
    assert content(worked / "model") == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file or holds"):
        drain(train([session], tmp_path / "file", tiny(), device="cpu"))


def test_the_next_free_name(done, session):
    assert free_name([done], "segment") == "segment-2"
    assert free_name([done], "else") == "else"
    assert free_name([session, done], "predict") == "predict-2"
    (done.run_folder("segment-2")).mkdir()
    shutil.copy(done.run_folder("segment") / "ethogram.npz", done.run_folder("segment-2"))
    assert free_name([done], "segment") == "segment-3"


def test_several_recordings_share_a_model_and_have_a_run_each(session, mice, tiny, tmp_path):
    other = load_session(shutil.copytree(mice, tmp_path / "other.lookagain"))
    sessions = [session, other]
    work = segment(sessions, tiny(), run="both", device="cpu")
    readings = (told for told in work if told.stage == "reading behavior" and told.done == told.total)
    next(readings)  # the first recording is predicted
    work.close()
    assert not any((each.run_folder("both") / "ethogram.npz").exists() for each in sessions)
    ethograms = drain(segment(sessions, tiny(), run="both", device="cpu"))
    assert len(ethograms) == 2
    for each in sessions:
        assert names_in(each.run_folder("both")) == RUN_FILES
    assert content(session.run_folder("both") / "model") == content(other.run_folder("both") / "model")
    again = predict_all(session.run_folder("both") / "model", [other], run="again", device="cpu")
    assert (drain(again)[0].label == ethograms[1].label).all()


def test_a_budget_that_cannot_be_is_refused_before_anything_is_written(session, blind, worked):
    before = content(session.path), content(blind.path)
    for sessions, budget, message in (
        ([session], 1.5, "The budget is 1.5"),
        ([session], -0.1, "The budget is -0.1"),
        ([session, blind], 0.1, "blind cannot be looked at without a video"),
        ([session, blind], None, "blind cannot be looked at without a video"),
    ):
        with pytest.raises(InputError, match=message):
            drain(predict_all(worked / "model", sessions, budget=budget, device="cpu"))
    with pytest.raises(InputError, match="no device 'tpu'"):
        drain(predict_all(worked / "model", [session], device="tpu"))
    assert (content(session.path), content(blind.path)) == before
    assert session.runs == blind.runs == []


def test_a_session_without_a_video_is_segmented_at_budget_0(blind, tiny):
    [ethogram] = drain(segment([blind], tiny(look={"budget": 0.0}), device="cpu"))
    assert not ethogram.looked.any()
    assert names_in(blind.run_folder("segment") / "model") == ["config.json", "weights.safetensors"]


@pytest.fixture
def scored(done):
    """The session with runs, of which a rater scored ten frames otherwise."""
    label = load_ethogram(done.run_folder("predict") / "ethogram.npz").label
    labels = np.full(label.shape, -1)
    labels[100:110, 1] = 0
    done.annotations.set_frames(np.full(label.shape, -1), [], "simulated truth")
    done.annotations.set_frames(labels, ["jump"], "ann")
    return done


def test_frames_are_exported_with_the_corrections(scored):
    table = export_table(scored, "frames")
    assert list(table.columns) == list(FRAME_COLUMNS)
    assert table.groupby("animal", observed=True).size().to_dict() == dict.fromkeys(scored.animals, 300)
    corrected = (table["animal"] == scored.animals[1]) & table["frame"].between(100, 109)
    assert set(table.loc[corrected, "behavior"]) == {"jump"}
    assert set(table.loc[corrected, "source"]) == {"ann"}
    assert set(table.loc[~corrected, "source"]) == {"model"}
    predict, clusters = (load_ethogram(scored.run_folder(run) / "ethogram.npz") for run in ("predict", "segment"))
    own = [predict.names[code] for code in predict.label.T.ravel()]
    assert (table["behavior"] == own)[~corrected].all()
    assert table["cluster"].tolist() == [clusters.names[code] for code in clusters.label.T.ravel()]
    assert table["looked"].tolist() == predict.looked.T.ravel().tolist()


def test_bouts_and_statistics_are_exported_with_the_corrections(scored):
    bouts = export_table(scored, "bouts")
    assert list(bouts.columns) == list(BOUT_COLUMNS)
    [jump] = bouts[bouts["behavior"] == "jump"].itertuples()
    assert (jump.animal, jump.start_frame, jump.stop_frame, jump.rater) == (scored.animals[1], 100, 110, "ann")
    for _, own in bouts.groupby("animal"):
        assert (own["stop_frame"] - own["start_frame"]).sum() == 300
    stats = export_table(scored, "stats")
    [row] = stats[(stats["behavior"] == "jump") & (stats["animal"] == scored.animals[1])].itertuples()
    assert row[1 + stats.columns.get_loc("count")] == 1
    assert row.total_duration_s == pytest.approx(10 / scored.fps)
    assert stats.groupby("animal")["share"].sum().tolist() == pytest.approx([1, 1], abs=1e-5)


def test_one_run_alone_is_exported(scored):
    table = export_table(scored, "frames", "segment")
    assert table["cluster"].notna().all()
    assert set(export_table(scored, "bouts", "segment")["behavior"]) <= {"cluster 1", "cluster 2", "cluster 3"}
    with pytest.raises(InputError, match="mice has no run 'x'; it has predict, segment"):
        export_table(scored, "frames", "x")
    with pytest.raises(InputError, match="no table 'rows'; choose frames, bouts, stats or boris"):
        export_table(scored, "rows")
    (scored.run_folder("segment") / "ethogram.npz").unlink()
    with pytest.raises(InputError, match="'segment' of mice was cut off; give the same command again"):
        export_table(scored, "frames", "segment")


def test_only_the_runs_exported_are_read(scored, monkeypatch):
    for old in ("a", "b"):
        shutil.copytree(scored.run_folder("predict"), scored.run_folder(old))
        os.utime(scored.run_folder(old) / "ethogram.npz", (0, 0))
    read = []
    monkeypatch.setattr(
        "napari_lookagain.export.load_ethogram", lambda file: read.append(file.parent.name) or load_ethogram(file)
    )
    assert len(export_table(scored, "frames")) == 600
    assert sorted(read) == ["predict", "segment"]
    with (scored.run_folder("b") / "ethogram.npz").open("wb") as file:
        np.savez(file, head=json.dumps({"schema": 1, "kind": ["cluster"]}))
    with pytest.raises(InputError, match="b.ethogram.npz is not an ethogram or is damaged"):
        export_table(scored, "frames")


def test_what_was_scored_is_exported_without_any_run(session, blind):
    bouts = export_table(session, "bouts")
    wanted = [(session.animals[b.animal], b.behavior, b.start, b.stop) for b in session.annotations.bouts()]
    own = bouts[["animal", "behavior", "start_frame", "stop_frame"]].itertuples(index=False, name=None)
    assert sorted(own) == sorted(wanted)
    blind.annotations.set_frames(np.full((300, 2), -1), [], "simulated truth")
    for what in ("bouts", "stats"):
        with pytest.raises(InputError, match="blind has no finished run and no scored frame; run segment or predict"):
            export_table(blind, what)
    with pytest.raises(InputError):
        export_table(blind, "frames")


def test_what_was_scored_wins_over_clusters(done):
    shutil.rmtree(done.run_folder("predict"))
    bouts = export_table(done, "bouts")
    assert len(bouts) == len(done.annotations.bouts())
    assert set(bouts["rater"]) == {"simulated truth"}
    assert set(export_table(done, "stats")["behavior"]) == set(done.annotations.behaviors)
    clusters = {"cluster 1", "cluster 2", "cluster 3"}
    assert set(export_table(done, "bouts", "segment")["behavior"]) <= clusters
    done.annotations.set_frames(np.full((300, 2), -1), [], "simulated truth")
    assert set(export_table(done, "bouts")["behavior"]) <= clusters


def test_clusters_that_were_assigned_to_a_behavior_are_exported_as_it(done):
    shutil.rmtree(done.run_folder("predict"))
    done.annotations.set_frames(np.full((300, 2), -1), [], "simulated truth")
    folder = done.run_folder("segment")
    naming = Naming.open(folder)
    kept = naming.label.copy()
    common = int(np.bincount(kept[kept >= 0]).argmax())
    naming.assign(common, "foraging")
    bouts = export_table(done, "bouts")
    assert set(bouts["behavior"]) == {"foraging"}
    assert (bouts["stop_frame"] - bouts["start_frame"]).sum() == (kept == common).sum()
    frames = export_table(done, "frames")
    assert (frames["behavior"] == "foraging").sum() == (kept == common).sum()
    assert frames["cluster"].notna().all()
    done.annotations.assign(0, 0, 20, "rest")
    frames = export_table(done, "frames").query("animal == 'mouse1'")
    assert (frames["behavior"].iloc[:20] == "rest").all(), "what a person scored wins"


def test_a_job_without_pretraining(session, tiny, tmp_path):
    config = tiny(pretrain={"epochs": 0})
    work = train([session], tmp_path / "model", config, device="cpu")
    assert not {"pretraining", "averaging patches"} & {told.stage for told in work}
    report = json.loads((tmp_path / "model" / "metrics.json").read_text(encoding="utf-8"))
    assert "pretraining" not in report
    assert len(report["finetuning"]["loss"]) == 3
    assert LookAgain.load(tmp_path / "model").config == config
    [ethogram] = drain(segment([session], config, device="cpu"))
    assert len(np.unique(ethogram.label)) > 1
    log = (session.run_folder("segment") / "log.txt").read_text(encoding="utf-8")
    assert "finetuning: 3 epochs" in log
    assert "pretraining" not in log


def test_a_motion_encoder_that_is_taken_over_may_learn_on(session, worked, tiny, tmp_path):
    base = LookAgain.load(worked / "model").motion_encoder.state_dict()
    for learns in (False, True):
        out = tmp_path / f"learns {learns}"
        config = tiny(finetune={"learn_motion": learns})
        drain(train([session], out, config, pretrained=worked / "model", device="cpu"))
        own = LookAgain.load(out).motion_encoder.state_dict()
        assert any((own[name] != value).any() for name, value in base.items()) == learns


def test_a_pretrained_motion_encoder_is_taken_over(session, worked, tiny, tmp_path):
    config = tiny(
        motion={"width": 32}, vision={"components": 4}, pretrain={"horizons": (4,), "horizon_weights": (1.0,)}
    )
    work = train([session], tmp_path / "model", config, pretrained=worked / "model", device="cpu")
    stages = {told.stage for told in work}
    assert "fine-tuning" in stages
    assert not {"pretraining", "fitting the eye"} & stages
    base, model = LookAgain.load(worked / "model"), LookAgain.load(tmp_path / "model")
    for part in ("motion_encoder", "predict_keypoints", "predict_vision"):
        own, given = getattr(model, part).state_dict(), getattr(base, part).state_dict()
        assert all((own[name] == value).all() for name, value in given.items())
    assert model.config.motion == base.config.motion
    for name in ("encoder.json", "encoder.safetensors"):
        kept = (tmp_path / "model" / "encoder" / name).read_bytes()
        assert kept == (worked / "model" / "encoder" / name).read_bytes()


def test_a_pretrained_model_of_other_recordings_is_refused(session, blind, worked, tiny, tmp_path):
    mixed = replace(session, keypoint_names=("snout", *session.keypoint_names[1:]), heading=None)
    alone = replace(
        session,
        keypoints=session.keypoints[:, :1],
        confidence=session.confidence[:, :1],
        animals=session.animals[:1],
        annotations=type(session.annotations)(300, session.animals[:1]),
    )
    for frame, behavior in ((0, "walk"), (10, "rest")):
        alone.annotations.assign(0, frame, frame + 10, behavior)
    for other, message in (
        (mixed, "use a model trained on such recordings"),
        (alone, "knows 1 neighbors of an animal, these recordings have 0"),
        (blind, "learnt with videos, but blind has none"),
    ):
        config = tiny(look={"budget": 0.0})
        with pytest.raises(InputError, match=message):
            drain(train([other], tmp_path / "model", config, pretrained=worked / "model", device="cpu"))
    assert not (tmp_path / "model").exists()


def test_settings_are_kept_with_the_model(worked, tiny):
    assert LookAgain.load(worked / "model").config == tiny(training={"seed": 1})
    kept = json.loads((worked / "model" / "config.json").read_text(encoding="utf-8"))
    assert Config.parse(kept["config"]) == tiny(training={"seed": 1})
