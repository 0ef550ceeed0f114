"""Every frame by index is the frame that decoding from the start gives, and nothing else is converted."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from zlib import crc32

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lookagain.errors import InputError
from napari_lookagain.packet_index import keep_index, load_index
from napari_lookagain.video import Video

N = 60
X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
DROPS = ["-vf", r"select=not(mod(n\,7))+not(mod(n\,3))", "-fps_mode", "vfr"]
FIELDS = ["-vf", "scale=160:128"]
COLORS = ["-color_range", "pc", "-colorspace", "smpte240m"]
RECIPES = {  # file name: what to encode it with
    "bframes.mp4": [*X264, "-bf", "3", "-g", "20"],
    "long.mp4": [*X264, "-bf", "3", "-g", "1000"],
    "open_gop.mp4": [*X264, "-bf", "3", "-x264-params", "keyint=15:open-gop=1:b-pyramid=normal:scenecut=0"],
    "open_gop.ts": [*X264, "-bf", "3", "-x264-params", "keyint=15:open-gop=1:scenecut=0"],
    "rolling_refresh.mp4": [*X264, "-x264-params", "keyint=15:intra-refresh=1:bframes=0"],
    "matroska.mkv": [*X264, "-bf", "3", "-g", "20"],
    "bframes.avi": [*X264, "-bf", "3", "-g", "20"],
    "stream.h264": [*X264, "-bf", "3", "-g", "20"],
    "varying.mp4": [*DROPS, *X264, "-bf", "2", "-g", "9"],
    "odd_sides.mp4": ["-s", "97x61", "-c:v", "libx264", "-pix_fmt", "yuv444p", "-g", "20"],
    "ten_bits.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-g", "20"],
    "h265.mp4": ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none:keyint=20:open-gop=1"],
    "mpeg4.mp4": ["-c:v", "mpeg4", "-bf", "2", "-g", "20"],
    "colors.mp4": [*X264, *COLORS, "-bf", "2"],
    "colors_outside.mp4": ["-c:v", "mpeg4", *COLORS, "-movflags", "write_colr"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-bf", "2", "-g", "20"],
    "interlaced.mp4": [*FIELDS, *X264, "-flags", "+ildct+ilme", "-bf", "3", "-g", "15"],
    "slices.ts": [*X264, "-x264-params", "keyint=20:bframes=3:b-pyramid=normal:slices=4"],
    "no_references.mp4": [*X264, "-x264-params", "keyint=1"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-b:v", "60k", "-auto-alt-ref", "1", "-lag-in-frames", "25", "-g", "40"],
    "av1.mp4": ["-c:v", "libsvtav1", "-preset", "10", "-svtav1-params", "lookahead=16:keyint=20"],
    "mpeg2.mpg": ["-c:v", "mpeg2video", "-bf", "2", "-g", "12"],
    "motion_jpeg.avi": ["-c:v", "mjpeg"],
    "hidden_frames.webm": ["-c:v", "libvpx", "-b:v", "60k", "-auto-alt-ref", "1", "-lag-in-frames", "25", "-g", "40"],
    "grey.mkv": ["-c:v", "ffv1", "-pix_fmt", "gray"],
    "rgb.avi": ["-c:v", "rawvideo", "-pix_fmt", "bgr24"],
    "fast_start.mp4": [*X264, "-movflags", "+faststart", "-g", "20"],
}

# Files in which packets lie as decoders take them that need no container.
STORED = [
    name
    for name, recipe in RECIPES.items()
    if name.endswith((".mp4", ".avi", ".h264")) and {"libx264", "libx265", "mpeg4"} & set(recipe)
]


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


@cache
def encoders() -> str:
    told = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-encoders"], capture_output=True, check=True
    )
    return told.stdout.decode()


def sequential(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def make(folder: Path):
    """A small video by the name of its recipe, encoded when it is first asked for."""

    def encode(name: str) -> Path:
        path = folder / name
        if RECIPES[name][RECIPES[name].index("-c:v") + 1] not in encoders():
            pytest.skip(f"this FFmpeg has no encoder for {name}")
        if not path.exists():
            source = f"testsrc2=size=162x122:rate=30:duration={N / 30}"
            ffmpeg("-f", "lavfi", "-i", source, *RECIPES[name], path)
        return path

    return encode


@pytest.fixture(scope="session")
def bframes(make) -> tuple[Path, list[np.ndarray]]:
    path = make("bframes.mp4")
    return path, sequential(path)


def assert_exact(video: Video, truth: list[np.ndarray], indices: list[int]) -> None:
    got = list(video.frames(indices))
    assert [i for i, _ in got] == sorted(set(indices))
    for i, image in got:
        np.testing.assert_array_equal(image, truth[i], err_msg=f"frame {i}")


def demuxed(path: Path, kept: Path) -> Video:
    """A video whose packets come out of its container, as from a file in which they do not lie whole."""
    Video(path, kept).close()
    index = load_index(kept, path)
    assert index is not None
    keep_index(replace(index, place=index.place[:0], size=index.size[:0]), kept, path)
    return Video(path, kept)


@pytest.mark.filterwarnings("ignore:varying.mp4 has a variable frame rate")
@pytest.mark.parametrize("stored", [True, False], ids=["", "out of the container"])
@pytest.mark.parametrize("name", RECIPES)
def test_frames_equal_sequential_decode(make, tmp_path: Path, name: str, stored: bool):
    truth, index = sequential(make(name)), tmp_path / "packets.npz"
    rng = np.random.default_rng(0)
    made = Video if stored else demuxed
    with made(make(name), index) as first, Video(make(name), index) as video:  # the second from the kept index
        kept = load_index(index, make(name))
        assert kept is not None
        assert len(kept.place) == len(kept.size) == (len(kept.frame) if stored and name in STORED else 0)
        assert (first.n_frames, first.fps) == (video.n_frames, video.fps)
        assert video.n_frames == len(truth)
        assert (video.height, video.width, 3) == truth[0].shape
        assert_exact(video, truth, list(range(len(truth))))
        for share in (2, 5, 12):
            assert_exact(video, truth, rng.choice(len(truth), len(truth) // share, replace=False).tolist())
        for i in rng.integers(0, len(truth), 15).tolist():
            np.testing.assert_array_equal(video.frame(i), truth[i], err_msg=f"frame {i}")


ANY_ORDER = ["bframes.mp4", "open_gop.mp4", "open_gop.ts", "interlaced.mp4", "h265.mp4", "mpeg4.mp4", "vp9.webm"]
ASKED = st.lists(st.one_of(st.integers(0, N - 1), st.sets(st.integers(0, N - 1), max_size=8)), max_size=6)


@settings(max_examples=40, deadline=None)
@given(asked=ASKED, name=st.sampled_from(ANY_ORDER), stored=st.booleans())
def test_any_order_of_requests_is_exact(make, truths, asked, name: str, stored: bool):
    if (name, stored) not in truths:
        path = make(name)
        truths[name, stored] = sequential(path), Video(path) if stored else demuxed(path, path.with_suffix(".npz"))
    truth, video = truths[name, stored]
    for request in asked:
        if isinstance(request, int):
            np.testing.assert_array_equal(video.frame(request), truth[request])
        else:
            assert_exact(video, truth, list(request))


@pytest.fixture(scope="session")
def truths() -> dict[tuple[str, bool], tuple[list[np.ndarray], Video]]:
    return {}


@pytest.mark.parametrize("folder_name", ["flies", "mabe", "vame_mouse", "mirror_mouse/videos"])
def test_real_recordings_are_exact(data: Path, folder_name: str):
    (path,) = (data / folder_name).glob("*.mp4")
    with av.open(str(path)) as container:
        lumas = [crc32(frame.to_ndarray()[: frame.height]) for frame in container.decode(video=0)]
    n = len(lumas)
    chosen = np.unique(np.r_[0, 1, n - 2, n - 1, np.arange(0, n, 37), np.random.default_rng(0).integers(0, n, 40)])
    with Video(path) as video:
        assert video.n_frames == n
        assert not video.variable_frame_rate
        assert {i: crc32(luma) for i, luma in video.frames(chosen, grey=True)} == {i: lumas[i] for i in chosen.tolist()}
        assert video.converted == len(chosen)
        assert video.decoded < n
    with av.open(str(path)) as container:
        for i, frame in zip(range(30), container.decode(video=0), strict=False):
            if i in (0, 29):
                np.testing.assert_array_equal(Video(path).frame(i), frame.to_ndarray(format="rgb24"))


def test_only_asked_frames_are_converted_and_only_their_gops_decoded(bframes):
    video = Video(bframes[0])  # keyframes at 0, 20 and 40
    assert (video.decoded, video.converted) == (0, 0)
    list(video.frames([41, 44, 45]))
    assert video.converted == 3
    assert 3 <= video.decoded <= 20
    decoded = video.decoded
    video.frame(20)
    assert video.converted == 4
    assert video.decoded - decoded <= 4, "a keyframe needs itself and what the decoder holds back"


def test_going_forward_never_decodes_a_frame_twice(bframes):
    video = Video(bframes[0])
    for i in range(N):
        video.frame(i)
    assert video.decoded == N


def test_frames_nothing_refers_to_are_not_decoded(make):
    video = Video(make("long.mp4"))
    video.frame(N - 1)
    assert video.decoded < N - 10


def test_grey_is_the_luma_plane(make):
    path = make("bframes.mp4")  # 162 pixels: lines are padded in memory
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:122]
    grey = Video(path).frame(0, grey=True)
    np.testing.assert_array_equal(grey, luma)
    grey[:] = 0
    np.testing.assert_array_equal(Video(path).frame(0, grey=True), luma)


@pytest.mark.parametrize("name", ["bframes.mp4", "long.mp4", "grey.mkv", "rgb.avi", "ten_bits.mp4"])
def test_views_stay_what_they_were_and_cannot_be_written_to(make, name: str):
    with Video(make(name)) as video:
        copies = dict(video.frames(range(0, N, 3), grey=True))
        views = dict(video.frames(range(0, N, 3), grey=True, view=True))
    for i, copy in copies.items():
        np.testing.assert_array_equal(views[i], copy)
    if name in ("bframes.mp4", "long.mp4", "grey.mkv"):
        with pytest.raises(ValueError, match="read-only"):
            views[0][:] = 0


@pytest.mark.parametrize("name", ["grey.mkv", "rgb.avi", "ten_bits.mp4", "motion_jpeg.avi", "odd_sides.mp4"])
def test_grey_of_every_pixel_format_looks_like_the_color_frame(make, name: str):
    video = Video(make(name))
    grey, color = video.frame(7, grey=True), video.frame(7)
    assert grey.shape == (video.height, video.width)
    assert grey.dtype == np.uint8
    assert np.corrcoef(grey.ravel(), (color @ [0.299, 0.587, 0.114]).ravel())[0, 1] > 0.99


def test_variable_frame_rate_is_told_and_warned_of(make):
    with pytest.warns(UserWarning, match="varying.mp4 has a variable frame rate"):
        video = Video(make("varying.mp4"))
    assert video.variable_frame_rate
    assert video.fps == pytest.approx(13, rel=0.05)


@pytest.mark.parametrize("name", ["bframes.mp4", "matroska.mkv", "motion_jpeg.avi", "mpeg2.mpg", "stream.h264"])
def test_constant_frame_rate(make, name: str):
    video = Video(make(name))
    assert video.fps == pytest.approx(30)
    assert not video.variable_frame_rate


def test_edit_list_hides_the_frames_before_the_cut(bframes, tmp_path: Path):
    path, whole = bframes
    ffmpeg("-ss", "0.9", "-i", path, "-c", "copy", tmp_path / "cut.mp4")
    truth = sequential(tmp_path / "cut.mp4")
    video = Video(tmp_path / "cut.mp4")
    assert video.packets.frame.min() == -1, "the cut kept hidden packets, or this test shows nothing"
    assert video.n_frames == len(truth) < len(whole)
    for i in (0, len(truth) - 1, 5):
        np.testing.assert_array_equal(video.frame(i), truth[i])


def test_iterators_and_threads_do_not_disturb_each_other(bframes):
    path, truth = bframes
    video = Video(path)
    for (i, a), (j, b) in zip(video.frames(range(30)), video.frames(range(30, 60)), strict=True):
        np.testing.assert_array_equal(video.frame(45), truth[45])
        np.testing.assert_array_equal(a, truth[i])
        np.testing.assert_array_equal(b, truth[j])

    def work(seed: int) -> int:
        rng = np.random.default_rng(seed)
        asked = [(int(i), rng.integers(0, N, 6).tolist()) for i in rng.integers(0, N, 5)]
        for one, some in asked:
            np.testing.assert_array_equal(video.frame(one), truth[one])
            assert_exact(video, truth, some)
        return sum(1 + len(set(some)) for _, some in asked)

    converted = video.converted
    with ThreadPoolExecutor(4) as pool:
        asked = sum(pool.map(work, range(6)))
    assert video.converted - converted == asked


def test_indices_are_sorted_made_unique_and_checked(bframes):
    path, truth = bframes
    video = Video(path)
    assert_exact(video, truth, [9, 3, 9, 0])
    assert list(video.frames([])) == []
    for wrong in (-1, N):
        with pytest.raises(IndexError, match=f"no frame {wrong}; its frames are 0 to {N - 1}"):
            video.frame(wrong)
        with pytest.raises(IndexError):
            video.frames([0, wrong])  # at the call, not at the first frame
    with pytest.raises(TypeError, match="flatnonzero"):
        video.frames(np.ones(N, bool))


def test_a_closed_video_says_so(bframes):
    with Video(bframes[0]) as video:
        running = video.frames([0, 1])
        next(running)
    for ask in (lambda: video.frame(0), lambda: video.frames([0]), lambda: next(running)):
        with pytest.raises(ValueError, match=r"bframes.mp4 was closed; open it again"):
            ask()
    video.close()


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BAD = {
    "missing": (lambda make, to: to / "missing.mp4", "cannot be opened as a video|cannot be read"),
    "folder": (lambda make, to: to, "cannot be opened as a video"),
    "empty": (lambda make, to: _write(to / "empty.mp4", b""), "is empty"),
    "text": (lambda make, to: _write(to / "notes.mp4", b"not a video\n" * 50), "not a video"),
    "no moov": (lambda make, to: _write(to / "a.mp4", make("bframes.mp4").read_bytes()[:9000]), "cut short"),
    "cut": (lambda make, to: _write(to / "b.mp4", make("fast_start.mp4").read_bytes()[:20000]), "cut short after"),
    "cut avi": (lambda make, to: _write(to / "c.avi", make("rgb.avi").read_bytes()[:200_000]), "cut short after 3 fr"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told_in_one_line(make, tmp_path: Path, case: str):
    build, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        Video(build(make, tmp_path))
    assert "\n" not in str(caught.value)


def test_sound_and_cover_art_are_no_video(make, tmp_path: Path):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", tmp_path / "sound.wav")
    ffmpeg("-i", make("bframes.mp4"), "-frames:v", "1", tmp_path / "cover.png")
    cover = ["-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "png", "-disposition:v", "attached_pic"]
    ffmpeg("-i", tmp_path / "sound.wav", "-i", tmp_path / "cover.png", *cover, tmp_path / "song.m4a")
    for name in ("sound.wav", "song.m4a"):
        with pytest.raises(InputError, match="no video stream"):
            Video(tmp_path / name)


def test_a_video_without_frames(tmp_path: Path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2", "-frames:v", "0", "-c:v", "mjpeg", tmp_path / "none.avi")
    with pytest.raises(InputError, match="without a single frame"):
        Video(tmp_path / "none.avi")


@pytest.mark.parametrize("hole", [slice(0, None), slice(4, None)], ids=["with its length", "without"])
def test_a_damaged_frame_is_named_and_the_others_stay_exact(bframes, tmp_path: Path, hole: slice):
    path, truth = bframes
    with av.open(str(path)) as container:
        packet = [(p.pos, p.size) for p in container.demux(video=0) if p.size][25]
    content = bytearray(path.read_bytes())
    inside = range(*hole.indices(packet[1]))
    content[packet[0] + inside[0] : packet[0] + packet[1]] = bytes(len(inside))
    video = Video(_write(tmp_path / "hole.mp4", bytes(content)))
    with pytest.raises(InputError, match=r"Frame \d+ of .*hole.mp4 is damaged") as caught:
        list(video.frames(range(N)))
    first = int(str(caught.value).split()[1])
    assert 20 < first <= 25
    for i in [*range(first), *range(40, N)]:  # the GOP that is damaged is that of the frames 20 to 39
        np.testing.assert_array_equal(video.frame(i), truth[i])
    for i in range(first, 40):
        with pytest.raises(InputError, match=f"Frame {i} of"):
            video.frame(i)


@pytest.mark.skipif(os.name == "nt", reason="an open file stays as it is on Windows")
@pytest.mark.parametrize(
    "change, told",
    [
        (lambda path, place: os.truncate(path, place + 10), "Frame 41 of .*walk.mp4 is damaged"),
        (lambda path, place: path.unlink(), "walk.mp4 cannot be read .No such file or directory"),
    ],
    ids=["shorter", "gone"],
)
def test_a_file_that_changes_while_it_is_open_is_told(bframes, tmp_path: Path, change, told: str):
    path, truth = bframes
    with Video(_write(tmp_path / "walk.mp4", path.read_bytes())) as video:
        np.testing.assert_array_equal(video.frame(59), truth[59])
        change(video.path, int(video.packets.place[video.packets.keys[2]]))
        with pytest.raises(InputError, match=told):
            video.frame(41)
