"""Pictures of an evaluation: what is higher is drawn higher, areas are times, and shades are shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import imread

from napari_lookagain.colors import BACKGROUND_COLOR, OKABE_ITO
from napari_lookagain.errors import InputError
from napari_lookagain.pictures.curves import Across, draw_reliability, draw_scores, spread
from napari_lookagain.pictures.evaluation import draw_confusion, draw_ethograms, draw_gate

NAMES = ("background", "walk", "rest")
WALK, REST = OKABE_ITO[:2]
BLUE, ORANGE, GREEN = OKABE_ITO[:3]  # of the first three arms
INK, VERMILLION = "#222222", "#d55e00"


def where(picture: Path | np.ndarray, color: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a color."""
    pixels = imread(picture) if isinstance(picture, Path) else picture
    wanted = np.round(np.array(to_rgb(color)) * 255)
    return np.nonzero((np.abs(np.round(pixels[..., :3] * 255) - wanted) <= 1).all(axis=-1))


def area(picture: Path | np.ndarray, *colors: str) -> np.ndarray:
    return np.array([len(where(picture, color)[0]) for color in colors])


def scores(across: str, **arms: dict[float, list[float]]) -> pd.DataFrame:
    rows = [
        (arm.replace("_", " "), place, seed, value)
        for arm, places in arms.items()
        for place, values in places.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["arm", across, "seed", "value"])


def curve(value: float) -> dict[float, list[float]]:
    return {0.0: [value] * 2, 0.25: [value] * 2, 1.0: [value] * 2}


def plot_only(path: Path) -> np.ndarray:
    """The picture without the names beside it."""
    return imread(path)[:, :900]


def test_a_better_arm_is_drawn_higher(tmp_path: Path) -> None:
    table = scores("budget", good=curve(0.9), bad=curve(0.4), without={np.nan: [0.65, 0.65]})
    picture = plot_only(draw_scores(tmp_path / "new" / "s.png", table, "budget"))
    heights = [np.median(where(picture, color)[0]) for color in (BLUE, GREEN, ORANGE)]
    assert heights == sorted(heights)
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=3), "0.65 is half way"
    columns = where(picture, GREEN)[1]
    assert np.ptp(columns) > 0.9 * np.ptp(where(picture, BLUE)[1]), "a line across for what takes no budget"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["s.png"]


def test_small_budgets_are_parted_and_shares_of_labels_are_not(tmp_path: Path) -> None:
    places = {}
    across: Across
    for across in ("budget", "fraction"):
        table = scores(across, an_arm_with_a_long_name={0.0: [0.5], 0.25: [0.9], 1.0: [0.5]})
        path = draw_scores(tmp_path / f"{across}.png", table, across)
        rows, columns = where(plot_only(path), BLUE)
        top = np.median(columns[rows < rows.min() + 5])
        places[across] = (top - columns.min()) / np.ptp(columns)
    assert places["budget"] == pytest.approx(0.5, abs=0.02)
    assert places["fraction"] == pytest.approx(0.25, abs=0.02)


def test_scatter_is_drawn(tmp_path: Path) -> None:
    heights = []
    for wide in (0.01, 0.1):
        table = scores("budget", a={0.0: [0.5 - wide, 0.5 + wide], 1.0: [0.5, 0.5]}, b={0.0: [0.2], 1.0: [0.8]})
        rows, columns = where(plot_only(draw_scores(tmp_path / "s.png", table, "budget")), BLUE)
        heights.append(np.ptp(rows[columns < columns.min() + 12]))
    assert heights[1] > 3 * heights[0]


@pytest.mark.parametrize(("n", "panels"), [(7, False), (8, True), (12, True)])
def test_many_arms_get_a_panel_each(n: int, panels: bool, tmp_path: Path) -> None:
    arms = {f"arm_number_{i}": curve(0.3 + 0.05 * i) for i in range(n)}
    picture = imread(draw_scores(tmp_path / "s.png", scores("budget", **arms), "budget"))
    assert picture.shape[:2] == ((round(150 * (1.9 * -(-n // 3) + 0.9)) if panels else 600), 1200)
    others = area(picture, *OKABE_ITO[1:6])
    assert (others == 0).all() if panels else (others > 500).all()


@pytest.mark.parametrize("ends", [[0.5], [0.5, 0.5, 0.5], [0.1, 0.11, 0.9, 0.5], [0.99, 1.0, 0.98], list(np.zeros(9))])
def test_labels_are_moved_apart_and_no_further(ends: list[float]) -> None:
    given = np.array(ends)
    moved = spread(given, 0.1, 0.05, 0.95)
    order = np.argsort(given, kind="stable")
    assert (np.diff(moved[order]) > 0.1 - 1e-9).all()
    assert moved.min() >= 0.05 - 1e-9
    assert moved.max() <= 0.95 + 1e-9
    free = np.array([np.abs(np.delete(given, i) - given[i]).min(initial=1) > 0.5 for i in range(len(given))])
    np.testing.assert_allclose(moved[free], np.clip(given[free], 0.05, 0.95))


def test_without_scores_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scores by budget"):
        draw_scores(tmp_path / "s.png", scores("budget", trees={np.nan: [0.5]}), "budget")
    with pytest.raises(InputError, match="no reliability curves"):
        draw_reliability(tmp_path / "r.png", reliability("ours", 1.0).assign(frames=0))
    assert list(tmp_path.iterdir()) == []


def reliability(arm: str, power: float, top: float | None = None) -> pd.DataFrame:
    """Curves of one behavior and of the most probable one: the probability told, to a power."""
    low = np.arange(10) / 10
    told = pd.DataFrame({"arm": arm, "low": low, "high": low + 0.1, "predicted": low + 0.05, "frames": 50})
    powers = {"walk": power, "(top)": top or power}
    return pd.concat([told.assign(**{"class": name, "observed": (low + 0.05) ** p}) for name, p in powers.items()])


def test_a_model_that_is_too_sure_is_drawn_below(tmp_path: Path) -> None:
    heights = []
    for power in (0.5, 2.0):
        path = draw_reliability(tmp_path / "r.png", reliability("ours", power, top=1.0))
        rows, _ = where(imread(path)[:340], WALK)  # above the legend
        heights.append(rows.mean())
    assert heights[0] < heights[1] - 30


def test_bins_of_few_frames_are_left_out_of_behaviors(tmp_path: Path) -> None:
    path = draw_reliability(tmp_path / "r.png", reliability("ours", 2.0, top=1.0).assign(frames=19))
    assert area(imread(path)[:340], WALK)[0] == 0
    assert area(imread(path)[:340], INK)[0] > 1000


def test_bins_of_several_seeds_are_weighed_by_their_frames(tmp_path: Path) -> None:
    one, other = reliability("ours", 1.0), reliability("ours", 2.0)
    both = pd.concat([one.assign(frames=90), other.assign(frames=10, predicted=other["predicted"])])
    mean = one.assign(observed=0.9 * one["observed"] + 0.1 * other["observed"], frames=100)
    pictures = [imread(draw_reliability(tmp_path / "r.png", each)) for each in (both, mean, one)]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).any()


def confusion(counts: np.ndarray, none: int = 0) -> pd.DataFrame:
    rows = [(a, b, counts[i, j]) for i, a in enumerate(NAMES) for j, b in enumerate(NAMES)]
    return pd.DataFrame([*rows, *((a, "", none) for a in NAMES)], columns=["scored", "predicted", "frames"])


def test_shades_are_shares_of_what_was_scored(tmp_path: Path) -> None:
    darkest, third = (to_hex(colormaps["Blues"](share)) for share in (1.0, 1 / 3))
    perfect = draw_confusion(tmp_path / "perfect.png", confusion(np.diag([10, 1000, 100_000])), "ours")
    even = draw_confusion(tmp_path / "even.png", confusion(np.full((3, 3), 7)), "ours")
    cells = area(perfect, darkest)[0] / 3, area(even, third)[0] / 9
    # as dark for a rare behavior as for a frequent one
    assert cells[0] == pytest.approx(cells[1], rel=0.1)
    assert cells[0] > 10_000
    assert area(even, darkest)[0] == 0


def test_frames_without_a_prediction_have_a_column_where_there_are_any(tmp_path: Path) -> None:
    widths = [
        imread(draw_confusion(tmp_path / "c.png", confusion(np.eye(3), none), "ours")).shape[1] for none in (0, 5)
    ]
    assert widths[1] - widths[0] == pytest.approx(0.9 * 150, abs=1)


def test_nothing_scored_is_no_confusion(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no confusion to draw"):
        draw_confusion(tmp_path / "c.png", confusion(np.zeros((3, 3))), "ours")


@pytest.mark.parametrize("n_frames", [10, 700, 3001, 60_000])
def test_areas_of_ethograms_are_times(n_frames: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(3, n_frames, p=[0.2, 0.3, 0.5]) if n_frames > 10 else np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    path = draw_ethograms(tmp_path / "e.png", {"scored": (label, NAMES), "ours": (label, NAMES)}, 25.0, "pond")
    seen = area(imread(path)[:-75], BACKGROUND_COLOR, WALK, REST)  # without the legend
    np.testing.assert_allclose(seen / seen.sum(), np.bincount(label) / n_frames, atol=0.04)


def test_lanes_are_below_each_other_with_one_color_for_a_behavior(tmp_path: Path) -> None:
    walking, resting = np.full(50, 1), np.zeros(50, int)
    lanes = {"scored": (walking, NAMES), "ours": (resting, ("rest", "walk")), "other": (np.full(50, -1), ())}
    picture = imread(draw_ethograms(tmp_path / "e.png", lanes, 25.0, "pond"))[:-60]
    rows = [where(picture, color)[0] for color in (WALK, REST)]
    assert rows[0].max() < rows[1].min()
    assert len(rows[0]) == pytest.approx(len(rows[1]), rel=0.05)


def test_given_colors_and_later_frames_are_shown(tmp_path: Path) -> None:
    lanes = {"scored": (np.full(50, 1), NAMES)}
    path = draw_ethograms(tmp_path / "e.png", lanes, 25.0, "pond", start=1000, colors={"walk": "#123456"})
    assert area(path, "#123456")[0] > 10_000
    assert area(path, WALK)[0] == 0


@pytest.mark.parametrize("lanes", [{}, {"a": (np.zeros(3, int), NAMES), "b": (np.zeros(4, int), NAMES)}])
def test_lanes_of_other_frames_are_refused(lanes: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="side by side are of the same frames"):
        draw_ethograms(tmp_path / "e.png", lanes, 25.0, "pond")


def test_gate_scores_are_drawn_by_look_and_behavior(tmp_path: Path) -> None:
    score = np.linspace(0, 1, 400).reshape(200, 2)
    looked = score > 0.75
    path = draw_gate(tmp_path / "g.png", score, looked, "ours")
    lines = where(imread(path)[:-60], VERMILLION)[1]
    assert np.quantile(lines, 0.05) > 0.7 * 1200, "only the highest were looked at"
    label = np.tile([0, 2], (200, 1))
    assert imread(draw_gate(tmp_path / "b.png", score, looked, "ours", (label, NAMES))).shape == imread(path).shape
    parts = where(imread(tmp_path / "b.png")[:-60], VERMILLION)[1]
    assert len(np.unique(np.digitize(parts, [460, 830]))) == 3, "all frames, and the two behaviors that are there"


def test_gate_scores_that_are_missing_or_of_other_frames(tmp_path: Path) -> None:
    score = np.linspace(0.5, 0.52, 400)
    score[::2] = np.nan
    draw_gate(tmp_path / "g.png", score, np.zeros(400, bool), "ours")
    with pytest.raises(InputError, match="no gate scores to draw"):
        draw_gate(tmp_path / "g.png", np.full(4, np.nan), np.ones(4, bool), "ours")
    with pytest.raises(InputError, match=r"\(4,\), \(5,\) and \(4,\)"):
        draw_gate(tmp_path / "g.png", np.ones(4), np.ones(5, bool), "ours")
