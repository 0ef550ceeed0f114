"""LookAgain itself, as one method among others: its behavior head, or its clusters."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_lookagain import runs
from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.predict import predict
from napari_lookagain.progress import Progress
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.session import Session


class Gated:
    """LookAgain with these settings.

    Parameters
    ----------
    config
        All of them; the seed is given to `fit`.
    discovers
        Whether it discovers clusters, without labels, or learns behaviors.
    pretrained
        Folder of a model whose motion encoder and eye are taken over.
    """

    takes_budget = True

    def __init__(self, config: Config, *, discovers: bool = False, pretrained: Path | None = None) -> None:
        self.config, self.discovers, self.pretrained = config, discovers, pretrained

    @property
    def kind(self) -> Literal["behavior", "cluster"]:
        """What its head tells."""
        return "cluster" if self.discovers else "behavior"

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, GatedLabeler]:
        """Train it into `folder`, where training that was cut off is resumed; see `Method.fit`."""
        if not (folder / "weights.safetensors").exists():
            config = self.config.updated(training={"seed": seed})
            job = runs.discover if self.discovers else runs.train
            yield from job(sessions, folder, config, pretrained=self.pretrained, device=device)
        place = str(accelerator(device).device)
        eye = load_encoder(folder / "encoder", place) if (folder / "encoder").is_dir() else None
        return GatedLabeler(LookAgain.load(folder), eye, device)


class GatedLabeler:
    """A trained LookAgain and its eye."""

    def __init__(self, model: LookAgain, encoder: VisionEncoder | None, device: str) -> None:
        self.model, self.encoder, self.device = model, encoder, device

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Read motion at every frame and look at a share of them; the motion pass serves every budget."""
        return (yield from predict(self.model, session, self.encoder, budget=budget, device=self.device))
