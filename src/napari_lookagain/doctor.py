"""What this machine offers: versions, devices, video codecs, memory and disk; what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

_QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5")
_LIBRARIES = ("torch", "transformers", "accelerate", "movement", "av", "imageio-ffmpeg", "numpy", "pandas", "napari")
_PACKAGES = ("napari-lookagain", *_LIBRARIES, "openvino", *_QT_BINDINGS)
_GIB = 2**30
_ENOUGH_MEMORY = 4.0  # GiB: the quick preset is held to this
_ENOUGH_DISK = 2.0  # GiB: room for features and a run


def report() -> dict[str, Any]:
    """Examine this machine.

    Nothing is downloaded and no network is asked. A video of five frames is encoded and decoded in a temporary folder,
    because a codec that is listed may still not work.

    Returns
    -------
    dict
        JSON-able, with the keys `system`, `versions` (None where a package is absent), `devices`, `video`,
        `memory_gib`, `disk_gib` and `missing`: a list of `{"what", "how"}`, empty on a machine that lacks nothing.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    devices = _devices()
    video = _video()
    memory, disk = _memory(), _disk(Path.cwd())
    missing = chain(_missing_packages(versions, devices), _missing_codecs(video), _missing_room(memory, disk))
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
        "devices": devices,
        "video": video,
        "memory_gib": memory,
        "disk_gib": disk,
        "missing": [{"what": what, "how": how} for what, how in missing],
    }


def describe(report: dict[str, Any]) -> str:
    """Put a report into lines a person reads.

    Parameters
    ----------
    report
        What `report` returned.
    """
    devices, video = report["devices"], report["video"]
    memory, disk = report["memory_gib"], report["disk_gib"]
    rows = [("system", report["system"])]
    rows += [(name, number or "not installed") for name, number in report["versions"].items()]
    rows.append(("cpu", f"{devices['cpu']['cores']} cores, {devices['cpu']['threads']} torch threads"))
    for gpu in devices["cuda"]:
        rows.append(("cuda", f"{gpu['name']}, {gpu['memory_gib']:.0f} GiB, bf16 {_yes(gpu['bf16'])}"))
    if not devices["cuda"]:
        rows.append(("cuda", "no"))
    rows.append(("mps", _yes(devices["mps"])))
    rows.append(("h264", f"decodes {_yes(video['decodes_h264'])}, encodes {_yes(video['encodes_h264'])}"))
    rows.append(("ffmpeg", video["ffmpeg"] or "not found"))
    rows.append(("memory", f"{memory['free']:.1f} GiB free of {memory['total']:.1f}"))
    rows.append(("disk", f"{disk['free']:.1f} GiB free of {disk['total']:.1f} in {disk['folder']}"))
    lines = [f"{name:<18}{value}" for name, value in rows]
    lines += ["", "missing" if report["missing"] else "nothing is missing"]
    lines += [f"  {entry['what']}\n    get it: {entry['how']}" for entry in report["missing"]]
    return "\n".join(lines)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    devices: dict[str, Any] = {"cpu": {"cores": os.cpu_count(), "threads": 0}, "cuda": [], "mps": False, "error": None}
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of torch is missing
        return devices | {"error": str(error)}
    devices["cpu"]["threads"] = torch.get_num_threads()
    devices["mps"] = torch.backends.mps.is_available()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            # bfloat16 arithmetic came with compute capability 8; older devices only emulate it.
            entry = {"name": gpu.name, "memory_gib": gpu.total_memory / _GIB, "bf16": gpu.major >= 8}
            devices["cuda"].append(entry)
    elif torch.version.cuda is None and torch.version.hip is None and shutil.which("nvidia-smi"):
        devices["error"] = "an NVIDIA driver is here, but torch is built for the CPU only"
    return devices


def _video() -> dict[str, Any]:
    video: dict[str, Any] = {"ffmpeg": None, "encodes_h264": False, "decodes_h264": False}
    try:
        import imageio_ffmpeg

        video["ffmpeg"] = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return video | {"decodes_h264": _lists_h264()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "five.mp4"
        video["encodes_h264"] = _encode(video["ffmpeg"], path)
        video["decodes_h264"] = _decodes(path) if video["encodes_h264"] else _lists_h264()
    return video


def _encode(ffmpeg: str, path: Path) -> bool:
    command = [ffmpeg, "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", "64x64", "-r", "25", "-i", "-"]
    command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)]
    try:
        subprocess.run(command, input=bytes(5 * 64 * 64), capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return path.is_file()


def _decodes(path: Path) -> bool:
    try:
        import av

        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0)) == 5
    except (ImportError, OSError):  # PyAV's own errors are OSErrors
        return False


def _lists_h264() -> bool:
    try:
        import av
    except ImportError:
        return False
    return "h264" in av.codecs_available


def _memory() -> dict[str, float]:
    import psutil

    memory = psutil.virtual_memory()
    return {"free": memory.available / _GIB, "total": memory.total / _GIB}


def _disk(folder: Path) -> dict[str, Any]:
    usage = shutil.disk_usage(folder)
    return {"folder": str(folder), "free": usage.free / _GIB, "total": usage.total / _GIB}


def _missing_packages(versions: dict[str, str | None], devices: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if devices["error"]:
        how = "install torch anew as https://pytorch.org/get-started/locally says for this machine"
        yield f"torch on this machine: {devices['error']}", how
    if versions["napari"] is None or not any(versions[name] for name in _QT_BINDINGS):
        what = "napari with a Qt binding: recordings cannot be opened on screen, all else works"
        yield what, 'pip install "napari-lookagain[all]"'
    if broken := _broken_torchvision():
        what = f"a torchvision that fits torch ({broken}): encoders from the hub may fail to load"
        yield what, "pip uninstall torchvision (nothing here needs it)"


def _broken_torchvision() -> str | None:
    if _version("torchvision") is None:
        return None
    try:
        import_module("torchvision")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return None


def _missing_codecs(video: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not video["decodes_h264"]:
        yield "decoding of h264: most videos cannot be read", "pip install --force-reinstall av"
    if not video["encodes_h264"]:
        what = "encoding of h264 (libx264): neither the demo nor clips can be written"
        how = "pip install --force-reinstall imageio-ffmpeg, or point IMAGEIO_FFMPEG_EXE to an ffmpeg with libx264"
        yield what, how


def _missing_room(memory: dict[str, float], disk: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if memory["free"] < _ENOUGH_MEMORY:
        what = f"memory: {memory['free']:.1f} GiB are free, {_ENOUGH_MEMORY:.0f} GiB are comfortable"
        yield what, "close other programs, or work on a machine with more"
    if disk["free"] < _ENOUGH_DISK:
        what = f"disk: {disk['free']:.1f} GiB are free in {disk['folder']}, {_ENOUGH_DISK:.0f} GiB are comfortable"
        yield what, "free some space, or work in a folder on another disk"
