"""Commands of one recording: its files, what people scored, tables and the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lookagain.cli.options import Device, Folder, Json, Seed, names_of, pair_of, spans_of
from napari_lookagain.cli.show import show
from napari_lookagain.errors import InputError


def new(
    folder: Annotated[Path, typer.Argument(help="The session folder to make, NAME.lookagain.")],
    pose: Annotated[
        Path | None, typer.Option(help="Keypoints: DeepLabCut, SLEAP, Lightning Pose, Anipose, NWB or plain xyz.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="The video; it stays where it is.")] = None,
    software: Annotated[str | None, typer.Option(help="What wrote the pose file, where it cannot be guessed.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second, where the files do not say.")] = None,
    keypoints: Annotated[str | None, typer.Option(help="Names, or a choice of them: nose,ear,tail.")] = None,
    heading: Annotated[str | None, typer.Option(help="REAR,FRONT keypoint; guessed from the names.")] = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a session folder from a pose file, a video or both."""
    from napari_lookagain.contents import about_session
    from napari_lookagain.session import new_session

    session = new_session(
        pose,
        video,
        software=software,
        fps=fps,
        keypoints=names_of(keypoints),
        heading=pair_of(heading),
        recording=folder.stem,
    )
    session.save(folder)
    show(about_session(session), as_json)


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
    show(about_session(session), as_json)


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
    show({"recording": session.recording, "bouts": len(bouts), "scored_frames": frames}, as_json)


def looks(
    folder: Folder,
    pin: Annotated[
        str | None, typer.Option(help="Frames always to look at: 100,2000-2010 (the stop excluded).")
    ] = None,
    mute: Annotated[str | None, typer.Option(help="Frames never to look at: 5000-9000.")] = None,
    animal: Annotated[str | None, typer.Option(help="For this animal alone; for all by default.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget the wishes so far, or those for --animal.")] = False,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say where later runs must look, and where they must not; without an option, tell what is said."""
    from napari_lookagain.looks import keep_wishes, wishes_of
    from napari_lookagain.session import load_session

    session = load_session(folder)
    before = wishes = wishes_of(session)
    if clear:
        wishes = wishes.clear(animal)
    for start, stop in spans_of("--pin", pin):
        wishes = wishes.pin(start, stop, animal)
    for start, stop in spans_of("--mute", mute):
        wishes = wishes.mute(start, stop, animal)
    if wishes != before:
        keep_wishes(session, wishes)
    show({"recording": session.recording, **wishes.told()}, as_json)


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
    from napari_lookagain.export import export_table
    from napari_lookagain.formats.tables import write_table
    from napari_lookagain.session import load_session

    table = export_table(load_session(folder), what, run)
    write_table(table, out, format)
    show({"file": str(out), "rows": len(table)}, as_json)


def open_session(folder: Folder, device: Device = "auto", seed: Seed = 0, as_json: Json = False) -> None:
    """Open a session in napari, with all steps from a run to the export."""
    try:
        from napari_lookagain.gui.present import open_window
    except ImportError as error:  # qtpy finds none
        raise InputError(f"napari has no Qt to draw with ({error}); pip install 'napari-lookagain[all]'.") from error
    open_window(folder)


def info(
    path: Annotated[Path, typer.Argument(help="A session folder, a model folder, a video or a pose file.")],
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what a file or folder holds."""
    from napari_lookagain.contents import describe

    show(describe(path), as_json)
