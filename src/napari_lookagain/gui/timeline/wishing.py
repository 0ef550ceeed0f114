"""What a person wants of the looks at marked frames: by key or by menu, told in words."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QMenu, QWidget

from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.timeline.editing import name_frames
from napari_lookagain.looks import What
from napari_lookagain.session import Session

KEYS: dict[str, What | None] = {"l": "pin", "n": "mute", "g": None}
"""Of the animal that is marked; with Shift, of all animals."""

_DONE = {"pin": "Always looked at", "mute": "Never looked at", None: "Looked at where the gate wants"}
_OFFER = {"pin": "Always look at {}", "mute": "Never look at {}", None: "Look at {} where the gate wants"}
_FROM_NOW = ", from the next run or Look again on."


def wish(state: SessionState, what: What | None, everyone: bool = False) -> str:
    """Say what is wanted of the looks at marked frames, of one animal or of all.

    Returns
    -------
    str
        What a person should be told.
    """
    if reason := why_not(state.session):
        return reason
    if state.selection is None:
        return "Mark frames first: drag over a lane, double-click a bout, or press [ and ]."
    state.wish(what, state.selection, everyone=everyone)
    back = "" if what is None else " G takes it back."
    return f"{_DONE[what]}: {_meant(state, everyone)}{_FROM_NOW}{back}"


def why_not(session: Session) -> str:
    """Why nothing can be wanted of the looks at a session; empty when it can."""
    if session.video is None:
        return "This recording has no video to look at."
    if not session.has_keypoints:
        return "A recording without keypoints has no gate: all of its frames are looked at."
    if session.path is None:
        return "The session is in memory only; save it first: what is wanted of the looks is kept in its folder."
    return ""


def offer_wishes(timeline: QWidget, state: SessionState, act: Callable[[What | None, bool], object]) -> QMenu:
    """A menu of all that can be wanted of the looks at marked frames; `act` is told what, and whether of all animals.

    What cannot be done now is there all the same, and its tooltip says why.
    """
    menu = QMenu(timeline)
    for everyone in (False, True) if state.session.n_animals > 1 else (False,):
        if everyone:
            menu.addSeparator()
        for key, what in KEYS.items():
            _add(menu, state, what, key, everyone, act)
    menu.setToolTipsVisible(True)
    return menu


def _add(
    menu: QMenu,
    state: SessionState,
    what: What | None,
    key: str,
    everyone: bool,
    act: Callable[[What | None, bool], object],
) -> None:
    reason = why_not(state.session) or ("" if state.selection else "Mark frames first: drag over a lane.")
    frames = "marked frames" if state.selection is None else _meant(state, everyone)
    shortcut = f"Shift+{key.upper()}" if everyone else key.upper()
    action = menu.addAction(f"{_OFFER[what].format(frames)}\t{shortcut}")  # shown only: the timeline takes its keys
    action.setEnabled(not reason)
    action.setToolTip(reason or "Holds from the next run or Look again on")
    action.triggered.connect(lambda *_: act(what, everyone))


def _meant(state: SessionState, everyone: bool) -> str:
    assert state.selection is not None
    whose = "all animals" if everyone else state.session.animals[state.selection.animal]
    return f"{name_frames(state.selection)} of {whose}"
