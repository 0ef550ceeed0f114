"""A study: what is compared with what, on which splits, with which seeds. One arm is one line."""

from __future__ import annotations

import difflib
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator

from napari_lookagain.config import Config, Preset
from napari_lookagain.errors import InputError
from napari_lookagain.settings import Section, Settings, by_section

STUDIES = files("napari_lookagain.evaluation") / "studies"


class Arm(Section):
    """One of the things that a study compares."""

    method: str = "lookagain"
    """LookAgain, or what it is compared with: a name in `napari_lookagain.baselines.METHODS`."""
    discover: bool = False
    """Whether LookAgain discovers clusters, instead of learning behaviors."""
    budgets: tuple[float, ...] | None = None
    """Shares of frames to look at, instead of those of the study."""
    fractions: tuple[float, ...] | None = None
    """Shares of the labels to learn from, instead of those of the study."""
    preset: Preset | None = None
    """Of LookAgain, instead of that of the study."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings that differ: of LookAgain as ``{"look.select" = "topk"}``, of other methods by their own names."""


class Study(Settings):
    """What an evaluation does.

    A study file is TOML: the fields below, and under ``[arms]`` a line for each arm, as
    ``"top-k" = { settings = { "look.select" = "topk" } }``.
    """

    preset: Preset = "quick"
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of LookAgain in all arms, as ``{"training.validation_share" = 0}``."""
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    folds: int = Field(3, ge=1)
    """Recordings are dealt into so many groups, each of which is held out once; 1: one split, by `test_share`."""
    test_share: float = Field(0.4, gt=0, lt=1)
    """Share held out where there is a single split: of the recordings, or of the only one."""
    gap: int = Field(256, ge=0)
    """Frames between the training and the test part of a single recording, which are in neither."""
    budgets: tuple[float, ...] = Field((0.25,), min_length=1)
    fractions: tuple[float, ...] = Field((1.0,), min_length=1)
    arms: dict[str, Arm] = Field({"LookAgain": Arm()}, min_length=1)

    @field_validator("seeds", "budgets", "fractions")
    @classmethod
    def _once_each(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(dict.fromkeys(values))

    @field_validator("arms")
    @classmethod
    def _no_comma(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        for name in arms:
            if "," in name:
                raise ValueError(f"the arm {name!r} has a comma in its name, and commas stand between names")
        return arms

    @classmethod
    def load(cls, name: str) -> Self:
        """A study that comes with the package, by its name, or a TOML file.

        Raises
        ------
        InputError
            When there is no such study, or the file is no TOML or says something unknown.
        """
        own = sorted(Path(each.name).stem for each in STUDIES.iterdir() if each.name.endswith(".toml"))
        if name in own:
            text = (STUDIES / f"{name}.toml").read_text(encoding="utf-8")
        elif Path(name).suffix == ".toml" and Path(name).is_file():
            text = Path(name).read_text(encoding="utf-8", errors="replace")
        else:
            raise InputError(f"There is no study {name!r}; choose one of {', '.join(own)}, or name a .toml file.")
        try:
            return cls.parse(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"The study {name} is no TOML ({error}); see those that come with the package.") from error

    def only(self, names: list[str]) -> Self:
        """The study with some of its arms.

        Raises
        ------
        InputError
            When it has no such arm.
        """
        for name in names:
            if name not in self.arms:
                near = difflib.get_close_matches(name, self.arms, n=1, cutoff=0.0)[0]
                raise InputError(f"The study has no arm {name!r}; the nearest is {near!r}.")
        return self.model_copy(update={"arms": {name: arm for name, arm in self.arms.items() if name in names}})

    def config(self, arm: Arm, seed: int) -> Config:
        """All settings of LookAgain in an arm."""
        changes = by_section(self.settings | arm.settings)
        return Config.preset(arm.preset or self.preset, **changes).updated(training={"seed": seed})
