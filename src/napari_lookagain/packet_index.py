"""Which packet of a video file holds which frame, and where decoding must start: read once, kept in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from itertools import chain
from pathlib import Path

import av
import numpy as np

from napari_lookagain.containers import NO_TIME, demux, open_container, time_stamp
from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.npz import read_npz
from napari_lookagain.packet_sources import describe_decoder
from napari_lookagain.packets import PacketIndex, damaged

_LAYOUT = 2  # of the file, to be raised when what is in it changes
_FACTS = np.dtype(
    {
        "names": ["stamp", "timed", "key", "hidden", "corrupt", "stored", "place", "size"],
        "formats": ["i8", "?", "?", "?", "?", "?", "i8", "i4"],
    }
)


def read_index(path: Path) -> PacketIndex:
    """Number the frames of a video in one pass over its packets.

    Raises
    ------
    InputError
        When the file is cut short, damaged, or holds no frames.
    """
    container, stream = open_container(path)
    with container:  # and not while the index is made of what is read here: that takes as much memory again
        context = stream.codec_context
        decoder, picture = describe_decoder(context), np.array([context.width, context.height], np.int32)
        promised, rates = len(stream.index_entries), (stream.average_rate, stream.guessed_rate, stream.time_base)
        reordered_avi = container.format.name == "avi" and context.has_b_frames
        rows = np.fromiter(_facts(container, stream, path), _FACTS)
    if not len(rows):
        raise InputError(f"{path} has a video stream without a single frame; record or convert it again.")
    whole = len(rows) - int(rows["corrupt"][-1])
    if whole < max(promised, len(rows)):
        raise InputError(
            f"{path} is cut short after {whole} frames; copy it again, or keep what is there with "
            f"'ffmpeg -i {path.name} mended.mp4'."
        )
    stamp = rows["stamp"]
    keys = np.flatnonzero(rows["key"]) if rows["key"].any() else np.zeros(1, np.int64)  # some codecs mark none
    _, inverse, counts = np.unique(stamp, return_inverse=True, return_counts=True)
    alone = counts[inverse] == 1
    if rows["timed"].all() and alone.all() and not reordered_avi and context.name != "vp8":
        # What is stored or shown before the first keyframe refers to frames that are not in the file.
        shown = np.flatnonzero(~rows["hidden"] & (np.arange(len(rows)) >= keys[0]) & (stamp >= stamp[keys[0]]))
        packet_of = shown[np.argsort(stamp[shown])]
    else:
        packet_of = _decoded_order(path)
    if not len(packet_of):
        raise InputError(f"{path} has a video stream without a single frame that can be shown; convert it again.")
    frame = np.full(len(rows), -1, np.int32)
    frame[packet_of] = np.arange(len(packet_of))
    start = (np.searchsorted(keys, packet_of, side="right") - 1).astype(np.int32)
    # In an open GOP, frames stored after a keyframe but shown before it need the keyframe before.
    while (early := (frame[keys[start]] > np.arange(len(start))) & (start > 0)).any():
        start[early] -= 1
    ticks = np.sort(stamp[packet_of]) if (stamp != NO_TIME).all() else np.empty(0, np.int64)
    key_stamp = np.where(alone[keys], stamp[keys], NO_TIME)
    stored = decoder and rows["stored"].all()
    place, size = (rows[name][: len(rows) if stored else 0].copy() for name in ("place", "size"))
    rate = _frame_rate(ticks, *(float(each or 0) for each in rates))
    return PacketIndex(frame, keys.astype(np.int32), key_stamp, start, place, size, np.array(decoder), picture, rate)


def _facts(container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> Iterator[tuple[object, ...]]:
    """What is to be known of each packet, as `_FACTS` names it."""
    with path.open("rb", buffering=0) as file:
        for packet in demux(container, stream):
            # A container may change packets, spread them, or add to them: then they cannot be had without it.
            place, size, plain = packet.pos, packet.size, next(packet.iter_sidedata(), None) is None
            stored = plain and place is not None and file.seek(place) == place and file.read(size) == bytes(packet)
            time = time_stamp(packet), packet.pts is not None
            yield *time, packet.is_keyframe, packet.is_discard, packet.is_corrupt, stored, place or 0, size


def load_index(file: Path, video: Path) -> PacketIndex | None:
    """Read what `keep_index` wrote; None where that is missing, damaged, of another file, or made by another FFmpeg."""
    try:
        kept = read_npz(file)
        index = PacketIndex(**{field.name: kept[field.name] for field in fields(PacketIndex)})
        same = np.array_equal(kept["of"], _mark(video))
    except Exception:  # files, zip and numpy each raise their own
        return None
    return index if same else None


def keep_index(index: PacketIndex, file: Path, video: str | Path) -> None:
    """Write an index whole or not at all; in a folder that cannot be written to, nothing is kept."""
    with suppress(InputError, OSError), atomic_path(file) as path:
        np.savez(path, of=_mark(video), **{field.name: getattr(index, field.name) for field in fields(index)})


def _mark(video: str | Path) -> np.ndarray:
    """What an index must have been made with: this layout, a file of this size, packets as this FFmpeg cuts them."""
    return np.array([_LAYOUT, Path(video).stat().st_size, *av.library_versions["libavformat"]])


def _decoded_order(path: Path) -> np.ndarray:
    """Decode all of a file whose time stamps do not tell the order of its frames: (T,) packet of every frame shown."""
    order: list[int] = []
    container, stream = open_container(path)
    with container:
        try:
            for position, packet in enumerate(chain(demux(container, stream), [None])):
                if packet is not None:
                    packet.pts, packet.dts = position, None
                order += [frame.pts for frame in stream.codec_context.decode(packet) if frame.pts is not None]
        except av.FFmpegError as error:
            raise damaged(path, len(order)) from error
    return np.array(order, np.int64)


def _frame_rate(ticks: np.ndarray, average: float, guessed: float, tick: float) -> np.ndarray:
    """Give the frame rate and, if it varies, the most (s) that a frame stands away from index / rate; else 0."""
    if not len(ticks):
        return np.array([guessed or 1.0, 0.0])
    fps, tick = average or guessed or 1.0, tick or 1.0
    index, seconds = np.arange(len(ticks)), (ticks - ticks[0]) * tick
    if abs(seconds[-1] - index[-1] / fps) > 0.5 / fps + tick and seconds[-1] > 0:
        fps = float(index[-1] / seconds[-1])
    off = float(np.abs(seconds - index / fps).max())
    return np.array([fps, off if off > 0.5 / fps + tick else 0.0])
