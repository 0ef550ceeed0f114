"""Curves of an evaluation: scores by budget or by share of labels, and whether probabilities mean what they say."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from napari_lookagain.colors import OKABE_ITO, behavior_colors
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path

WIDTH, DPI = 8.0, 150  # inches; of a page of text
INK, FAINT, EDGE, LIGHT = "#222222", "#6f6f6f", "#c4c4c4", "#dcdcdc"
OVERALL = "(top)"  # of reliability curves: the most probable class
_COLORS = (*OKABE_ITO[:6], INK)  # without yellow, which is lost on white
_MARKERS = "os^Dv<P"
_TOGETHER = len(_COLORS)  # more arms than this get a panel each
_ENOUGH = 20  # frames of a bin
_SHIFT = 0.003  # between the error bars of two arms
_NAME, _LETTER = 28, 0.07  # letters in a line beside the curves, and the inches of one

Across = Literal["budget", "fraction"]
_AXIS = {"budget": "frames looked at (%)", "fraction": "labels learnt from (%)"}


def draw_scores(path: Path, scores: pd.DataFrame, across: Across, label: str = "macro F1") -> Path:
    """Draw how a score grows with the budget, or with the share of labels, a line for every arm.

    Means over seeds with their standard deviation as bars; every seed is a faint point. An arm without a budget is a
    dashed line across, its scatter a band. Up to seven arms share one plot, with their names beside the lines. More
    get a panel each, in which the first arm of the table is repeated for comparison, and all others are grey.

    Parameters
    ----------
    path
        A ``.png`` file, written whole or not at all.
    scores
        Columns arm, seed, value, and budget or fraction (0 to 1; NaN for none): one row for a seed.
    across
        "budget", on an axis that parts small budgets (square root), or "fraction".
    label
        Of the score.

    Raises
    ------
    InputError
        When there is nothing to draw.
    """
    scores = scores[scores["value"].notna()].assign(x=scores[across])
    arms = list(dict.fromkeys(scores["arm"]))
    if scores["x"].notna().sum() == 0:
        raise InputError(f"There are no scores by {across} to draw; evaluate at several of them.")
    limits = _limits(scores["value"])
    if len(arms) <= _TOGETHER:
        figure = _together(scores, arms, across, limits, label)
    else:
        figure = _apart(scores, arms, across, limits, label)
    return write(figure, path)


def draw_reliability(path: Path, curves: pd.DataFrame, colors: Mapping[str, str] | None = None) -> Path:
    """Draw how often what was told with a probability was so, a panel for every arm.

    On the diagonal probabilities mean what they say; below it the model is too sure. The black curve is that of the
    most probable class, its points as large as many frames are in them; colored ones are of the behaviors, without
    bins of fewer than 20 frames.

    Parameters
    ----------
    path
        A ``.png`` file.
    curves
        Columns arm, class (``"(top)"`` is the most probable one), low, high, predicted, observed, frames; several rows
        of one bin, of splits or seeds, are put together by their frames.
    colors
        Of behaviors by name; those left out take the ones of `behavior_colors`.

    Raises
    ------
    InputError
        When there is nothing to draw.
    """
    curves = curves[curves["frames"] > 0]
    if curves.empty:
        raise InputError("There are no reliability curves to draw; no method told probabilities of scored frames.")
    weighted = curves.assign(p=curves["predicted"] * curves["frames"], o=curves["observed"] * curves["frames"])
    bins = weighted.groupby(["arm", "class", "low"], sort=False)[["p", "o", "frames"]].sum().reset_index()
    bins = bins.assign(p=bins["p"] / bins["frames"], o=bins["o"] / bins["frames"]).sort_values("low", kind="stable")
    arms = list(dict.fromkeys(curves["arm"]))
    names = [name for name in dict.fromkeys(curves["class"]) if name != OVERALL]
    shades = behavior_colors(names) | dict(colors or {})
    figure, every = panels(_titles(arms), 2.55, "probability told", "share of frames that are so")
    for arm, axes in zip(arms, every, strict=True):
        axes.plot([0, 1], [0, 1], color=EDGE, linewidth=0.8, zorder=1)
        for name in [*names, OVERALL]:
            own = bins[(bins["arm"] == arm) & (bins["class"] == name)]
            if name != OVERALL:
                own = own[own["frames"] >= _ENOUGH]
                axes.plot(own["p"], own["o"], color=shades[name], linewidth=1.1, zorder=2)
                continue
            axes.plot(own["p"], own["o"], color=INK, linewidth=1.4, zorder=3)
            axes.scatter(own["p"], own["o"], s=4 + 46 * own["frames"] / own["frames"].max(), color=INK, zorder=3)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
    shown = {"most probable behavior": INK} | {name: shades[name] for name in names}
    legend(figure, [Line2D([], [], color=shade, linewidth=2) for shade in shown.values()], list(shown))
    return write(figure, path)


def legend(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
    """Put a legend below a figure, in as many columns as its names leave room for."""
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (0.55 + _LETTER * max(map(len, labels))))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def panels(
    titles: Sequence[str], height: float, x_label: str, y_label: str, columns: int = 3
) -> tuple[Figure, list[Axes]]:
    """A panel for every title, `height` inches each, with labels where nothing is below or beside it."""
    rows, n = -(-len(titles) // columns), min(len(titles), columns)
    size = (WIDTH * n / columns, height * rows + 0.9)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    grid = figure.subplots(rows, n, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(titles) :]:
        axes.remove()
    for i, (title, axes) in enumerate(zip(titles, grid, strict=False)):
        axes.set_title(title, size=9, color=INK, pad=4)
        axes.tick_params(labelsize=8.5, color=EDGE, labelcolor=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(EDGE)
        if i + n >= len(titles):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(x_label, size=9.5, color=INK)
        if i % n == 0:
            axes.set_ylabel(y_label, size=9.5, color=INK)
    return figure, list(grid[: len(titles)])


def write(figure: Figure, path: Path) -> Path:
    """Write a figure whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    return path


def spread(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Move labels as little as is needed for `gap` between any two, and keep them between two ends if they fit."""
    order = np.argsort(places, kind="stable")
    groups: list[tuple[float, int]] = []  # center and number of labels that touch each other, from the lowest
    for place in places[order]:
        groups.append((float(place), 1))
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (a, n), (b, m) = groups[-2:]
            groups[-2:] = [((a * n + b * m) / (n + m), n + m)]
        center, n = groups[-1]
        groups[-1] = (float(np.clip(center, low + gap * (n - 1) / 2, max(low, high - gap * (n - 1) / 2))), n)
    moved = np.concatenate([center + gap * (np.arange(n) - (n - 1) / 2) for center, n in groups])
    out = np.empty(len(places))
    out[order] = moved
    return out


def _together(
    scores: pd.DataFrame, arms: Sequence[str], across: Across, limits: tuple[float, float], label: str
) -> Figure:
    """One plot, with the names of the arms beside it."""
    names = [textwrap.fill(arm, _NAME, max_lines=2, placeholder="…") for arm in arms]
    letters = max(len(line) for name in names for line in name.split("\n"))
    height, left, bottom, top, right = 4.0, 0.75, 0.6, 0.15, 0.35 + _LETTER * letters
    across_inches, up_inches = WIDTH - left - right, height - bottom - top
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    box = (left / WIDTH, bottom / height, across_inches / WIDTH, up_inches / height)
    axes = figure.add_axes(box)
    ends = []
    for i, arm in enumerate(arms):
        shift = _SHIFT * (i - (len(arms) - 1) / 2)
        own = scores[scores["arm"] == arm]
        ends.append(_draw_line(axes, own, across, _COLORS[i], _MARKERS[i], shift))
    _dress(axes, scores["x"], across, limits, across_inches)
    axes.set_xlabel(_AXIS[across], size=10, color=INK)
    axes.set_ylabel(label, size=10, color=INK)
    gap = (0.34 if any("\n" in name for name in names) else 0.19) * (limits[1] - limits[0]) / up_inches
    places = spread(np.array([end for _, end in ends]), gap, limits[0] + gap / 2, limits[1] - gap / 2)
    edge = axes.get_xlim()[1]
    step = (edge - axes.get_xlim()[0]) * 0.12 / across_inches
    for name, color, (last, end), place in zip(names, _COLORS, ends, places, strict=False):
        axes.plot([last, edge], [end, end], color=color, linewidth=0.7, linestyle=":", alpha=0.6)
        axes.plot([edge, edge + step], [end, place], color=color, linewidth=0.7, clip_on=False)
        axes.text(edge + 1.4 * step, place, name, size=9, color=color, va="center", linespacing=0.95)
    return figure


def _apart(
    scores: pd.DataFrame, arms: Sequence[str], across: Across, limits: tuple[float, float], label: str
) -> Figure:
    """A panel for every arm."""
    figure, every = panels(_titles(arms), 1.9, _AXIS[across], label)
    first = arms[0]
    for arm, axes in zip(arms, every, strict=True):
        for other in arms:
            if other != arm:
                color = FAINT if other == first else LIGHT
                _draw_line(axes, scores[scores["arm"] == other], across, color)
        _draw_line(axes, scores[scores["arm"] == arm], across, _COLORS[0], "o")
        _dress(axes, scores["x"], across, limits, WIDTH / 3 - 0.5)
    shades = {"named above": _COLORS[0], first: FAINT, "all others": LIGHT}
    legend(figure, [Line2D([], [], color=shade, linewidth=2) for shade in shades.values()], list(shades))
    return figure


def _titles(arms: Sequence[str]) -> list[str]:
    return [textwrap.fill(arm, 32, max_lines=2, placeholder="…") for arm in arms]


def _draw_line(
    axes: Axes, own: pd.DataFrame, across: Across, color: str, marker: str = "", shift: float = 0.0
) -> tuple[float, float]:
    """Draw one arm, and tell where its line ends; without a marker it is drawn as a background of others."""
    without = own[own["x"].isna()]["value"]
    if len(without):
        axes.axhline(without.mean(), color=color, linewidth=1.1, linestyle=(0, (4, 2)), zorder=2)
        if marker and len(without) > 1:
            low, high = without.mean() - without.std(), without.mean() + without.std()
            axes.axhspan(low, high, color=color, alpha=0.10, linewidth=0, zorder=1)
        return axes.get_xlim()[1], float(without.mean())
    x = _place(own["x"].to_numpy(float), across) + shift
    over = own["value"].groupby(x)
    at, mean = np.unique(x), over.mean().to_numpy()
    if marker:
        axes.scatter(x, own["value"], s=9, color=color, marker=marker, alpha=0.35, linewidths=0, zorder=3)
        axes.errorbar(at, mean, over.std(), color=color, marker=marker, markersize=5, elinewidth=1, zorder=4)
    else:
        axes.plot(at, mean, color=color, linewidth=1.1, zorder=2 if color == FAINT else 1)
    return float(at[-1]), float(mean[-1])


def _place(values: np.ndarray, across: Across) -> np.ndarray:
    return np.sqrt(values) if across == "budget" else values


def _dress(axes: Axes, values: pd.Series, across: Across, limits: tuple[float, float], inches: float) -> None:
    """Ticks where something was tried, as far as their labels leave each other room."""
    tried = np.unique(values.dropna().to_numpy(float))
    places = _place(tried, across)
    pad = 0.04 * max(np.ptp(places), 0.1)
    low, high = float(places[0] - pad), float(places[-1] + pad)
    shown: list[int] = []
    for i in reversed(range(len(tried))):  # from the largest
        room = 0.09 + 0.04 * len(f"{100 * tried[i]:g}")
        if not shown or (places[shown[-1]] - places[i]) * inches / (high - low) > room + 0.03:
            shown.append(i)
    axes.set(xlim=(low, high), ylim=limits)
    axes.set_xticks(places[shown], [f"{100 * tried[i]:g}" for i in shown])
    axes.set_xticks(places, minor=True)
    axes.tick_params(which="both", labelsize=8.5, color=EDGE, labelcolor=INK)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(EDGE)


def _limits(values: pd.Series) -> tuple[float, float]:
    """Tenths around all values, between 0 and 1."""
    low, high = np.floor(10 * values.min() - 0.1) / 10, np.ceil(10 * values.max() + 0.1) / 10
    return float(max(low, min(0.0, values.min()))), float(min(max(high, low + 0.1), 1.02))
