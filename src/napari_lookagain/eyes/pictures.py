"""Pictures of what a pretrained eye has learnt: at a frame of a session, and on pages."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.eyes.kept import settings_of
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session, load_session, new_session
from napari_lookagain.vision.beast import Beast
from napari_lookagain.vision.beast_pictures import reconstructions
from napari_lookagain.vision.beast_weights import load_beast
from napari_lookagain.vision.crops import Crops, present
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder
from napari_lookagain.vision.look import crops_of
from napari_lookagain.vision.patch_colors import PatchColors

_FITTED = 100  # images that the colors of patches are fitted to (appendix B.5 of the paper)


@dataclass(frozen=True, eq=False)
class Glimpse:
    """What an eye makes of one animal at one frame.

    Parameters
    ----------
    animal
        Its index; 0 where whole frames are looked at.
    affine
        (2, 3), where in the frame the pictures lie; see `Crops.affine`.
    painted
        (S, S[, 3]) uint8, what the decoder painted from the patches that were not hidden.
    colors
        (S, S, 3) uint8, its patches, by what the eye tells them apart by.
    """

    animal: int
    affine: np.ndarray
    painted: np.ndarray
    colors: np.ndarray


class Sight:
    """A pretrained eye that looks at one session, frame by frame; `open_sight` makes one.

    Parameters
    ----------
    session
        With a video.
    folder
        Of the eye.
    beast, encoder
        The eye, whole and as an encoder.
    colors
        How its patches are painted.

    Attributes
    ----------
    moved
        Set it when keypoints of the session have moved: crops are then placed anew.
    """

    def __init__(
        self, session: Session, folder: Path, beast: Beast, encoder: VisionEncoder, colors: PatchColors
    ) -> None:
        self.session, self.folder, self.moved = session, folder, True
        self._beast, self._encoder, self._colors = beast, encoder, colors
        self._video = session.open_video()

    def at(self, index: int, seed: int = 0) -> list[Glimpse]:
        """Look at a frame: at every animal that is there, or at the whole of it; `seed` draws what is hidden."""
        if self.moved:
            self.moved = False
            self._crops = crops_of(self.session, settings_of(self.folder), self._encoder.size)
        crops = self._crops
        there = np.flatnonzero(present(self.session, crops, slice(index, index + 1))[0]).tolist()
        if not there:
            return []
        frame = self._video.frame(index, grey=self._encoder.grey)
        images = np.stack([crops.cut(frame, index, animal) for animal in there])
        painted = reconstructions(self._beast, images, seed)[:, 2]
        colors = self._colors.paint(self._encoder, images)
        affines = [crops.affine(index, animal) for animal in there]
        return [Glimpse(*found) for found in zip(there, affines, painted, colors, strict=True)]

    def close(self) -> None:
        """Let go of the video."""
        self._video.close()


def open_sight(folder: Path, session: Session, device: str = "cpu") -> Generator[Progress, None, Sight]:
    """Make an eye look at a session; the colors of patches are fitted to a hundred examples from all of it.

    Parameters
    ----------
    folder
        Of the eye, as `pretrain_eye` keeps it.
    session
        With a video.
    device
        Where the eye works, as torch names it.

    Raises
    ------
    InputError
        When the folder holds no whole eye, or there is nothing to be seen.
    """
    beast, encoder, crops = _load(folder, session, device)
    _, images = yield from _read_examples(session, crops, encoder.grey, _FITTED, seed=0)
    return Sight(session, folder, beast, encoder, PatchColors.fit(encoder, images))


def draw_eye(
    folder: str | Path, source: Session | str | Path, out: str | Path, n: int = 8, seed: int = 0, device: str = "cpu"
) -> Generator[Progress, None, list[Path]]:
    """Draw what an eye has learnt: `reconstructions.png`, `patches.png` and, where its losses are known, `loss.png`.

    Parameters
    ----------
    folder
        Of the eye, as `pretrain_eye` keeps it.
    source
        What it is shown: a session, the folder of one, or a video.
    out
        Folder for the pictures.
    n
        Examples, spread over the recording, of animals that are there.
    seed
        Of the choice of examples and of what is hidden of them.
    device
        Where the eye works, as torch names it.

    Returns
    -------
    list of Path
        The pictures.

    Raises
    ------
    InputError
        When the folder holds no whole eye, there is nothing to be seen, or the pictures cannot be written.
    """
    from napari_lookagain.pictures.eye import draw_examples, draw_losses

    if n < 1:
        raise InputError(f"{n} examples were asked for, expected 1 or more.")
    folder, out = Path(folder), Path(out)
    session = _session_of(source)
    beast, encoder, crops = _load(folder, session, device)
    rows, images = yield from _read_examples(session, crops, encoder.grey, max(n, _FITTED), seed)
    chosen = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)
    shown, captions = images[chosen], [_caption(session, crops, *row) for row in rows[chosen].tolist()]
    yield Progress(0, 3, "drawing")
    hidden = f"{session.recording}: {100 * beast.vit_mae.config.mask_ratio:.0f} % of the patches hidden"
    headings = ("image", "what the eye got", "what it painted")
    parts = reconstructions(beast, shown, seed)
    pages = [draw_examples(out / "reconstructions.png", parts, headings, captions, hidden)]
    yield Progress(1, 3, "drawing")
    plain = shown if shown.ndim == 4 else np.repeat(shown[..., None], 3, axis=-1)
    pairs = np.stack([plain, PatchColors.fit(encoder, images).paint(encoder, shown)], axis=1)
    alike = f"{session.recording}: what looks alike to the eye"
    pages.append(draw_examples(out / "patches.png", pairs, ("image", "its patches"), captions, alike))
    yield Progress(2, 3, "drawing")
    if (told := _losses(folder)) is not None:
        pages.append(draw_losses(out / "loss.png", told))
    yield Progress(3, 3, "drawing")
    return pages


def _load(folder: Path, session: Session, device: str) -> tuple[Beast, VisionEncoder, Crops]:
    """The eye in a folder, and what it is shown of a session: the same as in its pretraining."""
    beast, encoder = load_beast(folder, device), load_encoder(folder, device)
    return beast, encoder, crops_of(session, settings_of(folder), encoder.size)


def _losses(folder: Path) -> dict[str, Any] | None:
    """How the pretraining of an eye went; None where its folder does not tell."""
    try:
        told: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{folder / 'metrics.json'} is damaged; pretrain the eye again or copy it anew.") from error
    return told


def _session_of(source: Session | str | Path) -> Session:
    if isinstance(source, Session):
        return source
    return load_session(source) if Path(source).is_dir() else new_session(video=source)


def _read_examples(
    session: Session, crops: Crops, grey: bool, n: int, seed: int
) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray]]:
    """Rows (N, 2), frame and animal, one from each of as many stretches of the recording, and their images."""
    rows = np.argwhere(present(session, crops))
    if not len(rows):
        raise InputError(f"{session.recording} shows no animal at any frame; check its keypoints.")
    edges = np.linspace(0, len(rows), min(n, len(rows)) + 1).astype(int)
    rows = rows[np.random.default_rng(seed).integers(edges[:-1], edges[1:])]
    images: list[np.ndarray] = []
    with session.open_video() as video:
        for index, frame in video.frames(rows[:, 0], grey=grey):
            images += [crops.cut(frame, index, animal) for animal in rows[rows[:, 0] == index, 1].tolist()]
            yield Progress(len(images), len(rows), "looking at examples")
    return rows, np.stack(images)


def _caption(session: Session, crops: Crops, frame: int, animal: int) -> str:
    place = f"frame {frame:,}".replace(",", "\N{THIN SPACE}")
    return place if crops.kind == "frame" else f"{session.animals[animal]}, {place}"
