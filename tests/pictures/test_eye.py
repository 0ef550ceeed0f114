"""Pages about an eye: every example is there, and every curve that was learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from napari_lookagain.errors import InputError
from napari_lookagain.pictures.eye import draw_examples, draw_losses


def shades(n: int, k: int, *color: int) -> np.ndarray:
    """Pictures of one shade each."""
    levels = np.linspace(10, 240, n * k).astype(np.uint8).reshape(n, k, 1, 1, *(1,) * len(color))
    return np.broadcast_to(levels, (n, k, 8, 8, *color))


@pytest.mark.parametrize(("n", "k", "color"), [(1, 3, ()), (4, 2, (3,)), (7, 3, ())])
def test_every_picture_is_there(n: int, k: int, color: tuple[int, ...], tmp_path: Path) -> None:
    pictures = shades(n, k, *color)
    names = [f"frame {i}" for i in range(n)]
    path = draw_examples(tmp_path / "new" / "page.png", pictures, ["a", "b", "c"][:k], names, "all")
    page = np.round(imread(path)[..., 0] * 255).astype(int)
    area = [(np.abs(page - level) <= 1).sum() for level in pictures[:, :, 0, 0].reshape(n * k, -1)[:, 0].astype(int)]
    assert min(area) > 0.9 * 195**2  # 1.3 inches of 150 pixels
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("told", [{"contrast": [], "told": []}, {"contrast": [3.0, 2.0], "told": [0.1, 0.3]}])
def test_curves_that_were_not_learnt_are_left_out(told: dict, tmp_path: Path) -> None:
    whole = {"anchors": 600, "minutes": 2.5, "reconstruct": [0.9, 0.4], **told}
    page = imread(draw_losses(tmp_path / "loss.png", whole))
    assert page.shape[1] == pytest.approx(150 * (0.4 + 3.5 * (1 + 2 * bool(told["told"]))), abs=2)


def test_without_losses_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no losses to draw"):
        draw_losses(tmp_path / "loss.png", {"reconstruct": []})
    assert list(tmp_path.iterdir()) == []
