"""Video files as FFmpeg opens them: their first video stream, and its packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from napari_lookagain.errors import InputError

NO_TIME = np.iinfo(np.int64).min


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
        raise unreadable(path, error) from error
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


def unreadable(path: Path, error: OSError) -> InputError:
    """What is said of a file that is gone, or that may not be read."""
    return InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.")
