"""What commands say: how far long work has come, on stderr, and its result, on stdout."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram

Result = TypeVar("Result")


def watch(steps: Generator[Progress, None, Result]) -> Result:
    """Run long work with a progress bar on stderr, a bar for each of its stages."""
    from tqdm import tqdm

    bar: tqdm[Any] | None = None
    stage = ""
    try:
        while True:
            try:
                told = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            if bar is None or told.stage != stage:
                if bar is not None:
                    bar.close()
                stage = told.stage
                bar = tqdm(total=told.total, desc=stage, leave=False, mininterval=0.5, disable=None)  # no bar in a log
            bar.total, bar.n = told.total, told.done
            if "loss" in told.metrics:
                bar.set_postfix(loss=f"{told.metrics['loss']:.3f}", refresh=False)
            bar.update(0)
    finally:
        if bar is not None:
            bar.close()


def show(result: dict[str, Any], as_json: bool) -> None:
    """The result of a command: one line of JSON, or a line for each thing a person wants to know."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        if isinstance(value, list):
            value = ", ".join(str(each) for each in value)
        typer.echo(f"{name.replace('_', ' ')}: {value}")


def show_run(name: str, ethograms: list[Ethogram], as_json: bool) -> None:
    """The result of a run: what it is called, and what it found in every session."""
    from napari_lookagain.contents import about_ethogram

    show({"run": name, "sessions": [about_ethogram(ethogram) for ethogram in ethograms]}, as_json)
