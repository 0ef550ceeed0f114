"""Bouts to review: the unsure first, spread over classes and time, and examples from different moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.ethogram import Ethogram
from napari_lookagain.naming import Naming
from napari_lookagain.review import examples, uncertain_bouts

ANIMALS = ("ann", "bob")


def made(label: np.ndarray, sure: np.ndarray, kind: str = "behavior") -> Ethogram:
    """An ethogram of (T, A) labels of three classes, each with its probability (T, A)."""
    probabilities = np.repeat((1 - sure)[..., None] / 2, 3, axis=2).astype(np.float32)
    np.put_along_axis(probabilities, label[..., None].astype(int), sure[..., None].astype(np.float32), axis=2)
    names = ("walk", "groom", "rest")
    found = Ethogram.from_labels(label, names, recording="mice", fps=10, animals=ANIMALS[: label.shape[1]])
    return replace(found, kind=kind, probabilities=probabilities)


@pytest.fixture
def ethogram() -> Ethogram:
    """Bouts of 10 frames over 3000; rest is always unsure, everything is in the first 300 frames."""
    generator = np.random.default_rng(1)
    code = np.stack([np.arange(300) % 3, (np.arange(300) + 1) % 3], axis=1)
    sure = generator.uniform(0.6, 0.9, (300, 2))
    sure[code == 2] -= 0.15
    sure[:30] -= 0.25
    return made(np.repeat(code, 10, axis=0).astype(np.int16), np.repeat(sure, 10, axis=0))


def test_the_least_sure_come_first(ethogram):
    bouts = uncertain_bouts(ethogram)
    unsure = [1 - bout.probability for bout in bouts]
    assert len(bouts) == 50
    assert unsure == sorted(unsure, reverse=True)
    every = sorted((1 - bout.probability for bout in ethogram.bouts()), reverse=True)
    assert unsure[0] == every[0]


def test_they_are_spread_over_classes_and_time(ethogram):
    bouts = uncertain_bouts(ethogram, n=30)
    for name in ethogram.names:
        own = [bout for bout in bouts if bout.behavior == name]
        assert len(own) == 10
        assert sorted(bout.start // 300 for bout in own) == list(range(10)), "one of every tenth"
    assert [bout.behavior for bout in uncertain_bouts(ethogram, n=3)].count("rest") == 1


def test_what_is_scored_or_too_short_is_left_out(ethogram):
    annotations = Annotations(3000, ANIMALS)
    annotations.assign(0, 0, 1500, "rest", "eve")
    annotations.assign(1, 0, 4, "walk", "joe")
    annotations.assign(1, 10, 15, "walk", "joe")
    bouts = uncertain_bouts(ethogram, annotations, n=1000)
    assert len(bouts) == 150 + 299
    assert not any(bout.animal == 0 and bout.start < 1500 for bout in bouts)
    starts = {bout.start for bout in bouts if bout.animal == 1}
    assert 0 in starts, "less than half of it is scored"
    assert 10 not in starts
    assert uncertain_bouts(ethogram, min_frames=11) == []
    assert uncertain_bouts(ethogram, n=0) == []


def test_bouts_that_no_model_found_are_not_unsure(ethogram):
    annotations = Annotations(3000, ANIMALS)
    annotations.assign(0, 0, 3000, "rest")
    corrected = ethogram.with_corrections(annotations)
    assert {bout.animal for bout in uncertain_bouts(corrected, n=1000)} == {1}


def test_examples_are_of_one_class_from_different_moments_and_animals(ethogram):
    bouts = examples(ethogram, 1)
    assert len(bouts) == 9
    assert {bout.behavior for bout in bouts} == {"groom"}
    assert {bout.animal for bout in bouts} == {0, 1}
    assert len({(bout.animal, bout.start * 9 // 3000) for bout in bouts}) == 9
    assert bouts == sorted(bouts, key=lambda bout: (bout.animal, bout.start))
    assert examples(ethogram, 1) == bouts
    assert examples(ethogram, 1, seed=1) != bouts
    assert len(examples(ethogram, 1, n=10_000)) == 200
    assert examples(ethogram, 1, n=0) == []


def test_examples_are_long_enough_to_see():
    label = np.repeat(np.tile([0, 1], 40), np.tile([3, 9, 30, 9], 20))[:, None].astype(np.int16)
    ethogram = made(label, np.full(label.shape, 0.8))
    assert {bout.stop - bout.start for bout in examples(ethogram, 0)} == {30}
    assert {bout.stop - bout.start for bout in examples(ethogram, 0, n=30)} == {3, 30}


def test_examples_of_clusters_follow_merges(ethogram):
    naming = Naming(replace(ethogram, kind="cluster"))
    naming.merge([0, 1])
    naming.rename(0, "move")
    bouts = examples(naming, 0)
    assert {(bout.behavior, bout.stop - bout.start) for bout in bouts} == {("move", 20)}
    assert len(examples(naming, 1)) == 9


def test_a_class_that_is_not_there(ethogram):
    with pytest.raises(InputError, match="no class 3; there are 3"):
        examples(ethogram, 3)
    never = replace(ethogram, names=(*ethogram.names, "jump"), probabilities=np.zeros((3000, 2, 4), np.float32))
    assert examples(never, 3) == []
