"""Costly samples prepared ahead by worker processes: augmented pictures, and samples that are fetched anew.

What a worker makes follows from the samples' keys alone, and every process works on one thread (a sum over two
threads rounds otherwise): the bits are those of preparing in the process itself, for any number of workers. The
mechanism is torch's `DataLoader`. Where processes fork, the data are shared with them and nothing is copied or
pickled: two workers give their first batch of 32 photographs after 0.1 to 0.2 s. Elsewhere they import everything
anew, which takes 4 s and more.

A worker ignores Ctrl-C, which is its parent's to handle, and ends as soon as its parent was killed, both from its
first moment on. (The loader's own watchdog takes whoever is a worker's parent when it has started for the one that
started it: a worker whose parent was killed before would wait for jobs forever.)
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tenfold.core.errors import TenfoldError
from tenfold.data.preprocessor import Preprocessor, Tensors

START_METHOD = "fork" if "fork" in multiprocessing.get_all_start_methods() and os.name == "posix" else "spawn"
START_SECONDS = {"fork": 0.1, "forkserver": 10.0, "spawn": 10.0}
MAX_DEFAULT_WORKERS = 4
PREFETCH = 2
_SHARED_MEMORY = "/dev/shm"
Job = tuple[np.ndarray, Sequence[int]]


class WorkersWarning(UserWarning):
    """Samples are prepared without workers although some were asked for, or would help."""


class WorkerTraceback(Exception):
    """The cause of an error that a worker met: where it met it."""


class Preparer:
    """Prepares jobs in their order, ahead of whoever asks, in worker processes where that pays.

    Args:
        preprocessor: its `vary` is what is costly.
        tensors: what its `transform` gave, each of shape (N, ...); copied from another device to memory.
        workers: number of processes, 0 for none. By default there are none as long as an epoch is prepared sooner
            than workers start, and then one for each core, up to 4. The first job, by default also the second, is
            prepared in this process, to measure it.

    Raises:
        ValueError: the number is negative.

    Example:
        >>> from tenfold.data import Augmentation, ArrayInputs, fit_preprocessor
        >>> inputs = ArrayInputs(np.zeros((6, 1, 8, 8), np.uint8))
        >>> preprocessor = fit_preprocessor(inputs, np.arange(6), augment=Augmentation())
        >>> preparer = Preparer(preprocessor, preprocessor.transform(inputs), workers=0)
        >>> [tuple(images.shape) for (images,) in preparer.run(2, lambda number: (np.arange(3), [1, 2, 3]))]
        [(3, 1, 8, 8), (3, 1, 8, 8)]
    """

    def __init__(self, preprocessor: Preprocessor, tensors: Tensors, *, workers: int | None = None) -> None:
        if workers is not None and workers < 0:
            raise ValueError(f"Batches: workers must be at least 0, got {workers!r}. Leave it out for a good number.")
        self.workers = workers
        self._preprocessor, self._tensors = preprocessor, tensors
        self._jobs = _Jobs()
        self._loader: DataLoader | None = None
        self._decided = workers == 0
        self._reader: object = None

    def run(self, count: int, job: Callable[[int], Job]) -> Iterator[Tensors]:
        """What `vary` makes of each job, in their order.

        A second run may begin before the first has ended: the workers then belong to the second, and the first
        goes on without them.

        Args:
            count: number of jobs.
            job: positions of samples, int64 of shape (B,), and their keys, by the job's number.
        """
        number = 0
        for number in range(0 if self._decided else min(2 - (self.workers is not None), count)):
            begun = time.perf_counter()
            result = self._here(job(number))
            self._last = time.perf_counter() - begun, sum(tensor.nbytes for tensor in result)
            yield result
        first = 0 if self._decided else number + 1
        if not self._decided and first < count:
            self._decide(count)
        yield from self._rest(range(first, count), job)

    def _rest(self, numbers: range, job: Callable[[int], Job]) -> Iterator[Tensors]:
        self._reader = reader = object()
        ahead = self._ahead(numbers, job) if self._loader is not None and len(numbers) else None
        for number in numbers:
            if ahead is not None and self._reader is reader:
                yield _unwrap(next(ahead))
            else:
                yield self._here(job(number))

    def close(self) -> None:
        """Ends the workers; the next run starts new ones."""
        self._reader = None
        if self._loader is not None:
            self._loader = None
            self._ending()
            self._decided = False

    @cached_property
    def _work(self) -> _Work:
        return _Work(self._preprocessor, tuple(tensor.cpu() for tensor in self._tensors))

    def _here(self, job: Job) -> Tensors:
        with _one_thread():
            return self._work.prepare(job)

    def _decide(self, count: int) -> None:
        """Starts workers, or decides for good that there are none."""
        self._decided = True
        seconds, num_bytes = self._last
        workers = self.workers
        if workers is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            pays = cores > 1 and seconds * count > START_SECONDS[START_METHOD]
            workers = min(cores, MAX_DEFAULT_WORKERS) if pays else 0
        if workers and (reason := self._obstacle(workers, num_bytes)):
            warnings.warn(f"samples are prepared without workers: {reason}.", WorkersWarning, stacklevel=4)
            workers = 0
        if workers:
            self._loader = self._start(workers)
            self._ending = weakref.finalize(self, _end, self._loader)

    def _start(self, workers: int) -> DataLoader:
        with _quiet_start():
            return DataLoader(
                self._work,
                batch_size=None,
                sampler=self._jobs,
                collate_fn=_as_it_is,
                num_workers=workers,
                prefetch_factor=PREFETCH,
                persistent_workers=True,
                pin_memory=any(tensor.is_cuda for tensor in self._tensors),
                multiprocessing_context=START_METHOD,
                worker_init_fn=_settle,
                generator=torch.Generator(),  # or it would draw from the caller's
            )

    def _obstacle(self, workers: int, num_bytes: int) -> str | None:
        """Why there cannot be workers, or None."""
        if os.path.isdir(_SHARED_MEMORY):
            needed, free = num_bytes * PREFETCH * workers, shutil.disk_usage(_SHARED_MEMORY).free
            if needed > free:
                return f"they would need {needed >> 20} MiB of shared memory, of which {free >> 20} are free"
        if START_METHOD != "fork":
            try:
                pickle.dumps(self._work)
            except Exception as error:  # pickle raises errors of any family
                return f"the data set cannot be sent to another process ({error})"
        return None

    def _ahead(self, numbers: range, job: Callable[[int], Job]) -> Iterator[Any]:
        """Results of the workers; a loader that was read before drops what was not fetched."""
        self._jobs.numbers, self._jobs.job = numbers, weakref.ref(job)
        assert self._loader is not None
        with _quiet_start(), _interrupts_wait():
            results = iter(self._loader)
        while True:
            try:
                yield next(results)
            except RuntimeError as error:
                self.close()
                raise TenfoldError(
                    f"a worker that prepares samples has died ({' '.join(str(error).split())}). "
                    "It ran out of memory, most likely: use fewer workers, or 0."
                ) from error


class _Jobs:
    """The sampler of the loader: the jobs of the present run.

    The run alone keeps its function alive. Were it kept here, the loader would hold its own owner, both would be
    left to the garbage collector, and workers that end in a collection keep everybody waiting for five seconds.
    """

    def __init__(self) -> None:
        self.numbers = range(0)
        self.job: Callable[[], Callable[[int], Job] | None] = lambda: None

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Job]:
        return map(self._job, self.numbers)

    def _job(self, number: int) -> Job:
        job = self.job()
        assert job is not None, "the run that asks is over"
        return job(number)


@dataclass(frozen=True)
class _Work(Dataset):
    """What a worker does."""

    preprocessor: Preprocessor
    tensors: Tensors

    def prepare(self, job: Job) -> Tensors:
        positions, keys = job
        index = torch.from_numpy(positions)
        return self.preprocessor.vary(tuple(tensor.index_select(0, index) for tensor in self.tensors), keys)

    def __getitem__(self, job: Job) -> Tensors | _Failure:
        try:
            return self.prepare(job)
        except Exception as error:  # whatever a user's data set raises
            return _Failure.of(error)


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker; the loader's own way changes its message."""

    error: Exception
    where: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        where = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an error with arguments of its own, or that holds what cannot be pickled
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error, where)


def _unwrap(result: Tensors | _Failure) -> Tensors:
    if isinstance(result, _Failure):
        raise result.error from WorkerTraceback(f"\n{result.where}")
    return result


def _as_it_is(value: Any) -> Any:
    return value


def _end(loader: DataLoader) -> None:
    """Nothing is to do: being kept for this call, the loader is whole when it goes, and its workers end at once."""


def _settle(worker: int) -> None:
    """Leaves to the parent what is its own: interrupts, and garbage whose end would close the parent's things."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # one that came meanwhile is forgotten
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C reaches this process at the end, and processes started here when they ask for it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet_start() -> Iterator[None]:
    with warnings.catch_warnings():
        # More workers than cores were asked for; and a process with threads forks, which is why workers use none.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
