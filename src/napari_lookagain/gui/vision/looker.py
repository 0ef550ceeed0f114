"""Looks at frames with an eye, in threads, one after the other, as fast as the eye can and no faster."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lookagain.gui.jobs.jobs import Failure, Job, Jobs, at_once
from napari_lookagain.gui.state import SessionState
from napari_lookagain.gui.vision.eye_layers import EyeLayers

if TYPE_CHECKING:
    from napari_lookagain.eyes.pictures import Glimpse, Sight


class Looker:
    """Shows what an eye makes of the frame in view: when it is asked to, or of every frame while `following`.

    Frames that come while the eye is busy are skipped, but for the last of them.

    Parameters
    ----------
    jobs
        Where it works.
    state
        Of the session.
    layers
        Where it shows what it sees.

    Attributes
    ----------
    following
        Whether to look at every frame that comes into view, until someone takes all its layers away.
    """

    failed = Signal(Failure)
    """It could not look."""

    def __init__(self, jobs: Jobs, state: SessionState, layers: EyeLayers) -> None:
        self._jobs, self._state, self.layers = jobs, state, layers
        self._sight: Sight | None = None
        self._looking: Job | None = None
        self._wanted = False
        self.following = False

    @property
    def folder(self) -> Path | None:
        """Of the eye it looks with; None before any."""
        return None if self._sight is None else self._sight.folder

    def take(self, sight: Sight) -> None:
        """Look with another eye, whose pictures may be of another size."""
        self.close()
        self.layers.remove()
        self._sight = sight

    def show(self) -> None:
        """Look at the frame in view, and add the layers that are missing."""
        self.layers.renew()
        self._look()

    def follow(self) -> None:
        """Look at the frame in view, if that is wanted and the last look is over."""
        if self.following and not self.layers.taken_away:
            self._look()

    def look_anew(self) -> None:
        """Keypoints have moved: crops lie elsewhere."""
        if self._sight is not None:
            self._sight.moved = True
        self.follow()

    def close(self) -> None:
        """Let go of the eye; a look that is under way comes to nothing."""
        if self._sight is not None:
            self._sight.close()
        self._sight = self._looking = None

    def _look(self) -> None:
        if self._sight is None:
            return
        if self._looking is not None:
            self._wanted = True
            return
        frame = self._state.frame
        job = Job("Looking", at_once(partial(self._sight.at, frame)))
        self._looking, self._wanted = job, False
        job.returned.connect(partial(self._seen, job, frame))
        job.failed.connect(partial(self._fail, job))
        self._jobs.start(job)

    def _seen(self, job: Job, frame: int, glimpses: list[Glimpse]) -> None:
        if job is not self._looking:
            return  # another session, or another eye
        self._looking = None
        self.layers.show(frame, glimpses)
        if self._wanted:
            self._look()

    def _fail(self, job: Job, failure: Failure) -> None:
        if job is self._looking:
            self._looking = None
            self.failed.emit(failure)
