"""An ethogram on one page: what was scored, what was discovered, what is predicted, and where the model looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from napari_lookagain.annotations import BACKGROUND
from napari_lookagain.colors import UNSCORED_COLOR, behavior_colors, cluster_colors
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.files import atomic_path

Truth = tuple[np.ndarray, Sequence[str]]
_FORMATS = (".png", ".svg", ".pdf")
_DPI = 150
_WIDTH, _LEFT, _RIGHT = 12.0, 1.05, 0.6  # all lengths are inches
_TITLE, _NAME, _GAP, _AXIS, _ROW, _FOOT = 0.48, 0.34, 0.06, 0.56, 0.25, 0.12
_HEIGHT = {"classes": 0.32, "score": 0.46, "looked": 0.16}
_COLUMNS = round((_WIDTH - _LEFT - _RIGHT) * _DPI)  # pixels across a lane
_INK, _FAINT, _EDGE, _GATE = "#222222", "#6f6f6f", "#c4c4c4", "#64748b"


def ethogram_picture(
    path: str | Path,
    *,
    behavior: Ethogram | None = None,
    clusters: Ethogram | None = None,
    truth: Truth | None = None,
    span: tuple[int, int] | None = None,
    title: str | None = None,
    colors: Mapping[str, str] | None = None,
) -> None:
    """Draw the ethogram of one recording, lanes below each other for every animal.

    Where frames are narrower than a pixel, a column of pixels is parted among the classes by their share of the time it
    stands for: colored areas are times at every zoom. The gate score is then its mean, and the ticks of the frames
    looked at are as dark as looks are dense.

    Parameters
    ----------
    path
        A ``.png``, ``.svg`` or ``.pdf`` file.
    behavior, clusters
        Predicted behavior and discovered clusters; at least one of them. Gate score and looks are those of the first
        that has any; a gate score of NaN leaves a gap.
    truth
        (T, A) labels, -1 = unscored, and the names they index.
    span
        Frames [start, stop) to show; None shows all.
    title
        None names the recording and its length.
    colors
        Colors of clusters by name, as people gave them; None takes those of `cluster_colors`.

    Raises
    ------
    InputError
        When there is nothing to draw, the parts do not fit each other, the span is not of the recording, or the file
        cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"A picture cannot be written to {path}; choose a name ending in {', '.join(_FORMATS)}.")
    model = behavior or clusters
    if model is None:
        raise InputError("There is nothing to draw: no behavior and no clusters; run the analysis first.")
    lanes = _lanes(behavior, clusters, truth, colors or {})
    for lane in lanes:
        if lane.values.shape != model.label.shape:
            shapes = f"{lane.values.shape} and {model.label.shape} (frames, animals)"
            raise InputError(
                f"The parts of the picture are of different recordings: {shapes}; take all from one session."
            )
    start, stop = span or (0, model.n_frames)
    if not 0 <= start < stop <= model.n_frames:
        raise InputError(f"The span {start} to {stop} is not within the recording's frames, 0 to {model.n_frames}.")
    shown = [lane.within(start, stop) for lane in lanes]
    figure = _draw(shown, model, start, stop, title or _title(model, start, stop))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=_DPI)


@dataclass(frozen=True)
class _Lane:
    """One row of the picture, the same for every animal."""

    kind: Literal["classes", "score", "looked"]
    name: str
    values: np.ndarray  # (T, A)
    names: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    legend: str = ""

    def within(self, start: int, stop: int) -> _Lane:
        return _Lane(self.kind, self.name, self.values[start:stop], self.names, self.colors, self.legend)


def _lanes(
    behavior: Ethogram | None, clusters: Ethogram | None, truth: Truth | None, given: Mapping[str, str]
) -> list[_Lane]:
    shades = behavior_colors((*(truth[1] if truth else ()), *(behavior.names if behavior else ())))
    lanes = []
    if truth:
        names = tuple(truth[1])
        lanes.append(_Lane("classes", "truth", truth[0], names, tuple(shades[n] for n in names), "behavior"))
    if clusters:
        usual = cluster_colors(clusters.names, shades)
        own = tuple(given.get(name, usual[name]) for name in clusters.names)
        lanes.append(_Lane("classes", "discovered", clusters.label, clusters.names, own, "cluster"))
    if behavior:
        colors = tuple(shades[n] for n in behavior.names)
        lanes.append(_Lane("classes", "predicted", behavior.label, behavior.names, colors, "behavior"))
    models = [model for model in (behavior, clusters) if model]
    gated = next((model for model in models if np.isfinite(model.gate_score).any()), None)
    if gated:
        lanes.append(_Lane("score", "gate score", gated.gate_score))
    looking = next((model for model in models if model.looked.any()), None)
    if looking:
        lanes.append(_Lane("looked", "looked at", looking.looked))
    return lanes


def _draw(lanes: list[_Lane], model: Ethogram, start: int, stop: int, title: str) -> Figure:
    legends = {heading: _classes(lanes, heading) for heading in dict.fromkeys(lane.legend for lane in lanes) if heading}
    tall = _NAME + sum(_HEIGHT[lane.kind] + _GAP for lane in lanes)
    height = _TITLE + len(model.animals) * tall + _AXIS + _FOOT
    height += sum(_ROW * len(_legend_rows(classes)) + _GAP for classes in legends.values())
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    figure.text(_LEFT / _WIDTH, 1 - 0.28 / height, title, size=12.5, weight="bold", color=_INK, va="center")
    top = height - _TITLE
    for animal, name in enumerate(model.animals):
        figure.text(_LEFT / _WIDTH, (top - 0.22) / height, name, size=10.5, weight="bold", color=_INK, va="center")
        top -= _NAME
        for lane in lanes:
            top -= _HEIGHT[lane.kind]
            box = (_LEFT / _WIDTH, top / height, 1 - (_LEFT + _RIGHT) / _WIDTH, _HEIGHT[lane.kind] / height)
            axes = figure.add_axes(box, xlim=(start, stop), ylim=(0, 1), xticks=[], yticks=[])
            _draw_lane(axes, lane, lane.values[:, animal], start)
            top -= _GAP
    _time_axis(axes, start, stop, model.fps)
    top -= _AXIS
    for heading, classes in legends.items():
        _draw_legend(figure, heading, classes, top)
        top -= _ROW * len(_legend_rows(classes)) + _GAP
    return figure


def _draw_lane(axes: Axes, lane: _Lane, values: np.ndarray, start: int) -> None:
    for spine in axes.spines.values():
        spine.set(color=_EDGE, linewidth=0.6)
    axes.text(-0.09 / (_WIDTH - _LEFT - _RIGHT), 0.5, lane.name, transform=axes.transAxes, size=9, color=_FAINT,
              ha="right", va="center")  # fmt: skip
    extent = (start, start + len(values), 0.0, 1.0)
    if lane.kind == "classes":
        axes.imshow(_strip(values, lane), extent=extent, aspect="auto", interpolation="nearest")
    elif lane.kind == "score":
        _draw_score(axes, values, start, _score_range(lane.values))
    else:
        _draw_looks(axes, values, extent)
        note = f"{100 * values.mean():.2g} %"
        axes.text(1.007, 0.5, note, transform=axes.transAxes, size=8, color=_FAINT, ha="left", va="center")


def _strip(labels: np.ndarray, lane: _Lane) -> np.ndarray:
    """Color (T,) labels: (1, T, 3), or (rows, columns, 3) with every column parted by the share of each class."""
    palette = np.array([to_rgb(color) for color in (*lane.colors, UNSCORED_COLOR)])
    edges = _edges(len(labels))
    if len(edges) > len(labels):
        return palette[labels][None]
    # what says nothing lies at the bottom: background, then unscored
    order = [*sorted(range(len(lane.names)), key=lambda code: lane.names[code] == BACKGROUND), -1]
    share = np.stack([_mean(labels == code, edges) for code in order])
    rows = round(_HEIGHT["classes"] * _DPI)
    levels = (np.arange(rows) + 0.5) / rows
    place = (np.cumsum(share, axis=0)[None] <= levels[:, None, None]).sum(axis=1)
    return palette[np.array(order)[np.minimum(place, len(order) - 1)]]


def _edges(n_frames: int) -> np.ndarray:
    """Cut frames into columns of pixels, or each frame for itself when there are enough pixels."""
    return np.linspace(0, n_frames, min(n_frames, _COLUMNS) + 1).astype(int)


def _mean(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values.astype(float), edges[:-1]) / np.diff(edges)


def _score_range(scores: np.ndarray) -> tuple[float, float]:
    """Show 0 to 1, unless all scores crowd in less than a quarter of it."""
    known = scores[np.isfinite(scores)]
    if not known.size or np.ptp(known) >= 0.25:
        return 0.0, 1.0
    low = min(np.floor(20 * known.min()) / 20, 0.95)
    return float(low), float(max(np.ceil(20 * known.max()) / 20, low + 0.05))


def _draw_score(axes: Axes, scores: np.ndarray, start: int, limits: tuple[float, float]) -> None:
    edges = _edges(len(scores))
    known = np.isfinite(scores)
    share = _mean(known, edges)
    mean = _mean(np.where(known, scores, 0), edges) / np.where(share > 0, share, np.nan)
    middle = start + (edges[:-1] + edges[1:]) / 2
    axes.fill_between(middle, limits[0], mean, color=_GATE, alpha=0.35, linewidth=0)
    axes.plot(middle, mean, color=_GATE, linewidth=0.7)
    axes.set_ylim(limits)
    axes.yaxis.tick_right()
    axes.set_yticks(limits, [f"{limit:g}" for limit in limits], size=7.5, color=_FAINT)
    axes.tick_params("y", length=2, width=0.6, color=_EDGE, pad=2)
    low, high = axes.get_yticklabels()
    low.set_verticalalignment("bottom")
    high.set_verticalalignment("top")


def _draw_looks(axes: Axes, looked: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    axes.spines[:].set_visible(False)
    if 3 * len(looked) <= _COLUMNS:
        axes.vlines(extent[0] + np.flatnonzero(looked) + 0.5, 0, 1, color=_INK, linewidth=0.9)
        return
    density = _mean(looked, _edges(len(looked)))
    shade = np.zeros((1, len(density), 4))
    shade[..., :3] = to_rgb(_INK)
    shade[..., 3] = density / max(density.max(), 1e-9)
    axes.imshow(shade, extent=extent, aspect="auto", interpolation="nearest")


def _time_axis(axes: Axes, start: int, stop: int, fps: float) -> None:
    seconds = (stop - start) / fps
    unit, scale = ("s", 1.0) if seconds < 180 else ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)
    first, last = start / fps / scale, stop / fps / scale
    ticks = [
        tick for tick in MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(first, last) if first <= tick <= last
    ]
    axes.set_xticks([tick * scale * fps for tick in ticks], [f"{tick:g}" for tick in ticks], size=8.5, color=_INK)
    axes.tick_params("x", length=3.5, width=0.8, color=_INK)
    axes.spines.bottom.set(visible=True, color=_INK, linewidth=0.8)
    axes.set_xlabel(f"time ({unit})", size=9, color=_INK, labelpad=3)


def _classes(lanes: list[_Lane], heading: str) -> dict[str, str]:
    """Name and color of the classes to be seen in the lanes of one legend, what says nothing last."""
    seen: dict[str, str] = {}
    unscored = False
    for lane in (lane for lane in lanes if lane.legend == heading):
        present = np.unique(lane.values)
        seen |= {name: lane.colors[code] for code, name in enumerate(lane.names) if code in present}
        unscored |= -1 in present
    if BACKGROUND in seen:
        seen[BACKGROUND] = seen.pop(BACKGROUND)
    return seen | ({"unscored" if heading == "behavior" else "none": UNSCORED_COLOR} if unscored else {})


def _legend_rows(classes: dict[str, str]) -> list[list[tuple[float, str]]]:
    """Set the entries of a legend in rows, each with its place from the left."""
    rows: list[list[tuple[float, str]]] = [[]]
    x = 0.0
    for name in classes:
        width = 0.46 + 0.078 * len(name)
        if rows[-1] and x + width > _WIDTH - _LEFT:
            rows.append([])
            x = 0.0
        rows[-1].append((x, name))
        x += width
    return rows


def _draw_legend(figure: Figure, heading: str, classes: dict[str, str], top: float) -> None:
    height = figure.get_figheight()
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(0, height), frameon=False, xticks=[], yticks=[])
    axes.text(_LEFT - 0.09, top - _ROW / 2, heading, size=9, color=_FAINT, ha="right", va="center")
    for row, entries in enumerate(_legend_rows(classes)):
        y = top - _ROW * (row + 0.5)
        for x, name in entries:
            edge = _EDGE if classes[name] == UNSCORED_COLOR else "none"
            box = Rectangle((_LEFT + x, y - 0.07), 0.20, 0.14, facecolor=classes[name], edgecolor=edge, linewidth=0.6)
            axes.add_patch(box)
            axes.text(_LEFT + x + 0.26, y, name, size=9, color=_INK, ha="left", va="center")


def _title(model: Ethogram, start: int, stop: int) -> str:
    whole = stop - start == model.n_frames
    part = f"{model.n_frames:,} frames" if whole else f"frames {start:,} to {stop:,} of {model.n_frames:,}"
    return f"{model.recording}  ·  {part} at {model.fps:g} per second".replace(",", "\u2009")
