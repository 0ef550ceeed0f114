"""What training reads: windows of recordings, and what the eye saw in them."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_lookagain.batches import Batches, Recording, hold_out, split, training_windows
from napari_lookagain.config import Config
from napari_lookagain.device import accelerator
from napari_lookagain.errors import InputError
from napari_lookagain.eyes.opening import check_pooling, open_encoder
from napari_lookagain.features import MotionFeatures
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session
from napari_lookagain.vision.cache import FeatureMemory
from napari_lookagain.vision.encoder import VisionEncoder, load_encoder
from napari_lookagain.vision.look import crops_of, read_by, see
from napari_lookagain.vision.on_the_fly import Seen
from napari_lookagain.vision.pca import PCAEncoder
from napari_lookagain.windows import Window

PCA_FRAMES = 1500  # frames that the PCA encoder is fitted to
PCA_SIZE = 48  # pixels of a crop's side
IMAGES_AT_ONCE = 64  # whose patches are in memory


@dataclass(frozen=True)
class Material:
    """What training reads.

    Parameters
    ----------
    batches
        Reads windows into batches.
    windows, fine_windows
        All windows to pretrain on, and those without overlap to fine-tune on.
    spans
        Spans of time that are held out of pretraining, of fine-tuning, and of fitting the eye.
    encoder
        The eye; None when the sessions have no video.
    config
        The choices, settled for these sessions: without a video nothing is predicted of it.
    visual_width, n_patches
        D_v, and P where patches are pooled by attention, else 0.
    """

    batches: Batches
    windows: list[Window]
    fine_windows: list[Window]
    spans: list[Window]
    encoder: VisionEncoder | None
    config: Config
    visual_width: int = 1
    n_patches: int = 0

    def split(self, windows: Sequence[Window]) -> tuple[list[Window], list[Window]]:
        """Training and held-out windows."""
        return split(windows, self.spans)

    def for_pretraining(self) -> Generator[Progress, None, Batches]:
        """Batches with v_raw of Eq. 7: of patches, which attention pools later, their mean, taken once."""
        if not self.n_patches:
            return self.batches
        recordings = []
        for index, recording in enumerate(self.batches.recordings):
            seen, inside = recording.visual_features, np.zeros((recording.n_frames, recording.n_animals), bool)
            assert seen is not None
            for window in self.windows:
                if window.recording == index:
                    inside[window.start : window.stop] = True
            rows = np.argwhere(inside)
            means = FeatureMemory((*inside.shape, self.visual_width), rows)
            for first in range(0, len(rows), IMAGES_AT_ONCE):
                some = rows[first : first + IMAGES_AT_ONCE]
                means.write(some, seen.read(some).reshape(len(some), self.n_patches, -1).mean(1))
                yield Progress(first + len(some), len(rows), "averaging patches")
            recordings.append(replace(recording, visual_features=means))
        return Batches(recordings, self.batches.length, self.visual_width)


def gather(
    sessions: Sequence[Session],
    config: Config,
    *,
    behavior: Sequence[np.ndarray] | None = None,
    encoder_from: Path | None = None,
    device: str = "auto",
) -> Generator[Progress, None, Material]:
    """Choose windows, fit or load the eye, and look at every frame of those windows once, for training is dense.

    Warns when `config.training.max_windows` leaves out scored frames.

    Parameters
    ----------
    sessions
        With the same keypoints, all with a video or none.
    config
        All choices.
    behavior
        (T, A) classes of every session, −1 = unscored.
    encoder_from
        Folder of a trained model whose eye is taken over.
    device
        For the encoder.

    Raises
    ------
    InputError
        When sessions do not fit each other, or the budget asks for a video that is not there.
    """
    _check_alike(sessions, config)
    n_neighbors = max(session.n_animals for session in sessions) - 1
    labels = behavior if behavior is not None else [None] * len(sessions)
    recordings = [
        Recording(MotionFeatures(s, config.features, n_neighbors), s.n_frames, s.n_animals, behavior=label)
        for s, label in zip(sessions, labels, strict=True)
    ]
    length, most = config.motion.window, config.training.max_windows
    windows = training_windows(recordings, length, min(config.pretrain.stride, length), most, lively=True)
    fine_windows = training_windows(recordings, length, length, most, scored=behavior is not None)
    _warn_of_unread(recordings, fine_windows, most)
    spans = _held_out_spans(recordings, windows, fine_windows, config)
    if sessions[0].video is None:
        blind = config.updated(pretrain={"pred_weight": 0.0})
        return Material(Batches(recordings, length, 1), windows, fine_windows, spans, None, blind)
    training = split([*windows, *fine_windows], spans)[0]
    encoder = yield from _open_eye(sessions, _frames_of(training, sessions), config, encoder_from, device)
    margin = 0 if behavior is None else length // 2  # by which training on scored frames shifts its windows
    reached = [Window(w.recording, max(0, w.start - margin), w.stop + margin) for w in fine_windows]
    what = read_by(config)
    n_patches = encoder.n_patches if what == "patches" else 0
    seen: list[Seen] = []
    for session, frames in zip(sessions, _frames_of([*windows, *reached], sessions), strict=True):
        looked = np.repeat(frames[:, None], session.n_animals, axis=1)
        with accelerator(device).main_process_first():  # the others find what it saw
            features = yield from see(session, encoder, config, looked, what)
        seen.append(features)
    recordings = [replace(r, visual_features=features) for r, features in zip(recordings, seen, strict=True)]
    batches = Batches(recordings, length, encoder.width * max(1, n_patches))
    return Material(batches, windows, fine_windows, spans, encoder, config, encoder.width, n_patches)


def behavior_labels(sessions: Sequence[Session], rater: str | None) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Classes (T, A) of all sessions, −1 = unscored, and the names they index, those that are scored somewhere.

    Raises
    ------
    InputError
        When fewer than two behaviors are scored: there is nothing to tell apart.
    """
    own = [session.annotations.labels(rater) for session in sessions]
    names: list[str] = []
    for session, label in zip(sessions, own, strict=True):
        there = [session.annotations.behaviors[i] for i in np.unique(label[label >= 0])]
        names += [name for name in there if name not in names]
    if len(names) < 2:
        got = f"only {names[0]!r} is scored" if names else "no frame is scored"
        raise InputError(
            f"There is nothing to learn from: {got} in {', '.join(s.recording for s in sessions)}; score at least two "
            "behaviors, or give --scored all to `label` so that all other frames are background."
        )
    out = []
    for session, label in zip(sessions, own, strict=True):
        index = [names.index(name) if name in names else -1 for name in session.annotations.behaviors]
        out.append(np.array([*index, -1], np.int16)[label])  # the last entry is where −1 points
    return out, tuple(names)


def _held_out_spans(
    recordings: Sequence[Recording], windows: Sequence[Window], fine_windows: Sequence[Window], config: Config
) -> list[Window]:
    """Drawn where there is something to fine-tune on, and anywhere in other recordings; none if too little is left."""
    tuned = {window.recording for window in fine_windows}
    drawn_from = [*fine_windows, *(window for window in windows if window.recording not in tuned)]
    spans = hold_out(recordings, drawn_from, config.training.validation_share, config.training.seed)
    return spans if all(split(some, spans)[0] for some in (windows, fine_windows)) else []


def _warn_of_unread(recordings: Sequence[Recording], windows: Sequence[Window], most: int) -> None:
    labels = [np.zeros((0, 1)) if r.behavior is None else r.behavior for r in recordings]
    scored = sum(int((label >= 0).sum()) for label in labels)
    read = sum(int((labels[w.recording][w.start : w.stop] >= 0).sum()) for w in windows)
    if read < scored:
        warnings.warn(
            f"{scored - read} of {scored} scored frames are left out of training, for training.max_windows is {most}; "
            "raise it to learn from all.",
            UserWarning,
            stacklevel=3,
        )


def _frames_of(windows: Sequence[Window], sessions: Sequence[Session]) -> list[np.ndarray]:
    """(T,) bool of every session: whether a frame is in some window."""
    inside = [np.zeros(session.n_frames, bool) for session in sessions]
    for window in windows:
        inside[window.recording][window.start : window.stop] = True
    return inside


def check_tracked(sessions: Sequence[Session]) -> None:
    """Refuse recordings without keypoints: LookAgain reads them on every frame.

    Raises
    ------
    InputError
        With what can be done instead.
    """
    for session in sessions:
        if not session.has_keypoints:
            raise InputError(
                f"{session.recording} has no keypoints, and LookAgain reads them on every frame; train an action "
                "segmentation head that needs none with lookagain train --head tcn, or make the session anew with its "
                "pose file (--pose)."
            )


def _check_alike(sessions: Sequence[Session], config: Config) -> None:
    check_tracked(sessions)
    first = sessions[0]
    for session in sessions[1:]:
        if (session.keypoint_names, session.n_coords) != (first.keypoint_names, first.n_coords):
            raise InputError(
                f"{session.recording} has the keypoints {', '.join(session.keypoint_names)}, but {first.recording} has "
                f"{', '.join(first.keypoint_names)}; train on recordings with the same keypoints."
            )
    blind = [session.recording for session in sessions if session.video is None]
    if blind and len(blind) < len(sessions):
        raise InputError(
            f"{', '.join(blind)} has no video, but others have one; give each a video, or train them apart."
        )
    if blind and config.look.budget > 0:
        raise InputError(f"{', '.join(blind)} has no video to look at; use budget 0, or make the session with a video.")


def _open_eye(
    sessions: Sequence[Session], training: Sequence[np.ndarray], config: Config, encoder_from: Path | None, device: str
) -> Generator[Progress, None, VisionEncoder]:
    """The vision encoder; "pca" is fitted to crops of the training frames, and to no other."""
    if encoder_from is not None:
        encoder = load_encoder(encoder_from / "encoder", str(accelerator(device).device))
        check_pooling(encoder.name, encoder.n_patches, config)
        return encoder
    if config.vision.encoder != "pca":
        return (yield from open_encoder(sessions, config, device))
    check_pooling("pca", PCAEncoder.n_patches, config)
    return (yield from fit_pca(sessions, training, config, PCA_SIZE))


def fit_pca(
    sessions: Sequence[Session], frames: Sequence[np.ndarray], config: Config, size: int
) -> Generator[Progress, None, PCAEncoder]:
    """Fit the "pca" eye to what it would be shown at some frames of recordings, at most 1500 spread over all of them.

    Parameters
    ----------
    sessions
        With videos.
    frames
        (T,) bool of every session: to what it may be fitted.
    config
        The crops, how many components, and the seed.
    size
        Side of the images, pixels.
    """
    places = np.concatenate([np.column_stack([np.full(f.sum(), i), *f.nonzero()]) for i, f in enumerate(frames)])
    places = places[np.linspace(0, len(places) - 1, min(len(places), PCA_FRAMES)).astype(int)]
    crops = [crops_of(session, config, size) for session in sessions]
    shown = [1 if c.kind == "frame" else s.n_animals for c, s in zip(crops, sessions, strict=True)]  # images of a frame
    total = int(np.take(shown, places[:, 0]).sum())
    images: list[np.ndarray] = []
    for i, session in enumerate(sessions):
        with session.open_video() as video:
            for t, frame in video.frames(places[places[:, 0] == i, 1], grey=True):
                images += [crops[i].cut(frame, t, animal) for animal in range(shown[i])]
                yield Progress(len(images), total, "fitting the eye")
    return PCAEncoder.fit(np.stack(images), config.vision.components, config.training.seed)
