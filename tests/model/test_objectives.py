"""What training minimizes, whom it moves, and that it can learn one batch by heart."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lookagain.config import LookConfig
from napari_lookagain.model import losses
from napari_lookagain.model.objectives import (
    BLIND_SHARE,
    SMALLEST_BUDGET,
    Batch,
    Finetuning,
    Pretraining,
    hide_spans,
    training_budget,
)


def gradients(module):
    """First names of the parts that a gradient reaches."""
    return {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}


def test_the_loss_of_pretraining_is_the_weighted_sum(make_model, make_batch):
    told = Pretraining(make_model())(make_batch())
    assert set(told) == {"loss", "mask", "pred", "rvq", "recon"}
    assert all(loss > 0 for loss in told.values())
    expected = told["mask"] + 0.5 * told["pred"] + 0.1 * told["rvq"] + 0.1 * told["recon"]
    torch.testing.assert_close(told["loss"], expected)


def test_the_weights_are_settings(make_model, make_batch):
    weights = {"pred_weight": 0.0, "rvq_weight": 2.0, "recon_weight": 3.0}
    told = Pretraining(make_model(pretrain=weights))(make_batch())
    torch.testing.assert_close(told["loss"], told["mask"] + 2 * told["rvq"] + 3 * told["recon"])
    told = Pretraining(make_model(pretrain=weights | {"mask_weight": 0.3}))(make_batch())
    torch.testing.assert_close(told["loss"], 0.3 * told["mask"] + 2 * told["rvq"] + 3 * told["recon"])


def test_without_masked_prediction_nothing_is_hidden(make_model, make_batch):
    model, hidden = make_model(pretrain={"mask_weight": 0.0}), []
    model.motion_encoder.register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[2]))
    told = Pretraining(model).train()(make_batch())
    told["loss"].backward()
    assert not hidden[0].any()
    assert told["mask"] == 0
    assert gradients(model) == {"motion_encoder", "predict_vision"}
    assert "mask_token" not in gradients(model.motion_encoder)


def test_each_part_of_the_loss_is_of_the_standardized_descriptor(make_model, make_batch):
    model, batch = make_model(), make_batch()
    model.motion_encoder.fit_scale(batch.motion[batch.valid])
    torch.manual_seed(3)
    told = Pretraining(model)(batch)
    torch.manual_seed(3)
    hidden = hide_spans(batch.valid, 0.15, (2, 4))
    encoder, target = model.motion_encoder, (batch.motion - model.motion_encoder.mean) / model.motion_encoder.scale
    motion = encoder(batch.motion, batch.valid, hidden)
    off = (model.predict_keypoints(motion.embedding) - target[..., :6]).square()[hidden]
    torch.testing.assert_close(told["mask"], off.mean(), msg="all keypoints are present here")
    rebuilt = (encoder.decode(motion.tokens, batch.valid) - target).square()[batch.valid]
    torch.testing.assert_close(told["recon"], rebuilt.mean())
    torch.testing.assert_close(told["rvq"], 0.25 * (motion.latent - motion.tokens).square()[batch.valid].mean())


def test_missing_keypoints_are_no_target(make_model, make_batch):
    model, batch = make_model(), make_batch()
    batch.motion[..., 7] = 0  # confidence of the second keypoint, whose coordinates are columns 2 and 3
    losses = []
    for value in (0.0, 50.0):
        motion = batch.motion.clone()
        torch.manual_seed(0)
        hidden = hide_spans(batch.valid, 0.15, (2, 4)).unsqueeze(-1)
        motion[..., 2:4] = torch.where(hidden, value, motion[..., 2:4])
        torch.manual_seed(0)
        told = Pretraining(model)(Batch(motion, batch.valid, batch.visual_features, batch.behavior))
        losses.append(told["mask"])
    assert torch.equal(*losses)


def test_padding_enters_no_loss_of_pretraining(make_model, make_batch, soil):
    model, told = make_model(), []
    for batch in (make_batch(), soil(make_batch())):
        torch.manual_seed(0)
        told.append({name: float(loss.detach()) for name, loss in Pretraining(model)(batch).items()})
    assert told[0] == pytest.approx(told[1], rel=1e-5)


def test_pretraining_moves_the_motion_encoder_and_its_predictors(make_model, make_batch):
    model = make_model()
    Pretraining(model).train()(make_batch())["loss"].backward()
    assert gradients(model) == {"motion_encoder", "predict_keypoints", "predict_vision"}
    parts = gradients(model.motion_encoder)
    assert parts >= {"encode_conv", "encode_attention", "decode_conv", "temporal", "social", "social_mlp", "mask_token"}


def frozen(model):
    return {name: value.clone() for name, value in model.motion_encoder.state_dict().items()}


def test_fine_tuning_leaves_the_motion_encoder_and_its_codebooks_alone(make_model, make_batch):
    model = make_model(look={"noise": "none"}, motion={"dropout": 0.5})
    before = frozen(model)
    objective = Finetuning(model, torch.ones(3)).train()
    assert model.head.training
    assert not any(part.training for part in model.motion_encoder.modules())
    for parameter in model.motion_encoder.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam(model.finetuned_parameters())
    first = objective(make_batch(), None, 0.0)["loss"]
    torch.testing.assert_close(first, objective(make_batch(), None, 0.0)["loss"], msg="its dropout is off")
    first.backward()
    optimizer.step()
    assert gradients(model) == {"gate", "visual_context", "head"}
    assert all(torch.equal(value, before[name]) for name, value in frozen(model).items())


LEARNS, UNTAUGHT = {"finetune": {"learn_motion": True}}, {"pretrain": {"epochs": 0}}


@pytest.mark.parametrize("kind, changes", [("behavior", LEARNS), ("behavior", UNTAUGHT), ("cluster", UNTAUGHT)])
def test_a_motion_encoder_that_learns_on_moves_with_its_codebooks(make_model, make_batch, kind, changes):
    model, batch = make_model(kind, **changes), make_batch()
    before = frozen(model)
    objective = Finetuning(model, torch.ones(3)).train()
    assert model.motion_encoder.training
    target = None if kind == "behavior" else torch.tensor([0.2, 0.3, 0.5]).expand(3, 2, 16, 3)
    told = objective(batch, target, 0.0)
    told["loss"].backward()
    parts = gradients(model.motion_encoder)
    assert parts >= {"encode_conv", "encode_attention"} | ({"temporal", "social"} if kind == "behavior" else set())
    assert "decode_conv" not in parts, "nothing is rebuilt"
    moved = {name for name, value in frozen(model).items() if not torch.equal(value, before[name])}
    assert any("codebook.embed" in name for name in moved), "codebooks follow in training mode"
    objective.eval()
    still = frozen(model)
    objective(batch, target, 1.0)
    assert all(torch.equal(value, still[name]) for name, value in frozen(model).items())


def test_a_motion_encoder_that_learns_on_is_kept_at_its_codes(make_model, make_batch):
    batch = make_batch()
    told = [
        Finetuning(make_model(finetune={"learn_motion": learns}, pretrain={"rvq_weight": 0.4}), torch.ones(3)).eval()(
            batch, None, 1.0
        )
        for learns in (False, True)
    ]
    assert "rvq" not in told[0]
    assert told[1]["rvq"] > 0
    torch.testing.assert_close(told[1]["loss"], told[0]["loss"] + 0.4 * told[1]["rvq"])
    torch.testing.assert_close(told[1]["error"], told[0]["error"])


def test_the_behavior_loss_is_weighted_cross_entropy(make_model, make_batch):
    model, batch, weights = make_model(), make_batch(), torch.tensor([0.5, 2.0, 1.0])
    objective = Finetuning(model, weights).eval()
    logits = model(batch.motion, batch.valid, batch.visual_features).head
    scored = batch.behavior >= 0
    each = -logits.log_softmax(-1)[scored].gather(-1, batch.behavior[scored, None])[:, 0]
    expected = (each * weights[batch.behavior[scored]]).mean()
    told = objective(batch, None, 1.0)
    torch.testing.assert_close(told["loss"], expected)
    torch.testing.assert_close(told["error"], losses.classification_error(logits, batch.behavior, weights))


def test_the_clustering_loss_is_the_sum_of_both(make_model, make_batch):
    model, batch = make_model("cluster", finetune={"tv_weight": 0.3}), make_batch()
    out = model(batch.motion, batch.valid, batch.visual_features)
    q = model.head.probabilities(out.head)
    target = torch.full_like(q, 99.0)
    target[batch.valid] = losses.target_distribution(q[batch.valid]).detach()
    told = Finetuning(model).eval()(batch, target, 1.0)
    torch.testing.assert_close(told["dec"], losses.clustering_loss(q[batch.valid], target[batch.valid]))
    torch.testing.assert_close(told["tv"], losses.total_variation_loss(out.gate.score, batch.valid))
    torch.testing.assert_close(told["loss"], told["dec"] + 0.3 * told["tv"])
    told["loss"].backward()
    assert model.head.centers.grad.any()


@pytest.mark.parametrize("kind", ["behavior", "cluster"])
def test_padding_enters_no_loss_of_fine_tuning(make_model, make_batch, soil, kind):
    model, told = make_model(kind), []
    for batch, padding in ((make_batch(), 0.0), (soil(make_batch()), 5.0)):
        target = None
        if kind == "cluster":
            target = torch.where(batch.valid.unsqueeze(-1), torch.tensor([0.2, 0.3, 0.5]), padding)
        loss = Finetuning(model, torch.ones(3)).eval()(batch, target, 1.0)["loss"]
        model.zero_grad()
        loss.backward()
        told.append([loss.detach(), *(p.grad.clone() for p in model.gate.parameters())])
    for value, other in zip(*told, strict=True):
        torch.testing.assert_close(value, other)


def test_budgets_vary_in_training(make_model, make_batch):
    torch.manual_seed(0)
    varied = torch.tensor([training_budget(LookConfig(budget=0.3, vary_budget=0.75)) for _ in range(4000)])
    drawn = varied[(varied - 0.3).abs() > 1e-6]
    assert len(drawn) / len(varied) == pytest.approx(0.75, abs=0.03)
    assert (drawn == 0).float().mean() == pytest.approx(BLIND_SHARE, abs=0.02)
    drawn = drawn[drawn > 0]
    assert drawn.min() >= SMALLEST_BUDGET
    assert drawn.max() <= 1
    share = (drawn.log() - math.log(SMALLEST_BUDGET)) / -math.log(SMALLEST_BUDGET)  # uniform in 0…1
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.std() == pytest.approx(12**-0.5, abs=0.02)
    assert {training_budget(LookConfig(budget=0.3, vary_budget=0.0)) for _ in range(20)} == {0.3}
    assert {training_budget(LookConfig(budget=0.0, vary_budget=1.0)) for _ in range(20)} == {0.0}


def test_budgets_are_the_configured_one_outside_training(make_model, make_batch):
    model, batch, looks = make_model(look={"budget": 0.25, "vary_budget": 1.0}), make_batch(padded=False), []
    model.visual_context.register_forward_pre_hook(lambda module, inputs: looks.append(int(inputs[2].sum())))
    objective = Finetuning(model, torch.ones(3))
    for training in (True, False):
        objective.train(training)
        for _ in range(10):
            objective(batch, None, 1.0)
    assert len(set(looks[:10])) > 3
    assert set(looks[10:]) == {4 * 6}


def test_one_batch_is_learnt_by_heart(make_model, make_batch):
    model, batch = make_model(look={"budget": 0.5}, pretrain={"epochs": 1}), make_batch(windows=2, padded=True)
    scored = batch.behavior >= 0
    objective = Finetuning(model, losses.class_weights(batch.behavior, 3)).train()
    optimizer = torch.optim.Adam(model.finetuned_parameters(), 1e-2)
    for step in range(300):
        optimizer.zero_grad()
        objective(batch, None, step / 300)["loss"].backward()
        optimizer.step()
    objective.eval()
    predicted = model(batch.motion, batch.valid, batch.visual_features).head.argmax(-1)
    assert torch.equal(predicted[scored], batch.behavior[scored])


def test_pretraining_learns(make_model, make_batch):
    model, batch = make_model(), make_batch(padded=False)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    objective, told = Pretraining(model).train(), []
    for _ in range(100):
        optimizer.zero_grad()
        each = objective(batch)
        each["loss"].backward()
        optimizer.step()
        told.append({name: float(loss.detach()) for name, loss in each.items()})
    for name in ("mask", "pred", "recon"):
        early, late = (sum(losses[name] for losses in some) for some in (told[:10], told[-10:]))
        assert late < 0.9 * early, name


# Hidden frames


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 64), st.integers(0, 100))
def test_only_valid_frames_are_hidden(n_valid, seed):
    torch.manual_seed(seed)
    valid = (torch.arange(64) < n_valid).expand(3, 2, 64)
    hidden = hide_spans(valid, 0.15, (4, 16))
    assert hidden.shape == valid.shape
    assert not (hidden & ~valid).any()


def test_about_the_asked_share_is_hidden_in_spans():
    torch.manual_seed(0)
    hidden = hide_spans(torch.ones(500, 2, 128, dtype=torch.bool), 0.15, (4, 16))
    assert hidden.float().mean() == pytest.approx(0.15, abs=0.02)
    assert hidden.any(-1).float().mean() > 0.95
    assert not torch.equal(hidden[:, 0], hidden[:, 1]), "each animal's own"
    edges = torch.nn.functional.pad(hidden.int(), (1, 1)).diff(dim=-1)
    starts, stops = (edges == 1).nonzero()[:, -1], (edges == -1).nonzero()[:, -1]
    inner = (starts > 0) & (stops < 128)
    assert (stops - starts)[inner].min() >= 4
    assert (stops - starts).max() <= 2 * 16


def test_with_kmeans_nothing_but_the_gate_learns(make_model, make_batch):
    model, batch = make_model("cluster", finetune={"discover": "kmeans", "tv_weight": 0.3}), make_batch()
    objective = Finetuning(model).eval()
    told = objective(batch, None, 1.0)
    out = model(batch.motion, batch.valid, batch.visual_features)
    seen = model.visual_context(batch.visual_features, out.gate.score, batch.valid, batch.valid)
    overlooked = batch.valid & ~out.looked
    torch.testing.assert_close(
        told["overlooked"], losses.overlooked_loss(out.gate.logit, out.context, seen, overlooked)
    )
    torch.testing.assert_close(told["tv"], losses.total_variation_loss(out.gate.score, batch.valid))
    torch.testing.assert_close(told["loss"], told["overlooked"] + 0.3 * told["tv"])
    told["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.gate.parameters())
    assert set(model.finetuned_parameters()) == set(model.gate.parameters())
