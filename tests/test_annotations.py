"""Annotations: what is said stays said, across undo, crashes and full disks."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_lookagain.annotations import BACKGROUND, UNSCORED, Annotations, Bout, label_bouts, runs
from napari_lookagain.errors import InputError

T, ANIMALS = 40, ("ann", "bob")


def content(annotations: Annotations) -> tuple:
    """All that can be asked of annotations."""
    raters = annotations.raters
    labels = [annotations.labels(rater).tolist() for rater in (None, *raters)]
    return annotations.behaviors, raters, labels, annotations.bouts()


def journal(folder: Path) -> Path:
    return folder / "journal.jsonl"


def test_runs_cut_where_labels_change() -> None:
    start, stop, label = runs(np.array([2, 2, -1, 0, 0, 0]))
    assert start.tolist() == [0, 2, 3]
    assert stop.tolist() == [2, 3, 6]
    assert label.tolist() == [2, -1, 0]
    assert [len(part) for part in runs(np.empty(0, int))] == [0, 0, 0]


def test_intervals_are_half_open_and_unscored_is_not_background() -> None:
    annotations = Annotations(T, ANIMALS)
    annotations.assign(0, 0, 5, BACKGROUND)
    annotations.assign(0, 3, 8, "walk")
    annotations.clear(0, 6, 7)
    labels = annotations.labels()
    assert labels.dtype == np.int16
    assert labels[:9, 0].tolist() == [0, 0, 0, 1, 1, 1, UNSCORED, 1, UNSCORED]
    assert (labels[:, 1] == UNSCORED).all()
    assert annotations.behaviors == (BACKGROUND, "walk")
    assert annotations.bouts() == [Bout(0, BACKGROUND, 0, 3), Bout(0, "walk", 3, 6), Bout(0, "walk", 7, 8)]


def test_where_raters_differ_the_last_to_edit_wins() -> None:
    annotations = Annotations(T, ANIMALS)
    annotations.assign(0, 0, 6, "walk", "eve")
    annotations.assign(0, 4, 8, "rest", "joe")
    assert annotations.labels()[:9, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, -1]
    assert [annotations.raters[who] for who in annotations.scored_by()[:8, 0]] == ["eve"] * 4 + ["joe"] * 4
    annotations.assign(1, 0, 1, "walk", "eve")
    assert annotations.raters == ("joe", "eve")
    assert annotations.labels()[:9, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, -1]
    annotations.undo()
    assert annotations.raters == ("eve", "joe")


def test_many_bouts_are_one_edit() -> None:
    annotations = Annotations(T, ANIMALS)
    bouts = [Bout(0, "walk", 0, 5, "eve"), Bout(1, "rest", 2, 9, "joe")]
    annotations.add_bouts(bouts)
    assert annotations.bouts() == bouts
    assert annotations.undo()
    assert annotations.bouts() == []
    assert annotations.raters == annotations.behaviors == ()
    assert not annotations.undo()
    assert annotations.redo()
    assert annotations.bouts() == bouts
    assert not annotations.redo()


def test_dense_labels_replace_all_a_rater_said() -> None:
    annotations = Annotations(T, ANIMALS)
    annotations.assign(0, 0, T, "walk")
    labels = np.full((T, 2), UNSCORED)
    labels[5:9, 1] = 1
    annotations.set_frames(labels, ("rest", "groom"))
    assert annotations.bouts() == [Bout(1, "groom", 5, 9)]
    annotations.undo()
    assert annotations.bouts() == [Bout(0, "walk", 0, T)]


def test_renaming_to_a_name_in_use_merges_and_can_be_undone() -> None:
    annotations = Annotations(T, ANIMALS)
    for start, name in ((0, "walk"), (5, "rest"), (10, "trot")):
        annotations.assign(0, start, start + 5, name)
    annotations.rename_behavior("rest", "sleep")
    assert annotations.behaviors == ("walk", "sleep", "trot")
    before = content(annotations)
    annotations.rename_behavior("walk", "trot")
    assert annotations.behaviors == ("sleep", "trot")
    assert annotations.bouts() == [Bout(0, "trot", 0, 5), Bout(0, "sleep", 5, 10), Bout(0, "trot", 10, 15)]
    annotations.undo()
    assert content(annotations) == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.assign(0, 5, 5, "walk"), "at least one"),
        (lambda a: a.assign(0, -1, 5, "walk"), "within frames 0 to 40"),
        (lambda a: a.assign(0, 5, T + 1, "walk"), "5 to 41"),
        (lambda a: a.assign(2, 0, 5, "walk"), "no animal 2"),
        (lambda a: a.assign(0, 0, 5, " "), "one line of text"),
        (lambda a: a.assign(0, 0, 5, "two\nlines"), "one line of text"),
        (lambda a: a.assign(0, 0, 5, "walk", "model"), "rater cannot be called 'model'"),
        (lambda a: a.rename_behavior("fly", "walk"), "no behavior 'fly'"),
        (lambda a: a.add_bouts([Bout(0, "walk", 0, 5), Bout(0, "walk", 0, 99)]), "0 to 99"),
        (lambda a: a.set_frames(np.zeros((3, 2), int), ("walk",)), r"\(40, 2\)"),
        (lambda a: a.set_frames(np.full((T, 2), 1), ("walk",)), "there are 1 names"),
    ],
)
def test_a_bad_edit_changes_nothing(edit, message: str, tmp_path: Path) -> None:
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    annotations.assign(1, 0, 3, "groom")
    before, written = content(annotations), journal(tmp_path).read_bytes()
    with pytest.raises(InputError, match=message):
        edit(annotations)
    assert content(annotations) == before
    assert journal(tmp_path).read_bytes() == written


spans = st.tuples(st.integers(0, T - 1), st.integers(1, T)).filter(lambda s: s[0] < s[1])
names, who = st.sampled_from(["walk", "rest", "groom", BACKGROUND]), st.sampled_from(["user", "eve"])
edits = st.one_of(
    st.tuples(st.just("assign"), st.integers(0, 1), spans, st.none() | names, who),
    st.tuples(st.just("many"), st.lists(st.tuples(st.integers(0, 1), spans, names, who), max_size=3)),
    st.tuples(st.just("rename"), st.integers(0, 3), names),
    st.tuples(st.sampled_from(["undo", "redo"])),
)


def perform(annotations: Annotations, edit: tuple) -> bool:
    """Make an edit; tell whether it is one (there may be nothing to rename or to assign)."""
    match edit:
        case ("assign", animal, (start, stop), behavior, rater):
            annotations.assign(animal, start, stop, behavior, rater)
        case ("many", bouts):
            annotations.add_bouts(Bout(animal, name, *span, rater) for animal, span, name, rater in bouts)
            return bool(bouts)
        case ("rename", index, new):
            if index >= len(annotations.behaviors) or annotations.behaviors[index] == new:
                return False
            annotations.rename_behavior(annotations.behaviors[index], new)
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(edits, max_size=25), st.integers(1, 6))
def test_undo_and_redo_walk_the_history_and_reopening_forgets_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, steps: list[tuple], every: int
) -> None:
    monkeypatch.setattr("napari_lookagain.annotations._SNAPSHOT_EVERY", every)
    folder = tmp_path_factory.mktemp("annotations")
    annotations = Annotations.open(folder, T, ANIMALS)
    history, now = [content(annotations)], 0
    for step in steps:
        if step == ("undo",):
            assert annotations.undo() == (now > 0)
            now = max(now - 1, 0)
        elif step == ("redo",):
            assert annotations.redo() == (now < len(history) - 1)
            now = min(now + 1, len(history) - 1)
        elif perform(annotations, step):
            now += 1
            history[now:] = [content(annotations)]
        assert content(annotations) == history[now]

    from_snapshot = Annotations.open(folder, T, ANIMALS)
    (folder / "snapshot.json").unlink(missing_ok=True)
    from_journal = Annotations.open(folder, T, ANIMALS)
    for reopened in (from_snapshot, from_journal):
        assert content(reopened) == history[now]
    for past in reversed(history[:now]):
        assert from_journal.undo()
        assert content(from_journal) == past
    for future in history[1:]:
        assert from_journal.redo()
        assert content(from_journal) == future


def test_opening_reads_the_snapshot_and_replays_only_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lookagain.annotations._SNAPSHOT_EVERY", 10)
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    for i in range(25):
        annotations.assign(i % 2, i, i + 3, f"b{i % 4}")
    applied = []
    apply = Annotations._apply
    monkeypatch.setattr(Annotations, "_apply", lambda self, edit: (applied.append(edit), apply(self, edit)))
    assert content(Annotations.open(tmp_path, T, ANIMALS)) == content(annotations)
    assert len(applied) == 5
    assert len(journal(tmp_path).read_bytes().splitlines()) == 26


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": 1}', b"[]"])
def test_a_damaged_snapshot_costs_nothing(damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lookagain.annotations._SNAPSHOT_EVERY", 2)
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    for start in range(5):
        annotations.assign(0, start, start + 2, "walk")
    (tmp_path / "snapshot.json").write_bytes(damage)
    assert content(Annotations.open(tmp_path, T, ANIMALS)) == content(annotations)


def test_a_snapshot_that_cannot_be_written_does_not_undo_the_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lookagain.annotations._SNAPSHOT_EVERY", 1)
    (tmp_path / "snapshot.json").mkdir()
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    with pytest.warns(UserWarning, match="The edit is safe"):
        annotations.assign(0, 0, 5, "walk")
    assert Annotations.open(tmp_path, T, ANIMALS).bouts() == [Bout(0, "walk", 0, 5)]


def test_opening_alone_writes_nothing(tmp_path: Path) -> None:
    annotations = Annotations.open(tmp_path / "annotations", T, ANIMALS)
    assert content(annotations) == content(Annotations(T, ANIMALS))
    assert list(tmp_path.iterdir()) == []


def test_saving_keeps_the_history_and_goes_on_there(tmp_path: Path) -> None:
    annotations = Annotations(T, ANIMALS)
    annotations.assign(0, 0, 5, "walk")
    annotations.assign(0, 2, 4, "rest")
    annotations.undo()
    annotations.save(tmp_path / "one")
    annotations.assign(1, 0, 9, "groom")
    opened = Annotations.open(tmp_path / "one", T, ANIMALS)
    assert content(opened) == content(annotations)
    opened.save(tmp_path / "two")
    opened.undo()
    opened.redo()
    assert journal(tmp_path / "two").read_bytes().startswith(journal(tmp_path / "one").read_bytes())
    with pytest.raises(InputError, match="exists already"):
        Annotations(T, ANIMALS).save(tmp_path / "one")


def test_a_torn_last_line_is_dropped_with_a_warning(tmp_path: Path) -> None:
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    annotations.assign(0, 0, 5, "walk")
    annotations.assign(0, 5, 9, "rest")
    whole = journal(tmp_path).read_bytes()
    journal(tmp_path).write_bytes(whole[:-9])
    with pytest.warns(UserWarning, match="torn line"):
        opened = Annotations.open(tmp_path, T, ANIMALS)
    assert opened.bouts() == [Bout(0, "walk", 0, 5)]
    opened.assign(0, 5, 7, "groom")
    assert Annotations.open(tmp_path, T, ANIMALS).bouts() == [Bout(0, "walk", 0, 5), Bout(0, "groom", 5, 7)]


@pytest.mark.parametrize("damage", [b"{]\n", b"\n", b'{"op":"fly"}\n', b'{"op":"assign","bouts":[[0,0,99,"a","b"]]}\n'])
def test_a_damaged_line_in_the_middle_is_named(damage: bytes, tmp_path: Path) -> None:
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    for start in range(4):
        annotations.assign(0, start, start + 1, "walk")
    lines = journal(tmp_path).read_bytes().splitlines(keepends=True)
    lines[2] = damage
    journal(tmp_path).write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"line 3 of .*journal.jsonl is damaged"):
        Annotations.open(tmp_path, T, ANIMALS)


def test_a_damaged_line_is_found_although_a_snapshot_covers_it(tmp_path: Path) -> None:
    annotations = Annotations(T, ANIMALS)
    for start in range(4):
        annotations.assign(0, start, start + 1, "walk")
    annotations.save(tmp_path)
    journal(tmp_path).write_bytes(journal(tmp_path).read_bytes().replace(b'[[0,1,2,"walk"', b'[[0,1,2,"wa}k'))
    with pytest.raises(InputError, match="line 3 of"):
        Annotations.open(tmp_path, T, ANIMALS)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = Annotations.open(tmp_path, T, ANIMALS)
    annotations.assign(0, 0, 5, "walk")
    before, written = content(annotations), journal(tmp_path).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            annotations.assign(0, 0, 9, "rest")
    assert content(annotations) == before
    assert journal(tmp_path).read_bytes() == written
    annotations.assign(0, 5, 9, "rest")
    assert content(Annotations.open(tmp_path, T, ANIMALS)) == content(annotations)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits the size of a file")
def test_a_line_that_fits_only_in_part_is_taken_back(tmp_path: Path) -> None:
    import resource

    annotations = Annotations.open(tmp_path, T, ANIMALS)
    annotations.assign(0, 0, 5, "walk")
    written = journal(tmp_path).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(written) + 20, hard))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            annotations.assign(0, 0, 9, "rest")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal(tmp_path).read_bytes() == written
    assert annotations.bouts() == [Bout(0, "walk", 0, 5)]


def test_two_programs_do_not_overwrite_each_other(tmp_path: Path) -> None:
    one, other = (Annotations.open(tmp_path, T, ANIMALS) for _ in range(2))
    one.assign(0, 0, 5, "walk")
    with pytest.raises(InputError, match="changed by another program"):
        other.assign(0, 0, 5, "rest")
    assert Annotations.open(tmp_path, T, ANIMALS).bouts() == one.bouts()


def test_annotations_of_another_recording_or_a_newer_version_are_refused(tmp_path: Path) -> None:
    Annotations(T, ANIMALS).save(tmp_path)
    with pytest.raises(InputError, match="another recording"):
        Annotations.open(tmp_path, T + 1, ANIMALS)
    with pytest.raises(InputError, match="another recording"):
        Annotations.open(tmp_path, T, ("ann",))
    header = json.loads(journal(tmp_path).read_bytes())
    journal(tmp_path).write_text(json.dumps(header | {"schema": 99}) + "\n")
    with pytest.raises(InputError, match="newer version"):
        Annotations.open(tmp_path, T, ANIMALS)
    journal(tmp_path).write_text("hello\n")
    with pytest.raises(InputError, match="line 1"):
        Annotations.open(tmp_path, T, ANIMALS)


def test_every_edit_outlives_a_killed_process(tmp_path: Path) -> None:
    script = """
import os, sys
from napari_lookagain.annotations import Annotations
annotations = Annotations.open(sys.argv[1], 40, ("ann", "bob"))
for start in range(30):
    annotations.assign(0, start, start + 1, f"b{start % 3}")
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = Annotations.open(tmp_path, T, ANIMALS)
    assert opened.labels()[:31, 0].tolist() == [i % 3 for i in range(30)] + [UNSCORED]


def test_label_bouts_round_trip() -> None:
    labels = np.array([[0, -1], [0, 1], [1, 1]], np.int16)
    assert label_bouts(labels, ("a", "b"), "eve") == [
        Bout(0, "a", 0, 2, "eve"),
        Bout(0, "b", 2, 3, "eve"),
        Bout(1, "b", 1, 3, "eve"),
    ]
