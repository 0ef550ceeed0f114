"""Long work in a thread: what it tells arrives as signals, it can be stopped, and no error is lost."""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QCoreApplication, QEventLoop, QObject, Signal

from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress

Work = Callable[[], Generator[Progress, None, Any]]
TELL_EVERY = 0.05  # seconds; training steps may come a thousand times faster than a screen can show
_PARTS = 1000  # of the bar that napari shows


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: one sentence for the panel, and all that there is to know for the copy button."""

    sentence: str
    details: str


def at_once(call: Callable[[], Any]) -> Work:
    """Make a job of a function that tells nothing before it is done."""

    def work() -> Generator[Progress, None, Any]:
        yield from ()
        return call()

    return work


class Job(QObject):
    """One piece of work: a generator of `Progress`, run in one of napari's threads.

    The generator is closed in that thread at its next yield after `stop`, so that it cleans up after itself, and what
    it keeps on disk can be resumed.

    Parameters
    ----------
    title
        What is done, in a user's words.
    work
        Gives the generator; called in the thread, so that it may import what takes long.
    alone
        Whether no other such job may run beside it, as both would want the whole machine.
    """

    told = Signal(object)
    """What was told since last time, a list of `Progress`."""
    noted = Signal(str)
    """A warning that a user should read."""
    returned = Signal(object)
    failed = Signal(object)
    """A `Failure`."""
    stopped = Signal()
    ended = Signal()
    """The last signal, whether the job returned, failed or was stopped."""

    def __init__(self, title: str, work: Work, *, alone: bool = False) -> None:
        super().__init__()
        self.title, self.alone = title, alone
        self._work = work
        self._stop = threading.Event()
        self._outcome: tuple[Any, ...] = (self.stopped,)

    def start(self) -> None:
        """Begin; signals arrive in the thread that called."""
        worker = create_worker(self._steps)
        worker.warned.connect(self._note)
        worker.yielded.connect(self.told)
        worker.finished.connect(self._end)
        worker.start()

    def stop(self) -> None:
        """Ask the work to end at its next yield."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def _steps(self) -> Generator[list[Progress]]:
        """Runs in the thread; an error becomes data, for one that leaves a worker is raised anew inside napari."""
        work: Generator[Progress, None, Any] | None = None
        waiting: list[Progress] = []
        told_at = time.monotonic()
        try:
            while not self.stopping:
                work = work or self._work()
                try:
                    waiting.append(next(work))
                except StopIteration as end:
                    self._outcome = (self.returned, end.value)
                    break
                if time.monotonic() - told_at > TELL_EVERY:
                    yield waiting
                    waiting, told_at = [], time.monotonic()
            if work is not None:
                work.close()
        except Exception as error:
            self._outcome = (self.failed, failure(error))
        if waiting:
            yield waiting

    def _note(self, warning: tuple[Any, ...]) -> None:
        message, category, filename = warning[:3]
        if issubclass(category, UserWarning) and "napari_lookagain" in filename:
            self.noted.emit(str(message))

    def _end(self) -> None:
        signal, *result = self._outcome
        signal.emit(*result)
        self.ended.emit()


class Jobs(QObject):
    """The jobs that run for one dock; long ones are shown in napari's own activity panel, too."""

    changed = Signal()
    """A job that wants the machine for itself has begun or ended: `busy` is another."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.running: list[Job] = []

    @property
    def busy(self) -> str:
        """Title of the job that wants the machine for itself; empty when there is none."""
        return next((job.title for job in self.running if job.alone), "")

    def start(self, job: Job) -> None:
        """Run a job until it ends."""
        job.setParent(self)
        self.running.append(job)
        if job.alone:
            bar = progress(total=_PARTS, desc=job.title)
            job.told.connect(lambda told: bar.update(round(_PARTS * told[-1].done / max(told[-1].total, 1)) - bar.n))
            job.ended.connect(bar.close)
        job.ended.connect(lambda: self._forget(job))
        job.start()
        if job.alone:
            self.changed.emit()

    def stop(self, seconds: float = 60.0) -> bool:
        """Stop all jobs and wait until they have left their threads; False when one has not after so many seconds."""
        for job in self.running:
            job.stop()
        give_up = time.monotonic() + seconds
        while self.running and time.monotonic() < give_up:
            QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
            time.sleep(0.005)
        return not self.running

    def _forget(self, job: Job) -> None:
        self.running.remove(job)
        job.deleteLater()
        if job.alone:
            self.changed.emit()


def failure(error: Exception) -> Failure:
    """Put an error into a sentence; one that is no fault of the user's says so."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, InputError):
        sentence = re.sub(r" \(--[^)]*\)", "", str(error))  # what to type on the command line
    elif isinstance(error, OSError) and error.strerror:
        sentence = f"{error.filename2 or error.filename or 'A file'}: {error.strerror}."
    else:
        what = " ".join(str(error).split())
        sentence = f"This should not have happened ({type(error).__name__}: {what}). Please send us the details."
    return Failure(sentence, f"{sentence}\n\n{details}")
