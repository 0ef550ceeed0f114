"""What is cut is where the animal is, turned as it is, and averaged rather than picked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from napari_lookagain.errors import InputError
from napari_lookagain.session import new_session
from napari_lookagain.vision.crops import Crops

W, H = 320, 240


def recording(
    center: np.ndarray, angle: np.ndarray, *, heading: bool = True, body_length: float = 24.0, size=(W, H)
) -> SimpleNamespace:
    """What `Crops` asks of a session, with (T, A, 2) centers and (T, A) headings as given."""
    return SimpleNamespace(
        path=None,
        recording="test",
        has_keypoints=True,
        n_frames=center.shape[0],
        n_animals=center.shape[1],
        heading_index=(0, 1) if heading else None,
        body_length=body_length,
        frame_size=size,
        centers=lambda start, stop: center[start:stop],
        headings=lambda start, stop: angle[start:stop],
    )


def one(x: float, y: float, angle: float = -np.pi / 2, **options) -> SimpleNamespace:
    return recording(np.array([[[x, y]]], float), np.array([[angle]], float), **options)


def spots(*places: tuple[float, float], radius: float = 5.0) -> np.ndarray:
    """Draw bright disks on black, (H, W) uint8."""
    y, x = np.mgrid[:H, :W]
    return (255 * np.any([np.hypot(x - a, y - b) < radius for a, b in places], axis=0)).astype(np.uint8)


def brightest(crop: np.ndarray) -> np.ndarray:
    """Center of mass of a crop, (x, y)."""
    return np.array([(crop * axis).sum() for axis in np.mgrid[: len(crop), : len(crop)][::-1]]) / crop.sum()


@given(x=st.floats(60, W - 60), y=st.floats(60, H - 60), angle=st.floats(-np.pi, np.pi), size=st.integers(16, 96))
@settings(max_examples=40, deadline=None)
def test_the_heading_points_up_and_left_stays_left(x: float, y: float, angle: float, size: int):
    crops = Crops(one(x, y, angle), size=size)
    assert crops.side == 96
    ahead, right = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    middle, pixel = (size - 1) / 2, 96 / size
    for direction, expected in (
        (ahead, (0, -30)),
        (-ahead, (0, 30)),
        (right, (30, 0)),
        (-right, (-30, 0)),
        (0, (0, 0)),
    ):
        crop = crops.cut(spots(tuple(np.array([x, y]) + 30 * direction)), 0, 0)
        assert crop.shape == (size, size)
        assert_allclose(brightest(crop), middle + np.array(expected) / pixel, atol=0.5 / pixel + 0.1)


def test_plain_crops_are_the_pixels_of_the_frame():
    frame = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    crops = Crops(one(100.5, 80.5, 1.0, body_length=10), kind="plain", size=64)
    assert crops.side == 64
    assert_array_equal(crops.cut(frame, 0, 0), frame[49:113, 69:133])


@pytest.mark.parametrize("quarter", range(4))
def test_crops_turned_by_a_quarter_are_the_pixels_of_the_frame(quarter: int):
    frame = np.random.default_rng(0).integers(0, 256, (H, W), np.uint8)
    crop = Crops(one(100.5, 80.5, (quarter - 1) * np.pi / 2, body_length=10), size=64).cut(frame, 0, 0)
    difference = crop.astype(int) - np.rot90(frame[49:113, 69:133], quarter)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("kind", ["turned", "plain", "frame"])
def test_shrinking_averages_instead_of_picking(kind: str):
    frame = np.zeros((H, W), np.uint8)
    frame[:, ::2] = 200  # the finest stripes: any picking of pixels gives bands, the mean is even
    crop = Crops(one(W / 2, H / 2, 0.3), kind=kind, scale=6, size=24).cut(frame, 0, 0).astype(float)
    assert_allclose(crop[1:-1, 1:-1], 100, atol=6)


def test_whole_blocks_shrink_to_their_mean():
    frame = np.random.default_rng(0).integers(0, 256, (H, W), np.uint8)
    crop = Crops(one(159.5, 119.5, body_length=48), kind="plain", size=24).cut(frame, 0, 0)
    block = frame[24:216, 64:256].reshape(24, 8, 24, 8).mean(axis=(1, 3))
    assert_allclose(crop, block, atol=1)


def test_outside_of_the_frame_is_black():
    frame = np.full((H, W), 200, np.uint8)
    crop = Crops(one(0, 120), kind="plain", size=48).cut(frame, 0, 0)
    assert_array_equal(crop[:, :23], 0)
    assert_array_equal(crop[:, 25:], 200)


def test_the_whole_frame_is_one_square_for_all_animals():
    frame = np.zeros((H, W, 3), np.uint8)
    frame[: H // 2, : W // 2] = 255
    crops = Crops(recording(np.zeros((2, 2, 2)), np.zeros((2, 2))), kind="frame", size=40)
    crop = crops.cut(frame, 0, 0)
    assert crop.shape == (40, 40, 3)
    assert (crop[:20, :20].min(), crop[20:].max(), crop[:, 20:].max()) == (255, 0, 0)
    assert_array_equal(crops.cut(frame, 1, 1), crop)
    assert Crops(one(0, 0, size=(20, 10)), kind="frame", size=40).cut(frame[:10, :20], 0, 0).shape == (40, 40, 3)


def test_an_absent_animal_is_looked_at_where_it_was_last_or_is_next():
    center = np.full((8, 1, 2), np.nan)
    center[2], center[6] = (100, 60), (200, 160)
    crops = Crops(recording(center, np.full((8, 1), np.nan)), size=48)
    frame = spots((100, 60), radius=8) // 2 + spots((200, 160), radius=8)
    seen = [crops.cut(frame, t, 0)[24, 24] for t in range(8)]
    assert_array_equal(np.array(seen) > 200, [False] * 5 + [True] * 3)
    assert min(seen) > 100, "always one of the two places"


def test_place_and_heading_are_filled_apart():
    center = np.array([[[100, 100]], [[np.nan, np.nan]], [[150, 100]]], float)
    crops = Crops(recording(center, np.array([[np.nan], [np.nan], [0.0]])), size=48)
    for t, x in enumerate((100, 100, 150)):
        ahead = crops.cut(spots((x + 30, 100)), t, 0)
        assert_allclose(brightest(ahead), [23.5, 23.5 - 15], atol=0.3)


def test_an_animal_never_seen_is_cut_from_the_middle_unturned():
    crops = Crops(recording(np.full((3, 2, 2), np.nan), np.full((3, 2), np.nan)), size=48)
    crop = crops.cut(spots((W / 2 - 0.5, H / 2 - 0.5 - 20)), 1, 1)
    assert_allclose(brightest(crop), [23.5, 13.5], atol=0.2)


@settings(deadline=None)
@given(seen=st.lists(st.booleans(), min_size=1, max_size=12))
def test_gaps_take_the_nearest_frame(seen: list[bool]):
    t = np.arange(len(seen), dtype=float)
    center = np.where(seen, t, np.nan)[:, None, None].repeat(2, axis=2)
    filled = Crops(recording(center, np.zeros((len(seen), 1))))._places[0][:, 0, 0]
    known = t[seen]
    expected = [known[np.argmin(abs(known - now))] if any(seen) else (W - 1) / 2 for now in t]
    assert_allclose(filled, expected)


def test_without_keypoints_the_whole_frame_is_cut(untracked):
    crops = Crops(untracked, "turned", size=48)
    assert (crops.kind, crops.key, crops.side) == ("frame", "frame-48px", 240)
    frame = np.full((180, 240, 3), 7, np.uint8)
    assert_array_equal(crops.cut(frame, 0, 0), np.full((48, 48, 3), 7))


def test_without_a_heading_turned_crops_are_plain():
    crops = Crops(one(100, 80, 1.0, heading=False))
    assert crops.kind == "plain"
    assert crops.key == Crops(one(100, 80, 1.0), kind="plain").key


@pytest.mark.parametrize(("body_length", "side"), [(1.0, 64), (24.3, 97), (1000.0, 240)])
def test_side_has_a_least_and_a_largest_size(body_length: float, side: float):
    assert Crops(one(0, 0, body_length=body_length)).side == side


def test_the_key_tells_rules_apart():
    session = one(0, 0)
    rules = [Crops(session), Crops(session, kind="plain"), Crops(session, kind="frame"), Crops(session, scale=5)]
    rules += [Crops(session, size=64), Crops(SimpleNamespace(**{**vars(session), "heading_index": (1, 0)}))]
    assert len({crops.key for crops in rules}) == len(rules)
    assert Crops(session).key == Crops(session).key


@pytest.mark.parametrize("wrong", [{"kind": "round"}, {"scale": 0}, {"size": 0}, {"scale": float("nan")}])
def test_bad_rules_are_refused(wrong: dict):
    with pytest.raises(InputError, match="Crops of"):
        Crops(one(0, 0), **wrong)
    with pytest.raises(InputError, match="no video"):
        Crops(one(0, 0, size=None))


def test_nothing_is_worked_out_before_the_first_cut():
    session = one(0, 0)
    session.centers = session.headings = None
    assert Crops(session).kind in ("turned", "plain")


def test_real_crops_hold_the_animal_and_show_its_front_above_its_rear(data: Path):
    session = new_session(data / "flies" / "flies.analysis.h5", data / "flies" / "flies.mp4")
    crops = Crops(session, size=96)
    assert crops.kind == "turned"
    rear, front = session.heading_index
    center, up = crops._places
    assert np.isfinite(center).all()
    assert np.isfinite(up).all()
    t, animal = 1000, 0
    ahead = session.keypoints[t, animal, front] - session.keypoints[t, animal, rear]
    assert_allclose([np.cos(up[t, animal]), np.sin(up[t, animal])], ahead / np.linalg.norm(ahead), atol=1e-5)
    with session.open_video() as video:
        crop = crops.cut(video.frame(t, grey=True), t, animal).astype(int)
    assert crop[40:56, 40:56].mean() > crop[2:20, 2:20].mean() + 20, "a bright fly on dark ground, in the middle"
    along, across = crop[32:64, 42:54], crop[42:54, 32:64]
    assert along.mean() > across.mean() + 5, "a fly is longer than wide, so it stands upright"


@given(x=st.floats(60, W - 60), y=st.floats(60, H - 60), angle=st.floats(-np.pi, np.pi), size=st.integers(16, 96))
@settings(max_examples=20, deadline=None)
def test_it_is_told_where_a_crop_lies(x: float, y: float, angle: float, size: int):
    crops = Crops(one(x, y, angle), size=size)
    spot = crops.affine(0, 0) @ [0.7 * size, 0.4 * size, 1]
    found = brightest(crops.cut(spots(tuple(spot)), 0, 0))
    assert_allclose(found, [0.7 * size, 0.4 * size], atol=0.5 * size / 96 + 0.1)


def test_a_whole_frame_lies_over_itself():
    affine = Crops(one(10, 10), kind="frame", size=40).affine(0, 0)
    assert_allclose(affine @ [-0.5, -0.5, 1], [-0.5, -0.5])
    assert_allclose(affine @ [39.5, 39.5, 1], [W - 0.5, H - 0.5])
