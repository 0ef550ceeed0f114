"""Hand-crafted features: columns by hand, what they do not depend on, and what missing keypoints do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.baselines.pose_features import MOST_KEYPOINTS, PoseFeatures
from napari_lookagain.errors import InputError
from napari_lookagain.session import PoseSource, Session

NAMES = ("rear", "front", "ear", "paw")


def make(keypoints, *, heading=("rear", "front"), fps=10.0):
    """A session in memory of keypoints (T, A, J, C); the first two are the rear and the front of an animal."""
    keypoints = np.asarray(keypoints, np.float32)
    n_frames, n_animals, n_keypoints, _ = keypoints.shape
    animals = tuple("abcd"[:n_animals])
    return Session(
        recording="walk",
        keypoints=keypoints,
        confidence=np.isfinite(keypoints[..., 0]).astype(np.float32),
        animals=animals,
        keypoint_names=(*NAMES, *map(str, range(20)))[:n_keypoints],
        fps=fps,
        heading=heading,
        pose=PoseSource("/data/walk.csv", "xyz", "00"),
        video=None,
        annotations=Annotations(n_frames, animals),
    )


def crowd(n_animals=3, n_coords=2, n_frames=20, seed=0):
    """Keypoints (T, A, 4, C) of animals on smooth random tracks."""
    rng = np.random.default_rng(seed)
    keypoints = np.cumsum(rng.normal(size=(n_frames, n_animals, 1, n_coords)), 0) * 3
    keypoints = np.repeat(keypoints + rng.uniform(-60, 60, (n_animals, 1, n_coords)), 4, axis=2)
    angle = np.cumsum(rng.normal(size=(n_frames, n_animals, 1)), 0) * 0.2
    ahead, aside = np.array([-10.0, 10, 7, 2]), np.array([0.0, 0, 5, -6])
    cos, sin = np.cos(angle), np.sin(angle)
    keypoints[..., :2] += np.stack([ahead * cos - aside * sin, ahead * sin + aside * cos], -1)
    return keypoints + rng.normal(size=keypoints.shape) * 0.2


def table(session, **options):
    """Columns by name, each (T, A)."""
    features = PoseFeatures(session, **options)
    values = features(0, session.n_frames)
    assert values.dtype == np.float32
    assert values.shape == (session.n_frames, session.n_animals, len(features.names))
    assert len(set(features.names)) == len(features.names)
    return dict(zip(features.names, np.moveaxis(values, -1, 0), strict=True))


def turned(keypoints, angle=2.0, scale=3.0):
    """The same animals in an arena that is turned, shifted and drawn larger."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    plane = keypoints[..., :2] @ turn + [40, -7]
    return scale * np.concatenate([plane, keypoints[..., 2:]], -1)


def test_one_animal_by_hand():
    # It lies along y and walks 2 along y and 1 along -x, its left, in a tenth of a second.
    body = np.array([[0, 0], [0, 20], [5, 10]])
    told = table(make([[body + t * np.array([-1, 2])] for t in range(3)]))
    third = 5 / 3
    expected = {
        "rear x": -10 / 20,
        "rear y": third / 20,
        "ear x": 0,
        "ear y": (third - 5) / 20,
        "rear to front": 1,
        "front to ear": np.hypot(5, 10) / 20,
        "angle front, ear, rear": 2 * np.arctan(10 / 5),
        "front speed": 10 * np.hypot(2, 1) / 20,
        "front own speed": 0,
        "forward": 10 * 2 / 20,
        "sideways": 10 * 1 / 20,
        "turning": 0,
        "body length": 4 * np.sqrt(200 / 3) / 20,
        "body width": 4 * np.sqrt((2 * third**2 + (5 - third) ** 2) / 3) / 20,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(told[name][:, 0], value, atol=1e-6, err_msg=name)
    length, width = expected["body length"], expected["body width"]
    np.testing.assert_allclose(told["body elongation"], 1 - width / length, atol=1e-6)
    np.testing.assert_allclose(told["body area"], np.pi / 4 * length * width, atol=1e-6)


def test_turning_and_own_movement():
    angle = np.array([0, 0.01, 0.02, 0.03])
    ear = np.stack([5 + np.arange(4.0), np.zeros(4)], -1)  # moves ahead in the animal's own frame
    cos, sin = np.cos(angle), np.sin(angle)
    points = np.stack([np.stack([[-10, 0]] * 4), np.stack([[10, 0]] * 4), ear], 1)  # (T, J, 2)
    points = np.stack(
        [
            points[..., 0] * cos[:, None] - points[..., 1] * sin[:, None],
            points[..., 0] * sin[:, None] + points[..., 1] * cos[:, None],
        ],
        -1,
    )
    told = table(make(points[:, None]))
    np.testing.assert_allclose(told["turning"][1:-1, 0], 0.1, rtol=1e-3)
    np.testing.assert_allclose(told["ear own speed"][:, 0], 10 * (2 / 3) / 20, rtol=1e-4)
    np.testing.assert_allclose(told["front own speed"][:, 0], 10 * (1 / 3) / 20, rtol=1e-4)


def test_company_by_hand():
    # a looks along x; b is 30 ahead of it, looks back at it and comes nearer by 1 a frame; c is far to its side.
    a = np.array([[-10, 0], [10, 0]])
    b = np.array([[40, 0], [20, 0]])
    c = np.array([[-10, 90], [10, 90]])
    told = table(make([[a, b - [t, 0], c] for t in range(3)]))
    first = {name: values[1, 0] * 20 for name, values in told.items()}
    assert first["neighbor 1 distance"] == pytest.approx(29)
    assert first["neighbor 1 front to front"] == pytest.approx(9)
    assert first["neighbor 1 front to rear"] == pytest.approx(29)
    assert first["neighbor 1 rear to front"] == pytest.approx(29)
    assert first["neighbor 1 front to nearest keypoint"] == pytest.approx(9)
    assert first["neighbor 2 distance"] == pytest.approx(90)
    assert first["neighbor 1 approach"] == pytest.approx(10)
    assert first["neighbor 1 own approach"] == pytest.approx(0)
    assert told["neighbor 1 own approach"][1, 1] * 20 == pytest.approx(10)
    assert told["neighbor 1 bearing cosine"][1, 0] == pytest.approx(1)
    assert told["neighbor 2 bearing sine"][1, 0] == pytest.approx(1)
    assert told["neighbor 1 heading cosine"][1, 0] == pytest.approx(-1)
    assert told["neighbor 2 heading cosine"][1, 0] == pytest.approx(1)
    np.testing.assert_allclose(told["triangle area"][1] * 400, 29 * 90 / 2, rtol=1e-5)


@pytest.mark.parametrize("n_coords", [2, 3])
def test_where_the_arena_lies_makes_no_difference(n_coords):
    keypoints = crowd(n_coords=n_coords)
    keypoints[4:6, 1] = np.nan
    plain, other = table(make(keypoints)), table(make(turned(keypoints)))
    for name, values in plain.items():
        np.testing.assert_allclose(other[name], values, atol=2e-3, rtol=2e-3, err_msg=name)


def test_the_order_of_tracks_makes_no_difference():
    keypoints = crowd(4)
    plain = PoseFeatures(make(keypoints))(0, 20)
    other = PoseFeatures(make(keypoints[:, [2, 0, 3, 1]]))(0, 20)
    np.testing.assert_allclose(other, plain[:, [2, 0, 3, 1]], atol=1e-5)


def test_spans_say_what_all_frames_at_once_say():
    keypoints = crowd()
    keypoints[7, 0, 2] = np.nan
    features = PoseFeatures(make(keypoints))
    whole = features(0, 20)
    for start, stop in ((0, 5), (5, 9), (8, 9), (9, 20)):
        np.testing.assert_array_equal(features(start, stop), whole[start:stop])


def test_a_missing_keypoint_is_missing_where_it_is_needed():
    keypoints = crowd(1)
    keypoints[8, 0, 2] = np.nan  # the ear
    told = {name: np.flatnonzero(np.isnan(values[:, 0])).tolist() for name, values in table(make(keypoints)).items()}
    still = ("ear x", "ear y", "front to ear", "angle front, ear, rear")
    assert {name: told[name] for name in still} == {name: [8] for name in still}
    assert told["ear speed"] == told["ear own speed"] == [7, 9]  # from the frame before to the frame after
    others = [name for name in told if "ear" not in name.replace("rear", "")]
    assert len(others) > 20
    assert {name: told[name] for name in others} == {name: [] for name in others}


def test_an_absent_animal_is_nobodys_neighbor():
    keypoints = crowd(3)
    keypoints[:, 2] = np.nan
    told = table(make(keypoints))
    assert not np.isnan(told["neighbor 1 distance"][:, :2]).any()
    for name in ("neighbor 2 distance", "neighbor 2 front to front", "triangle area"):
        assert np.isnan(told[name]).all()
    assert np.isnan([told[name][:, 2] for name in told]).all()


def test_weak_keypoints_are_missing():
    session = make(crowd(1))
    session.confidence[3, 0, 1] = 0.2
    assert np.isnan(table(session)["front x"][3, 0])
    assert not np.isnan(table(session, threshold=0.1)["front x"]).any()


def test_neighbors_that_a_recording_lacks():
    alone = table(make(crowd(1)), n_neighbors=2)
    assert list(alone) == list(table(make(crowd(3))))
    company = [name for name in alone if "neighbor" in name or "triangle" in name]
    assert len(company) == 2 * 11 + 1
    assert all(np.isnan(alone[name]).all() for name in company)
    assert "triangle area" not in table(make(crowd(2)))


def test_three_dimensions():
    session = make([[[[0, 0, 0], [4, 0, 3 + t]]] for t in range(3)])
    told = table(session)
    length = session.body_length
    np.testing.assert_allclose(told["pitch"][:, 0], np.arctan2([3, 4, 5], 4), atol=1e-6)
    np.testing.assert_allclose(told["front height"][:, 0] * length, [3, 4, 5], atol=1e-5)
    np.testing.assert_allclose(told["front rise"][:, 0] * length, 10, atol=1e-4)
    np.testing.assert_allclose(told["front z"][:, 0] * length, [1.5, 2, 2.5], atol=1e-5)
    np.testing.assert_allclose(told["rear to front"][:, 0] * length, np.hypot(4, [3, 4, 5]), atol=1e-5)


def test_many_keypoints_have_a_bounded_number_of_distances():
    rng = np.random.default_rng(0)
    session = make(rng.normal(size=(5, 1, 24, 2)))
    names = PoseFeatures(session).names
    assert len([name for name in names if " to " in name]) == MOST_KEYPOINTS * (MOST_KEYPOINTS - 1) // 2
    assert len([name for name in names if name.startswith("angle")]) == MOST_KEYPOINTS - 2
    assert "rear to front" in names
    assert "front to 19" in names, "the keypoints are not spread to the last"


def test_without_a_heading():
    keypoints = crowd(2)
    told = table(make(keypoints, heading=None))
    assert "angle rear, front, ear" in told
    session = make(keypoints)
    center = session.centers(0, 20)
    expected = (keypoints[:, :, 2] - center)[..., 0] / session.body_length
    np.testing.assert_allclose(told["ear x"], expected, atol=1e-5)
    assert not np.isnan(told["neighbor 1 front to front"]).any()


def test_nothing_tracked_is_refused(untracked):
    with pytest.raises(InputError, match="untracked has no keypoints to measure poses by"):
        PoseFeatures(untracked)
    session = make(crowd(1))
    weak = replace(session, confidence=np.full_like(session.confidence, 0.1))
    with pytest.raises(InputError, match="has a confidence below 0.25"):
        PoseFeatures(weak)
