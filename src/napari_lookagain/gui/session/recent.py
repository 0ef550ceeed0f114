"""What the plugin remembers from one day to the next: sessions opened lately, and how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSettings

_MOST = 8


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-lookagain", "lookagain")


def recent_sessions() -> list[Path]:
    """Session folders opened lately, the latest first; those that are gone are left out."""
    return [Path(path) for path in _read("sessions", list) if Path(path, "session.json").is_file()]


def remember_session(folder: Path) -> None:
    """Put a session folder at the top of those opened lately."""
    others = [str(path) for path in recent_sessions() if path != folder]
    _settings().setValue("sessions", json.dumps([str(folder), *others][:_MOST]))


def known_factors() -> dict[str, float]:
    """How much slower than expected the stages of a run were on this machine; see `cost.Forecast`."""
    return {key: float(value) for key, value in _read("factors", dict).items() if isinstance(value, int | float)}


def remember_factors(factors: dict[str, float]) -> None:
    """Keep what a run has found out about this machine."""
    _settings().setValue("factors", json.dumps(known_factors() | factors))


def _read(name: str, kind: type) -> Any:
    """A value that was kept; an empty one when there is none, or someone has written nonsense there."""
    try:
        value = json.loads(str(_settings().value(name, "")))
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()
