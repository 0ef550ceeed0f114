"""The plugin as napari sees it: its manifest, and what a person reaches through napari's own ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.settings import get_plugin_settings
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

import napari_lookagain
from napari_lookagain.formats.labels import read_labels
from napari_lookagain.gui import commands, sample
from napari_lookagain.gui.dock import LookAgainDock
from napari_lookagain.gui.layers.layers import role_of
from napari_lookagain.gui.present import TIMELINE, SessionView, open_in_viewer
from napari_lookagain.gui.reader import get_reader
from napari_lookagain.gui.state import Selection

NAME = "napari-lookagain"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def view(viewer, session, clusters, behaviors) -> SessionView:
    """A session in a window, with clusters and predicted behaviors."""
    view = open_in_viewer(viewer, session)
    view.state.show(clusters)
    view.state.show(behaviors)
    return view


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """What commands say to the user."""
    said: list[str] = []
    monkeypatch.setattr(commands, "show_info", said.append)
    return said


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution(NAME)


def test_all_that_the_manifest_names_is_there(manifest):
    manifest.validate_imports()


def test_the_manifest_at_the_root_is_that_of_the_package(manifest):
    root, package = ROOT / "napari.yaml", Path(napari_lookagain.__file__).with_name("napari.yaml")
    assert root.is_symlink()
    assert not root.readlink().is_absolute()
    assert root.read_bytes() == package.read_bytes()
    assert PluginManifest.from_file(root).contributions == manifest.contributions


def test_the_manifest_offers_what_is_promised(manifest):
    offers = manifest.contributions
    assert [widget.display_name for widget in offers.widgets] == ["LookAgain"]
    assert [each.display_name for each in offers.sample_data] == ["Simulated mice"]
    assert [reader.filename_patterns for reader in offers.readers] == [["*.lookagain"]]
    assert [writer.filename_extensions for writer in offers.writers] == [[".csv"]]
    assert offers.keybindings is None  # they make the plugin vanish
    known = {command.id for command in offers.commands}
    for menu in ("napari/layers/annotate", "napari/layers/classify"):
        assert {item.command for item in offers.menus[menu]} <= known
    assert {f"{NAME}.assign_{key}" for key in range(1, 10)} <= known


def test_only_session_folders_are_read(mice, tmp_path):
    (tmp_path / "file.lookagain").write_text("not a folder")
    for path in (mice.with_suffix(".mp4"), tmp_path, tmp_path / "file.lookagain", [str(mice)]):
        assert get_reader(path if isinstance(path, list) else str(path)) is None
    assert get_reader(str(mice)) is not None


def test_napari_opens_a_session_folder(viewer, session, qtbot):
    layers = viewer.open(str(session.path), plugin=NAME)
    assert [role_of(layer) for layer in layers] == ["video", "corrected", "tracks", "keypoints"]
    view = SessionView.of(viewer)
    assert view.state.session.recording == session.recording
    assert (viewer.dims.point[0], view.state.frame) == (0, 0)
    viewer.dims.set_point(0, 55)
    assert view.state.frame == 55
    assert 55 in view.layers.get("keypoints").data[:, 0]
    dock = viewer.window.dock_widgets[f"LookAgain ({NAME})"]
    assert isinstance(dock, LookAgainDock)
    assert dock.view is view


def test_without_a_window_the_layers_alone_are_read(mice, display):
    viewer = ViewerModel()
    viewer.open(str(mice), plugin=NAME)
    assert [role_of(layer) for layer in viewer.layers] == ["video", "corrected", "tracks", "keypoints"]


def test_a_lost_video_is_told(viewer, lab, open_lab, monkeypatch):
    session = open_lab(lab)
    session.save(lab / "walk.lookagain")
    (lab / "walk.mp4").unlink()
    said: list[str] = []
    monkeypatch.setattr("napari_lookagain.gui.reader.show_warning", said.append)
    viewer.open(str(lab / "walk.lookagain"), plugin=NAME)
    assert len(said) == 1
    assert "walk.mp4" in said[0]
    assert "video" not in [role_of(layer) for layer in viewer.layers]


def test_the_sample_is_opened_as_it_was_left(viewer, mice, tmp_path, monkeypatch):
    shutil.copytree(mice, tmp_path / "simulated-mice.lookagain")
    monkeypatch.setattr(sample, "samples_folder", lambda: tmp_path)
    viewer.open_sample(NAME, "simulated-mice")
    SessionView.of(viewer).state.assign(Selection(0, 0, 10), "somersault")
    viewer.open_sample(NAME, "simulated-mice")
    assert SessionView.of(viewer).state.session.annotations.labels()[5, 0] >= 0
    assert "somersault" in SessionView.of(viewer).state.behaviors
    assert len(viewer.layers) == 4


@pytest.mark.slow
def test_the_sample_is_drawn_once_and_half_of_it_is_scored(tmp_path):
    session = sample.sample_session(tmp_path)
    scored = session.annotations.labels() >= 0
    half = session.n_frames // 2
    assert scored[:half].all()
    assert not scored[half:].any()
    assert sample.sample_session(tmp_path).path == session.path


@pytest.mark.parametrize("role", ["discovered", "predicted", "corrected"])
def test_a_layer_of_classes_is_saved_as_bouts(view, role, tmp_path):
    path, layer, session = tmp_path / "bouts.csv", view.layers.get(role), view.state.session
    assert layer.save(str(path), plugin=NAME) == [str(path)]
    bouts = read_labels(path, n_frames=session.n_frames, animals=session.animals, fps=session.fps)
    label = np.zeros(layer.data.shape[:2], int)
    names = list(layer.features["name"])
    for bout in bouts:
        label[bout.start : bout.stop, bout.animal] = names.index(bout.behavior) + 1
    np.testing.assert_array_equal(label, layer.data[..., 0])
    assert ("user" in path.read_text()) == (role == "corrected")


def test_another_layer_is_not_saved_as_bouts(view, viewer, tmp_path):
    with pytest.raises(RuntimeError, match="looked at"):
        view.layers.get("looked").save(str(tmp_path / "bouts.csv"), plugin=NAME)
    assert not list(tmp_path.glob("*.csv"))


def test_the_timeline_draws_the_layers(view, viewer):
    timeline = viewer.window.dock_widgets[TIMELINE]
    assert timeline is view.timeline
    assert timeline.isVisible()
    viewer.dims.set_point(0, 120)
    assert timeline.span[0] <= 120 < timeline.span[1]


def test_another_session_takes_the_place_of_the_one_before(view, viewer, lab, open_lab):
    other = open_in_viewer(viewer, open_lab(lab))
    assert SessionView.of(viewer) is other
    assert {layer.metadata["lookagain"]["recording"] for layer in viewer.layers} == {"walk"}
    assert [type(w) for w in viewer.window.dock_widgets.values()].count(type(other.timeline)) == 1
    view.state.seek(3)
    assert viewer.dims.point[0] == 0


def test_a_closed_timeline_can_be_shown_again(view, viewer, qtbot):
    viewer.window.remove_dock_widget(view.timeline)
    qtbot.waitUntil(lambda: view.timeline is None)
    view.state.assign(Selection(0, 0, 10), "walk")
    commands.show_timeline()  # the dock knows the session still
    qtbot.waitUntil(lambda: view.timeline.isVisible())


def test_keys_pressed_over_the_canvas_score(view, viewer, qtbot):
    pressed, released = [], []
    view.timeline.key_pressed.connect(pressed.append)
    view.timeline.key_released.connect(released.append)
    behavior = view.state.keys["2"]
    view.state.select(Selection(1, 20, 31))
    canvas = viewer.window._qt_viewer.canvas.native
    for layer in (view.layers.get("keypoints"), view.layers.get("corrected")):
        viewer.layers.selection.active = layer
        qtbot.keyClick(canvas, Qt.Key.Key_2)
    assert (pressed, released) == (["2", "2"], ["2", "2"])
    annotations = view.state.session.annotations
    assert (annotations.labels()[20:31, 1] == annotations.behaviors.index(behavior)).all()


def test_bouts_are_walked_and_played(view, viewer, qtbot, told):
    annotations = view.state.session.annotations
    starts = [bout.start for bout in annotations.bouts() if bout.animal == 0]
    assert len(starts) > 2
    commands.next_bout()
    commands.next_bout()
    assert view.state.frame == viewer.dims.point[0] == starts[2]
    commands.previous_bout()
    assert view.state.selection.start == view.state.frame == starts[1]
    heard = []
    view.state.select(Selection(0, 100, 108))
    view.state.frame_changed.connect(heard.append)
    commands.play_bout()
    qtbot.waitUntil(lambda: not view.timeline.player.is_playing, timeout=10_000)
    assert (heard[0], heard[-1]) == (100, 107)
    assert heard == sorted(heard)
    while not told:
        commands.previous_bout()
    assert "no earlier bout of mouse1" in told[0]


def test_playing_again_stops(view):
    view.state.select(Selection(0, 0, 300))
    commands.play_bout()
    assert view.timeline.player.is_playing
    commands.play_bout()
    assert not view.timeline.player.is_playing


def test_uncertain_bouts_are_walked_and_accepted(view, told):
    annotations = view.state.session.annotations
    commands.next_uncertain()
    assert "scored" in told.pop()
    for animal in range(2):
        annotations.clear(animal, 0, 300, annotations.raters[0])
    commands.next_uncertain()
    first = view.state.selection
    commands.accept_bout()
    assert (annotations.labels()[first.start : first.stop, first.animal] >= 0).all()
    commands.next_uncertain()
    assert view.state.selection != first
    assert not told


def test_scoring_from_the_palette(view, told):
    annotations = view.state.session.annotations
    commands.assign_9()
    assert "key 9" in told.pop()
    commands.assign_1()
    assert "Mark frames" in told.pop()
    before, behavior = annotations.labels(), view.state.keys["1"]
    view.state.select(Selection(0, 40, 60))
    commands.assign_1()
    after = annotations.labels()
    assert (after[40:60, 0] == annotations.behaviors.index(behavior)).all()
    commands.undo()
    np.testing.assert_array_equal(annotations.labels(), before)
    commands.redo()
    np.testing.assert_array_equal(annotations.labels(), after)
    commands.redo()
    assert told == ["There is nothing to redo."]


def test_a_keypoint_is_dragged_with_the_mouse(view, viewer, qtbot):
    session, layer = view.state.session, view.layers.get("keypoints")
    view.state.seek(30)
    was = session.keypoints[30, 0, 3].copy()
    moved = was + np.array([12, -9])
    viewer.layers.selection.active = layer
    layer.mode = "select"
    QApplication.processEvents()
    canvas = viewer.window._qt_viewer.canvas.native

    def on_canvas(x: float, y: float) -> QPoint:
        camera, middle = viewer.scene.camera, canvas.rect().center()
        (_, center_y, center_x), zoom = camera.center, camera.zoom
        return QPoint(round(middle.x() + (x - center_x) * zoom), round(middle.y() + (y - center_y) * zoom))

    start, end = on_canvas(*was), on_canvas(*moved)
    qtbot.mouseMove(canvas, start)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    for step in (0.5, 1):
        qtbot.mouseMove(canvas, start + (end - start) * step)
        QApplication.processEvents()
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=end)
    QApplication.processEvents()
    np.testing.assert_allclose(session.keypoints[30, 0, 3], moved, atol=2)
    assert session.edited[30, 0, 3]
    assert session.edited.sum() == 1
    assert viewer.dims.point[0] == 30


def test_keypoints_are_colored_from_the_menu(view):
    commands.color_by_keypoint()
    assert view.keypoints.colored_by == "keypoint"
    commands.color_by_animal()
    assert view.keypoints.colored_by == "animal"


def test_commands_say_when_there_is_no_session(viewer, told):
    for command in (commands.next_bout, commands.next_uncertain, commands.play_bout, commands.undo, commands.assign_9):
        command()
        assert "No session is open" in told.pop()


def test_commands_are_in_the_palette(view, viewer):
    PluginManager.instance().commands.execute(f"{NAME}.next_bout")
    assert view.state.frame > 0


def test_the_window_fits_a_small_screen(view, viewer):
    QApplication.processEvents()
    width, height = viewer.window.geometry()[2:]
    assert width <= 1366
    assert height <= 768


def test_the_command_line_opens_a_session(lookagain, mice, lab, open_lab, monkeypatch, viewer):
    monkeypatch.setattr(napari, "Viewer", lambda: viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    assert lookagain("open", mice).status == 0
    assert SessionView.of(viewer).state.session.recording == "mice"
    session = open_lab(lab)
    session.save(lab / "walk.lookagain")
    (lab / "walk.mp4").unlink()
    told = lookagain("open", lab / "walk.lookagain")
    assert (told.status, told.err.count("\n")) == (2, 1)
    assert "walk.mp4" in told.err


def test_what_is_set_in_the_preferences_holds_for_sessions_opened_from_then_on(viewer, session):
    settings = get_plugin_settings(NAME).review
    assert (settings.rater, settings.keypoint_colors) == ("user", "animal")
    with pytest.raises(ValueError, match="enum"):
        settings.keypoint_colors = "taste"
    settings.rater, settings.keypoint_colors = "ann", "keypoint"
    try:
        view = open_in_viewer(viewer, session)
        assert view.keypoints.colored_by == "keypoint"
        view.state.assign(Selection(0, 0, 10), "walk")
        assert view.state.session.annotations.raters[-1] == "ann"
    finally:
        settings.rater, settings.keypoint_colors = "user", "animal"
