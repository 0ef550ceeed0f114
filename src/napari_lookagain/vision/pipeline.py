"""Decoding, encoding and keeping at the same time: work ahead in threads, and results written many at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from queue import Empty, Queue
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import TypeVar

import numpy as np

from napari_lookagain.vision.cache import Features

Item = TypeVar("Item")

_HELD_BYTES = 32 << 20  # of results that are not written yet
_HELD_SECONDS = 1.0  # of work that is lost when the process is killed


def work_ahead(
    parts: Iterable[Generator[Item, None, None]], workers: int = 1, ahead: int = 4, beat: float = 0.1
) -> Generator[Item | None, None, None]:
    """Give what some generators give, which run in threads and are up to so many items ahead.

    Items of one generator keep their order; those of several come as they are made. Close it (`contextlib.closing`) to
    be sure that the threads are gone: each ends at its next item, and closes the generator it runs.

    Parameters
    ----------
    parts
        Each is run by one thread from its first to its last line. The next one is asked for when a thread is free, by
        one thread at a time. An error they raise is raised here, after the items made before it.
    workers, ahead
        Threads, and items made but not yet asked for; beside these, each thread holds one when it has to wait.
    beat
        Seconds after which None is given while no item is ready, so that whoever waits can tell of it.
    """
    ready: Queue[tuple[Item | None, BaseException | None]] = Queue(ahead)
    waiting, turn, stop = iter(parts), Lock(), Event()

    def take() -> Generator[Item, None, None] | None:
        with turn:
            return next(waiting, None)

    def work() -> None:
        error = None
        try:
            while not stop.is_set() and (part := take()) is not None:
                with closing(part):
                    for item in part:
                        ready.put((item, None))
                        if stop.is_set():
                            break
        except BaseException as raised:
            error = raised  # to be raised where the items are asked for
        ready.put((None, error))

    threads = [Thread(target=work, name="lookagain-ahead", daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        while workers:
            try:
                item, error = ready.get(timeout=beat)
            except Empty:
                yield None
                continue
            if error is not None:
                raise error
            if item is None:
                workers -= 1
            else:
                yield item
    finally:
        stop.set()
        while alive := [thread for thread in threads if thread.is_alive()]:  # they may wait for room
            while not ready.empty():
                ready.get()
            alive[0].join(0.01)


class Writer:
    """Results on their way to where they are kept, many at once: it takes longer to reach the disk than to write.

    A context: what is held back is written at its end, also when that is an error or a cancel.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        self._rows: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._since = monotonic()

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Take the features (N, D_v) of rows (N, 2) of frame and animal; errors as in `FeatureCache.write`."""
        self._rows.append(rows)
        self._values.append(values)
        if sum(v.nbytes for v in self._values) > _HELD_BYTES or monotonic() - self._since > _HELD_SECONDS:
            self._flush()

    def _flush(self) -> None:
        rows, values = self._rows, self._values
        self._rows, self._values, self._since = [], [], monotonic()
        if rows:
            self._features.write(np.concatenate(rows), np.concatenate(values))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush()
