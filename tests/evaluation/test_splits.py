"""What is held out: whole recordings, the end of a single one, and labels that are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.evaluation.splits import Split, first_part, keep_labels, splits


@given(st.integers(2, 12), st.integers(2, 15))
def test_every_recording_is_held_out_once_and_never_learnt_from_then(n, folds):
    parts = splits([100] * n, folds, 0.4, 10)
    assert sorted(i for part in parts for i in part.test) == list(range(n))
    for part in parts:
        assert not set(part.train) & set(part.test)
        assert set(part.train) | set(part.test) == set(range(n))
        assert part.train
        assert part.stop is None


def test_seven_recordings_in_three_groups_and_in_one_split():
    assert [part.test for part in splits([9] * 7, 3, 0.4, 0)] == [(0, 3, 6), (1, 4), (2, 5)]
    assert splits([9] * 7, 1, 0.4, 0) == [Split((0, 1, 2, 3), (4, 5, 6))]
    assert splits([9] * 2, 1, 0.9, 0) == [Split((0,), (1,))]


def test_a_single_recording_is_split_in_time_with_a_gap():
    assert splits([1000], 3, 0.4, 100) == [Split((0,), (0,), stop=500, start=600)]
    with pytest.raises(InputError, match="too few to hold 40% out after a gap of 100"):
        splits([300], 3, 0.4, 100)


def test_the_first_part_of_a_recording_has_its_frames_and_labels(session):
    part = first_part(session, 120)
    assert part.n_frames == 120
    assert part.path is None
    np.testing.assert_array_equal(part.keypoints, session.keypoints[:120])
    scored, behaviors = session.annotations.labels(), session.annotations.behaviors
    own = part.annotations.labels()
    for code, name in enumerate(part.annotations.behaviors):
        np.testing.assert_array_equal(own == code, scored[:120] == behaviors.index(name))


@pytest.fixture
def scored(session):
    """Two recordings; a behavior that is rare is in one of them, for ten frames."""
    label = np.repeat(np.arange(300)[:, None] // 60 % 2, 2, axis=1)
    first, second = Annotations(300, session.animals), Annotations(300, session.animals)
    first.set_frames(label, ("walk", "rest"))
    label = label.copy()
    label[200:] = -1
    label[150:160, 1] = 2
    second.set_frames(label, ("walk", "rest", "jump"))
    return [replace(session, annotations=each) for each in (first, second)]


def _names(session):
    label = session.annotations.labels()
    return np.where(label < 0, "", np.array([*session.annotations.behaviors, ""])[label])


def test_fewer_labels_are_a_part_of_more_and_lose_no_behavior(scored):
    everything = [_names(session) for session in scored]
    total = sum((names != "").sum() for names in everything)
    before = [np.zeros(names.shape, bool) for names in everything]
    for fraction in (0.05, 0.3, 0.6, 0.9):
        kept = [_names(session) for session in keep_labels(scored, fraction, 1, block=20)]
        for own, full, fewer in zip(kept, everything, before, strict=True):
            assert ((own == full) | (own == "")).all()
            assert (own[fewer] == full[fewer]).all()
        assert {"walk", "rest", "jump"} <= set(np.concatenate([names.ravel() for names in kept]))
        share = sum((names != "").sum() for names in kept) / total
        assert fraction <= share <= fraction + 0.1
        before = [names != "" for names in kept]


def test_another_seed_keeps_other_labels_and_the_session_stays_as_it_is(scored):
    before = [_names(session) for session in scored]
    one, other = (keep_labels(scored, 0.3, seed, block=20) for seed in (0, 1))
    assert any((_names(a) != _names(b)).any() for a, b in zip(one, other, strict=True))
    for session, names in zip(scored, before, strict=True):
        np.testing.assert_array_equal(_names(session), names)
    assert all(a is b for a, b in zip(keep_labels(scored, 1, 0), scored, strict=True))
