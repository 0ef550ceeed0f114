"""Training: what it changes, what it never touches, and that it ends the same however often it is cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import napari_lookagain.training_loop as training
from napari_lookagain.batches import Batches
from napari_lookagain.errors import InputError
from napari_lookagain.material import behavior_labels, gather
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.model.objectives import Finetuning
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session
from napari_lookagain.train import finetune, pretrain
from napari_lookagain.training_loop import History

NAMES = {"behavior": ("walk", "groom", "tail_raise", "rest", "feed"), "cluster": ("a", "b", "c")}
KINDS = pytest.mark.parametrize("kind", ["behavior", "cluster"])
STAGES = pytest.mark.parametrize("stage", ["pretraining", "behavior", "cluster"])
LEARNS = {"finetune": {"learn_motion": True}}


@pytest.fixture(scope="module")
def material(mice, tiny):
    session = replace(load_session(mice), path=None)
    behavior, names = behavior_labels([session], None)
    assert set(names) == set(NAMES["behavior"])
    return drain(gather([session], tiny(), behavior=behavior, device="cpu"))


def new_model(material, kind="behavior", seed=0, **changes):
    features = material.batches.recordings[0].features
    card = ModelCard(
        keypoint_names=tuple("abcdefgh"),
        n_coords=2,
        n_features=features.width,
        n_neighbors=1,
        visual_width=material.batches.seen_width,
        kind=kind,
        names=NAMES[kind],
    )
    torch.manual_seed(seed)
    return LookAgain(card, material.config.updated(finetune={"discover": "dec"}).updated(**changes))


def stage_of(material, stage, checkpoint=None, **changes):
    """A model and the generator of one stage of its training, with all windows but one block to train on."""
    model = new_model(material, "behavior" if stage == "pretraining" else stage, **changes)
    train_on, held_out = material.split(material.windows if stage == "pretraining" else material.fine_windows)
    assert train_on
    assert held_out
    work = pretrain if stage == "pretraining" else finetune
    return model, work(model, material.batches, train_on, held_out, device="cpu", checkpoint=checkpoint)


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def differing(one, other):
    """Names of the weights and buffers that are not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


@STAGES
def test_the_same_seed_gives_the_same_weights(material, stage):
    states, histories = [], []
    for seed in (3, 3, 4):
        model, work = stage_of(material, stage, training={"seed": seed})
        before = copied(model)
        histories.append(drain(work))
        states.append(copied(model))
        assert differing(before, states[-1])
    assert differing(states[0], states[1]) == []
    assert histories[0] == histories[1]
    assert differing(states[0], states[2])


@pytest.mark.parametrize(
    ("stage", "changes"),
    [("pretraining", {}), ("behavior", {}), ("cluster", {}), ("behavior", LEARNS)],
)
def test_training_that_is_cancelled_resumes_as_if_it_had_not_been(material, stage, changes, tmp_path, monkeypatch):
    whole, work = stage_of(material, stage, **changes)
    history = drain(work)
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = tmp_path / "checkpoint.pt"
    name = "pretraining" if stage == "pretraining" else "fine-tuning"
    for epoch in (1, 2):  # once in the second epoch, and the resumed one in the third
        _, work = stage_of(material, stage, checkpoint, **changes)
        told = next(each for each in work if each.stage == name and each.done / each.total > epoch / 3)
        assert told.done * 3 % told.total, "this would be the end of an epoch"
        work.close()
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    resumed, work = stage_of(material, stage, checkpoint, **changes)
    assert drain(work) == history
    assert differing(whole.state_dict(), resumed.state_dict()) == []
    assert next(iter(stage_of(material, stage, checkpoint, **changes)[1]), None) is None, "it was finished"


TRAINS = """
import os, signal, sys
from pathlib import Path
import napari_lookagain.training_loop as training
from napari_lookagain.config import Config
from napari_lookagain.runs import segment, train
from napari_lookagain.session import load_session

folder, run, out, settings, stage = sys.argv[1:]
training.SECONDS_BETWEEN_CHECKPOINTS = 0.0
config, sessions = Config.model_validate_json(settings), [load_session(folder)]
if out:
    work = train(sessions, Path(out), config, device="cpu")
else:
    work = segment(sessions, config, run=run, device="cpu")
for told in work:
    if told.stage == stage and told.done / told.total > 2 / 3:  # in the third and last epoch
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_training_that_is_killed_resumes_as_if_it_had_not_been(session, tiny, tmp_path):
    def trains(run, out, killed_in=""):
        """Each in a process of its own, so that all have one number of threads: sums of several may end otherwise."""
        settings = tiny(**LEARNS if out else {}).model_dump_json()
        arguments = [str(session.path), run, str(out), settings, killed_in]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run([sys.executable, "-c", TRAINS, *arguments], env=environment, timeout=120)
        assert ended.returncode == (-signal.SIGKILL if killed_in else 0)

    whole, killed = session.run_folder("whole"), session.run_folder("killed")
    trains("whole", "")
    trains("", tmp_path / "whole")
    jobs = [  # the folder of a model, the stage in which the process is killed, and the checkpoint it leaves
        (killed, "", "pretraining", "pretraining.pt"),
        (killed, "", "fine-tuning", "finetuning.pt"),
        (tmp_path / "killed", tmp_path / "killed", "fine-tuning", "finetuning.pt"),
    ]
    for folder, out, stage, checkpoint in jobs:
        trains("killed", out, stage)
        left = torch.load(folder / checkpoint, weights_only=True)
        assert len(left["history"]["loss"]) == 2
    trains("killed", "")
    trains("", tmp_path / "killed")
    for one, other in ((whole / "model", killed / "model"), (tmp_path / "whole", tmp_path / "killed")):
        for part in ("encoder/encoder.safetensors", "weights.safetensors"):
            there, again = (load_file(folder / part) for folder in (one, other))
            assert {name for name in there if not torch.equal(there[name], again[name])} == set(), part


@pytest.mark.parametrize(
    "changes", [{"finetune": {"learning_rate": 2e-3}}, {"look": {"budget": 0.5}}, {"training": {"seed": 1}}, LEARNS]
)
def test_a_checkpoint_of_other_settings_is_refused(material, tmp_path, changes):
    checkpoint = tmp_path / "checkpoint.pt"
    drain(stage_of(material, "behavior", checkpoint)[1])
    with pytest.raises(InputError, match="other settings") as error:
        drain(stage_of(material, "behavior", checkpoint, **changes)[1])
    assert str(checkpoint) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_other_labels_is_refused(material, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    model = new_model(material)
    windows = material.fine_windows
    drain(finetune(model, material.batches, windows, device="cpu", checkpoint=checkpoint))
    relabelled = replace(material.batches.recordings[0], behavior=material.batches.recordings[0].behavior.copy())
    relabelled.behavior[:40] = 0
    batches = Batches([relabelled], material.batches.length, material.batches.seen_width)
    with pytest.raises(InputError, match="other settings or labels"):
        drain(finetune(new_model(material), batches, windows, device="cpu", checkpoint=checkpoint))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x04cos\nsystem\n."])
def test_a_damaged_checkpoint_is_refused(material, tmp_path, content):
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged; delete it"):
        drain(stage_of(material, "behavior", checkpoint)[1])


def test_a_few_held_out_windows_choose_no_epoch(material):
    _, work = stage_of(material, "behavior", training={"choose_from": 100})
    history = drain(work)
    assert len(history.held_out_loss) == len(history.loss) == history.kept_epoch + 1


@pytest.mark.parametrize("stage, section", [("pretraining", "pretrain"), ("behavior", "finetune")])
def test_training_stops_early_and_keeps_the_best_epoch(material, stage, section):
    model, work = stage_of(material, stage, **{section: {"epochs": 40, "patience": 3, "learning_rate": 0.03}})
    ends = []  # weights at the end of every epoch
    history = None
    while history is None:
        try:
            told = next(work)
        except StopIteration as end:
            history = end.value
        else:
            if told.stage == "held-out windows" and told.done == told.total:
                ends.append(copied(model))
    assert len(history.loss) == len(history.held_out_loss) == len(ends) < 40
    lowest = np.flatnonzero(np.array(history.held_out_loss) == min(history.held_out_loss))
    assert history.kept_epoch == lowest[-1] == len(ends) - 4
    assert differing(model.state_dict(), ends[history.kept_epoch]) == []
    assert differing(model.state_dict(), ends[-1])


def test_a_loss_that_is_no_number_ends_the_training(material):
    _, work = stage_of(material, "behavior", finetune={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"The loss is (nan|inf) in epoch \d; lower the learning rate, .* 1e\+30"):
        drain(work)


@KINDS
def test_finetuning_leaves_the_motion_encoder_as_it_is(material, kind):
    model = new_model(material, kind)
    drain(pretrain(model, material.batches, material.windows, device="cpu"))
    before = copied(model)
    assert any("codebook" in name and "motion_encoder" in name for name in before)
    drain(finetune(model, material.batches, material.fine_windows, device="cpu"))
    changed = {name.split(".")[0] for name in differing(before, model.state_dict())}
    assert changed == {"gate", "visual_context", "head"}
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_a_motion_encoder_that_learns_on_does(material):
    model = new_model(material, **LEARNS)
    drain(pretrain(model, material.batches, material.windows, device="cpu"))
    before = copied(model)
    drain(finetune(model, material.batches, material.fine_windows, device="cpu"))
    changed = differing(before, model.state_dict())
    assert {name.split(".")[0] for name in changed} == {"motion_encoder", "gate", "visual_context", "head"}
    assert any("codebook.embed" in name for name in changed)
    kept = {"mean", "scale", "mask_token", "decode_conv", "decode_attention"}
    assert not any(name.split(".")[1] in kept for name in changed), "nothing is hidden or rebuilt here"
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


@KINDS
def test_without_pretraining_the_motion_encoder_learns_with_the_head(material, kind):
    model = new_model(material, kind, pretrain={"epochs": 0})
    start = copied(model)
    assert list(pretrain(model, material.batches, material.windows, device="cpu")) == []
    changed = {name.split(".")[1] for name in differing(start, model.state_dict())}
    assert changed == {"mean", "scale", "quantizer"}, "it only gets ready to learn"
    assert not model.training
    batch = material.batches(material.fine_windows[:2])
    told = model.motion_encoder(batch.motion, batch.valid)
    assert len(told.codes[batch.valid].unique()) > 4
    before = copied(model)
    history = drain(finetune(model, material.batches, material.fine_windows, device="cpu"))
    assert len(history.loss) == 3
    assert any(name.startswith("motion_encoder.encode_conv") for name in differing(before, model.state_dict()))


@KINDS
def test_a_head_that_reads_the_video_alone_learns_without_the_gate(material, kind):
    model = new_model(material, kind, finetune={"reads": "video"}, look={"select": "grid"})
    before = copied(model)
    drain(finetune(model, material.batches, material.fine_windows, device="cpu"))
    changed = {name.split(".")[0] for name in differing(before, model.state_dict())}
    smooth = {"gate"} if kind == "cluster" else set()  # Eq. 25 is there whoever asks the gate
    assert changed == {"visual_context", "head"} | smooth


def test_pretraining_leaves_gate_and_head_as_they_are(material):
    model = new_model(material)
    before = copied(model)
    drain(pretrain(model, material.batches, material.windows, device="cpu"))
    changed = {name.split(".")[0] for name in differing(before, model.state_dict())}
    assert changed == {"motion_encoder", "predict_keypoints", "predict_vision"}


@STAGES
def test_progress_is_told_after_every_batch(material, stage):
    _, work = stage_of(material, stage)
    told = [each for each in work if each.stage in ("pretraining", "fine-tuning")]
    assert [each.done for each in told] == list(range(1, told[0].total + 1))
    wanted = {"pretraining": {"mask", "pred", "rvq", "recon"}, "behavior": set(), "cluster": {"dec", "tv"}}[stage]
    assert all({"loss"} | wanted <= set(each.metrics) for each in told)
    assert all(np.isfinite(list(each.metrics.values())).all() for each in told)


@pytest.mark.parametrize(
    ("loss", "flattened"),
    [
        ([], False),
        ([1.0], False),  # after one epoch nobody knows
        ([1.0, 0.5], False),
        ([1.0, 0.99], True),
        ([1.0, 2.0], True),
        ([float(x) for x in range(40, 0, -1)], False),
        ([1.0] * 20 + [0.5] * 20, True),
    ],
)
def test_a_loss_has_flattened_or_not(loss, flattened):
    assert History(loss).flattened is flattened


def test_unscored_frames_enter_no_loss(material):
    model = new_model(material, finetune={"motion_dropout": 0.0})
    batch = material.batches(material.fine_windows[:4])
    scored = torch.zeros_like(batch.valid)
    scored[1, 0, 5:9] = scored[2, 1, 30:] = True
    batch = replace(batch, behavior=torch.where(scored, batch.behavior, -1))
    outputs = []
    model.head.register_forward_hook(lambda head, read, output: output.retain_grad() or outputs.append(output))
    Finetuning(model, torch.ones(5))(batch, None, 0.0)["loss"].backward()
    gradient = outputs[0].grad.abs().sum(-1)
    assert (gradient[scored] > 0).all()
    assert (gradient[~scored] == 0).all()


class ReadBatches(Batches):
    """Batches that remember which windows were read in training mode."""

    def __init__(self, batches, behavior):
        recording = replace(batches.recordings[0], behavior=behavior)
        super().__init__([recording], batches.length, batches.seen_width)
        self.read = []

    def __call__(self, windows):
        self.read += windows
        return super().__call__(windows)


def test_labels_of_held_out_windows_never_train(material):
    windows = material.fine_windows
    held_out = [windows[2], windows[6]]
    train_on = [window for window in windows if window not in held_out]
    told = []
    for change in (0, 1):
        behavior = material.batches.recordings[0].behavior.copy()
        for window in held_out:
            behavior[window.start : window.stop] = (behavior[window.start : window.stop] + change) % 5
        batches = ReadBatches(material.batches, behavior)
        model = new_model(material, finetune={"epochs": 6})
        work = finetune(model, batches, train_on, held_out, device="cpu")
        ends = [copied(model) for each in work if each.stage == "held-out windows"]
        told.append(ends)
        shifted = [window for window in batches.read if window not in windows]
        assert len(shifted) > 10
        assert not any(w.start < h.stop and h.start < w.stop for w in shifted for h in held_out)
    assert len(told[0]) == 6
    assert [differing(one, other) for one, other in zip(*told, strict=True)] == [[]] * 6


def test_there_must_be_a_scored_frame(material):
    unscored = np.full_like(material.batches.recordings[0].behavior, -1)
    batches = ReadBatches(material.batches, unscored)
    with pytest.raises(InputError, match="no scored frame to train on"):
        drain(finetune(new_model(material), batches, material.fine_windows, device="cpu"))


@pytest.mark.parametrize("how", ["dec", "kmeans"])
def test_there_must_be_as_many_frames_as_clusters(material, how):
    model = new_model(material, "cluster", finetune={"discover": how})
    window = replace(material.fine_windows[0], stop=1)
    with pytest.raises(InputError, match="2 frames cannot be 3 clusters; ask for fewer"):
        drain(finetune(model, material.batches, [window], device="cpu"))


def test_an_unknown_device_is_refused(material):
    with pytest.raises(InputError, match="no device 'tpu' here; choose one of auto, cpu"):
        drain(pretrain(new_model(material), material.batches, material.windows, device="tpu"))
