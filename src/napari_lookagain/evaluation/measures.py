"""From the ethograms that trials kept to tables of numbers; cheap, and done anew whenever an evaluation is reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lookagain.ethogram import Ethogram, load_ethogram
from napari_lookagain.evaluation.clock import seconds_alone
from napari_lookagain.evaluation.splits import Split
from napari_lookagain.evaluation.trials import budget_folder, labels_of, told_of
from napari_lookagain.files import atomic_path
from napari_lookagain.metrics import (
    Reliability,
    Row,
    behavior_rows,
    cluster_rows,
    confusion,
    confusion_table,
    lag_rows,
    reliability_curves,
    row_table,
    sharpness_rows,
    stability_rows,
    tagged,
)
from napari_lookagain.session import Session

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("arm", "method", "kind", "split", "seed", "fraction", "budget")


@dataclass(frozen=True)
class Told:
    """What one trial told of the test recordings at one budget.

    Parameters
    ----------
    keys
        By the names in `KEYS`.
    costs
        Seconds and the share of frames looked at.
    ethograms
        Of the test recordings.
    recordings
        Their indices.
    mapping
        The behavior that every cluster stands for, None for one that stands for none; None of behaviors.
    """

    keys: dict[str, Any]
    costs: dict[str, float]
    ethograms: list[Ethogram]
    recordings: tuple[int, ...]
    mapping: list[str | None] | None


def told_by(folders: Sequence[Path], parts: Sequence[Split]) -> Iterator[Told]:
    """Read finished trials, budget by budget; of a single recording, its held-out end."""
    every = [(folder, told) for folder in folders if (told := told_of(folder))]
    seconds = seconds_alone([told for _, told in every])
    for (folder, told), at_budget in zip(every, seconds, strict=True):
        part = parts[told["split"] - 1]
        for own, predicting in zip(told["budgets"], at_budget, strict=True):
            place = folder / budget_folder(own["budget"])
            yield Told(
                {**{key: told[key] for key in KEYS[:-1]}, "budget": own["budget"]},
                {
                    "train_seconds": told["train_seconds"],
                    "predict_seconds": predicting,
                    "looked_share": own["looked_share"],
                },
                [load_ethogram(place / f"{i}.npz").part(part.start) for i in part.test],
                part.test,
                own.get("mapping"),
            )


def write_measures(
    out: Path, folders: Sequence[Path], parts: Sequence[Split], sessions: Sequence[Session]
) -> pd.DataFrame:
    """Write ``measures.csv``, ``confusion.csv`` and ``reliability.csv`` of finished trials, and give the first.

    Unscored frames enter nothing that is compared with what people scored. Of a single recording, nothing but its
    held-out end enters.
    """
    import pandas as pd

    truth, names = labels_of(sessions)
    every = list(told_by(folders, parts))
    measures, confusions, curves = [], [], []
    for told in every:
        start = parts[told.keys["split"] - 1].start
        scored = [truth[i][start:] for i in told.recordings]
        measures.append(_tagged(row_table(_rows(told, scored, names)), told))
        predicted = [_behaviors(each, told.mapping, names) for each in told.ethograms]
        counts = confusion(scored, [label for label, _ in predicted], len(names))
        confusions.append(_tagged(confusion_table(counts, names), told))
        if told.mapping is None:
            curves.append(_tagged(_curve_table(reliability_curves(scored, [p for _, p in predicted], names)), told))
    measures.append(_stability(every))
    for name, pieces in {"confusion": confusions, "reliability": curves, "measures": measures}.items():
        table = pd.concat(pieces) if pieces else pd.DataFrame(columns=list(KEYS))
        with atomic_path(out / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    return table  # the measures, which are written last


def _rows(told: Told, scored: list[np.ndarray], names: tuple[str, ...]) -> list[Row]:
    """All measures of all test recordings together, and of each."""
    rows = [Row(measure, value) for measure, value in told.costs.items()]
    for which in (slice(None), *(slice(i, i + 1) for i in range(len(scored)))):
        truth, ethograms = scored[which], told.ethograms[which]
        of = "(all)" if which == slice(None) else ethograms[0].recording
        if told.mapping is None:
            labels, probabilities = zip(*(_behaviors(each, None, names) for each in ethograms), strict=True)
            rows += tagged(behavior_rows(truth, labels, names, probabilities), recording=of)
        else:
            index = np.array([-1 if name is None else names.index(name) for name in told.mapping])
            clusters, called = [each.label for each in ethograms], ethograms[0].names
            own = cluster_rows(truth, clusters, names, called, index)
            rows += tagged((row for row in own if names or not np.isnan(row.value)), recording=of)
        sharp = sharpness_rows([each.probabilities for each in ethograms], ethograms[0].names)
        rows += tagged(sharp, recording=of)
    for scored_one, ethogram in zip(scored, told.ethograms, strict=True):
        if names:
            label, _ = _behaviors(ethogram, told.mapping, names)
            rows += tagged(lag_rows(scored_one, label), recording=ethogram.recording)
    return rows


def _behaviors(
    ethogram: Ethogram, mapping: list[str | None] | None, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes (T, A) and probabilities (T, A, K) by the names of the study; those not learnt are never told."""
    index = np.array([-1 if name is None else names.index(name) for name in mapping or ethogram.names])
    label = np.append(index, -1)[ethogram.label]
    probabilities = np.zeros((*label.shape, len(names)), np.float32)
    for i, k in enumerate(index):
        if k >= 0:
            probabilities[..., k] += ethogram.probabilities[..., i]
    return label, probabilities


def _stability(every: Sequence[Told]) -> pd.DataFrame:
    """How well the clusters of an arm agree between seeds, on the same test recordings."""
    import pandas as pd

    same = [key for key in KEYS if key != "seed"]
    order = sorted((t for t in every if t.mapping is not None), key=lambda t: [str(t.keys[key]) for key in same])
    tables = []
    for _, group in groupby(order, key=lambda t: [str(t.keys[key]) for key in same]):
        seeds = list(group)
        if len(seeds) > 1:
            rows = row_table(stability_rows([[each.label for each in told.ethograms] for told in seeds]))
            tables.append(_tagged(rows, seeds[0]).assign(seed=np.nan))
    return pd.concat(tables) if tables else pd.DataFrame(columns=list(KEYS))


def _curve_table(curves: dict[str, Reliability]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([pd.DataFrame({"class": name, **vars(curve)}) for name, curve in curves.items()])


def _tagged(table: pd.DataFrame, told: Told) -> pd.DataFrame:
    for place, key in enumerate(KEYS):
        table.insert(place, key, told.keys[key])
    return table
