"""Labels drawn as text, and one number out of many rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_lookagain.metrics import ALL, Row


@pytest.fixture(scope="session")
def track() -> Callable[[str], np.ndarray]:
    """Labels of one animal from a letter for each frame: ``a`` is class 0, and a dot is −1; spaces help the eye."""
    return lambda drawn: np.array([".abcdefgh".index(letter) - 1 for letter in drawn.replace(" ", "")], np.int16)


@pytest.fixture(scope="session")
def value() -> Callable[..., float]:
    """The value of a measure, of all classes or of one; there is one row for it, and not two."""

    def read(rows: list[Row], measure: str, of: str = ALL) -> float:
        [found] = [row.value for row in rows if (row.measure, row.of) == (measure, of)]
        return found

    return read
