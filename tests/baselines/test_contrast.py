"""SimCLR: its loss by hand, which crops it learns from, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_lookagain.baselines import contrast as module
from napari_lookagain.baselines.contrast import ContrastConfig, ContrastNet, contrast_loss, train_contrast
from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session

LOOKS = Config.preset("quick")
SMALL = ContrastConfig(
    images=48, size=16, width=16, projection=8, epochs=30, batch=24, learning_rate=1e-2, crop_area=(0.6, 1), jitter=0.1
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def seen(mice):
    """The mice in memory, and an encoder that was trained on them, with the losses of its training."""
    session = replace(load_session(mice), path=None)
    losses = []
    work = train_contrast([session], LOOKS, SMALL, 0, CPU)
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            return session, end.value, losses
        losses += [step.metrics["loss"]] if step.metrics else []


def test_the_loss_by_hand():
    torch.manual_seed(0)
    z = torch.randn(6, 4)
    unit = (z / z.norm(dim=1, keepdim=True)).numpy().astype(float)
    each = []
    for i in range(6):
        likeness = np.exp(unit @ unit[i] / 0.5)
        others = [j for j in range(6) if j != i]
        each.append(-np.log(likeness[(i + 3) % 6] / likeness[others].sum()))
    assert contrast_loss(z, 0.5).item() == pytest.approx(np.mean(each), rel=1e-5)


def test_alike_views_of_different_crops_cost_little():
    views = torch.eye(4).repeat(2, 1)
    assert contrast_loss(views, 0.05) < 1e-3
    apart = torch.cat([torch.eye(4), torch.eye(4).roll(1, 0)])
    assert contrast_loss(apart, 0.05) > 5


def test_it_learns(seen):
    _, encoder, losses = seen
    assert len(losses) == 60
    assert np.mean(losses[-4:]) < np.log(47) - 0.3, "a view is found among 47 others no better than by chance"
    assert (encoder.width, encoder.size, encoder.grey, encoder.n_patches) == (16, 16, True, 0)
    images = np.random.default_rng(0).integers(0, 255, (300, 16, 16), dtype=np.uint8)
    features = encoder.encode(images)
    assert features.shape == (300, 16)
    assert features.dtype == np.float32
    np.testing.assert_allclose(encoder.encode(images[:3]), features[:3], rtol=1e-4, atol=1e-5)
    assert features.std(0).max() > 0


def test_a_seed_gives_one_encoder(seen):
    session, encoder, _ = seen
    again = drain(train_contrast([session], LOOKS, SMALL, 0, CPU))
    other = drain(train_contrast([session], LOOKS, SMALL.model_copy(update={"epochs": 1}), 1, CPU))
    assert again.fingerprint == encoder.fingerprint
    assert other.fingerprint != encoder.fingerprint


def test_it_gives_one_vector_of_an_image(seen, tmp_path):
    _, encoder, _ = seen
    for what in ("cls", "patches"):
        with pytest.raises(InputError, match="no class token and no patches"):
            encoder.encode(np.zeros((1, 16, 16), np.uint8), what)
    encoder.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_animals_that_move_are_shown_more(seen, monkeypatch):
    session, _, _ = seen
    keypoints = session.keypoints.copy()
    keypoints[:] = keypoints[:1]
    keypoints[100:200, 0, :, 0] += np.arange(100)[:, None] * 0.2  # one mouse walks for a while
    keypoints[:, 1] = np.nan
    confidence = np.isfinite(keypoints[..., 0]).astype(np.float32)
    still = replace(session, keypoints=keypoints, confidence=confidence)
    motion = module._motion(still, LOOKS)
    assert set(np.flatnonzero(motion[:, 0])) <= {*range(101, 201)}
    assert not motion[:, 1].any()
    cut = []

    class Remember(module.crops_of(still, LOOKS, 16).__class__):
        def cut(self, frame, index, animal):
            cut.append((index, animal))
            return super().cut(frame, index, animal)

    monkeypatch.setattr("napari_lookagain.vision.look.Crops", Remember)
    images = drain(module._draw_crops([still, still], LOOKS, SMALL, np.random.default_rng(0)))
    assert images.shape == (48, 16, 16)
    assert {animal for _, animal in cut} == {0}
    assert all(motion[index, 0] > 0 for index, _ in cut)


def test_where_nothing_moves_all_frames_count_alike(seen):
    session, _, _ = seen
    still = replace(session, keypoints=np.repeat(session.keypoints[:1], session.n_frames, 0))
    assert set(np.unique(module._motion(still, LOOKS))) == {1.0}


def test_recordings_that_nobody_tracked(untracked):
    images = drain(module._draw_crops([untracked], LOOKS, SMALL, np.random.default_rng(0)))
    assert images.shape == (48, 16, 16)


def test_views_differ_in_brightness_and_contrast():
    torch.manual_seed(0)
    images = torch.rand(50, 1, 8, 8) * 0.5 + 0.2
    views = module._jittered(images, 0.4)
    assert views.min() >= 0
    assert views.max() <= 1
    ratio = views.mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert 0.55 < ratio.min() < 0.75
    assert 1.2 < ratio.max() < 1.45
    torch.testing.assert_close(module._jittered(images, 0.0), images)


def test_the_network_takes_images_of_any_size():
    torch.manual_seed(0)
    net = ContrastNet(8, 4).eval()
    for size in (16, 48, 61):
        assert net(torch.rand(2, 1, size, size)).shape == (2, 4)
