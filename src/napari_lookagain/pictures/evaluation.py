"""What an evaluation found, on pages: what is taken for what, ethograms below each other, and how the gate scores."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from napari_lookagain.annotations import BACKGROUND
from napari_lookagain.colors import UNSCORED_COLOR, behavior_colors
from napari_lookagain.errors import InputError
from napari_lookagain.pictures.curves import DPI, EDGE, INK, WIDTH, legend, panels, write

_LANE, _APART, _ABOVE, _BELOW = 0.26, 0.07, 0.45, 0.95  # inches
_TITLE = 28  # letters in a line beside a lane
_NOT_LOOKED, _LOOKED = "#64748b", "#d55e00"
_SHADES = "Blues"  # from light to dark in one hue: also in grey, and to any eye
_FEW = 6
_BINS = 30


def draw_confusion(path: Path, confusion: pd.DataFrame, title: str) -> Path:
    """Draw what scored frames were predicted to be: shares of every scored behavior as shades, with the counts.

    Parameters
    ----------
    path
        A ``.png`` file, written whole or not at all.
    confusion
        Columns scored, predicted (``""`` for none), frames; several rows of one pair are summed.
    title
        Of the page.

    Raises
    ------
    InputError
        When no frame is scored.
    """
    names = list(dict.fromkeys(confusion["scored"]))
    told = [*names, *(name for name in dict.fromkeys(confusion["predicted"]) if name not in names)]
    table = confusion.pivot_table(index="scored", columns="predicted", values="frames", aggfunc="sum", fill_value=0)
    counts = table.reindex(index=names, columns=told, fill_value=0).to_numpy(float)
    if not counts.sum():
        raise InputError("There is no confusion to draw: no frame of the test recordings is scored.")
    if "" in told and not counts[:, told.index("")].any():
        counts = np.delete(counts, told.index(""), axis=1)
        told.remove("")
    total = counts.sum(axis=1)
    share = np.divide(counts, total[:, None], out=np.zeros_like(counts), where=total[:, None] > 0)
    size = min(0.9, (WIDTH - 2.2) / len(told))  # inches, of a cell
    figure = Figure(figsize=(size * len(told) + 2.2, size * len(names) + 1.6), facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap=_SHADES, vmin=0, vmax=1)
    letters = min(9.5, 11 * size)
    for row, column in np.ndindex(*counts.shape):
        count = counts.item(row, column)
        text = f"{100 * share[row, column]:.0f} %\n{_short(count)}" if count else "·"
        color = "white" if share[row, column] > 0.55 else INK
        axes.text(column, row, text, size=letters, color=color, ha="center", va="center", linespacing=1.1)
    width = int(size / 0.075)  # letters above a cell
    too_long = max(len(word) for name in told for word in name.split() or [""]) > width
    columns = [textwrap.fill(name or "(none)", 20 if too_long else width) for name in told]
    axes.set_xticks(range(len(told)), columns, size=9)
    if too_long:  # a word would reach into the next
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    rows = [f"{textwrap.fill(name, 20)}\n{_short(n)} frames" for name, n in zip(names, total.tolist(), strict=True)]
    axes.set_yticks(range(len(names)), rows, size=9)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_color(EDGE)
    axes.set_xlabel("predicted", size=10, color=INK)
    axes.set_ylabel("scored", size=10, color=INK)
    figure.suptitle(title, size=11, weight="bold", color=INK)
    return write(figure, path)


def draw_ethograms(
    path: Path,
    lanes: Mapping[str, tuple[np.ndarray, Sequence[str]]],
    fps: float,
    title: str,
    *,
    start: int = 0,
    colors: Mapping[str, str] | None = None,
) -> Path:
    """Draw what several methods say of one animal below each other, the first lane being the truth.

    Where frames are narrower than a pixel, those of a column of pixels are piled up by behavior, so that colored areas
    are times.

    Parameters
    ----------
    path
        A ``.png`` file.
    lanes
        By name: (T,) labels, −1 = unscored or none, and the names they index.
    fps
        Frames per second.
    title
        Of the page.
    start
        Frame of the recording that the labels begin at.
    colors
        Colors of behaviors by name, as people gave them; those left out take the ones of `behavior_colors`.

    Raises
    ------
    InputError
        When there is no lane, or they are not of the same frames.
    """
    lengths = {len(labels) for labels, _ in lanes.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise InputError(f"Got lanes of {sorted(lengths)} frames; ethograms side by side are of the same frames.")
    shades = behavior_colors(name for _, names in lanes.values() for name in names) | dict(colors or {})
    titles = [textwrap.fill(lane, _TITLE, max_lines=2, placeholder="…") for lane in lanes]
    left = 0.3 + 0.072 * max(len(line) for name in titles for line in name.split("\n"))
    height = _ABOVE + _BELOW + len(lanes) * (_LANE + _APART)
    across = WIDTH - left - 0.2
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    figure.text(0.1 / WIDTH, 1 - 0.22 / height, title, size=11, weight="bold", color=INK, va="center")
    begin, end = start / fps, (start + lengths.pop()) / fps
    for i, (name, (labels, names)) in enumerate(zip(titles, lanes.values(), strict=True)):
        y = height - _ABOVE - (i + 1) * _LANE - i * _APART - (0.06 if i else 0)  # the truth stands a little apart
        axes = figure.add_axes((left / WIDTH, y / height, across / WIDTH, _LANE / height), xticks=[], yticks=[])
        strip = _strip(labels, [shades[name] for name in names], names, round(across * DPI))
        axes.imshow(strip, extent=(begin, end, 0, 1), aspect="auto", interpolation="nearest")
        axes.spines[:].set(color=EDGE, linewidth=0.6)
        size, weight = (7.5 if "\n" in name else 9), ("normal" if i else "bold")
        axes.text(-0.08 / across, 0.5, name, transform=axes.transAxes, size=size, color=INK, ha="right", va="center",
                  weight=weight, linespacing=0.95)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(9))
    axes.tick_params("x", labelsize=9, color=EDGE, labelcolor=INK)
    axes.set_xlabel("time (s)", size=9.5, color=INK)
    known = _seen(lanes.values(), shades)
    legend(figure, [Patch(facecolor=shade, edgecolor=EDGE, linewidth=0.5) for shade in known.values()], list(known))
    return write(figure, path)


def draw_gate(
    path: Path,
    score: np.ndarray,
    looked: np.ndarray,
    title: str,
    behaviors: tuple[np.ndarray, Sequence[str]] | None = None,
) -> Path:
    """Draw how the gate scores the frames that were looked at, and those that were not.

    Both are shares of their own number of frames, since few are looked at. With up to six behaviors there is a panel
    for each, of the frames scored so.

    Parameters
    ----------
    path
        A ``.png`` file.
    score
        Gate scores of any shape; NaN is left out.
    looked
        Bool, of the same shape.
    title
        Of the page.
    behaviors
        Labels of the same shape, −1 = unscored, and the names they index.

    Raises
    ------
    InputError
        When the shapes differ, or there is no score.
    """
    labels, names = behaviors if behaviors else (np.full(score.shape, -1), ())
    if not score.shape == looked.shape == labels.shape:
        raise InputError(f"Got scores, looks and labels of {score.shape}, {looked.shape} and {labels.shape}; they are "
                         "of the same frames.")  # fmt: skip
    known = np.isfinite(score)
    if not known.any():
        raise InputError("There are no gate scores to draw; label with LookAgain at a budget between 0 and 1.")
    parts = {"all frames": known}
    if len(names) <= _FEW:
        parts |= {name: known & (labels == code) for code, name in enumerate(names)}
    parts = {name: part for name, part in parts.items() if part.any()}
    edges = np.linspace(*_ends(score[known]), _BINS + 1)
    titles = []
    for name, part in parts.items():
        share = f"{100 * looked[part].mean():.1f} % of {_short(part.sum())} looked at"
        titles.append(f"{textwrap.shorten(name, 22, placeholder='…')}\n{share}")
    figure, panels_of = panels(titles, 1.7, "gate score", "share of frames", columns=min(len(parts), 4))
    for part, axes in zip(parts.values(), panels_of, strict=True):
        for which, color, filled in ((part & ~looked, _NOT_LOOKED, True), (part & looked, _LOOKED, False)):
            share = np.histogram(score[which], edges)[0] / max(which.sum(), 1)
            axes.stairs(share, edges, fill=filled, color=color, alpha=0.45 if filled else 1, linewidth=1.5)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    figure.suptitle(title, size=11, weight="bold", color=INK)
    keys = [Patch(facecolor=_NOT_LOOKED, alpha=0.45), Patch(fill=False, edgecolor=_LOOKED, linewidth=1.5)]
    legend(figure, keys, ["not looked at", "looked at"])
    return write(figure, path)


def _seen(lanes: Collection[tuple[np.ndarray, Sequence[str]]], shades: Mapping[str, str]) -> dict[str, str]:
    """Name and color of what is in any lane, what says nothing last."""
    seen = {names[code] for labels, names in lanes for code in np.unique(labels[labels >= 0])}
    known = {name: shade for name, shade in shades.items() if name in seen}
    if BACKGROUND in known:
        known[BACKGROUND] = known.pop(BACKGROUND)
    return known | ({"unscored": UNSCORED_COLOR} if any((labels < 0).any() for labels, _ in lanes) else {})


def _strip(labels: np.ndarray, shades: Sequence[str], names: Sequence[str], columns: int) -> np.ndarray:
    """Color (T,) labels: (1, T, 3), or (frames of a column, columns, 3) with those of a column sorted."""
    palette = np.array([to_rgb(shade) for shade in (*shades, UNSCORED_COLOR)])
    if len(labels) <= columns:
        return palette[labels][None]
    n = -(-len(labels) // columns)
    own = labels[((np.arange(columns * n) + 0.5) * len(labels) / (columns * n)).astype(int)].reshape(columns, n)
    # what says nothing lies at the bottom: background, then unscored
    order = np.array([*sorted(range(len(names)), key=lambda code: names[code] == BACKGROUND), -1])
    rank = np.argsort(order % len(palette))  # of every code, −1 being the last entry
    return palette[order[np.sort(rank[own], axis=1)]].transpose(1, 0, 2)


def _ends(score: np.ndarray) -> tuple[float, float]:
    """Show 0 to 1, unless all scores crowd in less than a quarter of it."""
    if np.ptp(score) >= 0.25:
        return 0.0, 1.0
    middle = float(np.clip((score.min() + score.max()) / 2, 0.125, 0.875))
    return middle - 0.125, middle + 0.125


def _short(count: float) -> str:
    """A number of frames in few letters: 940, 12.3k."""
    return f"{count:.0f}" if count < 9999.5 else f"{count / 1000:.3g}k"
