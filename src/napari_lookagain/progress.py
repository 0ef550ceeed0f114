"""Long work is a generator that yields `Progress` and returns its result."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of long work has come.

    Parameters
    ----------
    done, total
        Steps finished and steps in this stage.
    stage
        What is being done, in words a user understands.
    metrics
        Numbers worth plotting at this step, such as losses.
    """

    done: int
    total: int
    stage: str
    metrics: dict[str, float] = field(default_factory=dict)


def drain(work: Generator[Progress, None, Result]) -> Result:
    """Run long work to its end without showing progress, and give its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
