"""How an encoder computes on a CPU: in which numbers, and through which library."""

from __future__ import annotations

import torch

from napari_lookagain.vision.encoder import Precision, Runtime
from napari_lookagain.vision.openvino import check_openvino

BFLOAT16, OPENVINO = "-bfloat16", "-openvino"


def way_of(precision: Precision, runtime: Runtime, device: torch.device) -> str:
    """How an encoder on this device is to compute, as its fingerprint ends: "", OPENVINO, BFLOAT16, or both in a row.

    Raises
    ------
    InputError
        When it cannot compute through OpenVINO.
    """
    if runtime == "openvino":
        check_openvino(device)
    return OPENVINO * (runtime == "openvino") + BFLOAT16 * takes_bfloat16(precision, device)


def takes_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether an encoder on this device is to compute in bfloat16, its weights staying as they are.

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
