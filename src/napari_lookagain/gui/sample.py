"""Sample data: a recording of simulated mice, drawn once and kept with all that is done to it."""

from __future__ import annotations

from pathlib import Path

from napari.utils import progress
from qtpy.QtCore import QStandardPaths

from napari_lookagain.gui.layers.layers import LayerData
from napari_lookagain.gui.reader import is_session_folder, show_in_current_viewer
from napari_lookagain.session import Session, load_session
from napari_lookagain.simulate import simulate_session

_NAME = "simulated-mice"


def simulated_mice() -> list[LayerData]:
    """Open the simulated session, for *File → Open Sample*."""
    with progress(total=0, desc="Drawing simulated mice"):
        session = sample_session(samples_folder())
    return show_in_current_viewer(session)


def samples_folder() -> Path:
    """Where samples are kept: among the data of this user's programs."""
    data = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)
    return Path(data) / "napari-lookagain"


def sample_session(folder: Path) -> Session:
    """Two mice for 40 seconds, the first half scored; as it was left when it was opened before.

    Raises
    ------
    InputError
        When the folder cannot be written, or the session in it is damaged.
    """
    path = folder / f"{_NAME}.lookagain"
    if is_session_folder(path):
        return load_session(path)
    session = simulate_session(folder, n_frames=1000, name=_NAME)
    annotations = session.annotations
    for animal in range(session.n_animals):
        annotations.clear(animal, session.n_frames // 2, session.n_frames, annotations.raters[0])
    session.save(path)
    return session
