"""What every test may ask for."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import napari_lookagain.video
from napari_lookagain.cli import main
from napari_lookagain.config import Config
from napari_lookagain.progress import drain
from napari_lookagain.runs import train
from napari_lookagain.session import Session, load_session, new_session
from napari_lookagain.simulate import SimulatedRecording, simulate

DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_runtest_setup() -> None:
    """Several threads on so little work mostly wait for each other; numba, under napari's layers, takes all it can."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Path:
    """Real recordings kept beside the project; tests that need them are skipped where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"the real recordings are not at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> SimulatedRecording:
    """Files of a small recording of two simulated mice; not to be changed."""
    return simulate(tmp_path_factory.mktemp("simulated"), n_frames=300, size=(240, 180), name="mice")


@pytest.fixture(scope="session")
def mice(simulated) -> Path:
    """Its session folder, every frame scored; not to be changed."""
    session = new_session(simulated.pose, simulated.video, recording=simulated.recording)
    session.annotations.set_frames(simulated.truth, simulated.behaviors, "simulated truth")
    session.save(simulated.video.with_name("mice.lookagain"))
    return session.path


@pytest.fixture
def session(mice, tmp_path) -> Session:
    """A copy of the session of simulated mice, for a test to write into; nothing of its video was looked at before."""
    seen = shutil.ignore_patterns("packets-*", "pca-*", "motion-*")
    return load_session(shutil.copytree(mice, tmp_path / "mice.lookagain", ignore=seen))


@pytest.fixture
def untracked(simulated, tmp_path) -> Session:
    """The session of a video alone, in which nothing is scored."""
    session = new_session(video=simulated.video, recording="untracked")
    session.save(tmp_path / "untracked.lookagain")
    return session


@pytest.fixture(scope="session")
def write_video() -> Callable[..., None]:
    """Write a small video whose frames grow brighter; with another `shade`, another video."""

    def write(path: Path, n_frames: int = 20, shade: int = 0) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(n_frames):
                picture = np.full((48, 64, 3), (shade + 5 * i) % 256, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())

    return write


@pytest.fixture(scope="session")
def write_pose() -> Callable[..., None]:
    """Write a pose file of one animal with two keypoints."""

    def write(path: Path, n_frames: int = 20) -> None:
        np.savetxt(path, np.arange(n_frames)[:, None] + np.array([20.0, 5, 0, 5]), delimiter=",")

    return write


@pytest.fixture
def lab(tmp_path, write_video, write_pose) -> Path:
    """A folder with a video and its pose."""
    folder = tmp_path / "lab"
    folder.mkdir()
    write_video(folder / "walk.mp4")
    write_pose(folder / "walk.csv")
    return folder


@pytest.fixture(scope="session")
def open_lab() -> Callable[..., Session]:
    """Make a session of the files in such a folder."""
    return lambda lab, **options: new_session(lab / "walk.csv", lab / "walk.mp4", keypoints=["nose", "tail"], **options)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Config]:
    """Settings that train in a second, motion frozen, with changes by section: ``tiny(look={"budget": 0.1})``."""
    motion = {"width": 16, "latent_width": 8, "codes": 16, "layers": 1, "social_layers": 1, "heads": 2, "window": 32}
    stage = {"epochs": 3, "batch": 4, "learning_rate": 1e-3}
    stages = {"pretrain": stage | {"stride": 16}, "finetune": stage | {"clusters": 3, "learn_motion": False}}
    sections = {"motion": motion, "vision": {"components": 8}, "training": {"choose_from": 1}, **stages}
    return lambda **changes: Config.preset("quick", **sections).updated(**changes)


@pytest.fixture(scope="session")
def trained(mice, tiny, tmp_path_factory):
    """Folder of a model that was trained on the mice, elsewhere; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    session = load_session(shutil.copytree(mice, folder / "mice.lookagain"))
    drain(train([session], folder / "model", tiny(look={"budget": 0.25}), device="cpu"))
    return folder / "model"


@pytest.fixture
def videos(monkeypatch):
    """Every video that is opened from now on; each remembers the frames that were asked of it."""
    opened = []

    class RememberingVideo(napari_lookagain.video.Video):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.asked = []
            opened.append(self)

        def frame(self, i, **options):
            self.asked.append(i)
            return super().frame(i, **options)

        def frames(self, indices, **options):
            self.asked += list(indices)
            return super().frames(indices, **options)

    monkeypatch.setattr(napari_lookagain.video, "Video", RememberingVideo)
    return opened


@dataclass(frozen=True)
class Told:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


@pytest.fixture
def lookagain(capsys, monkeypatch) -> Callable[..., Told]:
    """Run the command line with some arguments, as a shell would."""

    def run(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["lookagain", *map(str, arguments)])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            main()
        return Told(int(end.value.code or 0), *capsys.readouterr())

    return run
