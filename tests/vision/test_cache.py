"""The feature cache under everything that can go wrong with a disk and a process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_lookagain.errors import InputError
from napari_lookagain.vision import cache as cache_module
from napari_lookagain.vision.cache import FeatureCache, FeatureMemory

T, A, D = 400, 3, 32
EVERY = np.argwhere(np.ones((T, A)))

# What a writing process runs: values that can be told from the row alone, in a shuffled order, batch by batch.
WRITER = """
import sys
import numpy as np
from napari_lookagain.vision.cache import FeatureCache
folder, frames, first, step = sys.argv[1], *map(int, sys.argv[2:])
rows = np.argwhere(np.ones((frames, {A})))[first::step]
np.random.default_rng(0).shuffle(rows)
print("ready", flush=True)
sys.stdin.readline()
cache = FeatureCache(folder, "key", (frames, {A}, {D}))
for start in range(0, len(rows), 7):
    some = rows[start : start + 7]
    cache.write(some, (some % 400 @ (7, 300))[:, None] + np.arange({D}))
    if start % 70 == 0:
        print(start, flush=True)
""".replace("{A}", str(A)).replace("{D}", str(D))


def values(rows: np.ndarray) -> np.ndarray:
    """The features the writers write; exact in half precision."""
    return ((rows % 400 @ (7, 300))[:, None] + np.arange(D)).astype(np.float16).astype(np.float32)


def start_writer(folder: Path, frames: int = T, first: int = 0, step: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(frames), str(first), str(step)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_rows_come_back_in_any_order_and_the_others_are_missing(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    rows = np.array([[3, 1], [399, 2], [0, 0]])
    assert_array_equal(cache.missing(rows), [[0, 0], [3, 1], [399, 2]])
    cache.write(rows, values(rows))
    assert_array_equal(cache.missing(np.concatenate([rows, [[3, 2], [2, 1], [2, 1]]])), [[2, 1], [3, 2]])
    again = FeatureCache(tmp_path, "key", (T, A, D))
    for opened in (cache, again):
        features = opened.read(rows[[2, 0, 1, 0]])
        assert features.dtype == np.float32
        assert_array_equal(features, values(rows[[2, 0, 1, 0]]))
        assert opened.missing(rows).shape == (0, 2)
        assert opened.read(rows[:0]).shape == (0, D)
        with pytest.raises(InputError, match="1 features were asked for before .* the first of frame 2 "):
            opened.read(np.array([[3, 1], [2, 1]]))
    with pytest.raises(ValueError):
        cache.write(np.array([[T, 0]]), np.zeros((1, D)))


def test_the_files_are_plain_npy_arrays(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "pca: turned/4.0×48", (T, A, D), dtype="float32")
    cache.write(EVERY[:5], np.full((5, D), 1 / 3))
    assert cache.folder.parent == tmp_path
    assert cache.folder.name.startswith("pca-turned-4-0-48-")
    stored = np.load(cache.folder / "values.npy", allow_pickle=False)
    done = np.load(cache.folder / "done.npy", allow_pickle=False)
    assert (stored.shape, stored.dtype, done.shape, done.dtype) == ((T, A, D), np.float32, (T, A), np.uint8)
    assert_array_equal(np.argwhere(done), EVERY[:5])
    assert_array_equal(stored[0, 0], np.float32(1 / 3))


def test_another_key_shape_or_precision_is_another_cache(tmp_path: Path) -> None:
    same_letters = FeatureCache(tmp_path, "a/b", (T, A, D)).folder, FeatureCache(tmp_path, "a:b", (T, A, D)).folder
    others = FeatureCache(tmp_path, "a/b", (T, A, 8)).folder, FeatureCache(tmp_path, "a/b", (T, A, D), "float32").folder
    assert len({*same_letters, *others}) == 4
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (*same_letters, *others)}


def test_one_row_serves_every_animal_when_frames_are_whole(tmp_path: Path) -> None:
    for features in (FeatureCache(tmp_path, "key", (T, 1, D)), FeatureMemory((T, 1, D), EVERY)):
        assert_array_equal(features.missing(np.array([[5, 0], [5, 2], [4, 1]])), [[4, 0], [5, 0]])
        features.write(np.array([[5, 0]]), values(np.array([[5, 0]])))
        assert_array_equal(features.read(np.array([[5, 2], [5, 1]])), values(np.array([[5, 0], [5, 0]])))


def test_memory_keeps_the_rows_it_is_made_for() -> None:
    rows = np.array([[3, 1], [399, 2], [0, 0]])
    memory = FeatureMemory((T, A, D), rows)
    memory.write(rows[:2], values(rows[:2]))
    assert_array_equal(memory.missing(EVERY[:20])[:2], [[0, 0], [0, 1]])
    assert_array_equal(memory.missing(rows), [[0, 0]])
    assert_array_equal(memory.read(rows[[1, 0]]), values(rows[[1, 0]]))
    with pytest.raises(InputError, match="1 features were asked for"):
        memory.read(rows)


def test_memory_touches_only_the_rows_it_is_asked_for() -> None:
    many = np.argwhere(np.ones((100_000, 2)))
    memory = FeatureMemory((100_000, 2, 1), many)
    memory.write(many, np.ones((len(many), 1)))
    tracemalloc.start()
    assert len(memory.missing(many[:5])) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000, "reading window by window would be quadratic in their number"


def test_space_is_taken_only_for_what_is_written(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key", (100_000, 1, 512))
    cache.write(EVERY[:3], np.ones((3, 512)))
    stat = (cache.folder / "values.npy").stat()
    assert stat.st_size > 100_000_000
    if hasattr(stat, "st_blocks"):
        assert stat.st_blocks * 512 < 1_000_000
        assert (cache.folder / "done.npy").stat().st_blocks * 512 >= 100_000  # a map of holes could not be read safely


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("after", [1, 8])
def test_killed_half_way_every_row_marked_done_is_right(tmp_path: Path, after: int) -> None:
    frames = 40_000  # so many that the writer is far from its end when it is killed
    every = np.argwhere(np.ones((frames, A)))
    process = start_writer(tmp_path, frames)
    go(process)
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    cache = FeatureCache(tmp_path, "key", (frames, A, D))
    there = every[cache._done == 1]
    assert 70 * (after - 1) < len(there) < len(every)
    assert len(cache.missing(every)) == len(every) - len(there)
    assert_array_equal(cache.read(there), values(there))


def test_killed_between_values_and_marks_the_rows_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    put = cache_module._put

    def killed(path: Path, *rest: object) -> None:
        if path.name == "done.npy":
            raise KeyboardInterrupt
        put(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_module, "_put", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.write(EVERY[:4], values(EVERY[:4]))
    assert_array_equal(cache.missing(EVERY[:4]), EVERY[:4])


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, T, first, step) for first, step in ((0, 2), (1, 2), (0, 3))]
    for writer in writers:
        go(writer)
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    assert len(cache.missing(EVERY)) == 0
    assert_array_equal(cache.read(EVERY), values(EVERY))
    assert list(tmp_path.iterdir()) == [cache.folder]


def test_two_processes_that_create_at_once_end_with_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other: list[FeatureCache] = []

    def slow_mkdir(path: Path, parents: bool) -> None:
        """While this process makes its arrays, another finishes."""
        monkeypatch.undo()
        other.append(FeatureCache(tmp_path, "key", (T, A, D)))
        other[0].write(EVERY[:2], values(EVERY[:2]))
        path.mkdir(parents=parents)

    monkeypatch.setattr(Path, "mkdir", slow_mkdir)
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    assert_array_equal(cache.read(EVERY[:2]), values(EVERY[:2]))
    cache.write(EVERY[2:4], values(EVERY[2:4]))
    assert_array_equal(other[0].read(EVERY[:4]), values(EVERY[:4]))
    assert list(tmp_path.iterdir()) == [cache.folder]


def damage(name: str, cut: int | None = None, array: np.ndarray | None = None):
    def do(folder: Path) -> None:
        path = folder / name
        if array is not None:
            np.save(path, array, allow_pickle=True)
        elif cut is None:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:cut])

    return do


@pytest.mark.parametrize(
    "harm",
    [
        damage("values.npy"),
        damage("done.npy"),
        damage("values.npy", cut=0),
        damage("values.npy", cut=50),
        damage("values.npy", cut=-1),
        damage("done.npy", cut=-1),
        damage("values.npy", array=np.zeros((T, A, D + 1), np.float16)),
        damage("values.npy", array=np.zeros((T, A, D), np.float32)),
        damage("values.npy", array=np.zeros((D, A, T), np.float16).T),
        damage("done.npy", array=np.ones((T, A), np.float64)),
        damage("done.npy", array=np.full((T, A), None)),
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, harm) -> None:
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    cache.write(EVERY, values(EVERY))
    folder = cache.folder
    del cache
    harm(folder)
    again = FeatureCache(tmp_path, "key", (T, A, D))
    assert_array_equal(again.missing(EVERY), EVERY)
    again.write(EVERY[:9], values(EVERY[:9]))
    assert_array_equal(FeatureCache(tmp_path, "key", (T, A, D)).read(EVERY[:9]), values(EVERY[:9]))
    assert list(tmp_path.iterdir()) == [folder]
    assert {path.name for path in folder.iterdir()} == {"values.npy", "done.npy"}


def test_features_that_are_no_finite_numbers_are_refused(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    for wrong in (np.nan, np.inf, 1e6):
        with pytest.raises(InputError, match="not finite float16 numbers"):
            cache.write(EVERY[:1], np.full((1, D), wrong))
    assert_array_equal(cache.missing(EVERY), EVERY)


def test_a_disk_too_small_for_what_is_to_come_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    cache.reserve(1000)
    with pytest.raises(InputError, match=r"1000000000000 features need 6.4e\+04 GB in .* where .* GB are free"):
        cache.reserve(10**12)


def test_a_disk_that_fills_up_is_told_and_what_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path, "key", (T, A, D))
    cache.write(EVERY[:5], values(EVERY[:5]))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"The disk is full: 10 features need 6.4e-07 GB"):
        cache.write(EVERY[5:15], values(EVERY[5:15]))
    monkeypatch.undo()
    assert_array_equal(cache.missing(EVERY), EVERY[5:])
    assert_array_equal(cache.read(EVERY[:5]), values(EVERY[:5]))


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_files_as_large_as_the_system_allows_and_no_larger(tmp_path: Path) -> None:
    import resource

    script = (
        "import sys, resource\n"
        "from napari_lookagain.vision.cache import FeatureCache\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({T * A * D}, {T * A * D}))\n"
        f"FeatureCache(sys.argv[1], 'key', ({T}, {A}, {D}))\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert "InputError: The disk is full: 1200 features need 7.68e-05 GB" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Features cannot be kept in .*; choose a folder you may write to"):
        FeatureCache(tmp_path / "file", "key", (T, A, D))
