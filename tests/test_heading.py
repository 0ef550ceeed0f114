"""The heading is guessed from the names labs really use."""

from __future__ import annotations

import pytest

from napari_lookagain.heading import guess_heading


@pytest.mark.parametrize(
    "names, heading",
    [
        (("head", "thorax", "abdomen", "wingL", "wingR", "eyeL", "eyeR"), ("abdomen", "head")),
        (("nose", "left ear", "neck", "center back", "tail base", "tail middle", "tail tip"), ("tail base", "nose")),
        (("Nose", "Forehand-Left", "Hindhand-Left", "Tailroot"), ("Tailroot", "Nose")),
        (("nose", "leftear", "rightear", "neck", "lefthip", "righthip", "tail"), ("tail", "nose")),
        (("tailMid_top", "tailBase_top", "nose_top", "nose_bot", "tailBase_bot"), ("tailBase_top", "nose_top")),
        (("tail_base", "snout"), ("tail_base", "snout")),
        (("TailBase", "Snout"), ("TailBase", "Snout")),
        (("tailbase", "head"), ("tailbase", "head")),
        (("headcap", "head", "tail1", "tail2"), ("tail1", "head")),
        (("thorax", "abdomen"), ("abdomen", "thorax")),
        (("head", "thorax"), ("thorax", "head")),
        (("neck", "body_center"), ("body_center", "neck")),
        (("nose", "tail_tip"), ("tail_tip", "nose")),
        (("nose", "left_hip", "right_hip"), ("left_hip", "nose")),
        (("tailhead", "tail"), None),
        (("nose",), None),
        (("a", "b"), None),
        ((), None),
    ],
)
def test_guess(names, heading):
    assert guess_heading(names) == heading
