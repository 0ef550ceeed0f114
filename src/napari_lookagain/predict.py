"""From a recording to an ethogram: keypoints on every frame, a look at the few the gate asks for (section 3.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from hashlib import blake2b

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from napari_lookagain.allocation import choose_looks
from napari_lookagain.config import LookConfig, Scope
from napari_lookagain.decode_cost import keyframes_of
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.looks import wishes_of
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.motion_pass import STRIDES, MotionPass, in_batches, make_room, pass_over
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.stretches import Stretches
from napari_lookagain.vision.cache import FeatureCache
from napari_lookagain.vision.encoder import VisionEncoder, as_configured
from napari_lookagain.vision.look import kept, read_by, see
from napari_lookagain.vision.on_the_fly import Seen
from napari_lookagain.windows import Stitcher, Window, sliding_windows, touching

_FEWEST, _MANY = 1 / 16, 1 / 4  # shares of a budget that are looked at first, where time is limited


def predict(
    model: LookAgain,
    session: Session,
    encoder: VisionEncoder | None = None,
    *,
    budget: float | None = None,
    scope: Scope | None = None,
    decode: float | None = None,
    minutes: float | None = None,
    device: str = "auto",
) -> Generator[Progress, None, Ethogram]:
    """Segment or classify every frame of a recording.

    Keypoints are read in overlapping windows, the gate scores every frame, k = ceil(budget × frames) of every window
    and animal are decoded and encoded, and the head's outputs are averaged where windows overlap. Nothing of the video
    is decoded before the gate has decided. What a person pinned or muted (`looks.LookWishes`) is looked at first, or
    never. In a session with a folder the motion pass and the looks are kept there, so that another budget repeats only
    the look; work that was cut off goes on where it was, and the arrays of the ethogram are memory maps of files there.

    Parameters
    ----------
    model, encoder
        As trained together; without a video, or at budget 0, no encoder is needed.
    session
        With the keypoints that the model knows.
    budget
        Share of frames to look at, 0–1; by default the one the model was trained with. At 0 no video is opened.
    scope, decode
        Whether every window has this budget, or the recording as a whole, and then the share of the video that may be
        decoded, at most 1 (`allocation.choose_looks`); by default as the model's settings say.
    minutes
        Look for at most so long, and at as much of the budget as can be looked at in that time; see `_look_within`.
    device
        "auto", "cpu", "cuda" or "mps".

    Returns
    -------
    Ethogram
        Of behaviors or clusters, by the model's head.

    Raises
    ------
    InputError
        When the keypoints are not the model's, the video is missing or another one, or what is asked for has no sense.
    """
    budget, look = settle_budget(model, session, encoder, budget), model.config.look.asked(scope, decode)
    if minutes is not None:
        _check_minutes(minutes, model, session, encoder)
    choose = _chooser(model, session, budget, look)
    place = accelerator(device).device
    model.to(place).eval()
    motion = yield from pass_over(model, session, place)
    looked, features = choose(motion, 1.0, None), None  # (T, A)
    if minutes is not None and encoder is not None:
        looked = yield from _look_within(60 * minutes, model, session, encoder, partial(choose, motion))
    if encoder is not None and looked.any():
        features = yield from see(session, encoder, model.config, looked, read_by(model.config))
    told = yield from _read_head(model, session, motion, looked, features, encoder, place)
    model.cpu()
    return _ethogram(model, session, looked, told)


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
    if budget > 0 and encoder is not None:
        as_configured(encoder, model.config.vision)  # is refused here, and not after the motion pass
    return budget


def read_motion(model: LookAgain, session: Session, *, device: str = "auto") -> Generator[Progress, None, np.ndarray]:
    """What the head reads of the keypoints at every frame, (T, A, F) float32: what `predict` said, if it is kept.

    For clusters it is z_q, as a rule, which tells frames apart better than their clusters do.
    """
    model.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
    place = accelerator(device).device
    model.to(place).eval()
    motion = yield from pass_over(model, session, place)
    model.cpu()
    return motion.read.swapaxes(0, 1)


def _check_minutes(minutes: float, model: LookAgain, session: Session, encoder: VisionEncoder | None) -> None:
    """Refuse a limit of time that makes no sense, or that could not be kept to, before anything is read."""
    if not minutes >= 0:
        raise InputError(f"The time to look is {minutes} minutes; it is a number of minutes, 0 or more.")
    if encoder is None or session.path is None or not model.config.vision.keep:
        raise InputError(
            f"The time to look at {session.recording} can be limited only where what was seen is kept: the session "
            "needs a video and a folder, and the setting vision.keep must be true."
        )


def _chooser(
    model: LookAgain, session: Session, budget: float, look: LookConfig
) -> Callable[[MotionPass, float, np.ndarray | None], np.ndarray]:
    """Give looks (T, A) for a share of the budget, those that were taken before and what is pinned among them.

    What has to be known of the video, where its keyframes are, is read at once, and only where decoding is limited.
    """
    wishes = wishes_of(session)
    keyframes = keyframes_of(session) if look.decode < 1 and budget > 0 else None
    pinned, muted = wishes.masks() if wishes.wishes else (None, None)
    allot = partial(choose_looks, scope=look.scope, muted=muted, decode=look.decode, keyframes=keyframes)

    def choose(motion: MotionPass, share: float, before: np.ndarray | None) -> np.ndarray:
        pins = [each for each in (pinned, before) if each is not None]
        wanted = np.logical_or.reduce(pins) if pins else None
        return allot(model, motion, share * budget, pinned=wanted)

    return choose


def _look_within(
    seconds: float,
    model: LookAgain,
    session: Session,
    encoder: VisionEncoder,
    choose: Callable[[float, np.ndarray | None], np.ndarray],
) -> Generator[Progress, None, np.ndarray]:
    """Look for at most so long, and tell which looks count, (T, A) bool.

    A sixteenth of the budget is looked at first, then a quarter, then all of it, each containing the looks before. When
    the next one would take longer than there is time, by the pace of the last, the largest share in sixteenths that
    fits is the last one. When the time is up all the same, the largest share counts of which everything was seen. So
    one of 17 shares comes out, each of them the same looks on every machine; what else was seen is kept for next time.
    """
    looked, share, wanted, took = choose(0.0, None), 0.0, _FEWEST, 0.0
    begun = time.monotonic()
    while wanted > share:
        chosen, since, fresh = choose(wanted, looked), time.monotonic(), 0
        with closing(see(session, encoder, model.config, chosen, read_by(model.config))) as work:
            for told in work:
                yield told
                fresh = told.total
                if time.monotonic() - begun > seconds:
                    break
        if time.monotonic() - begun > seconds:
            smaller = (choose(float(part), looked) for part in np.arange(wanted, share, -_FEWEST))
            features = kept(session, encoder, model.config, read_by(model.config))
            return next((each for each in smaller if _was_seen(features, each)), looked)
        looked, share, now = chosen, wanted, time.monotonic()
        took = (now - since) / fresh if fresh else took  # seconds for a look
        fits = share + share * (seconds - (now - begun)) / max(took * looked.sum(), 1e-9)
        if share in (_FEWEST, _MANY):
            planned = _MANY if share < _MANY else 1.0
            wanted = planned if fits >= planned else max(int(fits / _FEWEST) * _FEWEST, share)
    return looked


def _was_seen(features: FeatureCache | None, looked: np.ndarray) -> bool:
    """Whether everything is kept that was to be looked at, (T, A) bool."""
    return features is not None and len(features.missing(np.argwhere(looked))) == 0


def _read_head(
    model: LookAgain,
    session: Session,
    motion: MotionPass,
    looked: np.ndarray,
    features: Seen | None,
    encoder: VisionEncoder | None,
    place: torch.device,
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """Aggregate the looks and run the head over overlapping windows, but for the stretches that were told before.

    What is told of (T, A): the label, probabilities (K) averaged over windows, and then over time as the settings say,
    and gate score with its terms (4).
    """
    n_animals, n_frames, _ = motion.read.shape
    length, n_classes = model.config.motion.window, len(model.card.names)
    reach = _reach(model, session.fps)
    folder = None
    if motion.folder is not None:
        folder = motion.folder / f"told-{_told_key(model, session, looked, features, encoder)}"
        make_room(folder, "told-*")
    shape = (n_frames, n_animals)
    stretches = Stretches(
        folder,
        {
            "label": (shape, np.int16),
            "probabilities": ((*shape, n_classes), np.float16),
            "gate": ((*shape, 4), np.float32),
        },
        axis=0,
        length=STRIDES * (length // 2),
        what="the labels and probabilities",
    )
    windows = sliding_windows(n_frames, length, length // 2)
    for span in stretches.missing:
        first, last = max(span.start - reach, 0), min(span.stop + reach, n_frames)
        own = touching(windows, first, last)
        out = np.zeros((n_animals, last - first, n_classes), np.float32)
        stitcher = Stitcher(own, out, first)
        for some in in_batches(own, place, n_animals * length * model.card.seen_width):
            read, logit, seen, there, visual = (
                torch.from_numpy(array).to(place) for array in _head_inputs(model, motion, looked, features, some)
            )
            with torch.inference_mode():
                context = model.visual_context(visual, logit.sigmoid(), seen, there)  # (B, A, T, D)
                probabilities = model.head.probabilities(model.head(read, context)).cpu().numpy()
            for window, piece in zip(some, probabilities, strict=True):
                stitcher.add(window, piece)
            yield Progress(min(some[-1].stop, span.stop), n_frames, "reading behavior")
        if reach:
            out = uniform_filter1d(out, 2 * reach + 1, axis=1, mode="nearest")
        probability = out[:, span.start - first : span.stop - first].swapaxes(0, 1)  # (T, A, K)
        gate = motion.part(span.start, span.stop).gate.swapaxes(0, 1)  # (T, A, 4)
        gate[..., 0] = 1 / (1 + np.exp(-gate[..., 0]))
        stretches.put(span, label=probability.argmax(-1), probabilities=probability, gate=gate)
    return stretches.read()


def _reach(model: LookAgain, fps: float) -> int:
    """How many frames to either side of a frame its probabilities are averaged over."""
    seconds = model.config.finetune.smoothing_window if model.card.kind == "behavior" else 0.0
    return int(seconds * fps / 2)


def _head_inputs(
    model: LookAgain, motion: MotionPass, looked: np.ndarray, features: Seen | None, windows: Sequence[Window]
) -> tuple[np.ndarray, ...]:
    """Padded arrays (B, A, T, …) of some windows: what the head reads, gate logit, looked, valid, visual features."""
    n_animals, _, width = motion.read.shape
    shape = (len(windows), n_animals, model.config.motion.window)
    read, logit = np.zeros((*shape, width), np.float32), np.zeros(shape, np.float32)
    seen, there = np.zeros(shape, bool), np.zeros(shape, bool)
    visual = np.zeros((*shape, model.card.seen_width), np.float32)
    first = windows[0].start
    part = motion.part(first, windows[-1].stop)
    for i, window in enumerate(windows):
        own, span = slice(window.start - first, window.stop - first), slice(window.start, window.stop)
        here = (i, slice(None), slice(len(window)))
        read[here], logit[here] = part.read[:, own], part.gate[:, own, 0]
        seen[here], there[here] = looked[span].T, True
        rows = np.argwhere(looked[span])  # frame within the window, animal
        if features is not None and len(rows):
            visual[i, rows[:, 1], rows[:, 0]] = features.read(np.column_stack([rows[:, 0] + window.start, rows[:, 1]]))
    return read, logit, seen, there, visual


def _told_key(
    model: LookAgain, session: Session, looked: np.ndarray, features: Seen | None, encoder: VisionEncoder | None
) -> str:
    """Differs when the looks, the eye or the video differ; all else is in the key of the motion pass."""
    digest = blake2b(np.packbits(looked).tobytes(), digest_size=12)
    if features is not None and encoder is not None and session.video is not None:
        eye = as_configured(encoder, model.config.vision)
        digest.update(f"{eye.name} {eye.fingerprint} {session.video.fingerprint}".encode())
    return digest.hexdigest()


def _ethogram(model: LookAgain, session: Session, looked: np.ndarray, told: dict[str, np.ndarray]) -> Ethogram:
    gate_score, reliability, saliency, semantics = np.moveaxis(told["gate"], -1, 0)  # views
    return Ethogram(
        recording=session.recording,
        fps=session.fps,
        animals=session.animals,
        kind=model.card.kind,
        names=model.card.names,
        label=told["label"],
        probabilities=told["probabilities"],
        gate_score=gate_score,
        reliability=reliability,
        saliency=saliency,
        semantics=semantics,
        looked=looked,
    )
