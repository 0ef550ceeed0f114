"""Principal components of crops."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from napari_lookagain.errors import InputError
from napari_lookagain.vision.pca import PCAEncoder


def crops(n: int, seed: int = 0, size: int = 12) -> np.ndarray:
    """Bars at an angle and a place of their own: a handful of large components and a tail of small ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    angle, offset = rng.uniform(0, np.pi, (n, 1, 1)), rng.normal(0, 2, (n, 1, 1))
    distance = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset)
    return np.clip(220 * np.exp(-(distance**2) / 4) + rng.normal(20, 3, (n, size, size)), 0, 255).astype(np.uint8)


def test_features_are_the_projection_on_the_leading_eigenvectors_halfway_to_unit_variance() -> None:
    images = crops(400)
    flat = images.reshape(400, -1) / 255
    eigenvalues, eigenvectors = np.linalg.eigh(np.cov(flat.T))
    expected = (flat - flat.mean(0)) @ eigenvectors[:, :-6:-1] / eigenvalues[:-6:-1] ** 0.25
    features = PCAEncoder.fit(images, components=5).encode(images)
    assert features.dtype == np.float32
    for ours, theirs in zip(features.T, expected.T, strict=True):  # the sign of a component is free
        assert_allclose(ours, theirs * np.sign(ours @ theirs), atol=0.02)


def test_features_weaken_along_the_components_and_no_other_frames_enter_the_fit() -> None:
    images = crops(600)
    encoder = PCAEncoder.fit(images[:300], components=16)
    assert (encoder.width, encoder.size, encoder.grey, encoder.kind) == (16, 12, True, "pca")
    features = encoder.encode(images[:300])
    assert_allclose(features.mean(0), 0, atol=1e-3)
    deviation = features.std(0, ddof=1)
    assert (np.diff(deviation) < 1e-3).all()
    assert PCAEncoder.fit(images[:300].copy(), components=16).fingerprint == encoder.fingerprint
    assert PCAEncoder.fit(images, components=16).fingerprint != encoder.fingerprint


def test_neither_patches_nor_a_class_token_are_to_be_had() -> None:
    encoder = PCAEncoder.fit(crops(100), components=4)
    assert encoder.n_patches == 0
    assert_array_equal(encoder.encode(crops(3), "mean"), encoder.encode(crops(3)))
    with pytest.raises(InputError, match=r"'pca' has no patches: .*; use vision\.pooling=mean"):
        encoder.encode(crops(3), "patches")
    with pytest.raises(InputError, match="'pca' has no class token"):
        encoder.encode(crops(3), "cls")


def test_a_feature_does_not_depend_on_the_batch() -> None:
    images = crops(300)
    encoder = PCAEncoder.fit(images, components=16)
    one_by_one = np.concatenate([encoder.encode(image[None]) for image in images[:20]])
    assert_array_equal(encoder.encode(images)[:20], one_by_one)
    assert encoder.encode(images[:0]).shape == (0, 16)


def test_the_encoder_does_not_depend_on_the_number_of_threads() -> None:
    images = crops(300, size=24)
    fingerprints = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            fingerprints.add(PCAEncoder.fit(images, components=16).fingerprint)
    assert len(fingerprints) == 1


def test_few_images_give_fewer_components_and_say_so() -> None:
    images = crops(10)
    with pytest.warns(UserWarning, match="10 crops vary in only 9 ways.*instead of 64"):
        encoder = PCAEncoder.fit(images)
    assert encoder.width == 9
    assert np.abs(encoder.encode(crops(50, seed=1))).max() < 100  # no component of mere rounding is blown up


def test_repeated_images_give_no_component_of_rounding() -> None:
    with pytest.warns(UserWarning, match="vary in only 4 ways"):
        encoder = PCAEncoder.fit(np.repeat(crops(5), 100, axis=0), components=16)
    assert encoder.width == 4


def test_of_many_images_some_are_drawn_and_the_seed_decides_which() -> None:
    images = crops(10_500, size=6)
    first, again, other = (PCAEncoder.fit(images, components=8, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert not np.array_equal(first.mean, other.mean)


def test_saved_weights_are_the_same(tmp_path) -> None:
    encoder = PCAEncoder.fit(crops(200), components=8)
    encoder.save(tmp_path / "model")
    loaded = PCAEncoder.load(tmp_path / "model")
    assert loaded.fingerprint == encoder.fingerprint
    assert_array_equal(loaded.encode(crops(5)), encoder.encode(crops(5)))


def test_damaged_weights_are_refused(tmp_path) -> None:
    encoder = PCAEncoder.fit(crops(200), components=8)
    PCAEncoder(encoder.mean[:-1], encoder.components).save(tmp_path)
    with pytest.raises(InputError, match="do not belong together"):
        PCAEncoder.load(tmp_path)
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="does not hold the weights"):
        PCAEncoder.load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="does not hold the weights"):
        PCAEncoder.load(tmp_path)


@pytest.mark.parametrize(
    "images", [np.full((50, 8, 8), 7, np.uint8), crops(1), crops(0)], ids=["all the same", "one", "none"]
)
def test_images_that_do_not_differ_are_refused(images: np.ndarray) -> None:
    with pytest.raises(InputError, match=f"{len(images)} images that do not differ"):
        PCAEncoder.fit(images)


def test_images_of_another_kind_are_refused() -> None:
    encoder = PCAEncoder.fit(crops(200), components=8)
    for wrong in (crops(3, size=10), crops(3)[..., None], crops(3).astype(np.float32)):
        with pytest.raises(InputError, match=r"expected grey uint8 images of shape \(N, 12, 12\)"):
            encoder.encode(wrong)
    with pytest.raises(InputError, match=r"shape \(N, size, size\)"):
        PCAEncoder.fit(crops(3)[:, :5])
    with pytest.raises(InputError, match="0 components"):
        PCAEncoder.fit(crops(30), components=0)
