"""Opens session folders in napari's own ways: dropped on the canvas, from its menu, as ``napari NAME.lookagain``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from napari import current_viewer
from napari.utils.notifications import show_warning

from napari_lookagain.gui.layers.layers import LayerData
from napari_lookagain.gui.present import prepare, present
from napari_lookagain.session import Session, load_session


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Give the reader of a session folder; None for anything else."""
    return read_session if isinstance(path, str) and is_session_folder(path) else None


def is_session_folder(path: str | Path) -> bool:
    """Whether a path is a folder whose name ends on ``.lookagain``."""
    return Path(path).suffix == ".lookagain" and os.path.isdir(path)


def read_session(path: str) -> list[LayerData]:
    """Read a session folder, and show it in the viewer in use, which is about to add these layers.

    Raises
    ------
    InputError
        When it is damaged, or another video stands in the place of its own.
    """
    return show_in_current_viewer(load_session(path))


def show_in_current_viewer(session: Session) -> list[LayerData]:
    """Get all of a session shown but its layers, which are left to napari; without a viewer there are layers only."""
    video = session.video
    if video is not None and not os.path.isfile(video.path):
        show_warning(f"The video of this session is not at {video.path}; open it in the LookAgain dock to find it.")
    viewer = current_viewer()
    return prepare(session)[1] if viewer is None else present(viewer, session)[1]
