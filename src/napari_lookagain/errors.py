"""The one kind of error a user is meant to read."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, told in one sentence: what was got, what was expected and what to do."""
