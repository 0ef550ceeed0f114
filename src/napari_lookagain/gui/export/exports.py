"""What can be exported: how each is called, what its first lines are, and how it is written."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_lookagain.ethogram import Ethogram
from napari_lookagain.gui.state import SessionState
from napari_lookagain.progress import Progress

TABLES = {
    "bouts": "Bouts: one row each, with animal, behavior, start and stop",
    "frames": "Frames: one row for each frame of each animal",
    "stats": "Statistics: bouts, durations, latency and share of time of each class",
    "boris": "BORIS table: bouts in the tabular layout of BORIS",
}
OTHERS = {
    "picture": "Picture: the ethogram in view on one page, as png, svg or pdf",
    "clip": "Video clip: frames with keypoints and the ethogram in view burnt in",
}
ENDINGS = {"picture": (".png", "Pictures (*.png *.svg *.pdf)"), "clip": (".mp4", "Videos (*.mp4)")}
TABLE_ENDING = (".csv", "Tables (*.csv)")


@dataclass(frozen=True)
class Order:
    """What is to be written.

    Parameters
    ----------
    what
        A key of `TABLES` or `OTHERS`.
    run
        Of a table: this run alone; None takes the latest of each kind.
    frames, animal
        Of a clip: first frame and the one after the last, and the animal to follow; None shows the whole picture.
    """

    what: str
    run: str | None
    frames: tuple[int, int]
    animal: int | None


def first_lines(state: SessionState, order: Order, count: int) -> str:
    """Give the first lines of a table as they will be written, and how many there are."""
    from napari_lookagain.export import export_table

    table = export_table(state.session, order.what, order.run)
    left = max(0, len(table) - count)
    more = f"… and {left:,} more rows" if left else ""
    return table.head(count).to_csv(index=False, lineterminator="\n") + more


def about_clip(state: SessionState, order: Order) -> str:
    """Tell what a clip will show."""
    start, stop = order.frames
    seconds = max(0, stop - start) / state.session.fps
    whom = "all animals" if order.animal is None else state.session.animals[order.animal]
    return f"Frames {start:,} to {stop - 1:,} of {state.session.recording}: {seconds:.1f} s of {whom}."


def draw_picture(state: SessionState, path: Path) -> None:
    """Draw what is in view."""
    from napari_lookagain.pictures.ethogram import ethogram_picture

    labels, behaviors = state.session.annotations.labels(), state.session.annotations.behaviors
    clusters, colors = (None, None) if state.naming is None else (state.naming.ethogram, state.naming.colors)
    truth = (labels, behaviors) if (labels >= 0).any() else None
    ethogram_picture(path, behavior=state.predicted, clusters=clusters, truth=truth, colors=colors)


def write(state: SessionState, order: Order, path: Path) -> Generator[Progress]:
    """Write what was ordered, whole or not at all."""
    if order.what == "clip":
        from napari_lookagain.clip import write_clip

        ethogram, colors = _in_view(state)
        yield from write_clip(state.session, ethogram, path, *order.frames, order.animal, colors=colors)
    elif order.what == "picture":
        draw_picture(state, path)
    else:
        from napari_lookagain.export import export_table
        from napari_lookagain.formats.tables import write_table

        write_table(export_table(state.session, order.what, order.run), path)


def _in_view(state: SessionState) -> tuple[Ethogram, dict[str, str] | None]:
    """The one ethogram that says most: behaviors as people corrected them, else the clusters, else what was scored.

    With the colors that were given to its classes, if any were.
    """
    session = state.session
    if state.predicted is not None:
        return state.predicted.with_corrections(session.annotations), None
    if state.naming is not None:
        return state.naming.ethogram, state.naming.colors
    labels, names = session.annotations.labels(), session.annotations.behaviors
    whose: dict[str, Any] = {"recording": session.recording, "fps": session.fps, "animals": session.animals}
    return Ethogram.from_labels(labels, names, **whose), None
