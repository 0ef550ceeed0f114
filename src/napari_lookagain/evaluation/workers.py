"""Trials in several processes, each of which takes all that share a pretraining."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from pathlib import Path

from napari_lookagain.baselines.gated import Gated
from napari_lookagain.device import share_cores
from napari_lookagain.errors import InputError
from napari_lookagain.evaluation.splits import Split
from napari_lookagain.evaluation.study import Study
from napari_lookagain.evaluation.trials import Trial, open_method, run_trial
from napari_lookagain.progress import Progress
from napari_lookagain.session import load_session

_stopped: Event  # of a worker process: set when the work is no longer wanted


def in_processes(
    every: Sequence[Trial], study: Study, parts: Sequence[Split], out: Path, device: str, jobs: int
) -> Generator[Progress, None, None]:
    """Run trials in `jobs` processes; those that share a pretraining follow each other in one of them.

    When the generator is closed the processes stop within a step; what they finished stays.

    Raises
    ------
    InputError
        Of the first trial that fails, or when a process was killed, as by the system when memory ran out.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads of torch in it may hang
    stopped = context.Event()
    groups = groups_of(every, study, out)
    pool = ProcessPoolExecutor(min(jobs, len(groups)), context, _begin, (stopped, min(jobs, len(groups))))
    try:
        waiting = {pool.submit(_run, group, study, parts, out, device): len(group) for group in groups}
        done = 0
        while waiting:
            finished, _ = wait(waiting, timeout=0.1)
            for future in finished:
                _result(future)
                done += waiting.pop(future)
            yield Progress(done, len(every), "running trials")
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def groups_of(every: Sequence[Trial], study: Study, out: Path) -> list[list[Trial]]:
    """Trials that have to follow each other, for the first of them pretrains for all; groups as their first trials."""
    groups: dict[str, list[Trial]] = {}
    for trial in every:
        method = open_method(trial, study, out, sees=True)
        shared = method.pretrained if isinstance(method, Gated) else None
        groups.setdefault(str(shared or trial.key(study)), []).append(trial)
    return list(groups.values())


def _begin(stopped: Event, jobs: int) -> None:
    global _stopped
    _stopped = stopped
    share_cores(jobs)


def _run(group: Sequence[Trial], study: Study, parts: Sequence[Split], out: Path, device: str) -> None:
    folders = sorted((out / "sessions").glob("[0-9]*.lookagain"), key=lambda folder: int(folder.stem))
    sessions = [load_session(folder) for folder in folders]
    for trial in group:
        for _ in run_trial(trial, study, parts[trial.split], sessions, out, device):
            if _stopped.is_set():
                return


def _result(future: Future[None]) -> None:
    try:
        future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "A process of the evaluation was killed, most likely because memory ran out; give the same command with "
            "fewer --jobs, which goes on from here."
        ) from error
