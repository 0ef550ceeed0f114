"""Features that are made anew whenever they are read, for those too large to be kept."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from napari_lookagain.vision.cache import Features
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.encoder import VisionEncoder, What
from napari_lookagain.vision.pipeline import work_ahead

if TYPE_CHECKING:
    from napari_lookagain.session import Session
    from napari_lookagain.video import Video

_AT_ONCE = 64  # images


class OnTheFly:
    """Features of one encoder for the crops of one session, as `FeatureCache` gives them, but kept nowhere.

    All patches of a ViT-B are 0.3 MB an image; a training that reads ten thousand images would keep 3 GB. Here every
    reading decodes and encodes again (appendix E.4 of the BEAST paper does the same): memory and disk stay as they are,
    and every epoch takes as long as the first look.
    """

    def __init__(self, session: Session, encoder: VisionEncoder, crops: Crops, what: What) -> None:
        self._session, self._encoder, self._crops, self._what = session, encoder, crops, what
        self._video: Video | None = None  # opening one reads through the whole file

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Nothing of rows (N, 2) is missing, for it is made when it is read: (0, 2)."""
        return np.asarray(rows, dtype=np.int64).reshape(-1, 2)[:0]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Look at rows (N, 2) of frame and animal, in any order: features (N, D_v) float32, patches as (N, P · D_v).

        Raises
        ------
        InputError
            When the video cannot be read.
        """
        rows = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
        width = self._encoder.width * (self._encoder.n_patches if self._what == "patches" else 1)
        out = np.empty((len(rows), width), np.float32)
        with closing(work_ahead([self._batches(rows)])) as ready:
            for item in ready:
                if item is not None:
                    places, images = item
                    out[places] = self._encoder.encode(images, self._what).reshape(len(places), -1)
        return out

    def _batches(self, rows: np.ndarray) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Places (N,) in rows of frame and animal, in the order of time, and the images there."""
        self._video = self._video or self._session.open_video()
        frames = self._video.frames(np.unique(rows[:, 0]), grey=self._encoder.grey, view=True)
        t, frame = -1, np.zeros(0)
        order = np.argsort(rows[:, 0], kind="stable")
        for some in np.split(order, range(_AT_ONCE, len(order), _AT_ONCE)):
            images = []
            for i in some.tolist():
                while t < rows[i, 0]:
                    t, frame = next(frames)
                images.append(self._crops.cut(frame, t, int(rows[i, 1])))
            if images:
                yield some, np.stack(images)


Seen = Features | OnTheFly
