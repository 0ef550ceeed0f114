"""What a prediction takes by itself, though in an evaluation others have been there before."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_lookagain.progress import Progress, Result

_READING, _LOOKING = "reading motion", "looking at the video"  # stages of which what was done before is kept


@dataclass
class Clock:
    """Processor time of predictions, by what was done.

    An evaluation reads the motion of a recording once for all budgets, and looks at no frame twice, whichever arm asks
    for it. So the time of a budget is put together from these parts (`seconds_alone`).

    Parameters
    ----------
    motion, looking, rest
        Seconds.
    images
        How many were looked at in that time.
    """

    motion: float = 0.0
    looking: float = 0.0
    rest: float = 0.0
    images: int = 0

    def over(self, work: Generator[Progress, None, Result]) -> Generator[Progress, None, Result]:
        """Run work and add up its time; what is done between its steps does not count."""
        with closing(work):
            while True:
                begun = time.process_time()
                try:
                    step = next(work)
                except StopIteration as end:
                    self.rest += time.process_time() - begun
                    result: Result = end.value
                    return result
                part = {_READING: "motion", _LOOKING: "looking"}.get(step.stage, "rest")
                setattr(self, part, getattr(self, part) + time.process_time() - begun)
                if step.stage == _LOOKING and step.done == step.total:
                    self.images += step.total
                yield step


def seconds_alone(told: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Processor time of the prediction of every trial at every budget, as if nobody had been there before.

    That is all of the motion, the rest of what it did, and what its looks take at the pace at which its arm looked; at
    that of all arms, where others had seen everything for it.

    Parameters
    ----------
    told
        What finished trials told (``told.json``).

    Returns
    -------
    list of list of float
        NaN where the time of looks is not known, since none of them was new.
    """
    every = [(each["arm"], Clock(**own["clock"])) for each in told for own in each["budgets"]]
    anyone = _pace(clock for _, clock in every)
    paces = {arm: _pace(clock for name, clock in every if name == arm) or anyone for arm, _ in every}
    out = []
    for each in told:
        clocks = [Clock(**own["clock"]) for own in each["budgets"]]
        motion = max((clock.motion for clock in clocks), default=0.0)
        seconds = []
        for own, clock in zip(each["budgets"], clocks, strict=True):
            alone = motion + clock.rest + (own["looks"] * (paces[each["arm"]] or np.nan) if own["looks"] else 0.0)
            seconds.append(clock.motion + clock.looking + clock.rest if own["budget"] is None else alone)
        out.append(seconds)
    return out


def _pace(clocks: Iterable[Clock]) -> float | None:
    """Seconds an image; None where none was looked at."""
    own = list(clocks)
    images = sum(clock.images for clock in own)
    return sum(clock.looking for clock in own) / images if images else None
