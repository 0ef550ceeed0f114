"""The folder NAME.lookagain: what is in it, written whole or not at all, read with every doubt.

::

    NAME.lookagain/
      session.json     schema, frame rate, names, and where video and pose are
      keypoints.npz    what was read: keypoints, confidence, edited
      keypoints.jsonl  keypoints that people moved since, a line for each
      annotations/     who says what, when
      runs/NAME/       a model and what it found
      features/        visual features, computed once
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.npz import read_npz
from napari_lookagain.sources import PoseSource, VideoSource, find, to_json

if TYPE_CHECKING:
    from napari_lookagain.session import Session

SCHEMA = 2  # raised whenever an older version could not read the folder any more
_TRACKED = 1  # what is written while an older version can: it knows no session without a pose file


def write_folder(session: Session, folder: Path) -> None:
    """Write a session to a new folder and keep its annotations there from then on; on an error nothing is left.

    Raises
    ------
    InputError
        When there is something at `folder` already, or it cannot be written.
    """
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists already; choose another name, or remove it first.")
    edited = np.zeros(session.confidence.shape, bool) if session.edited is None else session.edited
    building = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
    with _removed_on_error(building, folder):
        for part in ("annotations", "runs", "features"):
            (building / part).mkdir(parents=True)
        with atomic_path(building / "keypoints.npz") as temporary:
            np.savez(temporary, keypoints=session.keypoints, confidence=session.confidence, edited=edited)
        write_record(session, building, folder)
        if session.video is not None and session.video.packets is not None:  # what was read once need not be again
            from napari_lookagain.packet_index import keep_index

            keep_index(session.video.packets, building / "features" / session.video.packets_name, session.video.path)
        building.rename(folder)
    # Last, and in place: both go on in the file they were saved to, so it must not move.
    with _removed_on_error(folder, folder):
        session.annotations.save(folder / "annotations")
        session.corrections.save(folder / "keypoints.jsonl")


def write_record(session: Session, folder: Path, home: Path | None = None) -> None:
    """Write session.json in a folder that is, or will be, at `home`."""
    home = home or folder
    record = {
        "schema": SCHEMA if session.pose is None else _TRACKED,
        "recording": session.recording,
        "fps": session.fps,
        "n_frames": session.n_frames,
        "animals": session.animals,
        "keypoints": session.keypoint_names,
        "heading": session.heading,
        "pose": None if session.pose is None else to_json(session.pose, home),
        "video": None if session.video is None else to_json(session.video, home),
    }
    with atomic_path(folder / "session.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_folder(folder: Path) -> dict[str, Any]:
    """Read what `Session` is made of.

    Raises
    ------
    InputError
        When it is no session folder, is damaged or unreadable, or was written by a newer version.
    """
    record = _read_record(folder)
    try:
        animals = tuple(record["animals"])
        fields = {
            "recording": str(record["recording"]),
            "animals": animals,
            "keypoint_names": tuple(record["keypoints"]),
            "fps": float(record["fps"]),
            "heading": record["heading"] and tuple(record["heading"]),
            "pose": None if record["pose"] is None else PoseSource(**_source(record["pose"], folder)),
            "video": record["video"] and VideoSource(**_source(record["video"], folder)),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / 'session.json'} is damaged ({type(error).__name__}: {error}); restore it from a backup."
        ) from error
    keypoints, confidence, edited = _read_arrays(folder / "keypoints.npz")
    return {
        **fields,
        "keypoints": keypoints,
        "confidence": confidence,
        "edited": edited if edited.any() else None,
        "annotations": Annotations.open(folder / "annotations", len(keypoints), animals),
        "path": folder,
    }


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "session.json"
    try:
        record = json.loads(path.read_bytes())
        schema = int(record["schema"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{folder} is no session folder: there is no session.json; make one with lookagain new."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); restore it from a backup.") from error
    if schema > SCHEMA:
        raise InputError(
            f"{folder} was written by a newer version (schema {schema}, this one reads up to {SCHEMA}); "
            "update napari-lookagain."
        )
    return dict(record)


def _source(recorded: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {key: value for key, value in recorded.items() if key != "relative"} | {"path": find(recorded, folder)}


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        arrays = read_npz(path)
        return (
            arrays["keypoints"].astype(np.float32, copy=False),
            arrays["confidence"].astype(np.float32, copy=False),
            arrays["edited"].astype(bool, copy=False),
        )
    except (OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, BadZipFile) as error:
        raise InputError(f"{path} is missing or damaged ({error}); restore it from a backup.") from error


@contextmanager
def _removed_on_error(written: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        shutil.rmtree(written, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"{folder} cannot be written ({error.strerror}); choose another place.") from error
        raise
