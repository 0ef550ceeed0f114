"""What commands say: how far long work has come, on stderr, and its result, on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.ethogram import Ethogram

Result = TypeVar("Result")
_PACE: dict[str, Any] = {"unit_scale": True, "unit": ""}  # 8.12k/s: frames, images or steps, as the stage says


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
                hidden = _silent() or None  # None: no bar in a log
                bar = tqdm(total=told.total, desc=stage, leave=False, mininterval=0.5, disable=hidden, **_PACE)
            bar.total, bar.n = told.total, told.done
            if "loss" in told.metrics:
                bar.set_postfix(loss=f"{told.metrics['loss']:.3f}", refresh=False)
            bar.update(0)
    finally:
        if bar is not None:
            bar.close()


def announce(sentence: Callable[[], str]) -> None:
    """Say something to whoever sits at a terminal; where nobody does, it is not even made up."""
    if sys.stderr.isatty() and not _silent():
        typer.echo(sentence(), err=True)


def show(result: dict[str, Any], as_json: bool) -> None:
    """The result of a command: one line of JSON, or a line for each thing a person wants to know."""
    if _silent():
        return
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


def _silent() -> bool:
    """Whether this is one of several processes that share a training, and not the first, which speaks for all."""
    return os.environ.get("RANK", "0") != "0"
