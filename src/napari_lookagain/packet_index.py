"""Which packet of a video file holds which frame, and where decoding must start: read once, kept in a file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from itertools import chain
from pathlib import Path

import av
import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.files import atomic_path
from napari_lookagain.packets import NO_TIME, PacketIndex, damaged, demux, open_container, time_stamp

_LAYOUT = 1  # of the file, to be raised when what is in it changes


def read_index(container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> PacketIndex:
    """Number the frames of a video in one pass over its packets.

    Raises
    ------
    InputError
        When the file is cut short, damaged, or holds no frames.
    """
    promised = len(stream.index_entries)
    facts = (
        (time_stamp(packet), packet.pts is not None, packet.is_keyframe, packet.is_discard, packet.is_corrupt)
        for packet in demux(container, stream)
    )
    rows = np.fromiter(facts, [("stamp", "i8"), ("timed", "?"), ("key", "?"), ("hidden", "?"), ("corrupt", "?")])
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
    context = stream.codec_context
    reordered_avi = container.format.name == "avi" and context.has_b_frames
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
    return PacketIndex(frame, keys.astype(np.int32), key_stamp, start, _frame_rate(ticks, stream))


def load_index(file: Path, video: Path) -> PacketIndex | None:
    """Read what `keep_index` wrote; None where that is missing, damaged, of another file, or made by another FFmpeg."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            index = PacketIndex(**{field.name: kept[field.name] for field in fields(PacketIndex)})
            same = np.array_equal(kept["of"], _mark(video))
    except Exception:  # files, zip and numpy each raise their own
        return None
    return index if same else None


def keep_index(index: PacketIndex, file: Path, video: Path) -> None:
    """Write an index whole or not at all; in a folder that cannot be written to, nothing is kept."""
    with suppress(InputError, OSError), atomic_path(file) as path:
        np.savez(path, of=_mark(video), **{field.name: getattr(index, field.name) for field in fields(index)})


def _mark(video: Path) -> np.ndarray:
    """What an index must have been made with: this layout, a file of this size, packets as this FFmpeg cuts them."""
    return np.array([_LAYOUT, video.stat().st_size, *av.library_versions["libavformat"]])


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


def _frame_rate(ticks: np.ndarray, stream: av.VideoStream) -> np.ndarray:
    """Give the frame rate and, if it varies, the most (s) that a frame stands away from index / rate; else 0."""
    if not len(ticks):
        return np.array([float(stream.guessed_rate or 1), 0.0])
    fps = float(stream.average_rate or stream.guessed_rate or 1)
    tick = float(stream.time_base or 1)
    index, seconds = np.arange(len(ticks)), (ticks - ticks[0]) * tick
    if abs(seconds[-1] - index[-1] / fps) > 0.5 / fps + tick and seconds[-1] > 0:
        fps = float(index[-1] / seconds[-1])
    off = float(np.abs(seconds - index / fps).max())
    return np.array([fps, off if off > 0.5 / fps + tick else 0.0])
