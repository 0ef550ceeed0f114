"""A session is checked when it is made, and knows where its animals are and where they face."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.session import PoseSource, Session, VideoSource, load_session, new_session

NAMES = ("nose", "middle", "tail")
VIDEO = VideoSource("walk.mp4", 64, 48, 40, 25.0, "00")


def make(**changes):
    """A session in memory: two animals walk to the right, nose 20 px before the tail; the second comes at frame 5."""
    keypoints = np.zeros((40, 2, 3, 2), np.float32)
    keypoints[..., 0] = np.arange(40)[:, None, None] + [20, 10, 0]
    keypoints[:, 1, :, 1] = 100
    keypoints[:5, 1] = np.nan
    fields = {
        "recording": "walk",
        "keypoints": keypoints,
        "confidence": np.isfinite(keypoints[..., 0]).astype(np.float32),
        "animals": ("a", "b"),
        "keypoint_names": NAMES,
        "fps": 25.0,
        "heading": ("tail", "nose"),
        "pose": PoseSource("/data/walk.csv", "xyz", "00"),
        "video": None,
        "annotations": Annotations(40, ("a", "b")),
    }
    return Session(**fields | changes)


def test_sizes_and_names():
    session = make()
    assert (session.n_frames, session.n_animals, session.n_keypoints, session.n_coords) == (40, 2, 3, 2)
    assert session.heading_index == (2, 0)
    assert session.frame_size is None
    assert make(heading=None).heading_index is None
    assert len(repr(session)) < 500


def broken(part, place, value):
    array = getattr(make(), part).copy()
    array[place] = value
    return {part: array}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keypoints": np.zeros((40, 2, 3))}, "expected .frames, animals, keypoints, 2 or 3"),
        ({"keypoints": np.zeros((40, 2, 3, 4))}, "expected .frames, animals, keypoints, 2 or 3"),
        ({"keypoints": np.zeros((40, 0, 3, 2))}, "expected .frames, animals, keypoints, 2 or 3"),
        ({"confidence": np.zeros((40, 2))}, "confidence of shape"),
        ({"edited": np.zeros((40, 2), bool)}, "edited"),
        ({"keypoints": np.zeros((1, 2, 3, 2)), "confidence": np.ones((1, 2, 3))}, "1 frame, expected at least 2"),
        (
            {"keypoints": np.full((40, 2, 3, 2), np.nan), "confidence": np.zeros((40, 2, 3))},
            "No keypoint is present in any of the 40 frames",
        ),
        (broken("keypoints", (7, 0, 0, 0), np.inf), "infinite or lack a coordinate"),
        (broken("keypoints", (7, 0, 0, 1), np.nan), "infinite or lack a coordinate"),
        (broken("confidence", (7, 0, 0), 1.5), "0 to 1"),
        (broken("confidence", (7, 0, 0), np.nan), "0 to 1"),
        (broken("confidence", (0, 1, 0), 0.5), "0 where a keypoint is missing"),
        ({"animals": ("a", "a")}, "2 animals need a name each, all different; got a, a"),
        ({"animals": ("a",)}, "2 animals need a name each"),
        ({"keypoint_names": ("nose", "nose", "tail")}, "3 keypoints need a name each"),
        ({"keypoint_names": ("nose", " ", "tail")}, "3 keypoints need a name each"),
        ({"fps": 0}, "frame rate is 0"),
        ({"fps": float("nan")}, "frame rate is nan"),
        ({"heading": ("tail", "snout")}, "the keypoints are nose, middle, tail"),
        ({"heading": ("tail", "tail")}, "two keypoints, rear and front"),
        ({"heading": ("tail",)}, "two keypoints, rear and front"),
        ({"video": VideoSource("walk.mp4", 64, 48, 39, 25.0, "00")}, "video has 39 frames, but the pose has 40"),
        ({"pose": None, "video": VIDEO}, "Without a pose file, keypoints are of shape .40, 2, 3, 2., expected"),
        ({"pose": None}, "neither a pose file nor a video"),
        ({"keypoints": np.zeros((40, 1, 0, 2)), "confidence": np.zeros((40, 1, 0))}, "expected .frames, animals, keyp"),
        ({"annotations": Annotations(39, ("a", "b"))}, "annotations are of 39 frames"),
        ({"annotations": Annotations(40, ("a", "c"))}, "of a, c, but"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_centers_are_of_the_keypoints_that_are_present():
    session = make(
        **broken("keypoints", (3, 0, 0), np.nan) | broken("confidence", (3, 0, 0), 0),
    )
    centers = session.centers()
    assert centers.shape == (40, 2, 2)
    assert centers.dtype == np.float32
    assert centers[2, 0].tolist() == [12, 0]
    assert centers[3, 0].tolist() == [8, 0]
    assert np.isnan(centers[:5, 1]).all()
    np.testing.assert_array_equal(session.centers(4, 9), centers[4:9])


def test_headings_point_from_rear_to_front():
    keypoints = make().keypoints.copy()
    keypoints[10, 0, 0] = keypoints[10, 0, 2] + [0, 7]  # straight down in an image
    keypoints[11, 0, 0] = keypoints[11, 0, 2]
    session = make(keypoints=keypoints)
    headings = session.headings()
    assert headings.shape == (40, 2)
    assert headings.dtype == np.float32
    assert headings[9, 0] == 0
    assert headings[10, 0] == pytest.approx(np.pi / 2)
    assert np.isnan(headings[11, 0])
    assert np.isnan(headings[:5, 1]).all()
    np.testing.assert_array_equal(session.headings(8, 12), headings[8:12])
    assert np.isnan(make(heading=None).headings()).all()


def test_heading_in_space_is_seen_from_above():
    flat = make().keypoints
    height = np.where(np.isnan(flat[..., :1]), np.nan, [[[9.0], [0], [3]]])
    session = make(keypoints=np.concatenate([flat, height], axis=-1))
    assert session.n_coords == 3
    np.testing.assert_array_equal(session.headings(), make().headings())
    assert session.body_length == pytest.approx(np.hypot(20, 6))


def test_body_length_is_the_median_of_the_largest_spread():
    assert make().body_length == 20
    keypoints = make().keypoints.copy()
    keypoints[:10, 0, 0, 0] = 5000  # a few wild keypoints do not matter
    assert make(keypoints=keypoints).body_length == 20
    rare = np.full((30000, 1, 2, 2), np.nan)
    rare[::7919] = [[0, 0], [3, 4]]  # hardly ever present: still found
    session = make(
        keypoints=rare,
        confidence=np.isfinite(rare[..., 0]),
        animals=("a",),
        keypoint_names=("nose", "tail"),
        annotations=Annotations(30000, ("a",)),
    )
    assert session.body_length == 5
    single = make(
        keypoints=make().keypoints[:, :, :1],
        confidence=make().confidence[:, :, :1],
        keypoint_names=("x",),
        heading=None,
    )
    assert single.body_length == 1


def test_new_session_reads_video_and_pose(lab, open_lab):
    session = open_lab(lab)
    assert (session.recording, session.n_frames, session.fps) == ("walk", 20, 25)
    assert session.heading == ("tail", "nose")
    assert session.frame_size == (64, 48)
    assert session.pose.software == "xyz"
    assert session.video.path == str(lab / "walk.mp4")
    assert session.path is None
    with session.open_video() as video:
        assert video.frame(3).shape == (48, 64, 3)
    assert open_lab(lab, heading=("nose", "tail"), recording="other").heading == ("nose", "tail")
    with pytest.raises(InputError, match="the keypoints are nose, tail"):
        open_lab(lab, heading=("tail", "head"))


def test_a_video_alone_is_a_session_of_one_animal_without_keypoints(untracked):
    for session in (untracked, load_session(untracked.path)):
        assert (session.keypoints.shape, session.confidence.shape) == ((300, 1, 0, 2), (300, 1, 0))
        assert (session.animals, session.keypoint_names, session.heading) == (("animal_0",), (), None)
        assert (session.pose, session.fps, session.frame_size) == (None, 25, (240, 180))
        assert not session.has_keypoints
        assert session.body_length == 1
        assert np.isnan(session.centers()).all()
        assert np.isnan(session.headings()).all()
        session.open_video().close()
    with pytest.raises(InputError, match="300 frames of 1 animals with 0 keypoints"):
        untracked.move_keypoint(0, 0, 0, (1, 2))
    with pytest.warns(UserWarning, match="50 frames per second are given; the video says 25"):
        assert new_session(video=untracked.video.path, fps=50).fps == 50


def test_what_a_session_is_made_of_must_be_given(simulated):
    with pytest.raises(InputError, match=r"nothing to make a session of; give a pose file"):
        new_session()
    for options in ({"keypoints": ["nose"]}, {"heading": ("tail", "nose")}, {"software": "SLEAP"}):
        with pytest.raises(InputError, match="are those of a pose file"):
            new_session(video=simulated.video, **options)


def test_frame_rate_is_given_or_read_or_asked_for(lab, open_lab):
    with pytest.raises(InputError, match="give --fps"):
        new_session(lab / "walk.csv", keypoints=["nose", "tail"])
    assert new_session(lab / "walk.csv", keypoints=["nose", "tail"], fps=50).fps == 50
    with pytest.warns(UserWarning, match="250 frames per second are given; the video says 25"):
        assert open_lab(lab, fps=250).fps == 250
    with pytest.raises(InputError, match="frame rate is 0"):
        new_session(lab / "walk.csv", keypoints=["nose", "tail"], fps=0)


@pytest.mark.parametrize("pose, video", [(101, 100), (100, 101)])
def test_one_percent_is_trimmed_with_a_warning(tmp_path, pose, video, open_lab, write_video, write_pose):
    write_pose(tmp_path / "walk.csv", pose)
    write_video(tmp_path / "walk.mp4", video)
    with pytest.warns(UserWarning, match=f"pose has {pose} frames and the video {video}"):
        session = open_lab(tmp_path)
    assert session.n_frames == session.annotations.n_frames == 100
    assert session.video.n_frames == video


@pytest.mark.parametrize("pose", [22, 18])
def test_more_than_one_percent_is_an_error(tmp_path, pose, open_lab, write_video, write_pose):
    write_pose(tmp_path / "walk.csv", pose)
    write_video(tmp_path / "walk.mp4", 20)
    with pytest.raises(InputError, match=f"pose has {pose} frames and the video 20, which is more than 1 %"):
        open_lab(tmp_path)


def test_a_session_in_memory_has_no_folders():
    session = make()
    assert session.runs == []
    for ask in (lambda: session.features_folder, lambda: session.run_folder("first")):
        with pytest.raises(InputError, match="save it first"):
            ask()


def test_runs_and_features_live_in_the_folder(tmp_path):
    session = make()
    session.save(tmp_path / "walk.lookagain")
    assert session.features_folder == tmp_path / "walk.lookagain" / "features"
    assert session.runs == []
    for name in ("second", "first"):
        session.run_folder(name).mkdir()
    assert session.runs == ["first", "second"]
    for name in ("", ".", "..", "../x", "a/b", "a\\b", ".hidden", str(tmp_path)):
        with pytest.raises(InputError, match="cannot name a run"):
            session.run_folder(name)


def test_the_heading_can_be_set_and_is_kept(tmp_path):
    session = make(heading=None)
    session.save(tmp_path / "walk.lookagain")
    session.set_heading(("tail", "middle"))
    assert load_session(tmp_path / "walk.lookagain").heading_index == (2, 1)
    with pytest.raises(InputError, match="the keypoints are nose, middle, tail"):
        session.set_heading(("tail", "beak"))
    session.set_heading(None)
    assert load_session(tmp_path / "walk.lookagain").heading is None


def test_without_a_video_there_is_none_to_open():
    for ask in (make().open_video, lambda: make().relocate_video("walk.mp4")):
        with pytest.raises(InputError, match="has no video"):
            ask()


@pytest.mark.parametrize(
    "pose, video, shape, heading",
    [
        ("flies/flies.analysis.h5", "flies/flies.mp4", (3000, 2, 13, 2), ("abdomen", "head")),
        ("flies/flies.slp", "flies/flies.mp4", (3000, 2, 13, 2), ("abdomen", "head")),
        ("mabe/EGS8X2MN4SSUGFWAV976.h5", "mabe/EGS8X2MN4SSUGFWAV976.mp4", (1800, 3, 12, 2), ("tail base", "nose")),
        ("vame_mouse/cropped_video.csv", "vame_mouse/cropped_video.mp4", (749, 1, 6, 2), ("Tailroot", "Nose")),
    ],
)
@pytest.mark.filterwarnings("ignore:The pose has")
def test_real_recordings(data, tmp_path, pose, video, shape, heading):
    session = new_session(data / pose, data / video)
    assert (session.keypoints.shape, session.heading) == (shape, heading)
    session.save(tmp_path / "real.lookagain")
    loaded = load_session(tmp_path / "real.lookagain")
    np.testing.assert_array_equal(loaded.keypoints, session.keypoints)
    assert 50 < loaded.body_length < 400
    with loaded.open_video() as opened:
        assert (opened.width, opened.height) == loaded.frame_size


def test_a_real_recording_in_space(data, tmp_path):
    names = ["nose", "neck", "anus", "chest", "rfoot", "lfoot", "rhand", "lhand", "tip"]
    session = new_session(data / "subtle_mice" / "coords" / "adult_6112.csv", fps=20, keypoints=names)
    assert session.keypoints.shape == (12010, 1, 9, 3)
    assert session.heading == ("anus", "nose")
    assert np.isfinite(session.headings()).all()


def test_pose_of_another_recording_is_refused(data):
    with pytest.raises(InputError, match="pose has 3000 frames and the video 749"):
        new_session(data / "flies" / "flies.slp", data / "vame_mouse" / "cropped_video.mp4")
