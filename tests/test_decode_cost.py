"""A limit of decoding: what looks need, which frames are worth it, and that a video is decoded no further."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from napari_lookagain.allocation import choose_looks
from napari_lookagain.annotations import Annotations
from napari_lookagain.config import LookConfig
from napari_lookagain.decode_cost import decoded_share, keyframes_of, needed, reachable
from napari_lookagain.errors import InputError
from napari_lookagain.looks import keep_wishes, wishes_of
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.motion_pass import MotionPass
from napari_lookagain.predict import predict
from napari_lookagain.progress import drain
from napari_lookagain.runs import predict_all, segment
from napari_lookagain.video import Video
from napari_lookagain.vision.encoder import load_encoder

RECORDING = {"scope": "recording", "device": "cpu"}


@st.composite
def groups(draw, longest=60):
    """Number of frames, and keyframes among them."""
    n = draw(st.integers(1, longest))
    return n, np.array([0, *sorted(draw(st.sets(st.integers(1, max(n - 1, 1)), max_size=8)) - {n})])


def group_of(keyframes, n):
    return np.searchsorted(keyframes, np.arange(n), side="right") - 1


def is_reached_from_keyframes(reach, keyframes):
    return (needed(reach, keyframes) == reach).all()


@given(groups(), st.data())
def test_all_from_the_keyframe_on_is_needed(sizes, data):
    n, keyframes = sizes
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    group = group_of(keyframes, n)
    truth = [any(wanted[i] and group[i] == group[t] and i >= t for i in range(n)) for t in range(n)]
    assert needed(wanted, keyframes).tolist() == truth


@settings(max_examples=60, deadline=None)
@given(groups(longest=9), st.data())
def test_what_is_reached_gains_as_much_as_the_best_of_all_choices(sizes, data):
    n, keyframes = sizes
    gain = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)), float)
    stops, few = np.append(keyframes[1:], n), len(keyframes)
    best = np.zeros(n + 1)  # by frames decoded, keyframes among them
    for cuts in product(*(range(start + 1, stop + 1) for start, stop in zip(keyframes, stops, strict=True))):
        spans = [slice(start, cut) for start, cut in zip(keyframes, cuts, strict=True)]
        frames = sum(span.stop - span.start for span in spans)
        best[frames:] = np.maximum(best[frames:], sum(gain[span].sum() for span in spans))
    got = []
    for most in range(few, n + 1):
        reach = reachable(gain, keyframes, most)
        assert is_reached_from_keyframes(reach, keyframes)
        assert reach.sum() == most
        assert reach[keyframes].all()
        got.append(gain[reach].sum())
    assert (got <= best[few:]).all()
    slopes = [isotonic_regression(np.diff(each), increasing=False).x for each in (got, best[few:]) if few < n]
    np.testing.assert_allclose(*(slopes or ([], [])), atol=1e-9, err_msg="but within a stretch, it is the best")


@given(groups(), st.integers(0, 60), st.data())
def test_what_is_pinned_is_reached_whatever_it_needs(sizes, most, data):
    n, keyframes = sizes
    gain = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 2.0, np.inf]), min_size=n, max_size=n)))
    reach, must = reachable(gain, keyframes, min(most, n)), needed(np.isinf(gain), keyframes)
    assert reach[must].all()
    assert is_reached_from_keyframes(reach, keyframes)
    assert reach.sum() == max(min(most, n), must.sum())


def test_where_every_frame_is_a_keyframe_the_best_are_taken():
    gain = np.random.default_rng(0).random(50)
    assert reachable(gain, np.arange(50), 10).nonzero()[0].tolist() == sorted(np.argsort(-gain)[:10])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups(longest=150),
    st.sampled_from(["spread", "topk", "grid", "random"]),
    st.floats(0.01, 1),
    st.floats(0.05, 1),
    st.integers(0, 99),
    st.booleans(),
)
def test_no_more_is_decoded_and_the_budget_is_kept(tiny, sizes, select, budget, decode, seed, wished):
    n, keyframes = sizes
    rng = np.random.default_rng(seed)
    gate = np.zeros((2, n, 4), np.float32)
    gate[..., 0] = rng.normal(size=(2, n))
    pinned, muted = np.zeros((2, n, 2), bool)
    if wished:
        pinned, muted = rng.random((n, 2)) < 0.03, rng.random((n, 2)) < 0.2
        muted &= ~pinned
    model, motion = SimpleNamespace(config=tiny(look={"select": select})), MotionPass(gate, gate)
    free = choose_looks(model, motion, budget, "recording", pinned=pinned, muted=muted)
    wishes = {"pinned": pinned, "muted": muted, "keyframes": keyframes}
    assert (choose_looks(model, motion, budget, "recording", decode=1.0, **wishes) == free).all()
    looked = choose_looks(model, motion, budget, "recording", decode=decode, **wishes)
    decoded = needed(looked.any(1), keyframes)
    assert decoded.sum() <= max(decode * n + 1e-6, needed(pinned.any(1), keyframes).sum())
    assert looked[pinned].all()
    assert not looked[muted].any()
    k = np.maximum(np.ceil(np.round(budget * (~muted).sum(0), 6)), pinned.sum(0))
    assert (looked.sum(0) <= k).all()
    for animal in np.flatnonzero(looked.sum(0) < k):  # all that can be reached is looked at
        assert looked[decoded & ~muted[:, animal], animal].all()
    if needed(free.any(1), keyframes).sum() <= decode * n:
        assert (looked == free).all()


def test_looks_go_to_the_groups_where_most_is_gained(tiny):
    gate = np.full((2, 1000, 4), -2.0, np.float32)
    gate[0, 400:500, 0] = gate[1, 700:800, 0] = 2.0
    model, motion, keyframes = SimpleNamespace(config=tiny()), MotionPass(gate, gate), np.arange(0, 1000, 100)
    looked = choose_looks(model, motion, 0.1, "recording", decode=0.25, keyframes=keyframes)
    assert looked.sum(0).tolist() == [100, 100]
    assert looked[400:500].any(1)[-20:].any()
    assert looked[700:800].any(1)[-20:].any()
    assert looked[keyframes].any(1).mean() >= 0.3, "a keyframe is decoded alone"


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3"}, {"bf": "3", "x264-params": "open-gop=1"}])
def test_keyframes_are_numbered_as_they_are_shown(tmp_path, options):
    path, rng = tmp_path / "video.mp4", np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "20", "sc_threshold": "0", **options})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(70):
            picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        shown = [i for i, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    with Video(path) as video:
        assert video.keyframes.tolist() == shown
        assert len(shown) >= 4
    for i in (shown[1] - 1, shown[1], shown[2] + 3):
        with Video(path) as video:
            video.frame(i)
            assert video.decoded <= needed(np.arange(70) == i, np.array(shown)).sum() + 1


@pytest.fixture
def parts(trained):
    return LookAgain.load(trained), load_encoder(trained / "encoder")


def test_a_video_is_decoded_no_further(session, parts, videos):
    model, encoder = parts
    decoded = {}
    for limit in (0.5, 1.0):
        fresh = replace(session, path=None)  # keeps nothing of what it saw
        ethogram = drain(predict(model, fresh, encoder, budget=0.1, decode=limit, **RECORDING))
        assert ethogram.looked.sum(0).tolist() == [30, 30]
        decoded[limit] = sum(video.decoded for video in videos)
        assert decoded_share(fresh, ethogram.looked) <= limit
        videos.clear()
    assert decoded[0.5] <= 150 + 2  # what the decoder holds back comes out with it
    assert decoded[1.0] > 200


def test_pins_and_a_limit_of_time_are_heeded_too(session, parts):
    model, encoder = parts
    keep_wishes(session, wishes_of(session).pin(200, 202).mute(0, 50))
    looked = drain(predict(model, session, encoder, budget=0.3, decode=0.7, minutes=60, **RECORDING)).looked
    assert looked[200:202].all()
    assert not looked[:50].any()
    assert decoded_share(session, looked) <= 0.7
    looked = drain(predict(model, session, encoder, budget=0.3, decode=0.1, **RECORDING)).looked
    assert looked[200:202].all()
    assert not looked[202:].any(), "more than allowed is decoded for the pins, and for nothing else"
    assert looked.sum(0).tolist() == [75, 75]


def test_a_run_tells_what_was_decoded_for_it(session, trained):
    asked = {"budget": 0.1, "scope": "recording", "decode": 0.5}
    drain(predict_all(trained, [session], **asked, run="half", device="cpu"))
    folder = session.run_folder("half")
    told = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert asked.items() <= told.items()
    assert 0 < told["decoded_share"] <= 0.5
    assert f"{told['decoded_share']:.4g} of the video decoded for it" in (folder / "log.txt").read_text("utf-8")


def test_what_was_seen_serves_without_the_video(session, trained, tmp_path):
    video = shutil.copy(session.video.path, tmp_path / "mice.mp4")
    session.relocate_video(video)
    for run in ("seen", "gone"):
        drain(predict_all(trained, [session], budget=0.1, run=run, device="cpu"))
        (tmp_path / "mice.mp4").unlink(missing_ok=True)
    told = [json.loads((session.run_folder(run) / "metrics.json").read_text("utf-8")) for run in ("seen", "gone")]
    assert told[0].pop("decoded_share") > 0.5
    assert told[0] == told[1]


def test_only_a_whole_recording_has_a_limit(session, trained, tiny, lookagain):
    with pytest.raises(InputError, match=r"At most a share of 0.5 .*--scope recording"):
        LookConfig(decode=0.5).asked()
    assert LookConfig(decode=0.5).asked("recording").decode == 0.5
    assert LookConfig(scope="recording", decode=0.5).asked("window", 1.0) == LookConfig()
    with pytest.raises(InputError, match="look.decode is 0"):
        tiny(look={"decode": 0})
    with pytest.raises(InputError, match="decode is 1.5"):
        LookConfig().asked("recording", 1.5)
    with pytest.raises(InputError, match="At most a share"):
        next(segment([session], tiny(look={"decode": 0.5}), device="cpu"))
    told = lookagain("predict", trained, session.path, "--decode", 0.5)
    assert told.status == 2
    assert "--scope recording" in told.err
    assert list(session.runs) == []


def test_without_looks_no_keyframe_is_asked_for(session, parts):
    blind = replace(session, video=None, path=None)
    assert not drain(predict(parts[0], blind, budget=0.0, decode=0.5, **RECORDING)).looked.any()
    assert decoded_share(blind, np.zeros((300, 2), bool)) == 0.0


def test_keyframes_behind_the_last_frame_of_a_session_do_not_count(session):
    assert keyframes_of(session).tolist() == [0, 250]
    part = replace(
        session,
        keypoints=session.keypoints[:100],
        confidence=session.confidence[:100],
        annotations=Annotations(100, session.animals),
        path=None,
    )
    assert keyframes_of(part).tolist() == [0]
