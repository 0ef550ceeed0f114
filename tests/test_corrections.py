"""Keypoints that people move: on disk at once, undone without end, and the files they came from untouched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_lookagain.corrections import Moved
from napari_lookagain.errors import InputError
from napari_lookagain.session import load_session

WHERE = (7, 1, 2)


def content(session):
    edited = np.zeros(session.confidence.shape, bool) if session.edited is None else session.edited
    return [array.copy() for array in (session.keypoints, session.confidence, edited)]


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


def test_a_moved_keypoint_is_marked_and_on_disk(session):
    pose, stored = Path(session.pose.path).read_bytes(), (session.path / "keypoints.npz").read_bytes()
    assert session.edited is None
    session.move_keypoint(*WHERE, (12.3, 45.6))
    for each in (session, load_session(session.path)):
        assert each.keypoints[WHERE].tolist() == pytest.approx([12.3, 45.6])
        assert each.confidence[WHERE] == 1
        assert np.argwhere(each.edited).tolist() == [list(WHERE)]
    assert Path(session.pose.path).read_bytes() == pose
    assert (session.path / "keypoints.npz").read_bytes() == stored
    assert len((session.path / "keypoints.jsonl").read_text().splitlines()) == 2


def test_a_keypoint_that_is_not_to_be_seen_is_missing(session):
    session.move_keypoint(*WHERE, None)
    for each in (session, load_session(session.path)):
        assert np.isnan(each.keypoints[WHERE]).all()
        assert (each.confidence[WHERE], each.edited[WHERE]) == (0, True)
    session.move_keypoint(*WHERE, (1, 2))
    assert session.undo_keypoint() == Moved(*WHERE)
    assert np.isnan(load_session(session.path).keypoints[WHERE]).all()


def test_undo_and_redo_survive_closing(session):
    before = content(session)
    session.move_keypoint(0, 0, 0, (1, 2))
    session.move_keypoint(3, 1, 1, (5, 6))
    session.move_keypoint(3, 1, 1, (7, 8))
    after = content(session)
    assert session.undo_keypoint() == Moved(3, 1, 1)
    session = load_session(session.path)
    assert session.keypoints[3, 1, 1].tolist() == [5, 6]
    assert session.undo_keypoint() == Moved(3, 1, 1)
    assert session.undo_keypoint() == Moved(0, 0, 0), "frame 0 is not None"
    assert session.undo_keypoint() is None
    assert same(content(session), before)
    session = load_session(session.path)
    assert [session.redo_keypoint() for _ in range(4)] == [Moved(0, 0, 0), Moved(3, 1, 1), Moved(3, 1, 1), None]
    assert same(content(session), after)
    session.undo_keypoint()
    session.move_keypoint(2, 0, 0, (1, 1))
    assert load_session(session.path).redo_keypoint() is None, "a new move ends what was undone"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    acts=st.lists(st.sampled_from(["move", "miss", "undo", "redo"]), max_size=12),
    where=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)), min_size=12, max_size=12),
    saved_at=st.integers(0, 12),
)
def test_any_moves_are_replayed_wherever_the_session_is_saved(mice, tmp_path_factory, acts, where, saved_at):
    folder = tmp_path_factory.mktemp("moves")
    session = replace(load_session(mice), path=None)
    before = content(session)
    for number, act in enumerate(acts):
        if number == saved_at:
            session.save(folder / "one.lookagain")
        if act in ("move", "miss"):
            session.move_keypoint(*where[number], (number, 2) if act == "move" else None)
        else:
            session.undo_keypoint() if act == "undo" else session.redo_keypoint()
    session.save(folder / "two.lookagain")
    again = load_session(folder / "two.lookagain")
    assert same(content(again), content(session))
    while again.undo_keypoint():
        pass
    assert same(content(again), before)
    if saved_at < len(acts):
        assert load_session(folder / "one.lookagain").n_frames == session.n_frames


def test_without_moves_no_file_is_written(session, tmp_path):
    assert session.undo_keypoint() is None
    assert session.redo_keypoint() is None
    assert not (session.path / "keypoints.jsonl").exists()
    position = session.keypoints[WHERE].tolist()
    session.move_keypoint(*WHERE, position)
    size = (session.path / "keypoints.jsonl").stat().st_size
    session.move_keypoint(*WHERE, position)
    assert (session.path / "keypoints.jsonl").stat().st_size == size, "it stands there already, and is marked"


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ((300, 0, 0, (1, 2)), "no frame, animal and keypoint 300, 0, 0"),
        ((-1, 0, 0, (1, 2)), "no frame, animal and keypoint -1, 0, 0"),
        ((0, 2, 0, None), "300 frames of 2 animals"),
        ((0, 0, 99, (1, 2)), "0, 0, 99"),
        ((0, 0, 0, (1, 2, 3)), "give 2 coordinates"),
        ((0, 0, 0, (1, np.nan)), "give 2 coordinates"),
        ((0, 0, 0, (1, np.inf)), "give 2 coordinates"),
    ],
)
def test_a_move_that_cannot_be_is_refused_before_anything_is_written(session, move, message):
    before = content(session)
    with pytest.raises(InputError, match=message):
        session.move_keypoint(*move)
    assert same(content(session), before)
    assert not (session.path / "keypoints.jsonl").exists()


def test_a_move_that_cannot_be_written_is_not_made(session, monkeypatch):
    before = content(session)
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="not made"):
        session.move_keypoint(*WHERE, (1, 2))
    assert same(content(session), before)


def test_arrays_that_cannot_be_written_are_copied(session):
    fixed = session.keypoints.copy()
    fixed.flags.writeable = False
    other = replace(session, keypoints=fixed, path=None)
    other.move_keypoint(*WHERE, (1, 2))
    assert other.keypoints[WHERE].tolist() == [1, 2]
    assert fixed[WHERE].tolist() == session.keypoints[WHERE].tolist()


def test_a_damaged_or_foreign_journal_is_refused(session):
    session.move_keypoint(*WHERE, (1, 2))
    journal = session.path / "keypoints.jsonl"
    head, move = journal.read_text().splitlines(keepends=True)
    for line in (
        move.replace("move", "shove"),
        move.replace("[7,", "[700,"),
        '{"op":"undo"}\n',
        "[]\n",
        '{"op":"move"}\n',
    ):
        journal.write_text(head + line)
        with pytest.raises(InputError, match=r"line 2 of .*keypoints.jsonl is damaged"):
            load_session(session.path)
    journal.write_text(json.dumps(json.loads(head) | {"n_frames": 5}) + "\n" + move)
    with pytest.raises(InputError, match="of another recording"):
        load_session(session.path)
