"""What looks cost to decode, which is everything from a keyframe on, and which frames are worth that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from napari_lookagain.session import Session


def needed(wanted: np.ndarray, keyframes: np.ndarray) -> np.ndarray:
    """Frames that have to be decoded for those that are wanted, both (T,) bool.

    What lies between keyframes is counted whole. Where no other frame refers to a frame, it may be left out, and a
    little less is decoded.

    Parameters
    ----------
    wanted
        (T,) bool.
    keyframes
        (G,) int, in rising order, the first one 0: frames that decoding can start at, as `Video.keyframes`.
    """
    group = np.searchsorted(keyframes, np.arange(len(wanted)), side="right") - 1
    last = np.full(len(keyframes), -1)
    frames = np.flatnonzero(wanted)
    np.maximum.at(last, group[frames], frames)
    return np.arange(len(wanted)) <= last[group]


def reachable(gain: np.ndarray, keyframes: np.ndarray, most: int) -> np.ndarray:
    """The frames to decode, (T,) bool, where no more than so many can be: those by which most is gained.

    Keyframes come first, for each is decoded alone; but where they are too many, none has a privilege. From every
    keyframe on, frames are then decoded up to some point. What each of them brings is the slope of the least concave
    majorant of all that is gained up to it: by that, stretches of all groups are ranked, and taken while there are
    frames left. No other choice of as many frames gains more, but for the last stretch, of which a part may be left.

    Parameters
    ----------
    gain
        (T,), what a look at a frame gains, 0 or more; inf where a frame has to be decoded, however many that makes.
    keyframes
        As in `needed`.
    most
        Frames.
    """
    must = needed(np.isinf(gain), keyframes)
    cheap = must.copy()
    cheap[keyframes] = True
    if cheap.sum() <= most:
        must = cheap
    slope = np.where(must, np.inf, gain)
    lengths = np.diff(keyframes, append=len(gain))
    free = np.where(must, 0.0, gain)
    for group in np.flatnonzero((np.add.reduceat(free, keyframes) > 0) & (lengths > 1)):
        span = slice(keyframes[group], keyframes[group] + lengths[group])
        rest = slope[span][~must[span]]
        slope[span][~must[span]] = isotonic_regression(rest, increasing=False).x
    ranked = np.argsort(-slope, kind="stable")  # in order of time where slopes are equal: always up to some point
    reach = np.zeros_like(must)
    reach[ranked[: max(most, int(must.sum()))]] = True
    return reach


def keyframes_of(session: Session) -> np.ndarray:
    """`Video.keyframes` among the frames of a session; errors as in `Session.open_video`."""
    with session.open_video() as video:
        return video.keyframes[video.keyframes < session.n_frames]


def decoded_share(session: Session, looked: np.ndarray) -> float:
    """Share of the frames of a session that have to be decoded for looks (T, A); no video is opened for none."""
    wanted = np.asarray(looked.any(1))
    return float(needed(wanted, keyframes_of(session)).mean()) if wanted.any() else 0.0
