"""From the packets of a video file to its frames, decoding no more than these need."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from napari_lookagain.errors import InputError
from napari_lookagain.packet_sources import DemuxedPackets, Source, StoredPackets

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
    place: np.ndarray  # (P,) int64, byte of the file each packet starts at; (0,) where packets have to be demuxed
    size: np.ndarray  # (P,) int32, bytes; (0,) as `place`
    decoder: np.ndarray  # () str, what `describe_decoder` says of it
    picture: np.ndarray  # (2,) int32, width and height (px)
    rate: np.ndarray  # (2,) float64, frames per second, and the most (s) that a frame is away from index / rate


class PacketReader:
    """One open file and its decoder, which move forward until told to seek."""

    def __init__(self, path: Path, index: PacketIndex) -> None:
        self.decoded = 0
        self._path, self._index = path, index
        self._source: Source = (StoredPackets if len(index.place) else DemuxedPackets)(path, index)
        self._last: av.VideoFrame | None = None
        self._seek(0)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

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
        packet, context = next(self._packets, None), self._source.context
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
        self._packets, self._sent = self._source.start(k), int(self._index.keys[k])
        self._ready: deque[av.VideoFrame] = deque()
        self._floor, self._ended = 0, False  # the lowest frame that is still to come, and whether packets ran out


def damaged(path: Path, i: int) -> InputError:
    """What is said of a frame that cannot be decoded."""
    return InputError(
        f"Frame {i} of {path} is damaged and cannot be decoded; copy the file again, or mend it with "
        f"'ffmpeg -i {path.name} mended.mp4'."
    )
