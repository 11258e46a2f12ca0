"""Who leaves a cohort after an epoch: a stopping rule's word, and what folds, seeds and sickness add to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.records import MemberId
from tenfold.core.task import Direction
from tenfold.train.sparing import spared
from tenfold.tuning import Bracket, Halving, Ladder, NoStopping, Rung, StoppingRule, promote
from tenfold.tuning.standing import epochs as in_epochs


@dataclass(frozen=True, kw_only=True)
class Race:
    """Where the trials stand after an epoch.

    Attributes:
        best: the best score so far of every member in the race; NaN when its present score is not a number.
        curves: for every trial that ever ran its score after each of its own epochs, the mean over its members.
        sick: trials all of whose members are sick.
        is_over: whether training ends here, wherever the trials are.
        standings: like the curves, the mean of the members' best scores so far; on a ladder so far on their step.
    """

    best: Mapping[MemberId, float]
    curves: Mapping[int, Sequence[float]]
    sick: Set[int]
    is_over: bool
    standings: Mapping[int, Sequence[float]] = field(default_factory=dict)

    @property
    def means(self) -> dict[int, float]:
        """Each trial's score: the mean over its members of their best ones."""
        return mean_by_trial(self.best)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is decided after an epoch.

    Attributes:
        leavers: who leaves, and why, in words.
        rungs: for each rung that was reached the facts of its record.
    """

    leavers: dict[int, str] = field(default_factory=dict)
    rungs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Says after each epoch who leaves.

    A halving's trials are compared at the rungs of their bracket, by their best scores so far, and with several folds
    or seeds a trial is spared that is not clearly worse than the last one kept; whoever is sick there leaves. Any
    other rule is asked after every epoch.

    Attributes:
        rule: the stopping rule.
        direction: of the metric.
        test_to_train: of trials with several folds: rows a fold scores on / rows it trains on.
        ladder: where the resource is not epochs: the steps that trials climb; its rule is the rule.
    """

    rule: StoppingRule
    direction: Direction
    test_to_train: float | None = None
    ladder: Ladder | None = None

    @classmethod
    def of_rungs(cls, rungs: Sequence[Rung], direction: Direction, *, test_to_train: float | None = None) -> Judge:
        """The judge of one bracket, however many trials there are."""
        bracket = Bracket(num_trials=2**62, rungs=tuple(rungs))
        rule = Halving(brackets=(bracket,), max_resource=rungs[-1].resource, direction=direction)
        return cls(rule=rule, direction=direction, test_to_train=test_to_train)

    def decide(self, race: Race) -> Verdict:
        """The decision after an epoch."""
        if isinstance(self.rule, Halving):
            return self._at_rungs(self.rule, race)
        running = {member.trial for member in race.best}
        leavers = dict.fromkeys(sorted(race.sick & running), "its loss is not finite")
        if not race.is_over:
            leavers |= self._leavers(race, running - race.sick)
        return Verdict(leavers=leavers)

    def _leavers(self, race: Race, running: Set[int]) -> dict[int, str]:
        """Whom a rule names that is asked after every epoch; on a ladder those who have just done a step."""
        if self.ladder is None:
            return self.rule.leavers(race.curves, running)
        done = {trial for trial in running if not len(race.curves[trial]) % self.ladder.epochs}
        if not done:
            return {}
        curves = {trial: self.ladder.curve(trial, own) for trial, own in race.standings.items()}
        return {trial: why for trial, why in self.rule.leavers(curves, running).items() if trial in done}

    def _reached(self, trial: int, epochs: int) -> float:
        """The resource that a trial has had after so many epochs of its own."""
        return epochs if self.ladder is None else self.ladder.reached(trial, epochs)

    def _at_rungs(self, rule: Halving, race: Race) -> Verdict:
        verdict, means = Verdict(), race.means
        for number, trials in _by_bracket(rule, means).items():
            rungs = rule.rungs()[number % len(rule.brackets)]
            epoch = max(len(race.curves[trial]) for trial in trials)
            reached = self._reached(trials[0], epoch)
            found = next((index for index, rung in enumerate(rungs) if rung.resource == reached), None)
            if found is None and race.is_over:
                found = len(rungs) - 1
            if found is None:
                continue
            kept, ranking = self._kept({trial: means[trial] for trial in trials}, race, rungs[found].keep)
            left = sorted(set(trials) - set(kept))
            scores = {trial: means[trial] for trial in trials}
            own = {} if len(rule.brackets) == 1 and number == 0 else {"bracket": number}
            own |= {} if self.ladder is None else {"step": self.ladder.step_of(trials[0], epoch)}
            facts = {"rung": found, **own, "epoch": epoch, "scores": scores, "kept": sorted(kept), "left": left}
            verdict.rungs.append(facts)
            for trial in left:
                verdict.leavers[trial] = _reason(trial, means[trial], self._where(trial, epoch), ranking, kept)
        return verdict

    def _where(self, trial: int, epoch: int) -> str:
        """Where a trial is compared, in words."""
        if self.ladder is None:
            return f"after {in_epochs(epoch)}"
        return f"on {self.ladder.words(self.ladder.step_of(trial, epoch))}"

    def _kept(self, means: Mapping[int, float], race: Race, keep: int) -> tuple[list[int], list[int]]:
        """Who goes on, and the ranking of those who are not sick, best first."""
        well = {trial: mean for trial, mean in means.items() if trial not in race.sick}
        ranking = promote(well, len(well), self.direction)
        kept = ranking[:keep]
        best = {member: score for member, score in race.best.items() if member.trial in means}
        kept += spared(best, kept, ranking[keep:], direction=self.direction, test_to_train=self.test_to_train)
        return kept, ranking

    @property
    def lane_epochs(self) -> int:
        """Epochs of a lane that nobody stops; on a ladder its trials then climb into another one, or are through."""
        return self.rule.max_resource if self.ladder is None else self.ladder.epochs

    def length(self, trial: int) -> int:
        """Epochs of its own that a trial trains which never leaves."""
        return self.rule.max_resource if self.ladder is None else self.ladder.length(trial)

    def is_last(self, step: int) -> bool:
        """Whether those who are through with a step of the ladder are through altogether."""
        return self.ladder is None or step == self.ladder.last

    def cost(self, step: int) -> float:
        """What an epoch on a step takes, of one at the full resource."""
        return 1.0 if self.ladder is None else self.ladder.cost(step)

    def stretch(self, trials: Collection[int], epoch: int) -> int:
        """Epochs from the last decision to the next for trials of this age; a resumed run says the same."""
        if self.ladder is not None:
            return self.ladder.epochs
        if isinstance(self.rule, NoStopping):
            return self.rule.max_resource
        if not isinstance(self.rule, Halving):
            return max(self.rule.max_resource // 3, 1)
        numbers = {self.rule.bracket_of(trial) % len(self.rule.brackets) for trial in trials}
        resources = {0, *(rung.resource for number in numbers for rung in self.rule.rungs()[number])}
        begun = max(resource for resource in resources if resource <= epoch)
        return min((resource for resource in resources if resource > begun), default=begun) - begun

    def ahead(self, epochs: Mapping[int, int]) -> float:
        """Epochs that all trials together have before them, if nobody leaves but at rungs.

        On a ladder they are counted in epochs on its last step.

        Args:
            epochs: how many each has behind it.
        """
        if self.ladder is not None:
            return self.ladder.ahead(epochs)
        if not isinstance(self.rule, Halving):
            return float(sum(self.rule.max_resource - epoch for epoch in epochs.values()))
        left = 0.0
        for number, trials in _by_bracket(self.rule, epochs).items():
            present, reached = len(trials), max(epochs[trial] for trial in trials)
            for rung in self.rule.rungs()[number % len(self.rule.brackets)]:
                if rung.resource > reached:
                    left += present * (rung.resource - reached)
                    present, reached = min(present, rung.keep), rung.resource
        return left


def mean_by_trial(scores: Mapping[MemberId, float]) -> dict[int, float]:
    """Each trial's mean over its members; NaN where a member's score is.

    Example:
        >>> mean_by_trial({MemberId(trial=3, fold=0): 0.5, MemberId(trial=3, fold=1): 0.7})
        {3: 0.6}
    """
    values: dict[int, list[float]] = {}
    for member, score in scores.items():
        values.setdefault(member.trial, []).append(score)
    return {trial: sum(own) / len(own) for trial, own in values.items()}


def _by_bracket(rule: Halving, trials: Collection[int]) -> dict[int, list[int]]:
    """The trials of each bracket, in their given order."""
    found: dict[int, list[int]] = {}
    for trial in trials:
        found.setdefault(rule.bracket_of(trial), []).append(trial)
    return dict(sorted(found.items()))


def _reason(trial: int, score: float, where: str, ranking: Sequence[int], kept: Sequence[int]) -> str:
    if trial not in ranking:
        return "its loss is not finite"
    place = ranking.index(trial) + 1
    goes = "goes" if len(kept) == 1 else "go"
    return f"{score:.4g} {where} is number {place} of {len(ranking)}, and {len(kept)} {goes} on"
