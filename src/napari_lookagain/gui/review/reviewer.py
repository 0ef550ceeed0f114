"""What a person does with bouts, from buttons, keys and commands alike: go on to the next, play it, agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lookagain.annotations import UNSCORED, Bout
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.gui.review.recorder import Recorder
from napari_lookagain.gui.state import Selection
from napari_lookagain.review import uncertain_bouts
from napari_lookagain.scoring import bout_beside

if TYPE_CHECKING:
    from napari_lookagain.gui.present import SessionView


class Reviewer:
    """Walks through bouts, marks them and goes to them; every method tells what a person should read, if anything.

    Parameters
    ----------
    view
        Of the session, with its timeline.

    Attributes
    ----------
    recorder
        Scores while the video plays.
    speed
        At which `play` plays; 1 is that of the recording.
    queue
        Bouts that `step` walks through; empty for all bouts of the animal in use.
    place
        In the queue.
    """

    changed = Signal()
    """There is another queue, or another place in it."""

    def __init__(self, view: SessionView) -> None:
        self._view, self._state = view, view.state
        self.recorder = Recorder(view.state)
        self.speed = 1.0
        self.queue: tuple[Bout, ...] = ()
        self.place = 0
        view.state.labels_changed.connect(self._go_on)
        view.state.ethograms_changed.connect(self._leave_queue)

    @property
    def model(self) -> Ethogram | None:
        """Whose word is reviewed: the predicted behaviors, or else the clusters."""
        naming = self._state.naming
        return self._state.predicted or (None if naming is None else naming.ethogram)

    def find_uncertain(self) -> list[Bout]:
        """The bouts that the model in view is least sure of, and that nobody has scored."""
        model = self.model
        return [] if model is None else uncertain_bouts(model, self._state.session.annotations)

    def walk(self, queue: Sequence[Bout]) -> None:
        """Walk through some bouts from the first on; through all of the animal in use when there are none."""
        self.queue, self.place = tuple(queue), 0
        if queue:
            self.go_to(queue[0])
        self.changed.emit()

    def step(self, step: int) -> str:
        """Go to the next bout, or with -1 to the one before."""
        if self.queue:
            place = self.place + step
            if not 0 <= place < len(self.queue):
                return "This was the last of them." if step > 0 else "This is the first of them."
            self.place = place
            self.go_to(self.queue[place])
            self.changed.emit()
            return ""
        state, animal = self._state, self._view.active_animal
        bout = state.bout_beside(animal, self._here, step)
        if bout is None:
            return f"There is no {'further' if step > 0 else 'earlier'} bout of {state.session.animals[animal]}."
        self.go_to(bout)
        return ""

    def step_class(self, code: int, step: int) -> str:
        """Go to the next bout of a cluster, of whichever animal, or with -1 to the one before."""
        assert self._state.naming is not None
        marked = self._state.selection
        found = bout_beside(self._state.naming.label, code, self._here, -1 if marked is None else marked.animal, step)
        name = self._state.naming.names[code]
        if found is None:
            return f"There is no {'further' if step > 0 else 'earlier'} bout of {name}."
        animal, start, stop = found
        self.go_to(Bout(animal, name, start, stop))
        return ""

    def accept(self) -> str:
        """Agree with what the model says of what is marked, or else of the bout at the frame in view."""
        state, animal, span = self._state, self._view.active_animal, self._state.selection
        if span is None and (bout := state.bout_at(animal, state.frame)) is not None:
            span = Selection(animal, bout.start, bout.stop)
        if span is None or not state.accept(span):
            return "No model says a behavior here: mark other frames, or say which behavior the cluster is, in Name."
        return ""

    def play(self) -> str:
        """Play what is marked, or else from the frame in view on; stop when it is playing."""
        timeline, state = self._view.timeline, self._state
        if timeline is not None:
            here = Selection(self._view.active_animal, state.frame, state.session.n_frames)
            timeline.player.toggle(state.selection or here, self.speed)
            timeline.setFocus()  # for the keys that score while it plays
        return ""

    def undo(self) -> str:
        """Take the last act back, whatever it was."""
        return "" if self._state.undo() else "There is nothing to undo."

    def redo(self) -> str:
        """Make the act that was taken back last again."""
        return "" if self._state.redo() else "There is nothing to redo."

    def rest(self) -> str:
        """Mark nothing, and score no more."""
        self._state.select(None)
        self.recorder.cancel()
        return ""

    @property
    def _here(self) -> int:
        selection = self._state.selection
        return self._state.frame if selection is None else selection.start

    def mark(self, bout: Bout) -> None:
        """Mark a bout and leave the frame in view."""
        self._state.select(Selection(bout.animal, bout.start, bout.stop))

    def go_to(self, bout: Bout) -> None:
        """Mark a bout and go to it."""
        self.mark(bout)
        self._state.seek(bout.start)

    def _leave_queue(self) -> None:
        """Another model is unsure of other bouts."""
        if self.queue:
            self.walk(())

    def _go_on(self, animal: int, start: int, stop: int) -> None:
        """Go on in the queue once the bout in it was scored as a whole."""
        bout = self.queue[self.place] if self.queue else None
        if bout is None or (animal, start, stop) != (bout.animal, bout.start, bout.stop):
            return
        if (self._state.session.annotations.labels()[start:stop, animal] != UNSCORED).all():
            self.step(1)
