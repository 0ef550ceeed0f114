"""What training reads: from which recordings, which windows, and with which eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_lookagain.video
from napari_lookagain.annotations import Annotations
from napari_lookagain.batches import Batches
from napari_lookagain.errors import InputError
from napari_lookagain.features import trusted
from napari_lookagain.material import PCA_SIZE, behavior_labels, gather
from napari_lookagain.model.lookagain import LookAgain, ModelCard
from napari_lookagain.progress import drain
from napari_lookagain.train import finetune
from napari_lookagain.vision.cache import FeatureMemory
from napari_lookagain.vision.crops import Crops
from napari_lookagain.vision.encoder import save_encoder
from napari_lookagain.vision.pca import PCAEncoder
from napari_lookagain.windows import Window

FEW = {"max_windows": 3, "validation_share": 0.0}


def gathered(sessions, config, **options):
    return drain(gather(sessions, config, device="cpu", **options))


def frames_of(windows, n_frames=300):
    inside = np.zeros(n_frames, bool)
    for window in windows:
        inside[window.start : window.stop] = True
    return inside


def labelled(session, labels, names, rater="ann"):
    """The session in memory, with only these (T,) labels of both animals."""
    annotations = Annotations(session.n_frames, session.animals)
    annotations.set_frames(np.repeat(np.asarray(labels)[:, None], session.n_animals, axis=1), names, rater)
    return replace(session, annotations=annotations, path=None)


def test_recordings_with_other_keypoints_are_refused_with_both_lists(session, tiny):
    names = ("snout", *session.keypoint_names[1:])
    other = replace(session, recording="rats", keypoint_names=names, heading=None)
    with pytest.raises(InputError, match="rats has the keypoints .* but mice has") as error:
        gathered([session, other], tiny())
    assert ", ".join(names) in str(error.value)
    assert ", ".join(session.keypoint_names) in str(error.value)
    assert list(session.features_folder.iterdir()) == []


def test_recordings_with_and_without_a_video_are_refused(session, tiny):
    blind = replace(session, recording="blind", video=None, path=None)
    with pytest.raises(InputError, match="blind has no video, but others have one"):
        gathered([session, blind], tiny(look={"budget": 0.0}))


def test_without_a_video_nothing_is_predicted_of_it(session, tiny):
    blind = replace(session, video=None, path=None)
    with pytest.raises(InputError, match="mice has no video to look at; use budget 0"):
        gathered([blind], tiny(look={"budget": 0.1}))
    material = gathered([blind], tiny(look={"budget": 0.0}))
    assert material.encoder is None
    assert material.config.pretrain.pred_weight == 0
    assert material.batches.seen_width == 1


def test_the_eye_is_fitted_to_frames_of_the_training_windows_alone(session, tiny, monkeypatch):
    asked = []

    class RememberingVideo(napari_lookagain.video.Video):
        def frames(self, indices, **options):
            asked.append(np.asarray(indices))
            return super().frames(indices, **options)

    monkeypatch.setattr(napari_lookagain.video, "Video", RememberingVideo)
    config = tiny(training=FEW)
    material = gathered([session], config)
    inside = frames_of([*material.windows, *material.fine_windows])
    assert 0 < inside.sum() < session.n_frames
    fitted, *looked = asked  # looking parts the video into stretches
    assert fitted.tolist() == np.concatenate(looked).tolist() == np.flatnonzero(inside).tolist()
    placed = trusted(session, config.features.confidence_threshold)
    crops = Crops(placed, config.vision.crop, config.vision.crop_scale, PCA_SIZE)
    with session.open_video() as video:
        seen = [crops.cut(frame, t, a) for t, frame in video.frames(np.flatnonzero(inside), grey=True) for a in (0, 1)]
    fitted = PCAEncoder.fit(np.stack(seen), config.vision.components, config.training.seed)
    assert fitted.fingerprint == material.encoder.fingerprint


def test_the_eye_is_fitted_to_no_held_out_frame(session, tiny, monkeypatch):
    fitted_to = []

    class RememberingVideo(napari_lookagain.video.Video):
        def frames(self, indices, **options):
            fitted_to.append(np.asarray(indices))
            return super().frames(indices, **options)

    monkeypatch.setattr(napari_lookagain.video, "Video", RememberingVideo)
    material = gathered([session], tiny(training={"validation_share": 0.3}))
    training, held_out = material.split([*material.windows, *material.fine_windows])
    assert frames_of(held_out).sum() > 60
    assert fitted_to[0].tolist() == np.flatnonzero(frames_of(training)).tolist()
    assert not frames_of(held_out)[fitted_to[0]].any()


def test_frames_that_shifted_windows_reach_are_looked_at(session, tiny):
    behavior, names = behavior_labels([session], None)
    with pytest.warns(UserWarning, match="448 of 600 scored frames are left out .* training.max_windows is 3"):
        material = gathered([session], tiny(training=FEW), behavior=behavior)
    assert len(material.fine_windows) == 3
    features = material.batches.recordings[0].visual_features
    reached = frames_of(
        [Window(0, max(0, window.start - 16), min(300, window.stop + 16)) for window in material.fine_windows]
    )
    assert reached.sum() > frames_of(material.fine_windows).sum()
    rows = np.argwhere(np.repeat(reached[:, None], 2, axis=1))
    assert len(features.missing(rows)) == 0
    everywhere = np.argwhere(np.ones((300, 2), bool))
    assert len(features.missing(everywhere)) > 0, "the whole recording was looked at"
    width = material.batches.recordings[0].features.width
    card = ModelCard(tuple("abcdefgh"), 2, width, 1, material.batches.seen_width, "behavior", names)
    model = LookAgain(card, material.config.updated(finetune={"epochs": 8}))
    drain(finetune(model, material.batches, material.fine_windows, device="cpu"))


def test_pretraining_reads_the_mean_over_patches(session, tiny):
    """Eq. 9 has v_raw as its target, however the head pools later."""
    plain = gathered([session], tiny(training=FEW))
    assert drain(plain.for_pretraining()) is plain.batches
    rows = np.argwhere(np.ones((300, 2), bool))
    patches = FeatureMemory((300, 2, 3 * 4), rows)
    patches.write(rows, np.random.default_rng(0).normal(size=(600, 12)).astype(np.float32))
    recording = replace(plain.batches.recordings[0], visual_features=patches)
    batches = Batches([recording], plain.batches.length, 12)
    material = replace(plain, batches=batches, n_patches=3, visual_width=4)
    means, windows = drain(material.for_pretraining()), plain.windows
    assert means.seen_width == 4
    seen, wanted = means(windows).visual_features, batches(windows).visual_features
    torch.testing.assert_close(seen, wanted.unflatten(-1, (3, 4)).mean(-2))
    kept = means.recordings[0].visual_features
    assert len(kept.missing(rows)) == 2 * (300 - frames_of(windows).sum()), "of training windows alone"


def test_a_kept_eye_is_taken_over(session, tiny, tmp_path):
    first = gathered([session], tiny(training=FEW))
    save_encoder(first.encoder, tmp_path / "model" / "encoder")
    second = gathered([session], tiny(), encoder_from=tmp_path / "model")
    assert second.encoder.fingerprint == first.encoder.fingerprint


def test_windows_without_a_scored_frame_are_not_finetuned_on(session, tiny):
    labels = np.full(300, -1)
    labels[40:50], labels[200] = 0, 1
    scored = labelled(session, labels, ["walk", "rest"])
    behavior, _ = behavior_labels([scored], None)
    material = gathered([scored], tiny(look={"budget": 0.0}), behavior=behavior)
    assert [window.start for window in material.fine_windows] == [32, 192]
    assert frames_of(material.windows).all()


def test_training_and_held_out_windows_share_no_frame(session, tiny):
    material = gathered([session], tiny(training={"validation_share": 0.3}))
    both = [material.split(windows) for windows in (material.windows, material.fine_windows)]
    assert all(held_out for _, held_out in both)
    held_out, training = (frames_of([w for parts in both for w in parts[i]]) for i in (1, 0))
    assert not (training & held_out).any(), "pretraining and fine-tuning hold out the same frames"


def test_recordings_that_nobody_scored_are_held_out_of_too(session, tiny):
    behavior, _ = behavior_labels([session], None)
    unscored = np.full_like(behavior[0], -1)
    config = tiny(training={"validation_share": 0.3}, look={"budget": 0.0})
    material = gathered([session, session], config, behavior=[behavior[0], unscored])
    assert {window.recording for window in material.fine_windows} == {0}
    assert [span.recording for span in material.spans] == [0, 1]
    assert {window.recording for window in material.split(material.windows)[1]} == {0, 1}


def test_a_stride_is_at_most_a_window(session, tiny):
    material = gathered([session], tiny(pretrain={"stride": 500}))
    assert frames_of(material.windows).all()


def test_behaviors_have_one_order_in_all_recordings(session):
    some = np.full(300, -1)
    one, other = some.copy(), some.copy()
    one[:10], one[10:20] = 0, 1
    other[:10], other[10:20], other[20:30] = 2, 1, 0
    sessions = [labelled(session, one, ["walk", "rest"]), labelled(session, other, ["rest", "never", "walk"])]
    sessions[1].annotations.assign(0, 10, 20, None, "ann")  # "never" is now scored of one animal alone
    behavior, names = behavior_labels(sessions, None)
    assert names == ("walk", "rest", "never")
    assert behavior[0][:, 0].tolist() == [0] * 10 + [1] * 10 + [-1] * 280
    assert behavior[1][:, 0].tolist() == [0] * 10 + [-1] * 10 + [1] * 10 + [-1] * 270
    assert behavior[1][:, 1].tolist() == [0] * 10 + [2] * 10 + [1] * 10 + [-1] * 270
    sessions[1].annotations.assign(1, 10, 20, None, "ann")
    assert behavior_labels(sessions, None)[1] == ("walk", "rest"), "a name that no frame has is no class"


def test_labels_may_be_of_one_rater(session):
    both = labelled(session, [0] * 10 + [1] * 290, ["walk", "rest"], "ann")
    both.annotations.assign(0, 0, 5, "groom", "ben")
    both.annotations.assign(0, 5, 9, "walk", "ben")
    behavior, names = behavior_labels([both], "ben")
    assert set(names) == {"groom", "walk"}
    assert (behavior[0] >= 0).sum() == 9
    assert behavior_labels([both], None)[1] == ("walk", "rest", "groom")


@pytest.mark.parametrize(
    ("labels", "rater", "message"),
    [
        ([-1] * 300, None, "no frame is scored in mice; score at least two behaviors"),
        ([-1] * 299 + [1], None, "only 'rest' is scored in mice"),
        ([0] * 10 + [1] * 290, "nobody", "no frame is scored in mice"),
    ],
)
def test_there_must_be_two_behaviors(session, labels, rater, message):
    with pytest.raises(InputError, match=message):
        behavior_labels([labelled(session, labels, ["walk", "rest"])], rater)
