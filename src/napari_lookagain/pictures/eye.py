"""What an eye has learnt, on pages: examples with what became of them, and its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

_DPI = 150
_PICTURE, _APART, _BLOCKS_APART, _MARGIN = 1.3, 0.06, 0.35, 0.25  # all lengths are inches
_TITLE, _HEADING, _CAPTION = 0.42, 0.26, 0.3
_INK, _FAINT, _EDGE, _LINE = "#222222", "#6f6f6f", "#c4c4c4", "#0072b2"
_CURVES = {
    "reconstruct": ("reconstruction", "mean squared error"),
    "contrast": ("contrast of times", "InfoNCE"),
    "told": ("neighbors told", "share of anchors"),
}


def draw_examples(path: Path, images: np.ndarray, headings: Sequence[str], captions: Sequence[str], title: str) -> Path:
    """Draw examples, each as a row of pictures over its caption, in two columns where there are more than four.

    Parameters
    ----------
    path
        A ``.png`` file, written whole or not at all.
    images
        (N, K, S, S[, 3]) uint8: N examples, K pictures of each.
    headings
        Of the K pictures.
    captions
        Of the N examples.
    title
        Of the page.

    Returns
    -------
    Path
        As given.
    """
    n, k = images.shape[:2]
    blocks = 2 if n > 4 else 1
    lines = -(-n // blocks)
    block = k * _PICTURE + (k - 1) * _APART
    width = 2 * _MARGIN + blocks * block + (blocks - 1) * _BLOCKS_APART
    height = _TITLE + _HEADING + lines * (_PICTURE + _CAPTION) + _MARGIN / 2
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(_MARGIN / width, 1 - 0.26 / height, title, size=10.5, weight="bold", color=_INK, va="center")
    for i, (pictures, caption) in enumerate(zip(images, captions, strict=True)):
        column, line = divmod(i, lines)
        left = _MARGIN + column * (block + _BLOCKS_APART)
        bottom = height - _TITLE - _HEADING - (line + 1) * _PICTURE - line * _CAPTION
        figure.text(left / width, (bottom - 0.13) / height, caption, size=8, color=_FAINT, va="center")
        for j, (picture, heading) in enumerate(zip(pictures, headings, strict=True)):
            x = left + j * (_PICTURE + _APART)
            box = (x / width, bottom / height, _PICTURE / width, _PICTURE / height)
            axes = figure.add_axes(box, xticks=[], yticks=[])
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.spines[:].set(color=_EDGE, linewidth=0.6)
            if line == 0:
                axes.set_title(heading, size=8.5, color=_INK, pad=4)
    return _write(figure, path)


def draw_losses(path: Path, told: Mapping[str, Any]) -> Path:
    """Draw how a pretraining went, epoch by epoch.

    Parameters
    ----------
    path
        A ``.png`` file.
    told
        Lists "reconstruct", "contrast" and "told", of which those that were not learnt may be empty or missing;
        "anchors" and "minutes" for the title.

    Raises
    ------
    InputError
        When none of the lists is there.
    """
    curves = {name: told[name] for name in _CURVES if told.get(name)}
    if not curves:
        raise InputError(f"There are no losses to draw; expected lists of them named {', '.join(_CURVES)}.")
    figure = Figure(figsize=(0.4 + 3.5 * len(curves), 3.0), facecolor="white", layout="constrained")
    said = [
        f"{told[name]:,.4g} {unit}" for name, unit in (("anchors", "anchors"), ("minutes", "minutes")) if name in told
    ]
    figure.suptitle("  ·  ".join(["Pretraining of the eye", *said]), size=10.5, weight="bold", color=_INK)
    for axes, (name, values) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        heading, unit = _CURVES[name]
        axes.plot(
            np.arange(1, len(values) + 1), values, color=_LINE, linewidth=1.3, marker="." if len(values) < 4 else ""
        )
        axes.set_title(heading, size=9.5, color=_INK)
        axes.set_xlabel("epoch", size=8.5, color=_INK)
        axes.set_ylabel(unit, size=8, color=_FAINT)
        axes.set_ylim(bottom=0, top=1 if name == "told" else 1.05 * max(values))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelsize=8, color=_EDGE)
        axes.spines[["top", "right"]].set_visible(False)
    return _write(figure, path)


def _write(figure: Figure, path: Path) -> Path:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
    return path
