"""What tests of the action segmentation heads may ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_lookagain.actions.config import ActionConfig
from napari_lookagain.actions.features import read_features, settle
from napari_lookagain.actions.jobs import train_actions
from napari_lookagain.actions.model import ActionCard, ActionModel, seeds
from napari_lookagain.actions.sequences import Sequences, scored_windows, splits
from napari_lookagain.material import behavior_labels
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session


@pytest.fixture(scope="session")
def small() -> Callable[..., ActionConfig]:
    """Settings that train in a second, with changes section by section: ``small(head={"kind": "linear"})``."""
    sections = {
        "head": {"hidden": 8, "filter_length": 5},
        "vision": {"components": 6, "pca_size": 16},
        "training": {"sequence": 32, "batch": 4, "epochs": 5, "pooled_epochs": 2, "seeds": 2, "learning_rate": 1e-2},
    }
    return lambda **changes: ActionConfig.preset("quick", **sections).updated(**changes)


@pytest.fixture(scope="session")
def eye(tmp_path_factory) -> Path:
    """Folder of a tiny random encoder with 4 patches of width 16 and a class token, laid out as on the hub."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 1}
    model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes, image_size=16, patch_size=8))
    folder = tmp_path_factory.mktemp("eyes") / "dinov2"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def by_keypoints(mice, small, tmp_path_factory) -> Path:
    """Folder of heads that read the keypoints of the mice; not to be changed."""
    out = tmp_path_factory.mktemp("heads") / "keypoints"
    drain(train_actions([load_session(mice)], out, small(head={"reads": ["keypoints"]}), device="cpu"))
    return out


@pytest.fixture
def material(mice, small) -> Callable[..., tuple]:
    """A fresh ensemble, what it reads of the mice's keypoints, and its splits; with changes of the settings."""

    def make(**changes):
        session = load_session(mice)
        labels, names = behavior_labels([session], None)
        config = settle(small(head={"reads": ["keypoints"]}).updated(**changes), [session])
        everything = np.ones(session.n_frames, bool)
        reading = drain(read_features(session, config, {}, everything, 1))
        sequences = Sequences([reading], labels, config.training.sequence)
        model = ActionModel(ActionCard(names, ("keypoints",), (reading.width,)), config)
        windows = scored_windows(labels, config.training.sequence)
        return model, sequences, splits(labels, windows, config.training.validation_share, seeds(config))

    return make
