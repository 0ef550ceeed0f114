"""The motion pass: what keypoints alone tell of a whole recording, read once and kept."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from napari_lookagain.batches import Batches, Recording
from napari_lookagain.features import MotionFeatures
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.stretches import Stretches
from napari_lookagain.windows import Stitcher, Window, sliding_windows, touching

STRIDES = 63  # in a stretch; with the window before, which reaches into it, 64 windows are read for it
MOST_NUMBERS = 1 << 26  # of visual features in a batch; 0.27 GB
KEPT = 4  # motion passes in a session's folder, and what was told after each; a corrected keypoint makes a new one
IN_USE = 3600.0  # seconds for which one that was used may still be read, as by other processes of an evaluation
ABANDONED = 24 * 3600.0  # seconds after which nobody is making a folder any more
GATE = ("logit", "reliability", "saliency", "semantics")
_BATCH = {"cpu": 4}  # windows: what they need fits into the cache of a core
_BATCH_ELSEWHERE = 64


@dataclass(frozen=True)
class MotionPass:
    """What keypoints alone told of a whole recording; a new budget starts from here.

    Parameters
    ----------
    read
        (A, T, F) float32: what the model's head reads of the motion encoder, such as ê or z_q.
    gate
        (A, T, 4) float32: the gate's logit and its terms c_t, g_t and s_t.
    folder
        Where it is kept; None in memory.
    """

    read: np.ndarray
    gate: np.ndarray
    folder: Path | None = None

    def part(self, start: int, stop: int) -> MotionPass:
        """A copy of frames [start, stop), read through maps of its own, so that memory does not fill with the rest."""
        read, gate = self.read, self.gate
        if self.folder is not None:
            read, gate = (
                np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("read", "gate")
            )
        return MotionPass(np.array(read[:, start:stop]), np.array(gate[:, start:stop]))


def pass_over(model: LookAgain, session: Session, place: torch.device) -> Generator[Progress, None, MotionPass]:
    """Run the motion encoder and the gate over all windows, but for the stretches that were read before."""
    sizes = model.config.motion
    width = model.head.read_width  # F
    n_animals, n_frames = session.n_animals, session.n_frames
    folder = None
    if session.path is not None:
        folder = session.features_folder / f"motion-{motion_key(model, session)}"
        make_room(folder, "motion-*")
    stretches = Stretches(
        folder,
        {"read": ((n_animals, n_frames, width), np.float32), "gate": ((n_animals, n_frames, 4), np.float32)},
        axis=1,
        length=STRIDES * (sizes.window // 2),
        what="the features of motion",
    )
    if stretches.missing:
        yield from _encode(model, session, place, stretches)
    return MotionPass(**stretches.read(), folder=folder)


def make_room(folder: Path, pattern: str) -> None:
    """Make room beside folders of a pattern for one more: remove those used longest ago, and what was left half made.

    What was used within the last hour stays, for another process may be about to read it.

    When the folder is there, it is only noted that it was used.
    """
    if folder.is_dir():
        with suppress(OSError):  # a colleague's folder may be read, too
            os.utime(folder)
        return
    kept = sorted(folder.parent.glob(pattern), key=_last_touched, reverse=True)
    spare = [each for each in kept[KEPT - 1 :] if time.time() - _last_touched(each) > IN_USE]
    half_made = [each for each in folder.parent.glob(f".{pattern}") if time.time() - _last_touched(each) > ABANDONED]
    for path in (*spare, *half_made):
        shutil.rmtree(path, ignore_errors=True)


def motion_key(model: LookAgain, session: Session) -> str:
    """Differs when the weights, the choices or a single keypoint differ."""
    digest = blake2b(model.fingerprint().encode(), digest_size=12)
    digest.update(f"{session.heading} {session.fps} {session.frame_size}".encode())
    for array in (session.keypoints, session.confidence):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def in_batches(windows: Sequence[Window], place: torch.device, numbers: int = 1) -> Iterator[Sequence[Window]]:
    """Windows that are read together: fewer where each of them is many numbers, as all patches of its images are."""
    size = max(1, min(_BATCH.get(place.type, _BATCH_ELSEWHERE), MOST_NUMBERS // numbers))
    for first in range(0, len(windows), size):
        yield windows[first : first + size]


def _encode(model: LookAgain, session: Session, place: torch.device, stretches: Stretches) -> Generator[Progress]:
    """Finish what is missing of a motion pass; overlapping windows are averaged.

    A stretch is read with all windows that reach into it, always in the same batches: whatever came before it, its
    values are the same to the bit.
    """
    length = model.config.motion.window
    features = MotionFeatures(session, model.config.features, model.card.n_neighbors)
    batches = Batches([Recording(features, session.n_frames, session.n_animals)], length, 0)
    windows = sliding_windows(session.n_frames, length, length // 2)
    width = len(GATE) + stretches.read()["read"].shape[-1]
    todo = stretches.missing
    done = session.n_frames - sum(span.stop - span.start for span in todo)
    for span in todo:
        own = touching(windows, span.start, span.stop)
        out = np.zeros((session.n_animals, span.stop - span.start, width), np.float32)
        stitcher = Stitcher(own, out, span.start)
        for some in in_batches(own, place):
            batch = batches(some).to(place)
            with torch.inference_mode():
                encoded = model.motion_encoder(batch.motion, batch.valid)
                scored = model.gate(encoded)
                told = [getattr(scored, name).unsqueeze(-1) for name in GATE]
                pieces = torch.cat([model.head.read(encoded), *told], -1).cpu().numpy()  # (B, A, T, F + 4)
            for window, piece in zip(some, pieces, strict=True):
                stitcher.add(window, piece)
            yield Progress(max(done, min(some[-1].stop, span.stop)), session.n_frames, "reading motion")
        stretches.put(span, read=out[..., : -len(GATE)], gate=out[..., -len(GATE) :])
        done += span.stop - span.start


def _last_touched(folder: Path) -> float:
    """When a folder or a file in it was last written; 0 when another process has just moved or removed it."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return 0.0
