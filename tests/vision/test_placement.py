"""Images reach the device of an encoder as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_lookagain.vision.placement import stack_pinned, to_device

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_images_arrive_whole(device: str) -> None:
    images = list(np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8))
    stacked = np.stack(images) if device == "cpu" else stack_pinned(images)
    for some in (stacked, stacked[1:3], stacked[:, ::-1]):
        placed = to_device(some, torch.device(device))
        assert placed.device.type == device
        assert placed.dtype == torch.uint8
        np.testing.assert_array_equal(placed.cpu().numpy(), some)
