"""From many recordings to a report: what is sent to a worker when, and what is tried again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from distributed import Future, KilledWorker

from napari_lookagain.batch.tasks import Task, is_done
from napari_lookagain.batch.work import Outcome, stop, work
from napari_lookagain.batch.workers import Workers
from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress

SECONDS_BETWEEN_ROUNDS = 0.1
SECONDS_TO_STOP = 10
KILLED = "its worker was killed, most likely because memory ran out; fewer --workers leave more to each."
ENDED = "its worker ended, most likely because memory ran out, or the time of its job; give jobs more."


@dataclass
class Row:
    """How one recording is getting on.

    Parameters
    ----------
    task
        What is done with it.
    state
        "waiting", "running", "done", "skipped" (it was done before) or "failed".
    stage, share
        Of one that is running: what is done now, and how much of that, 0–1.
    tries
        How often it was begun.
    begun, seconds
        When it was last begun, on the clock of `time.monotonic`, and how long that try took.
    reason
        Why it was skipped, failed, or is tried again.
    result, notes
        What came of it, and what a user should know of that.
    """

    task: Task
    state: str = "waiting"
    stage: str = ""
    share: float = 0.0
    tries: int = 0
    begun: float = 0.0
    seconds: float = 0.0
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """The row of a report, in plain values."""
        return {
            "recording": self.task.recording,
            "folder": str(self.task.folder),
            "state": self.state,
            "tries": self.tries,
            "seconds": round(self.seconds, 1),
            "reason": self.reason,
            "notes": list(self.notes),
            "result": self.result,
        }


class Batch:
    """One task for each of many recordings.

    What was done before is left out, so that the same batch goes on where it was cut off. `rows` may be read at any
    time.

    Parameters
    ----------
    tasks
        One for each recording.
    retries
        How often a recording is tried again after an error, or after its worker was killed. Bad input is not tried
        again: it would stay bad.

    Raises
    ------
    InputError
        When a recording is there twice.
    """

    def __init__(self, tasks: Sequence[Task], retries: int = 2) -> None:
        twice = [str(folder) for folder, n in Counter(task.folder.resolve() for task in tasks).items() if n > 1]
        if twice:
            raise InputError(f"{twice[0]} is given twice; give every session once.")
        self.rows = [Row(task) for task in tasks]
        self.retries = retries
        for row in self.rows:
            try:
                if is_done(row.task):
                    row.state, row.reason = "skipped", f"the run {row.task.run!r} is there already"
            except InputError as error:
                row.state, row.reason = "failed", str(error)

    def of(self, *states: str) -> list[Row]:
        """The rows in these states."""
        return [row for row in self.rows if row.state in states]

    def run(self, workers: Workers) -> Generator[Progress, None, list[Row]]:
        """Do what is waiting, one recording on each worker at a time.

        When the generator is closed, the workers stop within a step; what they kept is gone on with by the same batch.

        Returns
        -------
        list of Row
            All, done, skipped or failed.
        """
        topic = f"lookagain-{uuid4().hex}"
        running: dict[Future, Row] = {}
        workers.client.subscribe_topic(topic, self._hear)
        try:
            while self.of("waiting", "running"):
                for future in [future for future in running if future.done()]:
                    self._end(running.pop(future), future, workers)
                waiting = self.of("waiting")
                free = workers.count - len(running) if waiting else 0
                for row in waiting[: max(0, free)]:
                    running[self._begin(row, topic, workers)] = row
                for row in running.values():
                    row.seconds = time.monotonic() - row.begun
                yield Progress(len(self.of("done", "skipped", "failed")), len(self.rows), "recordings")
                time.sleep(SECONDS_BETWEEN_ROUNDS)
        finally:
            if running:
                workers.client.run(stop, topic, on_error="ignore")
                until = time.monotonic() + SECONDS_TO_STOP
                while time.monotonic() < until and not all(future.done() for future in running):
                    time.sleep(SECONDS_BETWEEN_ROUNDS)
            workers.client.unsubscribe_topic(topic)
        return self.rows

    def _begin(self, row: Row, topic: str, workers: Workers) -> Future:
        row.state, row.stage, row.share, row.begun = "running", "", 0.0, time.monotonic()
        row.tries += 1
        number = self.rows.index(row)
        key = f"{topic}-{number}-{row.tries}"
        return workers.client.submit(work, row.task, number, topic, workers.sharing, key=key, pure=False)

    def _end(self, row: Row, future: Future, workers: Workers) -> None:
        row.seconds = time.monotonic() - row.begun
        error = future.exception()
        if isinstance(error, KilledWorker):
            outcome = Outcome("broken", ENDED if workers.sharing is None else KILLED)
        elif error is not None:  # the scheduler lost it, or it could not be sent
            outcome = Outcome("broken", " ".join(f"{type(error).__name__}: {error}".split()))
        else:
            outcome = future.result()
        row.reason, row.result, row.notes = outcome.reason, outcome.result, outcome.notes
        if outcome.state == "done":
            row.state = "done"
        else:
            again = outcome.state == "broken" and row.tries <= self.retries
            row.state = "waiting" if again else "failed"

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        row = self.rows[told["number"]]
        row.stage, row.share = told["stage"], told["done"] / max(1, told["total"])
