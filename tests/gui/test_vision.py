"""The section about the eye: pretraining it by a button, and what it sees, over the animals and only at its frame."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_lookagain import config as configuration
from napari_lookagain.config import Config
from napari_lookagain.gui.layers.layers import role_of
from napari_lookagain.gui.vision.eye_layers import COLORS, PAINTED
from napari_lookagain.session import load_session

EYE = {"anchors": 24, "epochs": 1, "batch": 16}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tiny):
    """Let the preset "quick" pretrain an eye in a second, with changes if need be."""

    def change(**beast) -> Config:
        settings = tiny(beast=EYE | beast).model_dump()
        monkeypatch.setitem(configuration._PRESETS, "quick", settings)
        return Config.preset("quick", vision={"encoder": "beast"})

    change()
    return change


@pytest.fixture(scope="module")
def kept(mice, tiny, tmp_path_factory):
    """A session folder that keeps an eye; not to be changed."""
    from napari_lookagain.eyes.pretraining import pretrain_eye
    from napari_lookagain.progress import drain

    session = load_session(shutil.copytree(mice, tmp_path_factory.mktemp("kept") / "mice.lookagain"))
    drain(pretrain_eye([session], tiny(beast=EYE), device="cpu"))
    return session.path


@pytest.fixture
def seeing(kept, tmp_path):
    """A copy of that session."""
    return load_session(shutil.copytree(kept, tmp_path / "seeing.lookagain"))


@pytest.fixture
def step(dock):
    """The section, open."""
    dock.vision.unfold()
    return dock.vision_step


@pytest.fixture
def wait(qtbot, dock):
    """Wait until all that was begun is done."""
    return lambda: qtbot.waitUntil(lambda: not dock.jobs.running, timeout=60_000)


def layers(viewer, role=None) -> list:
    return [layer for layer in viewer.layers if role_of(layer) in ((role,) if role else (COLORS, PAINTED))]


def test_an_eye_is_pretrained_by_a_button_and_told_of(qtbot, dock, step, wait, click, session):
    dock.open(session)
    assert "No eye of this size" in step.about.text()
    assert "step 2" in step.about.text()  # runs look with "pca"
    assert step.cost.text() == "Learns from 24 moments: a few seconds, less on a GPU."
    assert not step.show_it.isEnabled()
    assert dock.vision.header.text() == "Vision   ·   no eye yet"
    dock.run_step.settings.encoder.setCurrentText("beast")
    assert "step 2" not in step.about.text()
    click(step.pretrain)
    assert dock.jobs.busy == "Pretraining the eye"
    assert not step.pretrain.isEnabled()
    wait()
    assert "The eye has learnt from 24 moments" in step.panel.message.text.text()
    assert "The tiny eye was pretrained on 24 moments" in step.about.text()
    assert dock.vision.header.text() == "Vision   ·   tiny eye"
    assert step.show_it.isEnabled()
    from napari_lookagain.eyes.kept import kept_eye

    assert kept_eye([session], dock.run_step.settings.config()) == step.eye.folder  # the run will find it
    click(step.pretrain)
    wait()
    assert "has this eye already" in step.panel.message.text.text()


def test_a_pretraining_that_was_cut_off_goes_on(qtbot, dock, step, wait, click, quick, session):
    quick(epochs=400)
    dock.run_step.settings.changed.emit()
    dock.open(session)
    click(step.pretrain)
    qtbot.waitUntil(lambda: any((session.path / "beast").glob("*/pretraining-*.pt")), timeout=60_000)
    qtbot.waitUntil(step.panel.loss.isVisible)
    click(step.panel.cancel)
    wait()
    assert "cut off" in step.about.text()
    done = []
    click(step.pretrain)
    dock.jobs.running[-1].told.connect(
        lambda told: done.extend(p.done for p in told if p.stage == "pretraining the eye")
    )
    qtbot.waitUntil(lambda: bool(done), timeout=60_000)
    assert done[0] > 3  # updates of the first epoch
    click(step.panel.cancel)
    wait()


def test_what_it_sees_lies_over_the_animals_at_its_frame_alone(viewer, dock, step, wait, click, seeing):
    dock.open(seeing)
    dock.view.state.seek(40)
    active = viewer.layers.selection.active
    click(step.show_it)
    wait()
    assert [(role_of(layer), layer.visible) for layer in viewer.layers][:5] == [
        ("video", True),
        *[(PAINTED, False)] * 2,
        *[(COLORS, True)] * 2,
    ]
    assert viewer.layers.selection.active is active
    for animal, layer in enumerate(layers(viewer, COLORS)):
        assert layer.metadata["lookagain"]["animal"] == animal
        assert (layer.data.shape, layer.rgb) == ((1, 48, 48, 3), True)
        middle = layer.data_to_world((0, 23.5, 23.5))
        assert_allclose(middle, [40, *seeing.centers(40, 41)[0, animal, ::-1]], atol=1e-3)
        heading = np.subtract(layer.data_to_world((0, 0, 23.5)), middle)[1:]  # up in the crop
        angle = seeing.headings(40, 41)[0, animal]
        assert_allclose(heading / np.linalg.norm(heading), [np.sin(angle), np.cos(angle)], atol=1e-5)
        assert layer._slice.image.raw.any()
    dock.view.state.seek(41)
    assert not any(layer._slice.image.raw.any() for layer in layers(viewer, COLORS))
    assert viewer.dims.range[0].stop == seeing.n_frames - 1


def test_it_follows_the_frame_until_it_is_taken_away(qtbot, viewer, dock, step, wait, seeing):
    dock.open(seeing)
    step.follow.setChecked(True)
    wait()
    for frame in (10, 11, 12, 200):
        dock.view.state.seek(frame)
    wait()
    shown = layers(viewer, COLORS)
    assert [layer.affine.affine_matrix[0, 3] for layer in shown] == [200, 200]
    step.painted.setChecked(True)
    step.colors.setChecked(False)
    assert [layer.visible for layer in layers(viewer)] == [True, True, False, False]
    assert [layer.affine.affine_matrix[0, 3] for layer in layers(viewer, PAINTED)] == [200, 200]
    before = layers(viewer, PAINTED)[0].data.copy()
    dock.view.state.move_keypoint(200, 0, 0, (5.0, 5.0))
    wait()
    assert (layers(viewer, PAINTED)[0].data != before).any()
    for layer in layers(viewer):
        viewer.layers.remove(layer)
    dock.view.state.seek(20)
    wait()
    assert layers(viewer) == []
    step.show_it.click()
    wait()
    assert len(layers(viewer)) == 4


def test_another_session_has_no_pictures_of_the_one_before(viewer, dock, step, wait, seeing, session):
    dock.open(seeing)
    step.follow.setChecked(True)  # opening the eye is under way
    dock.open(session)
    wait()
    assert layers(viewer) == []
    assert not step.follow.isChecked()
    assert step.eye is None


def test_an_eye_that_is_damaged_is_told_of(viewer, dock, step, wait, click, seeing):
    dock.open(seeing)
    (step.eye.folder / "beast.safetensors").unlink()
    click(step.show_it)
    wait()
    assert "can only see, not paint" in step.panel.message.text.text()
    assert layers(viewer) == []


def test_runs_have_an_eye_of_the_size_that_is_chosen(dock, step, session, simulated, tmp_path):
    from napari_lookagain.session import new_session

    dock.open(session)
    settings = dock.run_step.settings
    step.size.setCurrentText("small")
    assert settings.config().beast.size == "small"
    settings.preset.setCurrentText("paper")
    assert step.size.currentText() == "base"
    assert settings.config().beast.weights == "facebook/vit-mae-base"
    step.size.setCurrentText("tiny")
    assert settings.config().beast.weights == "scratch"
    blind = new_session(simulated.pose, fps=25)
    blind.save(tmp_path / "blind.lookagain")
    dock.open(blind)
    assert "no video" in dock.vision.reason.text()
    assert not step.isEnabled()
