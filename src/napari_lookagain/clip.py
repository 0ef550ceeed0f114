"""A stretch of the video with its keypoints and its ethogram burnt in, to be shown where no napari is."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from napari_lookagain.colors import UNSCORED_COLOR, behavior_colors, cluster_colors
from napari_lookagain.encoding import video_writer
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.files import atomic_path
from napari_lookagain.pictures.lettering import text_mask
from napari_lookagain.progress import Progress

if TYPE_CHECKING:
    from napari_lookagain.session import Session
    from napari_lookagain.video import Video

_WIDEST, _NARROWEST = 1280, 640  # pixels of a clip
_AROUND = 3.0  # body lengths in a picture that follows an animal
_STEADY = 0.5  # seconds over which such a picture moves evenly
_MARGIN, _TEXT, _STRIP, _TICKS, _GAP = 12, 14, 14, 4, 8  # pixels
_INK, _FAINT, _PAPER = (34, 34, 34), (111, 111, 111), (255, 255, 255)


def write_clip(
    session: Session,
    ethogram: Ethogram,
    path: str | Path,
    start: int,
    stop: int,
    animal: int | None = None,
    *,
    colors: Mapping[str, str] | None = None,
) -> Generator[Progress, None, None]:
    """Write frames [start, stop) as a video: keypoints on the picture, below it a strip of the ethogram per animal.

    Keypoints have the color of what their animal does. Where the clip has more frames than its strip has pixels, the
    strip runs along under the frame in view. Ticks below it mark the frames that the model looked at.

    Parameters
    ----------
    session
        With a video.
    ethogram
        Of the session; `Ethogram.with_corrections` lets what raters scored win.
    path
        An ``.mp4`` file, written whole or not at all.
    start, stop
        Frames, half-open.
    animal
        Follow this animal alone; None shows the whole picture.
    colors
        ``"#rrggbb"`` of each class; by default those of `napari_lookagain.colors`.

    Yields
    ------
    Progress
        After every frame.

    Raises
    ------
    InputError
        When the frames or the animal are not of the recording, the ethogram is of another one, the video is missing,
        or the file cannot be written.

    Examples
    --------
    >>> drain(write_clip(session, ethogram, "groom.mp4", 1200, 1300, animal=0))
    """
    path = Path(path)
    _check(session, ethogram, path, start, stop, animal)
    shown = range(session.n_animals) if animal is None else [animal]
    with session.open_video() as video:
        view = _view(session, start, stop, animal)
        panel = _Panel(ethogram, shown, start, stop, view.size[0], _palette(ethogram, colors))
        size = view.size[0], (view.size[1] + panel.height) // 2 * 2
        with atomic_path(path) as temporary, video_writer(temporary, size, session.fps, crf=18) as write:
            for index, frame in video.frames(range(start, stop)):
                inks = [panel.color(index, each) for each in shown]
                picture = view.show(frame, index - start)
                names = [session.animals[each] for each in shown] if len(shown) > 1 else None
                _draw(picture, view.points(session.keypoints[index, list(shown), :, :2], index - start), inks, names)
                write(np.vstack([picture, panel.draw(index, session.fps)])[: size[1]])
                yield Progress(index + 1 - start, stop - start, "writing the clip")


def animal_frames(
    session: Session, video: Video, animal: int, start: int, stop: int, size: int = 160, color: str = "#ffffff"
) -> Iterator[np.ndarray]:
    """Small pictures that follow an animal, with its keypoints, (size, size, 3) uint8: what an example shows.

    Parameters
    ----------
    session, video
        A session and its open video.
    animal
        Index of the animal.
    start, stop
        Frames, half-open.
    size
        Side of the pictures in pixels.
    color
        Of the keypoints.
    """
    view = _follow(session, start, stop, animal, size)
    for index, frame in video.frames(range(start, stop)):
        picture = view.show(frame, index - start)
        _draw(picture, view.points(session.keypoints[index, [animal], :, :2], index - start), [_rgb(color)])
        yield picture


@dataclass(frozen=True)
class _View:
    """Where pixels of the video come to stand in the picture: (n, 2, 3) maps, one for each frame shown."""

    size: tuple[int, int]
    maps: np.ndarray

    def show(self, frame: np.ndarray, i: int) -> np.ndarray:
        way = cv2.INTER_AREA if self.maps[i, 0, 0] < 1 else cv2.INTER_LINEAR
        return np.ascontiguousarray(cv2.warpAffine(frame, self.maps[i], self.size, flags=way))

    def points(self, points: np.ndarray, i: int) -> np.ndarray:
        return points @ self.maps[i, :, :2].T + self.maps[i, :, 2]


def _view(session: Session, start: int, stop: int, animal: int | None) -> _View:
    if animal is not None:
        return _follow(session, start, stop, animal, _NARROWEST)
    assert session.frame_size is not None
    width, height = session.frame_size
    scale = np.clip(width, _NARROWEST, _WIDEST) / width
    size = int(scale * width) // 2 * 2, int(scale * height) // 2 * 2
    whole = np.array([[scale, 0, 0], [0, scale, 0]])
    return _View(size, np.broadcast_to(whole, (stop - start, 2, 3)))


def _follow(session: Session, start: int, stop: int, animal: int, size: int) -> _View:
    """A square around an animal that moves with it, but not with every jitter of its keypoints."""
    assert session.frame_size is not None
    if session.has_keypoints:
        side = min(max(_AROUND * session.body_length, 32.0), *map(float, session.frame_size))
    else:  # who knows where it is: all of the picture, around its middle
        side = float(max(session.frame_size))
    reach = round(_STEADY * session.fps / 2)
    first = max(0, start - reach)
    center = session.centers(first, stop + reach)[:, animal, :2]
    smooth = np.stack(
        [_smooth(column, reach, edge / 2) for column, edge in zip(center.T, session.frame_size, strict=True)]
    )
    smooth = smooth[:, start - first : stop - first]
    scale = size / side
    maps = np.zeros((stop - start, 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = scale
    maps[:, :, 2] = size / 2 - scale * smooth.T
    return _View((size, size), maps)


def _smooth(values: np.ndarray, reach: int, never: float) -> np.ndarray:
    """Mean over `reach` frames to both sides, gaps bridged; `never` where no value is known."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.full(len(values), never)
    values = np.interp(np.arange(len(values)), known, values[known])
    total = np.cumsum(np.pad(values, (reach + 1, reach), mode="edge"))
    return (total[2 * reach + 1 :] - total[: -2 * reach - 1]) / (2 * reach + 1)


class _Panel:
    """What stands below the picture: for each animal its name, what it does, and a strip of its ethogram."""

    def __init__(
        self, ethogram: Ethogram, shown: Sequence[int], start: int, stop: int, width: int, palette: np.ndarray
    ) -> None:
        self.ethogram, self.shown, self.start, self.stop, self.palette = ethogram, shown, start, stop, palette
        self.inside = width - 2 * _MARGIN
        self.line = len(text_mask("", _TEXT)) + 2
        self.row = self.line + _STRIP + _TICKS + _GAP
        self.height = _GAP + len(shown) * self.row + self.line + _GAP
        self.width = width

    def color(self, index: int, animal: int) -> tuple[int, int, int]:
        """Color of what an animal does at a frame."""
        return tuple(self.palette[self.ethogram.label[index, animal]].tolist())

    def draw(self, index: int, fps: float) -> np.ndarray:
        panel = np.full((self.height, self.width, 3), 255, np.uint8)
        span = min(self.stop - self.start, self.inside)  # frames in the strip
        first = int(np.clip(index - span // 2, self.start, self.stop - span))
        for place, animal in enumerate(self.shown):
            top = _GAP + place * self.row
            self._name(panel, top, index, animal)
            self._strip(panel[top + self.line :], self.ethogram.label[first : first + span, animal], animal, first)
        x = _MARGIN + round((index - first + 0.5) / span * self.inside)
        bottom = _GAP + len(self.shown) * self.row - _GAP
        cv2.line(panel, (x, _GAP + self.line - 3), (x, bottom), _INK, 2)
        seconds = index / fps
        told = f"{self.ethogram.recording}   frame {index}   {int(seconds // 60)}:{seconds % 60:05.2f}"
        _write(panel, _MARGIN, bottom + _GAP, told, _FAINT)
        return panel

    def _name(self, panel: np.ndarray, top: int, index: int, animal: int) -> None:
        code = self.ethogram.label[index, animal]
        right = _write(panel, _MARGIN, top, self.ethogram.animals[animal], _INK) + _GAP
        chip = slice(top + 3, top + 3 + _TEXT), slice(right, right + _TEXT)
        panel[chip] = self.palette[code]
        cv2.rectangle(panel, (right, top + 3), (right + _TEXT, top + 3 + _TEXT), _FAINT, 1)
        _write(panel, right + _TEXT + 6, top, self.ethogram.names[code] if code >= 0 else "—", _INK)

    def _strip(self, below: np.ndarray, label: np.ndarray, animal: int, first: int) -> None:
        inside = slice(_MARGIN, _MARGIN + self.inside)
        place = np.arange(self.inside) * len(label) // self.inside
        below[:_STRIP, inside] = self.palette[label][place]
        cv2.rectangle(below, (_MARGIN, 0), (_MARGIN + self.inside, _STRIP), _FAINT, 1)
        looked = self.ethogram.looked[first : first + len(label), animal][place]
        below[_STRIP + 1 : _STRIP + 1 + _TICKS, inside][:, looked] = _INK


def _draw(
    picture: np.ndarray,
    points: np.ndarray,
    inks: Sequence[tuple[int, int, int]],
    names: Sequence[str] | None = None,
) -> None:
    """Draw the keypoints (A, J, 2) of animals, each in its color with a dark rim, and their names below them."""
    radius = max(2, round(picture.shape[1] / 220))
    for animal, ink in enumerate(inks):
        present = points[animal][np.isfinite(points[animal]).all(axis=1)]
        for x, y in np.rint(present).astype(int).tolist():
            cv2.circle(picture, (x, y), radius + 1, _INK, -1, cv2.LINE_AA)
            cv2.circle(picture, (x, y), radius, ink, -1, cv2.LINE_AA)
        if names is not None and len(present):
            x, y = round(present[:, 0].mean()), round(present[:, 1].max()) + radius + 2
            _write(picture, x - _letters(names[animal]).shape[1] // 2, y, names[animal], _PAPER, rim=True)


def _write(picture: np.ndarray, x: int, y: int, text: str, ink: tuple[int, int, int], rim: bool = False) -> int:
    """Set text with its upper left corner at a place, moved into the picture; return where it ends."""
    mask = _letters(text)
    x = int(np.clip(x, 0, max(0, picture.shape[1] - mask.shape[1])))
    y = int(np.clip(y, 0, max(0, picture.shape[0] - mask.shape[0])))
    part = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    mask = mask[: part.shape[0], : part.shape[1]]
    if rim:
        part[:] = _blend(part, cv2.dilate(mask, np.ones((3, 3), np.uint8)), _INK)
    part[:] = _blend(part, mask, ink)
    return x + mask.shape[1]


@lru_cache(maxsize=256)
def _letters(text: str) -> np.ndarray:
    return text_mask(text, _TEXT)


def _blend(part: np.ndarray, mask: np.ndarray, ink: tuple[int, int, int]) -> np.ndarray:
    share = mask[..., None] / 255
    return (part * (1 - share) + np.array(ink) * share).astype(np.uint8)


def _palette(ethogram: Ethogram, colors: Mapping[str, str] | None) -> np.ndarray:
    """(K + 1, 3) uint8: the color of each class, and at the end that of none."""
    names = ethogram.names
    usual = behavior_colors(names) if ethogram.kind == "behavior" else cluster_colors(names, {})
    told = usual | dict(colors or {})
    return np.array([*(_rgb(told[name]) for name in names), _rgb(UNSCORED_COLOR)], np.uint8)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _check(session: Session, ethogram: Ethogram, path: Path, start: int, stop: int, animal: int | None) -> None:
    if path.suffix.lower() != ".mp4":
        raise InputError(f"A clip cannot be written to {path}; choose a name ending in .mp4.")
    if not 0 <= start < stop <= session.n_frames:
        raise InputError(f"The frames {start} to {stop} are not within the recording's, 0 to {session.n_frames}.")
    if animal is not None and not 0 <= animal < session.n_animals:
        raise InputError(f"There is no animal {animal}; this recording has {session.n_animals}, counted from 0.")
    if ethogram.label.shape != (session.n_frames, session.n_animals):
        raise InputError(f"The ethogram is not of {session.recording}, but of {ethogram.recording}; take its own.")
