"""What runs in a worker: one task from beginning to end, told of as it goes, and stopped within a step."""

from __future__ import annotations

import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from distributed import get_worker

from napari_lookagain.batch.tasks import Task, carry_out
from napari_lookagain.errors import InputError

SECONDS_BETWEEN_NEWS = 0.3

_stopped: set[str] = set()  # topics of batches that are no longer wanted


@dataclass(frozen=True)
class Outcome:
    """What became of one task.

    Parameters
    ----------
    state
        "refused" for bad input, which another try would not mend; "broken" for any other error; "stopped" when the
        batch was.
    reason
        Why it was not done, in one line.
    result
        What came of it.
    notes
        Warnings that a user is meant to read.
    """

    state: Literal["done", "refused", "broken", "stopped"]
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def work(task: Task, number: int, topic: str, sharing: int | None) -> Outcome:
    """Carry out a task in a worker.

    Parameters
    ----------
    task
        What is to be done.
    number
        Of the recording in its batch.
    topic
        Under which its progress is told to who started the batch.
    sharing
        Workers that share the cores of this machine; None takes as many threads as the worker was given.
    """
    _take_threads(sharing)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module="napari_lookagain")
        try:
            outcome = _go_through(task, number, topic)
        except InputError as error:
            outcome = Outcome("refused", " ".join(str(error).split()))
        except Exception as error:
            outcome = Outcome("broken", _in_one_line(error))
    return Outcome(outcome.state, outcome.reason, outcome.result, tuple(str(each.message) for each in caught))


def stop(topic: str) -> None:
    """Let the tasks of a batch in this worker end at their next step."""
    _stopped.add(topic)


def _go_through(task: Task, number: int, topic: str) -> Outcome:
    steps, told, stage = carry_out(task), 0.0, ""
    while topic not in _stopped:
        try:
            step = next(steps)
        except StopIteration as end:
            return Outcome("done", result=end.value)
        if step.stage != stage or time.monotonic() - told > SECONDS_BETWEEN_NEWS:
            told, stage = time.monotonic(), step.stage
            news = {"number": number, "stage": stage, "done": int(step.done), "total": int(step.total)}
            get_worker().log_event(topic, news)
    steps.close()
    return Outcome("stopped")


def _take_threads(sharing: int | None) -> None:
    """Set how many threads torch takes in this thread, for that is how it counts them."""
    import torch

    from napari_lookagain.device import share_cores

    if sharing is None:
        torch.set_num_threads(get_worker().state.nthreads)
    else:
        share_cores(sharing)


def _in_one_line(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(last.filename).name}, line {last.lineno})"
