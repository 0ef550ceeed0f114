"""Pairs are drawn as the paper says, gradients add up, and a training that was cut off goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_lookagain.config import BeastConfig
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain
from napari_lookagain.vision import beast_training
from napari_lookagain.vision.beast import Beast, BeastShape
from napari_lookagain.vision.beast_batches import augmented, draw_batches, take_images
from napari_lookagain.vision.beast_training import BeastObjective, train_beast

SHAPE = BeastShape(16, 4, 1, 16, 1, 2, 32, 8, 1, 1, 16, projection_width=8, spread=0.1)
SETTINGS = {"size": "tiny", "start": "scratch", "epochs": 3, "batch": 8, "at_once": 8, "learning_rate": 0.1}


def config(**changes) -> BeastConfig:
    return BeastConfig(**{**SETTINGS, **changes})


def model(seed: int = 0) -> Beast:
    torch.manual_seed(seed)
    return Beast(SHAPE)


def triplets(n: int = 12) -> np.ndarray:
    """Bright bars at places of their own; neighbors in time are a pixel apart."""
    out = np.zeros((n, 3, 16, 16), np.uint8)
    for i in range(n):
        for k in range(3):
            out[i, k, :, (i + k) % 16] = 200
            out[i, k, i % 16] = 100
    return out


def weights(beast: Beast) -> np.ndarray:
    return torch.cat([value.flatten().double() for value in beast.state_dict().values()]).numpy()


def test_every_anchor_is_drawn_once_with_a_frame_before_or_after():
    sides = Counter()
    for epoch in range(50):
        batches = list(draw_batches(21, 4, True, np.random.default_rng(epoch)))
        drawn = np.concatenate(batches, axis=1)
        assert_array_equal(np.sort(drawn[0]), np.arange(21))
        assert [batch.shape for batch in batches] == [(2, 6), (2, 5), (2, 5), (2, 5)]
        sides.update(drawn[1].tolist())
    assert set(sides) == {0, 2}
    assert 0.4 < sides[0] / (50 * 21) < 0.6


def test_batches_hold_anchors_and_then_their_positives_of_neighboring_frames():
    data = np.arange(12 * 3).reshape(12, 3)[..., None, None].repeat(2, -1).astype(np.uint8)
    for part in draw_batches(12, 3, True, np.random.default_rng(0)):
        images = take_images(data, part, True)[:, 0, 0]
        anchors, positives = np.split(images.astype(int), 2)
        assert (anchors % 3 == 1).all()
        assert (np.abs(anchors - positives) == 1).all()
        assert len(set(anchors)) == len(anchors)


def test_without_contrast_only_anchors_are_learnt_from():
    """The paper's ViT-M."""
    (part,) = draw_batches(12, 1, False, np.random.default_rng(0))
    data = np.arange(12 * 3).reshape(12, 3)[..., None, None].astype(np.uint8)
    images = take_images(data, part, False)[:, 0, 0]
    assert (images % 3 == 1).all()
    assert len(images) == 12


def test_training_lowers_the_loss_and_tells_of_it():
    beast = model()
    told = []
    work = train_beast(beast, triplets(), config(epochs=20), device="cpu")
    try:
        while True:
            told.append(next(work))
    except StopIteration as end:
        history = end.value
    assert history.loss[-1] < 0.8 * history.loss[0]
    assert len(history.loss) == len(history.reconstruct) == len(history.contrast) == len(history.told) == 20
    assert told[-1].done == told[-1].total == 20 * 3
    assert set(told[0].metrics) == {"loss", "reconstruct", "contrast", "told"}
    assert not beast.training
    assert not any(p.requires_grad for p in beast.parameters())


@pytest.mark.parametrize(
    ("changes", "learnt", "left"),
    [
        ({"contrast_weight": 0.0}, "vit_mae.decoder.decoder_pred.weight", "proj.proj.0.weight"),
        ({"reconstruct_weight": 0.0}, "proj.proj.0.weight", "vit_mae.decoder.decoder_pred.weight"),
    ],
)
def test_variants_leave_alone_what_they_do_not_use(changes, learnt, left):
    beast, before = model(), model().state_dict()
    history = drain(train_beast(beast, triplets(), config(**changes), device="cpu"))
    after = beast.state_dict()
    assert not torch.equal(after[learnt], before[learnt])
    assert torch.equal(after[left], before[left])
    assert (history.contrast == []) == ("contrast_weight" in changes)


def test_gradients_of_parts_add_up_to_that_of_the_whole():
    """Without contrast, random crops and masks, parts and whole are the same."""
    still = {"crop_area": (1.0, 1.0), "flip": 0.0, "contrast_weight": 0.0, "epochs": 1, "batch": 12}
    whole, parts = model(), model()
    for beast, at_once in ((whole, 12), (parts, 4)):
        beast.vit_mae.vit.config.mask_ratio = 0.0
        beast.vit_mae.config.mask_ratio = 0.0
        drain(train_beast(beast, triplets(), config(at_once=at_once, **still), device="cpu"))
    for (name, one), other in zip(parts.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=0, msg=name)


def test_a_training_that_was_cut_off_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(beast_training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    settings = config(epochs=4)
    straight = model()
    whole = drain(train_beast(straight, triplets(), settings, seed=5, device="cpu"))
    file = tmp_path / "pretraining.pt"
    work = train_beast(model(), triplets(), settings, seed=5, device="cpu", checkpoint=file, key="a")
    for told in work:
        if told.done == 8:  # in the third epoch of three updates
            break
    work.close()
    resumed = model(seed=9)
    history = drain(train_beast(resumed, triplets(), settings, seed=5, device="cpu", checkpoint=file, key="a"))
    assert history == whole
    assert_array_equal(weights(resumed), weights(straight))
    with pytest.raises(InputError, match="written with other settings"):
        drain(train_beast(model(), triplets(), settings, seed=5, device="cpu", checkpoint=file, key="b"))


def test_the_learning_rate_rises_and_falls_once(monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **more):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    drain(train_beast(model(), triplets(), config(epochs=20, batch=8, learning_rate=0.032), device="cpu"))
    highest = 0.032 * 8 / 256
    assert rates[0] == pytest.approx(highest / 10)
    assert max(rates) == pytest.approx(highest, rel=1e-2)
    assert abs(int(np.argmax(rates)) - 0.15 * len(rates)) <= 1
    assert rates[-1] < 0.01 * highest


def test_crops_stay_inside_the_image_and_are_drawn_anew_for_each():
    torch.manual_seed(0)
    images = torch.arange(16.0).view(1, 1, 1, 16).expand(200, 1, 16, 16)
    seen = augmented(images, (0.2, 1.0), 0.5)
    assert seen.shape == images.shape
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 15
    falling = seen[:, 0, 0, 0] > seen[:, 0, 0, -1]
    assert 0.35 < falling.float().mean() < 0.65  # mirrored
    widths = (seen[:, 0, 0, -1] - seen[:, 0, 0, 0]).abs()
    assert widths.std() > 1
    assert torch.equal(augmented(images, (1.0, 1.0), 0.0).round(), images)


def test_a_loss_that_is_no_number_is_told_in_one_sentence():
    beast = model()
    beast.vit_mae.vit.embeddings.cls_token.data.fill_(torch.nan)
    with pytest.raises(InputError, match="lower the learning rate"):
        drain(train_beast(beast, triplets(), config(), device="cpu"))


def test_images_that_do_not_fit_into_memory_are_told_with_how_many_would(monkeypatch):
    forward = BeastObjective.forward
    held = []

    def small(self, images):
        if len(images) > 5:
            made = torch.ones(1)
            held.append(weakref.ref(made))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert all(each() is None for each in held)  # what a pass that failed has made is let go
        return forward(self, images)

    monkeypatch.setattr(BeastObjective, "forward", small)
    with pytest.raises(InputError, match=r"8 images of 16 pixels do not fit .* use --set beast\.at_once=4"):
        drain(train_beast(model(), triplets(), config(), device="cpu"))


def test_a_batch_that_leaves_a_process_without_a_pair_is_refused(monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 8)
    with pytest.raises(InputError, match=r"12 anchors in batches of 8 images leave fewer than two for each of 8 proc"):
        drain(train_beast(model(), triplets(), config(), device="cpu"))


def test_two_processes_share_every_batch(tmp_path):
    """As ``accelerate launch`` starts them: both end with the same weights, and learn."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys, numpy as np, torch\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_beast_training import *\n"
        "from accelerate import PartialState\n"
        "beast = model()\n"
        "history = drain(train_beast(beast, triplets(16), config(epochs=2, batch=16), device='cpu'))\n"
        "rank = PartialState().process_index\n"
        "np.save(f'{sys.argv[1]}/{rank}.npy', weights(beast))\n"
    )
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (np.load(tmp_path / f"{rank}.npy") for rank in (0, 1))
    learnt = np.array(
        ["running" not in n and "tracked" not in n for n, v in model().state_dict().items() for _ in range(v.numel())]
    )
    assert_array_equal(first[learnt], second[learnt])
    assert not np.allclose(first, weights(model()))
