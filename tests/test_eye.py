"""The eye of a session: pretrained once, kept, found again."""

from __future__ import annotations

import json
import shutil
from itertools import islice

import av
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_lookagain.config import Config
from napari_lookagain.errors import InputError
from napari_lookagain.eye import crops_of, kept_eye, pretrain_eye, settings_of
from napari_lookagain.material import gather
from napari_lookagain.progress import drain
from napari_lookagain.session import load_session, new_session
from napari_lookagain.vision import beast_training
from napari_lookagain.vision.embed import embed
from napari_lookagain.vision.encoder import load_encoder

torch.set_num_threads(1)


def config(**beast) -> Config:
    return Config.preset("quick", vision={"encoder": "beast"}, beast={"anchors": 24, "epochs": 2, "batch": 16, **beast})


def images(n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 48, 48), dtype=np.uint8)


def test_an_eye_is_kept_in_the_session_and_found_again(session):
    assert kept_eye(session, config()) is None
    encoder = drain(pretrain_eye([session], config(), device="cpu"))
    folder = kept_eye(session, config())
    assert folder.parent == session.path / "beast"
    assert_array_equal(load_encoder(folder).encode(images()), encoder.encode(images()))
    names = {path.name for path in folder.iterdir()}
    assert names == {"encoder.json", "encoder.safetensors", "beast.json", "beast.safetensors"} | {
        "config.json",
        "metrics.json",
    }
    told = json.loads((folder / "metrics.json").read_text())
    assert told["anchors"] == 24
    assert len(told["loss"]) == len(told["contrast"]) == 2
    assert kept_eye(session, config(epochs=3)) is None
    assert kept_eye(session, config().updated(training={"seed": 1})) is None
    assert kept_eye(load_session(session.path), config()) == folder


def test_training_pretrains_an_eye_once(session):
    small = {"motion": {"window": 64}, "training": {"max_windows": 2, "validation_share": 0.0}}
    settings = config().updated(**small)
    first = drain(gather([session], settings, device="cpu"))
    stages = set()
    work = gather([session], settings, device="cpu")
    try:
        while True:
            stages.add(next(work).stage)
    except StopIteration as end:
        again = end.value
    assert "pretraining the eye" not in stages
    assert again.encoder.fingerprint == first.encoder.fingerprint
    assert (first.visual_width, first.n_patches, first.batches.seen_width) == (128, 0, 128)


def test_patches_are_gathered_for_attention(session):
    small = {"motion": {"window": 64}, "training": {"max_windows": 2, "validation_share": 0.0}}
    settings = config().updated(vision={"pooling": "attention"}, **small)
    material = drain(gather([session], settings, device="cpu"))
    assert (material.visual_width, material.n_patches) == (128, 36)
    batch = material.batches(material.windows[:1])
    assert batch.visual_features.shape == (1, 2, 64, 36 * 128)
    not_kept = drain(gather([session], settings.updated(vision={"keep": False}), device="cpu"))
    seen = not_kept.batches(material.windows[:1]).visual_features
    torch.testing.assert_close(seen, batch.visual_features, atol=4e-3, rtol=2e-3)  # kept ones have half precision


def test_features_are_of_one_scale(session):
    encoder = drain(pretrain_eye([session], config(epochs=20), device="cpu"))
    crops = crops_of(session, config(), encoder.size)
    with session.open_video() as video:
        some = np.stack([crops.cut(frame, t, 0) for t, frame in video.frames(np.arange(0, 300, 3), grey=True)])
    for what in ("mean", "cls", "patches"):
        features = encoder.encode(some, what).reshape(-1, 128)
        assert abs(features.mean()) < 0.5
        assert 0.4 < features.std() < 2


def test_an_eye_that_was_cut_off_goes_on_to_the_same_weights(session, tmp_path, monkeypatch):
    monkeypatch.setattr(beast_training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    straight = drain(pretrain_eye([session], config(epochs=3), tmp_path / "straight", device="cpu"))
    work = pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu")
    for told in work:
        if told.stage == "pretraining the eye" and told.done == 5:
            break
    work.close()
    stages = []
    resumed = pretrain_eye([session], config(epochs=3), tmp_path / "cut", device="cpu")
    try:
        while True:
            stages.append(next(resumed).stage)
    except StopIteration as end:
        encoder = end.value
    assert set(stages) == {"pretraining the eye"}  # the frames are not read again
    assert len(stages) < 9
    assert encoder.fingerprint == straight.fingerprint


def test_an_eye_that_is_cut_off_while_it_reads_leaves_nothing_half_written(session, tmp_path):
    work = pretrain_eye([session], config(), tmp_path / "cut", device="cpu")
    list(islice(work, 310))
    work.close()
    assert not list((tmp_path / "cut").glob("frames*"))


def test_a_video_alone_is_seen_whole(simulated, tmp_path):
    session = new_session(video=simulated.video)
    encoder = drain(pretrain_eye([session], config(), tmp_path / "eye", device="cpu"))
    crops = crops_of(session, settings_of(tmp_path / "eye"), encoder.size)
    assert crops.kind == "frame"
    shape = drain(embed(session, encoder, crops, tmp_path / "cls.npy"))
    rows = np.load(tmp_path / "cls.npy")
    assert rows.shape == shape == (300, 128)
    with session.open_video() as video:
        expected = encoder.encode(crops.cut(video.frame(7, grey=True), 7, 0)[None], "cls")
    np.testing.assert_allclose(rows[7:8], expected, atol=1e-4)


def test_patches_of_every_animal_are_written(session, tmp_path):
    encoder = drain(pretrain_eye([session], config(), tmp_path / "eye", device="cpu"))
    crops = crops_of(session, config(), encoder.size)
    assert drain(embed(session, encoder, crops, tmp_path / "p.npy", "patches")) == (300, 2, 36, 128)
    assert np.load(tmp_path / "p.npy").dtype == np.float16


def test_several_recordings_share_an_eye(session, untracked, tmp_path):
    eye = tmp_path / "eye"
    drain(pretrain_eye([session, untracked], config(), eye, device="cpu"))
    assert json.loads((eye / "metrics.json").read_text())["anchors"] == 48
    assert json.loads((eye / "config.json").read_text())["recordings"] == ["mice", "untracked"]


def test_learning_goes_on_from_an_eye_made_here(session, tmp_path):
    drain(pretrain_eye([session], config(), tmp_path / "first", device="cpu"))
    more = config(start=str(tmp_path / "first"), epochs=1)
    drain(pretrain_eye([session], more, tmp_path / "second", device="cpu"))
    assert (tmp_path / "second" / "encoder.json").exists()


def test_what_cannot_be_learnt_from_is_refused(session, tmp_path, untracked):
    blind = load_session(shutil.copytree(session.path, tmp_path / "blind.lookagain"))
    blind.video = None
    with pytest.raises(InputError, match="mice has no video to learn from"):
        drain(pretrain_eye([blind], config(), tmp_path / "eye"))
    drain(pretrain_eye([session], config(epochs=1), tmp_path / "eye", device="cpu"))
    with pytest.raises(InputError, match="holds an encoder already"):
        drain(pretrain_eye([session], config(), tmp_path / "eye"))
    with pytest.raises(InputError, match=r"is in memory only; save it first, or name a folder"):
        drain(pretrain_eye([new_session(video=untracked.video.path)], config()))


def test_frames_smaller_than_the_patches_are_refused(tmp_path):
    with av.open(str(tmp_path / "small.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "gray"
        for i in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((8, 8), i, np.uint8), format="gray")))
        container.mux(stream.encode())
    session = new_session(video=tmp_path / "small.mkv")
    with pytest.raises(InputError, match=r"frames of small are 8×8 pixels, but the eye cuts an image into 14×14"):
        drain(pretrain_eye([session], config(size="small"), tmp_path / "eye"))
