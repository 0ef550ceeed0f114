"""Decoding, encoding and keeping at the same time: work ahead in a thread, and results written many at once."""

from __future__ import annotations

from collections.abc import Generator
from queue import Empty, Queue
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import TypeVar

import numpy as np

from napari_lookagain.vision.cache import Features

Item = TypeVar("Item")

_HELD_BYTES = 32 << 20  # of results that are not written yet
_HELD_SECONDS = 1.0  # of work that is lost when the process is killed


def work_ahead(
    items: Generator[Item, None, None], ahead: int = 4, beat: float = 0.1
) -> Generator[Item | None, None, None]:
    """Give what a generator gives, which runs in a thread of its own and is up to so many items ahead.

    Close it (`contextlib.closing`) to be sure that the thread is gone: it ends at its next item, and closes `items`.

    Parameters
    ----------
    items
        Run in the thread from its first to its last line. An error it raises is raised here, after the items before.
    ahead
        Items made but not yet asked for; the thread waits when there are so many.
    beat
        Seconds after which None is given while no item is ready, so that whoever waits can tell of it.
    """
    ready: Queue[tuple[Item | None, BaseException | None]] = Queue(ahead)
    stop = Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                ready.put((item, None))
                if stop.is_set():
                    break
        except BaseException as raised:  # it is raised where the items are asked for
            error = raised
        try:
            items.close()
        except BaseException as raised:
            error = error or raised
        ready.put((None, error))

    thread = Thread(target=work, name="lookagain-ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = ready.get(timeout=beat)
            except Empty:
                yield None
                continue
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        while thread.is_alive():  # it may wait for room
            while not ready.empty():
                ready.get()
            thread.join(0.01)


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
