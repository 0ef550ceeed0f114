"""The timeline: what every animal does over time, and where a person clicks, brushes and presses keys to correct it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from qtpy.QtCore import QEvent, QPoint, QSize, Qt, Signal
from qtpy.QtGui import QContextMenuEvent, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QHBoxLayout, QLabel, QScrollBar, QVBoxLayout, QWidget

from napari_lookagain.errors import InputError
from napari_lookagain.gui.state import Selection, SessionState
from napari_lookagain.gui.timeline import editing, wishing
from napari_lookagain.gui.timeline.bar import Bar
from napari_lookagain.gui.timeline.canvas import Canvas, Spot
from napari_lookagain.gui.timeline.clock import clock, grouped
from napari_lookagain.gui.timeline.hand import Hand
from napari_lookagain.gui.timeline.hover import describe
from napari_lookagain.gui.timeline.lanes import ClassLane, Lane, term_lanes
from napari_lookagain.gui.timeline.legend import Legend
from napari_lookagain.gui.timeline.theme import Theme
from napari_lookagain.gui.timeline.wish_marks import spans_of
from napari_lookagain.looks import What

_EMPTY = "Nothing to show yet: run gated segmentation, and what the animals do appears here."
_PAGE = 0.1  # of what is in view: how far from its side the cursor stands after a page was turned
_ZOOM = 0.6
_COMMAND = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier


class Timeline(QWidget):
    """Lanes of all animals over time, with a cursor that follows the frame in view.

    Click to go to a frame; turn the wheel to zoom at the mouse; drag the ruler, or with the middle button, to pan. Drag
    over a lane to mark frames, double-click to mark a bout, and press the key of a behavior to assign it. Drag the edge
    of a corrected bout to move it. Right-click to say where later runs must look, and where they must not.

    Parameters
    ----------
    state
        Of the session; whoever gives it lanes also tells of changes in them.
    """

    undo_requested = Signal()
    redo_requested = Signal()
    key_pressed = Signal(str)
    """A key of `keys` went down; it has assigned its behavior if frames are marked."""
    key_released = Signal(str)

    def __init__(self, state: SessionState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._lanes: list[Lane] = []
        self._keys: dict[str, str | None] = {}
        self._active = 0
        session = state.session
        self._canvas = Canvas(session.n_frames, session.fps, session.animals, Theme.of(self.palette()))
        self._hand = Hand(self._canvas)
        self._scroll = QScrollBar(Qt.Orientation.Vertical)
        self._empty = QLabel(_EMPTY)
        self._bar, self._legend = Bar(), Legend()
        self._build()
        self._connect()
        self._acts = self._acts_of_keys()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._canvas.set_cursor(state.frame)
        self._show_lanes()
        self._show_selection()
        self._show_wishes()

    # for the other parts of the plugin

    @property
    def keys(self) -> dict[str, str | None]:
        """Which key assigns which behavior; None makes frames unscored."""
        return dict(self._keys)

    @keys.setter
    def keys(self, keys: Mapping[str, str | None]) -> None:
        self._keys = dict(keys)
        self._legend.show_classes(self._lanes, self._keys)

    @property
    def follow(self) -> bool:
        """Whether the frame in view is kept on the timeline."""
        return self._bar.follow.isChecked()

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._bar.follow.setChecked(follow)

    @property
    def active_animal(self) -> int:
        """The animal that keys act on."""
        return self._active

    @property
    def span(self) -> tuple[float, float]:
        """The stretch of frames in view, not whole."""
        return self._canvas.span

    def set_lanes(self, lanes: Sequence[Lane]) -> None:
        """Draw these lanes, for every animal one below the other; sums over arrays that stay are kept."""
        self._lanes = list(lanes)
        self._show_lanes()

    def update_lane(self, role: str, animal: int, start: int, stop: int) -> None:
        """Draw frames [start, stop) of an animal anew, after they have changed in the array of a lane."""
        self._canvas.update_lane(role, animal, start, stop)

    def bind(self, keys: Mapping[str, Callable[[], object]]) -> None:
        """Let more keys do something, by their names; those of behaviors come first."""
        self._acts |= keys

    def tell(self, text: str) -> None:
        """Say something above the lanes."""
        self._bar.tell(text)

    def emphasize(self, role: str, code: int | None) -> None:
        """Let all classes of a lane but one fade; None brings them back."""
        self._canvas.emphasize(role, code)

    def fit(self) -> None:
        """Bring the whole recording into view."""
        self._canvas.fit()

    def show_span(self, start: float, stop: float) -> None:
        """Bring frames [start, stop) into view."""
        self._canvas.show_span(start, stop)

    def sizeHint(self) -> QSize:
        """Be low enough for a small screen."""
        return QSize(900, 280)

    # how it is put together

    def _build(self) -> None:
        self._canvas.setMinimumHeight(110)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        middle = QHBoxLayout()
        for part in (self._canvas, self._empty, self._scroll):
            middle.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self._bar)
        layout.addLayout(middle, stretch=1)
        layout.addWidget(self._legend)

    def _connect(self) -> None:
        self._bar.fit.clicked.connect(self.fit)
        self._bar.terms.toggled.connect(self._show_terms)
        self._bar.undo.clicked.connect(self.undo_requested)
        self._bar.redo.clicked.connect(self.redo_requested)
        self._canvas.span_changed.connect(self._show_scroll)
        self._scroll.valueChanged.connect(self._canvas.scroll)
        self._hand.clicked.connect(self._click)
        self._hand.double_clicked.connect(self._double_click)
        self._hand.brushed.connect(lambda *selection: self._state.select(Selection(*selection)))
        self._hand.edge_moved.connect(lambda *edge: self._edit(editing.move_edge, *edge))
        self._hand.menu_wanted.connect(self._offer)
        self._hand.hovered.connect(self._hover)
        state = self._state
        for signal, slot in (
            (state.frame_changed, self._show_frame),
            (state.selection_changed, self._show_selection),
            (state.ethograms_changed, self._show_lanes),
            (state.wishes_changed, self._show_wishes),
        ):
            signal.connect(slot)
            self.destroyed.connect(lambda *_, signal=signal, slot=slot: signal.disconnect(slot, missing_ok=True))

    def _acts_of_keys(self) -> dict[str, Callable[[], object]]:
        clear = partial(self._edit, editing.assign, None)

        def take() -> None:
            self._take(self._active, self._state.frame)

        wishes: dict[str, Callable[[], object]] = {}
        for key, what in wishing.KEYS.items():
            wishes[key] = partial(self._wish, what, False)
            wishes[key.upper()] = partial(self._wish, what, True)
        return wishes | {
            "[": lambda: self._edit(editing.start_here, self._active),
            "]": lambda: self._edit(editing.stop_here, self._active),
            "Del": clear,
            "Backspace": clear,
            "Return": take,
            "Enter": take,
            "Esc": partial(self._state.select, None),
            "f": self.fit,
            "F": self.fit,
            "+": partial(self._zoom, _ZOOM),
            "-": partial(self._zoom, 1 / _ZOOM),
            "Left": partial(self._step, -1),
            "Right": partial(self._step, 1),
            "Shift+Left": partial(self._step, -round(self._state.session.fps)),
            "Shift+Right": partial(self._step, round(self._state.session.fps)),
            "Home": partial(self._state.seek, 0),
            "End": partial(self._state.seek, self._state.session.n_frames - 1),
            "Up": lambda: self._activate(self._active - 1),
            "Down": lambda: self._activate(self._active + 1),
        }

    # what is shown

    def _show_lanes(self, *_: object) -> None:
        terms = term_lanes(self._state) if self._bar.terms.isChecked() else []
        lanes = {lane.role: lane for lane in (*self._lanes, *terms) if lane.visible}
        self._canvas.set_lanes(list(lanes.values()))
        self._canvas.setVisible(bool(lanes))
        self._empty.setVisible(not lanes)
        self._legend.show_classes(self._lanes, self._keys)

    def _show_terms(self, shown: bool) -> None:
        self._show_lanes()
        if shown and not term_lanes(self._state):
            self._bar.tell("No run in view knows the terms of the gate score.")

    def _show_frame(self, frame: int) -> None:
        self._canvas.set_cursor(frame)
        start, stop = self._canvas.span
        if self.follow and not start <= frame < stop:
            side = _PAGE if frame >= stop else 1 - _PAGE
            self._canvas.pan(frame - start - side * (stop - start))

    def _show_selection(self) -> None:
        selection = self._state.selection
        self._canvas.set_selection(selection)
        if selection is not None:
            self._activate(selection.animal)
        self._hover(None)

    def _show_wishes(self) -> None:
        self._canvas.set_wishes(spans_of(self._state.wishes))

    def _show_scroll(self) -> None:
        hidden = self._canvas.hidden
        self._scroll.setVisible(hidden > 0)
        self._scroll.setPageStep(max(self._canvas.height(), 1))
        self._scroll.setRange(0, hidden)
        self._scroll.setValue(self._canvas.top)

    def _hover(self, spot: Spot | None) -> None:
        session, selection = self._state.session, self._state.selection
        if spot is not None:
            self._bar.tell(describe(self._canvas, spot, session.fps, session.animals))
        elif selection is None:
            self._bar.tell("")
        else:
            n, animal = selection.stop - selection.start, session.animals[selection.animal]
            time = clock(n, session.fps)
            self._bar.tell(f"Marked {grouped(n)} frames ({time}) of {animal}, from frame {grouped(selection.start)}")

    # what a person does

    def _click(self, spot: Spot) -> None:
        if spot.row is not None:
            self._activate(spot.row.animal)
        self._state.seek(spot.frame)

    def _double_click(self, spot: Spot) -> None:
        if spot.row is not None:
            self._take(spot.row.animal, spot.frame, spot.row.lane)

    def _activate(self, animal: int) -> None:
        """Let keys act on an animal; what is marked of another one is let go."""
        self._active = min(max(animal, 0), self._state.session.n_animals - 1)
        self._canvas.set_active(self._active)
        if self._state.selection is not None and self._state.selection.animal != self._active:
            self._state.select(None)

    def _take(self, animal: int, frame: int, lane: Lane | None = None) -> None:
        """Mark the bout of an animal at a frame: that in a lane, or else the one that counts."""
        found = lane.bout_at(animal, frame) if isinstance(lane, ClassLane) else None
        if found is None and (bout := self._state.bout_at(animal, frame)) is not None:
            found = bout.start, bout.stop
        if found is not None:
            self._state.select(Selection(animal, *found))

    def _edit(self, edit: Callable[..., str], *values: object) -> None:
        """Make an edit, and tell what was done or why it could not be."""
        try:
            told = edit(self._state, *values)
        except InputError as error:
            told = str(error)
        self._bar.tell(told)

    def _wish(self, what: What | None, everyone: bool) -> None:
        self._edit(wishing.wish, what, everyone)

    def _offer(self, spot: Spot, place: QPoint) -> None:
        """Offer what can be wanted of the looks at marked frames; of the mark or the bout there, where none are."""
        selection, row = self._state.selection, spot.row
        if row is not None and (selection is None or selection.animal != row.animal):
            if (wish := self._canvas.wish_at(row.animal, spot.frame)) is not None:
                self._state.select(Selection(row.animal, wish.start, wish.stop))
            else:
                self._take(row.animal, spot.frame, row.lane)
        self._show_menu(place)

    def _show_menu(self, place: QPoint) -> None:
        menu = wishing.offer_wishes(self, self._state, self._wish)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(place)

    def _press_key(self, key: str) -> None:
        if self._state.selection is not None:
            self._edit(editing.assign, self._keys[key])
        self.key_pressed.emit(key)

    def _step(self, frames: int) -> None:
        self._state.seek(self._state.frame + frames)

    def _zoom(self, factor: float) -> None:
        start, stop = self._canvas.span
        inside = start <= self._state.frame < stop
        self._canvas.zoom(factor, self._state.frame + 0.5 if inside else (start + stop) / 2)

    # Qt's events

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._canvas.set_theme(Theme.of(self.palette()))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Take the menu key; a right click beside the lanes is left to the window."""
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self._show_menu(event.globalPos())
        else:
            super().contextMenuEvent(event)

    def event(self, event: QEvent) -> bool:
        """Keep the keys that mean something here from the shortcuts of the window."""
        if event.type() == QEvent.Type.ShortcutOverride and self._act_of(event) is not None:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Do what a key means; a key without a meaning is left to the viewer."""
        act = self._act_of(event)
        if act is None:
            super().keyPressEvent(event)
        elif not (event.isAutoRepeat() and _key(event) in self._keys):
            act()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Tell of the release of a behavior's key."""
        if _key(event) not in self._keys:
            super().keyReleaseEvent(event)
        elif not event.isAutoRepeat():
            self.key_released.emit(_key(event))

    def _act_of(self, event: QKeyEvent) -> Callable[[], object] | None:
        if event.matches(QKeySequence.StandardKey.Undo):
            return self.undo_requested.emit
        if event.matches(QKeySequence.StandardKey.Redo):
            return self.redo_requested.emit
        if event.modifiers() & _COMMAND:
            return None
        key = _key(event)
        return partial(self._press_key, key) if key in self._keys else self._acts.get(key)


def _key(event: QKeyEvent) -> str:
    """Name a key: by what it writes, or as Qt calls it."""
    text = event.text()
    if text.isprintable() and text.strip():
        return text
    shift = "Shift+" if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else ""
    return shift + QKeySequence(event.key()).toString()
