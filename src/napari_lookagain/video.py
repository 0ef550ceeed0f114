"""Exact frames of a video by index, decoding and converting as little as possible."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType

import av
import numpy as np

from napari_lookagain.packet_index import keep_index, load_index, read_index
from napari_lookagain.packets import PacketReader


class Video:
    """A video file as a sequence of frames that are numbered from 0 in the order they are shown.

    A frame is told by its place in the file, never by seconds × fps, so the same index gives the same pixels as
    decoding from the first frame on: with B-frames, long or open groups of pictures (GOPs), edit lists and a variable
    frame rate alike. Opening reads through the file once without decoding it; files whose time stamps do not tell the
    order of their frames (AVI with B-frames, raw streams, VP8) are decoded once instead, which takes longer.

    All methods may be called from several threads; each running iterator has a decoder of its own.

    Parameters
    ----------
    path : str or Path
        Any file that FFmpeg decodes. Its first video stream is taken; cover art is not a video stream.
    index : str or Path, optional
        An .npz file that keeps between openings what was read of this video, so that the next one does not read through
        it; give it a name that only this video has. It is made, and made anew when it is damaged or of another file;
        where it cannot be written, nothing is kept.

    Attributes
    ----------
    path : Path
    n_frames : int
    fps : float
        Frames per second; the mean where the rate varies.
    width, height : int
        Pixels, as stored: a rotation noted in the file is not applied.
    variable_frame_rate : bool
        True when some frame stands more than half a frame away from index / `fps`. Opening warns of it.
    keyframes : np.ndarray
        (G,) int64, in rising order, the first one 0: the frames that decoding can start at. For any frame, those from
        the last of these on have to be decoded, except where no other refers to them.
    packets : PacketIndex
        Where its frames are in the file.
    decoded, converted : int
        Frames that left the decoder, and frames made into arrays, since the video was opened.

    Raises
    ------
    InputError
        When the file is missing, empty, cut short, damaged, no video, or holds no frames.
    """

    def __init__(self, path: str | Path, index: str | Path | None = None) -> None:
        self.path = Path(path)
        kept = None if index is None else load_index(Path(index), self.path)
        self.packets = kept or read_index(self.path)
        if index is not None and kept is None:
            keep_index(self.packets, Path(index), self.path)
        self.width, self.height = self.packets.picture.tolist()
        self.fps, off = self.packets.rate.tolist()
        self.n_frames = len(self.packets.start)
        self.keyframes = _first_of_each(self.packets.start)
        self.variable_frame_rate = off > 0
        self.decoded = 0
        self.converted = 0
        self._lock = Lock()
        self._idle: PacketReader | None = None
        self._closed = False
        if self.variable_frame_rate:
            warnings.warn(
                f"{self.path.name} has a variable frame rate: frames are exact by index, but seconds computed as "
                f"index / {self.fps:.4g} are off by up to {off:.2g} s.",
                UserWarning,
                stacklevel=2,
            )

    def frame(self, i: int, *, grey: bool = False) -> np.ndarray:
        """Give one frame.

        Asking for frames in rising order decodes forward; going back decodes from the keyframe before.

        Parameters
        ----------
        i : int
            0 ≤ i < `n_frames`.
        grey : bool
            As in `frames`.

        Returns
        -------
        np.ndarray
            (H, W, 3) uint8 RGB, or (H, W) uint8 when `grey`.

        Raises
        ------
        IndexError
            When there is no such frame.
        InputError
            When the frame is damaged.
        ValueError
            When the video was closed.
        """
        self._check([i])
        with self._reader() as reader:
            return self._take(reader, i, grey)

    def frames(
        self, indices: Sequence[int] | np.ndarray, *, grey: bool = False, view: bool = False
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Give some frames, in rising order, each once; only these are converted.

        Decoding starts at the keyframe a wanted frame needs and goes on to the next wanted frame of that GOP without
        a new seek. GOPs without a wanted frame are not decoded, nor, in H.264 and H.265, are unwanted frames that no
        other refers to.

        Parameters
        ----------
        indices : sequence of int
            In any order, 0 ≤ index < `n_frames`. Not a mask.
        grey : bool
            Take the luma plane as stored, without a conversion: 16–235 in limited-range video (most), 0–255 in
            full-range video. Formats without an 8-bit luma plane (RGB, 10 bits and more) are converted to 0–255 grey.
        view : bool
            Give a luma plane as it lies in the decoder's memory, not to be written to, instead of a copy.

        Yields
        ------
        tuple of int and np.ndarray
            Index, and (H, W, 3) uint8 RGB, or (H, W) uint8 when `grey`; the caller's own unless `view`.

        Raises
        ------
        IndexError, InputError, ValueError
            As in `frame`; at the call for a wrong index, at the frame for a damaged one.
        TypeError
            When the indices are not integers.
        """
        wanted = np.unique(np.asarray(indices))
        if wanted.size and wanted.dtype.kind not in "iu":
            raise TypeError(f"frame indices must be integers, got {wanted.dtype}; take np.flatnonzero of a mask")
        self._check(wanted[[0, -1]].tolist() if wanted.size else [])
        return self._iterate(wanted, grey, view)

    def _iterate(self, wanted: np.ndarray, grey: bool, view: bool) -> Iterator[tuple[int, np.ndarray]]:
        with self._reader() as reader:
            for i in map(int, wanted):
                self._check([])
                yield i, self._take(reader, i, grey, view)

    def _take(self, reader: PacketReader, i: int, grey: bool, view: bool = False) -> np.ndarray:
        before = reader.decoded
        frame = reader.frame(i)
        with self._lock:
            self.decoded += reader.decoded - before
            self.converted += 1
        return _to_array(frame, grey, view)

    @contextmanager
    def _reader(self) -> Iterator[PacketReader]:
        """Lend the idle reader, or a new one while another thread or iterator has it; one is kept for the next call."""
        with self._lock:
            reader, self._idle = self._idle, None
        reader = reader or PacketReader(self.path, self.packets)
        sound = False  # a reader that an error interrupted is not used again
        try:
            yield reader
            sound = True
        except GeneratorExit:  # an iterator that was left early
            sound = True
            raise
        finally:
            with self._lock:
                keep = sound and self._idle is None and not self._closed
                if keep:
                    self._idle = reader
            if not keep:
                reader.close()

    def _check(self, wanted: list[int]) -> None:
        if self._closed:
            raise ValueError(f"{self.path.name} was closed; open it again with Video(path)")
        for i in wanted:
            if not 0 <= i < self.n_frames:
                raise IndexError(f"{self.path.name} has no frame {i}; its frames are 0 to {self.n_frames - 1}")

    def close(self) -> None:
        """Let go of the file. Iterators that are still running end with a ValueError at their next frame."""
        with self._lock:
            self._closed = True
            reader, self._idle = self._idle, None
        if reader is not None:
            reader.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _first_of_each(start: np.ndarray) -> np.ndarray:
    """Give the first frame, in rising order, that needs each of the packets that decoding can start at."""
    changed = np.concatenate([[0], np.flatnonzero(start[1:] != start[:-1]) + 1])  # few: what follows takes no memory
    return np.sort(changed[np.unique(start[changed], return_index=True)[1]])


def _to_array(frame: av.VideoFrame, grey: bool, view: bool) -> np.ndarray:
    if not grey:
        return frame.to_ndarray(format="rgb24")
    luma, plane = frame.format.components[0], frame.planes[0]
    whole = frame.format.is_planar or frame.format.name == "gray"
    if not (whole and luma.is_luma and luma.bits == 8 and plane.line_size > 0):
        return frame.to_ndarray(format="gray")
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)  # lines are padded
    luma_plane = rows[: frame.height, : frame.width]
    if not view:
        return luma_plane.copy()
    luma_plane.flags.writeable = False  # the decoder may still refer to it
    return luma_plane
