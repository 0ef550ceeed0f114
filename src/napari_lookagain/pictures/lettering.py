"""Letters for pictures that are made of pixels."""

from __future__ import annotations

import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font


def text_mask(text: str, size: int) -> np.ndarray:
    """Set one line of text.

    Parameters
    ----------
    text
        In any script that matplotlib's own font knows.
    size
        Of the letters, in pixels.

    Returns
    -------
    np.ndarray
        (H, W) uint8, how much of each pixel is letter; lines of one size have one height and stand on one line.
    """
    font = FT2Font(findfont(FontProperties()))
    font.set_size(size, 72)
    font.set_text(text)
    font.draw_glyphs_to_bitmap(antialiased=True)
    letters = np.asarray(font.get_image())
    mask = np.zeros((round(1.3 * size), letters.shape[1]), np.uint8)
    bottom = round(size + font.get_descent() / 64)
    height = min(bottom, len(letters))  # what towers above the line is cut off
    mask[bottom - height : bottom] = letters[len(letters) - height :]
    return mask
