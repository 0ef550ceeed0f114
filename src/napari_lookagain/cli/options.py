"""What commands are given: the options that several of them take, and what their words mean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from napari_lookagain.actions.config import ActionConfig
    from napari_lookagain.config import Config, Scope
    from napari_lookagain.session import Session

Folder = Annotated[Path, typer.Argument(help="The session folder.")]
Sessions = Annotated[list[Path], typer.Argument(help="Session folders, NAME.lookagain.")]
Budget = Annotated[float | None, typer.Option(help="Share of frames to look at, 0–1; without a video it is 0.")]
Among = Annotated[str | None, typer.Option(help="window: every window has this budget; recording: the whole has.")]
Decode = Annotated[float | None, typer.Option(help="With --scope recording: decode at most this share of the video.")]
Minutes = Annotated[float | None, typer.Option(help="Look for at most so long, at what fits of the budget.", min=0)]
Encoder = Annotated[
    str, typer.Option(help="pca, beast, qwen3-vl, dinov2, vit-mae, clip, videomae, beit, a hub name, a folder.")
]
Preset = Annotated[
    str,
    typer.Option(
        help="quick: minutes on two cores; labels: from many labels alone; paper: the paper's values and forms."
    ),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as look.select=topk; may be repeated.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result on a CPU.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]


def load_sessions(folders: list[Path]) -> list[Session]:
    """The sessions in those folders, each opened and checked."""
    from napari_lookagain.session import load_session

    return [load_session(folder) for folder in folders]


def config_of(preset: str, seed: int, settings: list[str] | None, options: dict[str, Any]) -> Config:
    """The preset with the settings and options of the command line on top."""
    from napari_lookagain.config import Config

    return Config.preset(preset, **changes_of(settings, seed, options))  # type: ignore[arg-type]  # refuses other words


def action_config_of(
    preset: str, head: str, features: str | None, encoder: str, seed: int, settings: list[str] | None
) -> ActionConfig:
    """The preset of the action segmentation heads with the options and settings of the command line on top."""
    from napari_lookagain.actions.config import ActionConfig

    options = {"head.kind": head, "head.reads": names_of(features), "vision.encoder": encoder or None}
    changes = changes_of(settings, seed, options)
    return ActionConfig.preset(preset, **changes)  # type: ignore[arg-type]  # preset refuses other words


def changes_of(settings: list[str] | None, seed: int, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What --seed, --set and other options, None where they were left out, change of a preset, section by section."""
    from napari_lookagain.settings import by_section

    given = {name: value for name, value in options.items() if value is not None}
    return by_section({"training.seed": seed} | dict(setting_of(each) for each in settings or []) | given)


def setting_of(text: str) -> tuple[str, Any]:
    """Name and value of one --set."""
    name, equals, value = text.partition("=")
    if not (equals and "." in name):
        raise InputError(f"--set got {text!r}, expected SECTION.KEY=VALUE such as look.select=topk.")
    return name, value_of(value)


def budget_of(budget: float | None, sessions: list[Session]) -> float | None:
    """The budget asked for; without a video it is 0, and None leaves it to the settings."""
    return 0.0 if budget is None and all(session.video is None for session in sessions) else budget


def scope_of(scope: str | None) -> Scope | None:
    """The scope asked for; None leaves it to the model."""
    from napari_lookagain.config import LookConfig

    return None if scope is None else LookConfig.parse({"scope": scope}).scope


def value_of(text: str) -> Any:
    """A setting as JSON says it, or the word itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def names_of(text: str | None) -> list[str] | None:
    """Names between commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


def refuse_looks(model: Path, *given: object) -> None:
    """Refuse --budget, --scope, --decode and --minutes, None where they were left out, for a model without a gate."""
    if any(each is not None for each in given):
        raise InputError(
            f"The model in {model} has no gate that a budget could be given to; leave out --budget, --scope, --decode, "
            "--minutes."
        )


def spans_of(option: str, text: str | None) -> list[tuple[int, int]]:
    """Frames and half-open spans of frames between commas: 100,2000-2010."""
    spans = []
    for part in names_of(text) or []:
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if found is None:
            raise InputError(f"{option} got {part!r}, expected frames and spans of them: 100,2000-2010.")
        start = int(found[1])
        spans.append((start, int(found[2] or start + 1)))
    return spans


def pair_of(text: str | None) -> tuple[str, str] | None:
    """The two names of a heading: REAR,FRONT."""
    names = names_of(text)
    if names is None:
        return None
    if len(names) != 2:
        raise InputError(f"--heading got {text!r}, expected two keypoints, the rear one and the front one: tail,nose.")
    return names[0], names[1]
