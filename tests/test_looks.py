"""Pins and mutes: what is said last holds, it is kept in the session, and runs go by it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from napari_lookagain.allocation import choose_looks
from napari_lookagain.cost import count_looks, look_again, looks_of, segmentation
from napari_lookagain.errors import InputError
from napari_lookagain.looks import LookWishes, keep_wishes, wishes_of
from napari_lookagain.motion_pass import MotionPass

NOTHING = LookWishes(100, ("mouse1", "mouse2"))


def test_the_wish_that_came_last_holds():
    wishes = NOTHING.mute(0, 50).pin(10, 12, "mouse2").mute(11, 20)
    pinned, muted = wishes.masks()
    assert np.argwhere(pinned).tolist() == [[10, 1]]
    assert (muted[:50].sum(0).tolist(), muted[50:].any()) == ([50, 49], False)
    assert not (pinned & muted).any()
    assert wishes.told() == {"pinned": ["10-12 of mouse2"], "muted": ["0-50", "11-20"]}


def test_wishes_are_forgotten_for_one_animal_or_for_all():
    wishes = NOTHING.mute(0, 50).pin(10, 12, "mouse2").mute(3, 4, "mouse1")
    assert wishes.clear("mouse2") == NOTHING.mute(0, 50).mute(3, 4, "mouse1")
    assert wishes.clear() == NOTHING


@pytest.mark.parametrize("animal", [None, "mouse1", "mouse2"])
@pytest.mark.parametrize(("start", "stop"), [(0, 100), (5, 11), (10, 12), (15, 40), (60, 70)])
def test_released_frames_are_the_gate_s_and_all_others_stay(start, stop, animal):
    wishes = NOTHING.mute(0, 50).pin(10, 12, "mouse2").pin(11, 20).mute(60, 70, "mouse1")
    expected = np.stack(wishes.masks())
    expected[:, start:stop, slice(None) if animal is None else NOTHING.animals.index(animal)] = False
    assert (np.stack(wishes.release(start, stop, animal).masks()) == expected).all()


def test_what_is_released_is_told_no_more():
    wishes = NOTHING.mute(0, 50).pin(60, 62, "mouse2")
    assert wishes.release(10, 20, "mouse1").told()["muted"] == ["0-10", "10-20 of mouse2", "20-50"]
    assert wishes.release(0, 100) == NOTHING
    assert wishes.release(60, 62, "mouse1") == wishes
    with pytest.raises(InputError, match="Frames 5 to 5 cannot be meant by a release"):
        wishes.release(5, 5)


@pytest.mark.parametrize("budget", [0.0, 0.07, 0.25, 1.0])
@pytest.mark.parametrize("scope", ["window", "recording"])
def test_looks_are_counted_with_pins_and_mutes(budget, scope, tiny):
    gate = np.random.default_rng(0).normal(size=(2, 100, 4)).astype(np.float32)
    pinned, muted = NOTHING.mute(40, 90).pin(0, 30, "mouse1").pin(95, 96).masks()
    model = SimpleNamespace(config=tiny())
    looked = choose_looks(model, MotionPass(gate, gate), budget, scope, pinned=pinned, muted=muted)
    counts = [count_looks(100, 32, budget, scope, pinned=pinned[:, i], muted=muted[:, i]) for i in range(2)]
    assert counts == looked.sum(0).tolist()


def test_what_a_look_will_cost_counts_pins_and_mutes(session, tiny):
    config = tiny()
    assert looks_of(session, config, 0.25) == [75, 75]
    keep_wishes(session, wishes_of(session).pin(0, 64, "mouse1").mute(100, 300, "mouse2"))
    fewer = looks_of(session, config, 0.25)
    assert fewer == [75 + 2 * (32 - 8), 25]
    assert {part.stage: part.steps for part in look_again(session, config, 0.25)}["looking at the video"] == sum(fewer)


def test_what_a_look_will_cost_knows_what_may_be_decoded(session, tiny):
    free, limited = (tiny(look={"scope": "recording", "decode": share}) for share in (1.0, 0.1))
    assert looks_of(session, free, 0.05) == looks_of(session, limited, 0.05) == [15, 15]
    assert (looks_of(session, free, 0.25), looks_of(session, limited, 0.25)) == ([75, 75], [30, 30])
    costs = [{part.stage: part for part in look_again(session, config, 0.05)} for config in (free, limited)]
    assert costs[1]["looking at the video"].seconds < costs[0]["looking at the video"].seconds
    taught = [
        next(part for part in segmentation(session, config) if "looking" in part.stage) for config in (free, limited)
    ]
    assert taught[0] == taught[1], "what is learnt from is not limited"
    keep_wishes(session, wishes_of(session).pin(0, 64, "mouse1"))
    assert looks_of(session, limited, 0.25) == [64, 30], "what is pinned is looked at whatever it needs"


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 5), (6, 5), (90, 101)])
def test_frames_that_are_not_there_are_refused(start, stop):
    with pytest.raises(InputError, match=f"Frames {start} to {stop} cannot be meant by a mute.*0 to 99"):
        NOTHING.mute(start, stop)


def test_an_animal_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no animal 'rat'; the animals are: mouse1, mouse2"):
        NOTHING.pin(0, 1, "rat")


def test_wishes_are_kept_with_the_session(session):
    assert wishes_of(session) == LookWishes(session.n_frames, session.animals)
    wishes = wishes_of(session).pin(5, 9, session.animals[1]).mute(100, 200)
    keep_wishes(session, wishes)
    assert wishes_of(session) == wishes
    session.path = None
    assert wishes_of(session).wishes == ()
    with pytest.raises(InputError, match="in memory only; save it first"):
        keep_wishes(session, wishes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema": 1}', "is damaged"),
        ('{"schema": 1, "wishes": [{"what": "pin"}]}', "is damaged"),
        ('{"schema": 1, "wishes": [{"what": "pin", "start": "a", "stop": 2}]}', "is damaged"),
        ('{"schema": 1, "wishes": [{"what": "see", "start": 1, "stop": 2}]}', "expected pin or mute"),
        ('{"schema": 1, "wishes": [{"what": "pin", "start": 1, "stop": 1000}]}', "has frames 0 to 299"),
        ('{"schema": 2, "wishes": []}', "newer version"),
    ],
)
def test_a_damaged_file_is_told(session, text, message):
    (session.path / "looks.json").write_text(text)
    with pytest.raises(InputError, match=message):
        wishes_of(session)


def test_the_command_line_pins_and_mutes(session, lookagain):
    told = lookagain("looks", session.path, "--pin", "100,200-210", "--mute", "50-90", "--json")
    assert json.loads(told.out) == {"recording": "mice", "pinned": ["100-101", "200-210"], "muted": ["50-90"]}
    told = lookagain("looks", session.path, "--mute", "5-9", "--animal", "mouse2", "--json")
    assert json.loads(told.out)["muted"] == ["50-90", "5-9 of mouse2"]
    assert json.loads(lookagain("info", session.path, "--json").out)["pinned"] == ["100-101", "200-210"]
    assert json.loads(lookagain("looks", session.path, "--clear", "--json").out)["muted"] == []
    for wrong in ("5-4", "x", "1,,2", "290-301"):
        told = lookagain("looks", session.path, "--pin", wrong)
        assert (told.status, told.out) == (2, ""), told.err
    assert wishes_of(session).wishes == ()
