"""Pose files of other programs, in this package's axes and names.

`movement` arranges the tables of DeepLabCut and Lightning Pose and reads SLEAP, Anipose and NWB. Ours is what it does
not do: tell the formats apart, read HDF5 tables without running code (see `hdf5`), put back the frames and keypoints
that a table leaves out (see `deeplabcut`), read plain numbers, and mend what a tracker says about missing keypoints.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.formats.deeplabcut import frame_keys, read_header, read_rows, read_table
from napari_lookagain.formats.hdf5 import open_hdf5

SOFTWARE = ("DeepLabCut", "SLEAP", "LightningPose", "Anipose", "NWB", "xyz")
ONLY_ANIMAL = "animal_0"  # what the one animal is called that nobody named
_UNNAMED = (["individual_0"], ["id_0"])  # what movement calls an animal that the file does not name


@dataclass(frozen=True)
class PoseData:
    """What a pose file says.

    Parameters
    ----------
    keypoints
        (T, A, J, C) float32, C = 2 or 3, in the units of the file (pixels wherever it was tracked in one video);
        NaN = missing.
    confidence
        (T, A, J) float32 in [0, 1]; 0 where missing, 1 where present if the tracker gives none.
    animals, keypoint_names
        Names along A and J.
    fps
        Frames per second, None where neither the caller nor the file says.
    software
        One of `SOFTWARE`.
    """

    keypoints: np.ndarray
    confidence: np.ndarray
    animals: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    fps: float | None
    software: str


def read_pose(
    path: str | Path,
    software: str | None = None,
    fps: float | None = None,
    keypoints: Sequence[str] | None = None,
) -> PoseData:
    """Read the tracked pose of one recording.

    A missing keypoint comes out as NaN with confidence 0, whichever way the file says it: NaN, an infinite or lacking
    coordinate, a row or column that is not there, or exactly (0, 0) in DeepLabCut files. Confidence over 1 is clipped.

    Parameters
    ----------
    path
        DeepLabCut .csv or .h5, SLEAP .slp or .analysis.h5, Lightning Pose .csv, Anipose .csv, .nwb, or numbers
        without a header: one row per frame, x, y[, z] of one keypoint after the other.
    software
        One of `SOFTWARE`, in any spelling of case and hyphens; by default guessed from the content of the file.
    fps
        Frames per second; by default what the file says, if anything.
    keypoints
        For numbers without a header, the name of each keypoint; else those to keep, in this order (default: all).

    Raises
    ------
    InputError
        When the file cannot be read, is of another kind, cut off or empty, holds labelled images instead of a track or
        pickled objects, has fewer than two frames or no keypoint anywhere, or does not fit `keypoints`.
    """
    path = Path(path)
    names = None if keypoints is None else tuple(keypoints)
    if names is not None and not 0 < len(names) == len(set(names)):
        raise InputError(f"The keypoints to read must be named, each once; got {', '.join(names) or 'no name'}.")
    _check_file(path)
    software = guess_software(path) if software is None else _known_software(software)
    try:
        pose = _READERS[software](path, names)
    except InputError:
        raise
    except Exception as error:  # on damaged files the libraries below raise nearly anything
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{path} could not be read as a pose file of {software}: {reason}.") from error
    if names is not None:
        pose = _selected(path, pose, names)
    if len(pose.keypoints) < 2:
        raise InputError(f"{path} holds {len(pose.keypoints)} frame, expected a recording of at least 2.")
    if np.isnan(pose.keypoints).all():
        raise InputError(f"{path} holds no keypoint in any of its {len(pose.keypoints)} frames: nothing was tracked.")
    return pose if fps is None else replace(pose, fps=fps)


def guess_software(path: str | Path) -> str:
    """Tell which program wrote a pose file from its content; one of `SOFTWARE`.

    DeepLabCut and Lightning Pose write the same csv and differ in the name of the scorer only.

    Raises
    ------
    InputError
        When the file is of no kind that is known.
    """
    path = Path(path)
    if h5py.is_hdf5(path) or path.suffix in (".h5", ".slp", ".nwb"):
        with open_hdf5(path) as file:
            software = _hdf5_software(file)
    else:
        software = _csv_software(next(iter(read_header(path, 1)), []))
    if software is None:
        raise InputError(
            f"{path} is no pose file that is known; expected DeepLabCut (csv, h5), SLEAP (slp, analysis.h5), "
            "Lightning Pose csv, Anipose csv, NWB, or a csv of numbers without a header."
        )
    return software


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty, expected a pose file; copy or export it again.")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}), expected a pose file; check the path.") from error


def _hdf5_software(file: h5py.File) -> str | None:
    if "tracks" in file or "pred_points" in file:
        return "SLEAP"
    if "nwb_version" in file.attrs:
        return "NWB"
    return "DeepLabCut" if frame_keys(file) else None


def _csv_software(cells: list[str]) -> str | None:
    if not cells:
        return None
    if cells[0].strip().lower() == "scorer":
        return "LightningPose" if any("tracker" in cell for cell in cells[1:2]) else "DeepLabCut"
    if any(cell.endswith("_x") and f"{cell[:-2]}_ncams" in cells for cell in cells):
        return "Anipose"
    return "xyz" if all(map(_is_number, cells)) else None


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _known_software(name: str) -> str:
    known = {software.lower(): software for software in SOFTWARE}
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if plain not in known:
        raise InputError(f"{name!r} is no software that is known; expected one of {', '.join(SOFTWARE)}.")
    return known[plain]


@contextmanager
def _movement() -> Iterator[Any]:
    """Lend movement's readers, which take seconds to import.

    Importing movement sends every warning of the process to its own log, and it prints each error before raising it;
    both are held back, for an error is told once and in our words.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from movement.io import load_poses
        from movement.utils.logging import logger

        logger.disable("movement")
        try:
            yield load_poses
        finally:
            logger.enable("movement")


def _read_dlc(path: Path, names: tuple[str, ...] | None) -> PoseData:
    table = read_table(path)
    with _movement() as load_poses:
        return _from_movement(load_poses.from_dlc_style_df(table), "DeepLabCut")


def _read_lightning_pose(path: Path, names: tuple[str, ...] | None) -> PoseData:
    table = read_table(path)
    with _movement() as load_poses:
        return _from_movement(load_poses.from_dlc_style_df(table, source_software="LightningPose"), "LightningPose")


def _read_anipose(path: Path, names: tuple[str, ...] | None) -> PoseData:
    with _movement() as load_poses:
        return _from_movement(load_poses.from_anipose_file(path), "Anipose")


def _read_sleap(path: Path, names: tuple[str, ...] | None) -> PoseData:
    with open_hdf5(path) as file:
        if "pred_points" in file:
            _refuse_untracked(path, file)
    with _movement() as load_poses:
        return _from_movement(load_poses.from_sleap_file(path), "SLEAP")


def _refuse_untracked(path: Path, file: h5py.File) -> None:
    """Refuse .slp files of which movement would keep one animal, or none, without a word."""
    n_instances, n_frames = len(file["instances"]), len(np.unique(file["instances"]["frame_id"]))
    if not len(file["pred_points"]):
        raise InputError(
            f"{path} holds labelled frames and no predictions; give the file that SLEAP's inference wrote."
        )
    if not len(file["tracks_json"]) and n_instances > n_frames:
        raise InputError(
            f"{path} holds {n_instances} animals in {n_frames} frames and no tracks, so nobody knows who is who; "
            "run SLEAP's tracking on it first."
        )


def _read_nwb(path: Path, names: tuple[str, ...] | None) -> PoseData:
    """Read every `PoseEstimation` of an NWB file as one animal; movement reads one that it is told the place of."""
    places: list[tuple[str, str]] = []

    def note_pose(place: str, item: h5py.Group | h5py.Dataset) -> None:
        parts = place.split("/")
        if item.attrs.get("neurodata_type") == "PoseEstimation" and parts[0] == "processing" and len(parts) == 3:
            places.append((parts[1], parts[2]))

    with open_hdf5(path) as file:
        file.visititems(note_pose)
        subject = (
            file["general/subject/subject_id"].asstr()[()] if "general/subject/subject_id" in file else ONLY_ANIMAL
        )
    if not places:
        raise InputError(f"{path} holds no pose: no PoseEstimation of ndx-pose in any processing module.")
    with _movement() as load_poses:
        poses = [_from_movement(load_poses.from_nwb_file(path, *place), "NWB") for place in places]
    if len({(len(pose.keypoints), pose.keypoint_names) for pose in poses}) > 1:
        raise InputError(f"{path} holds animals that differ in frames or keypoints, expected the same for each.")
    return replace(
        poses[0],
        keypoints=np.concatenate([pose.keypoints for pose in poses], axis=1),
        confidence=np.concatenate([pose.confidence for pose in poses], axis=1),
        animals=(subject,) if len(poses) == 1 else tuple(name for _, name in places),
    )


def _read_xyz(path: Path, names: tuple[str, ...] | None) -> PoseData:
    rows = read_rows(path, 0).to_numpy(np.float64)
    n_columns = rows.shape[1]
    if names is None:
        raise InputError(
            f"{path} has {n_columns} columns of numbers without names; name the keypoints in their order "
            "(--keypoints a,b,…), one name for each x, y, z or x, y."
        )
    n_coords, rest = divmod(n_columns, len(names))
    if rest or n_coords not in (2, 3):
        raise InputError(
            f"{path} has {n_columns} columns, which do not fit the {len(names)} keypoints named: expected "
            f"{3 * len(names)} (x, y, z of each) or {2 * len(names)} (x, y of each)."
        )
    confidence = np.full((len(rows), 1, len(names)), np.nan)
    return _mended(rows.reshape(len(rows), 1, len(names), n_coords), confidence, (ONLY_ANIMAL,), names, None, "xyz")


_READERS = {
    "DeepLabCut": _read_dlc,
    "SLEAP": _read_sleap,
    "LightningPose": _read_lightning_pose,
    "Anipose": _read_anipose,
    "NWB": _read_nwb,
    "xyz": _read_xyz,
}


def _from_movement(dataset: Any, software: str) -> PoseData:
    """Turn movement's (time, space, keypoints, individuals) into our axes."""
    animals = [str(name) for name in dataset.individuals.values]
    return _mended(
        dataset.position.transpose("time", "individuals", "keypoints", "space").values,
        dataset.confidence.transpose("time", "individuals", "keypoints").values,
        (ONLY_ANIMAL,) if animals in _UNNAMED else tuple(animals),
        tuple(str(name) for name in dataset.coords["keypoints"].values),
        dataset.attrs.get("fps"),
        software,
    )


def _mended(
    keypoints: np.ndarray,
    confidence: np.ndarray,
    animals: tuple[str, ...],
    keypoint_names: tuple[str, ...],
    fps: float | None,
    software: str,
) -> PoseData:
    """Say "missing" in one way only; a keypoint that is there without a score (NaN) is trusted."""
    with np.errstate(over="ignore"):  # a coordinate too large for float32 becomes infinite, and so missing
        keypoints = keypoints.astype(np.float32)
    missing = ~np.isfinite(keypoints).all(axis=-1)
    if software == "DeepLabCut":
        missing |= (keypoints == 0).all(axis=-1)
    keypoints[missing] = np.nan
    confidence = np.where(np.isnan(confidence), 1, confidence).clip(0, 1).astype(np.float32)
    confidence[missing] = 0
    return PoseData(keypoints, confidence, animals, keypoint_names, fps, software)


def _selected(path: Path, pose: PoseData, names: tuple[str, ...]) -> PoseData:
    unknown = [name for name in names if name not in pose.keypoint_names]
    if unknown:
        raise InputError(f"{path} has no keypoint {', '.join(unknown)}; it has {', '.join(pose.keypoint_names)}.")
    kept = [pose.keypoint_names.index(name) for name in names]
    keypoints, confidence = pose.keypoints[:, :, kept], pose.confidence[:, :, kept]
    return replace(pose, keypoints=keypoints, confidence=confidence, keypoint_names=names)
