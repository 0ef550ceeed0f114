"""From the packets of a video file to its frames, decoding no more than these need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np

from napari_lookagain.errors import InputError

NO_TIME = np.iinfo(np.int64).min
# Decoders that heed skip_frame packet by packet; others read it once, or lag behind it. Not to send such packets at all
# takes as long (H.264, GOPs of 250, a quarter of the frames: 0.70 ms a frame of the video either way).
_SKIPPING = {"h264", "hevc"}


@dataclass(frozen=True)
class PacketIndex:
    """Where the frames are. Packets are counted as they are stored, frames as they are shown."""

    frame: np.ndarray  # (P,) int32, the frame in each packet, -1 for a packet that shows none
    keys: np.ndarray  # (K,) int32, packets that decoding can start at
    stamp: np.ndarray  # (K,) int64, time to find a key by, NO_TIME where it does not tell the packet from others
    start: np.ndarray  # (T,) int32, which of the keys each frame needs
    rate: np.ndarray  # (2,) float64, frames per second, and the most (s) that a frame is away from index / rate


class PacketReader:
    """One open file and its decoder, which move forward until told to seek."""

    def __init__(self, path: Path, index: PacketIndex) -> None:
        self.decoded = 0
        self._path, self._index = path, index
        self._last: av.VideoFrame | None = None
        self._open(0)

    def _open(self, key: int) -> None:
        self._container, self._stream = open_container(self._path)
        self._restart(islice(demux(self._container, self._stream), key, None), sent=key)

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
                self._seek(k)
            frame = self._advance(i)
            if frame is not None and not frame.is_corrupt:
                self._last = frame
                return frame
        raise damaged(self._path, i)

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

    def _seek(self, k: int) -> None:
        """Go to a key packet; a seek counts only when that very packet is found behind it."""
        packet, stamp = int(self._index.keys[k]), int(self._index.stamp[k])
        if packet and stamp != NO_TIME and self._search(stamp, packet):
            return
        self._container.close()
        self._open(packet)

    def _search(self, stamp: int, key: int) -> bool:
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return False
        packets = demux(self._container, self._stream)
        for packet in packets:
            found = time_stamp(packet)
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


def demux(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Give the packets of a stream, in the order in which they are stored."""
    return (packet for packet in container.demux(stream) if packet.size)


def time_stamp(packet: av.Packet) -> int:
    """Give the time (ticks of the stream) at which a packet is shown, or else decoded; `NO_TIME` without either."""
    time = packet.dts if packet.pts is None else packet.pts
    return NO_TIME if time is None else time


def damaged(path: Path, i: int) -> InputError:
    """What is said of a frame that cannot be decoded."""
    return InputError(
        f"Frame {i} of {path} is damaged and cannot be decoded; copy the file again, or mend it with "
        f"'ffmpeg -i {path.name} mended.mp4'."
    )
