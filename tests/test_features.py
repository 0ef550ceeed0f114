"""Eq. 1: the columns of the motion descriptor by hand, what it does not depend on, and what missing keypoints do."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain import stretches
from napari_lookagain.annotations import Annotations
from napari_lookagain.config import FeatureConfig
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.session import PoseSource, Session, VideoSource

EGOCENTRIC = FeatureConfig(pace_window=0)
ARENA = FeatureConfig(frame="arena", pace_window=0)
BOTH = pytest.mark.parametrize("frame", ["egocentric", "arena"])


def make(keypoints, confidence=None, *, heading=("rear", "front"), fps=10.0, frame_size=None):
    """A session in memory of keypoints (T, A, J, C); the first two are the rear and the front of an animal."""
    keypoints = np.asarray(keypoints, np.float32)
    n_frames, n_animals, n_keypoints, _ = keypoints.shape
    animals = tuple("abcd"[:n_animals])
    if confidence is None:
        confidence = np.isfinite(keypoints[..., 0]).astype(np.float32)
    return Session(
        recording="walk",
        keypoints=keypoints,
        confidence=confidence,
        animals=animals,
        keypoint_names=("rear", "front", "ear", "paw")[:n_keypoints],
        fps=fps,
        heading=heading,
        pose=PoseSource("/data/walk.csv", "xyz", "00"),
        video=frame_size and VideoSource("/data/walk.mp4", *frame_size, n_frames, fps, "00"),
        annotations=Annotations(n_frames, animals),
    )


def describe(session, config=EGOCENTRIC, **options):
    return MotionFeatures(session, config, **options)(0, session.n_frames)


def crowd(seed=0, n_frames=20, n_animals=3):
    """Three animals on smooth random tracks, with gaps; keypoints (T, A, 3, 2)."""
    rng = np.random.default_rng(seed)
    center = np.cumsum(rng.normal(size=(n_frames, n_animals, 1, 2)), 0) * 3 + [[[[100, 80]], [[60, 90]], [[90, 40]]]]
    angle = np.cumsum(rng.normal(size=(n_frames, n_animals, 1)), 0) * 0.3
    along = np.array([-10.0, 10, 12]) * np.array([1, 1, 0.7])
    across = np.array([0.0, 0, 5])
    shape = np.stack(
        [along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)], -1
    )
    keypoints = center + shape + rng.normal(size=shape.shape) * 0.2
    keypoints[3:6, 1] = np.nan
    keypoints[9, 0, 2] = np.nan
    return keypoints


def test_one_animal_by_hand():
    # It lies along y, so forward is +y and its right, seen as the image shows it, is -x.
    first = [[0, 0], [0, 20], [5, 10]]
    second = [[3, 4], [3, 24], [8, 14]]
    session = make([[first], [second]], np.array([[[1.0, 0.5, 0.75]]] * 2))
    assert session.body_length == 20
    out = describe(session)
    assert out.shape == (1, 2, 12)
    assert out.dtype == np.float32
    third = 5 / 3
    pose = np.array([-10, third, 10, third, 0, third - 5]) / 20
    velocity = np.arcsinh([10 * 4 / 20, 10 * -3 / 20, 0])
    np.testing.assert_allclose(out[0, 0], [*pose, 1, 0.5, 0.75, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(out[0, 1], [*pose, 1, 0.5, 0.75, *velocity], atol=1e-6)


def test_turning_by_hand_takes_the_short_way_round():
    def lies(degrees):
        ahead = 10 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        return [[50 - ahead, 50 + ahead]]

    out = describe(make([lies(170), lies(-170), lies(160)]))
    np.testing.assert_allclose(np.sinh(out[0, :, -3:]), [[0, 0, 0], [0, 0, 3.490659], [0, 0, -5.235988]], atol=1e-4)


def test_neighbors_by_hand():
    # Animal a looks along +x. Animal b is 40 px below it (+y) and looks along +y; animal c is 80 px behind a, along -x.
    a, b, c = [[0, 0], [20, 0]], [[10, 30], [10, 50]], [[-60, 0], [-80, 0]]
    confidence = np.array([[[1, 1], [0.5, 1], [1, 0.4]]] * 2)
    out = describe(make([[a, b, c]] * 2, confidence))
    assert out.shape == (3, 2, 4 + 2 + 3 + 2 * 6)
    near, far = out[0, 0, 9:15], out[0, 0, 15:]
    np.testing.assert_allclose(near, [1, 0, np.log(2), 1, 0, 0.75], atol=1e-6)
    np.testing.assert_allclose(far, [0, -1, np.log(4), 0, -1, 0.7], atol=1e-6)
    # Behind b is a, and a looks to the left of b (to the right as the image shows it).
    np.testing.assert_allclose(out[1, 0, 9:15], [0, -1, np.log(2), -1, 0, 1], atol=1e-6)


def test_arena_by_hand():
    a, b = [[0, 0], [30, 0]], [[15, 20], [15, 40]]
    confidence = np.array([[[1, 0.5], [1, 1]]] * 2)
    out = describe(make([[a, b]] * 2, confidence, frame_size=(60, 80)), ARENA)
    assert out.shape == (2, 2, 4 + 2 + 4)
    np.testing.assert_allclose(out[0, 0], [0, 0, 0.5, 0, 1, 0.5, 1, 0, 30 / 100, 1], atol=1e-6)
    np.testing.assert_allclose(out[1, 0], [0.25, 0.25, 0.25, 0.5, 1, 1, 0, -1, 30 / 100, 0.75], atol=1e-6)


def test_without_a_video_the_arena_is_where_the_animals_went():
    tracks = [[[[10, 20], [30, 20]]], [[[110, 20], [90, 60]]]]
    out = describe(make(tracks), ARENA)
    np.testing.assert_allclose(out[0, :, :4], [[0, 0, 0.2, 0], [1, 0, 0.8, 1]], atol=1e-6)


def test_three_coordinates_by_hand():
    low, high = [[0, 0, 1], [0, 10, 1]], [[0, 0, 6], [0, 10, 6]]
    out = describe(make([[low]] * 30 + [[high]] * 10, frame_size=(640, 480)))
    assert out.shape == (1, 40, 6 + 2 + 3 + 1)
    np.testing.assert_allclose(out[0, 0, :6], [-0.5, 0, 0, 0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(out[0, [0, -1], -1], [0, 0.5], atol=1e-6)
    arena = describe(make([[low]] * 30 + [[high]] * 10, frame_size=(640, 480)), ARENA)
    np.testing.assert_allclose(arena[0, -1, :6], [0, 0, 1, 0, 1, 1], atol=1e-6)


def test_without_a_heading_nothing_is_turned():
    a, b = [[0, 0], [0, 20]], [[40, 0], [40, 20]]
    out = describe(make([[a, b]] * 2, heading=None))
    np.testing.assert_allclose(out[0, 0, :4], [0, -0.5, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(out[0, 0, 9:], [0, 1, np.log(2), 0, 0, 1], atol=1e-6)


def turned(keypoints, degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return keypoints @ np.array([[cos, sin], [-sin, cos]])


@pytest.mark.parametrize(
    "change",
    [
        lambda keypoints: keypoints + np.array([300, -70]),
        lambda keypoints: turned(keypoints, 77),
        lambda keypoints: turned(keypoints, 180),
        lambda keypoints: keypoints * 3.7,
        lambda keypoints: turned(keypoints, -120) * 0.4 + 1000,
    ],
    ids=["moved", "turned", "turned round", "larger", "all of these"],
)
def test_the_egocentric_descriptor_does_not_depend_on_the_camera(change):
    keypoints = crowd()
    np.testing.assert_allclose(describe(make(change(keypoints))), describe(make(keypoints)), atol=2e-3)


@BOTH
def test_the_order_of_the_others_does_not_matter(frame):
    keypoints, config = crowd(), FeatureConfig(frame=frame)
    out = describe(make(keypoints), config)
    swapped = describe(make(keypoints[:, [0, 2, 1]]), config)
    np.testing.assert_allclose(swapped[[0, 2, 1]], out, atol=1e-5)


@BOTH
def test_span_by_span_equals_the_whole(frame):
    session = make(crowd())
    features = MotionFeatures(session, FeatureConfig(frame=frame))
    whole = features(0, 20)
    assert whole.shape == (3, 20, features.width)
    for length in (1, 3, 7):
        spans = [features(start, min(start + length, 20)) for start in range(0, 20, length)]
        np.testing.assert_array_equal(np.concatenate(spans, 1), whole)


@BOTH
def test_what_is_missing_is_zero_and_never_nan(frame):
    keypoints = crowd()
    keypoints[:4, 0] = np.nan
    keypoints[:, 2] = np.nan
    session = make(keypoints)
    out = describe(session, FeatureConfig(frame=frame, pace_window=0))
    assert np.isfinite(out).all()
    absent = ~np.isfinite(session.keypoints[..., 0]).swapaxes(0, 1)  # (A, T, J)
    assert absent.any()
    assert (out[..., :6].reshape(3, 20, 3, 2)[absent] == 0).all()
    assert (out[..., 6:9][absent] == 0).all()
    assert (out[2, :, :9] == 0).all()
    columns = (out.shape[-1] - 9 - (3 if frame == "egocentric" else 0)) // 2
    assert (out[0, :, -columns:] == 0).all(), "of two others one is never there"
    assert (out[0, 3:6, -2 * columns :] == 0).all(), "and here neither is"
    assert out[0, 8, -2 * columns :].any()


def test_an_absent_animal_keeps_its_place_and_does_not_move():
    walks = np.arange(6)[:, None, None, None] * [10.0, 0] + [[[0, 0], [20, 0]]]
    walks[2:4] = np.nan
    out = describe(make(walks))
    np.testing.assert_allclose(np.sinh(out[0, :, 6]), [0, 5, 0, 0, 15, 5], atol=1e-5)


def test_a_keypoint_below_the_threshold_counts_as_missing_wherever_it_is():
    keypoints, confidence = crowd(), np.full((20, 3, 3), 0.9)
    keypoints[np.isnan(keypoints)] = 0
    weak = np.random.default_rng(1).random(confidence.shape) < 0.2
    confidence[weak] = 0.24
    elsewhere = keypoints.copy()
    elsewhere[weak] += 500
    out = describe(make(elsewhere, confidence))
    np.testing.assert_array_equal(out, describe(make(keypoints, confidence)))
    nowhere = np.where(weak[..., None], np.nan, keypoints)
    np.testing.assert_array_equal(out, describe(make(nowhere, np.where(weak, 0, confidence))))
    assert (out[..., 6:9].swapaxes(0, 1)[weak] == 0).all()
    confidence[weak] = 0.25  # the threshold itself
    trusting = describe(make(keypoints, confidence))
    assert (trusting[..., 6:9].swapaxes(0, 1)[weak] == 0.25).all()
    sure = describe(make(keypoints, np.full((20, 3, 3), 0.9)))
    np.testing.assert_array_equal(trusting[..., :6], sure[..., :6])


def test_no_keypoint_above_the_threshold_is_an_error():
    with pytest.raises(InputError, match=r"Every keypoint of walk has a confidence below 0\.25"):
        describe(make(crowd(), np.where(np.isnan(crowd()[..., 0]), 0, 0.1)))


@BOTH
def test_neighbors_may_be_more_or_fewer_than_there_are(frame):
    session, config = make(crowd()), FeatureConfig(frame=frame)
    two = describe(session, config)
    one, four = describe(session, config, n_neighbors=1), describe(session, config, n_neighbors=4)
    columns = two.shape[-1] - one.shape[-1]
    assert four.shape[-1] == two.shape[-1] + 2 * columns
    np.testing.assert_array_equal(one, two[..., :-columns])
    np.testing.assert_array_equal(four[..., : two.shape[-1]], two)
    assert (four[..., two.shape[-1] :] == 0).all()


def test_one_keypoint_is_enough():
    out = describe(make(np.random.default_rng(0).normal(size=(5, 2, 1, 2)), heading=None))
    assert out.shape == (2, 5, 2 + 1 + 3 + 6)
    assert np.isfinite(out).all()
    assert (out[..., :2] == 0).all()


def test_pace_by_hand_tells_a_fast_swing_from_a_slow_one():
    swing = np.array([[0, 6], [0, 14]])  # the third keypoint alone moves, 8 pixels to and fro
    still = np.array([[0.0, 0], [40, 0]])
    tracks = [np.concatenate([still, [[20, swing[(t // every) % 2, 1]]]]) for every in (1, 4) for t in range(16)]
    fast, slow = make(np.stack(tracks[:16])[:, None]), make(np.stack(tracks[16:])[:, None])
    config = FeatureConfig(pace_window=0.4)  # 2 frames to either side, at 10 frames a second
    paces = [np.sinh(describe(session, config)[0, :, -3:]) for session in (fast, slow)]
    bare = describe(fast)
    np.testing.assert_array_equal(describe(fast, config)[..., :-3], bare)
    # the center moves by a third of the swing: about it, the third keypoint covers two thirds, the others one
    unit = 8 / fast.body_length * 10
    np.testing.assert_allclose(paces[0], np.tile([unit / 3, unit / 3, unit * 2 / 3], (16, 1)), rtol=1e-4)
    steps = np.array([t % 4 == 3 for t in range(15)])  # from each frame to the next
    share = [steps[max(t - 2, 0) : min(t + 2, 15)].mean() for t in range(16)]
    np.testing.assert_allclose(paces[1][:, 2], unit * 2 / 3 * np.array(share), rtol=1e-4, atol=1e-6)


def test_pace_does_not_depend_on_the_span_and_leaves_out_what_was_not_seen():
    session, config = make(crowd()), FeatureConfig(pace_window=0.5)
    features = MotionFeatures(session, config, n_neighbors=0)
    whole = features(0, 20)
    assert features.width == whole.shape[-1]
    for start, stop in ((0, 1), (3, 9), (9, 20), (19, 20)):
        np.testing.assert_allclose(features(start, stop), whole[:, start:stop], atol=1e-5)
    lost = crowd()
    lost[:, 0, 2] = np.nan
    pace = MotionFeatures(make(lost), config, n_neighbors=0)(0, 20)[0, :, -3:]
    assert (pace[:, 2] == 0).all()
    assert (pace[:, :2] > 0).all()
    assert np.isfinite(pace).all()


def test_velocity_of_keypoints_by_hand():
    still = np.array([[0.0, 0], [40, 0]])  # the third keypoint goes up by 6 pixels a frame, the center by a third of it
    session = make(np.stack([np.concatenate([still, [[20, 6 * t]]]) for t in range(8)])[:, None])
    config = FeatureConfig(pace_window=0, keypoint_velocity=True)
    told = describe(session, config)
    np.testing.assert_array_equal(told[..., :-6], describe(session))
    velocity = np.sinh(told[0, :, -6:]).reshape(8, 3, 2)
    assert (velocity[0] == 0).all()
    unit = 6 / session.body_length * 10
    np.testing.assert_allclose(velocity[1:, :, 1], np.tile([-unit / 3, -unit / 3, unit * 2 / 3], (7, 1)), rtol=1e-4)
    np.testing.assert_allclose(velocity[..., 0], 0, atol=1e-5)


def test_velocity_does_not_depend_on_the_span_and_is_0_where_it_was_not_seen():
    config = FeatureConfig(keypoint_velocity=True)
    features = MotionFeatures(make(crowd()), config)
    whole = features(0, 20)
    assert features.width == whole.shape[-1]
    for start, stop in ((0, 1), (3, 9), (9, 20), (19, 20)):
        np.testing.assert_allclose(features(start, stop), whole[:, start:stop], atol=1e-5)
    lost = crowd()
    lost[5, 0, 2] = np.nan
    config = FeatureConfig(pace_window=0, keypoint_velocity=True)
    velocity = MotionFeatures(make(lost), config, n_neighbors=0)(0, 20)[0, :, -6:].reshape(20, 3, 2)
    assert (velocity[5:7, 2] == 0).all()
    assert (velocity[7, 2] != 0).any()
    assert np.isfinite(velocity).all()


def test_long_recordings_are_described_piece_by_piece(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    tracks = rng.normal(100, 30, (50, 2, 3, 2))
    confidence = rng.uniform(0, 1, (50, 2, 3))
    confidence[rng.random((50, 2)) < 0.5] = 0
    confidence[:20, 1] = confidence[23:31, 0] = 0  # absent at first, and for longer than a piece
    tracks[confidence == 0] = np.nan
    wanted = describe(make(tracks, confidence))
    monkeypatch.setattr(stretches, "PIECE", 3)
    monkeypatch.setattr(stretches, "_SMALL", 0)
    session = make(tracks, confidence)
    np.testing.assert_array_equal(describe(session), wanted)
    session.save(tmp_path / "long.lookagain")
    np.testing.assert_array_equal(describe(session), wanted)
    assert list(session.features_folder.iterdir()) == []
