"""The loop over a cohort: all lanes go through the same batches, epoch by epoch, and losers leave at rungs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tenfold.core.errors import RunError
from tenfold.core.records import MemberId, RecordLog
from tenfold.core.task import Batch, BatchProvider, Metric
from tenfold.stacking.memory import give_memory_back
from tenfold.train.checkpoint import Checkpointer
from tenfold.train.compiling import compile_where_it_pays
from tenfold.train.lane import Lane
from tenfold.train.parked import Parked, park, parked_from, stopped_trials
from tenfold.train.sparing import spared
from tenfold.tuning import Rung, promote


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
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    epochs: int = 0
    members: int = 0
    best: float | None = None
    share: float = 0.0


@dataclass(kw_only=True)
class CohortData:
    """Where a cohort's batches come from.

    Attributes:
        training: the provider for a batch size; lanes of one batch size see the very same batches. None when the
            task brings its own providers.
        validation: the batches to score `num_members` members on; they fit into memory.
        own: the provider for a batch size and the members of a lane, where members see batches of their own (their
            fold's, in their seed's order); it takes the place of `training`.
        scoring: how a lane's members are scored, where each has rows of its own; it takes the place of `validation`.
            Gives every metric, float, shape (M,).
    """

    training: Callable[[int], BatchProvider] | None
    validation: Callable[[int], Iterable[Batch]]
    own: Callable[[int, Sequence[MemberId]], BatchProvider] | None = None
    scoring: Callable[[Lane], dict[str, Tensor]] | None = None


@dataclass(kw_only=True)
class Hooks:
    """What a study does while a cohort trains; all optional.

    Attributes:
        on_step: called after each batch.
        on_rung: called when members have left, and at the end.
        out_of_time: asked after each batch; True ends training after a last scoring.
        seconds: the run's clock, which the checkpoint carries on.
    """

    on_step: Callable[[Progress], None] = lambda progress: None
    on_rung: Callable[[], None] = lambda: None
    out_of_time: Callable[[], bool] = lambda: False
    seconds: Callable[[], float] = lambda: 0.0


@dataclass(kw_only=True)
class Cohort:
    """All members of one question in training.

    Attributes:
        lanes: the stacks.
        data: their batches.
        metric: what decides who stays.
        rungs: when the trials are compared and how many stay; the last one is the end.
        log: where the facts go.
        checkpointer: where the state goes.
        hooks: what the study does meanwhile.
        epoch: epochs that are complete.
        parked: members that stopped and have left their stacks, and are still in the race.
        test_to_train: of trials with several folds: rows a fold scores on / rows it trains on.
    """

    lanes: list[Lane]
    data: CohortData
    metric: Metric
    rungs: Sequence[Rung]
    log: RecordLog
    checkpointer: Checkpointer
    hooks: Hooks = field(default_factory=Hooks)
    epoch: int = 0
    epochs_trained: float = 0.0
    stopped_early: bool = False
    parked: list[Parked] = field(default_factory=list)
    test_to_train: float | None = None
    _last_cause: str = ""

    def run(self) -> None:
        """Trains from where the cohort is to the last rung, or until time is out.

        Raises:
            RunError: all members are sick, or no member has a finite score at a rung.
        """
        rungs = {rung.resource: (number, rung) for number, rung in enumerate(self.rungs)}
        last = self.rungs[-1].resource
        self._choose_steps()
        while self.epoch < last and not self.stopped_early and self.lanes:
            shares = self._train_epoch(last)
            self.epoch += 1
            scores = self._score_epoch(shares)
            parked = self._park()
            is_last = self.stopped_early or not self.lanes
            if self.epoch in rungs or is_last:
                self._rung(*rungs.get(self.epoch, (len(rungs) - 1, self.rungs[-1])), scores)
            if self.epoch in rungs or is_last or parked:
                self._choose_steps()
            if self.checkpointer.due() or self.epoch == last or is_last:
                self.save()

    # -- one epoch -----------------------------------------------------------------------------------------

    def _train_epoch(self, epochs: int) -> dict[Lane, float]:
        """Trains one epoch; returns the share of it that each lane did (less than 1 when time ran out)."""
        members = sum(len(lane) for lane in self.lanes)
        progress = Progress(epoch=self.epoch, epochs=epochs, members=members, best=self.best_score())
        shares = dict.fromkeys(self.lanes, 1.0)
        planned = self.epochs_trained + self._member_epochs_left()
        done = self.epochs_trained
        for provider, lanes in self._streams():
            progress.step, progress.steps = 0, provider.steps_per_epoch
            here = sum(len(lane) for lane in lanes)
            for batch in provider.epoch(self.epoch, lanes[0].stack):
                for lane in lanes:
                    lane.train_step(batch)
                progress.step += 1
                part = here * progress.step / max(provider.steps_per_epoch, 1)
                progress.share = min((done + part) / max(planned, 1), 1.0)
                self.hooks.on_step(progress)
                if self.hooks.out_of_time():
                    self.stopped_early = True
                    shares.update(dict.fromkeys(lanes, progress.step / max(provider.steps_per_epoch, 1)))
                    break
            done += here
        self.epochs_trained += sum(share * len(lane) for lane, share in shares.items())
        return shares

    def _choose_steps(self) -> None:
        """Decides which lanes' steps are compiled up to the next rung; a resumed run decides alike."""
        resources = [0, *(rung.resource for rung in self.rungs)]
        begun = max(resource for resource in resources if resource <= self.epoch)
        epochs = min((resource for resource in resources if resource > begun), default=begun) - begun
        compile_where_it_pays(self.lanes, lambda lane: epochs * self._provider(lane).steps_per_epoch)

    def _provider(self, lane: Lane) -> BatchProvider:
        """Where a lane's batches come from: the task's own provider, or the data that lanes share."""
        if lane.provider is not None:
            return lane.provider
        if self.data.own is not None:
            return self.data.own(lane.recipe.batch_size, lane.ids)
        if self.data.training is None:
            raise RunError("the task brings no batches of its own and no training data was given.")
        return self.data.training(lane.recipe.batch_size)

    def _member_epochs_left(self) -> int:
        """Epochs that all members together have before them, if nobody leaves but at the rungs."""
        trials = len({member.trial for lane in self.lanes for member in lane.ids})
        members_a_trial = sum(len(lane) for lane in self.lanes) / max(trials, 1)
        left, reached = 0.0, self.epoch
        for rung in self.rungs:
            if rung.resource > reached:
                left += trials * members_a_trial * (rung.resource - reached)
                trials, reached = min(trials, rung.keep), rung.resource
        return round(left)

    def _streams(self) -> Iterator[tuple[BatchProvider, list[Lane]]]:
        """The providers of this epoch, each with the lanes that train on it."""
        shared: dict[int, list[Lane]] = {}
        for lane in self.lanes:
            if lane.provider is not None or self.data.own is not None:
                yield self._provider(lane), [lane]
            else:
                shared.setdefault(lane.recipe.batch_size, []).append(lane)
        for lanes in shared.values():
            yield self._provider(lanes[0]), lanes

    def _score(self, lane: Lane) -> dict[str, Tensor]:
        if self.data.scoring is not None:
            return self.data.scoring(lane)
        return lane.evaluate(self.data.validation(len(lane)))

    def _score_epoch(self, shares: Mapping[Lane, float]) -> dict[MemberId, float]:
        """Scores every member on the validation data, writes the facts, and returns what rungs compare, by member.

        That is a member's best score so far, since its best weights are what it would be kept for; NaN when its
        present score is NaN, for such a member has nothing before it.
        """
        standing: dict[MemberId, float] = {own.id: own.score for own in self.parked}
        for lane in self.lanes:
            lr, loss_M = lane.lr(), lane.end_epoch().tolist()
            self._log_events(lane)
            values = self._score(lane)
            score_M = values[self.metric.name].double()
            stopped_M = lane.is_stopped_M
            lane.note_scores(score_M, self.epoch)
            self._log_stopped(lane, stopped_M)
            lost_M = score_M.isnan() | lane.is_sick_M.to(score_M.device)
            standing_M = torch.where(lost_M, torch.nan, lane.best_score_M).tolist()
            table = {name: value_M.tolist() for name, value_M in values.items()}
            for place, member in enumerate(lane.ids):
                standing[member] = standing_M[place]
                self.log.append(
                    "epoch",
                    **member.to_json(),
                    epoch=self.epoch,
                    train_loss=loss_M[place],
                    valid={name: column[place] for name, column in table.items()},
                    lr=lr[place],
                    **({} if shares[lane] == 1.0 else {"share": shares[lane]}),
                )
        self._refuse_if_all_are_sick()
        return standing

    def _log_events(self, lane: Lane) -> None:
        """Writes down who fell sick in the epoch, and whether memory ran out."""
        for illness in lane.illnesses:
            self._last_cause = f"trial {illness.member.trial}, step {illness.step}: {illness.cause}"
            who, facts = illness.member.to_json(), {"step": illness.step, "cause": illness.cause}
            self.log.append("sick", **who, epoch=self.epoch, **facts)
        for pieces in lane.splits:
            trials = sorted({member.trial for member in lane.ids})
            self.log.append("split", trials=trials, epoch=self.epoch, pieces=pieces)
        lane.illnesses, lane.splits = [], []

    def _log_stopped(self, lane: Lane, before_M: Tensor) -> None:
        """Writes down whose patience came to its end."""
        for place in (lane.is_stopped_M & ~before_M).nonzero()[:, 0].tolist():
            best_epoch = int(lane.best_epoch_M[place])
            self.log.append("stopped", **lane.ids[place].to_json(), epoch=self.epoch, best_epoch=best_epoch)

    def _refuse_if_all_are_sick(self) -> None:
        if self.parked or not all(bool(lane.is_sick_M.all()) for lane in self.lanes):
            return
        self.log.sync()
        raise RunError(
            f"no member has a finite {self.metric.name} after epoch {self.epoch}: all have diverged "
            f"({self._last_cause}). Lower the learning rates of the space, or clip the gradients (clip_norm=1.0)."
        )

    def _park(self) -> bool:
        """Lets trials that have stopped leave their stacks; they stay in the race with their best scores."""
        trials = stopped_trials(self.lanes)
        self.parked += park(self.lanes, trials)
        self._keep_in_lanes({member.trial for lane in self.lanes for member in lane.ids} - trials)
        return bool(trials)

    # -- rungs ---------------------------------------------------------------------------------------------

    def _rung(self, number: int, rung: Rung, standing: Mapping[MemberId, float]) -> None:
        scores: dict[int, list[float]] = {}
        for member, score in standing.items():
            scores.setdefault(member.trial, []).append(score)
        means = {trial: sum(values) / len(values) for trial, values in scores.items()}
        if not any(abs(score) < float("inf") for score in standing.values()):
            raise RunError(
                f"no member has a finite {self.metric.name} after epoch {self.epoch}: all have diverged. "
                "Lower the learning rates of the space, or clip the gradients (clip_norm=1.0)."
            )
        sick = self._sick_trials()
        well = {trial: mean for trial, mean in means.items() if trial not in sick}
        ranking = promote(well, len(well), self.metric.direction)
        kept = ranking[: rung.keep]
        kept += spared(
            standing, kept, ranking[rung.keep :], direction=self.metric.direction, test_to_train=self.test_to_train
        )
        left = [trial for trial in means if trial not in kept]
        self.log.append("rung", rung=number, epoch=self.epoch, scores=means, kept=sorted(kept), left=sorted(left))
        self.keep_trials(set(kept))
        self.log.sync()
        self.hooks.on_rung()

    def keep_trials(self, trials: set[int]) -> None:
        """Lets the members of all other trials leave."""
        self.parked = [own for own in self.parked if own.id.trial in trials]
        self._keep_in_lanes(trials)

    def _sick_trials(self) -> set[int]:
        """The trials all of whose members are sick."""
        trials: dict[bool, set[int]] = {True: set(), False: set()}
        for lane in self.lanes:
            for member, is_sick in zip(lane.ids, lane.is_sick_M.tolist(), strict=True):
                trials[is_sick].add(member.trial)
        return trials[True] - trials[False]

    def _keep_in_lanes(self, trials: set[int]) -> None:
        num_lanes, self.lanes = len(self.lanes), [lane for lane in self.lanes if _keep_trials(lane, trials)]
        if len(self.lanes) < num_lanes:
            give_memory_back()

    def best_score(self) -> float | None:
        """The best score that a member still in the race ever had."""
        scores = [own.score for own in self.parked]
        scores += [score for lane in self.lanes for score in lane.best_score_M.tolist()]
        scores = [score for score in scores if abs(score) < float("inf")]
        if not scores:
            return None
        return max(scores) if self.metric.direction == "maximize" else min(scores)

    # -- saving --------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes the checkpoint that a resumed run goes on from."""
        self.checkpointer.save(self.state_dict)

    def state_dict(self) -> dict[str, Any]:
        """The state between two epochs, and the length of the log that belongs to it."""
        return {
            "epoch": self.epoch,
            "epochs_trained": self.epochs_trained,
            "stopped_early": self.stopped_early,
            "seconds": self.hooks.seconds(),
            "log_bytes": self.log.sync(),
            "lanes": [
                {"ids": [[i.trial, i.fold, i.seed] for i in lane.ids], "state": lane.state_dict()}
                for lane in self.lanes
            ],
            "parked": [own.state_dict() for own in self.parked],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state; the cohort must have been built with all the members it began with."""
        self.epoch, self.epochs_trained = state["epoch"], state["epochs_trained"]
        self.stopped_early = state["stopped_early"]
        saved = {tuple(ids): entry for entry in state["lanes"] for ids in map(tuple, entry["ids"])}
        self.parked = parked_from(state["parked"], self.lanes)
        self._keep_in_lanes({ids[0] for ids in saved})
        for lane in self.lanes:
            first = lane.ids[0]
            entry = saved[(first.trial, first.fold, first.seed)]
            lane.load_state_dict(entry["state"])


def _keep_trials(lane: Lane, trials: set[int]) -> bool:
    """Lets the members of other trials leave a lane; whether any is left."""
    places = [place for place, member in enumerate(lane.ids) if member.trial in trials]
    if 0 < len(places) < len(lane):
        lane.stack.keep(places)
    return bool(places)


class Clock:
    """Seconds since the run began, those before a resume included."""

    def __init__(self, used_s: float = 0.0) -> None:
        self._began = time.monotonic() - used_s

    def __call__(self) -> float:
        """The seconds, as a float."""
        return time.monotonic() - self._began
