"""The picture: every pixel of a lane is the class it stands for, at every zoom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from napari_lookagain.colors import BACKGROUND_COLOR, OKABE_ITO
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.pictures.ethogram import ethogram_picture

NAMES = ("background", "walk", "rest")
WALK, REST = OKABE_ITO[:2]


def ethogram(label: np.ndarray, names: tuple[str, ...] = NAMES, n_animals: int = 1, **changes: object) -> Ethogram:
    animals = tuple(f"fly {i}" for i in range(n_animals))
    columns = np.tile(np.asarray(label, np.int16)[:, None], (1, n_animals))
    return replace(Ethogram.from_labels(columns, names, recording="pond", fps=25.0, animals=animals), **changes)


def area(image: np.ndarray, *colors: str) -> np.ndarray:
    """Count the pixels of each color."""
    pixels = np.round(image[..., :3] * 255).astype(int)
    return np.array([(pixels == np.round(np.array(to_rgb(color)) * 255)).all(axis=-1).sum() for color in colors])


def lane_area(path: Path, *colors: str) -> np.ndarray:
    """As `area`, without the legend in the lowest half inch."""
    return area(imread(path)[:-75], *colors)


@pytest.mark.parametrize("n_frames", [10, 1000, 3001, 60_000])
def test_areas_are_times_at_every_zoom(n_frames: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(3, n_frames, p=[0.2, 0.3, 0.5]) if n_frames > 10 else np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    ethogram_picture(tmp_path / "e.png", behavior=ethogram(label))
    seen = lane_area(tmp_path / "e.png", BACKGROUND_COLOR, WALK, REST)
    np.testing.assert_allclose(
        seen / seen.sum(), np.bincount(label) / n_frames, atol=0.04
    )  # the frame of a lane covers its outermost pixels


def test_a_single_frame_of_a_long_recording_is_still_seen(tmp_path: Path) -> None:
    label = np.zeros(20_000, int)
    label[12_345] = 1
    ethogram_picture(tmp_path / "e.png", behavior=ethogram(label))
    assert 1 <= lane_area(tmp_path / "e.png", WALK)[0] <= 10


def test_a_behavior_has_one_color_in_truth_and_prediction(tmp_path: Path) -> None:
    truth = np.repeat([[1], [0]], 50, axis=0), ("rest", "walk")
    predicted = ethogram(np.repeat([1, 2], 50), ("background", "walk", "rest"))
    ethogram_picture(tmp_path / "both.png", behavior=predicted, truth=truth)
    ethogram_picture(tmp_path / "one.png", behavior=replace(predicted, names=("background", "rest", "walk")))
    both, one = lane_area(tmp_path / "both.png", WALK, REST), lane_area(tmp_path / "one.png", WALK, REST)
    np.testing.assert_allclose(both, 2 * one, rtol=0.02)


def test_gate_score_and_looks_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    label = np.repeat([1, 2], 200)
    plain = ethogram(label)
    looked = replace(plain, looked=np.arange(400)[:, None] < 100)
    gated = replace(looked, gate_score=np.linspace(0, 1, 400, dtype=np.float32)[:, None])
    heights = []
    for name, made in (("plain", plain), ("looked", looked), ("gated", gated)):
        ethogram_picture(tmp_path / f"{name}.png", behavior=made)
        heights.append(imread(tmp_path / f"{name}.png").shape[0])
    assert heights[0] < heights[1] < heights[2]
    ticks = (imread(tmp_path / "looked.png")[..., :3].max(axis=-1) < 0.3).sum(axis=0)
    left, right = ticks[200:550].mean(), ticks[900:1600].mean()
    assert left > 2 * right


@pytest.mark.parametrize("n_animals", [1, 2, 3])
def test_the_picture_grows_with_the_animals(n_animals: int, tmp_path: Path) -> None:
    ethogram_picture(tmp_path / "e.png", behavior=ethogram(np.zeros(50), n_animals=n_animals))
    ethogram_picture(tmp_path / "one.png", behavior=ethogram(np.zeros(50)))
    more = imread(tmp_path / "e.png").shape[0] - imread(tmp_path / "one.png").shape[0]
    assert more == pytest.approx(150 * 0.72 * (n_animals - 1), abs=2)


def test_a_span_shows_its_frames_only(tmp_path: Path) -> None:
    label = np.repeat([1, 2], 50)
    ethogram_picture(tmp_path / "e.png", behavior=ethogram(label), span=(40, 60))
    ethogram_picture(tmp_path / "first.png", behavior=ethogram(label), span=(0, 50))
    seen = lane_area(tmp_path / "e.png", WALK, REST)
    assert seen[0] == pytest.approx(seen[1], rel=0.01)
    assert area(imread(tmp_path / "first.png"), REST)[0] == 0


def test_missing_scores_leave_gaps_without_a_warning(tmp_path: Path) -> None:
    score = np.full((3000, 1), 0.5, np.float32)
    score[1000:2000] = np.nan
    made = ethogram(np.zeros(3000), gate_score=score)
    ethogram_picture(tmp_path / "e.png", behavior=made)
    ethogram_picture(tmp_path / "gap.png", behavior=made, span=(1200, 1400))
    assert (tmp_path / "e.png").stat().st_size > 0
    assert (tmp_path / "gap.png").stat().st_size > 0


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"e.{suffix}"
    clusters = ethogram(np.arange(600) % 24, tuple(map(str, range(24))), kind="cluster")
    ethogram_picture(path, clusters=clusters)
    start = path.read_bytes()[:5]
    assert start == {"png": b"\x89PNG\r", "svg": b"<?xml", "pdf": b"%PDF-"}[suffix.lower()]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        ({}, "e.png", "nothing to draw"),
        ({"behavior": ethogram(np.zeros(9))}, "e.gif", r"ending in .png, .svg, .pdf"),
        ({"behavior": ethogram(np.zeros(9)), "span": (5, 10)}, "e.png", "span 5 to 10"),
        ({"behavior": ethogram(np.zeros(9)), "span": (5, 5)}, "e.png", "span 5 to 5"),
        (
            {"behavior": ethogram(np.zeros(9)), "truth": (np.zeros((8, 1), int), NAMES)},
            "e.png",
            r"\(8, 1\) and \(9, 1\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ethogram_picture(tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_clusters_have_the_colors_that_people_gave_them(tmp_path: Path) -> None:
    clusters = ethogram(np.zeros(600), ("still", "quick"), kind="cluster")
    for name, colors in (("usual", None), ("given", {"still": "#123456"})):
        ethogram_picture(tmp_path / f"{name}.png", clusters=clusters, colors=colors)
    usual, given = (imread(tmp_path / f"{name}.png")[..., :3] for name in ("usual", "given"))
    wanted = np.array([0x12, 0x34, 0x56]) / 255
    near = [(np.abs(picture - wanted).max(-1) < 0.01).mean() for picture in (usual, given)]
    assert near[0] == 0
    assert near[1] > 0.05
