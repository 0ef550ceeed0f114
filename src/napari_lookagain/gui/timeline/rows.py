"""Where lanes lie: rows below each other, the lanes of one animal together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_lookagain.gui.timeline.lanes import GATE_SCORE, LOOKED, ClassLane, Lane, ScoreLane, TickLane

GAP, ANIMAL_GAP = 2, 8  # pixels between lanes, and between animals
_TICKS_ALONE = 10
_CLASSES = (18, 72)  # least and most pixels of a lane of classes
_PER_CLASS = 3  # pixels of a class when zoomed out, at least
_SCORE = (16, 44)


@dataclass(frozen=True)
class Row:
    """One lane of one animal.

    Parameters
    ----------
    lane
        What is drawn in it.
    animal
        Whose.
    top, height
        Pixels from the top of all rows.
    ticks
        Drawn at its foot.
    wished
        Whether it bears the marks of what is wanted of the looks.
    """

    lane: Lane
    animal: int
    top: int
    height: int
    ticks: TickLane | None = None
    wished: bool = False

    @property
    def bottom(self) -> int:
        """The first pixel below it."""
        return self.top + self.height


def rows_of(lanes: Sequence[Lane], n_animals: int, height: int, n_shown: Mapping[str, int]) -> list[Row]:
    """Place the visible lanes of all animals into a height; where it is too low for them, they reach beyond it.

    Parameters
    ----------
    lanes
        In the order in which they are drawn.
    n_animals
        A.
    height
        Pixels there are.
    n_shown
        How many classes of each lane (by role) are seen anywhere, and need a row when zoomed out.
    """
    shown = [lane for lane in lanes if lane.visible]
    gate = any(lane.role == GATE_SCORE for lane in shown)
    ticks = next((lane for lane in shown if isinstance(lane, TickLane)), None) if gate else None
    shown = [lane for lane in shown if lane is not ticks]
    bearer = next((lane for lane in shown if lane.role in (GATE_SCORE, LOOKED)), shown[-1] if shown else None)
    span = [_heights(lane, n_shown.get(lane.role, 0)) for lane in shown]
    least, most = sum(low for low, _ in span), sum(high for _, high in span)
    free = height / max(n_animals, 1) - ANIMAL_GAP - GAP * len(shown) - least
    stretch = min(max(free / max(most - least, 1), 0.0), 1.0)
    rows, top = [], ANIMAL_GAP // 2
    for animal in range(n_animals):
        for lane, (low, high) in zip(shown, span, strict=True):
            own = ticks if lane.role == GATE_SCORE else None
            rows.append(Row(lane, animal, top, int(low + stretch * (high - low)), own, lane is bearer))
            top = rows[-1].bottom + GAP
        top += ANIMAL_GAP - GAP
    return rows


def _heights(lane: Lane, n_shown: int) -> tuple[int, int]:
    match lane:
        case ClassLane():
            return max(_CLASSES[0], _PER_CLASS * n_shown), max(_CLASSES[1], 3 * _PER_CLASS * n_shown)
        case ScoreLane():
            return _SCORE
        case TickLane():
            return _TICKS_ALONE, _TICKS_ALONE
