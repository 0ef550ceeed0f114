"""Looking decodes what is missing, and nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import get_args

import av
import imageio_ffmpeg
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.session import Session, new_session
from napari_lookagain.sources import PoseSource, read_video_source
from napari_lookagain.video import Video
from napari_lookagain.vision import look as look_module
from napari_lookagain.vision.cache import FeatureCache
from napari_lookagain.vision.crops import CropKind, Crops
from napari_lookagain.vision.encoder import What
from napari_lookagain.vision.look import look, open_features
from napari_lookagain.vision.on_the_fly import OnTheFly
from napari_lookagain.vision.pca import PCAEncoder

T, W, H = 60, 128, 64
PLACES = np.array([[31.5, 31.5], [95.5, 31.5]])  # of two animals that stand still, in the middle of half a frame each


def brightness(rows: np.ndarray) -> np.ndarray:
    """What the video shows: it grows brighter around the first animal and darker around the second."""
    frames, animals = rows.T
    return np.where(animals == 0, 40 + 3 * frames, 230 - 3 * frames)


def write(path: Path, *parameters: str) -> Path:
    writer = imageio_ffmpeg.write_frames(str(path), (W, H), pix_fmt_in="gray", fps=25, output_params=list(parameters))
    writer.send(None)
    for i in range(T):
        levels = brightness(np.array([[i, 0], [i, 1]]))
        writer.send(np.repeat(np.repeat(levels, W // 2)[None], H, axis=0).astype(np.uint8).tobytes())
    writer.close()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("video") / "video.mp4", "-g", "20")


class Recording(Session):
    """A session that remembers the videos it opened."""

    opened: list[Video]

    def open_video(self) -> Video:
        self.opened = [*getattr(self, "opened", []), super().open_video()]
        return self.opened[-1]

    @property
    def converted(self) -> list[int]:
        return [video.converted for video in getattr(self, "opened", [])]


@pytest.fixture
def session(video: Path) -> Recording:
    return recording_of(video)


def recording_of(video: Path) -> Recording:
    keypoints = np.tile(PLACES[None, :, None] + np.array([[-8, 0], [8, 0]]), (T, 1, 1, 1)).astype(np.float32)
    return Recording(
        recording="video",
        keypoints=keypoints,
        confidence=np.ones(keypoints.shape[:3], np.float32),
        animals=("a", "b"),
        keypoint_names=("tail", "nose"),
        fps=25.0,
        heading=("tail", "nose"),
        pose=PoseSource("pose.csv", "test", "0"),
        video=read_video_source(video),
        annotations=Annotations(T, ("a", "b")),
    )


class Brightness:
    """An encoder that gives the mean of an image's left and right half, and counts what it is given.

    It has two "patches": these two means, and how dark both halves are.
    """

    kind, name, fingerprint, width, n_patches, size = "pca", "brightness", "0", 2, 2, 16

    def __init__(self, grey: bool = False) -> None:
        self.grey = grey
        self.device = "cpu"
        self.batches: list[int] = []

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        assert images.shape[1:] == ((16, 16) if self.grey else (16, 16, 3))
        self.batches.append(len(images))
        halves = images.reshape(len(images), 16, 2, -1).astype(np.float32)
        means = halves.mean(axis=(1, 3))
        return np.stack([means, 255 - means], axis=1) if what == "patches" else means

    def save(self, folder: Path) -> None:
        """Nothing to write."""


def some_looks(seed: int = 0, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((T, 2)) < share


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("cached", [False, True])
def test_every_look_gives_the_feature_of_its_frame_and_animal(
    session: Recording, tmp_path: Path, batch: int, cached: bool
) -> None:
    looked, encoder, crops = some_looks(), Brightness(), Crops(session, size=16)
    cache = FeatureCache(tmp_path, "key", (T, 2, 2), "float32") if cached else None
    features = drain(look(session, encoder, crops, looked, cache, batch=batch))
    rows = np.argwhere(looked)
    assert_allclose(features.read(rows), np.repeat(brightness(rows)[:, None], 2, axis=1), atol=1.2)
    assert sum(encoder.batches) == len(rows)
    assert set(encoder.batches[:-1]) <= {batch}
    assert encoder.batches[-1] <= batch
    assert session.converted == [looked.any(1).sum()]
    assert len(features.missing(np.argwhere(~looked))) == (~looked).sum()


def test_grey_encoders_get_grey_images(session: Recording) -> None:
    looked = some_looks()
    features = drain(look(session, Brightness(grey=True), Crops(session, size=16), looked))
    stored = 16 + brightness(np.argwhere(looked)) * 219 / 255  # the luma of limited-range video
    assert_allclose(features.read(np.argwhere(looked))[:, 0], stored, atol=1.2)


def test_what_is_kept_nowhere_is_read_in_any_order(session: Recording) -> None:
    rng, threads = np.random.default_rng(0), threading.active_count()
    features = OnTheFly(session, Brightness(), Crops(session, size=16), "mean")
    for n in (150, 1, 0):  # more than are encoded at once, and some of them twice
        rows = np.stack([rng.integers(0, T, n), rng.integers(0, 2, n)], axis=1)
        assert_allclose(features.read(rows), np.repeat(brightness(rows)[:, None], 2, axis=1), atol=1.2)
    assert len(session.opened) == 1
    assert threading.active_count() == threads


def test_no_video_is_opened_when_nothing_is_missing(session: Recording, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key", (T, 2, 2))
    assert list(look(session, Brightness(), Crops(session, size=16), np.zeros((T, 2), bool), cache)) == []
    drain(look(session, Brightness(), Crops(session, size=16), np.zeros((T, 2), bool)))
    assert session.converted == []
    looked = some_looks()
    drain(look(session, Brightness(), Crops(session, size=16), looked, cache))
    fewer = looked & some_looks(seed=1, share=0.5)
    assert fewer.any()
    drain(look(session, Brightness(), Crops(session, size=16), fewer, cache))
    assert len(session.opened) == 1


def test_a_larger_budget_repeats_no_look(session: Recording, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key", (T, 2, 2), "float32")
    first, more = some_looks(), some_looks() | some_looks(seed=1)
    drain(look(session, Brightness(), Crops(session, size=16), first, cache))
    encoder = Brightness()
    drain(look(session, encoder, Crops(session, size=16), more, cache))
    assert sum(encoder.batches) == (more & ~first).sum()
    assert session.converted[1] == (more & ~first).any(1).sum()
    rows = np.argwhere(more)
    assert_allclose(cache.read(rows)[:, 0], brightness(rows), atol=1.2)


@pytest.mark.parametrize("decoders", [1, 3])
def test_a_run_that_is_cancelled_resumes(session: Recording, tmp_path: Path, decoders: int) -> None:
    looked, whole = np.ones((T, 2), bool), FeatureCache(tmp_path, "whole", (T, 2, 2))
    drain(look(session, Brightness(), Crops(session, size=16), looked, whole))
    cache = FeatureCache(tmp_path, "key", (T, 2, 2))
    threads = threading.active_count()
    run = look(session, Brightness(), Crops(session, size=16), looked, cache, batch=6, decoders=decoders)
    progress = next(progress for progress in run if progress.done >= 36)
    run.close()
    assert threading.active_count() == threads
    with pytest.raises(ValueError):
        session.opened[-1].frame(0)  # it was closed
    encoder = Brightness()
    drain(look(session, encoder, Crops(session, size=16), looked, FeatureCache(tmp_path, "key", (T, 2, 2))))
    assert sum(encoder.batches) == looked.sum() - progress.done
    rows = np.argwhere(looked)
    assert_array_equal(cache.read(rows), whole.read(rows))


def test_an_error_ends_the_decoding_and_keeps_what_was_encoded(session: Recording, tmp_path: Path) -> None:
    class Failing(Brightness):
        def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
            if len(self.batches) == 3:
                raise MemoryError
            return super().encode(images, what)

    threads = threading.active_count()
    cache = FeatureCache(tmp_path, "key", (T, 2, 2))
    with pytest.raises(MemoryError):
        drain(look(session, Failing(), Crops(session, size=16), np.ones((T, 2), bool), cache, batch=6))
    assert threading.active_count() == threads
    assert len(cache.missing(np.argwhere(np.ones((T, 2))))) == 2 * T - 18
    with pytest.raises(ValueError):
        session.opened[-1].frame(0)  # it was closed


class Together(Crops):
    """Crops of which nothing is cut before so many threads want to cut."""

    def __init__(self, session: Session, threads: int) -> None:
        super().__init__(session, size=16)
        self.threads: set[int] = set()
        self._barrier = threading.Barrier(threads)

    def cut(self, frame: np.ndarray, index: int, animal: int) -> np.ndarray:
        if threading.get_ident() not in self.threads:
            self.threads.add(threading.get_ident())
            self._barrier.wait(30)
        return super().cut(frame, index, animal)


class Company(Brightness):
    """An encoder by whose features one can tell what was encoded together."""

    def encode(self, images: np.ndarray, what: What = "mean") -> np.ndarray:
        return (means := super().encode(images, what)) + means.sum(0)


GOPS = {
    "closed": ["-g", "6", "-bf", "2"],
    "open": ["-bf", "3", "-x264-params", "keyint=6:open-gop=1:b-adapt=0:scenecut=0"],
    "one": ["-g", "1000", "-sc_threshold", "0"],
}


@pytest.mark.parametrize("gops", GOPS)
def test_any_number_of_decoders_sees_the_same(tmp_path: Path, gops: str) -> None:
    video, looked, seen = write(tmp_path / "video.mp4", *GOPS[gops]), some_looks(share=0.8), []
    for decoders in (1, 2, 3):
        session, busy = recording_of(video), 1 if gops == "one" else decoders
        crops = Together(session, busy)
        features = drain(look(session, Company(), crops, looked, batch=2, decoders=decoders))
        seen.append(features.read(np.argwhere(looked)))
        assert len(crops.threads) == busy
        assert session.converted == [looked.any(1).sum()]
        assert gops == "open" or session.opened[0].decoded <= T  # nothing twice
    assert_array_equal(seen[1:], seen[:1] * 2)


def test_an_encoder_on_a_gpu_is_given_more_decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask.system.cpu_count", lambda: 4)
    session, encoder = recording_of(write(tmp_path / "video.mp4", *GOPS["closed"])), Brightness()
    for device, threads in {"cpu": 1, "mps:0": 3}.items():
        encoder.device = device
        crops = Together(session, threads)
        drain(look(session, encoder, crops, np.ones((T, 2), bool), batch=1))
        assert len(crops.threads) == threads


@pytest.mark.parametrize("decoders", [1, 3])
def test_a_damaged_stretch_is_named_and_what_was_seen_is_kept(tmp_path: Path, decoders: int) -> None:
    video = write(tmp_path / "video.mp4", "-g", "20", "-sc_threshold", "0")
    with av.open(str(video)) as container:
        position, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][25]
    content = video.read_bytes()  # the hole is in the second group of pictures, of the frames 20 to 39
    (tmp_path / "hole.mp4").write_bytes(content[:position] + bytes(size) + content[position + size :])
    session, looked = recording_of(tmp_path / "hole.mp4"), np.ones((T, 2), bool)
    cache, running = FeatureCache(tmp_path, "key", (T, 2, 2), "float32"), threading.active_count()
    with pytest.raises(InputError, match=r"Frame \d+ of .*hole.mp4 is damaged") as caught:
        drain(look(session, Brightness(), Crops(session, size=16), looked, cache, batch=2, decoders=decoders))
    assert threading.active_count() == running
    looked[tuple(cache.missing(np.argwhere(looked)).T)] = False
    first = int(str(caught.value).split()[1])
    assert 20 < first < 40
    assert not looked[first:40].any()
    assert decoders > 1 or looked[:first].all()
    rows = np.argwhere(looked)
    assert_allclose(cache.read(rows)[:, 0], brightness(rows), atol=1.2)


def test_an_error_of_the_video_reaches_the_caller(session: Recording) -> None:
    assert session.video is not None
    session.video = replace(session.video, fingerprint="1")
    with pytest.raises(InputError, match="is not the video this session was made with"):
        drain(look(session, Brightness(), Crops(session, size=16), some_looks()))


def test_whole_frames_are_encoded_once_for_all_animals(session: Recording, tmp_path: Path) -> None:
    looked = some_looks()
    session.save(tmp_path / "video.lookagain")
    for cache in (None, open_features(session, Brightness(), Crops(session, "frame", size=16))):
        encoder = Brightness()
        features = drain(look(session, encoder, Crops(session, "frame", size=16), looked, cache))
        assert sum(encoder.batches) == looked.any(1).sum()
        rows = np.argwhere(looked)
        frames = rows[:, :1]
        expected = brightness(np.stack([np.repeat(frames, 2, 1), np.tile([0, 1], (len(frames), 1))], 2).reshape(-1, 2))
        assert_allclose(features.read(rows), expected.reshape(-1, 2), atol=1.2)


@pytest.mark.parametrize("saved", [False, True])
def test_patches_are_read_back_flat_and_kept_apart_from_their_means(
    session: Recording, tmp_path: Path, saved: bool
) -> None:
    looked, crops = some_looks(), Crops(session, size=16)
    if saved:
        session.save(tmp_path / "video.lookagain")
    rows = np.argwhere(looked)
    light = np.repeat(brightness(rows)[:, None], 2, axis=1)
    expected = {"mean": light, "patches": np.concatenate([light, 255 - light], axis=1)}
    encoder = Brightness()
    kinds: tuple[What, ...] = ("mean", "patches")
    for what in kinds * 2:
        features = drain(look(session, encoder, crops, looked, open_features(session, encoder, crops, what), what))
        assert_allclose(features.read(rows), expected[what], atol=1.3)
    assert sum(encoder.batches) == len(rows) * (2 if saved else 4)  # the second round reads what the first one kept
    if saved:
        caches = [open_features(session, encoder, crops, what) for what in get_args(What)]
        assert len({cache.folder for cache in caches if cache is not None}) == 3


def test_progress_rises_to_the_number_of_looks(session: Recording) -> None:
    looked = some_looks()
    progress = list(look(session, Brightness(), Crops(session, size=16), looked, batch=5))
    done = [p.done for p in progress]
    assert len(set(done)) >= looked.sum() // 5
    assert done == sorted(done)
    assert done[-1] == looked.sum()
    assert {p.total for p in progress} == {looked.sum()}


def test_the_cache_is_told_by_encoder_crops_video_and_keypoints(session: Recording, tmp_path: Path) -> None:
    assert open_features(session, Brightness(), Crops(session, size=16)) is None
    session.save(tmp_path / "video.lookagain")
    folders = []
    other = Brightness()
    other.fingerprint = "1"
    for encoder, crops in (
        (Brightness(), Crops(session, size=16)),
        (other, Crops(session, size=16)),
        (Brightness(), Crops(session, "frame", size=16)),
    ):
        cache = open_features(session, encoder, crops)
        assert cache is not None
        folders.append(cache.folder)
    assert session.video is not None
    session.video = replace(session.video, fingerprint="1")
    cache = open_features(session, Brightness(), Crops(session, size=16))
    assert cache is not None
    assert len({*folders, cache.folder}) == 4
    for kind in get_args(CropKind):  # only crops follow the keypoints
        before = open_features(session, Brightness(), Crops(session, kind, size=16))
        session.keypoints[3, 1] += 1
        after = open_features(session, Brightness(), Crops(session, kind, size=16))
        assert before is not None
        assert after is not None
        assert (before.folder == after.folder) == (kind == "frame")
    assert {folder.parent for folder in folders} == {session.features_folder}


def test_a_disk_too_small_is_told_before_the_video_is_opened(
    session: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path, "key", (T, 2, 2))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(InputError, match="The disk is full: 120 features need 4.8e-07 GB"):
        drain(look(session, Brightness(), Crops(session, size=16), np.ones((T, 2), bool), cache))
    assert session.converted == []


def test_looks_of_another_recording_are_refused(session: Recording) -> None:
    with pytest.raises(InputError, match=r"shape \(60, 3\), expected \(60, 2\)"):
        drain(look(session, Brightness(), Crops(session, size=16), np.ones((T, 3), bool)))


def test_the_module_brings_no_torch() -> None:
    import subprocess
    import sys

    script = f"import sys, {look_module.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_real_recording_is_looked_at(data: Path) -> None:
    session = new_session(data / "flies" / "flies.analysis.h5", data / "flies" / "flies.mp4")
    crops, looked = Crops(session), np.zeros((session.n_frames, session.n_animals), bool)
    looked[1240:1270] = True  # across a keyframe
    looked[2999, 1] = True
    rows = np.argwhere(looked)
    with session.open_video() as video:
        cut = np.stack([crops.cut(video.frame(frame, grey=True), frame, animal) for frame, animal in rows.tolist()])
    encoder = PCAEncoder.fit(cut, components=8)
    features = drain(look(session, encoder, crops, looked))
    assert_allclose(features.read(rows), encoder.encode(cut), atol=1e-4)
