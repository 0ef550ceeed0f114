"""OpenVINO, which runs the network of an encoder faster than torch does, on CPUs of Intel, AMD and ARM."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from napari_lookagain.errors import InputError


def check_openvino(device: torch.device) -> None:
    """Refuse to compute through OpenVINO where it cannot be had.

    Raises
    ------
    InputError
        When the encoder is on another device than a CPU, or the package is not installed.
    """
    if device.type != "cpu":
        raise InputError(
            f"OpenVINO computes on the CPU, and the vision encoder is on {device}; "
            "take the device cpu, or set vision.runtime to torch."
        )
    if find_spec("openvino") is None:
        raise InputError(
            'OpenVINO is not installed; get it with pip install "napari-lookagain[openvino]", '
            "or set vision.runtime to torch."
        )


class OpenVINO:
    """What OpenVINO made of the network of one encoder: compiled at the first images, once for each precision.

    From then on it takes as many threads as torch had. Compiling takes a second for a small network, 15 for a ViT-B.
    """

    def __init__(self) -> None:
        self._compiled: dict[bool, Any] = {}

    def __call__(self, network: Callable[[Tensor], Tensor], pixels: Tensor, bfloat16: bool) -> Tensor:
        """Tokens (N, P, D) float32 of pixels (N, C, S, S) float32, any N, as `network` says.

        The network, its sizes and weights have to be the same at every call.
        """
        if bfloat16 not in self._compiled:
            self._compiled[bfloat16] = _compile(network, pixels.shape[1:], bfloat16)
        return torch.from_numpy(self._compiled[bfloat16](pixels.contiguous().numpy())[0])


def _compile(network: Callable[[Tensor], Tensor], shape: torch.Size, bfloat16: bool) -> Any:
    """Let OpenVINO follow what the network does with images of this shape (C, S, S), and compile that."""
    # OpenVINO reports to a server that it is imported and used, but where the package that reports is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as ov

    class Network(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return network(pixels)

    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # what is fixed by it depends on no image
        warnings.simplefilter("ignore", DeprecationWarning)  # of tracing, which is OpenVINO's choice
        model = ov.convert_model(Network().eval(), example_input=torch.zeros(2, *shape), input=[-1, *shape])
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # or all processes of one machine would take the same cores
        "PERFORMANCE_HINT": "LATENCY",
    }
    return ov.Core().compile_model(model, "CPU", hints)
