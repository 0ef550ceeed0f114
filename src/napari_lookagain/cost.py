"""What a run will cost, told before it starts and mended while it runs: frames looked at, and about how long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from napari_lookagain.config import Config, FinetuneConfig, PretrainConfig, Scope
from napari_lookagain.eyes.kept import kept_eye
from napari_lookagain.looks import wishes_of
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session

# Seconds on two cores without a GPU. Another machine differs by factors that `Forecast.end` finds out.
_TRAIN, _TUNE, _READ, _HEAD = 2.5e-10, 3.2e-10, 6e-11, 2.5e-11  # for one multiplication of the transformers
_STEP = 0.01  # for what a step takes besides, however small the model
_DECODE = 2e-3  # for a megapixel
_ENCODE = {"pca": 3e-4, "videomae": 2.5, "qwen3-vl": 4.0}  # for an image
_ENCODE_OTHER = 0.15
_ENCODE_BEAST = {"tiny": 2e-3, "small": 0.08, "base": 0.3}
_LEARN_BEAST = {"tiny": 1.5e-3, "small": 0.1, "base": 0.45}  # for an image, there and back
_SKIPPED = 100  # frames decoded for one that is looked at, where keyframes are far apart
_FITTED = 1500  # frames that the "pca" eye is fitted to
_TRUST = 0.05  # share of a stage after which what is measured weighs as much as what was expected


@dataclass(frozen=True)
class Part:
    """One stage of long work.

    Parameters
    ----------
    stage
        As `Progress` tells it.
    steps
        `Progress.total`.
    seconds
        For one step, expected.
    key
        Where its pace is comparable with that of other runs.
    """

    stage: str
    steps: int
    seconds: float
    key: str


def count_looks(
    n_frames: int,
    window: int,
    budget: float,
    scope: Scope = "window",
    *,
    pinned: np.ndarray | None = None,
    muted: np.ndarray | None = None,
    decode: float = 1.0,
) -> int:
    """Frames of one animal that a run will look at: ceil(budget × frames) of every window (Eq. 16), or of the whole.

    `pinned` and `muted`, each (T,) bool and never both, count as in `allocation.choose_looks`. Where at most a share
    `decode` of the video is decoded, these are the most that it may look at.
    """
    if not budget > 0:  # NaN, too, which is refused where it is used
        return 0
    starts = np.arange(0, n_frames, n_frames if scope == "recording" else window)
    frames = np.diff(starts, append=n_frames)
    if muted is not None:
        frames = frames - np.add.reduceat(muted, starts, dtype=int)
    looks = np.minimum(np.ceil(budget * frames - 1e-9), int(decode * n_frames + 1e-9))
    if pinned is not None:
        looks = np.maximum(looks, np.add.reduceat(pinned, starts, dtype=int))
    return int(looks.sum())


def looks_of(session: Session, config: Config, budget: float) -> list[int]:
    """Frames of each animal that a run will look at, pins and mutes among them; errors as in `looks.wishes_of`."""
    asked, wishes = config.look, wishes_of(session)
    count = partial(count_looks, session.n_frames, config.motion.window, budget, asked.scope, decode=asked.decode)
    masks = [mask.T for mask in wishes.masks()] if wishes.wishes else [[None] * session.n_animals] * 2
    return [count(pinned=pinned, muted=muted) for pinned, muted in zip(*masks, strict=True)]


def count_learnt(n_frames: int, config: Config) -> int:
    """Frames of one animal that training reads: all of them, or those of the most windows it may take."""
    windows = _count_windows(n_frames, config.motion.window, config.motion.window)
    return min(n_frames, min(windows, config.training.max_windows) * config.motion.window)


def segmentation(session: Session, config: Config, device: str = "auto") -> list[Part]:
    """Stages of `runs.segment` for one session."""
    length, training = config.motion.window, config.training
    learnt = count_learnt(session.n_frames, config)
    parts = []
    if session.video is not None:
        if config.vision.encoder == "pca":
            fitted = min(learnt, _FITTED)
            parts.append(_part("fitting the eye", fitted * session.n_animals, _decoding(session, fitted)))
        if config.vision.encoder == "beast" and kept_eye([session], config) is None:
            parts += pretraining_eye(session, config, device)
        parts.append(_looking(session, config, learnt * session.n_animals, device))
    kmeans = config.finetune.discover == "kmeans"  # then the gate alone is tuned, where there is anything to look at
    stages: list[tuple[str, int, PretrainConfig | FinetuneConfig, float]] = [
        ("pretraining", min(config.pretrain.stride, length), config.pretrain, _TRAIN)
    ]
    if config.look.budget or not kmeans:
        stages.append(("fine-tuning", length, config.finetune, _TUNE / 2 if kmeans else _TUNE))
    for stage, stride, settings, pace in stages:
        windows = min(_count_windows(session.n_frames, length, stride), training.max_windows)
        steps = settings.epochs * math.ceil((windows - round(training.validation_share * windows)) / settings.batch)
        parts.append(_part(stage, steps, _STEP + pace * _work(session, config, settings.batch), device))
    return parts + look_again(session, config, config.look.budget, device)


def pretraining_eye(session: Session, config: Config, device: str = "auto") -> list[Part]:
    """Stages of `eyes.pretraining.pretrain_eye` for one session with a video."""
    beast = config.beast
    looks = session.n_frames * (session.n_animals if session.has_keypoints else 1)
    anchors = min(beast.anchors, looks)
    images = 2 * anchors if beast.contrast_weight > 0 else anchors  # of an epoch
    updates = math.ceil(images / beast.batch)
    chosen = min(3 * anchors, session.n_frames)
    return [
        _part(
            "looking for frames that move", session.n_frames, session.n_animals * _decoding(session, session.n_frames)
        ),
        _part("reading the chosen frames", chosen, session.n_animals * _decoding(session, chosen)),
        _part(
            "pretraining the eye",
            beast.epochs * updates,
            _LEARN_BEAST[beast.size] * images / updates,
            f"{beast.size} {device}",
        ),
    ]


def look_again(session: Session, config: Config, budget: float, device: str = "auto") -> list[Part]:
    """Stages of `runs.predict_all` for one session; a motion pass that is kept is not read again."""
    length = config.motion.window
    windows = _count_windows(session.n_frames, length, length // 2)
    one = _work(session, config, windows) / session.n_frames  # what a frame costs
    looks = sum(looks_of(session, config, budget))
    seen = looks and session.video is not None
    look = [_looking(session, config, looks, device, config.look.decode)] if seen else []
    read = _part("reading motion", session.n_frames, _READ * one, device)
    return [read, *look, _part("reading behavior", session.n_frames, _HEAD * one, device)]


def expected(
    sessions: Sequence[Session],
    config: Config,
    device: str = "auto",
    *,
    budget: float | None = None,
    trained: bool = False,
) -> str:
    """Say how long `runs.segment` will take for these sessions, or `runs.predict_all` with a model that is trained."""
    budget = config.look.budget if budget is None else budget
    again = [sum(part.steps * part.seconds for part in look_again(each, config, budget, device)) for each in sessions]
    seconds = sum(again)
    if not trained:  # one training for all of them, and it reads no more than so many windows
        training = [sum(part.steps * part.seconds for part in segmentation(each, config, device)) for each in sessions]
        seconds += max(whole - own for whole, own in zip(training, again, strict=True))
    looks = sum(sum(looks_of(each, config, budget)) for each in sessions)
    of = sum(each.n_animals * each.n_frames for each in sessions)
    return f"Looks at {looks} of {of} frames of animals; takes {in_words(seconds)} on two cores, by expectation."


class Forecast:
    """How long work of several stages will take, from what is expected and from how it goes.

    Parameters
    ----------
    parts
        Stages, in their order. A stage that is told and not among them counts to the one it interrupts.
    factors
        How much slower than expected stages went before, by `Part.key`, as `end` gave them.

    Attributes
    ----------
    seconds
        For the whole.
    """

    def __init__(self, parts: Sequence[Part], factors: Mapping[str, float] | None = None) -> None:
        factors = factors or {}
        self.parts = tuple(parts)
        self.seconds = sum(part.steps * part.seconds * factors.get(part.key, 1.0) for part in parts)
        self._found: dict[str, float] = {}
        self._step = [part.seconds * factors.get(part.key, 1.0) for part in parts]
        self._begun = 0.0
        self._at = -1
        self._since, self._told = 0.0, 0.0  # when the stage began, and when it was last heard of
        self._first, self._done, self._total = 0, 0, 1
        self._expected = 0.0  # for the stages that are over

    def watch(self, told: Progress, now: float) -> None:
        """Take in what the work tells, at a time in seconds."""
        later = range(max(self._at, 0), len(self.parts))
        found = next((i for i in later if self.parts[i].stage == told.stage), None)
        if found is None:
            return
        if found != self._at:
            self._leave()
            self._begun = self._begun or now
            self._at, self._since, self._first = found, now, told.done
        self._done, self._total, self._told = told.done, told.total, now

    def end(self) -> dict[str, float]:
        """Say that the work is done, and give the factors by which its stages were slower than expected."""
        self._leave()
        return self._found

    @property
    def stage(self) -> str:
        """The stage that work is in, whatever interrupts it; empty before any."""
        return self.parts[self._at].stage if self._at >= 0 else ""

    def left(self, now: float) -> float:
        """Seconds to the end."""
        if self._at < 0:
            return self.seconds
        expected, done = self._step[self._at], self._done - self._first
        trust = max(1.0, _TRUST * self._total)
        step = (trust * expected + now - self._since) / (trust + done)
        planned = self._expected + (trust + done) * expected
        slower = (now - self._begun + trust * expected) / planned if planned else 1.0
        later = sum(part.steps * step for part, step in list(zip(self.parts, self._step, strict=True))[self._at + 1 :])
        return step * (self._total - self._done) + slower * later

    def share(self, now: float) -> float:
        """How much of all the time is over, 0–1."""
        spent = now - self._begun if self._at >= 0 else 0.0
        return spent / max(spent + self.left(now), 1e-9)

    def _leave(self) -> None:
        if self._at < 0:
            return
        part, done, took = self.parts[self._at], self._done - self._first, self._told - self._since
        self._expected += done * self._step[self._at]
        if done > 0 and took > 0.5:  # less says nothing
            self._found[part.key] = took / (done * part.seconds)


def in_words(seconds: float) -> str:
    """A length of time that is not known better than it is told: "about 3 min"."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * math.ceil(seconds / 5)}\N{NO-BREAK SPACE}s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)}\N{NO-BREAK SPACE}min"
    return f"about {seconds / 3600:.1f}\N{NO-BREAK SPACE}h"


def _part(stage: str, steps: int, seconds: float, key: str = "") -> Part:
    return Part(stage, steps, seconds, f"{stage} {key}".strip())


def _looking(session: Session, config: Config, looks: int, device: str, share: float = 1.0) -> Part:
    encoder = config.vision.encoder
    image = _ENCODE_BEAST[config.beast.size] if encoder == "beast" else _ENCODE.get(encoder, _ENCODE_OTHER)
    seconds = _decoding(session, looks / session.n_animals, share) + image
    return _part("looking at the video", looks, seconds, f"{encoder} {device}")


def _decoding(session: Session, frames: float, share: float = 1.0) -> float:
    """Seconds to decode one image of so many frames, those on the way included: at most this share of the video."""
    width, height = session.frame_size or (0, 0)
    on_the_way = min(share * session.n_frames / max(frames, 1), _SKIPPED)
    return _DECODE * width * height / 1e6 * on_the_way / session.n_animals


def _count_windows(n_frames: int, length: int, stride: int) -> int:
    """As many as `sliding_windows` gives."""
    return len(range(0, max(1, n_frames - length + stride), stride))


def _work(session: Session, config: Config, windows: int) -> float:
    """Multiplications of the transformers for so many windows."""
    sizes = config.motion
    frames = windows * session.n_animals * sizes.window
    per_layer = 12 * sizes.width**2 + 2 * sizes.window * sizes.width
    return frames * (sizes.layers + sizes.social_layers) * per_layer
