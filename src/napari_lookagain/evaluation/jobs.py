"""The evaluation of a study: all its trials, then the numbers, the report and the pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from napari_lookagain import __version__
from napari_lookagain.annotations import Annotations
from napari_lookagain.errors import InputError
from napari_lookagain.evaluation.measures import write_measures
from napari_lookagain.evaluation.report import write_report
from napari_lookagain.evaluation.splits import Split, first_part, splits
from napari_lookagain.evaluation.study import Study
from napari_lookagain.evaluation.trials import run_trial, training_folder, trials
from napari_lookagain.evaluation.workers import in_processes
from napari_lookagain.files import atomic_path
from napari_lookagain.material import behavior_labels
from napari_lookagain.progress import Progress
from napari_lookagain.session import Session, load_session


def evaluate(
    sessions: Sequence[Session], study: Study, out: Path, *, device: str = "auto", jobs: int = 1
) -> Generator[Progress, None, dict[str, Any]]:
    """Compare the arms of a study on recordings that none of them learnt from.

    Everything is kept in a folder of its own, the recordings' features included; the sessions are only read. A trial
    that is there is not repeated, so that an evaluation that was cut off goes on, and one to which arms, seeds or
    budgets were added does only what is new.

    Parameters
    ----------
    sessions
        Saved sessions with the same keypoints and scored frames; one of them alone is split in time.
    study
        What is compared.
    out
        Folder of the evaluation.
    device
        "auto", "cpu", "cuda" or "mps".
    jobs
        Processes that share the trials.

    Returns
    -------
    dict
        ``folder``, ``report``, ``trials`` and mean macro F1 by arm, budget and share of labels.

    Raises
    ------
    InputError
        When `out` holds an evaluation of other recordings, keypoints, labels or splits, or an arm cannot be run.
    """
    _check(sessions, study)
    parts = splits([session.n_frames for session in sessions], study.folds, study.test_share, study.gap)
    _claim(out, sessions, study, parts)
    own = [_own_copy(session, out / "sessions" / f"{i}.lookagain") for i, session in enumerate(sessions)]
    for part in parts:
        if part.stop is not None:  # made before several processes would make it
            _own_copy(first_part(own[0], part.stop), training_folder(out, part.stop))
    every = trials(study, len(parts))
    if jobs == 1:
        for i, trial in enumerate(every):
            for step in run_trial(trial, study, parts[trial.split], own, out, device):
                yield replace(step, stage=f"{i + 1} of {len(every)}, {trial.arm}: {step.stage}")
    else:
        yield from in_processes(every, study, parts, out, device, jobs)
    folders = [out / "trials" / trial.key(study) for trial in every]
    measures = write_measures(out, folders, parts, own)
    if measures.empty:
        raise InputError("Without a video to look at there is nothing to compare at these budgets; add 0 to --budgets.")
    yield Progress(1, 1, "writing the report")
    report = write_report(out)
    macro = measures[measures["measure"].isin(["macro_f1", "mapped_macro_f1"]) & (measures["recording"] == "(all)")]
    means = macro.groupby(["arm", "budget", "fraction"], sort=False, dropna=False)["value"].mean().round(4)
    summary = means.rename("macro_f1").reset_index().replace(np.nan, None).to_dict(orient="records")
    return {"folder": str(out), "report": str(report), "trials": len(every), "macro_f1": summary}


def _check(sessions: Sequence[Session], study: Study) -> None:
    names = [session.recording for session in sessions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{', '.join(twice)} is given more than once; name every recording once, or rename one.")
    bare = [session.recording for session in sessions if not (session.annotations.labels() >= 0).any()]
    if len(bare) == len(sessions) and all(arm.discover for arm in study.arms.values()):
        return
    behavior_labels(sessions, None)
    if bare:
        raise InputError(f"No frame of {', '.join(bare)} is scored, so nothing can be measured there; leave it out.")


def _claim(out: Path, sessions: Sequence[Session], study: Study, parts: Sequence[Split]) -> None:
    """Note what is evaluated before anything else; a folder of other recordings, labels or splits is refused."""
    names = [session.recording for session in sessions]
    fixed = {
        "recordings": [_about(session) for session in sessions],
        "split": {
            "by": "time" if len(sessions) == 1 else "recording",
            "gap": study.gap if len(sessions) == 1 else 0,
            "folds": [
                {"train": [names[i] for i in part.train], "test": [names[i] for i in part.test]}
                | ({} if part.stop is None else {"train_frames": [0, part.stop], "test_start": part.start})
                for part in parts
            ],
        },
    }
    note, versions = out / "study.json", {__version__}
    if note.exists():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
            known = {key: found[key] for key in fixed}
            versions |= set(found.get("versions", ()))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{note} is damaged ({error}); choose another folder with --out.") from error
        if known != fixed:
            raise InputError(
                f"{out} holds an evaluation of other recordings, keypoints, labels or splits; choose another --out."
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; choose another one with --out.")
    with atomic_path(note) as path:
        told = fixed | {"study": study.model_dump(), "versions": sorted(versions)}
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _about(session: Session) -> dict[str, Any]:
    """What tells a recording and its labels from others."""
    labels = session.annotations.labels()
    names = session.annotations.behaviors
    return {
        "recording": session.recording,
        "frames": session.n_frames,
        "animals": list(session.animals),
        "fps": session.fps,
        "video": None if session.video is None else session.video.fingerprint,
        "keypoints": _digest_of_keypoints(session) if session.has_keypoints else None,
        "scored": {name: int((labels == code).sum()) for code, name in enumerate(names)},
        "labels": _digest_of_labels(session),
    }


def _digest_of_keypoints(session: Session) -> str:
    digest = blake2b(f"{session.keypoint_names} {session.heading}".encode(), digest_size=8)
    for array in (session.keypoints, session.confidence):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _digest_of_labels(session: Session) -> str:
    """Which frames are scored as what, in whatever order the behaviors are known."""
    labels, digest = session.annotations.labels(), blake2b(digest_size=8)
    for code, name in sorted(enumerate(session.annotations.behaviors), key=lambda each: each[1]):
        frames = np.packbits(labels == code)
        if frames.any():
            digest.update(name.encode())
            digest.update(frames.data)
    return digest.hexdigest()


def _own_copy(session: Session, folder: Path) -> Session:
    """The recording as the evaluation keeps it: scored as it is now, with room for features beside it."""
    if (folder / "session.json").exists():
        kept = load_session(folder)
        if _digest_of_labels(kept) == _digest_of_labels(session):
            return kept
        shutil.rmtree(folder)  # these are the labels, as `_claim` saw: it was cut off before they were written
    annotations = Annotations(session.n_frames, session.animals)
    annotations.set_frames(session.annotations.labels(), session.annotations.behaviors)
    replace(session, annotations=annotations, path=None).save(folder)
    return load_session(folder)
