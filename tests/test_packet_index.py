"""What was read of a video's packets is kept, and made anew when it cannot be trusted."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import napari_lookagain.video
from napari_lookagain import npz
from napari_lookagain.packet_index import PacketIndex, load_index
from napari_lookagain.session import Session, load_session, new_session
from napari_lookagain.video import Video


@pytest.fixture
def path(tmp_path: Path, write_video) -> Path:
    write_video(tmp_path / "walk.mp4")
    return tmp_path / "walk.mp4"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, no video may be read through, nor even its container be opened."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("the video was opened again")

    monkeypatch.setattr(napari_lookagain.video, "read_index", refuse)
    monkeypatch.setattr(av, "open", refuse)


def test_a_saved_session_reads_through_its_video_once(session: Session, request: pytest.FixtureRequest) -> None:
    with session.open_video() as video:
        frames = [video.frame(i) for i in (0, 77, 299)]
        fps = video.fps
    (kept,) = session.features_folder.glob("packets-*.npz")
    assert session.video is not None
    assert session.video.fingerprint in kept.name
    request.getfixturevalue("unread")
    with session.open_video() as video:
        assert (video.n_frames, video.fps, video.variable_frame_rate) == (300, fps, False)
        assert_array_equal([video.frame(i) for i in (0, 77, 299)], frames)


def test_what_a_new_session_read_is_kept_with_it(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    new_session(video=path).save(tmp_path / "walk.lookagain")
    request.getfixturevalue("unread")
    with load_session(tmp_path / "walk.lookagain").open_video() as video:
        assert video.frame(19).shape == (48, 64, 3)


def test_a_session_in_memory_keeps_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "path", None)
    with session.open_video() as video:
        assert video.n_frames == 300


def _of_another(kept: Path, write_video) -> None:
    write_video(kept.with_name("other.mp4"), n_frames=7)
    Video(kept.with_name("other.mp4"), kept).close()


def _one_array(kept: Path, _: object) -> None:
    with kept.open("wb") as file:
        np.save(file, np.arange(3))


def _another_number(kept: Path, _: object) -> None:
    content = kept.read_bytes()
    kept.write_bytes(content.replace(bytes([1, 0, 0, 0, 2]), bytes([1, 0, 0, 0, 3])))
    assert kept.read_bytes() != content


DAMAGES = {
    "empty": lambda kept, _: kept.write_bytes(b""),
    "text": lambda kept, _: kept.write_text("no index"),
    "cut": lambda kept, _: kept.write_bytes(kept.read_bytes()[:-200]),
    "a number": _another_number,
    "other arrays": lambda kept, _: np.savez(kept, frame=np.arange(3)),
    "objects": lambda kept, _: np.savez(kept, frame=np.array([{}])),
    "one array": _one_array,
    "another video": _of_another,
}


def held(index: PacketIndex | None) -> dict[str, np.ndarray]:
    """Its arrays, in memory even where they are mapped: what a map is of gets damaged here."""
    assert index is not None
    return {field.name: np.array(getattr(index, field.name)) for field in fields(PacketIndex)}


@pytest.mark.parametrize("large", [0, npz.LARGE], ids=["mapped", "read"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_foreign_is_made_anew(
    path: Path, tmp_path: Path, write_video, monkeypatch: pytest.MonkeyPatch, damage: str, large: int
) -> None:
    monkeypatch.setattr(npz, "LARGE", large)
    kept = tmp_path / "packets.npz"
    with Video(path, kept) as video:
        truth = video.frame(13)
    before = held(load_index(kept, path))
    DAMAGES[damage](kept, write_video)
    assert load_index(kept, path) is None
    with Video(path, kept) as video:
        assert video.n_frames == 20
        assert_array_equal(video.frame(13), truth)
    after = held(load_index(kept, path))
    assert after.keys() == before.keys()
    for name, array in before.items():
        assert_array_equal(after[name], array)
        assert after[name].dtype == array.dtype


def test_a_folder_that_cannot_be_written_to_is_no_error(path: Path) -> None:
    nowhere = path / "packets.npz"  # the video is a file, not a folder
    with Video(path, nowhere) as video:
        assert video.frame(19).shape == (48, 64, 3)
    assert not nowhere.exists()
