"""The action segmentation heads of the BEAST paper, linear and dilated TCN, as one method among others."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from napari_lookagain.actions.config import ActionConfig, Feature, Preset
from napari_lookagain.actions.eyes import load_eyes
from napari_lookagain.actions.features import Eyes, settle
from napari_lookagain.actions.jobs import train_actions
from napari_lookagain.actions.model import ActionModel
from napari_lookagain.actions.prediction import predict_actions
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Settings, by_section

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.session import Session


class HeadsConfig(Settings):
    """Which head, what it reads, and any other setting of `ActionConfig`."""

    head: Literal["tcn", "linear"] = "tcn"
    reads: tuple[Feature, ...] = ()
    """Of every frame: "keypoints", "pca", or "mean", "cls" or "patches" of an encoder; none: whatever there is."""
    encoder: str = ""
    """For "mean", "cls" and "patches": "beast", an alias or a name on a hub, or a folder with weights."""
    preset: Preset = "quick"
    settings: dict[str, Any] = Field(default_factory=dict)
    """Changes of the preset by SECTION.KEY, as ``{"training.epochs": 50}``."""

    def actions(self, seed: int) -> ActionConfig:
        """The settings of the heads that these come to.

        Raises
        ------
        InputError
            When there is no such setting.
        """
        changes: dict[str, dict[str, Any]] = {"head": {"kind": self.head, "reads": list(self.reads)}}
        changes |= {"vision": {"encoder": self.encoder}, "training": {"seed": seed}}
        for section, values in by_section(self.settings).items():
            changes[section] = changes.get(section, {}) | values
        return ActionConfig.preset(self.preset, **changes)


class Heads:
    """Action segmentation with the heads of BEAST [1]_ (appendix E): an ensemble on features of every frame.

    A linear head (one temporal convolution) or a dilated temporal convolution network, on keypoints, on what an eye
    sees in every frame, or on both, trained with weighted cross-entropy; logits of several seeds are averaged. What the
    paper leaves open, and what is chosen, is told in `napari_lookagain.actions.config`.

    Parameters
    ----------
    config
        All choices.

    References
    ----------
    .. [1] Wang, Yu, Blau, Zhang, International Brain Laboratory, Paninski, Hurwitz, Whiteway (2025), Animal behavioral
       analysis and neural encoding with transformer-based self-supervised pretraining. arXiv 2507.09513.
    """

    kind: Literal["behavior"] = "behavior"
    takes_budget = False

    def __init__(self, config: HeadsConfig = HeadsConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, HeadsLabeler]:
        """Train into ``folder/heads``, from where training that was cut off goes on; see `Method.fit`.

        Raises
        ------
        InputError
            When fewer than two behaviors are scored, what is to be read is not there, or the folder holds heads of
            other settings.
        """
        config, out = self.config.actions(seed), folder / "heads"
        if not _is_trained(out, settle(config, sessions)):
            yield from train_actions(sessions, out, config, device=device)
        model = ActionModel.load(out)
        return HeadsLabeler(model, load_eyes(out, model.config, device), device)


class HeadsLabeler:
    """Trained heads and their eyes."""

    def __init__(self, model: ActionModel, eyes: Eyes, device: str) -> None:
        self.model, self.eyes, self.device = model, eyes, device

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every animal; every frame is looked at, unless keypoints alone are read. See `predict_actions`."""
        return (yield from predict_actions(self.model, session, self.eyes, device=self.device))


def _is_trained(folder: Path, config: ActionConfig) -> bool:
    """Whether a folder holds heads of just these settings; others are refused by the training."""
    return (folder / "weights.safetensors").exists() and ActionModel.load(folder).config == config
