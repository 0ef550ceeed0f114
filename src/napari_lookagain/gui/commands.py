"""Commands of the palette and the menus; each acts on the session that the viewer in use shows."""

from __future__ import annotations

from functools import partial

from napari import current_viewer
from napari.utils.notifications import show_info

from napari_lookagain.gui.present import SessionView


def next_bout() -> None:
    """Mark the next bout, and go to it."""
    if (view := _view()) is not None:
        _tell(view.reviewer.step(1))


def previous_bout() -> None:
    """Mark the bout before, and go to it."""
    if (view := _view()) is not None:
        _tell(view.reviewer.step(-1))


def next_uncertain() -> None:
    """Go on to the next of the bouts that the model is least sure of and nobody has scored."""
    if (view := _view()) is None:
        return
    if view.reviewer.queue:
        _tell(view.reviewer.step(1))
    elif bouts := view.reviewer.find_uncertain():
        view.reviewer.walk(bouts)
    else:
        show_info("There is no bout to be unsure of: nothing is predicted, or all of it is scored.")


def accept_bout() -> None:
    """Score what is marked, or the bout in view, as the model has it."""
    if (view := _view()) is not None:
        _tell(view.reviewer.accept())


def play_bout() -> None:
    """Play what is marked, or else from the frame in view on; stop when it is playing."""
    if (view := _view()) is not None:
        view.show_timeline()
        _tell(view.reviewer.play())


def undo() -> None:
    """Take the last act back."""
    if (view := _view()) is not None and not view.state.undo():
        show_info("There is nothing to undo.")


def redo() -> None:
    """Make the act that was taken back last again."""
    if (view := _view()) is not None and not view.state.redo():
        show_info("There is nothing to redo.")


def show_timeline() -> None:
    """Dock the timeline again after it was closed."""
    if (view := _view()) is not None:
        view.show_timeline()


def color_by_animal() -> None:
    """Color keypoints by their animal."""
    _color_by("animal")


def color_by_keypoint() -> None:
    """Color keypoints by their name."""
    _color_by("keypoint")


def _assign(key: str) -> None:
    """Score what is marked as the behavior of a key."""
    if (view := _view()) is None:
        return
    if key not in view.state.keys:
        show_info(f"No behavior has the key {key} yet; give it one in the Review step.")
    elif view.state.selection is None:
        show_info("Mark frames on the timeline first: drag over a lane, or double-click a bout.")
    else:
        view.state.assign(view.state.selection, view.state.keys[key])


assign_1, assign_2, assign_3 = (partial(_assign, key) for key in "123")
assign_4, assign_5, assign_6 = (partial(_assign, key) for key in "456")
assign_7, assign_8, assign_9 = (partial(_assign, key) for key in "789")


def _view() -> SessionView | None:
    viewer = current_viewer()
    view = None if viewer is None else SessionView.of(viewer)
    if view is None:
        show_info("No session is open; open one in the LookAgain dock, or File → Open Sample → LookAgain.")
    return view


def _tell(text: str) -> None:
    if text:
        show_info(text)


def _color_by(what: str) -> None:
    if (view := _view()) is not None:
        view.keypoints.colored_by = what
