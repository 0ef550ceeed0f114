"""What every measure returns: one row for one number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ALL = "(all)"  # not empty: an empty cell of a csv reads as NaN, and grouping drops it


@dataclass(frozen=True, slots=True)
class Row:
    """One number.

    Parameters
    ----------
    measure
        What was measured.
    value
        The number; NaN where there is nothing to measure.
    of
        Name of the class; ``"(all)"`` where the number is of all classes together.
    recording, animal
        Whose frames were measured; ``"(all)"`` where frames were pooled.
    """

    measure: str
    value: float
    of: str = ALL
    recording: str = ALL
    animal: str = ALL


def class_rows(measure: str, names: Sequence[str], values: np.ndarray) -> list[Row]:
    """One row for each class."""
    return [Row(measure, float(value), name) for name, value in zip(names, values, strict=True)]


def tagged(rows: Iterable[Row], *, recording: str = ALL, animal: str = ALL) -> list[Row]:
    """Say whose frames were measured.

    Examples
    --------
    >>> tagged(frame_rows(truth[:, 0], predicted[:, 0], names), recording="monday", animal="mouse1")
    """
    return [replace(row, recording=recording, animal=animal) for row in rows]


def row_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Put rows into a tidy table with the columns ``recording, animal, class, measure, value``."""
    import pandas as pd

    columns = ["recording", "animal", "class", "measure", "value"]
    return pd.DataFrame(
        [(row.recording, row.animal, row.of, row.measure, row.value) for row in rows], columns=columns
    ).astype({"value": float})


def ratio(part: np.ndarray | float, whole: np.ndarray | float, nothing: float) -> np.ndarray:
    """Divide, and give `nothing` where there is nothing to divide by."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, nothing), where=whole != 0)


def mean_of(values: np.ndarray) -> float:
    """Mean of the values that are numbers; NaN when none is."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")
