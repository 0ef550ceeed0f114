"""``lookagain beast``: an eye pretrained on the lab's own video, and what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lookagain.cli.options import Device, Json, Preset, Seed, Settings, config_of
from napari_lookagain.cli.show import show, watch
from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from napari_lookagain.session import Session

app = typer.Typer(help="An eye pretrained on the lab's own video (BEAST), and what it sees.", no_args_is_help=True)

Recordings = Annotated[list[Path], typer.Argument(help="Session folders, or videos, which are seen whole.")]
Eye = Annotated[Path, typer.Argument(help="Folder of an encoder, as beast pretrain writes it.")]


@app.command()
def pretrain(
    recordings: Recordings,
    out: Annotated[Path, typer.Option(help="Folder for the eye.")],
    size: Annotated[str | None, typer.Option(help="tiny: for a CPU; small or base: for a GPU.")] = None,
    preset: Preset = "quick",
    settings: Settings = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Pretrain the eye on the frames that move and differ; no labels are needed."""
    from napari_lookagain.device import accelerator
    from napari_lookagain.eyes.kept import told_of
    from napari_lookagain.eyes.pictures import draw_eye
    from napari_lookagain.eyes.pretraining import pretrain_eye

    config = config_of(preset, seed, settings, {"beast.size": size})
    sessions = [_open(path) for path in recordings]
    watch(pretrain_eye(sessions, config, out, device=device))
    place = accelerator(device)
    if not place.is_main_process:  # one of several that share the work
        return
    watch(draw_eye(out, sessions[0], out, seed=seed, device=str(place.device)))
    show({"folder": str(out), **told_of(out)}, as_json)


@app.command()
def embed(
    eye: Eye,
    recording: Annotated[Path, typer.Argument(help="A video, seen whole, or a session folder: a crop per animal.")],
    out: Annotated[Path, typer.Option(help="File to write, .npy, with a row for each frame.")],
    what: Annotated[str, typer.Option(help="cls, patches, or mean over patches.")] = "cls",
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write the features of every frame."""
    from napari_lookagain.device import accelerator
    from napari_lookagain.eyes.kept import settings_of
    from napari_lookagain.vision.embed import embed as embed_frames
    from napari_lookagain.vision.encoder import load_encoder
    from napari_lookagain.vision.look import crops_of

    if what not in ("cls", "patches", "mean"):
        raise InputError(f"There are no features {what!r}; choose cls, patches or mean.")
    if out.suffix != ".npy":
        raise InputError(f"Features are written as .npy, but --out is {out.name}; give a name that ends in .npy.")
    encoder = load_encoder(eye, str(accelerator(device).device))
    session = _open(recording)
    crops = crops_of(session, settings_of(eye), encoder.size)
    shape = watch(embed_frames(session, encoder, crops, out, what))  # type: ignore[arg-type]  # one of the three
    show({"file": str(out), "shape": list(shape), "crops": crops.kind}, as_json)


@app.command()
def pictures(
    eye: Eye,
    recording: Annotated[Path, typer.Argument(help="A session folder, or a video, which is seen whole.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    examples: Annotated[int, typer.Option(help="How many moments to show.")] = 8,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw what the eye has learnt: hidden patches painted, patches it takes for alike, and its losses."""
    from napari_lookagain.device import accelerator
    from napari_lookagain.eyes.pictures import draw_eye

    place = str(accelerator(device).device)
    pages = watch(draw_eye(eye, _open(recording), out, examples, seed, place))
    show({"pictures": [str(page) for page in pages]}, as_json)


def _open(path: Path) -> Session:
    """A session folder, or a video as a session in memory."""
    from napari_lookagain.session import load_session, new_session

    return load_session(path) if path.is_dir() else new_session(video=path)
