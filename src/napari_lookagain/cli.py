"""The command line: one command for each thing a lab does, and one clear line when something is wrong."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from napari_lookagain.errors import InputError
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.config import Config
    from napari_lookagain.ethogram import Ethogram
    from napari_lookagain.session import Session

Result = TypeVar("Result")
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer's own of late, click's before

app = typer.Typer(
    help="Behavior segmentation from keypoints on every frame and video on the few frames worth a look.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Folder = Annotated[Path, typer.Argument(help="The session folder.")]
Sessions = Annotated[list[Path], typer.Argument(help="Session folders, NAME.lookagain.")]
Budget = Annotated[float | None, typer.Option(help="Share of frames to look at, 0–1; without a video it is 0.")]
Encoder = Annotated[str, typer.Option(help="pca, qwen3-vl, dinov2, vit-mae, clip, videomae, a hub name or a folder.")]
Preset = Annotated[str, typer.Option(help="quick: minutes on two cores; paper: the paper's values and forms.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as look.select=topk; may be repeated.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result on a CPU.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The session folder to make, NAME.lookagain.")],
    pose: Annotated[
        Path, typer.Option(help="Keypoints: DeepLabCut, SLEAP, Lightning Pose, Anipose, NWB or plain xyz.")
    ],
    video: Annotated[Path | None, typer.Option(help="The video; it stays where it is.")] = None,
    software: Annotated[str | None, typer.Option(help="What wrote the pose file, where it cannot be guessed.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second, where the files do not say.")] = None,
    keypoints: Annotated[str | None, typer.Option(help="Names, or a choice of them: nose,ear,tail.")] = None,
    heading: Annotated[str | None, typer.Option(help="REAR,FRONT keypoint; guessed from the names.")] = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a session folder from a pose file and a video."""
    from napari_lookagain.contents import about_session
    from napari_lookagain.session import new_session

    session = new_session(
        pose,
        video,
        software=software,
        fps=fps,
        keypoints=_names(keypoints),
        heading=_pair(heading),
        recording=folder.stem,
    )
    session.save(folder)
    _show(about_session(session), as_json)


@app.command()
def relocate(
    folder: Folder,
    video: Annotated[Path, typer.Option(help="Where the video is now; no other video is taken.")],
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Tell a session where its video has gone."""
    from napari_lookagain.contents import about_session
    from napari_lookagain.session import load_session

    session = load_session(folder)
    session.relocate_video(video)
    _show(about_session(session), as_json)


@app.command()
def label(
    folder: Folder,
    source: Annotated[Path, typer.Option("--from", help="What was scored: bouts, frames, one-hot or BORIS table.")],
    format: Annotated[str | None, typer.Option(help="bouts, frames, onehot or boris; guessed from the header.")] = None,
    rater: Annotated[str | None, typer.Option(help="Who scored.")] = None,
    scored: Annotated[
        str, typer.Option(help="labelled: other frames are unscored; all: they are background.")
    ] = "labelled",
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Read what people scored into a session."""
    from napari_lookagain.formats.labels import read_labels
    from napari_lookagain.session import load_session

    session = load_session(folder)
    bouts = read_labels(
        source,
        n_frames=session.n_frames,
        animals=session.animals,
        fps=session.fps,
        format=format,
        scored=scored,  # type: ignore[arg-type]  # read_labels refuses other words
        rater=rater,
        recording=session.recording,
    )
    session.annotations.add_bouts(bouts)
    frames: dict[str, int] = {}
    for bout in bouts:
        frames[bout.behavior] = frames.get(bout.behavior, 0) + bout.stop - bout.start
    _show({"recording": session.recording, "bouts": len(bouts), "scored_frames": frames}, as_json)


@app.command()
def segment(
    folders: Sessions,
    budget: Budget = None,
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
    from napari_lookagain import runs

    sessions = _load(folders)
    name = run or runs.free_name(sessions, "segment")
    if model is None:
        config = _config(preset, sessions, budget, encoder, seed, settings, clusters)
        work = runs.segment(sessions, config, run=name, device=device)
    elif clusters is None and not encoder and not settings:
        work = runs.predict_all(model, sessions, budget=_budget(budget, sessions), run=name, device=device)
    else:
        raise InputError("With --model nothing is trained; leave out --clusters, --encoder and --set, or --model.")
    _show_run(name, _work(work), as_json)


@app.command()
def train(
    folders: Sessions,
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
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

    sessions = _load(folders)
    config = _config(preset, sessions, budget, encoder, seed, settings)
    _show(_work(runs.train(sessions, out, config, pretrained=pretrained, rater=rater, device=device)), as_json)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    folders: Sessions,
    budget: Budget = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; the next free one by default.")] = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Apply a trained model; with another budget only the look is repeated."""
    from napari_lookagain import runs

    sessions = _load(folders)
    name = run or runs.free_name(sessions, "predict")
    budget = _budget(budget, sessions)
    _show_run(name, _work(runs.predict_all(model, sessions, budget=budget, run=name, device=device)), as_json)


@app.command()
def export(
    folder: Folder,
    what: Annotated[str, typer.Option(help="frames, bouts, stats or boris.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    run: Annotated[
        str | None, typer.Option(help="This run alone; by default the latest of behaviors and clusters.")
    ] = None,
    format: Annotated[str, typer.Option(help="csv.")] = "csv",
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a table of a session's runs, in which what people scored wins over the model."""
    from napari_lookagain.formats.tables import write_table
    from napari_lookagain.runs import export_table
    from napari_lookagain.session import load_session

    table = export_table(load_session(folder), what, run)
    write_table(table, out, format)
    _show({"file": str(out), "rows": len(table)}, as_json)


@app.command("open")
def open_session(folder: Folder, device: Device = "auto", seed: Seed = 0, as_json: Json = False) -> None:
    """Open a session in napari, with all steps from a run to the export."""
    try:
        from napari_lookagain.gui.present import open_window
    except ImportError as error:  # qtpy finds none
        raise InputError(f"napari has no Qt to draw with ({error}); pip install 'napari-lookagain[all]'.") from error
    open_window(folder)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Simulate four recordings, discover clusters, train on three, predict the fourth, and report."""
    from napari_lookagain.demo import run_demo

    _show(_work(run_demo(out, seed=seed, device=device)), as_json)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A session folder, a model folder, a video or a pose file.")],
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what a file or folder holds."""
    from napari_lookagain.contents import describe

    _show(describe(path), as_json)


@app.command()
def doctor(device: Device = "auto", seed: Seed = 0, as_json: Json = False) -> None:
    """Say what this machine has, what is missing and how to get it."""
    from napari_lookagain import doctor as physician

    report = physician.report()
    if as_json:
        _show(report, as_json)
    else:
        typer.echo(physician.describe(report))


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


def _work(steps: Generator[Progress, None, Result]) -> Result:
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


def _load(folders: list[Path]) -> list[Session]:
    from napari_lookagain.session import load_session

    return [load_session(folder) for folder in folders]


def _config(
    preset: str,
    sessions: list[Session],
    budget: float | None,
    encoder: str,
    seed: int,
    settings: list[str] | None,
    clusters: int | None = None,
) -> Config:
    """The preset with the options and settings of the command line on top."""
    from napari_lookagain.config import Config

    changes: dict[str, dict[str, Any]] = {"training": {"seed": seed}}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        section, dot, key = name.partition(".")
        if not (equals and dot):
            raise InputError(f"--set got {setting!r}, expected SECTION.KEY=VALUE such as look.select=topk.")
        changes.setdefault(section, {})[key] = _value(value)
    options = {
        ("look", "budget"): _budget(budget, sessions),
        ("vision", "encoder"): encoder or None,
        ("finetune", "clusters"): clusters,
    }
    for (section, key), option in options.items():
        if option is not None:
            changes.setdefault(section, {})[key] = option
    return Config.preset(preset, **changes)  # type: ignore[arg-type]  # preset refuses other words


def _budget(budget: float | None, sessions: list[Session]) -> float | None:
    """The budget asked for; without a video it is 0, and None leaves it to the settings."""
    return 0.0 if budget is None and all(session.video is None for session in sessions) else budget


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _pair(text: str | None) -> tuple[str, str] | None:
    names = _names(text)
    if names is None:
        return None
    if len(names) != 2:
        raise InputError(f"--heading got {text!r}, expected two keypoints, the rear one and the front one: tail,nose.")
    return names[0], names[1]


def _show_run(name: str, ethograms: list[Ethogram], as_json: bool) -> None:
    from napari_lookagain.contents import about_ethogram

    _show({"run": name, "sessions": [about_ethogram(ethogram) for ethogram in ethograms]}, as_json)


def _show(result: dict[str, Any], as_json: bool) -> None:
    """The result of a command: one line of JSON, or a line for each thing a person wants to know."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        if isinstance(value, list):
            value = ", ".join(str(each) for each in value)
        typer.echo(f"{name.replace('_', ' ')}: {value}")


if __name__ == "__main__":
    main()
