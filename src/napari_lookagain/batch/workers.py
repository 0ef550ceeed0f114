"""Who does the work: processes of this machine, a dask cluster that is there already, or jobs of Slurm."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.config
from dask.system import cpu_count
from distributed import Client, Nanny, Scheduler, SpecCluster, WorkerPlugin

from napari_lookagain.errors import InputError

if TYPE_CHECKING:
    from distributed import Worker

CORES_OF_A_WORKER = 4  # by default: the model itself is small, and gains little from more
NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
SECONDS_TO_ANSWER = 15


@dataclass(frozen=True)
class Workers:
    """A connection to workers.

    Parameters
    ----------
    client
        Through which tasks are sent.
    sharing
        How many of them share the cores of one machine; None where each was given its own number of threads.
    """

    client: Client
    sharing: int | None

    @property
    def count(self) -> int:
        """How many there are now; a worker that was killed is soon replaced."""
        return len(self.client.nthreads())


@contextmanager
def open_workers(
    scheduler: str = "local", workers: int | None = None, device: str = "auto", most: int | None = None
) -> Iterator[Workers]:
    """Start or find workers, and end those that were started.

    Parameters
    ----------
    scheduler
        "local": processes of this machine, one for each GPU, or for every four cores where there is none. "slurm":
        jobs, as dask-jobqueue's own settings describe them. Anything else is the address of a dask scheduler.
    workers
        How many processes or jobs.
    device
        What they will be asked to work on.
    most
        How many could have something to do: more are not started, and cores are shared by fewer.

    Raises
    ------
    InputError
        When there is no scheduler at that address, or Slurm is not set up.
    """
    if scheduler not in ("local", "slurm"):
        with closing(_connect(scheduler)) as client:
            yield Workers(client, None)
        return
    # A worker may start processes of its own, which a daemon may not, and ends with who started it all the same.
    with dask.config.set({"distributed.worker.daemon": False}):
        cluster, sharing = _slurm(workers, most) if scheduler == "slurm" else _local(workers, most, device)
        with closing(cluster), closing(Client(cluster, set_as_default=False)) as client:
            if scheduler == "local":
                client.register_plugin(_Undisturbed())
            yield Workers(client, sharing)


class _Undisturbed(WorkerPlugin):
    """Ctrl-C in a terminal reaches all its processes: workers leave it to the one that started them."""

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _local(workers: int | None, most: int | None, device: str) -> tuple[SpecCluster, int]:
    """Processes of this machine, spawned, never forked; and how many they are."""
    gpus = _gpus() if device in ("auto", "cuda") else []
    cores = cpu_count()
    wanted = workers or len(gpus) or max(1, cores // CORES_OF_A_WORKER)
    count = wanted if most is None else min(wanted, most)
    threads = str(max(1, cores // count))
    shared = {
        "nthreads": 1,
        "memory_limit": 0,  # memory maps count as memory, and dask would kill who reads them
        "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,
        **NO_DASHBOARD,
    }
    each: dict[int, dict[str, Any]] = {}
    for i in range(count):
        env = {f"{library}_NUM_THREADS": threads for library in ("OMP", "MKL", "OPENBLAS")}
        if gpus:
            env["CUDA_VISIBLE_DEVICES"] = gpus[i % len(gpus)]
        each[i] = {"cls": Nanny, "options": {**shared, "env": env}}
    # A task whose worker was killed comes back at once: who sent it counts how often, and says why.
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "allowed_failures": 0, **NO_DASHBOARD}}
    return SpecCluster(workers=each, scheduler=scheduler, silence_logs=logging.CRITICAL), count


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use."""
    import torch

    count = torch.cuda.device_count()
    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return given[:count] if given else [str(i) for i in range(count)]


def _connect(address: str) -> Client:
    try:
        return Client(address, set_as_default=False, timeout=SECONDS_TO_ANSWER)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No dask scheduler answers at {address!r}; start one with `dask scheduler`, or use --scheduler local."
        ) from error


def _slurm(workers: int | None, most: int | None) -> tuple[SpecCluster, None]:
    """Jobs of Slurm, each with the threads that it was given."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise InputError("--scheduler slurm needs dask-jobqueue; pip install 'napari-lookagain[slurm]'.") from error
    if shutil.which("sbatch") is None:  # dask-jobqueue would wait for ever
        raise InputError("There is no sbatch here; give the command where jobs of Slurm are submitted.")
    if workers is None:
        raise InputError("--scheduler slurm needs the number of jobs; give it with --workers.")
    try:
        cluster = SLURMCluster(
            processes=1, scheduler_options=NO_DASHBOARD | {"allowed_failures": 0}, silence_logs=logging.CRITICAL
        )
    except ValueError as error:  # no cores, no memory
        raise InputError(
            f"Jobs of Slurm are not described ({' '.join(str(error).split())}); say cores, memory and queue in "
            "~/.config/dask/jobqueue.yaml, as the documentation shows."
        ) from error
    jobs = workers if most is None else min(workers, most)
    # Unlike scale, this puts a new job in the place of one that has ended.
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster, None
