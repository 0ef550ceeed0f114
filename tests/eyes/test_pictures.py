"""Pictures of an eye as a user gets them: pages on the command line, and what it sees at a frame."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.testing import assert_allclose

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.eyes.kept import cut_off, kept_eye, kept_eyes
from napari_lookagain.eyes.pictures import draw_eye, open_sight
from napari_lookagain.eyes.pretraining import pretrain_eye
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session

CONFIG = Config.preset("quick", vision={"encoder": "beast"}, beast={"anchors": 24, "epochs": 1, "batch": 16})


@pytest.fixture(scope="module")
def eye(mice, tmp_path_factory) -> Path:
    """The folder of an eye that hardly learnt anything; not to be changed."""
    session = load_session(shutil.copytree(mice, tmp_path_factory.mktemp("eye") / "mice.lookagain"))
    drain(pretrain_eye([session], CONFIG, device="cpu"))
    return kept_eye([session], CONFIG)


def test_pages_are_drawn_of_a_session_and_of_a_video(lookagain, eye, session, simulated, tmp_path):
    told = lookagain("beast", "pictures", eye, session.path, "--out", tmp_path / "pages", "--examples", 3, "--json")
    assert told.status == 0, told.err
    names = ["reconstructions.png", "patches.png", "loss.png"]
    assert json.loads(told.out)["pictures"] == [str(tmp_path / "pages" / name) for name in names]
    again = drain(draw_eye(eye, simulated.video, tmp_path / "video", n=3))
    assert [path.name for path in again] == names
    pages = [imread(folder / names[0]) for folder in (tmp_path / "pages", tmp_path / "video")]
    assert pages[0].shape == pages[1].shape
    assert (pages[0] != pages[1]).any()  # crops, and whole frames


def test_examples_are_of_animals_that_are_there(eye, session, monkeypatch, tmp_path):
    from napari_lookagain.pictures import eye as pages

    session.keypoints[:200, 0] = session.keypoints[150:, 1] = np.nan
    session.confidence[np.isnan(session.keypoints[..., 0])] = 0
    drawn = {}
    monkeypatch.setattr(
        pages, "draw_examples", lambda path, images, heads, names, title: drawn.update({path.name: names})
    )
    drain(draw_eye(eye, session, tmp_path, n=10))
    captions = drawn["patches.png"]
    assert captions == drawn["reconstructions.png"]
    assert len(set(captions)) == 10
    for caption in captions:
        animal, frame = caption.split(", frame ")
        assert (int(frame) < 150) if animal == session.animals[1] else (int(frame) >= 200)
    session.keypoints[:] = np.nan
    session.confidence[:] = 0
    with pytest.raises(InputError, match=r"below 0\.25|no animal"):
        drain(draw_eye(eye, session, tmp_path))


def test_what_is_missing_is_said_in_one_line(lookagain, eye, session, tmp_path):
    alone = shutil.copytree(eye, tmp_path / "alone", ignore=shutil.ignore_patterns("beast.safetensors", "metrics.json"))
    told = lookagain("beast", "pictures", alone, session.path, "--out", tmp_path / "pages")
    assert (told.status, told.err.count("\n")) == (2, 1)
    assert "can only see, not paint" in told.err
    told = lookagain("beast", "pictures", eye, session.path, "--out", tmp_path / "pages", "--examples", 0)
    assert (told.status, told.err.count("\n")) == (2, 1)
    assert "0 examples" in told.err
    assert not (tmp_path / "pages").exists()
    shutil.copy(eye / "beast.safetensors", alone)
    assert len(drain(draw_eye(alone, session, tmp_path / "pages", n=1))) == 2  # nothing tells its losses
    (alone / "metrics.json").write_text("nonsense", "utf-8")
    with pytest.raises(InputError, match=r"metrics\.json is damaged"):
        drain(draw_eye(alone, session, tmp_path / "pages", n=1))


def test_a_frame_is_seen_where_the_animals_are(eye, session):
    sight = drain(open_sight(eye, session))
    try:
        glimpses = sight.at(40)
        assert [each.animal for each in glimpses] == [0, 1]
        for each in glimpses:
            assert (each.painted.shape, each.colors.shape) == ((48, 48), (48, 48, 3))
            middle = each.affine @ [23.5, 23.5, 1]
            assert_allclose(middle, session.centers(40, 41)[0, each.animal], atol=1e-3)
        session.move_keypoint(40, 1, 0, (5.0, 5.0))
        sight.moved = True
        moved = sight.at(40)[1].affine @ [23.5, 23.5, 1]
        assert_allclose(moved, session.centers(40, 41)[0, 1], atol=1e-3)
        session.keypoints[41] = np.nan
        assert sight.at(41) == []
    finally:
        sight.close()


def test_whole_frames_are_seen_without_keypoints(eye, untracked):
    sight = drain(open_sight(eye, untracked))
    try:
        (glimpse,) = sight.at(7)
        corners = glimpse.affine @ np.array([[-0.5, 47.5], [-0.5, 47.5], [1, 1]])
        width, height = untracked.frame_size
        assert_allclose(corners, [[-0.5, width - 0.5], [-0.5, height - 0.5]])
    finally:
        sight.close()


def test_eyes_are_listed_without_loading_them(eye, session):
    assert kept_eyes(session) == []
    assert not cut_off(session)
    shutil.copytree(eye, session.path / "beast" / "one")
    (damaged := session.path / "beast" / "two").mkdir()
    (damaged / "encoder.json").write_text("{}", "utf-8")
    (damaged / "config.json").write_text("[]", "utf-8")
    (found,) = kept_eyes(session)
    assert (found.folder.name, found.size, found.anchors) == ("one", "tiny", 24)
    assert found.settings["key"] == eye.name
    (damaged / "pretraining-1.pt").touch()
    assert cut_off(session)
