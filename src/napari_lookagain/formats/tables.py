"""The tables we promise to users: frames, bouts and statistics of a recording, as csv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from napari_lookagain.annotations import MODEL, UNSCORED, Annotations, Bout
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.files import atomic_path

FRAME_COLUMNS = ("frame", "time_s", "animal", "behavior", "cluster", "probability", "gate_score", "looked", "source")
_BOUT = ("recording", "animal", "behavior", "start_frame", "stop_frame", "start_s", "stop_s")
BOUT_COLUMNS = (*_BOUT, "source", "probability", "rater")


def frames_table(
    behavior: Ethogram | None = None, clusters: Ethogram | None = None, annotations: Annotations | None = None
) -> pd.DataFrame:
    """Tabulate every frame of every animal: exactly T rows per animal, one animal after the other.

    Parameters
    ----------
    behavior, clusters
        Predicted behavior and discovered clusters of one recording; at least one of them.
    annotations
        What raters scored; it wins over the model.

    Returns
    -------
    DataFrame
        Columns `FRAME_COLUMNS`. `probability` is of the behavior, or of the cluster when there is no behavior ethogram;
        missing where a rater set the label. `gate_score` and `looked` are of the behavior ethogram when there is one.
        `source` is ``"model"``, a rater, or missing where there is no label.

    Raises
    ------
    InputError
        When there is neither ethogram, or they are of different recordings.
    """
    model = behavior or clusters
    if model is None:
        raise InputError("There is nothing to tabulate: no behavior and no clusters; run the analysis first.")
    if clusters is not None and (clusters.label.shape != model.label.shape or clusters.animals != model.animals):
        raise InputError("The behavior and the clusters are of different recordings; take both from one session.")
    scored, found = behavior or _nothing(model), clusters or _nothing(model)
    if annotations is not None:
        scored = scored.with_corrections(annotations)
    frame = np.tile(np.arange(model.n_frames), len(model.animals))
    probability = found.probability if behavior is None else scored.probability
    columns = {
        "frame": frame,
        "time_s": np.round(frame / model.fps, 6),
        "animal": _named(np.repeat(np.arange(len(model.animals)), model.n_frames), model.animals),
        "behavior": _named(_flat(scored.label), scored.names),
        "cluster": _named(_flat(found.label), found.names),
        "probability": np.round(_flat(probability).astype(float), 4),
        "gate_score": np.round(_flat(model.gate_score).astype(float), 4),
        "looked": _flat(model.looked),
        "source": _source(scored, found),
    }
    return pd.DataFrame(columns, columns=list(FRAME_COLUMNS))


def bouts_table(bouts: Iterable[Bout], *, recording: str, animals: Sequence[str], fps: float) -> pd.DataFrame:
    """Tabulate bouts, of `Ethogram.bouts` or `Annotations.bouts`; half-open, 0-based. Columns `BOUT_COLUMNS`.

    `rater` is empty for the model; `formats.labels.read_labels` reads the table back.
    """
    rows = []
    for b in bouts:
        seconds = round(b.start / fps, 6), round(b.stop / fps, 6)
        probability = np.nan if b.probability is None else round(b.probability, 4)
        rows.append(
            (recording, animals[b.animal], b.behavior, b.start, b.stop, *seconds, b.source, probability, b.rater)
        )
    return pd.DataFrame(rows, columns=list(BOUT_COLUMNS))


def stats_table(ethogram: Ethogram) -> pd.DataFrame:
    """Tabulate per animal and class the bouts, their durations, the latency and the share of labelled time.

    Columns `recording`, `animal`, `behavior` or `cluster`, and those of `Ethogram.bout_statistics` and `share`.
    """
    table = ethogram.bout_statistics()
    table["share"] = ethogram.time_budget().to_numpy().ravel()
    table = table.round(6).reset_index()
    table.insert(0, "recording", ethogram.recording)
    return table


def write_table(table: pd.DataFrame, path: str | Path, format: str = "csv") -> None:
    """Write a table as UTF-8 csv with a header row, whole or not at all.

    Raises
    ------
    InputError
        When the format is not known, the disk is full or the folder cannot be written.
    """
    if format != "csv":
        raise InputError(f"Tables are not written as {format!r}; choose csv.")
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def _flat(values: np.ndarray) -> np.ndarray:
    """Lay (T, A) out animal after animal."""
    return values.T.ravel()


def _named(codes: np.ndarray, names: Sequence[str]) -> pd.Categorical:
    """Codes with their names; -1 is missing. Long recordings repeat few names, so they are kept as categories."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names), dtype=object))


def _nothing(like: Ethogram) -> Ethogram:
    labels = np.full(like.label.shape, UNSCORED)
    return Ethogram.from_labels(labels, (), recording=like.recording, fps=like.fps, animals=like.animals)


def _source(scored: Ethogram, found: Ethogram) -> pd.Categorical:
    source = np.where((scored.label >= 0) | (found.label >= 0), 0, UNSCORED)
    if scored.corrected_by is not None:
        source = np.where(scored.corrected, scored.corrected_by + 1, source)
    return _named(_flat(source), (MODEL, *scored.raters))
