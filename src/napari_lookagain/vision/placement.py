"""How images reach the device of an encoder."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def stack_pinned(images: list[np.ndarray]) -> np.ndarray:
    """Stack images in pinned memory, which a CUDA device reads by itself.

    To be called where nobody waits for it, in a thread that works ahead: to pin images just before they are moved may
    take longer than to move them from where they are.
    """
    return torch.from_numpy(np.stack(images)).pin_memory().numpy()


def to_device(images: np.ndarray, device: torch.device) -> Tensor:
    """Give images (N, S, S[, 3]) uint8 as a tensor on a device.

    The CPU does not wait for a CUDA device to have read pinned memory: keep them until something computed of them is
    back.
    """
    return torch.from_numpy(np.ascontiguousarray(images)).to(device, non_blocking=device.type == "cuda")
