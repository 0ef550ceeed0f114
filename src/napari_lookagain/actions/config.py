"""Every choice about the action segmentation heads, with the presets; ◇ marks what the paper leaves open."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from napari_lookagain.config import BeastConfig, Config, FeatureConfig
from napari_lookagain.errors import InputError
from napari_lookagain.settings import Section, Settings

Preset = Literal["quick", "paper"]
Feature = Literal["keypoints", "pca", "mean", "cls", "patches"]


class HeadConfig(Section):
    """Appendix E.1: which head, and what it reads of every frame."""

    kind: Literal["tcn", "linear"] = "tcn"
    """A dilated temporal convolution network, or one convolution without any nonlinearity."""
    reads: tuple[Feature, ...] = ()
    """◇ What is read of every frame: "keypoints" (the motion descriptor), "pca", or an encoder's "mean" over patches,
    class token ("cls") or "patches", several of them side by side; none: settled for the recordings at hand."""
    difference: bool = True
    """Read the difference to the frame before, too."""
    scale: Literal["kind", "column"] = "kind"
    """◇ What features are divided by: principal components by one deviation, so that the strong stay stronger than the
    weak, all other columns by their own; or every column by its own."""
    filter_length: int = Field(9, ge=1)
    """Frames a filter reads, an odd number; 9, 17 or 33 in the paper's search."""
    hidden: int = Field(32, ge=1)
    """Hidden units; 16, 32, 64 or 96 in the paper's search."""
    blocks: int = Field(2, ge=1)
    """Dilation blocks of the "tcn", each of twice the dilation of the one before."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Of the "tcn"."""
    pooling_heads: int = Field(8, ge=1)
    """Heads of the attention over patches."""

    @field_validator("filter_length")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise PydanticCustomError("odd", "a filter needs a middle, expected an odd number of frames")
        return value

    @field_validator("reads")
    @classmethod
    def _are_different(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        if len(set(value)) < len(value):
            raise PydanticCustomError("once", "a kind of feature is named twice, expected each once")
        return value


class EyeConfig(Section):
    """Which eye, and what it is shown."""

    encoder: str = ""
    """For "mean", "cls" and "patches": "beast", an alias or a name on a hub, or a folder with weights."""
    crop: Literal["turned", "plain", "frame"] = "turned"
    """◇ A crop turned to the animal's heading, an upright one, or the whole frame, as always without keypoints."""
    crop_scale: float = Field(2.0, gt=0)
    """◇ Side of the crop in body lengths (at least 64 px)."""
    components: int = Field(64, ge=1)
    """Principal components that "pca" gives."""
    pca_size: int = Field(48, ge=8)
    """◇ Side of the images, in pixels, whose principal components "pca" takes."""
    keep: bool = True
    """Keep what was seen in the session's folder; otherwise it is looked at anew whenever it is read."""


class TrainingConfig(Section):
    """Appendix E.2–E.4: how the heads are trained."""

    seed: int = Field(0, ge=0)
    seeds: int = Field(5, ge=1)
    """Heads whose logits are averaged, each with other initial weights and held-out sequences drawn anew."""
    sequence: int = Field(500, ge=2)
    """Frames of a sequence; 500, or 100 where videos are short."""
    batch: int = Field(16, ge=1)
    """Sequences of a batch."""
    validation_share: float = Field(0.1, ge=0, lt=1)
    """Share of the sequences that are held out, in a row, to report on."""
    epochs: int = Field(500, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    """1e-3, 1e-4 or 1e-5 in the paper's search."""
    pooled_epochs: int = Field(200, ge=1)
    """Epochs where patches are pooled; 100 or 200 in the paper."""
    restart: int = Field(34, ge=1)
    """Where patches are pooled: epochs of the first cycle of the learning rate; every next one is twice as long."""
    lowest_learning_rate: float = Field(5e-5, ge=0)
    """Where patches are pooled: the learning rate at the end of every cycle."""
    correct_prior: bool = True
    """◇ Undo the class weights of the loss in the probabilities; False in the paper."""


class ActionConfig(Settings):
    """All settings of a trained head; saved with it.

    `ActionConfig.preset("quick")` trains in a minute on two cores with the better choices, and
    `ActionConfig.preset("paper")` with the values of BEAST's appendix E. The paper searched for some of them and does
    not state what it found; there, both have what did best here.
    """

    head: HeadConfig = HeadConfig()
    features: FeatureConfig = FeatureConfig()
    vision: EyeConfig = EyeConfig()
    beast: BeastConfig = BeastConfig()
    training: TrainingConfig = TrainingConfig()

    @classmethod
    def preset(cls, name: Preset = "quick", **changes: Any) -> Self:
        """A named set of choices, with changes such as ``head={"hidden": 64}`` on top.

        Raises
        ------
        InputError
            When the preset or a key is unknown, or a value is out of its bounds.
        """
        if name not in _PRESETS:
            raise InputError(f"There is no preset {name!r}; choose one of {', '.join(_PRESETS)}.")
        settings = _PRESETS[name] | {"beast": Config.preset(name).beast.model_dump()}
        return cls.parse(settings).updated(**changes)

    @property
    def looks(self) -> Config:
        """How an eye is made and looks, as settings of a run with LookAgain."""
        vision = self.vision.model_dump(include={"encoder", "crop", "crop_scale", "components", "keep"})
        return Config(features=self.features, beast=self.beast).updated(
            vision=vision, training={"seed": self.training.seed}
        )


_PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"training": {"sequence": 128, "batch": 8, "epochs": 100, "pooled_epochs": 34}},
    "paper": {
        "features": {"pace_window": 0.0},
        "vision": {"components": 768},
        "training": {"correct_prior": False},
    },
}
