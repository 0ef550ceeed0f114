"""From a recording to an ethogram: keypoints on every frame, a look at the few the gate asks for (section 3.2)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from numpy.lib.format import open_memmap

from napari_lookagain.batches import Batches, Recording
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.features import MotionFeatures
from napari_lookagain.files import check_room
from napari_lookagain.model.grounding import select_frames
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.vision.encoder import VisionEncoder
from napari_lookagain.vision.look import read_by, see
from napari_lookagain.vision.on_the_fly import Seen
from napari_lookagain.windows import Stitcher, Window, sliding_windows

BATCH = 16  # windows
MOST_NUMBERS = 1 << 26  # of visual features in a batch; 0.27 GB
KEPT_PASSES = 4  # motion passes in a session's folder; a corrected keypoint or another model makes a new one
ABANDONED = 24 * 3600.0  # seconds after which nobody is writing a motion pass any more
GATE = ("logit", "reliability", "saliency", "semantics")


@dataclass(frozen=True)
class MotionPass:
    """What keypoints alone told of a whole recording; a new budget starts from here.

    Parameters
    ----------
    read
        (A, T, F) float32: what the model's head reads of the motion encoder, ê or z_q.
    gate
        (A, T, 4) float32: the gate's logit and its terms c_t, g_t and s_t.
    """

    read: np.ndarray
    gate: np.ndarray


def predict(
    model: LookAgain,
    session: Session,
    encoder: VisionEncoder | None = None,
    *,
    budget: float | None = None,
    device: str = "auto",
) -> Generator[Progress, None, Ethogram]:
    """Segment or classify every frame of a recording.

    Keypoints are read in overlapping windows, the gate scores every frame, k = ceil(budget × frames) of every window
    and animal are decoded and encoded, and the head's outputs are averaged where windows overlap. Nothing of the video
    is read before the gate has decided. In a session with a folder the motion pass and the looks are kept there, so
    that another budget repeats only the look.

    Parameters
    ----------
    model, encoder
        As trained together; without a video, or at budget 0, no encoder is needed.
    session
        With the keypoints that the model knows.
    budget
        Share of frames to look at, 0–1; by default the one the model was trained with. At 0 no video is opened.
    device
        "auto", "cpu", "cuda" or "mps".

    Returns
    -------
    Ethogram
        Of behaviors or clusters, by the model's head.

    Raises
    ------
    InputError
        When the keypoints are not the model's, the budget is not in 0–1, or the video is missing or not the session's.
    """
    budget = settle_budget(model, session, encoder, budget)
    place = accelerator(device).device
    model.to(place).eval()
    motion = yield from _read_motion(model, session, place)
    looked = choose_looks(model, motion, budget)  # (T, A)
    features = None
    if encoder is not None and looked.any():
        features = yield from see(session, encoder, model.config, looked, read_by(model.config))
    probabilities = yield from _read_head(model, motion, looked, features, place)
    model.cpu()
    return _ethogram(model, session, motion, looked, probabilities)


def settle_budget(
    model: LookAgain, session: Session, encoder: VisionEncoder | None, budget: float | None = None
) -> float:
    """The budget that `predict` will use; parameters and errors as there, before anything is read or written."""
    model.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
    budget = model.config.look.budget if budget is None else budget
    if not 0 <= budget <= 1:
        raise InputError(f"The budget is {budget}; it is the share of frames to look at, a number from 0 to 1.")
    if budget > 0 and (session.video is None or encoder is None):
        raise InputError(f"{session.recording} cannot be looked at without a video and a vision encoder; use budget 0.")
    return budget


def read_motion(model: LookAgain, session: Session, *, device: str = "auto") -> Generator[Progress, None, np.ndarray]:
    """What the head reads of the keypoints at every frame, (T, A, F) float32: what `predict` said, if it is kept.

    For clusters it is z_q, which tells frames apart better than their clusters do.
    """
    model.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
    place = accelerator(device).device
    model.to(place).eval()
    motion = yield from _read_motion(model, session, place)
    model.cpu()
    return motion.read.swapaxes(0, 1)


def choose_looks(model: LookAgain, motion: MotionPass, budget: float) -> np.ndarray:
    """Where to look, (T, A) bool: k = ceil(budget × frames) of every window and animal, windows not overlapping."""
    n_animals, n_frames, _ = motion.gate.shape
    length = model.config.motion.window
    looked = np.zeros((n_animals, n_frames), bool)
    torch.manual_seed(model.config.training.seed)  # for select="random"
    windows = sliding_windows(n_frames, length)
    for some in _in_batches(windows):
        score, valid = np.zeros((len(some), n_animals, length), np.float32), np.zeros((len(some), 1, length), bool)
        for i, window in enumerate(some):
            score[i, :, : len(window)] = motion.gate[:, window.start : window.stop, 0]
            valid[i, :, : len(window)] = True
        alpha, there = torch.from_numpy(score).sigmoid(), torch.from_numpy(valid).expand(score.shape)
        chosen = select_frames(alpha, there, budget, model.config.look.select).numpy()
        for i, window in enumerate(some):
            looked[:, window.start : window.stop] = chosen[i, :, : len(window)]
    return looked.T


def _read_motion(model: LookAgain, session: Session, place: torch.device) -> Generator[Progress, None, MotionPass]:
    """Run the motion encoder and the gate over all windows, or find what they said last time, if it is whole.

    A motion pass is made beside its place and moved there when it is whole: a run may be killed, or another one may
    read the same recording at the same time.
    """
    sizes = model.config.motion
    width = sizes.width if model.card.kind == "behavior" else sizes.latent_width
    shapes: dict[str, tuple[int, ...]] = {
        "read": (session.n_animals, session.n_frames, width),
        "gate": (session.n_animals, session.n_frames, 4),
    }
    if session.path is None:
        out = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        yield from _encode_motion(model, session, place, out)
        return MotionPass(**out)
    folder = session.features_folder / f"motion-{_motion_key(model, session)}"
    with suppress(OSError, ValueError, EOFError):
        return _open_pass(folder, shapes)
    shutil.rmtree(folder, ignore_errors=True)  # it is not there, or damaged
    _make_room(session.features_folder)
    making = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
    try:
        yield from _encode_motion(model, session, place, _open_arrays(making, shapes))
        os.rename(making, folder)
    except OSError:
        if not folder.is_dir():  # else another run was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _open_pass(folder, shapes)


def _open_pass(folder: Path, shapes: dict[str, tuple[int, ...]]) -> MotionPass:
    """Map a motion pass that is kept, and note that it was used; ValueError when it is not what is expected."""
    arrays = {name: open_memmap(folder / f"{name}.npy", mode="r") for name in shapes}
    if any((array.shape, array.dtype) != (shapes[name], np.float32) for name, array in arrays.items()):
        raise ValueError(f"{folder} holds arrays of another shape.")
    with suppress(OSError):  # a colleague's folder may be read, too
        os.utime(folder)
    return MotionPass(**arrays)


def _make_room(folder: Path) -> None:
    """Make room for one more motion pass: remove those used longest ago, and what killed processes left behind."""
    passes = sorted(folder.glob("motion-*"), key=_last_touched, reverse=True)
    left_behind = [each for each in folder.glob(".motion-*") if time.time() - _last_touched(each) > ABANDONED]
    for path in (*passes[KEPT_PASSES - 1 :], *left_behind):
        shutil.rmtree(path, ignore_errors=True)


def _last_touched(folder: Path) -> float:
    """When a folder or a file in it was last written; 0 when another process has just moved or removed it."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return 0.0


def _encode_motion(
    model: LookAgain, session: Session, place: torch.device, out: dict[str, np.ndarray]
) -> Generator[Progress]:
    """Fill `out`, zeros in the shapes of a `MotionPass`; overlapping windows are averaged."""
    length = model.config.motion.window
    features = MotionFeatures(session, model.config.features, model.card.n_neighbors)
    batches = Batches([Recording(features, session.n_frames, session.n_animals)], length, 0)
    windows = sliding_windows(session.n_frames, length, length // 2)
    read, gate = Stitcher(windows, out["read"]), Stitcher(windows, out["gate"])
    done = 0
    for some in _in_batches(windows):
        batch = batches(some).to(place)
        with torch.inference_mode():
            encoded = model.motion_encoder(batch.motion, batch.valid)
            scored = model.gate(encoded)
            told = torch.stack([getattr(scored, name) for name in GATE], -1)  # (B, A, T, 4)
            kept = model.head.read(encoded).cpu().numpy(), told.cpu().numpy()
        for i, window in enumerate(some):
            read.add(window, kept[0][i])
            gate.add(window, kept[1][i])
        done += len(some)
        yield Progress(done, len(windows), "reading motion")
    for array in out.values():
        if isinstance(array, np.memmap):
            array.flush()


def _read_head(
    model: LookAgain, motion: MotionPass, looked: np.ndarray, features: Seen | None, place: torch.device
) -> Generator[Progress, None, np.ndarray]:
    """Aggregate the looks and run the head over overlapping windows, (T, A, K) probabilities averaged over them."""
    n_animals, n_frames, _ = motion.read.shape
    length = model.config.motion.window
    out = np.zeros((n_animals, n_frames, len(model.card.names)), np.float32)
    windows = sliding_windows(n_frames, length, length // 2)
    stitcher = Stitcher(windows, out)
    done = 0
    for some in _in_batches(windows, n_animals * length * model.card.seen_width):
        read, logit, seen, there, visual = (
            torch.from_numpy(array).to(place) for array in _head_inputs(model, motion, looked, features, some)
        )
        with torch.inference_mode():
            context = model.visual_context(visual, logit.sigmoid(), seen, there)  # (B, A, T, D)
            probabilities = model.head.probabilities(model.head(read, context)).cpu().numpy()
        for i, window in enumerate(some):
            stitcher.add(window, probabilities[i])
        done += len(some)
        yield Progress(done, len(windows), "reading behavior")
    return np.ascontiguousarray(out.swapaxes(0, 1))


def _head_inputs(
    model: LookAgain, motion: MotionPass, looked: np.ndarray, features: Seen | None, windows: Sequence[Window]
) -> tuple[np.ndarray, ...]:
    """Padded arrays (B, A, T, …) of some windows: what the head reads, gate logit, looked, valid, visual features."""
    n_animals, _, width = motion.read.shape
    shape = (len(windows), n_animals, model.config.motion.window)
    read, logit = np.zeros((*shape, width), np.float32), np.zeros(shape, np.float32)
    seen, there = np.zeros(shape, bool), np.zeros(shape, bool)
    visual = np.zeros((*shape, model.card.seen_width), np.float32)
    for i, window in enumerate(windows):
        span, here = slice(window.start, window.stop), (i, slice(None), slice(len(window)))
        read[here], logit[here] = motion.read[:, span], motion.gate[:, span, 0]
        seen[here], there[here] = looked[span].T, True
        rows = np.argwhere(looked[span])  # frame within the window, animal
        if features is not None and len(rows):
            visual[i, rows[:, 1], rows[:, 0]] = features.read(np.column_stack([rows[:, 0] + window.start, rows[:, 1]]))
    return read, logit, seen, there, visual


def _motion_key(model: LookAgain, session: Session) -> str:
    """Differs when the weights, the choices or a single keypoint differ."""
    digest = blake2b(model.fingerprint().encode(), digest_size=12)
    digest.update(f"{session.heading} {session.fps} {session.frame_size}".encode())
    for array in (session.keypoints, session.confidence):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _open_arrays(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Zeros in files of a new folder: a memory map keeps a long recording out of memory."""
    folder.mkdir(parents=True)
    check_room(folder, sum(4 * int(np.prod(shape)) for shape in shapes.values()), "the features of motion")
    return {name: open_memmap(folder / f"{name}.npy", "w+", np.float32, shape) for name, shape in shapes.items()}


def _in_batches(windows: Sequence[Window], numbers: int = 1) -> Iterator[Sequence[Window]]:
    """Windows that are read together: fewer where each of them is many numbers, as all patches of its images are."""
    size = max(1, min(BATCH, MOST_NUMBERS // numbers))
    for first in range(0, len(windows), size):
        yield windows[first : first + size]


def _ethogram(
    model: LookAgain, session: Session, motion: MotionPass, looked: np.ndarray, probabilities: np.ndarray
) -> Ethogram:
    logit, reliability, saliency, semantics = (np.ascontiguousarray(motion.gate[..., i].T) for i in range(4))
    return Ethogram(
        recording=session.recording,
        fps=session.fps,
        animals=session.animals,
        kind=model.card.kind,
        names=model.card.names,
        label=probabilities.argmax(-1).astype(np.int16),
        probabilities=probabilities.astype(np.float16),
        gate_score=1 / (1 + np.exp(-logit)),
        reliability=reliability,
        saliency=saliency,
        semantics=semantics,
        looked=looked,
    )
