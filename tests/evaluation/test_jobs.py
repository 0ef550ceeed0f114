"""An evaluation from sessions to a report: its numbers, its resuming, and what it leaves alone."""

from __future__ import annotations

import json
import shutil
from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import load_ethogram
from napari_lookagain.evaluation.jobs import evaluate
from napari_lookagain.evaluation.study import Study
from napari_lookagain.evaluation.trials import Trial, trials
from napari_lookagain.evaluation.workers import groups_of
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session


def _digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): blake2b(path.read_bytes()).hexdigest() for path in files}


def _numbers(out):
    table = pd.read_csv(out / "measures.csv")
    return table[~table["measure"].str.endswith("_seconds")].reset_index(drop=True)


@pytest.fixture(scope="module")
def done(three, study, tmp_path_factory):
    """An evaluation, what it gave, and what the sessions were before."""
    out = tmp_path_factory.mktemp("evaluation") / "out"
    before = [_digest(session.path) for session in three]
    result = drain(evaluate(three, study, out))
    return study, out, result, before


def test_every_arm_is_measured_on_every_recording_and_seed(done, three):
    study, out, result, _ = done
    table = pd.read_csv(out / "measures.csv")
    macro = table[(table["measure"] == "macro_f1") & (table["recording"] == "(all)")]
    counts = macro.groupby(["arm", "budget"], dropna=False).size().to_dict()
    own = {(arm, None if np.isnan(budget) else budget): n for (arm, budget), n in counts.items()}
    assert own == {("LookAgain", 0): 6, ("LookAgain", 0.25): 6, ("top-k", 0.25): 6, ("trees", None): 6}
    mapped = table[(table["measure"] == "mapped_macro_f1") & (table["recording"] == "(all)")]
    assert set(mapped["arm"]) == {"clusters"}
    assert len(mapped) == 6
    assert set(table["recording"]) == {"(all)", "monday", "tuesday", "friday"}
    assert result["trials"] == 24
    assert {row["arm"] for row in result["macro_f1"]} == set(study.arms)
    assert (out / "report.md").read_text().startswith("# ")
    assert list((out / "pictures").glob("*.png"))


def test_a_number_is_that_of_the_held_out_recording_and_of_no_other(done, three):
    study, out, _, _ = done
    table = pd.read_csv(out / "measures.csv")
    trial = Trial("LookAgain", 1, 0, 1.0)  # holds tuesday out
    ethogram = load_ethogram(out / "trials" / trial.key(study) / "budget-0.25" / "1.npz")
    assert ethogram.recording == "tuesday"
    assert ethogram.looked.mean() == pytest.approx(0.25, abs=0.01)
    truth, behaviors = three[1].annotations.labels(), three[1].annotations.behaviors
    names = np.array([*behaviors, ""])
    scored = truth >= 0
    told = np.array(ethogram.names)[ethogram.label][scored]
    expected = f1_score(names[truth[scored]], told, average=None, labels=list(behaviors), zero_division=0)
    rows = table[
        (table["arm"] == "LookAgain")
        & (table["split"] == 2)
        & (table["seed"] == 0)
        & (table["budget"] == 0.25)
        & (table["recording"] == "tuesday")
        & (table["measure"] == "f1")
    ].set_index("class")["value"]
    np.testing.assert_allclose(rows[list(behaviors)], expected)


def test_the_folder_says_what_was_held_out(done):
    _, out, _, _ = done
    told = json.loads((out / "study.json").read_text())["split"]
    assert told["by"] == "recording"
    assert told["folds"][0] == {"train": ["tuesday", "friday"], "test": ["monday"]}


def test_arms_that_pretrain_alike_share_a_pretraining_in_which_no_label_is_learnt(done):
    study, out, _, _ = done
    folders = [path.name.partition("-split")[0] for path in (out / "models").glob("pretrained-*")]
    assert len(folders) == 6  # one for every split and seed
    assert len(set(folders)) == 2  # another seed is another training
    for arm in ("LookAgain", "top-k", "clusters"):
        told = json.loads((out / "models" / Trial(arm, 0, 0, 1.0).key(study) / "metrics.json").read_text())
        assert "finetuning" in told
        assert "pretraining" not in told


def test_sessions_are_only_read(done, three):
    assert [_digest(session.path) for session in three] == done[3]


def test_what_is_there_is_not_repeated_and_a_new_budget_only_predicts(done, three, tmp_path):
    study, out, _, _ = done
    again = shutil.copytree(out, tmp_path / "again")
    models, numbers = _digest(again / "models"), _numbers(again)
    more = study.model_copy(update={"budgets": (0, 0.25, 1), "seeds": (0, 1)})
    steps = evaluate(three, more, again)
    stages = {step.stage.partition(": ")[2] for step in steps}
    assert not any("training" in stage for stage in stages), stages
    assert _digest(again / "models") == models
    told = _numbers(again)
    assert set(told["budget"].dropna()) == {0, 0.25, 1}
    old = told[told["budget"] != 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, numbers)


def test_an_evaluation_that_was_cut_off_gives_the_same_numbers(three, study, tmp_path):
    short = study.only(["LookAgain", "trees"]).model_copy(update={"seeds": (0,)})
    drain(evaluate(three, short, tmp_path / "whole"))
    steps = evaluate(three, short, tmp_path / "cut")
    for step in steps:
        if step.stage.startswith("3 of 6") and "fine-tuning" in step.stage:
            break
    else:
        pytest.fail("there was no third trial to cut off")
    steps.close()
    assert not (tmp_path / "cut" / "measures.csv").exists()
    drain(evaluate(three, short, tmp_path / "cut"))
    pd.testing.assert_frame_equal(_numbers(tmp_path / "cut"), _numbers(tmp_path / "whole"))


def test_two_processes_give_the_same_numbers(done, three, tmp_path):
    study, out, _, _ = done
    short = study.only(["trees"])
    drain(evaluate(three, short, tmp_path / "two", jobs=2))
    one, two = _numbers(out), _numbers(tmp_path / "two")
    pd.testing.assert_frame_equal(two, one[one["arm"] == "trees"].reset_index(drop=True), check_dtype=False)


def test_only_what_shares_a_pretraining_has_to_wait_for_it(study, tmp_path):
    arms = {
        "LookAgain": {},
        "grid": {"settings": {"look.select": "grid"}},
        "no L_mask": {"settings": {"pretrain.mask_weight": 0}},
        "no pretraining": {"settings": {"pretrain.epochs": 0}},
        "trees": {"method": "trees"},
    }
    asked = Study.parse(study.model_dump() | {"arms": arms, "seeds": [0, 1], "fractions": [1.0]})
    found = [[(trial.arm, trial.seed) for trial in group] for group in groups_of(trials(asked, 1), asked, tmp_path)]
    assert found == [
        group
        for seed in (0, 1)
        for group in (
            [("LookAgain", seed), ("grid", seed)],
            [("no L_mask", seed)],
            [("no pretraining", seed)],
            [("trees", seed)],
        )
    ]


def test_a_single_recording_is_split_in_time_and_measured_on_its_end(three, study, tmp_path):
    alone = study.only(["trees", "clusters"]).model_copy(update={"seeds": (0,), "gap": 20, "test_share": 0.4})
    drain(evaluate(three[:1], alone, tmp_path / "out"))
    told = json.loads((tmp_path / "out" / "study.json").read_text())["split"]
    assert (told["by"], told["gap"]) == ("time", 20)
    assert told["folds"] == [{"train": ["monday"], "test": ["monday"], "train_frames": [0, 160], "test_start": 180}]
    table = pd.read_csv(tmp_path / "out" / "measures.csv")
    frames = table[(table["measure"] == "frames") & (table["recording"] == "(all)")]["value"]
    assert set(frames) == {(300 - 180) * 2}
    assert "time" in (tmp_path / "out" / "report.md").read_text()


def test_a_single_recording_in_two_processes(three, study, tmp_path):
    """Both want the part that is learnt from at once."""
    alone = study.only(["trees"]).model_copy(update={"gap": 20})
    drain(evaluate(three[:1], alone, tmp_path / "two", jobs=2))
    drain(evaluate(three[:1], alone, tmp_path / "one"))
    pd.testing.assert_frame_equal(_numbers(tmp_path / "two"), _numbers(tmp_path / "one"))


def test_nothing_of_the_frames_that_were_learnt_from_is_measured(three, study, tmp_path):
    asked = study.only(["clusters"]).model_copy(update={"seeds": (0, 1), "gap": 20})
    drain(evaluate(three[:1], asked, tmp_path / "out"))
    before = _numbers(tmp_path / "out")
    trials_made = list((tmp_path / "out" / "trials").glob("*/*/0.npz"))
    assert len(trials_made) == 2
    for path in trials_made:  # whatever they tell of the first 160 frames
        ethogram = load_ethogram(path)
        ethogram.label[:160], ethogram.probabilities[:160] = 0, 1 / len(ethogram.names)
        ethogram.save(path)
    drain(evaluate(three[:1], asked, tmp_path / "out"))
    pd.testing.assert_frame_equal(_numbers(tmp_path / "out"), before)
    assert {"sharpness", "stability_ari", "animal_nmi", "looked_share"} <= set(before["measure"])


def test_labels_that_were_corrected_are_not_evaluated_as_they_were(three, study, tmp_path):
    """Moved by six frames, as many frames of every behavior are scored as before."""
    asked = study.only(["trees"]).model_copy(update={"seeds": (0,)})
    drain(evaluate(three, asked, tmp_path / "out"))
    copy = load_session(shutil.copytree(three[2].path, tmp_path / "friday.lookagain"))
    labels = copy.annotations.labels()
    copy.annotations.set_frames(np.roll(labels, 6, axis=0), copy.annotations.behaviors)
    with pytest.raises(InputError, match="other recordings, keypoints, labels or splits"):
        drain(evaluate([*three[:2], copy], asked, tmp_path / "out"))


def test_a_copy_whose_labels_were_never_written_is_made_again(three, study, tmp_path):
    """As when the machine went down between the two."""
    asked = study.only(["trees"]).model_copy(update={"seeds": (0,)})
    drain(evaluate(three, asked, tmp_path / "out"))
    numbers = _numbers(tmp_path / "out")
    for part in ("sessions/1.lookagain/annotations", "trials", "models"):
        shutil.rmtree(tmp_path / "out" / part)
    drain(evaluate(three, asked, tmp_path / "out"))
    pd.testing.assert_frame_equal(_numbers(tmp_path / "out"), numbers)


def test_other_recordings_labels_or_folders_are_refused(done, three, study, tmp_path):
    _, out, _, _ = done
    with pytest.raises(InputError, match="other recordings, keypoints, labels or splits"):
        drain(evaluate(three[:2], study, out))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        drain(evaluate(three, study, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="monday is given more than once"):
        drain(evaluate([three[0], three[0]], study, tmp_path / "out"))
    copy = load_session(shutil.copytree(three[2].path, tmp_path / "bare.lookagain"))
    copy.annotations.set_frames(np.full((copy.n_frames, copy.n_animals), -1), ())
    with pytest.raises(InputError, match="No frame of friday is scored"):
        drain(evaluate([*three[:2], copy], study, tmp_path / "out"))


def test_recordings_that_nobody_scored_are_told_how_sharp_their_clusters_are(three, study, tmp_path):
    bare = []
    for session in three[:2]:
        copy = load_session(shutil.copytree(session.path, tmp_path / session.path.name))
        copy.annotations.set_frames(np.full((copy.n_frames, copy.n_animals), -1), ())
        bare.append(copy)
    drain(evaluate(bare, study.only(["clusters"]), tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out" / "measures.csv")
    assert {"sharpness", "perplexity", "stability_ari"} <= set(table["measure"])
    assert not table["measure"].str.contains("f1").any()
    with pytest.raises(InputError, match="no frame is scored"):
        drain(evaluate(bare, study, tmp_path / "other"))


def test_fewer_labels_come_after_all_of_them_and_keys_tell_settings_apart(study):
    parts = study.model_copy(update={"fractions": (0.1, 1.0)})
    assert [trial.fraction for trial in trials(parts.only(["trees"]), 1)] == [1.0, 0.1, 1.0, 0.1]
    trial = Trial("trees", 0, 0, 1.0)
    other = Study.parse(
        study.model_dump() | {"arms": {"trees": {"method": "trees", "settings": {"members": 1, "rounds": 4}}}}
    )
    assert trial.key(study) != trial.key(other)
    set_otherwise = study.model_copy(update={"settings": {}})
    assert trial.key(study) == trial.key(set_otherwise)  # trees heed no setting of LookAgain
    assert Trial("LookAgain", 0, 0, 1.0).key(study) != Trial("LookAgain", 0, 0, 1.0).key(set_otherwise)
    more = study.model_copy(update={"budgets": (0.5,), "seeds": (7,)})
    assert trial.key(study) == trial.key(more)


def test_the_command(three, tmp_path, lookagain):
    path = tmp_path / "mine.toml"
    path.write_text('folds = 1\n[arms]\n"few trees" = { method = "trees", settings = { members = 1, rounds = 2 } }\n')
    folders = [session.path for session in three]
    told = lookagain(
        "evaluate", *folders, "--out", tmp_path / "out", "--study", path, "--seeds", 1, "--seed", 5, "--json"
    )
    assert told.status == 0, told.err
    result = json.loads(told.out)
    assert result["trials"] == 1
    assert result["macro_f1"][0]["arm"] == "few trees"
    assert 0 <= result["macro_f1"][0]["macro_f1"] <= 1
    assert (tmp_path / "out" / "study.json").read_text().count("\n      5\n") == 1
    again = lookagain("evaluate", *folders, "--out", tmp_path / "out", "--study", path, "--seeds", 1, "--seed", 5)
    assert f"macro F1, few trees: {result['macro_f1'][0]['macro_f1']}" in again.out
    wrong = lookagain("evaluate", *folders, "--out", tmp_path / "out", "--budgets", "a")
    assert (wrong.status, "--budgets got 'a', expected numbers" in wrong.err) == (2, True)
