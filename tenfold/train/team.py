"""Lanes that train side by side: a thread a core, each with its share of the cores for torch's own work.

PyTorch's operators let go of Python's lock while they compute, and the backward pass of each thread runs in that
thread, so that threads do what single-thread processes do, on the very same data and checkpoints. Steps of less than
a millisecond are mostly Python and gain nothing (MLP: 1.2 times slower than one after another on two cores); a small
vision transformer takes 0.75 times as long, a ResNet-18 of full width as long as in processes side by side.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch

from tenfold.core.errors import RunError
from tenfold.core.machine import num_threads
from tenfold.core.task import Batch, BatchProvider, MemberBatches
from tenfold.stacking.forms import beside_others
from tenfold.train.lane import Lane

_ROUNDS = 8  # steps that each thread takes before all wait for each other: an odd lane costs an eighth of that
_T = TypeVar("_T")
DRAWS_LATER = (
    "train: a model draws from PyTorch's own generator, which it did not do in its first step, and lanes that train "
    "side by side share that generator. Use form='serial'."
)


@dataclass(eq=False)
class Feed:
    """Batches on their way to the lanes that share them.

    Attributes:
        provider: where they come from.
        lanes: who trains on them.
        step: steps of the epoch that are complete.
    """

    provider: BatchProvider
    lanes: list[Lane]
    step: int = 0
    _batches: Iterator[Batch | MemberBatches] | None = None

    @property
    def share(self) -> float:
        """How much of the epoch is done, in [0, 1]."""
        return self.step / max(self.provider.steps_per_epoch, 1)

    @property
    def step_share(self) -> float:
        """How much of the epoch a step is."""
        return 1 / max(self.provider.steps_per_epoch, 1)

    def take(self, count: int) -> list[Batch | MemberBatches]:
        """The next batches, fewer at the end of the epoch."""
        if self._batches is None:
            self._batches = iter(self.provider.epoch(self.lanes[0].epoch, self.lanes[0].stack))
        taken = list(islice(self._batches, count))
        self.step += len(taken)
        return taken


@dataclass(eq=False)
class _Work:
    """The steps of one lane until all wait for each other."""

    lane: Lane
    batches: Sequence[Batch | MemberBatches]
    done: int = 0
    is_taken: bool = False


@dataclass(eq=False)
class Team:
    """Trains lanes: those of the form "side-by-side" on threads of their own, the others in turn.

    A lane's first step is taken in turn, because more is looked at then; and who draws from a generator that the
    whole process shares goes on in turn.
    """

    _pool: ThreadPoolExecutor | None = None
    _warm: weakref.WeakSet[Lane] = field(default_factory=weakref.WeakSet)
    _scored: weakref.WeakSet[Lane] = field(default_factory=weakref.WeakSet)
    _room: threading.Condition = field(default_factory=threading.Condition)
    _active: int = 0
    _most: int = 1 << 30
    _is_over: bool = False

    @property
    def width(self) -> int:
        """How many lanes train at once: one for each of torch's present threads, one after memory ran out."""
        return min(torch.get_num_threads(), self._most)

    def together(self, feeds: Sequence[Feed]) -> list[list[Feed]]:
        """Which feeds are gone through at the same time: those of the lanes that train side by side."""
        beside = [feed for feed in feeds if all(self._goes_beside(lane) for lane in feed.lanes)]
        others = [[feed] for feed in feeds if feed not in beside]
        return [*others, beside] if beside else others

    def _goes_beside(self, lane: Lane) -> bool:
        """Batches of a lane that makes its own come from what it has become, and wait for its steps."""
        return self.width > 1 and lane.is_beside and lane.provider is None

    def advance(self, feeds: Sequence[Feed]) -> bool:
        """Trains the lanes of some feeds on the next batch, or the next few; whether there were any."""
        if all(self._goes_beside(lane) for feed in feeds for lane in feed.lanes):
            count = math.ceil(_ROUNDS * self.width / sum(len(feed.lanes) for feed in feeds))
            taken = [(feed, feed.take(count)) for feed in feeds]
            self.train([(lane, batches) for feed, batches in taken for lane in feed.lanes])
            return any(batches for _, batches in taken)
        following = [(feed, feed.take(1)) for feed in feeds]
        for feed, batches in following:
            for batch in batches:
                for lane in feed.lanes:
                    lane.train_step(batch)
        return any(batches for _, batches in following)

    def train(self, work: Sequence[tuple[Lane, Sequence[Batch | MemberBatches]]]) -> None:
        """Has each lane take a step on each of its batches, in their order."""
        waiting = [_Work(lane, batches) for lane, batches in work if batches]
        beside = self._beside([one.lane for one in waiting])
        for one in waiting:
            if one.lane not in self._warm:
                with num_threads(self._threads(len(beside)) if one.lane in beside else torch.get_num_threads()):
                    one.lane.train_step(one.batches[0])
                one.done = 1
                self._warm.add(one.lane)
        beside = self._beside([one.lane for one in waiting])
        for one in waiting:
            for batch in one.batches[one.done :] if one.lane not in beside else ():
                one.lane.train_step(batch)
        aside = [one for one in waiting if one.lane in beside]
        self._run([partial(self._work, aside)] * min(self.width, len(aside)))

    def _beside(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Those of the lanes that take their steps side by side."""
        beside = [lane for lane in lanes if self._goes_beside(lane) and not lane.stack.draws_in_turn]
        return beside if len(beside) > 1 else []

    def _threads(self, lanes: int) -> int:
        """A lane's share of torch's threads; in its first step, too, so that a resumed run has the same bits."""
        return max(torch.get_num_threads() // max(min(self.width, lanes), 1), 1)

    def map(self, function: Callable[[Lane], _T], lanes: Sequence[Lane]) -> list[_T]:
        """What a function says of each lane; it is asked side by side of those that train so."""
        beside, said = self._beside(lanes), {}
        for lane in lanes:
            if lane not in beside or lane not in self._scored:
                with num_threads(self._threads(len(beside)) if lane in beside else torch.get_num_threads()):
                    said[lane] = function(lane)
        rest = [lane for lane in self._beside(lanes) if lane not in said]
        said |= zip(rest, self._run([partial(function, lane) for lane in rest]), strict=True)
        said |= {lane: function(lane) for lane in lanes if lane not in said}
        self._scored.update(lanes)
        return [said[lane] for lane in lanes]

    # -- threads -------------------------------------------------------------------------------------------

    def _run(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """What the jobs return, each in a thread; the first error is raised when all have ended."""
        if not jobs:
            return []
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.width, thread_name_prefix="tenfold-lane")
        threads = self._threads(len(jobs))
        before, self._is_over = torch.default_generator.get_state(), False
        futures = [self._pool.submit(_aside, job, threads) for job in jobs]
        try:
            wait(futures)
        finally:  # also when Ctrl-C comes meanwhile: nobody may work on what is then put away
            self._is_over = True
            wait(futures)
        said = [future.result() for future in futures]
        if not torch.equal(torch.default_generator.get_state(), before):
            torch.default_generator.set_state(before)
            raise RunError(DRAWS_LATER)
        return said

    def _work(self, all_work: Sequence[_Work]) -> None:
        """Takes steps, each for the lane that is furthest behind, until none is left that no other thread has."""
        while not self._is_over:
            with self._room:
                free = [one for one in all_work if not one.is_taken and one.done < len(one.batches)]
                if not free:
                    return
                one = min(free, key=lambda one: one.done)
                one.is_taken = True
                self._enter()
                one.lane.wait_for_room = None if self._most == 1 else self._waiting(one.lane)
            try:
                one.lane.train_step(one.batches[one.done])
            except BaseException:
                self._is_over = True
                raise
            finally:
                one.lane.wait_for_room = None
                with self._room:
                    self._leave()
                    one.done, one.is_taken = one.done + 1, False

    def _enter(self) -> None:
        self._room.wait_for(lambda: self._active < self._most)
        self._active += 1

    def _leave(self) -> None:
        self._active -= 1
        self._room.notify_all()

    def _waiting(self, lane: Lane) -> Callable[[], bool]:
        """What waits, once, until no other lane takes a step; from then on lanes take theirs one at a time."""

        def wait_for_room() -> bool:
            lane.wait_for_room = None
            with self._room:
                self._most = 1
                self._leave()
                self._enter()
            return True

        return wait_for_room


def _aside(job: Callable[[], _T], threads: int) -> _T:
    torch.set_num_threads(threads)
    with beside_others():
        return job()
