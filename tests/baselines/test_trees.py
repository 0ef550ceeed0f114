"""Boosted trees: what they learn from, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_lookagain.annotations import Annotations
from napari_lookagain.baselines import trees as module
from napari_lookagain.baselines.trees import Trees, TreesConfig
from napari_lookagain.errors import InputError
from napari_lookagain.progress import drain

SMALL = TreesConfig(members=2, rounds=15, leaves=6)


def fit(sessions, folder, config=SMALL, seed=0):
    return drain(Trees(config).fit(sessions, folder, seed=seed, device="cpu"))


def test_what_was_learnt_is_told_in_another_recording(walk, agreement, tmp_path):
    labeler = fit([walk(0), walk(1)], tmp_path)
    other = walk(2)
    ethogram = drain(labeler.label(other))
    assert agreement(ethogram, other) > 0.9
    assert (ethogram.kind, set(ethogram.names), ethogram.animals) == ("behavior", {"walk", "rest"}, ("a",))
    assert not ethogram.looked.any()
    assert np.isnan(ethogram.gate_score).all()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=2e-3)
    np.testing.assert_array_equal(ethogram.label, ethogram.probabilities.argmax(-1))
    assert list(tmp_path.iterdir()) == []


def test_recordings_with_other_numbers_of_animals(walk, agreement, tmp_path):
    labeler = fit([walk(0), walk(1, n_animals=3)], tmp_path)
    for other in (walk(2), walk(3, n_animals=2)):
        assert agreement(drain(labeler.label(other)), other) > 0.85


def test_a_seed_gives_one_result(walk, tmp_path):
    session = walk(0, 200)
    told = [drain(fit([session], tmp_path, seed=seed).label(session)).probabilities for seed in (0, 0, 1)]
    np.testing.assert_array_equal(told[0], told[1])
    assert (told[0] != told[2]).any()


def test_unscored_frames_teach_nothing(walk, agreement, tmp_path):
    session = walk(0)
    labels = session.annotations.labels()
    labels[100:] = -1  # of the rest, nothing may be learnt
    annotations = Annotations(session.n_frames, session.animals)
    annotations.set_frames(labels, session.annotations.behaviors, "ann")
    keypoints = session.keypoints.copy()
    keypoints[130:] = np.random.default_rng(0).normal(size=keypoints[130:].shape)  # beyond any window
    scored = replace(session, annotations=annotations)
    garbled = replace(scored, keypoints=keypoints)
    garbled.body_length = scored.body_length  # which is of all frames
    other = walk(2)
    told = [drain(fit([each], tmp_path).label(other)) for each in (scored, garbled)]
    np.testing.assert_array_equal(told[0].probabilities, told[1].probabilities)
    assert agreement(told[0], other) > 0.7


def test_members_learn_from_other_frames_when_there_are_enough(walk, tmp_path, monkeypatch):
    seen = []

    def remember(config, x, y, seed, member):
        seen.append(x)
        return grow(config, x, y, seed, member)

    grow = module._grow
    monkeypatch.setattr(module, "_grow", remember)
    session = walk(0, 200)
    fit([session], tmp_path)
    assert [len(x) for x in seen] == [200, 200]
    monkeypatch.setattr(module, "ENOUGH", 30)
    fit([session], tmp_path)
    assert [len(x) for x in seen[2:]] == [34, 34], "six parts would leave enough, and eight are asked for"
    fit([session], tmp_path, SMALL.model_copy(update={"step": 0.1}))
    assert [len(x) for x in seen[4:]] == [100, 100], "two frames are a tenth of a second"
    rows = [set(map(bytes, x)) for x in seen]
    assert not rows[2] & rows[3]
    assert rows[4] | rows[5] == rows[0]


def test_boosting_in_steps_is_boosting_at_once(walk, tmp_path, monkeypatch):
    session = walk(0, 200)
    told = []
    for rounds in (4, 100):
        monkeypatch.setattr(module, "ROUNDS", rounds)
        steps = list(Trees(SMALL).fit([session], tmp_path, seed=0, device="cpu"))
        growing = [step.done for step in steps if step.stage == "growing trees"]
        assert growing == ([4, 8, 12, 15, 19, 23, 27, 30] if rounds == 4 else [15, 30])
        told.append(drain(fit([session], tmp_path).label(session)).probabilities.astype(float))
    np.testing.assert_allclose(told[0], told[1], atol=5e-3)


@pytest.mark.parametrize("changes", [{"balanced": True}, {"windows": (0.3, 1.0)}, {"windows": ()}])
def test_options(walk, agreement, tmp_path, changes):
    session, other = walk(0, 200), walk(2, 200)
    labeler = fit([session], tmp_path, SMALL.model_copy(update={"members": 1, "rounds": 8} | changes))
    assert labeler.windows(session) == [round(20 * seconds) for seconds in changes.get("windows", (1.0,))]
    assert agreement(drain(labeler.label(other)), other) > 0.8


def test_balanced_trees_tell_the_rare_more_often(walk, tmp_path):
    rng = np.random.default_rng(0)
    session = walk(0, 200)
    annotations = Annotations(session.n_frames, session.animals)
    annotations.set_frames((rng.random((200, 1)) < 0.1).astype(int), ["often", "rare"], "ann")  # nothing shows it
    session = replace(session, annotations=annotations)
    plain, balanced = (
        drain(fit([session], tmp_path, SMALL.model_copy(update={"rounds": 3, "balanced": each})).label(session))
        for each in (False, True)
    )
    assert plain.names == balanced.names == ("often", "rare")
    assert balanced.probabilities[..., 1].mean() > plain.probabilities[..., 1].mean() + 0.1


def test_early_stopping(walk, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 15)
    session = walk(0, 200)
    config = SMALL.model_copy(update={"members": 1, "rounds": 60, "early_stopping": True, "learning_rate": 1.0})
    assert fit([session], tmp_path, config).members[0].n_iter_ < 60


def test_windows_have_a_length():
    with pytest.raises(InputError, match="windows"):
        TreesConfig.parse({"windows": [0.0]})


def test_gaps_are_read_as_gaps(walk, agreement, tmp_path):
    session, other = walk(0), walk(2)
    keypoints = other.keypoints.copy()
    keypoints[::5, :, 2] = np.nan
    keypoints[40:44] = np.nan
    gappy = replace(other, keypoints=keypoints, confidence=np.isfinite(keypoints[..., 0]).astype(np.float32))
    assert agreement(drain(fit([session], tmp_path).label(gappy)), gappy) > 0.8


def test_other_keypoints_are_refused(walk, tmp_path):
    session = walk(0)
    other = replace(walk(1), keypoint_names=("tail", "nose", "port", "starboard"))
    with pytest.raises(InputError, match="walk 1 has the keypoints tail, nose, port, starboard"):
        fit([session, other], tmp_path)
    labeler = fit([session], tmp_path)
    with pytest.raises(InputError, match="walk 1 has the keypoints tail, nose, port, starboard"):
        drain(labeler.label(other))


def test_nothing_tracked_or_scored_is_refused(walk, untracked, tmp_path):
    session = walk(0)
    silent = replace(session, annotations=Annotations(session.n_frames, session.animals))
    with pytest.raises(InputError, match="no frame is scored"):
        fit([silent], tmp_path)
    untracked.annotations.set_frames(np.arange(untracked.n_frames)[:, None] % 2, ["walk", "rest"], "ann")
    with pytest.raises(InputError, match="untracked has no keypoints"):
        fit([untracked], tmp_path)
