"""Saves a layer of classes as a table of bouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_lookagain.annotations import USER, label_bouts
from napari_lookagain.errors import InputError
from napari_lookagain.formats.tables import bouts_table, write_table
from napari_lookagain.gui.layers.layers import CLASSES
from napari_lookagain.gui.timeline.lanes import CORRECTED


def write_bouts(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write the bouts of a Labels layer as csv, in the columns of `formats.tables.BOUT_COLUMNS`.

    Raises
    ------
    RuntimeError
        When the layer holds no clusters, predictions or corrections of a session, or the file cannot be written.
        (napari takes a ValueError, as an `InputError` is, for there being no writer.)
    """
    told = attributes.get("metadata", {}).get("lookagain", {})
    if told.get("role") not in CLASSES:
        raise RuntimeError(
            f"The layer {attributes.get('name')!r} cannot be written as bouts; choose clusters, predicted or corrected."
        )
    labels = np.asarray(data)[..., 0].astype(int) - 1
    names = list(attributes["features"]["name"])
    bouts = label_bouts(labels, names, USER if told["role"] == CORRECTED else "")
    table = bouts_table(bouts, recording=told["recording"], animals=told["animals"], fps=told["fps"])
    try:
        write_table(table, path)
    except InputError as error:
        raise RuntimeError(str(error)) from error
    return [path]
