"""Where packets come from: their places in the file, or the container they have to be looked for in."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import av

from napari_lookagain.containers import NO_TIME, demux, open_container, time_stamp, unreadable

if TYPE_CHECKING:
    from napari_lookagain.packets import PacketIndex

# Decoders that need no more of a container than what is told of them here.
_REBUILT = {"h264", "hevc", "mpeg4"}
_COLOR = ("color_range", "color_primaries", "color_trc", "colorspace")
_TOLD = ("codec_tag", "width", "height", "pix_fmt", "reorder_depth", *_COLOR)


class Source(Protocol):
    """Where a reader has its packets from, and the decoder they are for."""

    context: av.VideoCodecContext

    def start(self, k: int) -> Iterator[av.Packet]:
        """Make the decoder forget what it was sent, and give the packets from a key on."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class StoredPackets(Source):
    """Packets as they lie in the file: no container is opened, whose tables are large where a video is long."""

    def __init__(self, path: Path, index: PacketIndex) -> None:
        self._path, self._index = path, index
        self.context = _decoder(str(index.decoder))
        self._packets = self._read(0)

    def start(self, k: int) -> Iterator[av.Packet]:
        """As every source; packets end early where the file was cut off meanwhile."""
        self.close()
        if self.context.is_open:
            self.context.flush_buffers()
        self._packets = self._read(int(self._index.keys[k]))
        return self._packets

    def _read(self, first: int) -> Generator[av.Packet, None, None]:
        try:
            with self._path.open("rb", buffering=0) as file:
                for packet in range(first, len(self._index.place)):
                    file.seek(int(self._index.place[packet]))
                    one = av.Packet(int(self._index.size[packet]))  # with the room behind it that decoders read into
                    if file.readinto(one) < one.size:
                        return
                    yield one
        except OSError as error:
            raise unreadable(self._path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._packets.close()


class DemuxedPackets(Source):
    """Packets out of a container, of which each has to be looked for behind a key."""

    def __init__(self, path: Path, index: PacketIndex) -> None:
        self._path, self._index = path, index
        self._open()

    def _open(self) -> None:
        self._container, stream = open_container(self._path)
        self._stream, self.context = stream, stream.codec_context
        self._fresh = True

    def start(self, k: int) -> Iterator[av.Packet]:
        """As every source; a seek counts only when that very packet is found behind it."""
        packet, stamp = int(self._index.keys[k]), int(self._index.stamp[k])
        if packet and stamp != NO_TIME:
            found = self._search(stamp)
            if found is not None:
                return found
        if not self._fresh:
            self._container.close()
            self._open()
        self._fresh = False
        return islice(demux(self._container, self._stream), packet, None)

    def _search(self, stamp: int) -> Iterator[av.Packet] | None:
        self._fresh = False
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return None
        packets = demux(self._container, self._stream)
        for packet in packets:
            found = time_stamp(packet)
            if packet.is_keyframe and found >= stamp:
                return chain([packet], packets) if found == stamp else None
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()


def describe_decoder(context: av.VideoCodecContext) -> str:
    """What a decoder is made anew from, before it has decoded anything; empty where it needs its container."""
    if context.name not in _REBUILT:
        return ""
    told = {name: getattr(context, name) for name in _TOLD}
    return json.dumps({"name": context.name, "extradata": (context.extradata or b"").hex(), **told})


def _decoder(described: str) -> av.VideoCodecContext:
    told = json.loads(described)
    context = av.VideoCodecContext.create(told["name"], "r")
    context.extradata = bytes.fromhex(told["extradata"]) or None
    for name in _TOLD:
        if told[name] is not None:
            setattr(context, name, told[name])
    context.thread_type = "SLICE"
    return context
