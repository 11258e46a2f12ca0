"""What a cohort is given and tells: where its batches come from, what a study does meanwhile, how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tenfold.core.records import MemberId
from tenfold.core.task import Batch, BatchProvider
from tenfold.train.lane import Lane


@dataclass(kw_only=True)
class Progress:
    """Where a cohort is, for whoever shows it.

    Attributes:
        epoch: epochs that are complete.
        step: steps of the present epoch that are complete, out of `steps`.
        members: members still training.
        best: the best score so far, None before the first.
        epochs: epochs of the full budget.
        share: of the training that is planned, how much is done, in [0, 1].
        trials: trials that have begun; 0 where all begin together.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    epochs: int = 0
    members: int = 0
    best: float | None = None
    share: float = 0.0
    trials: int = 0


@dataclass(kw_only=True)
class CohortData:
    """Where a cohort's batches come from.

    Attributes:
        training: the provider for a batch size; lanes of one batch size and epoch see the very same batches. None
            when the task brings its own providers.
        validation: the batches to score `num_members` members on; they fit into memory.
        own: the provider for a batch size and the members of a lane, where members see batches of their own (their
            fold's, in their seed's order); it takes the place of `training`.
        scoring: how a lane's members are scored, where each has rows of its own; it takes the place of `validation`.
            Gives every metric, float, shape (M,).
        by_step: whether steps of a ladder train on different amounts of data; `training` and `own` are then handed
            the step as `step`.
    """

    training: Callable[..., BatchProvider] | None
    validation: Callable[[int], Iterable[Batch]]
    own: Callable[..., BatchProvider] | None = None
    scoring: Callable[[Lane], dict[str, Tensor]] | None = None
    by_step: bool = False

    def provider(self, batch_size: int, ids: Sequence[MemberId], step: int = 0) -> BatchProvider | None:
        """The provider of a lane's batches; None where there is none."""
        more = {"step": step} if self.by_step else {}
        if self.own is not None:
            return self.own(batch_size, ids, **more)
        return None if self.training is None else self.training(batch_size, **more)


@dataclass(frozen=True, kw_only=True)
class Departure:
    """A trial that trains no more.

    Attributes:
        how: "complete" (it came to the end, or its patience did), "left" (others were better) or "sick".
        epoch: epochs that it trained.
        reason: why, in words with its number.
    """

    how: str
    epoch: int
    reason: str = ""


@dataclass(kw_only=True)
class Hooks:
    """What a study does while a cohort trains; all optional.

    Attributes:
        on_step: called after each batch.
        on_rung: called when members have left, and at the end.
        out_of_time: asked after each batch; True ends training after a last scoring.
        seconds: the run's clock, which the checkpoint carries on.
        on_departures: told after each epoch which trials train no more.
        admit: asked after each epoch for lanes that begin now; None where all members begin together, and then it is
            an error when all of them are sick. It has a list ready when it has no more.
        is_enough: asked after each epoch; True ends training.
        ahead: member-epochs of trials that have not begun.
        climb: given lanes that are through with their step of the ladder, those in which their trials take the next.
    """

    on_step: Callable[[Progress], None] = lambda progress: None
    on_rung: Callable[[], None] = lambda: None
    out_of_time: Callable[[], bool] = lambda: False
    seconds: Callable[[], float] = lambda: 0.0
    on_departures: Callable[[Mapping[int, Departure]], None] = lambda departures: None
    admit: Callable[[], list[Lane]] | None = None
    is_enough: Callable[[], bool] = lambda: False
    ahead: Callable[[], float] = lambda: 0.0
    climb: Callable[[list[Lane]], list[Lane]] = lambda lanes: []
