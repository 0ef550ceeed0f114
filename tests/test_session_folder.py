"""A session folder is written whole or not at all, and read with every doubt."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_lookagain import npz
from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.session import PoseSource, Session, load_session


def make():
    """A session in memory, of two animals with two keypoints."""
    return Session(
        recording="walk",
        keypoints=np.random.default_rng(0).random((40, 2, 2, 2)),
        confidence=np.ones((40, 2, 2)),
        animals=("a", "b"),
        keypoint_names=("nose", "tail"),
        fps=25.0,
        heading=("tail", "nose"),
        pose=PoseSource("/data/walk.csv", "xyz", "00"),
        video=None,
        annotations=Annotations(40, ("a", "b")),
    )


def files_of(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_session_comes_back_as_it_was_saved(lab, tmp_path, open_lab):
    session = open_lab(lab)
    session.edited = np.zeros((20, 1, 2), bool)
    session.edited[4, 0, 1] = True
    session.annotations.assign(0, 2, 7, "walk", rater="ann")
    folder = tmp_path / "out" / "walk.lookagain"
    before = files_of(lab)
    session.save(folder)
    assert files_of(lab) == before
    assert session.path == folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "annotations",
        "features",
        "keypoints.npz",
        "runs",
        "session.json",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["walk.lookagain"]
    loaded = load_session(folder)
    for name in ("recording", "animals", "keypoint_names", "fps", "heading", "pose", "video", "path"):
        assert getattr(loaded, name) == getattr(session, name), name
    for name in ("keypoints", "confidence", "edited"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(session, name))
    assert loaded.keypoints.dtype == np.float32
    assert loaded.annotations.bouts() == session.annotations.bouts()
    session.annotations.assign(0, 10, 12, "rest")  # edits go on in the folder
    assert len(load_session(folder).annotations.bouts()) == 2


def test_nothing_is_overwritten(tmp_path):
    session = make()
    for name in ("empty.lookagain", "file.lookagain", "full.lookagain"):
        path = tmp_path / name
        path.write_text("mine") if name.startswith("file") else path.mkdir()
        before = files_of(tmp_path)
        with pytest.raises(InputError, match="exists already"):
            session.save(path)
        assert files_of(tmp_path) == before
    assert session.path is None


@pytest.mark.parametrize(
    "failing", ["numpy.savez", "pathlib.Path.rename", "napari_lookagain.annotations.Annotations.save"]
)
def test_nothing_is_left_when_the_disk_is_full(tmp_path, monkeypatch, failing):
    session = make()
    session.annotations.assign(0, 1, 2, "walk")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(failing, full)
    with pytest.raises(InputError, match=r"disk is full|No space left"):
        session.save(tmp_path / "walk.lookagain")
    assert list(tmp_path.iterdir()) == []
    assert session.path is None
    monkeypatch.undo()
    session.save(tmp_path / "walk.lookagain")
    assert len(load_session(tmp_path / "walk.lookagain").annotations.bouts()) == 1


def test_an_unwritable_place_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        make().save(tmp_path / "file" / "walk.lookagain")


def test_session_and_video_move_together(lab, tmp_path, open_lab):
    open_lab(lab).save(lab / "walk.lookagain")
    shutil.move(lab, tmp_path / "elsewhere")
    moved = load_session(tmp_path / "elsewhere" / "walk.lookagain")
    assert moved.video.path == str(tmp_path / "elsewhere" / "walk.mp4")
    assert moved.pose.path == str(tmp_path / "elsewhere" / "walk.csv")
    moved.open_video().close()


def test_the_session_alone_moves(lab, tmp_path, open_lab, write_video):
    open_lab(lab).save(lab / "walk.lookagain")
    shutil.move(lab / "walk.lookagain", tmp_path / "walk.lookagain")
    write_video(tmp_path / "walk.mp4", shade=90)  # another video where the first would be, seen from the session
    session = load_session(tmp_path / "walk.lookagain")
    session.open_video().close()
    assert session.video.path == str(lab / "walk.mp4")


def test_a_video_that_moved_is_asked_for(lab, tmp_path, open_lab, write_video):
    open_lab(lab).save(lab / "walk.lookagain")
    shutil.move(lab / "walk.mp4", tmp_path / "renamed.mp4")
    session = load_session(lab / "walk.lookagain")
    with pytest.raises(InputError, match=r"is not at .*walk\.mp4; .*lookagain relocate SESSION --video FILE"):
        session.open_video()
    write_video(tmp_path / "other.mp4", shade=90)
    record = (lab / "walk.lookagain" / "session.json").read_bytes()
    for wrong in ("other.mp4", "none.mp4"):
        with pytest.raises(InputError):
            session.relocate_video(tmp_path / wrong)
    assert (lab / "walk.lookagain" / "session.json").read_bytes() == record
    session.relocate_video(tmp_path / "renamed.mp4")
    session.open_video().close()
    load_session(lab / "walk.lookagain").open_video().close()


def test_another_video_of_the_same_name_is_refused(lab, open_lab, write_video):
    open_lab(lab).save(lab / "walk.lookagain")
    write_video(lab / "walk.mp4", shade=90)
    with pytest.raises(InputError, match=r"is not the video this session was made with \(walk.mp4, 20 frames, 64×48\)"):
        load_session(lab / "walk.lookagain").open_video()


@pytest.fixture
def saved(tmp_path):
    make().save(tmp_path / "walk.lookagain")
    return tmp_path / "walk.lookagain"


def test_only_a_session_without_a_pose_file_asks_for_a_newer_version(saved, untracked):
    schemas = [json.loads((path / "session.json").read_text())["schema"] for path in (saved, untracked.path)]
    assert schemas == [1, 2]


def test_a_newer_session_is_refused(saved):
    record = json.loads((saved / "session.json").read_text())
    (saved / "session.json").write_text(json.dumps(record | {"schema": 3, "animals": {"new": "form"}}))
    with pytest.raises(InputError, match=r"newer version \(schema 3, this one reads up to 2\); update"):
        load_session(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "x"}', '{"schema": 1}', "[" * 100_000, "\udcff"])
def test_a_damaged_record_is_an_input_error(saved, text):
    (saved / "session.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="session.json is damaged"):
        load_session(saved)


@pytest.mark.parametrize(
    "field, value",
    [("animals", 3), ("animals", ["a"]), ("animals", [["a"], "b"]), ("keypoints", None), ("fps", "fast"), ("fps", -1),
     ("heading", "tail"), ("heading", ["tail", "x"]), ("pose", None), ("pose", {"path": 3}), ("video", {"path": "x"})],
)  # fmt: skip
def test_a_record_that_makes_no_sense_is_an_input_error(saved, field, value):
    record = json.loads((saved / "session.json").read_text())
    (saved / "session.json").write_text(json.dumps(record | {field: value}))
    with pytest.raises(InputError):
        load_session(saved)


def test_keypoints_that_are_mapped_are_those_that_are_read(saved, monkeypatch):
    read = load_session(saved)
    before = files_of(saved)
    monkeypatch.setattr(npz, "LARGE", 0)
    mapped = load_session(saved)
    for name in ("keypoints", "confidence"):
        np.testing.assert_array_equal(getattr(mapped, name), getattr(read, name))
        assert getattr(mapped, name).dtype == np.float32
    mapped.move_keypoint(3, 1, 0, (7, 8))
    assert mapped.keypoints[3, 1, 0].tolist() == load_session(saved).keypoints[3, 1, 0].tolist() == [7, 8]
    assert files_of(saved)[str(saved / "keypoints.npz")] == before[str(saved / "keypoints.npz")]


@pytest.mark.parametrize("large", [0, 1 << 24])
def test_damaged_keypoints_are_an_input_error(saved, monkeypatch, large):
    monkeypatch.setattr(npz, "LARGE", large)
    path = saved / "keypoints.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", b"junk", whole[: len(whole) // 2], whole[:-5], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="keypoints.npz is missing or damaged"):
            load_session(saved)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="missing or damaged"):
        load_session(saved)
    path.unlink()
    with pytest.raises(InputError, match="missing or damaged"):
        load_session(saved)


class Bait:
    """Unpickling it makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_pickled_keypoints_never_run(saved, tmp_path):
    trace = tmp_path / "ran"
    np.savez(saved / "keypoints.npz", keypoints=np.array([Bait(trace)], dtype=object), confidence=0, edited=0)
    with pytest.raises(InputError, match="damaged"):
        load_session(saved)
    (saved / "keypoints.npz").write_bytes(pickle.dumps(Bait(trace)))
    with pytest.raises(InputError, match="damaged"):
        load_session(saved)
    assert not trace.exists()


def test_what_is_no_session_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(InputError, match="is no session folder"):
            load_session(path)
    (tmp_path / "session.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_session(tmp_path)


def test_opening_a_session_imports_little(saved):
    code = (
        "import sys\nfrom napari_lookagain.session import load_session\n"
        f"load_session({str(saved)!r})\n"
        "print([name for name in ('torch', 'movement', 'pandas', 'av', 'napari') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
