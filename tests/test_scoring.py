"""Keys of behaviors, agreeing with a model, and bouts one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations, Bout
from napari_lookagain.cluster_classes import ClusterClass
from napari_lookagain.scoring import KEYS, accepted, bout_beside, count_scored, scoring_keys


def cluster(name: str, key: str = "", behavior: str | None = None) -> ClusterClass:
    return ClusterClass(name, "#000000", key, behavior=behavior)


@pytest.mark.parametrize(
    ("behaviors", "clusters", "keys"),
    [
        ([], [], {"0": "background"}),
        (["walk", "background", "groom"], [], {"1": "walk", "2": "groom", "0": "background"}),
        (["walk"], [cluster("a"), cluster("b", "7")], {"1": "walk", "7": "b", "0": "background"}),
        (["walk"], [cluster("a", "7", "walk")], {"7": "walk", "0": "background"}),
        (
            ["walk", "groom", "rest"],
            [cluster("a", "1"), cluster("b", "4")],
            {"1": "a", "2": "groom", "3": "rest", "4": "b", "5": "walk", "0": "background"},
        ),
    ],
)
def test_keys(behaviors, clusters, keys):
    assert scoring_keys(behaviors, clusters) == keys


def test_a_new_behavior_leaves_keys_as_they_are():
    names = [f"behavior {i}" for i in range(len(KEYS) + 3)]
    for n in range(len(names)):
        before, after = scoring_keys(names[:n]), scoring_keys(names[: n + 1])
        assert before.items() <= after.items()
    assert len(after) == len(KEYS) + 1


def test_what_is_scored_is_counted():
    annotations = Annotations(20, ("ann", "bob"))
    assert count_scored(annotations) == {}
    annotations.assign(0, 0, 8, "walk", "eve")
    annotations.assign(1, 5, 10, "rest", "eve")
    annotations.assign(0, 4, 6, "rest", "joe")
    assert count_scored(annotations) == {"walk": 6, "rest": 7}
    annotations.clear(0, 0, 20, "eve")
    annotations.clear(0, 0, 20, "joe")
    assert count_scored(annotations) == {"walk": 0, "rest": 5}


def test_agreeing_takes_over_bouts_within_the_frames_and_nothing_else():
    label = np.array([[0, -1], [0, 1], [1, 1], [-1, 1], [1, -1]])
    names = ("walk", "rest")
    rest = [Bout(0, "rest", 2, 3, "eve"), Bout(0, "rest", 4, 5, "eve")]
    assert accepted(label, names, 0, 1, 5, "eve") == [Bout(0, "walk", 1, 2, "eve"), *rest]
    assert accepted(label, names, 1, 0, 1) == []


def test_bouts_of_a_class_come_by_time_and_animal():
    label = np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 0], [0, 0], [1, 1]])
    forward, place = [], (0, -1)
    while (found := bout_beside(label, 1, *place)) is not None:
        forward.append(found)
        place = found[1], found[0]
    assert forward == [(0, 0, 2), (1, 1, 4), (0, 3, 5), (0, 6, 7), (1, 6, 7)]
    backward = [forward[-1]]
    while (found := bout_beside(label, 1, backward[-1][1], backward[-1][0], -1)) is not None:
        backward.append(found)
    assert backward == forward[::-1]
    assert bout_beside(label, 5, 0, 0) is None
