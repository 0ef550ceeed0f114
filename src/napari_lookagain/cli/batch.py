"""``lookagain batch``: one command for many recordings, on all the workers there are."""

from __future__ import annotations

import json
import time
from collections import Counter
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
    config_of,
    refuse_looks,
    scope_of,
)
from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from napari_lookagain.batch.dispatch import Batch, Row
    from napari_lookagain.batch.tasks import Task
    from napari_lookagain.progress import Progress

ROWS_SHOWN = 20
ORDER = ("running", "failed", "waiting", "done", "skipped")
STYLES = {"running": "bold", "failed": "red", "done": "green", "skipped": "dim", "waiting": "dim"}


def batch(
    folders: Sessions,
    command: Annotated[str, typer.Option(help="segment, predict or export.")],
    model: Annotated[
        Path | None, typer.Option(help="The model to apply; without one, segment trains one on each recording alone.")
    ] = None,
    budget: Budget = None,
    scope: Among = None,
    decode: Decode = None,
    minutes: Minutes = None,
    clusters: Annotated[int | None, typer.Option(help="segment: how many clusters to discover.")] = None,
    encoder: Encoder = "",
    preset: Preset = "quick",
    run: Annotated[str | None, typer.Option(help="Name of the runs; by default that of the command.")] = None,
    settings: Settings = None,
    what: Annotated[str, typer.Option(help="export: frames, bouts, stats or boris.")] = "frames",
    out: Annotated[Path | None, typer.Option(help="export: folder for the tables, a file for each recording.")] = None,
    scheduler: Annotated[
        str, typer.Option(help="local: processes of this machine; slurm; or the address of a dask scheduler.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes or jobs; here one for each GPU, or every four cores.", min=1)
    ] = None,
    retries: Annotated[int, typer.Option(help="How often to try again after an error.", min=0)] = 2,
    report: Annotated[Path | None, typer.Option(help="A table to write, .csv, with a row for each recording.")] = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Do the same with many recordings at once; what is done already is left out, and what fails is tried again."""
    from napari_lookagain.batch.dispatch import Batch
    from napari_lookagain.batch.tasks import COMMANDS
    from napari_lookagain.batch.workers import open_workers

    if command not in COMMANDS:
        raise InputError(f"batch got --command {command}, expected one of {', '.join(COMMANDS)}.")
    looking = {"budget": budget, "scope": scope_of(scope), "decode": decode, "minutes": minutes}
    _check(command, model, out, looking, {"--clusters": clusters, "--encoder": encoder, "--set": settings})
    config = None
    if command == "segment" and model is None:
        options = {"vision.encoder": encoder or None, "finetune.clusters": clusters}  # looks are those of the tasks
        config = config_of(preset, seed, settings, options)
    of_all = {"run": run or (None if command == "export" else command), "config": config, **looking}
    work = Batch(_tasks(folders, command, of_all, model, device, what, out), retries)
    if waiting := work.of("waiting"):
        with open_workers(scheduler, workers, device, most=len(waiting)) as there:
            _watch(work, work.run(there))
    _tell(work, report, as_json)


def _check(
    command: str, model: Path | None, out: Path | None, looking: dict[str, Any], training: dict[str, Any]
) -> None:
    """Refuse what no recording could be done with, before any worker is started."""
    useless = [] if command == "segment" and model is None else [name for name, given in training.items() if given]
    if command == "export":
        useless += [f"--{name}" for name, given in looking.items() if given is not None]
        if out is None:
            raise InputError("--command export needs a folder for the tables; give it with --out.")
    if useless:
        with_model = " with --model" if model is not None else ""
        raise InputError(f"--command {command}{with_model} does not take {', '.join(useless)}; leave that out.")
    if command == "predict" and model is None:
        raise InputError("--command predict needs a trained model; give its folder with --model.")
    if model is not None:
        from napari_lookagain.actions.model import is_action_model

        if not (model / "weights.safetensors").exists():
            raise InputError(f"{model} is not a model folder: it has no weights.safetensors; train one first.")
        if is_action_model(model):
            refuse_looks(model, *looking.values())


def _tasks(
    folders: list[Path],
    command: str,
    of_all: dict[str, Any],
    model: Path | None,
    device: str,
    what: str,
    out: Path | None,
) -> list[Task]:
    """A task for each recording; paths are whole, for a worker may have started elsewhere."""
    from napari_lookagain.batch.tasks import Task

    if out is not None and len({folder.stem for folder in folders}) < len(folders):
        raise InputError("Two recordings have the same name, and their tables would be one file; export them apart.")
    of_all |= {"command": command, "device": device, "what": what, "model": None if model is None else model.resolve()}
    files = [None if out is None else (out / f"{folder.stem}.csv").resolve() for folder in folders]
    return [Task(folder.resolve(), out=file, **of_all) for folder, file in zip(folders, files, strict=True)]


def _watch(work: Batch, steps: Generator[Progress, None, list[Row]]) -> None:
    """A live table on a terminal; in a log, a line for each recording that is done, fails or is tried again."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            drawn = 0.0
            for _ in steps:
                if time.monotonic() - drawn > 0.25:
                    drawn = time.monotonic()
                    live.update(_table(work), refresh=True)
        return
    said: dict[int, str] = {}
    for _ in steps:
        for number, row in enumerate(work.rows):
            line = _line(row)
            if row.state != "running" and row.tries and said.get(number) != line:
                said[number] = line
                typer.echo(line, err=True)


def _table(work: Batch) -> Table:
    from rich.table import Table

    count = Counter(row.state for row in work.rows)
    told = ", ".join(f"{count[state]} {state}" for state in ORDER if count[state])
    table = Table("recording", "state", "stage", "done", "seconds", "", caption=told)
    rows = sorted(work.rows, key=lambda row: ORDER.index(row.state))
    for row in rows[:ROWS_SHOWN]:
        running = row.state == "running"
        share, seconds = f"{row.share:.0%}" if running else "", f"{row.seconds:.0f}" if row.tries else ""
        cells = (row.task.recording, row.state, row.stage if running else "", share, seconds, row.reason)
        table.add_row(*cells, style=STYLES[row.state])
    if len(rows) > ROWS_SHOWN:
        table.add_row("…", f"{len(rows) - ROWS_SHOWN} more")
    return table


def _tell(work: Batch, report: Path | None, as_json: bool) -> None:
    """The report; exit status 1 if anything failed."""
    told = [row.told() for row in work.rows]
    count = {state: len(work.of(state)) for state in ("done", "skipped", "failed")}
    if report is not None:
        from pandas import DataFrame

        from napari_lookagain.formats.tables import write_table

        write_table(DataFrame(told).drop(columns=["notes", "result"]), report, "csv")
    if as_json:
        typer.echo(json.dumps(count | {"recordings": told}))
    else:
        for row in work.rows:
            typer.echo(_line(row))
        for note in dict.fromkeys(note for row in work.rows for note in row.notes):
            typer.echo(f"Note: {note}", err=True)
        typer.echo(", ".join(f"{n} {state}" for state, n in count.items()))
    if count["failed"]:
        raise typer.Exit(1)


def _line(row: Row) -> str:
    seconds = f", {row.seconds:.0f} s" if row.tries else ""
    state = f"failed, is tried again ({row.tries} so far)" if row.state == "waiting" else row.state
    return f"{row.task.recording}: {state}{seconds}" + (f": {row.reason}" if row.reason else "")
