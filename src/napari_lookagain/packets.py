"""From the packets of a video file to its frames: which packet holds which frame, and where decoding must start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np

from napari_lookagain.errors import InputError

_NO_TIME = np.iinfo(np.int64).min
_SKIPPING = {"h264", "hevc"}  # decoders that heed skip_frame packet by packet; others read it once, or lag behind it


@dataclass(frozen=True)
class PacketIndex:
    """Where the frames are. Packets are counted as they are stored, frames as they are shown."""

    frame: np.ndarray  # (P,) int32, the frame in each packet, -1 for a packet that shows none
    stamp: np.ndarray  # (P,) int64, time to find a packet by, _NO_TIME where it does not tell the packet from others
    keys: np.ndarray  # (K,) int64, packets that decoding can start at
    start: np.ndarray  # (T,) int64, which of the keys each frame needs


class PacketReader:
    """One open file and its decoder, which move forward until told to seek."""

    def __init__(self, path: Path, index: PacketIndex) -> None:
        self.decoded = 0
        self._path, self._index = path, index
        self._last: av.VideoFrame | None = None
        self._open(0)

    def _open(self, key: int) -> None:
        self._container, self._stream = open_container(self._path)
        self._restart(islice(_packets(self._container, self._stream), key, None), sent=key)

    def _restart(self, packets: Iterator[av.Packet], sent: int) -> None:
        self._packets, self._sent = packets, sent
        self._ready: deque[av.VideoFrame] = deque()
        self._floor, self._ended = 0, False  # the lowest frame that is still to come, and whether packets ran out

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def frame(self, i: int) -> av.VideoFrame:
        """Decode frame `i`, or raise an `InputError` when it is damaged.

        The frame asked for last is kept, because a screen asks for it again and again.
        """
        if self._last is not None and self._last.pts == i:
            return self._last
        key = int(self._index.start[i])
        # A stream with a rolling refresh instead of true keyframes shows a frame only from an earlier start.
        for k in range(key, max(key - 2, -1), -1):
            packet = int(self._index.keys[k])
            if packet > self._sent or i < self._floor or k < key:
                self._seek(packet)
            frame = self._advance(i)
            if frame is not None and not frame.is_corrupt:
                self._last = frame
                return frame
        raise _damaged(self._path, i)

    def _advance(self, i: int) -> av.VideoFrame | None:
        self._floor = i + 1
        while True:
            while self._ready:
                frame = self._ready.popleft()
                if frame.pts == i:
                    return frame
                if frame.pts is not None and frame.pts > i:
                    self._ready.appendleft(frame)
                    return None
            if self._ended:
                return None
            self._feed(i)

    def _feed(self, i: int) -> None:
        """Send one packet, marked with its frame's index, which comes out of the decoder as the frame's pts."""
        packet = next(self._packets, None)
        context = self._stream.codec_context
        if packet is not None:
            shows = int(self._index.frame[self._sent])
            packet.pts, packet.dts = shows, None
            if context.name in _SKIPPING:  # zeros (a copy with a hole) would pass for a frame that may be skipped
                context.skip_frame = "NONREF" if shows < i and any(memoryview(packet)[4:8]) else "DEFAULT"
            self._sent += 1
        self._ended = packet is None
        try:
            frames = context.decode(packet)
        except av.FFmpegError:  # what follows a broken packet cannot be trusted, what came before it is whole
            frames = [] if packet is None else context.decode(None)
            self._ended = True
        self.decoded += len(frames)
        self._ready.extend(frames)

    def _seek(self, key: int) -> None:
        """Go to a key packet; a seek counts only when that very packet is found behind it."""
        stamp = int(self._index.stamp[key])
        if key and stamp != _NO_TIME and self._search(stamp, key):
            return
        self._container.close()
        self._open(key)

    def _search(self, stamp: int, key: int) -> bool:
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return False
        packets = _packets(self._container, self._stream)
        for packet in packets:
            found = _stamp(packet)
            if packet.is_keyframe and found >= stamp:
                self._restart(chain([packet], packets), sent=key)
                return found == stamp
        return False


def open_container(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a file and its first video stream; an `InputError` says what is wrong with a file that is no video."""
    try:
        if not path.stat().st_size:
            raise InputError(f"{path} is empty (0 bytes), not a video; copy it again from where it was recorded.")
        container = av.open(str(path.absolute()))  # absolute: FFmpeg takes "a:b.mp4" for a protocol
    except av.FFmpegError as error:
        raise InputError(
            f"{path} cannot be opened as a video ({error.strerror}): it is cut short or not a video; copy it again or "
            "convert it to mp4."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or streams[0].codec_context is None:
        container.close()
        found = "a video stream that cannot be decoded" if streams else "no video stream"
        raise InputError(f"{path} has {found}; choose the video file of the recording, or convert it to mp4.")
    streams[0].thread_type = "SLICE"  # frame threads would decode ahead after every seek
    return container, streams[0]


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    return (packet for packet in container.demux(stream) if packet.size)


def _stamp(packet: av.Packet) -> int:
    time = packet.dts if packet.pts is None else packet.pts
    return _NO_TIME if time is None else time


def _damaged(path: Path, i: int) -> InputError:
    return InputError(
        f"Frame {i} of {path} is damaged and cannot be decoded; copy the file again, or mend it with "
        f"'ffmpeg -i {path.name} mended.mp4'."
    )


def read_index(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path
) -> tuple[PacketIndex, np.ndarray]:
    """Number the frames; also give their times in ticks of the stream, (T,) int64, or (0,) where it has none."""
    promised = len(stream.index_entries)
    facts = (
        (_stamp(packet), packet.pts is not None, packet.is_keyframe, packet.is_discard, packet.is_corrupt)
        for packet in _packets(container, stream)
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
    start = np.searchsorted(keys, packet_of, side="right") - 1
    # In an open GOP, frames stored after a keyframe but shown before it need the keyframe before.
    while (early := (frame[keys[start]] > np.arange(len(start))) & (start > 0)).any():
        start[early] -= 1
    ticks = np.sort(stamp[packet_of]) if (stamp != _NO_TIME).all() else np.empty(0, np.int64)
    return PacketIndex(frame, np.where(alone, stamp, _NO_TIME), keys, start), ticks


def _decoded_order(path: Path) -> np.ndarray:
    """Decode all of a file whose time stamps do not tell the order of its frames: (T,) packet of every frame shown."""
    order: list[int] = []
    container, stream = open_container(path)
    with container:
        try:
            for position, packet in enumerate(chain(_packets(container, stream), [None])):
                if packet is not None:
                    packet.pts, packet.dts = position, None
                order += [frame.pts for frame in stream.codec_context.decode(packet) if frame.pts is not None]
        except av.FFmpegError as error:
            raise _damaged(path, len(order)) from error
    return np.array(order, np.int64)


def frame_rate(ticks: np.ndarray, stream: av.VideoStream) -> tuple[float, float]:
    """Give the frame rate and, if it varies, the most (s) that a frame stands away from index / rate; else 0."""
    if not len(ticks):
        return float(stream.guessed_rate or 1), 0.0
    fps = float(stream.average_rate or stream.guessed_rate or 1)
    tick = float(stream.time_base or 1)
    index, seconds = np.arange(len(ticks)), (ticks - ticks[0]) * tick
    if abs(seconds[-1] - index[-1] / fps) > 0.5 / fps + tick and seconds[-1] > 0:
        fps = float(index[-1] / seconds[-1])
    off = float(np.abs(seconds - index / fps).max())
    return fps, off if off > 0.5 / fps + tick else 0.0
