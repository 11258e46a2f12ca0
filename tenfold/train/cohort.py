"""The loop over a cohort: lanes go through the batches, epoch by epoch, losers leave, and others take their room.

A lane counts its own epochs, and its batches follow them: what a trial becomes does not depend on when it began.
Lanes of one batch size that are in the same epoch of theirs share their batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.errors import RunError
from tenfold.core.records import MemberId, RecordLog
from tenfold.core.task import BatchProvider, Metric
from tenfold.stacking.memory import give_memory_back
from tenfold.train.checkpoint import Checkpointer
from tenfold.train.cohort_parts import CohortData, Departure, Hooks, Progress
from tenfold.train.compiling import STEPS_TO_REPLAY, compile_where_it_pays, note_real_seconds
from tenfold.train.judging import Judge, Race, Verdict, mean_by_trial
from tenfold.train.lane import Lane
from tenfold.train.parked import Parked, park, parked_from, stopped_trials
from tenfold.train.team import Feed, Team


@dataclass(kw_only=True)
class Cohort:
    """All members of one question in training.

    Attributes:
        lanes: the stacks.
        data: their batches.
        metric: what decides who stays.
        judge: says who leaves.
        log: where the facts go.
        checkpointer: where the state goes.
        hooks: what the study does meanwhile.
        most_parked: how many trials that train no more stay in the race, the best ones; None for all.
        team: takes the lanes' steps.
        whole: makes a model of the users' own class of one that was trained, where members train a part of it.
        epoch: epochs that are complete since the first lane began.
        epochs_trained: by all members together; on a ladder counted in epochs on its last step.
        parked: members that train no more and have left their stacks, and are still in the race.
        curves: for every trial that ever ran its score after each of its own epochs, the mean over its members.
        best: likewise the mean of its members' best scores so far.
    """

    lanes: list[Lane]
    data: CohortData
    metric: Metric
    judge: Judge
    log: RecordLog
    checkpointer: Checkpointer
    hooks: Hooks = field(default_factory=Hooks)
    most_parked: int | None = None
    team: Team = field(default_factory=Team)
    whole: Callable[[nn.Module], nn.Module] = lambda model: model
    epoch: int = 0
    epochs_trained: float = 0.0
    stopped_early: bool = False
    parked: list[Parked] = field(default_factory=list)
    curves: dict[int, list[float]] = field(default_factory=dict)
    best: dict[int, list[float]] = field(default_factory=dict)
    _last_cause: str = ""
    _epochs_as_chosen: int = 0

    def run(self) -> None:
        """Trains from where the cohort is until everybody is through or has left, or time is out.

        Raises:
            RunError: all members are sick, or no member has a finite score at a rung, and no others can begin.
        """
        if not self.epoch:
            self._admit()
        self._choose_steps()
        while self._training() and not self.stopped_early:
            shares = self._train_epoch()
            self.epoch += 1
            best = self._score_epoch(shares)
            self.stopped_early = self.hooks.is_enough() or self.stopped_early
            changed = self._let_go(best)
            changed = self._climb() or changed
            changed = self._admit() or changed
            is_last = self.stopped_early or not self._training()
            if changed:
                self._choose_steps()
            if self.checkpointer.due() or is_last:
                self.save()

    @property
    def longest(self) -> int:
        """Epochs of the trial that has trained the most; on a ladder on one step."""
        return min(max((len(curve) for curve in self.curves.values()), default=0), self.judge.lane_epochs)

    def _training(self) -> list[Lane]:
        """The lanes that have not come to their end."""
        return [lane for lane in self.lanes if lane.epoch < self.judge.lane_epochs]

    # -- one epoch -----------------------------------------------------------------------------------------

    def _train_epoch(self) -> dict[Lane, float]:
        """Trains one epoch; returns the share of it that each lane did (less than 1 when time ran out)."""
        members = sum(len(lane) for lane in self.lanes)
        progress = Progress(
            epoch=max(lane.epoch for lane in self.lanes), epochs=self.judge.lane_epochs, members=members,
            best=self.best_score(), trials=len(self.curves) if self.hooks.admit else 0,
        )  # fmt: skip
        shares = dict.fromkeys(self.lanes, 1.0)
        planned = self.epochs_trained + self._member_epochs_left()
        done = self.epochs_trained
        for feeds in self.team.together(list(self._feeds())):
            longest = max(feeds, key=lambda feed: feed.provider.steps_per_epoch)
            progress.steps = longest.provider.steps_per_epoch
            worth = [(feed, sum(map(self._weight, feed.lanes)) * feed.step_share) for feed in feeds]
            began = time.perf_counter()
            while self.team.advance(feeds):
                progress.step = longest.step
                part = sum(each * feed.step for feed, each in worth)
                progress.share = min((done + part) / max(planned, 1), 1.0)
                self.hooks.on_step(progress)
                if self.hooks.out_of_time():
                    self.stopped_early = True
                    shares.update({lane: feed.share for feed in feeds for lane in feed.lanes})
                    break
            done += sum(self._weight(lane) for feed in feeds for lane in feed.lanes)
            if self._epochs_as_chosen == 1 and len(feeds) == len(feeds[0].lanes) == 1:
                note_real_seconds(feeds[0].lanes[0], feeds[0].step, time.perf_counter() - began)
        self._epochs_as_chosen += 1
        for lane in self.lanes:
            lane.epoch += 1
        self.epochs_trained += sum(share * self._weight(lane) for lane, share in shares.items())
        return shares

    def _choose_steps(self) -> None:
        """Decides which lanes' steps are compiled until somebody leaves or joins; a resumed run decides alike."""
        self._epochs_as_chosen = 0

        def steps_ahead(lane: Lane) -> int:
            epochs = self.judge.stretch({member.trial for member in lane.ids}, lane.age)
            return epochs * self._provider(lane).steps_per_epoch

        compile_where_it_pays(self._training(), steps_ahead)
        for lane in self._training():
            lane.replay(steps_ahead(lane) >= STEPS_TO_REPLAY)

    def _provider(self, lane: Lane) -> BatchProvider:
        """Where a lane's batches come from: the task's own provider, or the data that lanes share."""
        provider = lane.provider or self.data.provider(lane.recipe.batch_size, lane.ids, lane.step)
        if provider is None:
            raise RunError("the task brings no batches of its own and no training data was given.")
        return provider

    def _member_epochs_left(self) -> int:
        """Epochs that all members together have before them, if nobody leaves but at the rungs."""
        ages = {member.trial: lane.age for lane in self.lanes for member in lane.ids}
        members_a_trial = sum(len(lane) for lane in self.lanes) / max(len(ages), 1)
        return round(members_a_trial * self.judge.ahead(ages) + self.hooks.ahead())

    def _weight(self, lane: Lane) -> float:
        """What an epoch of all members of a lane counts."""
        return len(lane) * self.judge.cost(lane.step)

    def _feeds(self) -> Iterator[Feed]:
        """The batches of this epoch, each provider's with the lanes that train on them."""
        shared: dict[tuple[int, ...], list[Lane]] = {}
        for lane in self.lanes:
            if lane.provider is not None or self.data.own is not None:
                yield Feed(self._provider(lane), [lane])
            else:
                step = lane.step if self.data.by_step else 0
                shared.setdefault((lane.recipe.batch_size, lane.epoch, step), []).append(lane)
        for lanes in shared.values():
            yield Feed(self._provider(lanes[0]), lanes)

    def _score(self, lane: Lane) -> dict[str, Tensor]:
        if self.data.scoring is not None:
            return self.data.scoring(lane)
        return lane.evaluate(self.data.validation(len(lane)))

    def _score_epoch(self, shares: Mapping[Lane, float]) -> dict[MemberId, float]:
        """Scores every member on the validation data, writes the facts, and returns what rungs compare, by member.

        That is a member's best score so far, since its best weights are what it would be kept for; NaN when its
        present score is NaN, for such a member has nothing before it. Who stopped stays in the race with its best.
        """
        waiting = [own for own in self.parked if len(self.curves[own.id.trial]) < self.judge.length(own.id.trial)]
        standing: dict[MemberId, float] = {own.id: own.score for own in waiting}
        present = dict(standing)
        losses = [lane.end_epoch().tolist() for lane in self.lanes]
        for lane, loss_M, values in zip(self.lanes, losses, self.team.map(self._score, self.lanes), strict=True):
            lr = lane.lr()
            self._log_events(lane)
            score_M = values[self.metric.name].double()
            stopped_M = lane.is_stopped_M
            lane.note_scores(score_M, lane.age)
            self._log_stopped(lane, stopped_M)
            lost_M = score_M.isnan() | lane.is_sick_M.to(score_M.device)
            standing_M = torch.where(lost_M, torch.nan, lane.best_score_M).tolist()
            present |= dict(zip(lane.ids, torch.where(lost_M, torch.nan, score_M).tolist(), strict=True))
            table = {name: value_M.tolist() for name, value_M in values.items()}
            for place, member in enumerate(lane.ids):
                standing[member] = standing_M[place]
                self.log.append(
                    "epoch",
                    **member.to_json(),
                    epoch=lane.age,
                    train_loss=loss_M[place],
                    valid={name: column[place] for name, column in table.items()},
                    lr=lr[place],
                    **({} if self.judge.ladder is None else {"step": lane.step}),
                    **({} if shares[lane] == 1.0 else {"share": shares[lane]}),
                )
        self._refuse_if_all_are_sick()
        for curves, scores in ((self.curves, present), (self.best, standing)):
            for trial, mean in mean_by_trial(scores).items():
                curves.setdefault(trial, []).append(mean)
        return standing

    def _log_events(self, lane: Lane) -> None:
        """Writes down who fell sick in the epoch, and whether memory ran out."""
        for illness in lane.illnesses:
            self._last_cause = f"trial {illness.member.trial}, step {illness.step}: {illness.cause}"
            who, facts = illness.member.to_json(), {"step": illness.step, "cause": illness.cause}
            self.log.append("sick", **who, epoch=lane.age, **facts)
        for pieces in lane.splits:
            trials = sorted({member.trial for member in lane.ids})
            self.log.append("split", trials=trials, epoch=lane.age, pieces=pieces)
        lane.illnesses, lane.splits = [], []

    def _log_stopped(self, lane: Lane, before_M: Tensor) -> None:
        """Writes down whose patience came to its end."""
        for place in (lane.is_stopped_M & ~before_M).nonzero()[:, 0].tolist():
            best_epoch = int(lane.best_epoch_M[place])
            self.log.append("stopped", **lane.ids[place].to_json(), epoch=lane.age, best_epoch=best_epoch)

    def _refuse_if_all_are_sick(self) -> None:
        if self.hooks.admit or self.parked or not all(bool(lane.is_sick_M.all()) for lane in self.lanes):
            return
        self._refuse(f" ({self._last_cause})")

    def _refuse(self, cause: str = "") -> None:
        self.log.sync()
        raise RunError(
            f"no member has a finite {self.metric.name} after epoch {self.epoch}: all have diverged{cause}. "
            "Lower the learning rates of the space, or clip the gradients (clip_norm=1.0)."
        )

    # -- leaving and joining -------------------------------------------------------------------------------

    def _let_go(self, best: Mapping[MemberId, float]) -> bool:
        """Lets those leave who stopped, were judged, or came to their end; whether anybody did."""
        last = [lane for lane in self.lanes if self.judge.is_last(lane.step)]  # others go on when they climb
        stopped = {trial: len(self.curves[trial]) for trial in stopped_trials(last)}
        self._park(set(stopped))
        departures = {trial: Departure(how="complete", epoch=epoch) for trial, epoch in stopped.items()}
        is_over = self.stopped_early or not self.lanes
        race = Race(best=best, curves=self.curves, sick=self._sick_trials(), is_over=is_over, standings=self.best)
        verdict = self.judge.decide(race)
        if verdict.rungs or verdict.leavers:
            departures |= self._leave(verdict, race)
        departures |= self._retire()
        self.hooks.on_departures(departures)
        if verdict.rungs or (self.hooks.admit and departures):
            self.hooks.on_rung()
        return bool(departures or verdict.rungs)

    def _leave(self, verdict: Verdict, race: Race) -> dict[int, Departure]:
        """Writes the rungs down, and lets the members of the trials that leave go."""
        if not self.hooks.admit and not any(abs(score) < float("inf") for score in race.best.values()):
            self._refuse()
        for facts in verdict.rungs:
            self.log.append("rung", **facts)
        self.keep_trials({member.trial for member in self._members()} - set(verdict.leavers))
        self.log.sync()
        return {
            trial: Departure(how="sick" if trial in race.sick else "left", epoch=len(self.curves[trial]), reason=why)
            for trial, why in verdict.leavers.items()
        }

    def _members(self) -> list[MemberId]:
        """All members in the race."""
        return [*(member for lane in self.lanes for member in lane.ids), *(own.id for own in self.parked)]

    def _retire(self) -> dict[int, Departure]:
        """Where others may follow, trials that came to their end leave their stacks; they stay in the race."""
        if self.hooks.admit is None:
            return {}
        through = [lane for lane in self._through() if self.judge.is_last(lane.step)]
        ended = {member.trial: lane.age for lane in through for member in lane.ids}
        self._park(set(ended))
        return {trial: Departure(how="complete", epoch=age) for trial, age in ended.items()}

    def _through(self) -> list[Lane]:
        """The lanes that have come to their end."""
        return [lane for lane in self.lanes if lane.epoch >= self.judge.lane_epochs]

    def _climb(self) -> bool:
        """Lets those who are through with a step of the ladder begin the next, in lanes that the study gives."""
        through = [lane for lane in self._through() if not self.judge.is_last(lane.step)]
        if not through or self.stopped_early:
            return False
        fresh = self.hooks.climb(through)
        self.lanes = [lane for lane in self.lanes if lane not in through] + fresh
        give_memory_back()
        return True

    def _admit(self) -> bool:
        """Lets lanes begin that the study has ready; whether there are any."""
        fresh = self.hooks.admit() if self.hooks.admit and not self.stopped_early else []
        self.lanes += fresh
        return bool(fresh)

    def _park(self, trials: set[int]) -> None:
        """Lets trials that train no more leave their stacks; they stay in the race with their best scores."""
        if not trials:
            return
        self.parked = park(self.parked, self.lanes, trials, self.most_parked, self.metric.direction)
        self._keep_in_lanes({member.trial for lane in self.lanes for member in lane.ids} - trials)

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
            "curves": self.curves,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state; the cohort must have been built with all the members that are in it, at least."""
        self.epoch, self.epochs_trained = state["epoch"], state["epochs_trained"]
        self.stopped_early = state["stopped_early"]
        self.curves, self.best = dict(state["curves"]), dict(state["best"])
        saved = {(entry["state"].get("step", 0), *ids): entry for entry in state["lanes"] for ids in entry["ids"]}
        self.parked = parked_from(state["parked"], [lane for lane in self.lanes if self.judge.is_last(lane.step)])
        alive = {(step, trial) for step, trial, _, _ in saved}
        self.lanes = [lane for lane in self.lanes if _keep_trials(lane, {t for s, t in alive if s == lane.step})]
        for lane in self.lanes:
            first = lane.ids[0]
            lane.load_state_dict(saved[(lane.step, first.trial, first.fold, first.seed)]["state"])


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
