"""Behavior segmentation from keypoints on every frame and video on the few frames worth a look.

The public names below are imported when first used: importing the package loads no torch, no Qt and no napari.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lookagain.annotations import Annotations
    from napari_lookagain.config import Config
    from napari_lookagain.errors import InputError
    from napari_lookagain.ethogram import Ethogram, load_ethogram
    from napari_lookagain.eyes.pretraining import pretrain_eye
    from napari_lookagain.model.lookagain import LookAgain
    from napari_lookagain.predict import predict
    from napari_lookagain.progress import Progress, drain
    from napari_lookagain.session import Session, load_session, new_session
    from napari_lookagain.simulate import simulate
    from napari_lookagain.train import finetune, pretrain
    from napari_lookagain.video import Video
    from napari_lookagain.vision.encoder import VisionEncoder, load_encoder

__version__ = version("napari-lookagain")

_HOME = {
    "Annotations": "annotations",
    "Config": "config",
    "Ethogram": "ethogram",
    "InputError": "errors",
    "LookAgain": "model.lookagain",
    "Progress": "progress",
    "Session": "session",
    "Video": "video",
    "VisionEncoder": "vision.encoder",
    "drain": "progress",
    "finetune": "train",
    "load_encoder": "vision.encoder",
    "load_ethogram": "ethogram",
    "load_session": "session",
    "new_session": "session",
    "predict": "predict",
    "pretrain": "train",
    "pretrain_eye": "eyes.pretraining",
    "simulate": "simulate",
}

__all__ = [
    "Annotations",
    "Config",
    "Ethogram",
    "InputError",
    "LookAgain",
    "Progress",
    "Session",
    "Video",
    "VisionEncoder",
    "__version__",
    "drain",
    "finetune",
    "load_encoder",
    "load_ethogram",
    "load_session",
    "new_session",
    "predict",
    "pretrain",
    "pretrain_eye",
    "simulate",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(set(__all__) | set(globals()))


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Python binds a submodule to its package once imported: `predict` must stay the function, not its module.
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
