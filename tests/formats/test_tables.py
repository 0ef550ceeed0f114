"""The tables promised to users: their columns, their rows, and that bouts come back as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lookagain.annotations import Annotations, Bout, label_bouts
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.formats.labels import read_labels
from napari_lookagain.formats.tables import bouts_table, frames_table, stats_table, write_table

ANIMALS = ("ann", "bob")
FRAMES = ["frame", "time_s", "animal", "behavior", "cluster", "probability", "gate_score", "looked", "source"]
BOUTS = [
    *("recording", "animal", "behavior", "start_frame", "stop_frame", "start_s", "stop_s"),
    *("source", "probability", "rater"),
]


@pytest.fixture
def behavior() -> Ethogram:
    label = np.array([[0, 1], [0, -1], [1, 1]], np.int16)
    made = Ethogram.from_labels(label, ("walk", "rest"), recording="pond", fps=4.0, animals=ANIMALS)
    gate_score = np.array([[0.1, 0.4], [0.2, 0.5], [0.3, np.nan]], np.float32)
    looked = np.array([[0, 1], [1, 0], [0, 0]], bool)
    return replace(made, probabilities=np.full((3, 2, 2), 0.5, np.float16), gate_score=gate_score, looked=looked)


@pytest.fixture
def clusters(behavior: Ethogram) -> Ethogram:
    label = np.array([[2, 0], [2, 0], [1, -1]], np.int16)
    probabilities = np.full((3, 2, 3), 0.25, np.float16)
    return replace(behavior, kind="cluster", names=("0", "1", "2"), label=label, probabilities=probabilities)


def test_frames(behavior: Ethogram, clusters: Ethogram, tmp_path: Path) -> None:
    annotations = Annotations(3, ANIMALS)
    annotations.assign(0, 1, 2, "groom", "eve")
    write_table(frames_table(behavior, clusters, annotations), tmp_path / "frames.csv")
    table = pd.read_csv(tmp_path / "frames.csv", dtype={"cluster": str}, keep_default_na=False)
    assert table.columns.tolist() == FRAMES
    assert table["animal"].tolist() == ["ann"] * 3 + ["bob"] * 3
    assert table["frame"].tolist() == [0, 1, 2] * 2
    assert table["time_s"].tolist() == [0, 0.25, 0.5] * 2
    assert table["behavior"].tolist() == ["walk", "groom", "rest", "rest", "", "rest"]
    assert table["cluster"].tolist() == ["2", "2", "1", "0", "0", ""]
    assert table["probability"].tolist() == ["0.5", "", "0.5", "0.5", "", "0.5"]
    assert table["gate_score"].tolist() == ["0.1", "0.2", "0.3", "0.4", "0.5", ""]
    assert table["looked"].tolist() == [False, True, False, True, False, False]
    assert table["source"].tolist() == ["model", "eve", "model", "model", "model", "model"]


def test_frames_of_clusters_alone(clusters: Ethogram) -> None:
    table = frames_table(clusters=clusters)
    assert table.columns.tolist() == FRAMES
    assert table["behavior"].isna().all()
    assert table["probability"].dropna().tolist() == [0.25] * 5
    assert table["source"].isna().tolist() == [False] * 5 + [True]
    annotations = Annotations(3, ANIMALS)
    annotations.assign(1, 2, 3, "rest")
    assert frames_table(clusters=clusters, annotations=annotations)["source"].iloc[5] == "user"


def test_frames_of_nothing_or_of_two_recordings_are_refused(behavior: Ethogram) -> None:
    with pytest.raises(InputError, match="nothing to tabulate"):
        frames_table()
    other = Ethogram.from_labels(np.zeros((4, 2)), ("0",), recording="lake", fps=4.0, animals=ANIMALS)
    with pytest.raises(InputError, match="different recordings"):
        frames_table(behavior, other)


def test_a_table_of_frames_can_be_read_as_labels(behavior: Ethogram, tmp_path: Path) -> None:
    write_table(frames_table(behavior), tmp_path / "frames.csv")
    bouts = read_labels(tmp_path / "frames.csv", n_frames=3, animals=ANIMALS, fps=4.0)
    assert bouts == label_bouts(behavior.label, behavior.names)


def test_bouts(behavior: Ethogram) -> None:
    table = bouts_table(behavior.bouts(), recording="pond", animals=ANIMALS, fps=4.0)
    assert table.columns.tolist() == BOUTS
    assert table.iloc[0].tolist() == ["pond", "ann", "walk", 0, 2, 0.0, 0.5, "model", 0.5, ""]
    scored = bouts_table([Bout(1, "rest", 1, 3, "eve")], recording="pond", animals=ANIMALS, fps=4.0)
    assert scored.loc[0, ["source", "rater"]].tolist() == ["eve", "eve"]
    assert np.isnan(scored.loc[0, "probability"])


def test_statistics(behavior: Ethogram) -> None:
    table = stats_table(behavior)
    assert table.columns.tolist() == [
        *("recording", "animal", "behavior", "count", "mean_duration_s", "total_duration_s", "latency_s", "share"),
    ]
    assert len(table) == 4
    assert table.iloc[0].tolist() == ["pond", "ann", "walk", 1, 0.5, 0.5, 0.0, pytest.approx(2 / 3, abs=1e-6)]


def test_writing(behavior: Ethogram, tmp_path: Path) -> None:
    table = bouts_table([Bout(0, "grün, «laut»", 0, 2)], recording="pond", animals=ANIMALS, fps=4.0)
    write_table(table, tmp_path / "new" / "bouts.csv")
    content = (tmp_path / "new" / "bouts.csv").read_bytes().decode("utf-8")
    assert content.splitlines() == [",".join(BOUTS), 'pond,ann,"grün, «laut»",0,2,0.0,0.5,user,,user']
    with pytest.raises(InputError, match="choose csv"):
        write_table(table, tmp_path / "bouts.xlsx", "xlsx")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bouts.csv"]


plain = st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable() and name == name.strip())
names = st.lists(plain, min_size=1, max_size=4, unique=True)
scores = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 20)), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(names, st.lists(st.tuples(plain.filter(lambda name: name != "model"), scores, scores), max_size=3))
def test_bouts_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, behaviors: list[str], said: list[tuple[str, list, list]]
) -> None:
    annotations = Annotations(160, ANIMALS)
    for rater, *columns in said:
        labels = np.full((160, 2), -1)
        for animal, runs in enumerate(columns):
            column = np.repeat([min(code, len(behaviors) - 1) for code, _ in runs], [length for _, length in runs])
            labels[: len(column), animal] = column
        annotations.set_frames(labels, behaviors, rater)
    path = tmp_path_factory.mktemp("tables") / "bouts.csv"
    write_table(bouts_table(annotations.bouts(), recording="pond", animals=ANIMALS, fps=29.97), path)
    again = Annotations(160, ANIMALS)
    again.add_bouts(read_labels(path, n_frames=160, animals=ANIMALS, fps=29.97))
    assert sorted(again.bouts(), key=repr) == sorted(annotations.bouts(), key=repr)
