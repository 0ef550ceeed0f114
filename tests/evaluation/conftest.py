"""Recordings to evaluate on, and a study of a few seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.evaluation.study import Study
from napari_lookagain.session import Session, load_session


@pytest.fixture(scope="session")
def three(mice, tmp_path_factory) -> list[Session]:
    """Three sessions of the same two mice, scored a little differently; not to be changed."""
    folder = tmp_path_factory.mktemp("three")
    whole = load_session(mice)
    sessions = []
    for i, name in enumerate(("monday", "tuesday", "friday")):
        label = whole.annotations.labels().copy()
        label[40 * i : 40 * i + 10] = -1
        annotations = Annotations(whole.n_frames, whole.animals)
        annotations.set_frames(label, whole.annotations.behaviors)
        session = replace(whole, recording=name, annotations=annotations, path=None)
        session.save(folder / f"{name}.lookagain")
        sessions.append(load_session(folder / f"{name}.lookagain"))
    return sessions


@pytest.fixture(scope="session")
def study(tiny) -> Study:
    """LookAgain, its clusters and trees, two seeds, each recording held out once."""
    settings: dict[str, Any] = {
        f"{section}.{key}": value
        for section, values in tiny().model_dump(exclude_unset=True).items()
        for key, value in values.items()
    }
    arms = {
        "LookAgain": {},
        "top-k": {"budgets": [0.25], "settings": {"look.select": "topk"}},
        "clusters": {"discover": True, "budgets": [0]},
        "trees": {"method": "trees", "settings": {"members": 1, "rounds": 3}},
    }
    return Study.parse({"settings": settings, "seeds": [0, 1], "folds": 3, "budgets": [0, 0.25], "arms": arms})
