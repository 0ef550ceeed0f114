"""What every way to label recordings offers: LookAgain, and what it is compared with."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.progress import Progress
    from napari_lookagain.session import Session
    from napari_lookagain.settings import Settings


class Labeler(Protocol):
    """A method that was trained."""

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every frame of a recording with the keypoints that were learnt from.

        Parameters
        ----------
        session
            A recording.
        budget
            Share of the frames to look at, for methods that take one; None is their own.
        """
        ...


class Method(Protocol):
    """A way to label recordings, before it has learnt anything."""

    @property
    def kind(self) -> Literal["behavior", "cluster"]:
        """Whether it learns from scored frames, or discovers."""
        ...

    @property
    def config(self) -> Settings:
        """All its settings."""
        ...

    @property
    def takes_budget(self) -> bool:
        """Whether its labeler heeds a budget."""
        ...

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, Labeler]:
        """Learn from recordings, and from nothing else.

        Parameters
        ----------
        sessions
            Recordings with the same keypoints; what is scored in them may be learnt from.
        folder
            For what should survive when a long training is cut off.
        seed
            Of every draw: the same seed gives the same labeler.
        device
            "auto", "cpu", "cuda" or "mps".
        """
        ...
