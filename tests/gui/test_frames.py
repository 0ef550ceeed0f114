from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_lookagain.gui.layers.frames import LazyFrames
from napari_lookagain.video import Video

FRAME = 240 * 180 * 3  # bytes


@pytest.fixture(scope="module")
def every(simulated) -> np.ndarray:
    with Video(simulated.video) as video:
        return np.stack([frame for _, frame in video.frames(range(video.n_frames))])


@pytest.fixture
def open_frames(simulated):
    opened = []

    def open_with(**options) -> LazyFrames:
        opened.append(LazyFrames(Video(simulated.video), **options))
        return opened[-1]

    yield open_with
    for frames in opened:
        frames.close()


@pytest.mark.parametrize(
    "key",
    [
        5,
        -1,
        np.int64(7),
        (9, slice(2, 8), 3),
        slice(20, 24),
        slice(30, 20, -3),
        (slice(4, 6), ..., 0),
        [7, 3, 3],
        (np.array([250, 1]), slice(None), slice(5)),
        (..., slice(2), 0),
        slice(5, 5),
        (slice(5, 5), 3),
    ],
    ids=str,
)
def test_it_gives_what_an_array_of_all_frames_gives(open_frames, every, key):
    frames = open_frames(n_frames=260)
    np.testing.assert_array_equal(frames[key], every[:260][key])


def test_it_looks_like_an_array(open_frames, every):
    frames = open_frames(n_frames=20)
    assert (frames.shape, frames.ndim, frames.dtype, len(frames)) == ((20, 180, 240, 3), 4, np.uint8, 20)
    assert frames.size == every[:20].size
    np.testing.assert_array_equal(np.asarray(frames), every[:20])
    with pytest.raises(IndexError):
        frames[20]


def test_memory_is_bounded_in_bytes(open_frames):
    frames = open_frames(cache_bytes=10 * FRAME + 5)
    for i in [*range(40), *range(39, 0, -1), 200, 250, 3]:
        frames[i]
        assert frames.nbytes <= 10 * FRAME


def test_a_frame_larger_than_the_room_is_shown_all_the_same(open_frames, every):
    frames = open_frames(cache_bytes=1)
    np.testing.assert_array_equal(frames[3], every[3])
    assert frames.nbytes == FRAME


def test_stepping_back_does_not_start_at_the_keyframe_every_time(simulated, every):
    video = Video(simulated.video)
    frames = LazyFrames(video, cache_bytes=60 * FRAME)
    frames[240]
    before = video.decoded
    for i in range(239, 209, -1):
        np.testing.assert_array_equal(frames[i], every[i])
    assert video.decoded - before <= 240  # from the keyframe, frame 0, once
    frames.close()


def test_stepping_forward_decodes_every_frame_once(simulated):
    video = Video(simulated.video)
    frames = LazyFrames(video)
    for i in range(100):
        frames[i]
    assert video.converted == 100
    frames.close()


def test_nobody_can_spoil_a_frame_for_others(open_frames):
    with pytest.raises(ValueError, match="read-only"):
        open_frames()[3][:] = 0


def test_threads_get_the_frames_they_ask_for(open_frames, every):
    frames = open_frames(cache_bytes=8 * FRAME)
    wanted = np.random.default_rng(0).integers(0, 300, 60)
    with ThreadPoolExecutor(3) as pool:
        for i, frame in zip(wanted, pool.map(lambda i: frames[int(i)], wanted), strict=True):
            np.testing.assert_array_equal(frame, every[i])


def test_napari_decodes_only_what_it_shows(simulated, every):
    video = Video(simulated.video)
    viewer = ViewerModel()
    layer = viewer.add_image(LazyFrames(video), rgb=True, multiscale=False, contrast_limits=(0, 255))
    viewer.dims.set_point(0, 220)
    assert viewer.dims.range[0].stop == 299
    np.testing.assert_array_equal(layer.get_value((220, 30, 40)), every[220, 30, 40])
    assert video.converted <= 5
    layer.data.close()
