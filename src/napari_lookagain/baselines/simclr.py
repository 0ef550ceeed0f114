"""The baseline of MABe22: a general eye, SimCLR trained on the lab's own crops, and hand-crafted features."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.eyes import open_eyes
from napari_lookagain.baselines.contrast import ContrastConfig, train_contrast
from napari_lookagain.baselines.frame_head import FrameHead, FrameHeadConfig, train_head
from napari_lookagain.baselines.pose_features import PoseFeatures
from napari_lookagain.baselines.window_statistics import CHUNK, Read, Statistic, in_windows, scored_rows, scored_spans
from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.material import behavior_labels
from napari_lookagain.model.lookagain import ModelCard
from napari_lookagain.progress import Progress
from napari_lookagain.settings import Settings
from napari_lookagain.vision.encoder import VisionEncoder
from napari_lookagain.vision.look import see
from napari_lookagain.vision.on_the_fly import Seen

if TYPE_CHECKING:
    from napari_lookagain.session import Session

Block = Literal["vision", "simclr", "pose"]

STATISTICS: tuple[Statistic, ...] = ("mean", "std")
FITTED = ("pca", "contrast")  # eyes that are made of the recordings at hand: what they see serves no other training


class SimCLRConfig(Settings):
    """What is read, and how SimCLR and the MLP are trained."""

    reads: tuple[Block, ...] = ("vision", "simclr", "pose")
    """Blocks of features: the general eye, SimCLR, hand-crafted features of poses."""
    encoder: str = "pca"
    """The general eye, as in the settings of vision: "beit", as the entry has it, "pca", which needs no download,
    "beast", another alias or a name on a hub, or a folder."""
    components: int = Field(64, ge=1)
    """Width of the "pca" encoder."""
    crop: Literal["turned", "plain", "frame"] = "turned"
    crop_scale: float = Field(2.0, gt=0)
    """Side of a crop in body lengths."""
    confidence_threshold: float = Field(0.25, ge=0, le=1)
    """Keypoints below this confidence count as missing."""
    contrast: ContrastConfig = ContrastConfig()
    window: float = Field(1.0, ge=0)
    """Seconds around a frame over which mean and deviation of every feature are read, too; 0: the frame alone."""
    max_frames: int = Field(100_000, ge=2)
    """More scored frames than this, of all animals, are thinned evenly."""
    head: FrameHeadConfig = FrameHeadConfig()

    @field_validator("reads")
    @classmethod
    def _are_different(cls, value: tuple[Block, ...]) -> tuple[Block, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("reads must name one block of features or more, each once")
        return value

    def windows(self, session: Session) -> tuple[int, ...]:
        """The window in frames of a session; none where frames are read alone."""
        return (max(1, round(self.window * session.fps)),) if self.window else ()


class SimCLR:
    """ "BEiT + SimCLR + hand-crafted" [1]_, a top entry to MABe22, with the MLP that LookAgain's paper puts on it.

    Three blocks of features of every frame are concatenated: of a general vision encoder, of a SimCLR encoder [2]_ that
    is trained from scratch on crops of the training recordings, and the hand-crafted ones of `PoseFeatures`. An MLP on
    their standardized columns, and on their mean and deviation over a second, learns the scored frames with inverse
    class-frequency weights. `reads` takes blocks away: ("vision", "simclr") is the paper's video-only variant, and
    ("pose",) its keypoint-only one.

    What differs from the entry [3]_: it shows whole frames of 512 pixels to BEiT-large and of 224 to SimCLR on a
    ResNet-50; here every animal has its own crop, SimCLR is a small network on grey crops, and the general eye is
    what `encoder` names: by default principal components, which need no download, a BEiT where it is "beit". Its views
    may also be flipped upside down, and are cut to hold an animal whole. It then takes a weighted PCA of all blocks,
    since the challenge allows 128 columns, and has distances to places of the cage among its hand-crafted features.

    Parameters
    ----------
    config
        All choices.

    References
    ----------
    .. [1] Sun et al. (2023), MABe22: a multi-species multi-task benchmark for learned representations of behavior.
    .. [2] Chen, Kornblith, Norouzi, Hinton (2020), A simple framework for contrastive learning of visual
       representations.
    .. [3] https://github.com/IRLAB-Therapeutics/mabe_2022
    """

    kind: Literal["behavior"] = "behavior"
    takes_budget = False

    def __init__(self, config: SimCLRConfig = SimCLRConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(
        self, sessions: Sequence[Session], folder: Path, *, seed: int, device: str = "auto"
    ) -> Generator[Progress, None, SimCLRLabeler]:
        """Fit or open the eyes, then learn from the scored frames; nothing is kept in the folder. See `Method.fit`.

        Raises
        ------
        InputError
            When fewer than two behaviors are scored, or what is to be read is not there.
        """
        config = self.config
        for session in sessions:
            _check_video(session, config)
        labels, names = behavior_labels(sessions, None)
        n_neighbors = max(session.n_animals for session in sessions) - 1
        card = ModelCard(sessions[0].keypoint_names, sessions[0].n_coords, 0, n_neighbors, 1, "behavior", names)
        windows = [config.windows(session) for session in sessions]
        frames = [_near_scored(label, max(own, default=0)) for label, own in zip(labels, windows, strict=True)]
        blocks = Blocks(config, card, *(yield from _open_eyes(sessions, frames, config, seed, device)))
        reads = []
        for session, where in zip(sessions, frames, strict=True):
            reads.append((yield from blocks.open(session, where)))
        rows, behavior = yield from scored_rows(reads, labels, windows, STATISTICS, config.max_frames)
        x, y = torch.from_numpy(rows), torch.from_numpy(behavior)
        torch.manual_seed(seed)
        head = FrameHead(x.shape[1], len(names), config.head)
        head.fit_scale(x, blocks.principal, 1 + len(STATISTICS) * len(windows[0]))
        place = accelerator(device).device
        yield from train_head(head, x, y, seed, place)
        return SimCLRLabeler(blocks, head, place)


class SimCLRLabeler:
    """Trained eyes, and the MLP on what they see and on poses."""

    def __init__(self, blocks: Blocks, head: FrameHead, place: torch.device) -> None:
        self.blocks, self.head, self.place = blocks, head, place

    def label(self, session: Session, budget: float | None = None) -> Generator[Progress, None, Ethogram]:
        """Label every animal; every frame is looked at, unless poses alone are read.

        Raises
        ------
        InputError
            When the session lacks what is read, or has other keypoints than those learnt from.
        """
        blocks, names, n_frames = self.blocks, self.blocks.card.names, session.n_frames
        _check_video(session, blocks.config)
        read = yield from blocks.open(session, np.ones(n_frames, bool))
        windows = blocks.config.windows(session)
        probabilities = np.zeros((n_frames, session.n_animals, len(names)), np.float32)
        self.head.to(self.place)
        for start in range(0, n_frames, CHUNK):
            stop = min(start + CHUNK, n_frames)
            x = torch.from_numpy(in_windows(read, start, stop, n_frames, windows, STATISTICS)).to(self.place)
            with torch.inference_mode():
                probabilities[start:stop] = self.head.probabilities(x).cpu().numpy()
            yield Progress(stop, n_frames, "reading behavior")
        return Ethogram.from_probabilities(session, probabilities, names, looked=bool(blocks.eyes))


@dataclass(frozen=True)
class Blocks:
    """What is read of every frame of a recording.

    Parameters
    ----------
    config, card
        What is read, and which keypoints were learnt from.
    looks
        How eyes look.
    eyes
        The general one, then SimCLR, as far as they are read.
    """

    config: SimCLRConfig
    card: ModelCard
    looks: Config
    eyes: Sequence[VisionEncoder]

    @property
    def principal(self) -> int:
        """How many of the first columns are principal components."""
        return sum(eye.width for eye in self.eyes if eye.kind == "pca")

    def open(self, session: Session, frames: np.ndarray) -> Generator[Progress, None, Read]:
        """Look at frames (T,) bool; gives what reads the blocks side by side, (T, A, F), missing keypoints as NaN."""
        parts: list[Read] = []
        for eye in self.eyes:
            looks = self.looks.updated(vision={"keep": eye.kind not in FITTED})
            seen = yield from see(session, eye, looks, np.repeat(frames[:, None], session.n_animals, axis=1))
            parts.append(partial(_read_seen, seen, session.n_animals))
        if "pose" in self.config.reads:
            self.card.check_keypoints(session.keypoint_names, session.n_coords, session.recording)
            parts.append(PoseFeatures(session, self.config.confidence_threshold, self.card.n_neighbors))
        return lambda start, stop: np.concatenate([part(start, stop) for part in parts], -1)


def _open_eyes(
    sessions: Sequence[Session], frames: Sequence[np.ndarray], config: SimCLRConfig, seed: int, device: str
) -> Generator[Progress, None, tuple[Config, list[VisionEncoder]]]:
    """How eyes look, and the eyes: principal components of `frames` or what `encoder` names, and SimCLR."""
    chosen = ActionConfig.preset(
        "quick",
        head={"reads": ["pca" if config.encoder == "pca" else "mean"]},
        features={"confidence_threshold": config.confidence_threshold},
        vision=config.model_dump(include={"encoder", "crop", "crop_scale", "components"}),
        training={"seed": seed},
    )
    eyes: list[VisionEncoder] = []
    if "vision" in config.reads:
        eyes += (yield from open_eyes(sessions, frames, chosen, device)).values()
    if "simclr" in config.reads:
        place = accelerator(device).device
        eyes.append((yield from train_contrast(sessions, chosen.looks, config.contrast, seed, place)))
    return chosen.looks, eyes


def _check_video(session: Session, config: SimCLRConfig) -> None:
    seen = [block for block in config.reads if block != "pose"]
    if seen and session.video is None:
        raise InputError(
            f"{session.recording} has no video, which {' and '.join(seen)} read; set reads to pose alone, or make the "
            "session anew with its video."
        )


def _near_scored(label: np.ndarray, reach: int) -> np.ndarray:
    """(T,) bool: frames that are read when scored ones of label (T, A) are, with windows that reach so far."""
    frames = np.zeros(len(label), bool)
    for _, start, stop in scored_spans([label]):
        frames[max(0, start - reach) : stop + reach] = True
    return frames


def _read_seen(seen: Seen, n_animals: int, start: int, stop: int) -> np.ndarray:
    """What was seen at frames [start, stop), (T, A, D_v)."""
    frames, animals = np.divmod(np.arange((stop - start) * n_animals), n_animals)
    return seen.read(np.column_stack([frames + start, animals])).reshape(stop - start, n_animals, -1)
