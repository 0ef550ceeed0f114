"""A video as an array whose frames are decoded when they are looked at, and kept as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import Any

import numpy as np

from napari_lookagain.video import Video

CACHE_BYTES = 256 << 20


class LazyFrames:
    """Frames of a video as a (T, Y, X, 3) uint8 array that napari slices like any other.

    Stepping forward decodes one frame. A frame a little before the last one starts at a keyframe, which may lie
    hundreds of frames back, so the frames that lead up to it are kept on the way, and the next steps back find them
    there. Frames are decoded where they are asked for, not in a queue: while a slider is dragged, positions that it has
    left cost nothing.

    Parameters
    ----------
    video
        An open video.
    n_frames
        How many of its frames to show; by default all.
    cache_bytes
        Decoded frames take no more memory than this; at least one is kept.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, video: Video, n_frames: int | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        self.shape = (video.n_frames if n_frames is None else n_frames, video.height, video.width, 3)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self._video = video
        self._room = max(1, cache_bytes // (video.height * video.width * 3))  # frames
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()  # the one looked at last stands last
        self._last = -1
        self._lock = RLock()  # napari may slice in a thread

    @property
    def nbytes(self) -> int:
        """Memory the decoded frames take now."""
        return sum(frame.nbytes for frame in self._kept.values())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Give frames by an index, a slice or a list of indices, and crop them by what follows, as numpy does."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        every = range(len(self))
        if not isinstance(first, slice) and np.ndim(first) == 0:
            return self._frame(every[first])[tuple(rest)]
        wanted = every[first] if isinstance(first, slice) else np.asarray(every)[first]
        frames = [self._frame(int(i))[tuple(rest)] for i in wanted]
        return np.stack(frames) if frames else np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decode everything: what saving the layer as an image asks for."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def close(self) -> None:
        """Let go of the file and of what was decoded."""
        with self._lock:
            self._kept.clear()
            self._video.close()

    def _frame(self, i: int) -> np.ndarray:
        with self._lock:
            if i not in self._kept:
                lead = self._room // 2 if self._last - self._room <= i < self._last else 1
                for index, frame in self._video.frames(np.arange(max(0, i + 1 - lead), i + 1)):
                    self._keep(index, frame)
            self._last = i
            self._kept.move_to_end(i)
            return self._kept[i]

    def _keep(self, i: int, frame: np.ndarray) -> None:
        frame.flags.writeable = False  # it is handed out again and again
        self._kept[i] = frame
        self._kept.move_to_end(i)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)
