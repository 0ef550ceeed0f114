"""A clip has the frames it was asked for, with keypoints and ethogram where they belong, or is not there at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_lookagain.clip import animal_frames, write_clip
from napari_lookagain.encoding import video_writer
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.pictures.lettering import text_mask
from napari_lookagain.progress import drain
from napari_lookagain.video import Video

COLORS = {"left": "#ff0000", "right": "#00ff00"}


@pytest.fixture
def ethogram(session) -> Ethogram:
    """Left for 100 frames, then right; unscored from frame 290 on."""
    label = np.repeat([[0], [1], [-1]], [100, 190, 10], axis=0).repeat(2, axis=1)
    made = Ethogram.from_labels(label, tuple(COLORS), recording="mice", fps=session.fps, animals=session.animals)
    return replace(made, looked=(np.arange(300) % 10 == 0)[:, None].repeat(2, axis=1))


def is_near(pixel: np.ndarray, color: str, off: int = 60) -> bool:
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixel.astype(int) - wanted) < off).all())


def test_a_clip_shows_keypoints_in_the_color_of_what_the_animal_does(session, ethogram, tmp_path):
    path = tmp_path / "clip.mp4"
    told = list(write_clip(session, ethogram, path, 90, 110, colors=COLORS))
    assert [each.done for each in told] == list(range(1, 21))
    assert {each.total for each in told} == {20}
    with Video(path) as clip:
        assert (clip.n_frames, clip.width, clip.fps) == (20, 640, session.fps)
        assert clip.height > 480
        for index, color in ((95, COLORS["left"]), (105, COLORS["right"])):
            frame = clip.frame(index - 90)
            points = session.keypoints[index, :, :, :2].reshape(-1, 2) * 640 / session.video.width
            points = points[np.isfinite(points).all(axis=1)].round().astype(int)
            seen = [is_near(frame[y, x], color) for x, y in points if 0 <= x < 640 and 0 <= y < 480]
            assert np.mean(seen) > 0.5, "a keypoint may cover another"
    assert list(tmp_path.glob(".clip*")) == []


def test_the_strip_shows_the_ethogram_of_each_animal(session, ethogram, tmp_path):
    drain(write_clip(session, ethogram, tmp_path / "clip.mp4", 0, 200, colors=COLORS))
    with Video(tmp_path / "clip.mp4") as clip:
        panel = clip.frame(150)[480:]
    rows = [row for row in panel if is_near(row[100], COLORS["left"]) and is_near(row[600], COLORS["right"])]
    assert 2 * 10 <= len(rows) <= 2 * 16
    cursor = np.flatnonzero(rows[5].max(axis=1) < 90)
    assert abs(cursor.mean() - (12 + 150.5 / 200 * 616)) < 3


def test_a_clip_may_follow_one_animal(session, ethogram, tmp_path):
    drain(write_clip(session, ethogram, tmp_path / "clip.mp4", 280, 300, animal=1, colors=COLORS))
    with Video(tmp_path / "clip.mp4") as clip:
        assert (clip.n_frames, clip.width) == (20, 640)
        assert 640 < clip.height < 740, "one strip"


def test_without_keypoints_all_of_the_picture_is_shown(untracked, tmp_path):
    untracked.annotations.assign(0, 0, 300, "left")
    scored, whole = untracked.annotations, {"recording": "untracked", "fps": 25, "animals": untracked.animals}
    ethogram = Ethogram.from_labels(scored.labels(), scored.behaviors, **whole)
    drain(write_clip(untracked, ethogram, tmp_path / "clip.mp4", 10, 15, animal=0))
    with untracked.open_video() as video:
        [picture] = animal_frames(untracked, video, 0, 5, 6, size=120)
        edges = video.frame(5)[[2, 2, -3, -3], [2, -3, 2, -3]]
    assert picture[:14].max() == picture[-14:].max() == 0, "it is wider than high"
    assert np.abs(picture[[16, 16, -17, -17], [1, -2, 1, -2]].astype(int) - edges).max() < 30


def test_pictures_follow_an_animal_and_stay_in_size(session):
    session.keypoints[120:140, 0] = np.nan
    with session.open_video() as video:
        pictures = list(animal_frames(session, video, 0, 110, 150, size=96, color="#ff0000"))
        session.keypoints[:, 1] = np.nan
        never = list(animal_frames(session, video, 1, 0, 2))
    assert {picture.shape for picture in pictures} == {(96, 96, 3)}
    red = [(picture[..., 0] > 200) & (picture[..., 1:].max(-1) < 80) for picture in pictures]
    assert not any(mask.any() for mask in red[10:30])
    for mask in (*red[:10], *red[30:]):
        assert np.abs(np.argwhere(mask).mean(axis=0) - 48).max() < 24, "it is in the middle"
    assert never[0].shape == (160, 160, 3)


def test_a_clip_that_is_stopped_leaves_nothing(session, ethogram, tmp_path):
    work = write_clip(session, ethogram, tmp_path / "clip.mp4", 0, 100)
    for _ in range(5):
        next(work)
    work.close()
    assert list(tmp_path.glob("*clip*")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "clip.avi"}, "ending in .mp4"),
        ({"start": 10, "stop": 10}, "not within the recording's, 0 to 300"),
        ({"stop": 301}, "not within"),
        ({"animal": 2}, "no animal 2; this recording has 2"),
        ({"path": "mice.lookagain/session.json/clip.mp4"}, "cannot be written"),
    ],
)
def test_what_cannot_be_written(session, ethogram, tmp_path, change, message):
    asked = {"path": "clip.mp4", "start": 0, "stop": 5, "animal": None} | change
    asked["path"] = tmp_path / asked["path"]
    with pytest.raises(InputError, match=message):
        drain(write_clip(session, ethogram, **asked))


def test_an_ethogram_or_video_that_does_not_fit(session, ethogram, tmp_path):
    short = Ethogram.from_labels(np.zeros((5, 2), int), ["x"], recording="pond", fps=25, animals=session.animals)
    with pytest.raises(InputError, match="not of mice, but of pond"):
        drain(write_clip(session, short, tmp_path / "clip.mp4", 0, 5))
    with pytest.raises(InputError, match="has no video"):
        drain(write_clip(replace(session, video=None), ethogram, tmp_path / "clip.mp4", 0, 5))


def test_frames_that_do_not_reach_the_file_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("imageio_ffmpeg.count_frames_and_secs", lambda path: (1, 0.1))
    writer = video_writer(tmp_path / "x.mp4", (64, 64), 25)
    write = writer.__enter__()
    for _ in range(3):
        write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match="could not be written whole; is the disk full"):
        writer.__exit__(None, None, None)


def test_text_stands_on_one_line():
    masks = {text: text_mask(text, 14) for text in ("rest", "groom", "Ü", "")}
    assert {len(mask) for mask in masks.values()} == {18}
    rows = {text: np.flatnonzero(mask.max(axis=1) > 100) for text, mask in masks.items() if text}
    assert abs(rows["rest"].max() - rows["Ü"].max()) <= 1
    assert rows["groom"].max() > rows["rest"].max() + 1, "letters hang below it"
