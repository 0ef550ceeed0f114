"""Prediction: which frames are looked at, and that nothing else of the video is."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from napari_lookagain.allocation import choose_looks
from napari_lookagain.annotations import Annotations
from napari_lookagain.batches import Batches, Recording
from napari_lookagain.errors import InputError
from napari_lookagain.features import MotionFeatures
from napari_lookagain.looks import keep_wishes, wishes_of
from napari_lookagain.model.lookagain import LookAgain
from napari_lookagain.motion_pass import MotionPass
from napari_lookagain.predict import predict
from napari_lookagain.progress import drain
from napari_lookagain.session import Session
from napari_lookagain.vision.encoder import load_encoder
from napari_lookagain.vision.look import see
from napari_lookagain.windows import sliding_windows, stitch

WINDOW = 32
module = importlib.import_module("napari_lookagain.predict")  # the package's own `predict` is the function
BUDGETS = pytest.mark.parametrize("budget", [0.0, 0.02, 0.25, 0.3, 0.99, 1.0])
SELECTS = pytest.mark.parametrize("select", ["spread", "topk", "grid", "random"])


@pytest.fixture
def model(trained):
    return LookAgain.load(trained)


@pytest.fixture
def encoder(trained):
    return load_encoder(trained / "encoder")


def cut(session, n_frames):
    """The first frames of a session, in memory."""
    span = slice(n_frames)
    keypoints, confidence = session.keypoints[span].copy(), session.confidence[span].copy()
    annotations = Annotations(n_frames, session.animals)
    return replace(session, keypoints=keypoints, confidence=confidence, annotations=annotations, path=None)


def forbid(monkeypatch, owner, name):
    def refuse(*arguments, **options):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, refuse)


def looks_wanted(n_frames, budget):
    """k of every window, whose last may be short."""
    return [math.ceil(round(budget * len(window), 6)) for window in sliding_windows(n_frames, WINDOW)]


def looks_taken(looked):
    """(windows, A) looks of (T, A)."""
    return np.array([looked[window.start : window.stop].sum(0) for window in sliding_windows(len(looked), WINDOW)])


@pytest.mark.parametrize("budget", [0.02, 0.25, 1.0])
def test_the_frames_asked_for_are_exactly_the_frames_chosen(session, model, encoder, videos, budget):
    ethogram = drain(predict(model, session, encoder, budget=budget, device="cpu"))
    chosen = np.flatnonzero(ethogram.looked.any(1)).tolist()
    assert 0 < len(chosen) < session.n_frames or budget == 1
    [video] = videos
    assert sorted(video.asked) == chosen
    assert video.converted == len(chosen)
    assert len(chosen) <= video.decoded <= session.n_frames


def test_a_larger_budget_asks_for_what_is_missing_alone(session, model, encoder, videos):
    before = drain(predict(model, session, encoder, budget=0.1, device="cpu")).looked
    after = drain(predict(model, session, encoder, budget=0.4, device="cpu")).looked
    again = drain(predict(model, session, encoder, budget=0.4, device="cpu")).looked
    assert len(videos) == 2, "the third time nothing was missing"
    assert sorted(videos[1].asked) == np.flatnonzero((after & ~before).any(1)).tolist()
    assert (again == after).all()


def test_budget_0_opens_no_video(session, model, encoder, monkeypatch):
    forbid(monkeypatch, Session, "open_video")
    ethogram = drain(predict(model, session, encoder, budget=0, device="cpu"))
    assert not ethogram.looked.any()
    without = drain(predict(model, session, None, budget=0, device="cpu"))
    assert (without.probabilities == ethogram.probabilities).all()
    with pytest.raises(AssertionError, match="open_video was called"):
        drain(predict(model, session, encoder, budget=0.1, device="cpu"))


def test_budget_1_of_one_window_is_the_forward_pass_of_the_model(session, model, encoder):
    short = cut(session, 20)
    ethogram = drain(predict(model, short, encoder, budget=1, device="cpu"))
    assert ethogram.looked.all()
    seen = drain(see(short, encoder, model.config, np.ones((20, 2), bool)))
    recording = Recording(MotionFeatures(short, model.config.features), 20, 2, seen)
    batch = Batches([recording], WINDOW, encoder.width)(sliding_windows(20, WINDOW))
    with torch.no_grad():
        output = model(batch.motion, batch.valid, batch.visual_features, budget=1.0)
        wanted = model.head.probabilities(output.head)[0, :, :20].transpose(0, 1).numpy()
    np.testing.assert_allclose(ethogram.probabilities.astype(np.float32), wanted, atol=1e-3)  # kept in half precision
    np.testing.assert_allclose(ethogram.gate_score, output.gate.score[0, :, :20].T.numpy(), atol=1e-6)
    for term in ("reliability", "saliency", "semantics"):
        np.testing.assert_allclose(getattr(ethogram, term), getattr(output.gate, term)[0, :, :20].T, atol=1e-5)


def test_budget_1_of_many_windows_is_the_dense_path(session, model, encoder):
    ethogram = drain(predict(model, session, encoder, budget=1, device="cpu"))
    n_frames = session.n_frames
    seen = drain(see(session, encoder, model.config, np.ones((n_frames, 2), bool)))
    recording = Recording(MotionFeatures(session, model.config.features), n_frames, 2, seen)
    batches = Batches([recording], WINDOW, encoder.width)
    windows = sliding_windows(n_frames, WINDOW, WINDOW // 2)
    read, logits = [], []
    with torch.no_grad():
        for window in windows:
            batch = batches([window])
            motion = model.motion_encoder(batch.motion, batch.valid)
            read.append(motion.embedding[0].numpy())
            logits.append(model.gate(motion).logit[0, ..., None].numpy())
        embedding, logit = stitch(read, windows, n_frames), stitch(logits, windows, n_frames)[..., 0]
        pieces = []
        for window in windows:
            batch, span, length = batches([window]), slice(window.start, window.stop), len(window)
            own, score = torch.zeros(1, 2, WINDOW, embedding.shape[-1]), torch.zeros(1, 2, WINDOW)
            own[0, :, :length] = torch.from_numpy(embedding[:, span])
            score[0, :, :length] = torch.from_numpy(logit[:, span]).sigmoid()
            context = model.visual_context(batch.visual_features, score, batch.valid, batch.valid)
            pieces.append(model.head.probabilities(model.head(own, context))[0].numpy())
    wanted = stitch(pieces, windows, n_frames).swapaxes(0, 1)
    np.testing.assert_allclose(ethogram.probabilities.astype(np.float32), wanted, atol=1e-3)
    np.testing.assert_allclose(ethogram.gate_score, 1 / (1 + np.exp(-logit.T)), atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 0.01, "nothing would differ"


def test_a_model_that_reads_the_video_alone_is_told_nothing_by_the_keypoints(session, model, encoder, monkeypatch):
    pass_over = module.pass_over

    def read_other(*inputs):
        motion = yield from pass_over(*inputs)
        return replace(
            motion, folder=None, read=np.random.default_rng(0).normal(size=motion.read.shape).astype(np.float32)
        )

    for reads, select in (("both", "grid"), ("video", "spread"), ("video", "grid")):
        blind = LookAgain(model.card, model.config.updated(finetune={"reads": reads}, look={"select": select}))
        blind.load_state_dict(model.state_dict())
        told = drain(predict(blind, session, encoder, device="cpu"))
        with monkeypatch.context() as patch:
            patch.setattr(module, "pass_over", read_other)
            other = drain(predict(blind, session, encoder, device="cpu"))
        assert (other.looked == told.looked).all()
        assert (other.probabilities == told.probabilities).all() == (reads == "video")
        assert np.ptp(told.probabilities, axis=0).max() > 0.01, "it sees"


@BUDGETS
@SELECTS
@pytest.mark.parametrize("n_frames", [300, 320, 33, 7])
def test_every_window_and_animal_gets_its_share_of_looks(model, budget, select, n_frames):
    chooser = LookAgain(model.card, model.config.updated(look={"select": select}))
    gate = np.random.default_rng(0).normal(size=(2, n_frames, 4)).astype(np.float32)
    looked = choose_looks(chooser, MotionPass(gate, gate), budget)
    assert looked.shape == (n_frames, 2)
    wanted = looks_wanted(n_frames, budget)
    assert looks_taken(looked).tolist() == [[k, k] for k in wanted]


def test_a_prediction_looks_as_often_as_it_may(session, model, encoder):
    ethogram = drain(predict(model, session, encoder, device="cpu"))  # with the budget of its training
    assert looks_taken(ethogram.looked).tolist() == [[8, 8]] * 9 + [[3, 3]]


def test_another_budget_repeats_only_the_look(session, model, encoder, monkeypatch):
    first = drain(predict(model, session, encoder, budget=0.1, device="cpu"))
    forbid(monkeypatch, model.motion_encoder, "forward")
    second = drain(predict(model, session, encoder, budget=0.5, device="cpu"))
    assert (second.gate_score == first.gate_score).all()
    assert second.looked.sum() > first.looked.sum()


def test_what_was_told_of_the_same_looks_is_not_told_again(session, model, encoder, monkeypatch):
    first = drain(predict(model, session, encoder, budget=0.25, device="cpu"))
    forbid(monkeypatch, model.head, "forward")
    again = drain(predict(model, session, encoder, budget=0.25, device="cpu"))
    assert (again.probabilities == first.probabilities).all()
    with pytest.raises(AssertionError, match="forward was called"):
        drain(predict(model, session, encoder, budget=0.3, device="cpu"))


@pytest.mark.parametrize("n_frames", [2, 15, 32, 33, 300])
def test_every_frame_of_every_animal_is_told(session, model, encoder, n_frames):
    short = cut(session, n_frames)
    ethogram = drain(predict(model, short, encoder, budget=0.3, device="cpu"))
    assert ethogram.label.shape == ethogram.gate_score.shape == ethogram.looked.shape == (n_frames, 2)
    assert (ethogram.label >= 0).all()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=5e-3)
    assert ((ethogram.gate_score > 0) & (ethogram.gate_score < 1)).all()
    assert looks_taken(ethogram.looked).tolist() == [[k, k] for k in looks_wanted(n_frames, 0.3)]


@pytest.mark.parametrize(("seconds", "reach"), [(0.1, 1), (0.5, 6), (100, 1250)])
def test_probabilities_are_averaged_over_time_as_asked(session, model, encoder, monkeypatch, seconds, reach):
    raw = drain(predict(model, replace(session, path=None), encoder, budget=0.25, device="cpu"))
    monkeypatch.setattr(module, "STRIDES", 2)  # so that there are borders to reach across
    model.config = model.config.updated(finetune={"smoothing_window": seconds})
    told = drain(predict(model, session, encoder, budget=0.25, device="cpu"))
    assert (told.looked == raw.looked).all()
    padded = np.pad(raw.probabilities.astype(np.float64), ((reach, reach), (0, 0), (0, 0)), mode="edge")
    frames = np.arange(session.n_frames)[:, None] + np.arange(2 * reach + 1)
    wanted = padded[frames].mean(1)  # (T, A, K)
    np.testing.assert_allclose(told.probabilities.astype(float), wanted, atol=2e-3)  # kept in half precision
    assert (told.label == told.probabilities.argmax(-1)).mean() > 0.99, "halves may be equal"
    assert np.abs(wanted - raw.probabilities).max() > 0.02, "nothing would differ"


def test_an_animal_may_be_missing_altogether(session, model, encoder):
    nowhere = np.full((session.n_frames, 1, session.n_keypoints, 2), np.nan, np.float32)
    animals = (*session.animals, "ghost")
    three = replace(
        session,
        keypoints=np.concatenate([session.keypoints, nowhere], axis=1),
        confidence=np.concatenate([session.confidence, np.zeros(nowhere.shape[:3], np.float32)], axis=1),
        animals=animals,
        annotations=Annotations(session.n_frames, animals),
        path=None,
    )
    ethogram = drain(predict(model, three, encoder, budget=0.25, device="cpu"))
    assert np.isfinite(ethogram.gate_score).all()
    np.testing.assert_allclose(ethogram.probabilities.astype(float).sum(-1), 1, atol=5e-3)
    assert looks_taken(ethogram.looked).tolist() == [[8, 8, 8]] * 9 + [[3, 3, 3]]
    assert (ethogram.reliability[:, 2] == 0).all()


def test_without_a_video_there_is_budget_0_alone(session, model, encoder):
    blind = replace(session, video=None, path=None)
    for budget in (None, 0.1):
        with pytest.raises(InputError, match="mice cannot be looked at without a video .*; use budget 0"):
            drain(predict(model, blind, encoder, budget=budget, device="cpu"))
    with pytest.raises(InputError, match="cannot be looked at"):
        drain(predict(model, session, None, budget=0.1, device="cpu"))
    assert not drain(predict(model, blind, budget=0, device="cpu")).looked.any()


@pytest.mark.parametrize("budget", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_budget_is_a_share(session, model, encoder, budget):
    with pytest.raises(InputError, match="a number from 0 to 1"):
        drain(predict(model, session, encoder, budget=budget, device="cpu"))
    assert list(session.features_folder.iterdir()) == []


def test_other_keypoints_are_refused_with_both_lists(session, model, encoder):
    names = ("snout", *session.keypoint_names[1:])
    renamed = replace(session, keypoint_names=names, heading=None)
    with pytest.raises(InputError, match="use a model trained on such recordings") as error:
        drain(predict(model, renamed, encoder, device="cpu"))
    assert ", ".join(names) in str(error.value)
    assert ", ".join(session.keypoint_names) in str(error.value)


def test_a_model_is_left_as_it_was(session, model, encoder):
    before = model.fingerprint()
    told = list(predict(model, session, encoder, budget=0.25, device="cpu"))
    assert model.fingerprint() == before
    stages = ["reading motion", "looking at the video", "reading behavior"]
    assert list(dict.fromkeys(each.stage for each in told)) == stages
    for stage in stages:
        own = [each for each in told if each.stage == stage]
        assert own[-1].done == own[-1].total


@pytest.mark.parametrize(
    ("seconds", "taken"), [(10, (0, 0)), (25, (1, 1)), (60, (3, 2)), (150, (7, 3)), (9999, (16, 6))]
)
def test_a_limit_of_time_takes_what_fits_of_the_budget(session, model, encoder, monkeypatch, seconds, taken):
    images = []
    encode = type(encoder).encode
    counting = lambda self, some, *more: images.append(len(some)) or encode(self, some, *more)  # noqa: E731
    monkeypatch.setattr(type(encoder), "encode", counting)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(sum(images)))  # an image a second
    ethogram = drain(predict(model, session, encoder, budget=0.5, minutes=seconds / 60, device="cpu"))
    full, short = taken
    assert looks_taken(ethogram.looked).tolist() == [[full, full]] * 9 + [[short, short]]
    assert sum(images) == max(ethogram.looked.sum(), 16), "what is seen counts, but for a batch when the time was up"
    again = drain(predict(model, session, encoder, budget=0.5, minutes=seconds / 60, device="cpu"))
    assert again.looked.sum() >= ethogram.looked.sum(), "what was seen costs no time"


def test_a_limit_of_time_finds_what_was_seen_in_bfloat16_of_trusted_keypoints(session, model, tmp_path, monkeypatch):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 16, "patch_size": 8}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(tmp_path / "dinov2")
    encoder, images = load_encoder(tmp_path / "dinov2"), []
    encode = type(encoder).encode
    counting = lambda self, some, *more: images.append(len(some)) or encode(self, some, *more)  # noqa: E731
    monkeypatch.setattr(type(encoder), "encode", counting)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(sum(images)))  # an image a second
    model.config = model.config.updated(vision={"precision": "bfloat16"})
    session.confidence[7, 0, 0] = 0.0
    ethogram = drain(predict(model, session, encoder, budget=0.5, minutes=19 / 60, device="cpu"))
    assert sum(images) == ethogram.looked.sum() == 20, "the time was up when the last of them was seen"


def test_time_is_limited_only_where_what_was_seen_is_kept(session, model, encoder):
    for where, eye in ((replace(session, path=None), encoder), (session, None)):
        with pytest.raises(InputError, match="can be limited only where"):
            drain(predict(model, where, eye, budget=0.0 if eye is None else 0.5, minutes=1, device="cpu"))
    with pytest.raises(InputError, match="is -1 minutes"):
        drain(predict(model, session, encoder, minutes=-1, device="cpu"))


@pytest.mark.parametrize("scope", ["window", "recording"])
def test_a_prediction_goes_by_what_is_pinned_and_muted(session, model, encoder, scope):
    keep_wishes(session, wishes_of(session).pin(7, 9).mute(64, 128, session.animals[0]))
    looked = drain(predict(model, session, encoder, budget=0.1, scope=scope, device="cpu")).looked
    assert looked[7:9].all()
    assert not looked[64:128, 0].any()
    assert looked[64:128, 1].any()
    if scope == "recording":
        assert looked.sum(0).tolist() == [24, 30]
