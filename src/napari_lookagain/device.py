"""Where the model works: one word for the device, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from dask.system import cpu_count

from napari_lookagain.errors import InputError


def accelerator(device: str, *, some_unused: bool = False) -> Accelerator:
    """An accelerator on the device asked for; "auto" takes the best there is, and bf16 where a GPU has it.

    With `some_unused`, several processes can share a training in which some batches leave some parameters without a
    gradient.

    Raises
    ------
    InputError
        When there is no such device.
    """
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, False):
        usable = ", ".join(name for name, usable in there.items() if usable)
        raise InputError(f"There is no device {device!r} here; choose one of {usable}.")
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    on_cpu = device == "cpu"
    if not PartialState(cpu=on_cpu).use_distributed:  # accelerate keeps the first device that a process asked for
        AcceleratorState._reset_state(True)
    patient = InitProcessGroupKwargs(timeout=timedelta(days=1))  # while the first of several processes reads videos
    mixed = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"
    shared = DistributedDataParallelKwargs(find_unused_parameters=some_unused)
    return Accelerator(cpu=on_cpu, mixed_precision=mixed, kwargs_handlers=[patient, shared])


def share_cores(processes: int) -> None:
    """Leave every one of several processes its share of the cores: more threads than cores slow all of them down."""
    torch.set_num_threads(max(1, cpu_count() // processes))


@contextmanager
def leave_cores(count: int) -> Iterator[None]:
    """Keep torch off so many of the cores, which other threads use meanwhile; one is left to it in any case."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, cpu_count() - count)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
