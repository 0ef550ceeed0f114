"""What the timeline draws: lanes of classes, of a score, of ticks; each lane holds one thing of all animals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_lookagain.gui.state import SessionState

DISCOVERED, PREDICTED, CORRECTED = "discovered", "predicted", "corrected"
GATE_SCORE, LOOKED = "gate_score", "looked"
TERMS = ("reliability", "saliency", "semantics")

_REACH = 1000  # frames around one in which the ends of its bout are looked for first


@dataclass(frozen=True, eq=False)
class ClassLane:
    """What the animals do, frame by frame.

    Parameters
    ----------
    role
        Which lane it is, as in ``layer.metadata["lookagain"]["role"]``: only one lane of a role is drawn.
    title
        What stands beside it.
    label
        (T, A) integers, 0 = none and v = class v - 1, as in a Labels layer; never copied.
    names, colors
        Of the classes, K of them; colors as ``"#rrggbb"``.
    visible
        Whether it is drawn.
    """

    role: str
    title: str
    label: np.ndarray
    names: tuple[str, ...]
    colors: tuple[str, ...]
    visible: bool = True

    @property
    def array(self) -> np.ndarray:
        """What it holds."""
        return self.label

    @property
    def width(self) -> int:
        """Numbers that `totals` gives per group: one a class."""
        return len(self.names)

    def totals(self, animal: int, frames: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
        """Count the frames of every class in groups of frames: (n_groups, K)."""
        label = self.label[frames, animal].astype(np.intp)
        label[label > self.width] = 0  # a value without a name, as another plugin may paint it, is drawn as none
        size = self.width + 1
        return np.bincount(group * size + label, minlength=n_groups * size).reshape(n_groups, size)[:, 1:]

    def bout_at(self, animal: int, frame: int) -> tuple[int, int] | None:
        """Give start and stop of the bout of an animal at a frame; None where there is no class."""
        column = self.label[:, animal]
        value = column[frame]
        if not 0 < value <= self.width:
            return None
        reach = _REACH
        while True:
            first, last = max(frame - reach, 0), min(frame + reach, len(column))
            before = np.flatnonzero(column[first:frame] != value)
            after = np.flatnonzero(column[frame:last] != value)
            if (len(before) or first == 0) and (len(after) or last == len(column)):
                start = first + int(before[-1]) + 1 if len(before) else 0
                return start, frame + int(after[0]) if len(after) else len(column)
            reach *= 8


@dataclass(frozen=True, eq=False)
class ScoreLane:
    """A number for every frame and animal, such as the gate score.

    Parameters
    ----------
    role, title, visible
        As of a `ClassLane`.
    values
        (T, A) float32, NaN = not known; never copied.
    """

    role: str
    title: str
    values: np.ndarray
    visible: bool = True

    @property
    def array(self) -> np.ndarray:
        """What it holds."""
        return self.values

    @property
    def width(self) -> int:
        """Numbers that `totals` gives per group: sum and count."""
        return 2

    def totals(self, animal: int, frames: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
        """Sum and count the known values in groups of frames: (n_groups, 2)."""
        values = self.values[frames, animal]
        known = np.isfinite(values)
        weights = (np.where(known, values, 0), known)
        return np.stack([np.bincount(group, weight, minlength=n_groups) for weight in weights], axis=1)

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Scores at its foot and top: 0 and 1, unless some are beyond or all crowd in less than a quarter of that."""
        known = self.values[np.isfinite(self.values)]
        if not known.size:
            return 0.0, 1.0
        low, high = float(known.min()), float(known.max())
        if low >= 0 and high <= 1 and high - low >= 0.25:
            return 0.0, 1.0
        return low, max(high, low + 1e-6)


@dataclass(frozen=True, eq=False)
class TickLane:
    """Frames worth a mark, such as those the model looked at; drawn on the gate score where that is shown.

    Parameters
    ----------
    role, title, visible
        As of a `ClassLane`.
    on
        (T, A), true at frames with a tick; never copied.
    """

    role: str
    title: str
    on: np.ndarray
    visible: bool = True

    @property
    def array(self) -> np.ndarray:
        """What it holds."""
        return self.on

    @property
    def width(self) -> int:
        """Numbers that `totals` gives per group: the count."""
        return 1

    def totals(self, animal: int, frames: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
        """Count the ticks in groups of frames: (n_groups, 1)."""
        return np.bincount(group, self.on[frames, animal] != 0, minlength=n_groups)[:, None]


Lane = ClassLane | ScoreLane | TickLane


def term_lanes(state: SessionState) -> list[Lane]:
    """The three terms that make the gate score: of the predicted behavior, or else of the clusters."""
    models = [model for model in (state.predicted, state.discovered) if model is not None]
    model = next((model for model in models if np.isfinite(model.gate_score).any()), None)
    terms = [] if model is None else [(term, getattr(model, term)) for term in TERMS]
    return [ScoreLane(term, term, values) for term, values in terms if np.isfinite(values).any()]
