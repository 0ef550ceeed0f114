"""What LookAgain is compared with, each behind the same two calls: learn from recordings, label others."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from napari_lookagain.baselines.method import Method

METHODS = {
    "transformer": "Transformer",
    "trees": "Trees",
    "bams": "Bams",
    "simclr": "SimCLR",
    "arhmm": "ArHmm",
    "heads": "Heads",
}
"""By the name of a method, which is that of its module, its class; its settings are of the class with Config added."""


def method_of(name: str, settings: dict[str, Any]) -> Method:
    """A method with some of its settings changed.

    Raises
    ------
    InputError
        When there is no such method or setting.
    """
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}; choose lookagain or one of {', '.join(METHODS)}.")
    module = import_module(f"napari_lookagain.baselines.{name}")
    method: Method = getattr(module, METHODS[name])(getattr(module, f"{METHODS[name]}Config").parse(settings))
    return method
