"""Which clusters of two runs are the same, and what is carried over between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_lookagain.colors import CLUSTER_COLORS
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.matching import carry_over
from napari_lookagain.naming import Naming


def found(*columns: list[int]) -> Ethogram:
    """An ethogram of as many clusters as there are numbers in the columns, one for each animal."""
    label = np.array(columns, np.int16).T
    names = [f"cluster {i + 1}" for i in range(label.max() + 1)]
    animals = [f"mouse{i + 1}" for i in range(len(columns))]
    made = Ethogram.from_labels(label, names, recording="mice", fps=10, animals=animals)
    return replace(made, kind="cluster")


@pytest.fixture
def old() -> Naming:
    return Naming(found([0] * 10 + [1] * 10 + [2] * 10, [0] * 15 + [2] * 15))


@pytest.fixture
def new(tmp_path) -> Naming:
    """Cluster 0 is the old 2, 1 the old 0 but for four frames, 2 half of the old 1, 3 the other half."""
    return Naming(found([1] * 10 + [2] * 5 + [3] * 5 + [0] * 10, [1] * 11 + [3] * 4 + [0] * 15), tmp_path)


def test_what_was_said_holds_for_the_same_cluster_in_a_new_run(old, new, tmp_path):
    old.change({0: {"name": "walk", "color": "#123456", "key": "1", "description": "fast", "behavior": "locomotion"}})
    [carried] = carry_over(old, new)
    assert (carried.index, carried.name, carried.was) == (1, "walk", "cluster 2")
    assert carried.overlap == pytest.approx(21 / 25)
    assert new.classes[1] == old.classes[0]
    assert new.names == ("cluster 1", "walk", "cluster 3", "cluster 4")
    assert Naming(new.found, tmp_path).names == new.names
    assert new.undo(), "it is one act"
    assert new.classes == new.original


def test_a_cluster_in_two_halves_is_not_the_same(old, new):
    old.rename(1, "groom")
    assert carry_over(old, new) == []
    assert not new.undo()


def test_nothing_said_is_nothing_carried(old, new):
    assert carry_over(old, new) == []


def test_a_color_or_key_alone_leaves_the_name(old, new):
    old.recolor(2, "#abcdef")
    old.set_key(0, "4")
    assert [(each.index, each.name) for each in carry_over(old, new)] == [(0, "cluster 1"), (1, "cluster 2")]
    assert (new.classes[0].color, new.classes[1].key) == ("#abcdef", "4")


def test_colors_stay_different(old, new):
    old.rename(2, "rest")
    carry_over(old, new)
    assert new.classes[0].color == CLUSTER_COLORS[2] == old.classes[2].color
    assert new.classes[2].color == CLUSTER_COLORS[0]
    assert len({each.color for each in new.classes}) == 4


def test_colors_and_names_change_places(old):
    new = Naming(replace(old.found, label=np.array([2, 0, 1], np.int16)[old.label]))
    for index, name in enumerate(("walk", "groom", "rest")):
        old.rename(index, name)
    assert len(carry_over(old, new)) == 3
    assert new.names == ("groom", "rest", "walk")
    assert [each.color for each in new.classes] == [old.classes[i].color for i in (1, 2, 0)]


def test_what_is_said_of_the_new_run_stays(old, new):
    old.change({0: {"name": "walk", "key": "1"}, 2: {"name": "rest", "key": "2"}})
    new.rename(1, "stroll")
    new.change({3: {"name": "rest", "key": "2"}})
    [carried] = carry_over(old, new)
    assert (carried.index, carried.name) == (0, "cluster 1"), "another cluster is called rest"
    assert new.names == ("cluster 1", "stroll", "cluster 3", "rest")
    assert [each.key for each in new.classes] == ["", "", "", "2"]
    assert carry_over(old, new) == []


def test_merged_clusters_are_matched_as_one(old, new):
    new.merge([2, 3])
    old.rename(1, "groom")
    [carried] = carry_over(old, new)
    assert (carried.name, carried.overlap) == ("groom", pytest.approx(10 / 14))


def test_runs_of_two_recordings_are_refused(old):
    with pytest.raises(InputError, match="of one recording only"):
        carry_over(old, Naming(found([0, 1, 2])))
