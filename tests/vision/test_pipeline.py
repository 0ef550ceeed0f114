"""Work ahead of whoever asks for it, and results written many at once."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_lookagain.vision import pipeline
from napari_lookagain.vision.cache import FeatureCache
from napari_lookagain.vision.pipeline import Writer, work_ahead

PATIENCE = 30.0  # seconds that a test waits for what comes at once


class Numbers:
    """Counts on, and remembers how far, in which thread, and that it was closed."""

    def __init__(self, n: int, fails_at: int = -1) -> None:
        self.n, self.fails_at = n, fails_at
        self.made = 0
        self.closed = False
        self.thread = 0
        self.far = threading.Event()

    def __iter__(self) -> Generator[int, None, None]:
        self.thread = threading.get_ident()
        try:
            for i in range(self.n):
                if i == self.fails_at:
                    raise ValueError("damaged")
                self.made += 1
                if self.made == 4:
                    self.far.set()
                yield i
        finally:
            self.closed = True


def no_thread_is_left() -> bool:
    return not any(thread.name == "lookagain-ahead" for thread in threading.enumerate())


def test_items_come_in_order_from_another_thread() -> None:
    numbers = Numbers(100)
    assert [i for i in work_ahead([iter(numbers)]) if i is not None] == list(range(100))
    assert numbers.closed
    assert numbers.thread != threading.get_ident()
    assert no_thread_is_left()


def test_it_works_ahead_but_not_further() -> None:
    numbers = Numbers(100)
    with closing(work_ahead([iter(numbers)], ahead=2)) as ready:
        assert next(i for i in ready if i is not None) == 0
        assert numbers.far.wait(PATIENCE)  # one was taken, two wait, and one waits for room
        assert numbers.made == 4
    assert numbers.closed
    assert no_thread_is_left()


def test_an_error_is_raised_after_the_items_before_it() -> None:
    got: list[int] = []
    with pytest.raises(ValueError, match="damaged"):
        got.extend(i for i in work_ahead([iter(Numbers(100, fails_at=3))]) if i is not None)
    assert got == [0, 1, 2]
    assert no_thread_is_left()


def test_who_waits_is_told_that_nothing_is_ready() -> None:
    go = threading.Event()

    def slow() -> Generator[int, None, None]:
        assert go.wait(PATIENCE)
        yield 7

    ready = work_ahead([slow()], beat=0.001)
    assert next(ready) is None
    go.set()
    assert [i for i in ready if i is not None] == [7]


def test_what_is_left_early_ends_and_is_closed() -> None:
    numbers = Numbers(10**9)
    ready = work_ahead([iter(numbers)], ahead=1)
    assert next(i for i in ready if i is not None) == 0
    with pytest.raises(KeyError):
        ready.throw(KeyError)
    assert numbers.closed
    assert no_thread_is_left()
    list(zip([1], work_ahead([iter(Numbers(10**9))]), strict=False))  # left to the garbage collector
    assert no_thread_is_left()


def test_several_threads_give_all_items_of_all_parts() -> None:
    parts = [Numbers(n) for n in (30, 0, 7, 1, 50)]
    got = [i for i in work_ahead(map(iter, parts), workers=3) if i is not None]
    assert sorted(got) == sorted(i for part in parts for i in range(part.n))
    assert all(part.closed for part in parts if part.n)
    assert no_thread_is_left()
    assert list(work_ahead([], workers=3)) == []


def test_several_threads_work_at_once_and_share_one_bound() -> None:
    made, together = threading.Semaphore(0), threading.Barrier(3)

    def part() -> Generator[int, None, None]:
        together.wait(PATIENCE)  # no thread is here before all are
        for i in range(100):
            made.release()
            yield i

    with closing(work_ahead((part() for _ in range(5)), workers=3, ahead=2)) as ready:
        assert next(i for i in ready if i is not None) == 0
        for _ in range(1 + 2 + 3):  # one was taken, two wait, and each thread holds one
            assert made.acquire(timeout=PATIENCE)
        assert not made.acquire(timeout=0.05)
    assert no_thread_is_left()


def test_an_error_of_one_thread_ends_all() -> None:
    parts = [Numbers(10**9), Numbers(10**9, fails_at=3), Numbers(10**9)]
    with pytest.raises(ValueError, match="damaged"):
        for _ in work_ahead(map(iter, parts), workers=3):
            pass
    assert parts[1].closed
    assert all(part.closed for part in parts if part.made)
    assert no_thread_is_left()


def test_an_error_of_whoever_gives_the_parts_is_raised() -> None:
    numbers = Numbers(5)

    def parts() -> Generator[Generator[int, None, None], None, None]:
        yield iter(numbers)
        raise ValueError("damaged")

    got: list[int] = []
    with pytest.raises(ValueError, match="damaged"):
        got.extend(i for i in work_ahead(parts()) if i is not None)
    assert got == list(range(5))
    assert no_thread_is_left()


@pytest.mark.parametrize("error", [None, KeyError])
def test_results_are_held_back_and_written_at_the_end(tmp_path: Path, error: type[Exception] | None) -> None:
    cache = FeatureCache(tmp_path, "key", (5, 2, 3))
    rows = np.array([[0, 1], [2, 0], [4, 1]])
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    try:
        with Writer(cache) as kept:
            kept.write(rows[:2], values[:2])
            kept.write(rows[2:], values[2:])
            if error is not None:
                raise error
    except KeyError:
        pass
    assert_array_equal(cache.read(rows), values)
    assert len(cache.missing(np.argwhere(np.ones((5, 2))))) == 7


@pytest.mark.parametrize("limit", ["_HELD_BYTES", "_HELD_SECONDS"])
def test_no_more_than_some_results_are_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(pipeline, limit, -1)
    cache = FeatureCache(tmp_path, "key", (5, 2, 3))
    with Writer(cache) as kept:
        for row in np.array([[[0, 1]], [[4, 0]]]):
            kept.write(row, np.ones((1, 3), np.float32))
            assert len(cache.missing(row)) == 0
