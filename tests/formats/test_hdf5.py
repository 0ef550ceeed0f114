"""Nothing that hides in an HDF5 file runs, and genuine files still read."""

from __future__ import annotations

import os
import pickle
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import tables

from napari_lookagain.errors import InputError
from napari_lookagain.formats.hdf5 import open_hdf5, read_frame
from napari_lookagain.formats.pose import read_pose

KEY = "df_with_missing"


def frame(n_frames=6):
    columns = pd.MultiIndex.from_product(
        [["DLC_resnet50"], ["mäuse", "b"], ["nose", "tail"], ["x", "y", "likelihood"]],
        names=["scorer", "individuals", "bodyparts", "coords"],
    )
    return pd.DataFrame(np.random.default_rng(0).random((n_frames, 12)), columns=columns)


class Bait:
    """Unpickling it makes a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture(params=["fixed", "table"])
def genuine(request, tmp_path):
    path = tmp_path / f"{request.param}.h5"
    frame().to_hdf(path, key=KEY, format=request.param)
    return path


def test_both_layouts_of_pandas_read_as_pandas_reads_them(genuine):
    with open_hdf5(genuine) as file:
        read = read_frame(file, KEY)
    pd.testing.assert_frame_equal(read, frame(), check_names=False)


def test_blocks_of_several_types_come_back_in_their_order(tmp_path):
    mixed = frame().astype({("DLC_resnet50", "mäuse", "tail", "x"): np.int32})
    mixed.to_hdf(tmp_path / "mixed.h5", key=KEY)
    with open_hdf5(tmp_path / "mixed.h5") as file:
        assert int(file[KEY].attrs["nblocks"]) == 2
        pd.testing.assert_frame_equal(read_frame(file, KEY), mixed, check_names=False, check_dtype=False)


def test_the_bait_works(tmp_path):
    pickle.loads(pickle.dumps(Bait(tmp_path / "ran"), 0))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place, attribute", [("/", "TITLE"), (KEY, "info"), (KEY, "evil"), (f"{KEY}/deep", "name")])
def test_pickled_code_in_an_attribute_is_refused_unrun(genuine, tmp_path, place, attribute, protocol):
    trace = tmp_path / "ran"
    with h5py.File(genuine, "r+") as file:
        file.require_group(place).attrs[attribute] = np.bytes_(pickle.dumps(Bait(trace), protocol))
    with pytest.raises(InputError, match=rf"pickled Python objects \(in .*{attribute}\), which can run code"):
        read_pose(genuine)
    assert not trace.exists()


def test_pickled_code_in_place_of_the_column_names_is_refused_unrun(tmp_path):
    path, trace = tmp_path / "table.h5", tmp_path / "ran"
    frame().to_hdf(path, key=KEY, format="table")
    with h5py.File(path, "r+") as file:
        file[f"{KEY}/table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps([Bait(trace)], 0))
    for software in (None, "DeepLabCut"):
        with pytest.raises(InputError, match="can run code"):
            read_pose(path, software)
    assert not trace.exists()


def test_column_names_that_are_no_names_are_refused(tmp_path):
    path = tmp_path / "table.h5"
    for names, message in ([{"x": 1}], "pickled with DICT"), ([(1, 2, 3)] * 12, "not text"):
        frame().to_hdf(path, key=KEY, format="table", mode="w")
        with h5py.File(path, "r+") as file:
            file[f"{KEY}/table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(names, 0))
        with pytest.raises(InputError, match=message):
            read_pose(path)


def test_an_array_of_pickled_objects_is_refused_unrun(genuine, tmp_path):
    trace = tmp_path / "ran"
    with tables.open_file(genuine, "a") as file:
        objects = file.create_vlarray(f"/{KEY}", "extra", tables.ObjectAtom())
        objects.append(Bait(trace))
    with pytest.raises(InputError, match="PSEUDOATOM"):
        read_pose(genuine)
    assert not trace.exists()


def test_sleap_and_nwb_files_are_searched_too(data, tmp_path):
    for name in ("flies.analysis.h5", "flies.slp"):
        path = tmp_path / name
        shutil.copyfile(data / "flies" / name, path)
        with h5py.File(path, "r+") as file:
            file.attrs["evil"] = np.bytes_(pickle.dumps(Bait(tmp_path / "ran"), 0))
        with pytest.raises(InputError, match="can run code"):
            read_pose(path)
    path = tmp_path / "pose.nwb"
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file.create_group("processing").attrs["evil"] = np.bytes_(pickle.dumps(Bait(tmp_path / "ran"), 0))
    with pytest.raises(InputError, match="can run code"):
        read_pose(path)
    assert not (tmp_path / "ran").exists()


def test_plain_text_is_no_pickle(genuine):
    with h5py.File(genuine, "r+") as file:
        file.attrs["note"] = np.bytes_(b"copied from the rig on Monday.")
        file.attrs["none"] = np.bytes_(b"N.")
    assert read_pose(genuine).animals == ("mäuse", "b")


def test_a_file_cut_off_anywhere_is_refused(genuine, tmp_path):
    whole = genuine.read_bytes()
    for size in (1, 100, 2000, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cut off, damaged or another kind"):
            read_pose(cut)
