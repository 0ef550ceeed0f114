"""What `cost.py` measures with: a recording of mice, eyes and models of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from napari_lookagain.annotations import Annotations
from napari_lookagain.batches import Batches, Recording
from napari_lookagain.config import Config
from napari_lookagain.features import MotionFeatures
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.progress import drain
from napari_lookagain.session import Session
from napari_lookagain.simulate import BEHAVIORS, simulate_session
from napari_lookagain.sources import read_video_source
from napari_lookagain.train import pretrain
from napari_lookagain.vision.beast import SHAPES, Beast
from napari_lookagain.vision.beast_encoder import BeastEncoder
from napari_lookagain.vision.cache import FeatureMemory
from napari_lookagain.vision.encoder import VisionEncoder, as_configured, load_encoder, save_encoder
from napari_lookagain.windows import Window, sliding_windows

EYES = {"tiny": "BEAST tiny", "base": "BEAST base", "hub": "CLIP ViT-B/16"}


def make_session(folder: Path, n_frames: int, n_animals: int, video: Path | None) -> Session:
    """Simulated mice, in memory; of a video that is given its first frames, and mice that walk about in its picture."""
    if video is None:
        return simulate_session(folder, n_frames=n_frames, n_animals=n_animals)
    source = read_video_source(video)
    size = (source.width // 2 * 2, source.height // 2 * 2)
    mice = simulate_session(folder, n_frames=min(n_frames, source.n_frames), n_animals=n_animals, size=size)
    return replace(mice, video=source)


def first_frames(session: Session, stop: int) -> Session:
    """The first frames of a session, in memory."""
    return replace(
        session,
        keypoints=session.keypoints[:stop],
        confidence=session.confidence[:stop],
        annotations=Annotations(min(stop, session.n_frames), session.animals),
        path=None,
        edited=None,
    )


def make_eye(name: str, folder: Path, config: Config, device: str) -> VisionEncoder:
    """An eye that computes as it does when it looks: BEAST of some size, or a ViT-B/16 in the layout of the hub."""
    torch.manual_seed(0)
    if name == "hub":
        CLIPVisionModel(CLIPVisionConfig(patch_size=16)).save_pretrained(folder)
    else:
        save_encoder(BeastEncoder.of(Beast(SHAPES[name])), folder)
    return as_configured(load_encoder(folder, device), config.vision)


def make_model(session: Session, config: Config, width: int) -> LookAgain:
    """A model that knows these keypoints and reads features of this width; its scale and codebooks fit the session."""
    torch.manual_seed(0)
    features, length = MotionFeatures(session, config.features), config.motion.window
    card = ModelCard(session.keypoint_names, 2, features.width, features.n_neighbors, width, "behavior", BEHAVIORS)
    model = LookAgain(card, config)
    batches = Batches([Recording(features, session.n_frames, session.n_animals)], length, width)
    drain(pretrain(model, batches, sliding_windows(session.n_frames, length, length), device="cpu"))
    return model


def what_training_reads(session: Session, config: Config) -> tuple[Batches, list[Window]]:
    """Windows of a session with behaviors drawn at random, and features as wide as those of a tiny BEAST."""
    rng, width = np.random.default_rng(0), SHAPES["tiny"].width
    shape, length = (session.n_frames, session.n_animals), config.motion.window
    rows = np.argwhere(np.ones(shape, bool))
    seen = FeatureMemory((*shape, width), rows)
    seen.write(rows, rng.normal(size=(len(rows), width)))
    behavior = rng.integers(0, len(BEHAVIORS), shape)
    recording = Recording(MotionFeatures(session, config.features), *shape, seen, behavior)
    return Batches([recording], length, width), sliding_windows(session.n_frames, length, length // 8)[:32]
