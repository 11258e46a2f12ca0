import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, get_worker_info

from tenfold.core.errors import InputError, TenfoldError
from tenfold.data import (
    ArrayInputs,
    Augmentation,
    Batches,
    DataPart,
    Source,
    TargetEncoder,
    WorkersWarning,
    fit_preprocessor,
    preparing,
    read,
)


class Noisy(Dataset):
    """Other pictures at each reading, from torch's and NumPy's global generators; some rows do more."""

    def __init__(self, trouble=None):
        self.trouble = trouble

    def __len__(self):
        return 24

    def __getitem__(self, row):
        if row == 17 and self.trouble is not None:
            self.trouble()
        return torch.rand(1, 4, 4) + np.random.rand() + row, row % 2


def part_of(source, **options):
    rows = np.arange(len(source))
    preprocessor = fit_preprocessor(source.inputs, rows, **options)
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    return DataPart.of(source, rows, preprocessor, encoder), preprocessor


def photos(n=22, side=12, whole=True):
    images = np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    images = images if whole else images.astype(np.float32) / 255
    source = Source(
        name="s", kind="image", inputs=ArrayInputs(images), targets=np.arange(n) % 2, task="classification"
    )
    return part_of(source, augment=Augmentation())


def noisy(trouble=None):
    source = read(Noisy())
    source.inputs.dataset.trouble = trouble
    return part_of(source)


def epochs(part, preprocessor, *, workers, batch_size=4, numbers=(0, 1)):
    stream = Batches(part, preprocessor, batch_size=batch_size, seed=3, augment=True, workers=workers)
    return [(inputs[0], targets) for number in numbers for inputs, targets in stream.epoch(number)]


def children():
    return {child.pid for child in multiprocessing.active_children()}


def goes_away(pid, within=60.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("make", [photos, noisy])
@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_no_bit(make, workers):
    expected, found = (epochs(*make(), workers=number) for number in (0, workers))
    assert len(found) == len(expected) == 12
    for (x, y), (other_x, other_y) in zip(found, expected, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_workers_do_prepare():
    where = []

    class Telling(Noisy):
        def __getitem__(self, row):
            return torch.full((2,), float(get_worker_info() is not None)) + torch.rand(2) * 1e-3, row % 2

    found = epochs(*part_of(read(Telling())), workers=2, numbers=(0,))
    where = [round(x.mean().item()) for x, _ in found]
    assert where == [0, 1, 1, 1, 1, 1]  # the first is measured in this process


@pytest.mark.parametrize("make", [photos, noisy])
def test_a_sample_is_the_same_in_batches_of_any_size(make):
    part, preprocessor = make()
    small, large = (
        torch.cat([x for x, _ in epochs(part, preprocessor, workers=0, batch_size=size, numbers=(5,))])
        for size in (2, len(part))
    )
    assert torch.equal(small, large)


def test_the_number_of_threads_changes_no_bit():
    part, preprocessor = photos(n=3, side=256, whole=False)  # the mean of a large picture is a sum over threads
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        many = epochs(part, preprocessor, workers=0, numbers=range(3))
        assert torch.get_num_threads() == 4
        torch.set_num_threads(1)
        one = epochs(part, preprocessor, workers=0, numbers=range(3))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(x, other) for (x, _), (other, _) in zip(many, one, strict=True))


def test_the_callers_random_state_is_left_alone():
    part, preprocessor = photos()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    epochs(part, preprocessor, workers=2)
    assert torch.equal(torch.rand(3), expected)


def test_resident_data_without_augmentation_start_no_worker():
    part, preprocessor = photos()
    before = children()
    stream = Batches(part, preprocessor, batch_size=4, seed=0, augment=False, workers=4)
    list(stream.epoch(0)), list(stream.ordered())
    assert children() == before


def test_workers_end_by_themselves_when_their_owner_goes():
    part, preprocessor = photos()
    before = children()
    stream = Batches(part, preprocessor, batch_size=4, seed=0, augment=True, workers=2)
    list(stream.epoch(0))
    begun = stream.epoch(1)
    next(begun)
    workers = [child for child in multiprocessing.active_children() if child.pid not in before]
    assert len(workers) == 2
    del stream, begun
    assert [worker.exitcode for worker in workers] == [0, 0]  # after five seconds the loader kills: -15
    assert children() == before


def test_a_run_that_was_overtaken_goes_on_with_the_same_bits():
    part, preprocessor = photos()
    expected = epochs(part, preprocessor, workers=0)
    stream = Batches(part, preprocessor, batch_size=4, seed=3, augment=True, workers=2)
    first = stream.epoch(0)
    found = [next(first), next(first), next(first)]
    second = list(stream.epoch(1))
    found += list(first)
    for ((x,), _), (other, _) in zip([*found, *second], expected, strict=True):
        assert torch.equal(x, other)


def test_batches_of_several_sizes_share_their_workers():
    part, preprocessor = photos()
    before = children()
    preparer = preparing.Preparer(preprocessor, part.inputs, workers=2)
    streams = [Batches(part, preprocessor, batch_size=b, seed=0, augment=True, workers=preparer) for b in (2, 4)]
    assert [len(list(stream.epoch(0))) for stream in streams] == [11, 6]
    assert len(children() - before) == 2
    preparer.close()
    assert children() == before
    assert len(list(streams[0].epoch(0))) == 11  # new ones


class Private(Exception):
    def __init__(self, row, *, reason):
        super().__init__(row)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_is_the_same_error(workers):
    def trouble():
        if workers == 0 or get_worker_info() is not None:
            raise InputError("row 17: torn picture. Copy it again.")

    with pytest.raises(InputError, match=r"^row 17: torn picture\. Copy it again\.$"):
        epochs(*noisy(trouble), workers=workers)


def test_an_error_that_cannot_be_sent_keeps_its_words():
    def trouble():
        if get_worker_info() is not None:
            raise Private(17, reason="x")

    with pytest.raises(RuntimeError, match=r"^Private: 17$"):
        epochs(*noisy(trouble), workers=2)


def test_a_worker_that_dies_is_one_sentence():
    with pytest.raises(TenfoldError, match=r"a worker that prepares samples has died .* use fewer workers, or 0\.$"):
        epochs(*noisy(lambda: get_worker_info() and os._exit(3)), workers=1)


def test_a_data_set_that_cannot_be_sent_is_read_here(monkeypatch):
    monkeypatch.setattr(preparing, "START_METHOD", "spawn")
    with pytest.warns(
        WorkersWarning, match=r"without workers: the data set cannot be sent to another process \(.*\)"
    ):
        found = epochs(*noisy(lambda: None), workers=2)
    assert torch.equal(found[-1][0], epochs(*noisy(), workers=0)[-1][0])


def test_too_little_shared_memory_means_no_workers(monkeypatch):
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.warns(WorkersWarning, match=r"they would need \d+ MiB of shared memory, of which 0 are free"):
        epochs(*photos(), workers=2)


@pytest.mark.parametrize(("seconds", "cores", "expected"), [(1e9, 8, 0), (0.0, 8, 4), (0.0, 3, 3), (0.0, 1, 0)])
def test_by_default_workers_start_when_they_pay(seconds, cores, expected, monkeypatch):
    monkeypatch.setattr(preparing, "START_SECONDS", {"fork": seconds})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    part, preprocessor = photos()
    before = children()
    stream = Batches(part, preprocessor, batch_size=4, seed=0, augment=True)
    list(stream.epoch(0))
    assert len(children() - before) == expected


def test_a_negative_number_is_refused():
    part, preprocessor = photos()
    with pytest.raises(ValueError, match=r"Batches: workers must be at least 0, got -1\. Leave it out"):
        Batches(part, preprocessor, batch_size=4, seed=0, workers=-1)


@pytest.mark.slow
def test_started_anew_workers_change_no_bit_either(monkeypatch):
    expected = epochs(*photos(), workers=0)
    monkeypatch.setattr(preparing, "START_METHOD", "spawn")
    for (x, _), (other, _) in zip(epochs(*photos(), workers=2), expected, strict=True):
        assert torch.equal(x, other)


SCRIPT = """
    import multiprocessing, signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
    sys.path.insert(0, {tests!r})
    from test_preparing import Batches, photos, preparing
    settle = preparing._settle
    def settle_late(worker):
        time.sleep({seconds} * worker)
        settle(worker)
    preparing._settle = settle_late
    part, preprocessor = photos()
    stream = Batches(part, preprocessor, batch_size=2, seed=0, augment=True, workers=2)
    batches = stream.epoch(0)
    next(batches), next(batches)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    while True:
        time.sleep(1)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes by /proc")
@pytest.mark.parametrize("seconds", [0, 2])  # that the second worker takes to start
def test_a_parent_that_is_killed_or_interrupted_leaves_nobody_behind(seconds):
    script = textwrap.dedent(SCRIPT.format(tests=os.path.dirname(__file__), seconds=seconds))
    parents = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        for _ in range(2)
    ]
    ends = [lambda: parents[0].kill(), lambda: os.killpg(parents[1].pid, signal.SIGINT)]
    workers = []
    try:
        for parent, end in zip(parents, ends, strict=True):
            workers.append([int(pid) for pid in parent.stdout.readline().split()])
            end()
        assert [len(pids) for pids in workers] == [2, 2]
        assert all(goes_away(pid) for pids in workers for pid in pids)
        errors = [parent.communicate(timeout=60)[1].decode() for parent in parents]
    finally:
        for parent in parents:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
    assert [parent.returncode for parent in parents] == [-signal.SIGKILL, -signal.SIGINT]
    assert errors[1].count("Traceback") == 1  # the parent's own
