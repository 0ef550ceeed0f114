"""What is written in the layout of BORIS is what BORIS writes, and is read back frame by frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_lookagain.annotations import Bout, label_bouts
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.export import export_table
from napari_lookagain.formats.boris import BORIS_COLUMNS, boris_table
from napari_lookagain.formats.labels import read_labels
from napari_lookagain.formats.tables import write_table
from napari_lookagain.naming import Naming

ANIMALS = ("ann", "bob")


def table_of(bouts, fps=25.0, n_frames=100, video="/lab/day.avi"):
    return boris_table(bouts, recording="day", animals=ANIMALS, fps=fps, n_frames=n_frames, video=video)


def test_every_bout_starts_and_stops_in_rows_of_its_own():
    bouts = [Bout(0, "walk", 0, 38, "eve"), Bout(0, "groom", 38, 40, "eve"), Bout(1, "rest", 10, 100, "", 0.9)]
    table = table_of(bouts)
    assert tuple(table.columns) == BORIS_COLUMNS
    told = table[["Subject", "Behavior", "Behavior type", "Time", "Image index", "Comment"]].values.tolist()
    assert told == [
        ["ann", "walk", "START", 0.0, 0, "eve"],
        ["bob", "rest", "START", 0.4, 10, "model"],
        ["ann", "walk", "STOP", 1.52, 38, "eve"],
        ["ann", "groom", "START", 1.52, 38, "eve"],
        ["ann", "groom", "STOP", 1.6, 40, "eve"],
        ["bob", "rest", "STOP", 4.0, 100, "model"],
    ]
    first = table.iloc[0]
    assert (first["Observation id"], first["Observation duration"], first["FPS"]) == ("day", 4.0, 25.0)
    assert (first["Source"], first["Media file name"]) == ("player #1:/lab/day.avi", "/lab/day.avi")


def test_a_recording_without_a_video_is_a_live_observation():
    first = table_of([Bout(0, "walk", 0, 38)], video=None).iloc[0]
    assert (first["Observation type"], first["Source"], first["Media duration (s)"]) == ("Live observation", "NA", "NA")


def test_no_bouts_are_a_table_with_a_header():
    assert tuple(table_of([]).columns) == BORIS_COLUMNS


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    fps=st.sampled_from([29.97002997, 30000 / 1001, 25.0, 7.3, 240.0, 1000.0]),
    offset=st.sampled_from([0, 5_000_000]),
    seed=st.integers(0, 1000),
)
def test_frames_come_back_exactly(tmp_path_factory, fps, offset, seed):
    generator = np.random.default_rng(seed)
    labels = np.repeat(generator.integers(-1, 3, (30, 2)), generator.integers(1, 4, 30), axis=0)
    written = label_bouts(labels, ("walk", "groom", "rest"))
    written = [Bout(b.animal, b.behavior, b.start + offset, b.stop + offset) for b in written]
    n_frames = len(labels) + offset
    path = tmp_path_factory.mktemp("boris") / "events.csv"
    write_table(table_of(written, fps, n_frames), path)
    assert read_labels(path, n_frames=n_frames, animals=ANIMALS, fps=fps) == written


def test_files_of_boris_have_these_columns(data):
    """An export of an older BORIS names the same things, but for what it calls differently."""
    path = data / "label_formats" / "boris" / "e3v813a-20210610T122332-122642_reencode.csv"
    header = next(line for line in path.read_text().splitlines() if line.startswith("Time,"))
    renamed = {"Media file path": "Media file name", "Total length": "Media duration (s)", "Status": "Behavior type"}
    assert {renamed.get(name, name) for name in header.split(",")} <= set(BORIS_COLUMNS)


def test_a_session_is_exported(session, tmp_path):
    table = export_table(session, "boris")
    write_table(table, tmp_path / "events.csv")
    read = read_labels(tmp_path / "events.csv", n_frames=300, animals=session.animals, fps=session.fps, rater="me")
    truth = session.annotations.labels()
    session.annotations.add_bouts(read)
    assert (session.annotations.labels("me") == truth).all()
    assert table["Media file name"].iloc[0] == session.video.path


def test_the_command_line_writes_it(session, lookagain, tmp_path):
    told = lookagain("export", session.path, "--what", "boris", "--out", tmp_path / "events.csv")
    assert told.status == 0, told.err
    assert (tmp_path / "events.csv").read_text().startswith(",".join(BORIS_COLUMNS))


def test_exports_call_clusters_as_they_are_named(session):
    run = session.run_folder("clusters")
    found = Ethogram.from_labels(
        np.zeros((300, 2), int), ["cluster 1"], recording="mice", fps=session.fps, animals=session.animals
    )
    replace(found, kind="cluster").save(run / "ethogram.npz")
    Naming.open(run).rename(0, "sit")
    assert set(export_table(session, "boris", "clusters")["Behavior"]) == {"sit"}
    assert set(export_table(session, "frames")["cluster"]) == {"sit"}
