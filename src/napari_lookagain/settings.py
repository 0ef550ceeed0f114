"""Settings in sections: frozen, saved as plain values, and every mistake told in one sentence."""

from __future__ import annotations

import difflib
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_lookagain.errors import InputError


class Section(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def parse(cls, settings: dict[str, Any]) -> Self:
        """Settings from plain values, as read from ``config.json``.

        Raises
        ------
        InputError
            When a key is unknown (the nearest known one is named) or a value is out of its bounds.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise InputError(_sentence(cls, error)) from error


class Settings(Section):
    """Sections of settings that belong together."""

    def updated(self, **changes: Any) -> Self:
        """These settings with some changed, section by section: ``config.updated(look={"budget": 0.1})``."""
        settings = self.model_dump()
        for section, values in changes.items():
            settings[section] = {**settings.get(section, {}), **values}
        return self.parse(settings)


def by_section(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"look.select": "topk"}`` as ``{"look": {"select": "topk"}}``.

    Raises
    ------
    InputError
        When a name has no section.
    """
    out: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, dot, key = name.partition(".")
        if not dot:
            raise InputError(f"The setting {name!r} has no section; expected SECTION.KEY such as look.select.")
        out.setdefault(section, {})[key] = value
    return out


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    """Say in one sentence what is wrong with settings: the value and its bounds, or the nearest known key."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] == "value_error":
        of = f" of {name}" if name else ""
        return f"The settings{of} do not fit each other: {first['ctx']['error']}."
    if first["type"] != "extra_forbidden":
        return f"The setting {name} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}."
    section: Any = model
    for part in path[:-1]:
        table = get_origin(section) is dict  # of sections with names
        section = get_args(section)[1] if table else section.model_fields[part].annotation
    near = difflib.get_close_matches(path[-1], section.model_fields, n=1, cutoff=0.0)
    return f"There is no setting {name!r}; the nearest is {'.'.join([*path[:-1], *near])!r}."
