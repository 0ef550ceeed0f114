"""A trained ensemble of heads: what it reads, what it tells, and the folder that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_lookagain.actions.config import ActionConfig, Feature
from napari_lookagain.actions.heads import ActionHead
from napari_lookagain.errors import InputError
from napari_lookagain.model.lookagain import fingerprint, save_model
from napari_lookagain.model.motion import MIN_SCALE

if TYPE_CHECKING:
    from napari_lookagain.session import Session

SCHEMA = 1
KIND = "actions"
_LEAST = 0.05  # of the deviation of its kind: a column that hardly varied in training may not be blown up later


@dataclass(frozen=True)
class ActionCard:
    """What an ensemble was made for; a session that differs in it is refused.

    Parameters
    ----------
    names
        K behaviors.
    reads
        What is read of every frame, in the order of the columns.
    widths
        Columns of each; of patches D, the width of one.
    n_patches
        P; 0 when patches are not read.
    keypoint_names, n_coords, n_neighbors
        Of the motion descriptor; (), 0 and 0 when it is not read.
    """

    names: tuple[str, ...]
    reads: tuple[Feature, ...]
    widths: tuple[int, ...]
    n_patches: int = 0
    keypoint_names: tuple[str, ...] = ()
    n_coords: int = 0
    n_neighbors: int = 0

    @property
    def patches(self) -> tuple[int, int]:
        """P and D of the patches, the last columns; (0, 0) when none are read."""
        return (self.n_patches, self.widths[-1]) if self.n_patches else (0, 0)

    @property
    def flat(self) -> int:
        """Columns before the patches."""
        return sum(self.widths) - self.patches[1]

    def check(self, session: Session, crop: str) -> None:
        """Refuse a recording that lacks what the heads read.

        Raises
        ------
        InputError
            With what is missing.
        """
        names = (session.keypoint_names, session.n_coords)
        if "keypoints" in self.reads and names != (self.keypoint_names, self.n_coords):
            raise InputError(
                f"{session.recording} has the keypoints {', '.join(session.keypoint_names) or 'none'} in "
                f"{session.n_coords} coordinates, but the model knows {', '.join(self.keypoint_names)} in "
                f"{self.n_coords}; use a model trained on such recordings."
            )
        if set(self.reads) - {"keypoints"}:
            if session.video is None:
                raise InputError(f"{session.recording} has no video, which the model reads; make it anew with --video.")
            if crop != "frame" and not session.has_keypoints:
                raise InputError(
                    f"The model reads crops around animals, but {session.recording} has no keypoints to find them by; "
                    "use a model trained on such recordings."
                )


class ActionModel(nn.Module):
    """Heads of several seeds, whose logits are averaged before the softmax.

    Parameters
    ----------
    card
        What they are made for.
    config
        Sizes and choices.
    """

    def __init__(self, card: ActionCard, config: ActionConfig) -> None:
        super().__init__()
        self.card, self.config = card, config
        heads = []
        for seed in seeds(config):
            torch.manual_seed(seed)
            heads.append(ActionHead(card.flat, card.patches, len(card.names), config.head))
        self.ensemble = nn.ModuleList(heads)

    @property
    def heads(self) -> list[ActionHead]:
        """The head of every seed."""
        return cast(list[ActionHead], list(self.ensemble))

    @property
    def reach(self) -> int:
        """Frames to each side that what is said of a frame depends on."""
        return self.heads[0].reach

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Probabilities (S, L, K) of features (S, L, F); `valid` is (S, L) bool."""
        logits = torch.stack([head(x, valid) - head.log_weights for head in self.heads])
        return logits.mean(0).softmax(-1)

    def fit_scale(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Standardize by mean and deviation of the columns of the training frames, (flat + D,) each.

        With `config.head.scale` "kind", principal components are divided by one number, their mean deviation.
        """
        scale, first = deviation.copy(), 0
        for read, width in zip(self.card.reads, self.card.widths, strict=True):
            own = slice(first, first + width)
            typical = max(float(np.sqrt((deviation[own] ** 2).mean())), 1e-12)
            if read == "pca" and self.config.head.scale == "kind":
                scale[own] = typical
            scale[own] = scale[own].clip(MIN_SCALE if read == "keypoints" else _LEAST * typical)
            first += width
        for head in self.heads:
            head.mean.copy_(torch.from_numpy(mean))
            head.scale.copy_(torch.from_numpy(scale))

    def fingerprint(self) -> str:
        """Tell this model from another by its weights and choices."""
        return fingerprint(self, f"{self.card} {self.config}")

    def save(self, folder: str | Path) -> None:
        """Keep the ensemble in a folder; see `napari_lookagain.model.lookagain.save_model`."""
        told = {"schema": SCHEMA, "kind": KIND, "card": asdict(self.card), "config": self.config.model_dump()}
        save_model(self, told, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a model folder.

        Raises
        ------
        InputError
            When the folder holds no model, another kind of model, a damaged one, or one of a newer version.
        """
        folder = Path(folder)
        try:
            told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if told.get("kind") != KIND:
                raise InputError(f"The model in {folder} is not one of action segmentation heads; name one that is.")
            if told["schema"] > SCHEMA:
                raise InputError(
                    f"{folder} was written by a newer version (schema {told['schema']}, this one reads up to "
                    f"{SCHEMA}); update napari-lookagain."
                )
            card: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in told["card"].items()
            }
            model = cls(ActionCard(**card), ActionConfig.parse(told["config"]))
            model.load_state_dict(load_file(folder / "weights.safetensors"))
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f"{folder} is not a model folder; name the folder that training wrote.") from error
        except Exception as error:  # json, safetensors and torch each raise their own
            reason = str(error).splitlines()[0]
            raise InputError(f"The model in {folder} is damaged ({reason}); train it again or copy it anew.") from error
        return model.eval()


def seeds(config: ActionConfig) -> list[int]:
    """The seed of every head: of its first weights, its split and its batches."""
    return [config.training.seed * 1000 + i for i in range(config.training.seeds)]


def is_action_model(folder: Path) -> bool:
    """Whether a folder holds such heads, and not a model of another kind or nothing."""
    try:
        told: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, Mapping) and told.get("kind") == KIND
