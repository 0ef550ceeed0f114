"""The whole model: what a look may change, what a folder keeps, and what is refused."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch

from napari_lookagain.errors import InputError
from napari_lookagain.model.lookagain import LookAgain

every_kind = pytest.mark.parametrize("kind", ["behavior", "cluster"])
every_fill = pytest.mark.parametrize("fill", ["hold", "zero"])


def run(model, batch, **options):
    return model(batch.motion, batch.valid, batch.visual_features, **options)


@every_kind
@pytest.mark.parametrize("select", ["spread", "topk", "grid", "random"])
def test_it_looks_at_as_many_valid_frames_as_the_budget_says(make_model, make_batch, kind, select):
    model, batch = make_model(kind, look={"select": select}), make_batch()
    for budget in (0.0, 0.1, 0.25, 1.0):
        out = run(model, batch, budget=budget)
        assert not (out.looked & ~batch.valid).any()
        expected = [[math.ceil(budget * int(n)) for n in row] for row in batch.valid.sum(-1)]
        assert out.looked.sum(-1).tolist() == expected
    assert torch.equal(out.looked, batch.valid), "a budget of 1 looks at every valid frame"
    assert torch.equal(run(model, batch, budget=0.25).gate.logit, out.gate.logit), "the gate does not ask the budget"
    assert out.head.shape == (3, 2, 16, 3 if kind == "behavior" else 16)


def test_the_configured_budget_is_the_default(make_model, make_batch):
    model, batch = make_model(look={"budget": 0.5}), make_batch(padded=False)
    assert run(model, batch).looked.sum(-1).unique().tolist() == [8]


@every_kind
@every_fill
def test_frames_not_looked_at_have_no_influence(make_model, make_batch, kind, fill):
    model, batch = make_model(kind, look={"fill": fill}), make_batch()
    told = run(model, batch, budget=0.25)
    unseen = ~told.looked.unsqueeze(-1)
    for other in (math.nan, 7.0):
        changed = model(batch.motion, batch.valid, torch.where(unseen, other, batch.visual_features), budget=0.25)
        assert torch.equal(changed.looked, told.looked)
        assert torch.equal(changed.head, told.head)
    changed = model(batch.motion, batch.valid, torch.where(unseen, batch.visual_features, 7.0), budget=0.25)
    assert torch.equal(changed.looked, told.looked), "the gate decides before anything is seen"
    assert not torch.allclose(changed.head, told.head)


@every_kind
@every_fill
def test_with_no_budget_nothing_is_seen(make_model, make_batch, kind, fill):
    model, batch = make_model(kind, look={"fill": fill}), make_batch()
    blind = torch.full_like(batch.visual_features, math.nan)
    told, other = (model(batch.motion, batch.valid, seen, budget=0.0) for seen in (batch.visual_features, blind))
    assert torch.equal(told.head, other.head)
    assert torch.isfinite(told.head).all()


@every_kind
def test_padding_has_no_influence_on_valid_frames(make_model, make_batch, soil, kind):
    model, batch = make_model(kind), make_batch()
    told, other = run(model, batch), run(model, soil(batch))
    assert torch.equal(told.looked, other.looked)
    torch.testing.assert_close(told.head[batch.valid], other.head[batch.valid])
    torch.testing.assert_close(told.gate.logit[batch.valid], other.gate.logit[batch.valid])


@every_kind
@every_fill
def test_a_short_window_says_the_same_padded_or_not(make_model, make_batch, kind, fill):
    model, batch = make_model(kind, look={"fill": fill}), make_batch()
    padded = run(model, batch)
    short = model(batch.motion[:1, :, :11], batch.valid[:1, :, :11], batch.visual_features[:1, :, :11])
    assert torch.equal(short.looked[0], padded.looked[0, :, :11])
    torch.testing.assert_close(short.head[0], padded.head[0, :, :11])


def test_noise_moves_the_looks_in_training_only(make_model, make_batch):
    batch = make_batch(windows=8, padded=False)
    for noise, moves in (("paper", True), ("annealed", True), ("none", False)):
        model = make_model(look={"noise": noise, "select": "topk"})
        calm = run(model.eval(), batch, progress=0.0)
        assert torch.equal(calm.looked, run(model, batch, progress=0.0).looked)
        model.train().motion_encoder.eval()
        wild = run(model, batch, progress=0.0)
        assert torch.equal(wild.looked, calm.looked) != moves
        assert wild.looked.sum() == calm.looked.sum()
        torch.testing.assert_close(wild.gate.logit, calm.gate.logit, msg="noise moves the choice alone")
        late = run(model, batch, progress=0.9)
        assert torch.equal(late.looked, calm.looked) != (noise == "paper")


@every_kind
def test_gradient_reaches_the_gate_through_its_score(make_model, make_batch, kind):
    model, batch = make_model(kind), make_batch()
    for budget, reaches in ((0.25, True), (0.0, False)):
        model.zero_grad()
        run(model, batch, budget=budget).head.square().sum().backward()
        for parameter in model.gate.parameters():
            assert (parameter.grad is not None and bool(parameter.grad.any())) == reaches


@pytest.mark.parametrize("learns", [False, True])
def test_what_learns_in_fine_tuning_is_all_but_a_frozen_motion_encoder(make_model, learns):
    model = make_model(finetune={"learn_motion": learns})
    learnt = {id(parameter) for parameter in model.finetuned_parameters()}
    names = {name.split(".")[0] for name, parameter in model.named_parameters() if id(parameter) in learnt}
    frozen = {name.split(".")[0] for name, parameter in model.named_parameters() if id(parameter) not in learnt}
    (names if learns else frozen).remove("motion_encoder")
    assert names == {"gate", "visual_context", "head"}
    assert frozen == {"predict_keypoints", "predict_vision"}


@every_kind
@pytest.mark.parametrize("select", ["spread", "topk", "grid", "random"])
def test_of_a_model_that_reads_the_video_alone_the_gate_reads_keypoints_and_nothing_else_does(
    make_model, make_batch, kind, select
):
    model = make_model(kind, finetune={"reads": "video"}, look={"select": select, "budget": 0.5})
    batch, other = make_batch(padded=False), make_batch(padded=False, seed=1)
    told, again = [], []
    for motion in (batch.motion, other.motion):
        for looks, budget in ((told, 0.5), (again, 1.0)):
            torch.manual_seed(0)
            looks.append(model(motion, batch.valid, batch.visual_features, budget))
    asked = select in ("spread", "topk")
    assert torch.equal(told[0].looked, told[1].looked) != asked
    for one, two in (told, again):
        assert torch.equal(one.head, two.head) != asked, "its score weighs what was seen"
    assert not torch.equal(told[0].motion.embedding, told[1].motion.embedding)


# On disk


@every_kind
def test_a_saved_model_comes_back_the_same(make_model, make_batch, tmp_path, kind):
    model, batch = make_model(kind, look={"budget": 0.4, "terms": ("saliency",)}), make_batch()
    folder = tmp_path / "new" / "model"
    model.save(folder)
    again = LookAgain.load(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "weights.safetensors",
    ]
    assert (again.card, again.config) == (model.card, model.config)
    assert not again.training
    told, same = run(model, batch), run(again, batch)
    assert torch.equal(told.head, same.head)
    assert torch.equal(told.looked, same.looked)
    assert torch.equal(told.motion.codes, same.motion.codes)
    assert again.fingerprint() == model.fingerprint()


def test_the_fingerprint_tells_models_apart(make_model):
    model = make_model()
    prints = {model.fingerprint(), make_model().fingerprint()}
    assert len(prints) == 1
    prints |= {make_model(seed=1).fingerprint(), make_model(look={"budget": 0.3}).fingerprint()}
    assert len(prints) == 3
    with torch.no_grad():
        model.head.classify[0].weight[0] += 1e-3
    prints.add(model.fingerprint())
    model.motion_encoder.quantizer.layers[1]._codebook.embed[0, 0, 0] += 1e-3
    prints.add(model.fingerprint())
    assert len(prints) == 5


@pytest.fixture
def folder(make_model, tmp_path):
    """The folder of a saved model."""
    make_model().save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    told = json.loads((folder / "config.json").read_text("utf-8"))
    change(told)
    (folder / "config.json").write_text(json.dumps(told), "utf-8")


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda folder: (folder / "config.json").unlink(), "is not a model folder: it has no config.json"),
        (lambda folder: cut(folder / "config.json", 0.5), "cannot be read"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[1, 2]"), "is not a model's configuration"),
        (lambda folder: edit(folder, lambda told: told.update(schema=2)), "newer version (schema 2, this one reads"),
        (lambda folder: edit(folder, lambda told: told.pop("card")), "is damaged"),
        (lambda folder: edit(folder, lambda told: told["card"].pop("names")), "is damaged"),
        (lambda folder: edit(folder, lambda told: told["card"].update(n_features="many")), "is damaged"),
        (lambda folder: edit(folder, lambda told: told["card"].update(names=["a"])), "is damaged"),
        (lambda folder: edit(folder, lambda told: told["config"]["look"].update(budgt=1)), "no setting 'look.budgt'"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "is damaged"),
        (lambda folder: cut(folder / "weights.safetensors", 0.5), "is damaged"),
        (lambda folder: cut(folder / "weights.safetensors", 0), "is damaged"),
    ],
)
def test_a_folder_that_is_no_sound_model_is_refused_in_one_line(folder, harm, message):
    LookAgain.load(folder)
    harm(folder)
    with pytest.raises(InputError, match=re.escape(message)) as told:
        LookAgain.load(folder)
    assert "\n" not in str(told.value)


def test_no_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"nowhere is not a model folder: it has no config\.json"):
        LookAgain.load(tmp_path / "nowhere")


def test_other_keypoints_are_refused_with_both_lists(make_model):
    card = make_model().card
    card.check_keypoints(("nose", "ear", "tail"), 2, "monday")
    with pytest.raises(InputError) as told:
        card.check_keypoints(("nose", "tail", "ear"), 2, "monday")
    assert "monday has the keypoints nose, tail, ear in 2 coordinates" in str(told.value)
    assert "the model knows nose, ear, tail in 2;" in str(told.value)
    with pytest.raises(InputError, match="nose, ear, tail in 3 coordinates, but the model knows nose, ear, tail in 2;"):
        card.check_keypoints(("nose", "ear", "tail"), 3, "monday")


def test_heads_of_another_kind_are_told_from_a_damaged_model(tmp_path):
    (tmp_path / "config.json").write_text('{"schema": 1, "kind": "actions"}')
    with pytest.raises(InputError, match=r"holds action segmentation heads, .* apply them with predict"):
        LookAgain.load(tmp_path)


def test_noise_moves_all_columns_of_keypoints_and_no_confidence(make_model, make_batch):
    encoder = make_model().motion_encoder
    encoder.scale.copy_(torch.linspace(1, 2, len(encoder.scale)))
    torch.manual_seed(0)
    motion = make_batch().motion.repeat(60, 1, 1, 1)
    moved = (encoder.jitter(motion, 0.5) - motion) / encoder.scale
    deviation = moved.flatten(0, -2).std(0)
    sure = slice(encoder.pose_width, encoder.pose_width + encoder.n_keypoints)
    assert (deviation[sure] == 0).all()
    others = torch.cat([deviation[: sure.start], deviation[sure.stop :]])
    torch.testing.assert_close(others, torch.full_like(others, 0.5), rtol=0.05, atol=0)


def test_hidden_columns_are_at_their_mean_in_all_of_a_window(make_model, make_batch):
    encoder = make_model().motion_encoder
    encoder.mean.copy_(torch.linspace(5, 6, len(encoder.mean)))
    torch.manual_seed(0)
    motion = make_batch().motion.repeat(60, 1, 1, 1)
    moved = encoder.jitter(motion, 0.0, 0.25)
    hidden = (moved == encoder.mean).all(2)  # (B, A, N)
    torch.testing.assert_close(moved, torch.where(hidden.unsqueeze(2), encoder.mean, motion))
    sure = slice(encoder.pose_width, encoder.pose_width + encoder.n_keypoints)
    assert not hidden[..., sure].any()
    others = torch.cat([hidden[..., : sure.start], hidden[..., sure.stop :]], -1).float()
    assert others.mean() == pytest.approx(0.25, abs=0.02)
    assert (others.mean((0, 1)) - 0.25).abs().max() < 0.15  # each column now and then


def test_motion_is_hidden_only_from_heads_that_have_looks_instead(make_model):
    hides = {"finetune": {"motion_dropout": 0.4}}
    assert make_model(look={"budget": 0.25}, **hides).head.motion_dropout == 0.4
    assert make_model(look={"budget": 0.0}, **hides).head.motion_dropout == 0


@pytest.mark.parametrize(
    "kind, epochs, asked, learns",
    [
        ("behavior", 8, False, False),
        ("behavior", 8, True, True),
        ("behavior", 0, False, True),
        ("cluster", 8, True, False),
        ("cluster", 0, False, True),
    ],
)
def test_motion_learns_on_with_behaviors_or_where_nothing_else_taught_it(make_model, kind, epochs, asked, learns):
    model = make_model(kind, pretrain={"epochs": epochs}, finetune={"learn_motion": asked})
    assert model.learns_motion is learns
    finetuned = {id(parameter) for parameter in model.finetuned_parameters()}
    assert all((id(p) in finetuned) is learns for p in model.motion_encoder.parameters())
