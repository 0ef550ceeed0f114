"""Models and batches small enough that a test takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_lookagain.config import Config
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.model.objectives import Batch, Pretraining

KEYPOINTS, FEATURES, VISION, WINDOW = 3, 13, 5, 16
TINY = {
    "motion": {"latent_width": 16, "codes": 8, "width": 16, "heads": 2, "layers": 1, "social_layers": 1}
    | {"window": WINDOW, "dropout": 0.0},
    "look": {"layers": 1, "vary_budget": 0.0},
    "pretrain": {"horizons": (1, 2), "horizon_weights": (1.0, 0.5), "mask_span": (2, 4)},
    "finetune": {"dropout": 0.0, "motion_dropout": 0.0},
}


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """Tiny settings, with changes such as ``look={"budget": 0.5}`` on top."""
    return lambda **changes: Config.parse(TINY).updated(**changes)


@pytest.fixture
def make_model(make_config) -> Callable[..., LookAgain]:
    """A tiny model of three keypoints in two coordinates, with its codebooks started unless `raw`."""

    def make(kind: str = "behavior", n_classes: int = 3, *, raw: bool = False, seed: int = 0, **changes) -> LookAgain:
        torch.manual_seed(seed)
        names = tuple("abcdefgh"[:n_classes])
        card = ModelCard(("nose", "ear", "tail"), 2, FEATURES, 1, VISION, kind, names)
        model = LookAgain(card, make_config(**changes))
        if not raw:
            start = torch.randn(4, 1, WINDOW, FEATURES)
            model.motion_encoder(start, torch.ones(4, 1, WINDOW, dtype=torch.bool))
        return model.eval()

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Random windows of two animals; with `padded`, the first is short by 5 frames and the last is of one animal."""

    def make(windows: int = 3, animals: int = 2, *, padded: bool = True, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        shape = (windows, animals, WINDOW)
        motion = torch.randn(*shape, FEATURES, generator=generator)
        confidence = slice(2 * KEYPOINTS, 3 * KEYPOINTS)
        motion[..., confidence] = torch.rand(*shape, KEYPOINTS, generator=generator) * 0.75 + 0.25
        visual = torch.randn(*shape, VISION, generator=generator)
        behavior = torch.randint(-1, 3, shape, generator=generator)
        valid = torch.ones(shape, dtype=torch.bool)
        if padded:
            valid[0, :, -5:] = False
            valid[-1, 1:] = False
        keep = valid.unsqueeze(-1)
        return Batch(motion * keep, valid, visual * keep, torch.where(valid, behavior, -1))

    return make


@pytest.fixture
def pretrain_step() -> Callable[..., dict[str, float]]:
    """One seeded step of pretraining with plain gradient descent; gives the losses."""

    def step(model: LookAgain, batch: Batch, seed: int = 0, rate: float = 0.01) -> dict[str, float]:
        torch.manual_seed(seed)
        objective = Pretraining(model).train()
        optimizer = torch.optim.SGD(model.parameters(), rate)
        optimizer.zero_grad()
        losses = objective(batch)
        losses["loss"].backward()
        optimizer.step()
        model.eval()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    return step


@pytest.fixture
def soil() -> Callable[..., Batch]:
    """The same batch with something else standing in its padding."""

    def spoil(batch: Batch, seed: int = 1) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        padding = ~batch.valid.unsqueeze(-1)
        motion, visual = (
            torch.where(padding, torch.randn(part.shape, generator=generator) * 50, part)
            for part in (batch.motion, batch.visual_features)
        )
        return Batch(motion, batch.valid, visual, batch.behavior)

    return spoil
