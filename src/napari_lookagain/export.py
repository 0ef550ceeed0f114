"""What a session's runs and raters say, as a table for elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram, ethogram_kind, load_ethogram
from napari_lookagain.formats.boris import boris_table
from napari_lookagain.formats.tables import bouts_table, frames_table, stats_table
from napari_lookagain.naming import Naming
from napari_lookagain.session import Session

if TYPE_CHECKING:
    import pandas as pd


def export_table(session: Session, what: str, run: str | None = None) -> pd.DataFrame:
    """Frames, bouts or statistics of a session's runs; clusters as they are named, and what people scored wins.

    Parameters
    ----------
    session
        With at least one finished run, or for bouts and statistics with scored frames.
    what
        "frames", "bouts", "stats", or "boris": bouts in the layout of BORIS' tabular events.
    run
        This run alone; by default the latest of behaviors and the latest of clusters. Bouts and statistics are of the
        first that there is: predicted behaviors, those that clusters were assigned to, scored frames, clusters.

    Raises
    ------
    InputError
        When there is no such run, nothing to export, or `what` is another word.
    """
    if what not in ("frames", "bouts", "stats", "boris"):
        raise InputError(f"There is no table {what!r}; choose frames, bouts, stats or boris.")
    found = _latest_runs(session, run)
    behavior, clusters = found.get("behavior"), found.get("cluster")
    scored = session.annotations if (session.annotations.labels() >= 0).any() else None
    if what == "frames":
        return frames_table(behavior, clusters, scored)
    if behavior is None and scored is not None and run is None:
        behavior = Ethogram.from_labels(
            scored.labels(),
            scored.behaviors,
            recording=session.recording,
            fps=session.fps,
            animals=session.animals,
        )
    ethogram = clusters if behavior is None else behavior if scored is None else behavior.with_corrections(scored)
    if ethogram is None:
        raise InputError(f"{session.recording} has no finished run and no scored frame; run segment or predict first.")
    if what == "stats":
        return stats_table(ethogram)
    whose: dict[str, Any] = {"recording": session.recording, "animals": session.animals, "fps": session.fps}
    if what == "boris":
        video = None if session.video is None else session.video.path
        return boris_table(ethogram.bouts(), **whose, n_frames=session.n_frames, video=video)
    return bouts_table(ethogram.bouts(), **whose)


def _latest_runs(session: Session, run: str | None) -> dict[str, Ethogram]:
    """The named run, or the latest finished one of each kind."""
    if run is not None and run not in session.runs:
        raise InputError(f"{session.recording} has no run {run!r}; it has {', '.join(session.runs) or 'none'}.")
    files = [session.run_folder(name) / "ethogram.npz" for name in ([run] if run else session.runs)]
    finished = sorted((file for file in files if file.exists()), key=lambda file: file.stat().st_mtime_ns)
    if run is not None and not finished:
        raise InputError(
            f"The run {run!r} of {session.recording} was cut off; give the same command again to finish it."
        )
    latest = {ethogram_kind(file): file for file in finished}
    found: dict[str, Ethogram] = {kind: load_ethogram(file) for kind, file in latest.items()}
    if "cluster" in found:
        naming = Naming(found["cluster"], latest["cluster"].parent)
        found["cluster"] = naming.ethogram
        if any(each.behavior for each in naming.classes):
            found.setdefault("behavior", naming.behaviors)
    return found
