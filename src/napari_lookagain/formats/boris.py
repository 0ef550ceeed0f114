"""Bouts in the layout of BORIS' tabular events, for what people do with such tables; `read_labels` reads it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from napari_lookagain.annotations import Bout

_OBSERVATION = ("Observation id", "Observation date", "Description", "Observation duration", "Observation type")
_MEDIA = ("Source", "Time offset (s)", "Media duration (s)", "FPS")
_EVENT = ("Subject", "Behavior", "Behavioral category", "Behavior type", "Time")
_FRAME = ("Media file name", "Image index", "Image file path", "Comment")
BORIS_COLUMNS = _OBSERVATION + _MEDIA + _EVENT + _FRAME
_NOTHING = "NA"  # what BORIS writes where there is none


def boris_table(
    bouts: Iterable[Bout],
    *,
    recording: str,
    animals: Sequence[str],
    fps: float,
    n_frames: int,
    video: str | None = None,
) -> pd.DataFrame:
    """Tabulate bouts as BORIS does state events: a row where one starts and a row where it stops, by time.

    Parameters
    ----------
    bouts
        Of `Ethogram.bouts` or `Annotations.bouts`.
    recording, animals, fps, n_frames, video
        Of the recording; the animal is the subject.

    Returns
    -------
    DataFrame
        Columns `BORIS_COLUMNS`. A bout stops at the time of the first frame after it, so that its duration is whole;
        ``Image index`` is that frame, counted from 0. ``Comment`` tells who says so: a rater, or ``model``.
    """
    duration = round(n_frames / fps, 6)
    media = video or _NOTHING
    observation = {
        "Observation id": recording,
        "Observation date": "",
        "Description": "",
        "Observation duration": duration,
        "Observation type": "Media file(s)" if video else "Live observation",
        "Source": f"player #1:{video}" if video else _NOTHING,
        "Time offset (s)": 0.0,
        "Media duration (s)": duration if video else _NOTHING,
        "FPS": fps,
        "Behavioral category": "",
        "Media file name": media,
        "Image file path": _NOTHING,
    }
    events = [(frame, status, bout) for bout in bouts for frame, status in ((bout.start, "START"), (bout.stop, "STOP"))]
    events.sort(key=lambda event: (event[0], event[1] == "START"))  # what stops makes place for what starts
    rows: list[dict[str, Any]] = [
        observation
        | {
            "Subject": animals[bout.animal],
            "Behavior": bout.behavior,
            "Behavior type": status,
            "Time": round(frame / fps, 6),
            "Image index": frame,
            "Comment": bout.source,
        }
        for frame, status, bout in events
    ]
    return pd.DataFrame(rows, columns=list(BORIS_COLUMNS))
