"""Which two keypoints tell where an animal faces: guessed from their names, or given."""

from __future__ import annotations

from collections.abc import Sequence

from napari_lookagain.errors import InputError

# Best first. A name fits when it contains the word, spelled without case, blanks, hyphens and underscores.
_FRONT = ("nose", "snout", "rostrum", "beak", "muzzle", "mouth", "head", "neck", "thorax")
_REAR = (
    *("tailbase", "tailroot", "tailstart", "baseoftail", "roottail", "rump", "anus", "abdomen", "pelvis", "hip"),
    *("tail", "caudal", "spine", "back", "thorax", "body", "trunk", "center", "centre", "centroid", "neck"),
)
_SIDES = ("left", "right")
_ENDS = ("tip", "end", "mid")


def guess_heading(keypoint_names: Sequence[str]) -> tuple[str, str] | None:
    """Guess the rear and the front keypoint, ``(rear, front)``; None when no two names fit.

    Keypoints on the midline are preferred to those on a side, and the base of the tail to the rest of it. The paper
    does not state how an animal's heading is found.
    """
    front = _best(keypoint_names, _FRONT, poor=_SIDES, never="tail")
    rear = _best([name for name in keypoint_names if name != front], _REAR, poor=(*_SIDES, *_ENDS))
    return None if front is None or rear is None else (rear, front)


def check_heading(heading: Sequence[str], keypoint_names: Sequence[str]) -> tuple[str, str]:
    """The heading (rear, front); an `InputError` when it is not two of the keypoints."""
    unknown = [name for name in heading if name not in keypoint_names]
    if unknown or len(heading) != 2 or heading[0] == heading[1]:
        raise InputError(
            f"The heading {', '.join(heading)} must be two keypoints, rear and front; "
            f"the keypoints are {', '.join(keypoint_names) or 'none'}."
        )
    return heading[0], heading[1]


def _best(names: Sequence[str], words: Sequence[str], poor: Sequence[str], never: str = "\n") -> str | None:
    """First name that fits the first word; one with a `poor` word in it only when no other fits any word."""
    plain = {name: "".join(letter for letter in name.lower() if letter.isalnum()) for name in names}
    fitting = [
        (any(part in plain[name] for part in poor), rank, len(plain[name]), name)
        for rank, word in enumerate(words)
        for name in names
        if word in plain[name] and never not in plain[name]
    ]
    # of equal rank the shortest is the plainest ("head" before "headcap"), then the first in the file
    return min(fitting, key=lambda found: found[:3])[3] if fitting else None
