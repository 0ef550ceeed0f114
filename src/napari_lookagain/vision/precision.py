"""In which numbers an encoder computes on a CPU."""

from __future__ import annotations

import torch

from napari_lookagain.vision.encoder import Precision


def takes_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether an encoder on this device is to compute in bfloat16 by autocast, its weights staying as they are.

    "auto" says so for CPUs that multiply bfloat16 themselves (AVX512-bf16, AMX): there a ViT-B takes a third of the
    time, a tiny BEAST two thirds, and the features of trained encoders stay within a cosine of 0.9996 of float32. Other
    CPUs emulate it, slowly. GPUs hold the weights as bfloat16 where they have it, and are left as they are.
    """
    if device.type != "cpu" or precision == "float32":
        return False
    return precision == "bfloat16" or _multiplies_bfloat16()


def _multiplies_bfloat16() -> bool:
    """Whether the CPU does; no where torch is too old to tell."""
    tells = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in tells)
