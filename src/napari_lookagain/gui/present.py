"""A session in a viewer: its layers, its timeline and the frame in view, kept in step with its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QFocusEvent, QKeyEvent
from qtpy.QtWidgets import QApplication

from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import load_ethogram
from napari_lookagain.gui.layers.badge import LookedBadge
from napari_lookagain.gui.layers.keypoint_follower import KeypointFollower
from napari_lookagain.gui.layers.layers import KEYPOINTS, STRIP, VIDEO, LayerData, layers_of, role_of
from napari_lookagain.gui.layers.player import Player
from napari_lookagain.gui.layers.session_layers import SessionLayers, lanes_of
from napari_lookagain.gui.layers.strip_follower import StripFollower
from napari_lookagain.gui.preferences import preferred
from napari_lookagain.gui.review.reviewer import Reviewer
from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.timeline import Timeline
from napari_lookagain.kept_runs import kept_runs
from napari_lookagain.naming import Naming
from napari_lookagain.session import Session, load_session

TIMELINE = "LookAgain timeline"
DOCK = ("napari-lookagain", "LookAgain")
_KEYS = "123456789[]"


def open_in_viewer(viewer: ViewerModel, session: Session) -> SessionView:
    """Show a session in place of the one that the viewer shows, with its latest runs.

    Parameters
    ----------
    viewer
        Without a window, as a `ViewerModel` is, it gets layers only.
    session
        Loaded, or in memory.

    Raises
    ------
    InputError
        When another video stands in the place of that of the session, or a run is damaged; nothing is opened then.
    """
    view, layers = present(viewer, session)
    for layer in layers:
        view.layers.add(layer)
    keypoints, video = view.layers.get(KEYPOINTS), view.layers.get(VIDEO)
    viewer.layers.selection.active = video if keypoints is None else keypoints  # keys go to the one that is active
    return view


def open_window(folder: Path) -> None:
    """Open a session folder in a napari of its own, and wait until it is closed.

    Raises
    ------
    InputError
        As in `load_session` and `open_in_viewer`, and when the video is not where it was; no window is opened then.
    """
    session = load_session(folder)
    if session.video is not None:
        session.open_video().close()
    open_in_viewer(napari.Viewer(), session)
    napari.run()


def prepare(session: Session) -> tuple[SessionState, list[LayerData]]:
    """Make the state of a session, with its latest runs, and the layers of all there is to show; errors as above."""
    state = SessionState(session)
    state.rater = preferred("rater")
    show_latest_runs(state)
    return state, layers_of(state)


def present(viewer: ViewerModel, session: Session) -> tuple[SessionView, list[LayerData]]:
    """Get all ready for the layers of a session, and leave it to the caller to add them, as napari does for a reader.

    Every docked widget with a method ``show_view`` is told of the session; where there is none, the dock is opened.
    """
    state, layers = prepare(session)
    view = SessionView(viewer, state)
    if (window := getattr(viewer, "window", None)) is not None:
        docks = [widget for widget in window.dock_widgets.values() if hasattr(widget, "show_view")]
        for dock in docks:
            dock.show_view(view)
        if not docks:
            window.add_plugin_dock_widget(*DOCK)  # it finds the session by itself
    return view, layers


def show_latest_runs(state: SessionState) -> None:
    """Put the latest finished run of clusters, with the names given to them, and that of behaviors in view."""
    for run in {run.kind: run for run in reversed(kept_runs(state.session)) if run.finished}.values():
        if run.kind == "cluster":
            naming = Naming.open(run.folder)
            state.show(naming.found, naming)
        else:
            state.show(load_ethogram(run.folder / "ethogram.npz"))


class SessionView:
    """Keeps a viewer and the state of a session in step: frame, layers, timeline.

    Layers may come from anywhere (from `open_in_viewer`, or from napari, which adds what the reader gave it) and may be
    changed, hidden or removed by anybody; they are taken care of from when they are added.

    Parameters
    ----------
    viewer
        In which the session is shown, instead of the one before.
    state
        Of the session.

    Attributes
    ----------
    layers
        Those of the session.
    keypoints
        Keeps the keypoints around the frame in view; `keypoints.colored_by` says what their colors tell.
    timeline
        In the bottom dock; None without a window, or when it was closed.
    reviewer
        Walks through bouts, and scores while the video plays.
    """

    def __init__(self, viewer: ViewerModel, state: SessionState) -> None:
        if (before := SessionView.of(viewer)) is not None:
            before.close()
        self.viewer, self.state = viewer, state
        self.layers = SessionLayers(viewer, state.session)
        self.keypoints = KeypointFollower(self.layers, state)
        self._strip = StripFollower(self.layers, state, self._show_lanes, self._show_part)
        self._badge = LookedBadge(viewer, state)
        self._follows = False
        self.reviewer = Reviewer(self)
        self.timeline: SessionTimeline | None = None
        self.show_timeline()
        state.frame_changed.connect(self._show_frame)
        viewer.layers.events.inserted.connect(self._adopt, position="last")
        viewer.layers.events.removed.connect(self._show_lanes)

    @staticmethod
    def of(viewer: ViewerModel) -> SessionView | None:
        """The session that a viewer shows: a docked widget, the timeline or the dock, has it as its `view`."""
        window = getattr(viewer, "window", None)
        widgets = () if window is None else window.dock_widgets.values()
        views = (getattr(widget, "view", None) for widget in widgets)
        return next((view for view in views if isinstance(view, SessionView)), None)

    @property
    def active_animal(self) -> int:
        """The animal that keys act on."""
        return 0 if self.timeline is None else self.timeline.active_animal

    def show_timeline(self) -> None:
        """Dock the timeline below the canvas, if it was closed."""
        window = getattr(self.viewer, "window", None)
        if window is not None and self.timeline is None:
            self.timeline = SessionTimeline(self)
            dock = window.add_dock_widget(self.timeline, name=TIMELINE, area="bottom")
            dock.destroyed.connect(self._forget_timeline)
            # beside napari's own docks, not below them: else all of it is higher than a small screen
            dock.parent().setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
            self._show_lanes()
            QTimer.singleShot(0, self._fit)  # once the canvas has the size that the timeline leaves it

    def close(self) -> None:
        """Take everything out of the viewer; what a person did is on disk already."""
        self.state.close()
        events = self.viewer.layers.events
        events.inserted.disconnect(self._adopt)
        events.removed.disconnect(self._show_lanes)
        if self._follows:
            self.viewer.dims.events.point.disconnect(self._follow_dims)
        self.layers.remove()
        self._badge.remove()
        if self.timeline is not None:
            self.viewer.window.remove_dock_widget(self.timeline)

    def _adopt(self, event: Any) -> None:
        layer = event.value
        if layer not in self.layers:
            return
        self.keypoints.adopt(layer)
        self._strip.adopt(layer)
        for key in _KEYS:  # which mean modes of the layer otherwise
            layer.bind_key(key, self._passer(key), overwrite=True)
        if not self._follows:  # only now: napari goes to the middle of the first layer there is
            self._follows = True
            self.viewer.dims.events.point.connect(self._follow_dims)
            self._show_frame(self.state.frame)
        if role_of(layer) in STRIP:
            self.viewer.reset_view()

    def _passer(self, key: str) -> Callable[[Layer], Iterator[None]]:
        """Let a key pressed over the canvas mean what it means on the timeline; what follows `yield` is its release."""

        def pass_to_timeline(layer: Layer) -> Iterator[None]:
            if self.timeline is not None:
                self.timeline.press(key)
            yield
            if self.timeline is not None:
                self.timeline.release(key)

        return pass_to_timeline

    def _follow_dims(self) -> None:
        point = self.viewer.dims.point
        if len(point) >= 3:
            self.state.seek(round(point[-3]))

    def _show_frame(self, frame: int) -> None:
        dims = self.viewer.dims
        if dims.ndim >= 3 and round(dims.point[-3]) != frame:
            dims.set_point(dims.ndim - 3, frame)

    def _show_lanes(self) -> None:
        if self.timeline is not None:
            self.timeline.set_lanes(lanes_of(self.viewer))

    def _show_part(self, role: str, animal: int, start: int, stop: int) -> None:
        if self.timeline is not None:
            self.timeline.update_lane(role, animal, start, stop)

    def _fit(self) -> None:
        if self.timeline is not None:
            self.viewer.reset_view()

    def _forget_timeline(self) -> None:
        if self.timeline is not None:
            self.timeline.deleteLater()
            self.timeline = None


class SessionTimeline(Timeline):
    """The timeline of the session in a viewer.

    Attributes
    ----------
    view
        Of the session.
    player
        Plays bouts.
    """

    def __init__(self, view: SessionView) -> None:
        super().__init__(view.state)
        self.view = view
        self.player = Player(view.state, self)
        reviewer = view.reviewer
        self.undo_requested.connect(partial(self._act, reviewer.undo))
        self.redo_requested.connect(partial(self._act, reviewer.redo))
        self.key_pressed.connect(lambda key: reviewer.recorder.press(key, self.active_animal))
        self.key_released.connect(reviewer.recorder.release)
        acts: dict[str, Callable[[], str]] = {".": partial(reviewer.step, 1), ",": partial(reviewer.step, -1)}
        acts |= {"a": reviewer.accept, "Space": reviewer.play, "Esc": reviewer.rest}
        self.bind({key: partial(self._act, act) for key, act in acts.items()})
        self._take_keys()
        links = ((view.state.classes_changed, self._take_keys), (reviewer.recorder.told, self.tell))
        for signal, slot in links:
            signal.connect(slot)
            self.destroyed.connect(lambda *_, signal=signal, slot=slot: signal.disconnect(slot, missing_ok=True))

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """End what is recorded: the key will go up elsewhere."""
        super().focusOutEvent(event)
        if self.view.reviewer.recorder.hold:
            self.view.reviewer.recorder.cancel()

    def _take_keys(self) -> None:
        self.keys = self._state.keys

    def _act(self, act: Callable[[], str]) -> None:
        try:
            self.tell(act())
        except InputError as error:
            self.tell(str(error))

    def press(self, key: str) -> None:
        """Do what a key does here, wherever it was pressed."""
        self._send(QEvent.Type.KeyPress, key)

    def release(self, key: str) -> None:
        """Take the release of a key."""
        self._send(QEvent.Type.KeyRelease, key)

    def _send(self, kind: QEvent.Type, key: str) -> None:
        QApplication.sendEvent(self, QKeyEvent(kind, ord(key.upper()), Qt.KeyboardModifier.NoModifier, key))
