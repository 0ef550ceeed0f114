"""The command line: one command for each thing a lab does, and one clear line when something is wrong."""

from __future__ import annotations

import sys
import warnings

import typer

from napari_lookagain.cli import batch, beast, evaluate, models, recordings
from napari_lookagain.errors import InputError

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer's own of late, click's before

app = typer.Typer(
    help="Behavior segmentation from keypoints on every frame and video on the few frames worth a look.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order in which the help lists them. A group of commands has a typer app of its own, and is added below them.
app.command()(recordings.new)
app.command()(recordings.relocate)
app.command()(recordings.label)
app.command()(recordings.looks)
app.command()(models.segment)
app.command()(models.train)
app.command()(models.predict)
app.command()(batch.batch)
app.command()(recordings.export)
app.command("open")(recordings.open_session)
app.command()(evaluate.evaluate)
app.command()(models.demo)
app.command()(recordings.info)
app.command()(models.doctor)
app.add_typer(beast.app, name="beast")


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit status 2, a run that was stopped 130."""
    warnings.showwarning = lambda message, *where, **more: typer.echo(f"Note: {message}", err=True)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", category=UserWarning, module=r"napari_lookagain|__main__")
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.Abort:
        status = 130
    except _UsageError as error:
        status = _fail(error.format_message())  # type: ignore[attr-defined]
    except InputError as error:
        status = _fail(str(error))
    except OSError as error:  # a folder that cannot be read, a disk that is full
        status = _fail(f"{error.filename2 or error.filename or 'A file'}: {error.strerror or error}")
    if status == 130:
        typer.echo("Stopped; the same command goes on from here.", err=True)
    sys.exit(status)


def _fail(message: str) -> int:
    typer.echo("Error: " + " ".join(message.splitlines()), err=True)
    return 2
