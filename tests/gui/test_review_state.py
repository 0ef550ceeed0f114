"""One order of undo over all that a person does in a session, and what survives closing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lookagain.gui.present import prepare
from napari_lookagain.gui.state import Selection, SessionState
from napari_lookagain.session import load_session


@pytest.fixture
def kept(session, clusters, behaviors) -> SessionState:
    """The state of a session with a finished run of clusters and one of behaviors on disk."""
    clusters.save(session.run_folder("segment") / "ethogram.npz")
    behaviors.save(session.run_folder("behavior") / "ethogram.npz")
    return prepare(session)[0]


def content(state: SessionState) -> tuple:
    return (
        state.session.annotations.behaviors,
        state.session.annotations.labels().tolist(),
        np.nan_to_num(state.session.keypoints[7]).tolist(),
        state.naming.classes,
        state.naming.label.tolist(),
    )


def act(state: SessionState) -> list[tuple]:
    """Do one thing after the other, in all that can be undone; what stood before each."""
    past = []
    for thing in (
        lambda: state.assign(Selection(0, 10, 20), "sniff"),
        lambda: state.name(lambda naming: naming.rename(0, "trot")),
        lambda: state.move_keypoint(7, 0, 0, (3.0, 4.0)),
        lambda: state.name(lambda naming: naming.merge([1, 2])),
        lambda: state.assign(Selection(1, 0, 300), None),
        lambda: state.rename_behavior("sniff", "smell"),
        lambda: state.accept(Selection(0, 100, 140)),
        lambda: state.move_keypoint(7, 1, 2, None),
    ):
        past.append(content(state))
        thing()
    return past


def test_everything_is_undone_in_one_order_after_closing_too(kept):
    past = act(kept)
    future = content(kept)
    for _ in range(2):
        state = prepare(load_session(kept.session.path))[0]
        for before in reversed(past):
            assert state.undo()
            assert content(state) == before
        for before in [*past[1:], future]:
            assert state.redo()
            assert content(state) == before
        assert not state.redo()


def test_a_new_act_ends_redoing(kept):
    kept.name(lambda naming: naming.rename(0, "trot"))
    assert kept.undo()
    kept.assign(Selection(0, 10, 20), "sniff")
    assert not kept.redo()
    assert kept.undo()
    assert kept.naming.names[0] == "cluster 1"


def test_all_that_changes_is_told(kept):
    heard = []
    kept.labels_changed.connect(lambda *span: heard.append(("labels", *span)))
    kept.classes_changed.connect(lambda: heard.append("classes"))
    kept.keypoints_changed.connect(lambda frame: heard.append(("keypoints", frame)))
    kept.assign(Selection(0, 10, 20), "sniff")
    assert heard == ["classes", ("labels", 0, 10, 20)]
    kept.undo()
    assert heard[2:] == ["classes", ("labels", 0, 10, 20)]
    heard.clear()
    kept.move_keypoint(7, 0, 0, (3.0, 4.0))
    kept.undo()
    kept.redo()
    assert heard == [("keypoints", 7)] * 3
    heard.clear()
    kept.name(lambda naming: naming.rename(0, "trot"))
    kept.undo()
    assert heard == ["classes", "classes"]


def test_accepting_takes_the_prediction_and_leaves_it(kept):
    before = kept.predicted.label.copy()
    assert kept.accept(Selection(1, 50, 150))
    names = kept.session.annotations.behaviors
    scored = [names[code] for code in kept.session.annotations.labels()[50:150, 1]]
    assert scored == [kept.predicted.names[code] for code in before[50:150, 1]]
    np.testing.assert_array_equal(kept.predicted.label, before)
    kept.undo()
    assert kept.session.annotations.scored_by()[60, 1] == 0


def test_clusters_are_accepted_once_somebody_has_said_what_they_are(session, clusters):
    state = SessionState(session)
    assert not state.accept(Selection(0, 0, 10))
    state.show(clusters)
    assert not state.accept(Selection(0, 0, 60))
    state.name(lambda naming: naming.assign(0, "trot"))
    assert state.behaviors[-1] == "trot"
    assert state.accept(Selection(0, 0, 60))
    annotations = session.annotations
    assert [(b.behavior, b.start, b.stop) for b in annotations.bouts("user")] == [("trot", 0, 30)]


def test_keys_of_clusters_score_what_they_are(kept):
    kept.name(lambda naming: naming.set_key(1, "9"))
    assert kept.keys["9"] == "cluster 2"
    kept.name(lambda naming: naming.assign(1, "trot"))
    assert kept.keys["9"] == "trot"
    assert list(kept.keys.values()).count("trot") == 1
