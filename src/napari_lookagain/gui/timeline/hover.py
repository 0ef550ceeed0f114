"""What the timeline says of the place under the mouse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_lookagain.gui.timeline.canvas import Canvas, Spot
from napari_lookagain.gui.timeline.clock import clock, grouped
from napari_lookagain.gui.timeline.lanes import ClassLane, Lane, ScoreLane
from napari_lookagain.gui.timeline.sums import Columns

_MOST = 3  # classes that are told of


def describe(canvas: Canvas, spot: Spot, fps: float, animals: Sequence[str]) -> str:
    """Say what is at a spot: its frame, and what the row there holds in that frame, or in that column of pixels."""
    place = f"frame {grouped(spot.frame)}  ·  {clock(spot.frame, fps)}"
    row = spot.row
    if row is None:
        return place
    start, stop = spot.frame, spot.frame + 1
    if not canvas.is_strip:
        stop = min(start + max(round(canvas.frames_of(1)), 1), canvas.n_frames)
    lanes: list[Lane] = [row.lane] if row.ticks is None else [row.lane, row.ticks]
    told = []
    for lane in lanes:
        means = canvas.sums[lane.role].means(row.animal, Columns(start, stop, 1, canvas.n_frames))[0]
        if isinstance(lane, ClassLane) and stop - start == 1:
            told.append(_bout(lane, row.animal, start, fps))
        elif isinstance(lane, ClassLane):
            told.append(f"{lane.title}: {_shares(lane.names, means)} of {stop - start} frames")
        elif isinstance(lane, ScoreLane):
            told.append(f"{lane.title} {means[0] / means[1]:.2f}" if means[1] else f"{lane.title} not known")
        elif means[0]:
            told.append(lane.title if stop - start == 1 else f"{lane.title} {means[0]:.0%} of {stop - start} frames")
    if (wish := canvas.wish_at(row.animal, spot.frame)) is not None:
        told.append("always looked at" if wish.what == "pin" else "never looked at")
    return "  ·  ".join([animals[row.animal], place, *told])


def _bout(lane: ClassLane, animal: int, frame: int, fps: float) -> str:
    """Name the class at a frame, and how long it lasts."""
    found = lane.bout_at(animal, frame)
    if found is None:
        return f"{lane.title}: none"
    start, stop = found
    name = lane.names[int(lane.label[frame, animal]) - 1]
    return f"{lane.title}: {name} (frames {grouped(start)} to {grouped(stop - 1)}, {(stop - start) / fps:.2f} s)"


def _shares(names: Sequence[str], shares: np.ndarray) -> str:
    most = [code for code in np.argsort(-shares)[:_MOST] if shares[code] > 0]
    return ", ".join(f"{names[code]} {shares[code]:.0%}" for code in most) or "none"
