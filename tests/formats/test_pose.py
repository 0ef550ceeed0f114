"""Every pose format comes out the same way, and what is no pose is refused in one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from datetime import UTC, datetime

import h5py
import numpy as np
import pandas as pd
import pytest

from napari_lookagain.errors import InputError
from napari_lookagain.formats.pose import guess_software, read_pose

BOUT = "e3v813a-20210610T122332-122642DLC_dlcrnetms5_pilot_studySep24shuffle1_100000_el_filtered.csv"
MABE = "EGS8X2MN4SSUGFWAV976.h5"
NAMES = ("nose", "tail")


def dlc_frame(n_frames=5, animals=None, coords=("x", "y", "likelihood"), scorer="DLC_resnet50"):
    """A DeepLabCut table in which every number tells its place: frame + 0.1 × column."""
    names = ["scorer", "bodyparts", "coords"] if animals is None else ["scorer", "individuals", "bodyparts", "coords"]
    levels = [[scorer], *([] if animals is None else [animals]), list(NAMES), list(coords)]
    columns = pd.MultiIndex.from_product(levels, names=names)
    values = np.arange(n_frames)[:, None] + 0.1 * np.arange(1, len(columns) + 1)
    frame = pd.DataFrame(values, columns=columns)
    scores = frame.columns.get_level_values("coords") == "likelihood"
    frame.loc[:, scores] = 0.5
    return frame


@pytest.mark.parametrize("animals", [None, ["a", "b"]])
@pytest.mark.parametrize("coords", [("x", "y", "likelihood"), ("x", "y"), ("x", "y", "z")])
@pytest.mark.parametrize("kind", ["csv", "fixed", "table"])
def test_deeplabcut_tables(tmp_path, animals, coords, kind):
    frame = dlc_frame(animals=animals, coords=coords)
    path = tmp_path / ("pose.csv" if kind == "csv" else "pose.h5")
    if kind == "csv":
        frame.to_csv(path)
    else:
        frame.to_hdf(path, key="df_with_missing", format=kind)
    pose = read_pose(path)
    n_animals, n_coords = len(animals or "1"), 3 if "z" in coords else 2
    assert pose.keypoints.shape == (5, n_animals, 2, n_coords)
    assert pose.keypoints.dtype == pose.confidence.dtype == np.float32
    assert (pose.software, pose.fps, pose.keypoint_names) == ("DeepLabCut", None, NAMES)
    assert pose.animals == (tuple(animals) if animals else ("animal_0",))
    expected = frame.to_numpy().reshape(5, n_animals, 2, len(coords))[..., :n_coords]
    np.testing.assert_allclose(pose.keypoints, expected, rtol=1e-6)
    assert (pose.confidence == (0.5 if "likelihood" in coords else 1)).all()


def test_missing_is_said_in_one_way(tmp_path):
    frame = dlc_frame(n_frames=7)
    values = frame.to_numpy(copy=True)
    values[0, :3] = 0, 0, 0.9  # DeepLabCut's way
    values[1, 0] = np.nan  # half a keypoint is none
    values[2, 1] = np.inf
    values[3, 2] = 1.3
    values[4, 2] = np.nan
    values[5, :2] = 0, 4  # on the edge of the frame, not missing
    values[6, 1] = 1e300
    pd.DataFrame(values, columns=frame.columns).to_csv(tmp_path / "pose.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pose = read_pose(tmp_path / "pose.csv")
    missing = np.isnan(pose.keypoints[:, 0, 0])
    assert missing.all(axis=-1).tolist() == [True, True, True, False, False, False, True]
    assert (missing.all(axis=-1) == missing.any(axis=-1)).all()
    np.testing.assert_allclose(pose.confidence[:, 0, 0], [0, 0, 0, 1, 1, 0.5, 0])
    assert (pose.confidence[:, 0, 1] == 0.5).all()


def test_rows_and_columns_left_out_are_missing(tmp_path):
    frame = dlc_frame(n_frames=8, animals=["a", "b", "single"]).drop(index=[0, 3])
    frame = frame.drop(columns=[("DLC_resnet50", "b", "nose"), ("DLC_resnet50", "single", "tail")])
    frame.to_csv(tmp_path / "pose.csv")
    with pytest.warns(UserWarning, match="no animal"):
        pose = read_pose(tmp_path / "pose.csv")
    assert pose.animals == ("a", "b")
    missing = np.isnan(pose.keypoints).all(axis=-1)
    assert missing[[0, 3]].all()
    assert missing[:, 1, 0].all()
    assert not missing[[1, 2, 4, 5, 6, 7]][:, [0, 0, 1], [0, 1, 1]].any()
    assert pose.keypoints[4, 0, 0, 0] == pytest.approx(4.1)


def test_lightning_pose_with_the_spread_of_an_ensemble(tmp_path):
    coords = ("x", "y", "likelihood", "x_ens_median", "y_ens_median", "x_ens_var", "y_ens_var")
    dlc_frame(coords=coords, scorer="heatmap_tracker").to_csv(tmp_path / "pose.csv")
    pose = read_pose(tmp_path / "pose.csv")
    assert pose.software == "LightningPose"
    assert pose.keypoints.shape == (5, 1, 2, 2)
    np.testing.assert_allclose(pose.keypoints[1, 0, 1], [1.8, 1.9], rtol=1e-6)
    assert read_pose(tmp_path / "pose.csv", "deeplabcut").software == "DeepLabCut"


def test_anipose(tmp_path):
    cameras = ["center_0", "center_1", "center_2", *(f"M_{i}{j}" for i in range(3) for j in range(3)), "fnum"]
    table = pd.DataFrame(np.zeros((4, len(cameras))), columns=cameras)
    for number, name in enumerate(NAMES):
        for column, suffix in enumerate(["x", "y", "z", "error", "ncams", "score"]):
            table[f"{name}_{suffix}"] = 0.1 + 10.0 * number + column
        table[f"{name}_score"] = 0.7
    table.loc[2, "tail_z"] = np.nan
    table.to_csv(tmp_path / "pose.csv", index=False)
    pose = read_pose(tmp_path / "pose.csv", fps=100)
    assert (pose.software, pose.fps, pose.animals, pose.keypoint_names) == ("Anipose", 100, ("animal_0",), NAMES)
    np.testing.assert_allclose(pose.keypoints[0, 0], [[0.1, 1.1, 2.1], [10.1, 11.1, 12.1]], rtol=1e-6)
    assert np.isnan(pose.keypoints[2, 0, 1]).all()
    np.testing.assert_allclose(pose.confidence[:, 0, 1], [0.7, 0.7, 0, 0.7])


def write_nwb(path, containers, subject=None):
    """An NWB file with one PoseEstimation per container; values are container + frame + keypoint / 10."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ndx_pose
        import pynwb

        file = pynwb.NWBFile("test", "unique-id", datetime(2024, 1, 1, tzinfo=UTC))
        if subject:
            file.subject = pynwb.file.Subject(subject_id=subject)
        module = file.create_processing_module("behavior", "pose")
        for number, container in enumerate(containers):
            series = [
                ndx_pose.PoseEstimationSeries(
                    name=name,
                    description=name,
                    data=np.stack([np.arange(4.0) + number + place / 10] * 2, axis=1) + 1,
                    unit="pixels",
                    reference_frame="top left",
                    rate=40.0,
                    confidence=np.full(4, 0.8),
                )
                for place, name in enumerate(NAMES)
            ]
            module.add(
                ndx_pose.PoseEstimation(name=container, pose_estimation_series=series, source_software="DeepLabCut")
            )
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(file)


def test_nwb_of_one_animal(tmp_path):
    write_nwb(tmp_path / "pose.nwb", ["PoseEstimation"], subject="mouse7")
    pose = read_pose(tmp_path / "pose.nwb")
    assert (pose.software, pose.fps, pose.animals, pose.keypoint_names) == ("NWB", 40, ("mouse7",), NAMES)
    np.testing.assert_allclose(pose.keypoints[2, 0], [[3, 3], [3.1, 3.1]], rtol=1e-6)
    np.testing.assert_allclose(pose.confidence, 0.8, rtol=1e-6)


def test_nwb_of_two_animals_under_other_names(tmp_path):
    write_nwb(tmp_path / "pose.nwb", ["left", "right"])
    pose = read_pose(tmp_path / "pose.nwb")
    assert pose.animals == ("left", "right")
    np.testing.assert_allclose(pose.keypoints[0, :, 0, 0], [1, 2])


def test_nwb_without_pose(tmp_path):
    write_nwb(tmp_path / "pose.nwb", [])
    with pytest.raises(InputError, match="holds no pose"):
        read_pose(tmp_path / "pose.nwb")


def test_plain_numbers_need_names_that_fit(tmp_path):
    path = tmp_path / "coords.csv"
    np.savetxt(path, np.arange(24).reshape(4, 6), delimiter=",")
    pose = read_pose(path, keypoints=NAMES)
    assert (pose.software, pose.animals, pose.keypoint_names) == ("xyz", ("animal_0",), NAMES)
    assert pose.keypoints[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_pose(path, keypoints=["a", "b", "c"]).keypoints[0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(InputError, match=r"6 columns of numbers without names.*--keypoints"):
        read_pose(path)
    with pytest.raises(InputError, match=r"6 columns, which do not fit the 4 keypoints named: expected 12 .* or 8"):
        read_pose(path, keypoints=list("abcd"))


def test_the_origin_is_a_place_like_any_other_in_plain_numbers(tmp_path):
    (tmp_path / "coords.csv").write_text("0,0,0\n,,\n1,1,1\n")
    pose = read_pose(tmp_path / "coords.csv", keypoints=["a"])
    assert pose.confidence.ravel().tolist() == [1, 0, 1]


def test_keypoints_of_a_named_file_are_chosen_by_name(tmp_path):
    dlc_frame().to_csv(tmp_path / "pose.csv")
    both, one = read_pose(tmp_path / "pose.csv"), read_pose(tmp_path / "pose.csv", keypoints=["tail"])
    assert one.keypoint_names == ("tail",)
    np.testing.assert_array_equal(one.keypoints, both.keypoints[:, :, 1:])
    with pytest.raises(InputError, match="no keypoint ear; it has nose, tail"):
        read_pose(tmp_path / "pose.csv", keypoints=["ear"])
    for names in ([], ["tail", "tail"]):
        with pytest.raises(InputError, match="each once"):
            read_pose(tmp_path / "pose.csv", keypoints=names)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "is empty"),
        ("\n", "no pose file that is known"),
        ("frame,walk,rest\n0,1,0\n", "no pose file that is known"),
        (b"\x00\xff\xfe\x80" * 100, "neither text nor HDF5"),
        ("1,2\n3,x\n", "could not convert"),
        ("1,2\n", "holds 1 frame, expected a recording of at least 2"),
        (",\n,\n", "nothing was tracked"),
        ("1,2\n3\n", "cut off: its last row has 1 of 2 columns"),
        ("1,2\n3,4,5\n6,7\n", "could not be read"),
        ("scorer,s,s\nbodyparts,n,n\ncoords,x,y\n", "a header and no frames"),
        (
            "scorer,s,s\nbodyparts,n,n\ncoords,x,y\nlabeled-data/img1.png,1,2\nlabeled-data/img2.png,1,2\n",
            "not a track",
        ),
        ("scorer,s,s\nbodyparts,n,n\ncoords,x,y\n3,1,2\n90,1,2\n", "rows for 2 of 91 frames"),
        ("scorer,s,s\nbodyparts,n,n\ncoords,x,y\n1,1,2\n0,1,2\n", "out of order"),
        ("scorer,s,s\nbodyparts,n,n\ncoords,x,y\n0,1,2\n1,a,2\n", "could not be read as a pose file of DeepLabCut"),
        ("scorer,s\nbodyparts,n\ncoords,x\n0,1\n1,1\n", "no columns x and y"),
        ("scorer,s,s\ncoords,x,y\n0,1,2\n1,1,2\n", "expected scorer, bodyparts, coords"),
    ],
)
def test_bad_csv(tmp_path, content, message):
    path = tmp_path / "pose.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_pose(path, keypoints=["a"] if message != "no columns x and y" else None)


@pytest.mark.parametrize("layout", ["fixed", "table"])
def test_labelled_images_in_hdf5_are_no_track(tmp_path, layout):
    frame = dlc_frame().set_axis([f"labeled-data/img{i}.png" for i in range(5)])
    frame.to_hdf(tmp_path / "CollectedData.h5", key="df_with_missing", format=layout)
    with pytest.raises(InputError, match=r"labelled images \(labeled-data/img0.png"):
        read_pose(tmp_path / "CollectedData.h5")


def test_labelled_images_under_three_levels_are_no_track(tmp_path):
    frame = dlc_frame()
    frame.index = pd.MultiIndex.from_tuples([("labeled-data", "video", f"img{i}.png") for i in range(5)])
    frame.to_hdf(tmp_path / "CollectedData.h5", key="df_with_missing")
    with pytest.raises(InputError, match=r"labelled images \(labeled-data/video/img0.png"):
        read_pose(tmp_path / "CollectedData.h5")
    frame.to_csv(tmp_path / "CollectedData.csv")
    with pytest.raises(InputError, match="not a track"):
        read_pose(tmp_path / "CollectedData.csv")


def test_other_hdf5(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with pytest.raises(InputError, match="no pose file that is known"):
        read_pose(tmp_path / "other.h5")
    with pytest.raises(InputError, match="no table of DeepLabCut"):
        read_pose(tmp_path / "other.h5", "DeepLabCut")
    with pytest.raises(InputError, match="could not be read as a pose file of SLEAP"):
        read_pose(tmp_path / "other.h5", "SLEAP")


def test_no_file_and_no_software(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_pose(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_pose(tmp_path)
    dlc_frame().to_csv(tmp_path / "pose.csv")
    with pytest.raises(InputError, match="'OpenPose' is no software that is known; expected one of DeepLabCut, SLEAP"):
        read_pose(tmp_path / "pose.csv", "OpenPose")
    assert read_pose(tmp_path / "pose.csv", "lightning-pose").software == "LightningPose"


def test_sleap_files_of_one_recording_agree(data):
    analysis, labels = (read_pose(data / "flies" / name) for name in ("flies.analysis.h5", "flies.slp"))
    assert analysis.keypoints.shape == (3000, 2, 13, 2)
    np.testing.assert_array_equal(analysis.keypoints, labels.keypoints)
    assert analysis.animals == labels.animals
    assert analysis.keypoint_names[:3] == labels.keypoint_names[:3] == ("head", "thorax", "abdomen")
    assert analysis.software == labels.software == "SLEAP"
    missing = np.isnan(analysis.keypoints[..., 0])
    assert 0.01 < missing.mean() < 0.03
    np.testing.assert_array_equal(analysis.confidence, ~missing)  # the analysis file has no scores: trusted
    assert (labels.confidence[missing] == 0).all()
    assert 0 < labels.confidence[~missing].mean() < 1


def test_sleap_untracked_or_labels_only(data, tmp_path):
    with h5py.File(data / "flies" / "flies.slp") as source:
        for name, empty in (("untracked", "tracks_json"), ("labels", "pred_points")):
            with h5py.File(tmp_path / f"{name}.slp", "w") as file:
                for key in source:
                    source.copy(key, file)
                values = file[empty][:0]
                del file[empty]
                file[empty] = values
    with pytest.raises(InputError, match="6000 animals in 3000 frames and no tracks"):
        read_pose(tmp_path / "untracked.slp")
    with pytest.raises(InputError, match="labelled frames and no predictions"):
        read_pose(tmp_path / "labels.slp")


def test_mabe_without_likelihood(data):
    pose = read_pose(data / "mabe" / MABE)
    assert pose.keypoints.shape == (1800, 3, 12, 2)
    assert pose.animals == ("mouse1", "mouse2", "mouse3")
    missing = np.isnan(pose.keypoints[..., 0])
    np.testing.assert_array_equal(pose.confidence, ~missing)
    assert not (pose.keypoints == 0).all(axis=-1).any()
    absent = missing.all(axis=2).any(axis=1)
    assert 0.15 < absent.mean() < 0.4
    with h5py.File(data / "mabe" / MABE) as file:  # mouse, keypoint, coordinate
        raw = file["df_with_missing/block0_values"][()].reshape(1800, 3, 12, 2)
    np.testing.assert_array_equal(np.nan_to_num(pose.keypoints), raw)


def test_real_csv(data):
    mouse = read_pose(data / "vame_mouse" / "cropped_video.csv")
    assert mouse.keypoints.shape == (750, 1, 6, 2)
    assert mouse.keypoints[0, 0, 0].tolist() == pytest.approx([379.31797, 911.23495])
    pair = read_pose(data / "label_formats" / "boris" / BOUT)
    assert pair.keypoints.shape == (5700, 2, 7, 2)
    assert pair.animals == ("adult", "juvenile")
    assert pair.keypoints[0, 0, 1].tolist() == pytest.approx([635.184, 691.941])
    subtle = read_pose(data / "subtle_mice" / "coords" / "adult_6112.csv", keypoints=list("abcdefghi"))
    assert subtle.keypoints.shape == (12010, 1, 9, 3)
    assert subtle.keypoints[0, 0, 8].tolist() == pytest.approx([7.3395, -3.9471, 3.2161])


@pytest.mark.parametrize(
    "path", ["mirror_mouse/CollectedData.csv", "flies/flies.mp4", "subtle_mice/annots/adult_6112.csv", "flies"]
)
def test_real_files_that_are_no_pose(data, path):
    with pytest.raises(InputError):
        read_pose(data / path)


def test_software_is_guessed_from_the_content(data, tmp_path):
    shutil.copyfile(data / "flies" / "flies.slp", tmp_path / "unnamed")
    assert guess_software(tmp_path / "unnamed") == "SLEAP"
    assert guess_software(data / "mabe" / MABE) == "DeepLabCut"


def test_reading_leaves_the_warnings_of_the_process_alone_and_tells_an_error_once(tmp_path):
    (tmp_path / "pose.csv").write_text("nose_x,nose_ncams\n1,2\n3,4\n")
    code = (
        "import warnings; shown = warnings.showwarning\n"
        "from napari_lookagain.formats.pose import read_pose\n"
        f"try: read_pose({str(tmp_path / 'pose.csv')!r})\n"
        "except ValueError as error: print(error)\n"
        "assert warnings.showwarning is shown"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    assert "could not be read as a pose file of Anipose" in told.stdout


def test_movement_is_imported_only_to_read():
    code = "import sys, napari_lookagain.formats.pose; print('movement' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
