"""The motion encoder: tokens and their codebooks, padding that enters nothing, and animals that know of each other."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from napari_lookagain.config import MotionConfig
from napari_lookagain.model.motion import MIN_SCALE, MotionEncoder

PARTS = ("latent", "tokens", "codes", "embedding", "reliability")


@pytest.fixture
def make_encoder(make_model):
    """A motion encoder in eval mode whose codebooks have started."""
    return lambda **options: make_model(**options).motion_encoder


def books(encoder):
    """Everything the codebooks are made of."""
    return {name: value.clone() for name, value in encoder.quantizer.state_dict().items()}


def quantize(encoder, latent, seed=0):
    torch.manual_seed(seed)
    return encoder.quantize(latent, torch.ones(latent.shape[:-1], dtype=torch.bool))


def test_shapes(make_encoder, make_batch):
    batch = make_batch()
    told = make_encoder()(batch.motion, batch.valid)
    assert told.latent.shape == told.tokens.shape == told.embedding.shape == (3, 2, 16, 16)
    assert told.codes.shape == (3, 2, 16, 2)
    assert told.reliability.shape == (3, 2, 16)
    torch.testing.assert_close(told.reliability, batch.motion[..., 6:9].mean(-1))


def test_every_column_is_standardized_by_what_it_was_fitted_to():
    encoder = MotionEncoder(4, 2, 1, MotionConfig(latent_width=8, codes=4, width=8, heads=2, window=8))
    encoder.fit_scale(tensor([[0.0, 10, 1, 5], [4, 30, 1, 5], [2, 20, 1.02, 5]]))
    torch.testing.assert_close(encoder.mean, tensor([2, 20, 1.00667, 5]), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.scale, tensor([1.63299, 8.16497, MIN_SCALE, MIN_SCALE]), atol=1e-4, rtol=0)
    standard = encoder.standardize(tensor([4.0, 20, 1, 5]))
    torch.testing.assert_close(standard, tensor([1.22474, 0, -0.006667 / MIN_SCALE, 0]), atol=1e-3, rtol=0)


# Quantization


def test_tokens_are_sums_of_the_nearest_codes(make_encoder):
    encoder = make_encoder()
    latent = torch.randn(2, 1, 16, 16)
    tokens, codes = quantize(encoder, latent)
    first, second = encoder.quantizer.codebooks
    flat = latent.flatten(0, 2)
    nearest = torch.cdist(flat, first).argmin(-1)
    residual = torch.cdist(flat - first[nearest], second).argmin(-1)
    assert torch.equal(codes.flatten(0, 2), torch.stack([nearest, residual], -1))
    torch.testing.assert_close(tokens.flatten(0, 2), first[nearest] + second[residual])


@pytest.mark.parametrize("training", [False, True])
def test_quantization_leaves_the_encoder_output_as_it_is(make_encoder, make_batch, training):
    encoder, batch = make_encoder().train(training), make_batch()
    outputs = []
    encoder.encode_attention.register_forward_hook(
        lambda module, inputs, output: outputs.append(output.detach().clone())
    )
    told = encoder(batch.motion, batch.valid)
    assert torch.equal(told.latent.flatten(0, 1), outputs[0])
    assert not torch.allclose(told.tokens, told.latent)


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_goes_straight_through(make_encoder, training):
    encoder = make_encoder().train(training)
    latent, weight = torch.randn(2, 1, 16, 16, requires_grad=True), torch.randn(2, 1, 16, 16)
    tokens, _ = quantize(encoder, latent)
    (tokens * weight).sum().backward()
    torch.testing.assert_close(latent.grad, weight)


def test_codebooks_follow_in_training_and_stand_still_otherwise(make_encoder):
    encoder, latent = make_encoder(), torch.randn(2, 1, 16, 16)
    before = books(encoder)
    quantize(encoder, latent)
    assert all(torch.equal(before[name], value) for name, value in books(encoder).items())
    quantize(encoder.train(), latent)
    embed = "layers.0._codebook.embed"
    assert not torch.equal(before[embed], books(encoder)[embed])


def test_an_untrained_model_is_left_as_it_is(make_model, make_batch):
    model, batch = make_model(raw=True), make_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    output = model(batch.motion, batch.valid, batch.visual_features)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.isfinite(output.head[batch.valid]).all()
    assert (output.motion.tokens == 0).all()
    model.motion_encoder.train()(batch.motion, batch.valid)
    assert (model.motion_encoder.eval()(batch.motion, batch.valid).tokens[batch.valid] != 0).any()


def test_one_step_of_the_moving_average_by_hand(make_encoder):
    encoder = make_encoder().train()
    book = encoder.quantizer.layers[0]._codebook
    with torch.no_grad():  # eight codes far apart, each used a hundred times
        book.embed.copy_(torch.eye(8, 16)[None] * 10)
        book.cluster_size.fill_(100.0)
        book.embed_avg.copy_(book.embed * 100)
    latent = torch.zeros(1, 1, 4, 16)
    latent[..., 0], latent[0, 0, :, 1] = 12.0, 1.0
    _, codes = quantize(encoder, latent)
    assert codes[..., 0].unique().tolist() == [0]
    count = 0.95 * 100 + 0.05 * 4
    assert book.cluster_size[0].tolist() == pytest.approx([count] + [95.0] * 7)
    expected = tensor([(0.95 * 1000 + 0.05 * 48) / count, 0.05 * 4 / count])
    torch.testing.assert_close(book.embed[0, 0, :2], expected, atol=1e-4, rtol=1e-4)


def test_the_state_is_whole(make_model, make_batch, pretrain_step, tmp_path):
    model, batch = make_model(), make_batch()
    pretrain_step(model, batch)
    model.save(tmp_path)
    again = type(model).load(tmp_path)
    copied = make_model(raw=True, seed=9)
    copied.load_state_dict(model.state_dict())
    for other in (again, copied):
        told, same = (m.motion_encoder(batch.motion, batch.valid) for m in (model, other))
        assert all(torch.equal(getattr(told, part), getattr(same, part)) for part in PARTS)
    moved = make_batch(seed=1)
    losses = [pretrain_step(m, moved, seed=7) for m in (model, again, copied)]
    assert losses[0] == losses[1] == losses[2]
    states = [m.state_dict() for m in (model, again, copied)]
    assert any("embed_avg" in name for name in states[0])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
        assert torch.equal(value, states[2][name]), name


# Padding


def test_padding_enters_no_codebook_and_no_weight(make_model, make_batch, soil, pretrain_step):
    states = []
    for batch in (make_batch(), soil(make_batch())):
        model = make_model(raw=True)  # so that the first k-means is part of it
        losses = [pretrain_step(model, batch, seed) for seed in range(3)]
        states.append((losses, model.state_dict()))
    (losses, state), (other_losses, other_state) = states
    for told, other in zip(losses, other_losses, strict=True):
        assert told == pytest.approx(other, rel=1e-5)
    for name, value in state.items():
        torch.testing.assert_close(value, other_state[name], atol=1e-5, rtol=1e-4, msg=name)


def test_padding_has_no_influence_on_valid_frames(make_encoder, make_batch, soil):
    encoder, batch = make_encoder(), make_batch()
    told, other = (encoder(b.motion, b.valid) for b in (batch, soil(batch)))
    for part in PARTS:
        torch.testing.assert_close(getattr(told, part)[batch.valid], getattr(other, part)[batch.valid], msg=part)
    assert (told.codes[~batch.valid] == -1).all()
    assert (told.tokens[~batch.valid] == 0).all()
    decoded = [
        encoder.decode(tokens, batch.valid) for tokens in (told.tokens, told.tokens + ~batch.valid[..., None] * 9)
    ]
    torch.testing.assert_close(decoded[0][batch.valid], decoded[1][batch.valid])


def test_a_short_window_says_the_same_padded_or_not(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch()
    assert batch.valid[0].sum(-1).tolist() == [11, 11]
    padded = encoder(batch.motion, batch.valid)
    short = encoder(batch.motion[:1, :, :11], batch.valid[:1, :, :11])
    for part in PARTS:
        torch.testing.assert_close(getattr(short, part)[0], getattr(padded, part)[0, :, :11], msg=part)
    decoded = encoder.decode(padded.tokens, batch.valid)[0, :, :11]
    torch.testing.assert_close(encoder.decode(short.tokens, batch.valid[:1, :, :11])[0], decoded)


def test_a_batch_of_padding_alone_does_no_harm(make_encoder, make_batch):
    encoder, batch = make_encoder().train(), make_batch()
    before = books(encoder)
    told = encoder(batch.motion, torch.zeros_like(batch.valid))
    assert all(torch.isfinite(getattr(told, part)).all() for part in PARTS)
    assert all(torch.equal(before[name], value) for name, value in books(encoder).items())


def test_the_fast_path_of_inference_says_the_same(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch()
    told = encoder(batch.motion, batch.valid)
    with torch.inference_mode():
        fast = encoder(batch.motion, batch.valid)
    for part in PARTS:
        torch.testing.assert_close(
            getattr(told, part)[batch.valid], getattr(fast, part)[batch.valid], atol=1e-5, rtol=1e-4, msg=part
        )


def test_hidden_frames_are_hidden(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch(padded=False)
    hidden = torch.zeros_like(batch.valid)
    hidden[:, :, 4:8] = True
    other = torch.where(hidden.unsqueeze(-1), -3.0, batch.motion)
    told, same = (encoder(motion, batch.valid, hidden) for motion in (batch.motion, other))
    for part in ("latent", "tokens", "codes"):
        assert torch.equal(getattr(told, part), getattr(same, part))
    shown = encoder(batch.motion, batch.valid)
    assert not torch.allclose(shown.latent, told.latent)


# Animals among each other


def test_an_animal_alone_is_not_social(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch(animals=1, padded=False)
    told = encoder(batch.motion, batch.valid)
    assert torch.equal(told.embedding, encoder.embed(told.tokens, batch.valid))


def test_an_animal_alone_stays_so_in_a_batch_padded_for_others(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch()
    assert batch.valid[-1].any(-1).tolist() == [True, False]
    alone = encoder(batch.motion[-1:, :1], batch.valid[-1:, :1])
    torch.testing.assert_close(encoder(batch.motion, batch.valid).embedding[-1, 0], alone.embedding[0, 0])


def test_animals_in_company_know_of_each_other(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch(padded=False)
    told = encoder(batch.motion, batch.valid)
    other = batch.motion.clone()
    other[:, 1, 5, :6] += 3  # where the second animal is
    heard = encoder(other, batch.valid)
    assert torch.equal(heard.tokens[:, 0], told.tokens[:, 0])
    assert not torch.allclose(heard.embedding[:, 0], told.embedding[:, 0])


def test_absent_animals_are_not_heard(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch(padded=False)
    motion = batch.motion.clone()
    motion[:, 1, 4:9, 6:9] = 0  # no keypoint of the second animal
    present = batch.valid & (motion[..., 6:9] > 0).any(-1)
    embedding = torch.randn(3, 2, 16, 16)
    changed = torch.where(present.unsqueeze(-1), embedding, -embedding)
    told, heard = encoder.socialize(embedding, present), encoder.socialize(changed, present)
    torch.testing.assert_close(heard[:, 0], told[:, 0])
    everybody = [encoder.socialize(e, batch.valid)[:, 0] for e in (embedding, changed)]
    assert not torch.allclose(*everybody)
    seen = []
    encoder.social.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    encoder(motion, batch.valid)
    assert torch.equal(seen[0].view(3, 16, 2).transpose(1, 2), present)


def test_animals_swapped_are_embeddings_swapped(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch(animals=3)
    order = [2, 0, 1]
    told, swapped = (encoder(batch.motion[:, o], batch.valid[:, o]) for o in ([0, 1, 2], order))
    valid = batch.valid[:, order]
    for part in PARTS:
        torch.testing.assert_close(getattr(swapped, part)[valid], getattr(told, part)[:, order][valid], msg=part)


def test_frames_of_a_window_know_of_each_other_and_windows_do_not(make_encoder, make_batch):
    encoder, batch = make_encoder(), make_batch(padded=False)
    other = batch.motion.clone()
    other[0, 0, 3] += 1
    told, changed = (encoder(motion, batch.valid).embedding for motion in (batch.motion, other))
    assert not torch.allclose(told[0, 0, 15], changed[0, 0, 15])
    torch.testing.assert_close(told[1:], changed[1:])
