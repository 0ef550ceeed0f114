"""Commands that train or apply a model, and what they need of the machine."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lookagain.cli.options import (
    Among,
    Budget,
    Decode,
    Device,
    Encoder,
    Json,
    Minutes,
    Preset,
    Seed,
    Sessions,
    Settings,
    action_config_of,
    budget_of,
    config_of,
    load_sessions,
    refuse_looks,
    scope_of,
)
from napari_lookagain.cli.show import announce, show, show_run, watch
from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.progress import Progress
    from napari_lookagain.session import Session


def segment(
    folders: Sessions,
    budget: Budget = None,
    scope: Among = None,
    decode: Decode = None,
    minutes: Minutes = None,
    clusters: Annotated[int | None, typer.Option(help="How many clusters to discover.")] = None,
    encoder: Encoder = "",
    model: Annotated[Path | None, typer.Option(help="A model that discovered clusters before; trains nothing.")] = None,
    preset: Preset = "quick",
    run: Annotated[str | None, typer.Option(help="Name of the run; the next free one by default.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Discover clusters without labels, looking at a share of the frames."""
    from napari_lookagain import cost, runs

    sessions = load_sessions(folders)
    name = run or runs.free_name(sessions, "segment")
    if model is None:
        look = {"look.budget": budget_of(budget, sessions), "look.scope": scope, "look.decode": decode}
        options = look | {"vision.encoder": encoder or None, "finetune.clusters": clusters}
        config = config_of(preset, seed, settings, options)
        announce(lambda: cost.expected(sessions, config, device))
        work = runs.segment(sessions, config, minutes=minutes, run=name, device=device)
    elif clusters is None and not encoder and not settings:
        looking = {"scope": scope_of(scope), "decode": decode, "minutes": minutes}
        work = _look_again(model, sessions, budget, looking, name, device)
    else:
        raise InputError("With --model nothing is trained; leave out --clusters, --encoder and --set, or --model.")
    show_run(name, watch(work), as_json)


def train(
    folders: Sessions,
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    head: Annotated[
        str, typer.Option(help="lookagain: looks at a share of the frames; tcn, linear: read all, keypoints or not.")
    ] = "lookagain",
    features: Annotated[
        str | None, typer.Option(help="What tcn or linear read: keypoints, pca, mean, cls, patches; several by comma.")
    ] = None,
    budget: Budget = None,
    encoder: Encoder = "",
    pretrained: Annotated[Path | None, typer.Option(help="A model whose motion encoder is taken over.")] = None,
    rater: Annotated[str | None, typer.Option(help="Learn from this rater alone.")] = None,
    preset: Preset = "quick",
    settings: Settings = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train the supervised head on what people scored."""
    from napari_lookagain import runs
    from napari_lookagain.actions.jobs import train_actions

    sessions = load_sessions(folders)
    if head == "lookagain":
        if features is not None:
            raise InputError("--features is what --head tcn and --head linear read; name one of them, or leave it out.")
        options = {"look.budget": budget_of(budget, sessions), "vision.encoder": encoder or None}
        config = config_of(preset, seed, settings, options)
        work = runs.train(sessions, out, config, pretrained=pretrained, rater=rater, device=device)
    elif budget is None and pretrained is None:
        choices = action_config_of(preset, head, features, encoder, seed, settings)
        work = train_actions(sessions, out, choices, rater=rater, device=device)
    else:
        raise InputError(f"--head {head} reads every frame and is trained at once; leave out --budget, --pretrained.")
    show(watch(work), as_json)


def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    folders: Sessions,
    budget: Budget = None,
    scope: Among = None,
    decode: Decode = None,
    minutes: Minutes = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; the next free one by default.")] = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Apply a trained model, whatever its head; with another budget only the look is repeated."""
    from napari_lookagain import runs
    from napari_lookagain.actions.jobs import predict_all_actions
    from napari_lookagain.actions.model import is_action_model

    sessions = load_sessions(folders)
    name = run or runs.free_name(sessions, "predict")
    if is_action_model(model):
        refuse_looks(model, budget, scope, decode, minutes)
        work = predict_all_actions(model, sessions, run=name, device=device)
    else:
        looking = {"scope": scope_of(scope), "decode": decode, "minutes": minutes}
        work = _look_again(model, sessions, budget, looking, name, device)
    show_run(name, watch(work), as_json)


def _look_again(
    model: Path,
    sessions: list[Session],
    budget: float | None,
    looking: dict[str, Any],
    run: str,
    device: str,
) -> Generator[Progress, None, list[Ethogram]]:
    """Apply a LookAgain model, as `segment --model` and `predict` do, once it is said how long that will take."""
    from napari_lookagain import cost, runs
    from napari_lookagain.model.lookagain import LookAgain

    budget = budget_of(budget, sessions)
    announce(lambda: cost.expected(sessions, LookAgain.load(model).config, device, budget=budget, trained=True))
    return runs.predict_all(model, sessions, budget=budget, **looking, run=run, device=device)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Simulate four recordings, discover clusters, train on three, predict the fourth, and report."""
    from napari_lookagain.demo import run_demo

    show(watch(run_demo(out, seed=seed, device=device)), as_json)


def doctor(device: Device = "auto", seed: Seed = 0, as_json: Json = False) -> None:
    """Say what this machine has, what is missing and how to get it."""
    from napari_lookagain import doctor as physician

    report = physician.report()
    if as_json:
        show(report, as_json)
    else:
        typer.echo(physician.describe(report))
