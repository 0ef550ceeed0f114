"""Layers and state in step, in a viewer without a window; the session's tests with a window are in test_plugin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Tracks

from napari_lookagain.annotations import Annotations
from napari_lookagain.colors import behavior_colors
from napari_lookagain.errors import InputError
from napari_lookagain.gui.layers.keypoints import KeypointWindow, missing_near
from napari_lookagain.gui.layers.layers import role_of
from napari_lookagain.gui.layers.session_layers import lanes_of
from napari_lookagain.gui.present import SessionView, open_in_viewer
from napari_lookagain.gui.state import Selection
from napari_lookagain.naming import Naming
from napari_lookagain.session import Session, load_session
from napari_lookagain.sources import PoseSource

EVERYTHING = ["video", "corrected", "predicted", "discovered", "gate_score", "looked", "tracks", "keypoints"]


@pytest.fixture
def plain() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def view(plain, session, clusters, behaviors) -> SessionView:
    """A session in a viewer, with clusters and predicted behaviors."""
    view = open_in_viewer(plain, session)
    view.state.show(clusters)
    view.state.show(behaviors)
    return view


def roles(viewer) -> list[str]:
    return [role_of(layer) for layer in viewer.layers]


def test_a_new_session_has_its_video_keypoints_and_scores(plain, session):
    view = open_in_viewer(plain, session)
    assert roles(plain) == ["video", "corrected", "tracks", "keypoints"]
    assert plain.layers.selection.active is view.layers.get("keypoints")
    assert not view.layers.get("tracks").visible
    assert plain.dims.range[0].stop == session.n_frames - 1


def test_layers_are_known_by_plain_metadata(view, plain, session):
    assert sorted(roles(plain)) == sorted(EVERYTHING)
    kinds = {"video": Image, "gate_score": Image, "tracks": Tracks, "keypoints": Points}
    for layer in plain.layers:
        told = layer.metadata["lookagain"]
        assert json.loads(json.dumps(told)) == told
        assert (told["session"], told["recording"]) == (str(session.path), session.recording)
        assert isinstance(layer, kinds.get(told["role"], Labels))
        assert layer.axis_labels == ("time", "y", "x")
    plain.add_image(np.zeros((4, 4)), metadata={"lookagain": "something else"})
    assert len(list(view.layers)) == len(EVERYTHING)


def test_the_strip_has_a_block_for_each_animal_beside_the_picture(view, session):
    height = session.frame_size[1]
    edges = []
    for role in ("discovered", "predicted", "corrected"):
        layer = view.layers.get(role)
        (_, top, left), (_, bottom, right) = layer.extent.world
        assert (layer.data.shape, layer.data.dtype) == ((session.n_frames, session.n_animals, 1), np.uint16)
        assert (top - 0.25 * height, bottom + 0.25 * height) == pytest.approx((-0.5, height - 0.5))  # middles of blocks
        edges += [left - layer.scale[2] / 2, right + layer.scale[2] / 2]
    assert edges == sorted(edges)
    assert edges[-1] < -0.5


def test_classes_have_the_names_and_colors_they_have_everywhere(view, session, clusters):
    corrected, discovered = view.layers.get("corrected"), view.layers.get("discovered")
    names = session.annotations.behaviors
    assert list(corrected.features["name"]) == list(names)
    np.testing.assert_array_equal(corrected.data[..., 0], session.annotations.labels() + 1)
    np.testing.assert_array_equal(discovered.data[..., 0], clusters.label + 1)
    colors = behavior_colors(view.state.behaviors)
    told = {lane.role: dict(zip(lane.names, lane.colors, strict=True)) for lane in lanes_of(view.viewer)[:3]}
    assert list(told) == ["discovered", "predicted", "corrected"]
    assert told["corrected"] == {name: colors[name] for name in names}
    assert told["discovered"] == {each.name: each.color for each in view.state.naming.classes}


def test_the_first_frame_is_in_view_not_the_middle(plain, session):
    view = open_in_viewer(plain, session)
    assert (plain.dims.point[0], view.state.frame) == (0, 0)


def test_frame_of_the_viewer_and_of_the_state_are_one(view, plain):
    heard = []
    view.state.frame_changed.connect(heard.append)
    plain.dims.set_point(0, 42)
    assert view.state.frame == 42
    view.state.seek(137)
    assert plain.dims.point[0] == 137
    view.state.seek(10**6)
    assert plain.dims.point[0] == 299
    assert heard == [42, 137, 299]


def test_a_layer_with_more_axes_does_not_confuse_time(view, plain):
    plain.add_image(np.zeros((3, 5, 4, 4)))
    view.state.seek(20)
    assert plain.dims.point[1] == 20
    plain.dims.set_point(1, 33)
    assert view.state.frame == 33


def test_the_picture_is_that_of_the_frame(view, session):
    view.state.seek(77)
    with session.open_video() as video:
        expected = video.frame(77)[20, 30]
    np.testing.assert_array_equal(view.layers.get("video").get_value((77, 20, 30)), expected)


def test_keypoints_are_a_window_of_what_is_there(plain, long):
    view = open_in_viewer(plain, long)
    layer = view.layers.get("keypoints")
    for frame in (0, 60, 25_000, 49_999):
        view.state.seek(frame)
        here = layer.data[:, 0] == frame
        points = long.keypoints[frame].reshape(-1, 2)
        points = points[np.isfinite(points[:, 0])]
        np.testing.assert_allclose(layer.data[here, 1:], points[:, ::-1])
        assert len(layer.data) < 2000
    assert plain.dims.range[0].stop == long.n_frames - 1


@pytest.fixture
def long() -> Session:
    """A recording of two hours that is in memory only, without a video; in part, an animal is away."""
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 500, (50_000, 2, 12, 2)).astype(np.float32)
    keypoints[:, 1, 3] = keypoints[::7, 0] = np.nan
    animals = ("left", "right")
    return Session(
        recording="long",
        keypoints=keypoints,
        confidence=np.isfinite(keypoints[..., 0]) * np.float32(0.5),
        animals=animals,
        keypoint_names=tuple(f"point {i}" for i in range(12)),
        fps=30,
        heading=None,
        pose=PoseSource("long.csv", "simulated", ""),
        video=None,
        annotations=Annotations(50_000, animals),
    )


def test_nobody_may_be_there(plain, long):
    long.keypoints[:3000] = np.nan
    view = open_in_viewer(plain, long)
    keypoints, tracks = view.layers.get("keypoints"), view.layers.get("tracks")
    tracks.visible = True
    assert len(keypoints.data) == 0
    view.state.seek(4000)
    assert 4000 in keypoints.data[:, 0]
    assert 4000 in tracks.data[:, 1]
    view.state.seek(100)
    assert len(keypoints.data) == 0
    view.state.seek(4000)
    assert 4000 in keypoints.data[:, 0]


def test_without_keypoints_there_is_a_video_to_score(plain, untracked):
    view = open_in_viewer(plain, untracked)
    assert roles(plain) == ["video", "corrected"]
    assert plain.layers.selection.active is view.layers.get("video")
    view.state.seek(42)
    view.state.assign(Selection(0, 40, 50), "walk")
    assert view.layers.get("corrected").data[:, 0, 0].nonzero()[0].tolist() == list(range(40, 50))
    view.keypoints.colored_by = "keypoint"  # which changes nothing


def test_hidden_layers_are_filled_when_they_are_shown(view):
    keypoints, tracks = view.layers.get("keypoints"), view.layers.get("tracks")
    before = keypoints.data, tracks.data
    keypoints.visible = False
    view.state.seek(290)
    np.testing.assert_array_equal(keypoints.data, before[0])
    np.testing.assert_array_equal(tracks.data, before[1])
    keypoints.visible = tracks.visible = True
    assert 290 in keypoints.data[:, 0]
    assert 290 in tracks.data[:, 1]


def test_points_tell_what_they_are_and_how_sure_the_tracker_was(session):
    session.confidence[5, 0, 0] = 0.1
    window = KeypointWindow(session, 5)
    features, color = window.features, window.colors("animal")["face_color"]
    assert list(features.columns) == ["animal", "keypoint", "confidence", "edited"]
    rows = [row for row in range(len(features)) if window.place_of(row)[:2] == (5, 0)]
    assert set(features["animal"].iloc[rows]) == {session.animals[0]}
    assert color[rows[0], 3] < color[rows[1], 3]
    assert len({tuple(each[:3]) for each in color}) == session.n_animals
    assert len({tuple(each[:3]) for each in window.colors("keypoint")["face_color"]}) == session.n_keypoints


def test_keypoints_can_be_colored_by_name(view):
    layer = view.layers.get("keypoints")
    view.keypoints.colored_by = "keypoint"
    assert len(np.unique(layer.face_color[:, :3], axis=0)) == view.state.session.n_keypoints
    view.state.seek(299)
    assert len(np.unique(layer.face_color[:, :3], axis=0)) == view.state.session.n_keypoints


def test_dragging_a_keypoint_moves_it_in_the_session(view, session):
    layer, frame, animal, keypoint = view.layers.get("keypoints"), 12, 1, 4
    view.state.seek(frame)
    window = KeypointWindow(session, 0)
    row = next(row for row in range(len(layer.data)) if window.place_of(row) == (frame, animal, keypoint))
    data = layer.data.copy()
    data[row, 1:] = 50, 60
    layer.data = data
    np.testing.assert_array_equal(session.keypoints[frame, animal, keypoint], [60, 50])
    assert session.confidence[frame, animal, keypoint] == 1
    assert layer.features["edited"][row]
    assert layer.features["edited"].sum() == 1
    np.testing.assert_allclose(layer.border_color[row], 1)
    assert load_session(session.path).keypoints[frame, animal, keypoint].tolist() == [60, 50]
    session.undo_keypoint()
    view.state.keypoints_changed.emit(frame)
    assert not layer.features["edited"].any()


def test_deleting_a_keypoint_makes_it_missing_and_adding_puts_it_back(view, session):
    layer = view.layers.get("keypoints")
    n = len(layer.data)
    was = session.keypoints[0, 0, 2].copy()
    layer.selected_data = {2}
    layer.remove_selected()
    assert np.isnan(session.keypoints[0, 0, 2]).all()
    assert len(layer.data) == n - 1
    layer.add([0, was[1] + 3, was[0] + 2])
    np.testing.assert_allclose(session.keypoints[0, 0, 2], was + np.array([2, 3]), rtol=1e-5)
    assert len(layer.data) == n


def test_a_keypoint_too_many_is_not_kept(view, session):
    before = session.keypoints.copy()
    layer = view.layers.get("keypoints")
    n = len(layer.data)
    session.keypoints[np.isnan(session.keypoints)] = 0
    layer.add([0, 5, 5])
    assert len(layer.data) >= n
    np.testing.assert_array_equal(session.keypoints, np.nan_to_num(before))


def test_a_missing_keypoint_is_told_by_where_it_was(session):
    frame = 30
    assert missing_near(session, frame, (0, 0)) is None or np.isnan(session.keypoints[frame]).any()
    session.keypoints[:] = np.arange(session.keypoints.size).reshape(session.keypoints.shape) % 997
    session.keypoints[frame - 2 : frame + 3, 0, 1] = session.keypoints[frame, 1, 5] = np.nan
    near = session.keypoints[frame - 3, 0, 1]
    assert missing_near(session, frame, near + 1) == (0, 1)
    assert missing_near(session, frame, session.keypoints[frame - 1, 1, 5]) == (1, 5)


def test_scoring_is_seen_at_once_and_in_part(view, session):
    layer, heard = view.layers.get("corrected"), []
    data = layer.data
    layer.events.set_data.connect(lambda: heard.append(True))
    view.state.assign(Selection(1, 0, 40), "walk")
    assert layer.data is data
    assert (layer.data[:40, 1, 0] == session.annotations.behaviors.index("walk") + 1).all()
    assert heard
    view.state.assign(Selection(1, 0, 40), None)
    for act in (view.state.undo, view.state.undo, view.state.redo):
        act()
        np.testing.assert_array_equal(layer.data[..., 0], session.annotations.labels() + 1)


def test_a_new_behavior_gets_a_name_and_a_color(view):
    view.state.assign(Selection(0, 10, 20), "somersault")
    layer = view.layers.get("corrected")
    value = layer.data[10, 0, 0]
    assert layer.features["name"][value - 1] == "somersault"
    color = behavior_colors(view.state.behaviors)["somersault"]
    lane = next(lane for lane in lanes_of(view.viewer) if lane.role == "corrected")
    assert lane.colors[value - 1] == color
    view.state.undo()
    assert "somersault" not in set(view.layers.get("corrected").features["name"])


def test_naming_clusters_is_seen(view):
    layer, naming = view.layers.get("discovered"), view.state.naming
    naming.rename(0, "walk")
    naming.recolor(1, "#123456")
    view.state.classes_changed.emit()
    assert layer.features["name"][0] == "walk"
    np.testing.assert_allclose(layer.colormap.map(2)[:3], np.array([0x12, 0x34, 0x56]) / 255)
    naming.merge([0, 2])
    view.state.classes_changed.emit()
    assert len(layer.features) == 3
    np.testing.assert_array_equal(layer.data[..., 0], naming.label + 1)


def test_the_timeline_follows_what_others_do_to_a_layer(view):
    layer = view.layers.get("predicted")
    layer.visible = False
    layer.name = "mine"
    layer.colormap = {None: "transparent", 1: "red", 2: "blue"}
    lane = next(lane for lane in lanes_of(view.viewer) if lane.role == "predicted")
    assert (lane.visible, lane.title, lane.colors[:2]) == (False, "mine", ("#ff0000", "#0000ff"))
    view.viewer.layers.remove(layer)
    assert "predicted" not in [lane.role for lane in lanes_of(view.viewer)]


def test_lanes_share_the_memory_of_layers(view):
    for lane in lanes_of(view.viewer):
        assert np.shares_memory(lane.array, view.layers.get(lane.role).data)
    assert [lane.role for lane in lanes_of(view.viewer)][3:] == ["gate_score", "looked"]


def test_the_strip_is_not_for_napari_s_brush(view):
    assert not any(view.layers.get(role).editable for role in ("corrected", "predicted", "discovered", "looked"))


def test_another_run_takes_the_place_of_the_one_before(view, clusters):
    layer = view.layers.get("discovered")
    other = type(clusters)(**{**vars(clusters), "label": clusters.label[::-1].copy()})
    view.state.show(other)
    assert view.layers.get("discovered") is layer
    np.testing.assert_array_equal(layer.data[..., 0], other.label + 1)
    assert len(view.viewer.layers) == len(EVERYTHING)


def test_layers_that_were_removed_do_no_harm(view):
    for layer in list(view.layers):
        view.viewer.layers.remove(layer)
    view.state.seek(100)
    view.state.assign(Selection(0, 0, 10), "walk")
    view.state.move_keypoint(100, 0, 0, (5.0, 5.0))


def test_the_badge_tells_the_animals_looked_at(view, clusters):
    lines = [line for name, line in view.viewer.canvas.overlays.items() if name.startswith("lookagain")]
    for frame in (3, 4, 5, 8):
        view.state.seek(frame)
        assert [line.visible for line in lines] == list(clusters.looked[frame])
    assert "mouse1" in lines[0].text


def test_closing_leaves_the_viewer_as_it_was(view, plain):
    own = plain.add_points([[0, 1, 2]])
    view.close()
    assert list(plain.layers) == [own]
    assert not [name for name in plain.canvas.overlays if name.startswith("lookagain")]
    plain.dims.set_point(0, 0)


def test_the_latest_runs_are_shown_with_the_names_given(plain, session, clusters, behaviors):
    for name, ethogram in (("old", clusters), ("new", clusters), ("predict", behaviors)):
        session.run_folder(name).mkdir(parents=True)
        ethogram.save(session.run_folder(name) / "ethogram.npz")
    Naming.open(session.run_folder("new")).rename(2, "groom")
    (session.run_folder("cut off")).mkdir()
    view = open_in_viewer(plain, load_session(session.path))
    assert view.state.naming.names[2] == "groom"
    assert view.layers.get("discovered").features["name"][2] == "groom"
    assert view.layers.get("predicted") is not None


def test_a_session_without_its_video_is_shown_all_the_same(plain, lab, open_lab):
    session = open_lab(lab)
    session.save(lab / "walk.lookagain")
    (lab / "walk.mp4").unlink()
    open_in_viewer(plain, session)
    assert roles(plain) == ["corrected", "tracks", "keypoints"]
    assert plain.dims.range[0].stop == session.n_frames - 1


def test_another_video_in_its_place_is_refused_and_nothing_opened(plain, lab, open_lab, write_video):
    session = open_lab(lab)
    write_video(lab / "walk.mp4", shade=40)
    with pytest.raises(InputError, match="walk"):
        open_in_viewer(plain, session)
    assert not plain.layers
