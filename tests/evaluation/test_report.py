"""The report: its numbers are those of the ethograms, its pictures are there, and it says what limits it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.evaluation.measures import write_measures
from napari_lookagain.evaluation.report import write_report
from napari_lookagain.evaluation.splits import Split, splits
from napari_lookagain.evaluation.study import Study
from napari_lookagain.evaluation.trials import Trial, budget_folder, trials
from napari_lookagain.session import Session, load_session

WRONG = {("ours", 0.0): 0.6, ("ours", 0.25): 0.25, ("grid: regular", 0.25): 0.3, ("trees", None): 0.02}
STUDY = Study.parse(
    {
        "seeds": [0, 1],
        "budgets": [0, 0.25],
        "arms": {"ours": {}, "grid: regular": {"budgets": [0.25]}, "trees": {"method": "trees"}, "found": {}},
    }
)


def told_wrong(session: Session, share: float, seed: int, n_clusters: int = 1) -> Ethogram:
    """What was scored, but for a share of stretches; as clusters, each behavior in so many of them."""
    rng = np.random.default_rng([seed, round(100 * share), session.n_frames, n_clusters])
    scored, behaviors = session.annotations.labels(), session.annotations.behaviors or ("x", "y")
    n = -(-len(scored) // 5)
    wrong, other = rng.random((n, scored.shape[1])) < share, rng.integers(0, len(behaviors), (n, scored.shape[1]))
    label = np.where(*(each.repeat(5, axis=0)[: len(scored)] for each in (wrong, other)), np.maximum(scored, 0))
    label = label * n_clusters + rng.integers(0, n_clusters, label.shape)
    names = behaviors if n_clusters == 1 else tuple(f"{name} {i}" for name in behaviors for i in range(n_clusters))
    made = Ethogram.from_labels(label, names, recording=session.recording, fps=session.fps, animals=session.animals)
    probabilities = 0.1 / len(names) + 0.9 * np.eye(len(names), dtype=np.float16)[label]
    return replace(made, probabilities=probabilities, kind="behavior" if n_clusters == 1 else "cluster")


def keep(out: Path, trial: Trial, part: Split, sessions: list[Session]) -> None:
    """A finished trial, as `run_trial` leaves it."""
    folder = out / "trials" / trial.key(STUDY)
    clusters = trial.arm == "found"
    budgets: list[dict[str, Any]] = []
    for budget in [None] if trial.arm == "trees" else [0.25] if "grid" in trial.arm else [0.0, 0.25]:
        for i in part.test:
            share = 0.2 if clusters else WRONG[trial.arm, budget]
            ethogram = told_wrong(sessions[i], share + 0.2 * (i == 1), trial.seed, 1 + clusters)
            if budget is not None:
                score = np.random.default_rng(i).random(ethogram.label.shape, np.float32)
                ethogram = replace(ethogram, gate_score=score, looked=score > 1 - budget)
            ethogram.save(folder / budget_folder(budget) / f"{i}.npz")
        looks = int(40 * (budget or 0))
        clock = {"motion": 1.0, "looking": float(looks), "rest": 2.0, "images": looks}  # a second each
        own = {"budget": budget, "clock": clock, "looks": looks, "looked_share": budget or 0.0}
        mapping = [name for name in sessions[0].annotations.behaviors for _ in range(2)] or [None] * 4
        budgets.append(own | ({"mapping": mapping} if clusters else {}))
    method = "trees" if trial.arm == "trees" else "lookagain"
    keys = {"arm": trial.arm, "method": method, "kind": "cluster" if clusters else "behavior"}
    note = keys | {
        "train_seconds": 90.0,
        "fraction": 1.0,
        "split": trial.split + 1,
        "seed": trial.seed,
        "budgets": budgets,
    }
    (folder / "told.json").write_text(json.dumps(note), encoding="utf-8")


def evaluated(out: Path, sessions: list[Session], study: Study = STUDY) -> list[Session]:
    """An evaluation folder whose ethograms are made up."""
    parts = splits([session.n_frames for session in sessions], 3, 0.4, 30)
    for i, session in enumerate(sessions):
        shutil.copytree(session.path, out / "sessions" / f"{i}.lookagain")
    every = trials(study, len(parts))
    for trial in every:
        keep(out, trial, parts[trial.split], sessions)
    names = [session.recording for session in sessions]
    folds = [{"train": [names[i] for i in p.train], "test": [names[i] for i in p.test]} for p in parts]
    alone = len(sessions) == 1
    if alone:
        folds[0] |= {"train_frames": [0, parts[0].stop], "test_start": parts[0].start}
    note = {
        "recordings": [about(session) for session in sessions],
        "split": {"by": "time" if alone else "recording", "gap": 30 if alone else 0, "folds": folds},
        "study": study.model_dump(),
        "versions": ["1.0"],
    }
    (out / "study.json").write_text(json.dumps(note), encoding="utf-8")
    write_measures(out, [out / "trials" / trial.key(study) for trial in every], parts, sessions)
    return sessions


def about(session: Session) -> dict[str, Any]:
    labels, names = session.annotations.labels(), session.annotations.behaviors
    counts = {name: int((labels == code).sum()) for code, name in enumerate(names)}
    return {
        "recording": session.recording,
        "frames": session.n_frames,
        "animals": list(session.animals),
        "scored": counts,
        "keypoints": session.recording,
        "video": None,
    }


@pytest.fixture(scope="module")
def reported(three, tmp_path_factory) -> tuple[Path, str, list[Session]]:
    """A folder, its report and its sessions; not to be changed."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    sessions = evaluated(out, three)
    path = write_report(out)
    assert path == out / "report.md"
    return out, path.read_text(encoding="utf-8"), sessions


def section(text: str, heading: str) -> str:
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1].strip()


def table(text: str, first: str) -> dict[str, list[str]]:
    """Cells of the rows of the first table with such a heading, without bold."""
    block = next(block for block in text.split("\n\n") if block.startswith("|") and first in block.splitlines()[0])
    cells = [[each.strip(" *") for each in line.strip("|").split("|")] for line in block.splitlines()[2:]]
    return {row[0]: row[1:] for row in cells}


def test_the_main_table_has_the_numbers_of_the_ethograms(reported):
    _, text, sessions = reported
    shown = table(section(text, "Behaviors"), "macro F1")
    assert list(shown) == ["ours", "grid: regular", "trees"]
    by_seed = []
    for seed in (0, 1):
        scores = []
        for i, session in enumerate(sessions):
            scored = session.annotations.labels()
            told = told_wrong(session, 0.25 + 0.2 * (i == 1), seed).label
            known = scored >= 0
            codes = range(len(session.annotations.behaviors))
            scores.append(f1_score(scored[known], told[known], labels=codes, average="macro", zero_division=0))
        by_seed.append(np.mean(scores))
    assert shown["ours"][0] == f"{np.mean(by_seed):.2f} ± {np.std(by_seed, ddof=1):.2f}"


def test_every_picture_is_there_and_none_is_forgotten(reported):
    out, text, _ = reported
    linked = {out / name for name in re.findall(r"\]\((pictures/[^)]+)\)", text)}
    assert linked == set((out / "pictures").iterdir())
    stems = {re.sub(r"-\d\d-.*", "", path.stem) for path in linked}
    assert stems == {"behavior-by-budget", "confusion", "ethograms", "gate", "reliability", "cluster-by-budget"}
    assert len(linked) == 9, "a confusion for each of four arms"


def test_the_budget_is_advised_with_its_cost(reported):
    text = section(reported[1], "Where looking pays")
    assert text.startswith("**ours.** Look at 25 % of the frames: macro F1 ")
    assert [row[-1] for row in table(text, "prediction").values()] == ["3 s", "13 s"]
    assert list(table(text, "recording")) == ["monday", "tuesday", "friday"]
    assert list(table(text.split("The other arms")[1], "look at")) == ["found"]


def test_the_worst_recording_is_named(reported):
    text = section(reported[1], "By recording")
    assert "The worst recording is **tuesday**" in text
    shown = table(text, "monday")
    assert list(shown) == ["ours", "grid: regular", "trees", "found"], "more arms than recordings"


def test_clusters_have_a_table_of_their_own(reported):
    text = section(reported[1], "Clusters")
    [(arm, cells)] = table(text, "V-measure").items()
    assert arm == "found"
    assert "± " not in cells[4], "stability is of all seeds together"
    assert "found" not in table(section(reported[1], "Behaviors"), "macro F1")


def test_the_best_is_bold_and_said_where_it_is_clear(reported):
    _, text, _ = reported
    assert re.search(r"^\| trees \|.*\*\*0\.\d\d ± 0\.\d\d\*\*", section(text, "Behaviors"), re.MULTILINE)
    short = text.split("## ")[0]
    assert "Highest macro F1: **trees**" in short
    assert "That lead is larger than the scatter of seeds." in short


def test_what_was_asked_and_what_limits_it_is_said(reported):
    _, text, sessions = reported
    asked = section(text, "What was asked")
    assert "Parted by recording, never by frame. Held out, and never learnt from, in split 1: monday;" in asked
    assert "Seeds: 0, 1." in asked
    assert "Arms: ours (lookagain); grid: regular (lookagain); trees; found (lookagain)." in asked
    assert "Budgets (share of frames looked at): 0 %, 25 %." in asked
    assert "Shares of the labels" not in asked
    assert table(asked, "frames")["monday"][0] == str(sessions[0].n_frames)
    minded = section(text, "What to mind")
    assert "Only 2 seeds" in minded
    assert "Little is held out of" in minded


def test_a_single_recording_is_told_to_be_weaker_evidence(three, tmp_path):
    evaluated(tmp_path, three[:1], STUDY.only(["ours"]).model_copy(update={"seeds": (0,)}))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    start = round(0.6 * three[0].n_frames)
    assert f"parted by time, with a gap of 30 frames. Its end from frame {start} on is held out" in text
    assert "Only one seed was run" in text
    assert "±" not in section(text, "Behaviors").replace("√(sd² + sd²)", "")
    assert "## By recording" not in text
    assert "There is a single trial" in text


def test_recordings_that_nobody_scored_have_a_report(three, tmp_path):
    bare = []
    for i, session in enumerate(three):
        unscored = replace(session, annotations=Annotations(session.n_frames, session.animals), path=None)
        unscored.save(tmp_path / f"{i}.lookagain")
        bare.append(load_session(tmp_path / f"{i}.lookagain"))
    out = tmp_path / "out"
    evaluated(out, bare, STUDY.only(["found"]))
    text = write_report(out).read_text(encoding="utf-8")
    assert "Nothing is scored" in section(text, "What to mind")
    assert "this only tells how sure the model is" in section(text, "Where looking pays")
    assert section(text, "By budget").startswith("Sharpness of clusters:")
    assert "Highest" not in text, "the sharpest is not the best"
    assert {path.name for path in (out / "pictures").iterdir()} == {"cluster-by-budget.png", "gate.png"}
    assert list(table(section(text, "Clusters"), "sharpness")) == ["found"]


def hand_made(out: Path) -> None:
    """Tables without trials, of behaviors with awkward names."""
    keys = {"arm": "1", "method": "lookagain", "kind": "behavior", "split": 1, "seed": 0, "budget": np.nan}
    numbers = [("NA", "f1", 0.25), ("1", "f1", 0.75), ("(all)", "macro_f1", 0.5), ("NA", "true_frames", 3)]
    numbers += [("NA", "bouts", 1), ("(all)", "train_seconds", 3000)]
    rows = [
        {**keys, "fraction": fraction, "recording": "(all)", "animal": "(all)", "class": of, "measure": m, "value": x}
        for fraction in (0.1, 1.0)
        for of, m, x in numbers
    ]
    pd.DataFrame(rows).to_csv(out / "measures.csv", index=False)
    cells = [("NA", "NA", 3), ("NA", "", 1), ("1", "1", 5)]
    pairs = [{**keys, "fraction": 1.0, "scored": a, "predicted": b, "frames": n} for a, b, n in cells]
    pd.DataFrame(pairs).to_csv(out / "confusion.csv", index=False)
    pd.DataFrame(columns=list(keys)).to_csv(out / "reliability.csv", index=False)
    fold = {"train": ["a"], "test": ["b"]}
    recordings = [
        {"recording": name, "frames": 9, "animals": ["x"], "scored": {"NA": 4 * (name == "b"), "1": 5}} for name in "ab"
    ]
    note = {"recordings": recordings, "split": {"by": "recording", "gap": 0, "folds": [fold]}}
    (out / "study.json").write_text(json.dumps(note | {"study": {"arms": {"1": {}}}}), encoding="utf-8")


def test_tables_alone_make_a_report_and_names_stay_as_they_are(tmp_path):
    hand_made(tmp_path)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "|  | NA | 1 |\n| --- | --- | --- |\n| 1 | 0.25 | 0.75 |" in text
    assert "*NA* (3 frames in 1 bout)" in text
    assert "*NA* is never scored in the training recordings of split 1" in text
    assert "50 min" in section(text, "Cost")
    assert table(section(text, "By share of labels"), "10 %") == {"1": ["0.50", "0.50"]}
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["behavior-by-labels.png", "confusion-01-1.png"]
    for heading in ("Where looking pays", "Calibration", "Ethograms and looks", "Clusters"):
        assert f"## {heading}" not in text


def test_what_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no evaluation in .* \(.*study.json is missing\)"):
        write_report(tmp_path)
    hand_made(tmp_path)
    pd.read_csv(tmp_path / "measures.csv").iloc[:0].to_csv(tmp_path / "measures.csv", index=False)
    with pytest.raises(InputError, match="No trial of the evaluation"):
        write_report(tmp_path)
    (tmp_path / "study.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is damaged"):
        write_report(tmp_path)
    assert not (tmp_path / "report.md").exists()
