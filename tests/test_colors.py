"""Colors: one per name, and told apart without red or green."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from napari_lookagain.colors import (
    BACKGROUND_COLOR,
    CLUSTER_COLORS,
    OKABE_ITO,
    UNSCORED_COLOR,
    behavior_colors,
    cluster_colors,
)

# Machado, Oliveira and Fernandes, 2009, severity 1, on linear RGB
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}


def oklab(color: str, vision: str) -> np.ndarray:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    cones = np.cbrt(
        np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]) @ seen,
    )
    return np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]) @ cones


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", [OKABE_ITO, CLUSTER_COLORS[:8]], ids=["behaviors", "clusters"])
def test_colors_stay_apart(palette: tuple[str, ...], vision: str) -> None:
    shown = [oklab(color, vision) for color in (*palette, BACKGROUND_COLOR, UNSCORED_COLOR)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(shown, 2)) > 0.06


def test_background_is_grey_and_takes_no_place() -> None:
    assert behavior_colors(("background", "walk", "rest")) == {
        "walk": OKABE_ITO[0],
        "rest": OKABE_ITO[1],
        "background": BACKGROUND_COLOR,
    }
    assert behavior_colors(("walk", "background", "walk"))["walk"] == OKABE_ITO[0]


def test_every_name_has_a_color_of_its_own_as_long_as_they_last() -> None:
    assert len(set(behavior_colors(map(str, range(27))).values())) == 28
    assert len(behavior_colors(map(str, range(100)))) == 101
    assert len(set(cluster_colors([str(i) for i in range(20)], {}).values())) == 20


def test_a_cluster_named_as_a_behavior_has_its_color() -> None:
    colors = cluster_colors(("0", "walk"), behavior_colors(("rest", "walk")))
    assert colors == {"0": CLUSTER_COLORS[0], "walk": OKABE_ITO[1]}
