"""A search while it trains: generations begin as others make room, and the sampler is told of those that left.

What happens is written down before it has consequences: proposals before they train, departures with their reasons,
what the sampler was told. A resumed run asks and tells the same again, in the same order, and so it goes on as if it
had never stopped.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tenfold.core.errors import RunError
from tenfold.core.records import RecordLog, read_records
from tenfold.study.costs import Costs
from tenfold.study.describing import describe_plan
from tenfold.study.final import ranked
from tenfold.study.generation_plans import plan_generation
from tenfold.study.generations import replays
from tenfold.study.job import Job
from tenfold.study.mirrors import Mirrors
from tenfold.study.question import Question
from tenfold.study.run_folder import RunFolder
from tenfold.study.search_options import SearchOptions
from tenfold.study.speaking import Speaker
from tenfold.train import Cohort, Departure, Lane, MemberSpec, PlannedStack, build_lane
from tenfold.tuning import Draw
from tenfold.tuning.proposals import State

_TOGETHER = {"average": 5, "vote": 5, "ensemble": 16}  # trials that are kept to predict together
_Curves = Mapping[int, Sequence[float]]
_STATES: dict[str, State] = {"complete": "complete", "left": "pruned", "budget": "pruned", "sick": "failed"}


class Campaign:
    """Leads a cohort through a search.

    Args:
        job: the question on its way.
        question: with its first generation planned; later ones are added to it.
        folder: the run's; the plans of generations are kept in its `run.json`.
        log: where the facts go.
        mirrors: copies of the records, brought up to date now and then.
    """

    cohort: Cohort

    def __init__(self, job: Job, question: Question, folder: RunFolder, log: RecordLog, mirrors: Mirrors) -> None:
        assert question.generations is not None
        assert isinstance(job.options, SearchOptions)
        self.job, self.question, self.folder, self.log, self.mirrors = job, question, folder, log, mirrors
        self.options, self.generations = job.options, question.generations
        self.costs = Costs(self.options.objectives, folder)
        self.speaker = Speaker(question, log, job.listener.note)
        self.enough = ""
        self._planned = [PlannedStack.from_json(line) for line in folder.info["plan_stacks"]]
        self._digests: dict[str, str] = dict(folder.info.get("plan_digests", {}))

    def lead(self, cohort: Cohort) -> None:
        """Takes a cohort that is about to train."""
        self.cohort = cohort
        cohort.most_parked = _TOGETHER.get(self.options.final, 1)
        hooks = cohort.hooks
        hooks.admit, hooks.on_departures, hooks.is_enough = self.admit, self.on_departures, self.is_enough
        hooks.ahead, hooks.on_rung, hooks.climb = self.ahead, self.mirrors.sync_now_and_then, self.climb

    # -- while it trains -----------------------------------------------------------------------------------

    def admit(self) -> list[Lane]:
        """The lanes of the next generation, if there is room for one."""
        running = {member.trial for lane in self.cohort.lanes for member in lane.ids}
        size = self.generations.size(len(running))
        draws = self.generations.ask(size) if size else []
        if not draws:
            return []
        lines = self._plan(self._add(draws))
        log_trials(self.log, self.question, draws)
        self.job.listener.note(_joining(draws, len(running), self.generations.trials))
        return build_lanes(self.question, lines, self.job.device)

    def climb(self, lanes: Sequence[Lane]) -> list[Lane]:
        """The lanes in which the trials of some lanes take the next step of the ladder."""
        lines: list[PlannedStack] = []
        for step in sorted({lane.step for lane in lanes}):
            trials = sorted({member.trial for lane in lanes if lane.step == step for member in lane.ids})
            self.log.append("climb", step=step + 1, trials=trials)
            lines += self._plan(self._add([self.question.draws[trial] for trial in trials], step + 1))
        fresh = build_lanes(self.question, lines, self.job.device)
        if self.question.ladder is not None and not self.question.ladder.anew:
            for lane in fresh:
                lane.go_on_from([other for other in lanes if other.step == lane.step - 1])
        return fresh

    def _add(self, draws: Sequence[Draw], step: int | None = None) -> range:
        """Adds members to the question: those of new trials, or of trials that take another step of the ladder."""
        first = len(self.question.specs)
        self.question.specs.extend(self.question.members_of(list(draws), step))
        if step is None:
            self.question.draws.extend(draws)
        return range(first, len(self.question.specs))

    def _plan(self, places: range) -> list[PlannedStack]:
        """The plan of the members at these places, as it was if the run was here before with the same members.

        Epochs that a resumed run trains again may differ in their last bits (on a GPU, say), and others may then be
        proposed or climb: what was planned for these members is of no use to those.
        """
        specs = [self.question.specs[place] for place in places]
        digest = _digest(specs)
        lines = [line for line in self._planned if line.places[0] in places]
        if self._digests.get(str(places.start)) != digest:
            self._planned = [line for line in self._planned if line.places[0] < places.start]
            self._digests = {start: own for start, own in self._digests.items() if int(start) < places.start}
            self._digests[str(places.start)] = digest
            lines = []
        if lines:
            self.question.known.remember([line.moved(-places.start) for line in lines], specs)
        else:
            found = plan_generation(self.question, specs, self.job.seconds_left)
            lines = [line.moved(places.start) for line in found]
        self.question.plan.extend(lines)
        if len(self.question.plan) > len(self._planned):
            self._planned = list(self.question.plan)
            described = describe_plan(self.question.plan, self.question.specs, self.question.threads)
            self.folder.update(**described, plan_digests=self._digests)
        return lines

    def on_departures(self, departures: Mapping[int, Departure]) -> None:
        """Writes down who trains no more, and tells the sampler."""
        for trial, departure in sorted(departures.items()):
            self._depart(trial, departure)
        if departures:
            self.speaker.speak_now_and_then()

    def _depart(self, trial: int, departure: Departure) -> None:
        best = self.cohort.best[trial][departure.epoch - 1]
        state = _STATES[departure.how] if math.isfinite(best) else "failed"
        values = None if state == "failed" else [best, *self.costs.of(trial, self.question)]
        if not self._tell(trial, values, state, departure.epoch):
            return
        facts: dict[str, Any] = {"epoch": departure.epoch, "how": departure.how, "reason": departure.reason}
        if self.question.ladder is not None:
            facts["step"] = self.question.ladder.step_of(trial, departure.epoch)
        self.log.append("left", trial=trial, **facts)
        self.log.append("told", trial=trial, state=state, values=values)

    def _tell(self, trial: int, values: Sequence[float] | None, state: State, epoch: int) -> bool:
        cohort = self.cohort
        return self.generations.tell(
            trial, values, state, self._curve(trial, cohort.curves, cohort.best, epoch, state)
        )

    def _curve(self, trial: int, curves: _Curves, best: _Curves, epochs: int, state: State) -> dict[int, float]:
        """What a sampler is told of a trial that left: its scores by epoch, or the best by step of the ladder."""
        if state != "pruned":
            return {}
        ladder = self.question.ladder
        if ladder is None:
            scores = dict(enumerate(curves[trial][:epochs], start=1))
        else:
            scores = {ladder.step_of(trial, epoch) + 1: best[trial][epoch - 1] for epoch in range(1, epochs + 1)}
        return {at: score for at, score in scores.items() if math.isfinite(score)}

    def is_enough(self) -> bool:
        """Whether the target is reached or the epochs are used up."""
        target, sign = self.options.target_score, 1 if self.question.metric.direction == "maximize" else -1
        best = [
            scores[-1]
            for trial, scores in self.cohort.best.items()
            if math.isfinite(scores[-1]) and self._counts(trial, len(scores))
        ]
        if target is not None and any(sign * score >= sign * target for score in best):
            self.enough = "target"
        elif self.options.epoch_budget is not None and self.cohort.epochs_trained >= self.options.epoch_budget:
            self.enough = "epochs"
        return bool(self.enough)

    def _counts(self, trial: int, epochs: int) -> bool:
        """Whether the score of a trial of this age is one of the whole network."""
        ladder = self.question.ladder
        return ladder is None or not ladder.anew or ladder.step_of(trial, epochs) == ladder.last

    def ahead(self) -> float:
        """Member-epochs of trials that have not begun: as many each as those took that have left."""
        gone = set(self.cohort.curves) - {member.trial for lane in self.cohort.lanes for member in lane.ids}
        took = [self.question.spent(trial, len(self.cohort.curves[trial])) for trial in gone]
        each = sum(took) / len(gone) if gone else self.question.epochs / 3
        return each * (self.generations.trials - self.generations.num_asked) * self.question.members_a_trial

    # -- at the end ----------------------------------------------------------------------------------------

    def finish(self) -> dict[str, Any]:
        """What the result says besides: why the search ended, and the front where there are several objectives.

        Raises:
            RunError: no trial that is left has a finite score.
        """
        cohort = self.cohort
        if cohort.best_score() is None:
            raise RunError(
                f"no trial that is left has a finite {cohort.metric.name}: all have diverged. "
                "Lower the learning rates of the space, or clip the gradients (clip_norm = 1.0 in the space). "
                f"`tenfold report {shlex.quote(str(self.folder.path))}` shows their curves."
            )
        if cohort.stopped_early:
            self.is_enough()  # a run that was killed since does not know any more
        ended = self.enough or ("time" if cohort.stopped_early else "trials")
        reason = {"target": "the target was reached", "epochs": "the epochs were used up", "time": "the time was up"}
        for trial in sorted({member.trial for lane in cohort.lanes for member in lane.ids}):
            self._depart(
                trial, Departure(how="budget", epoch=len(cohort.curves[trial]), reason=reason.get(ended, ""))
            )
        if cohort.most_parked is not None:
            best = list(dict.fromkeys(member.trial for member in ranked(cohort)))
            cohort.keep_trials(set(best[: cohort.most_parked]))
        self.speaker.speak()
        return {"ended": ended, **self.costs.best_bargains(self.log.path, self.question)}

    # -- going on ------------------------------------------------------------------------------------------

    def replay(self, state: Mapping[str, Any]) -> None:
        """Asks and tells as the records say, so that the sampler is where it was."""
        records, first = list(read_records(self.log.path)), True
        epochs = {record["trial"]: record["epoch"] for record in records if record["kind"] == "left"}
        trials = {record["trial"]: record for record in records if record["kind"] == "trial"}
        for record in records:
            if record["kind"] == "proposal":
                number, count = record["first"], record["count"]
                recorded = [trials[trial] for trial in range(number, number + count)]
                if first:
                    self._begin_again(self._as_recorded(self.question.draws, recorded))
                else:
                    self._plan(self._add(self._as_recorded(self.generations.ask(count), recorded)))
                first = False
            elif record["kind"] == "climb":
                self._plan(self._add([self.question.draws[trial] for trial in record["trials"]], record["step"]))
            elif record["kind"] == "told":
                trial = record["trial"]
                curve = self._curve(trial, state["curves"], state["best"], epochs[trial], record["state"])
                self.generations.tell(trial, record["values"], record["state"], curve)

    def _as_recorded(self, draws: list[Draw], recorded: Sequence[Mapping[str, Any]]) -> list[Draw]:
        """Trials as they were recorded, whatever the sampler says now (under another version, say)."""
        if replays(draws, recorded):
            return draws
        self.job.listener.note(
            f"--resume: the sampler would propose trials {recorded[0]['trial']} to {recorded[-1]['trial']} otherwise "
            "now than it did; those that were recorded count"
        )
        return self.generations.retake(draws, recorded)

    def _begin_again(self, draws: list[Draw]) -> None:
        """Takes trials for the first generation; their plan is the recorded one."""
        self.question.specs[:] = self.question.members_of(draws)
        self.question.draws[:] = draws
        self.question.known.remember(self.question.plan, self.question.specs)

    def lines_in(self, state: Mapping[str, Any]) -> list[PlannedStack]:
        """The lines of the plan of which some member is still in the race."""
        last = 0 if self.question.ladder is None else self.question.ladder.last
        ids = {(*own, entry["state"].get("step", 0)) for entry in state["lanes"] for own in entry["ids"]}
        ids |= {(*own["id"], last) for own in state["parked"]}
        specs = [(spec.id, spec.step) for spec in self.question.specs]
        alive = {place for place, (one, step) in enumerate(specs) if (one.trial, one.fold, one.seed, step) in ids}
        return [line for line in self.question.plan if alive & set(line.places)]


def _digest(specs: Sequence[MemberSpec]) -> str:
    """What members are, so that they can be told from others: their configurations on their step."""
    told = repr([(spec.id, spec.step, spec.config) for spec in specs])
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def build_lanes(question: Question, lines: Sequence[PlannedStack], device: torch.device) -> list[Lane]:
    """The members of some lines of the plan, ready to train."""
    lanes = []
    for line in lines:
        specs = [question.specs[place] for place in line.places]
        lanes.append(
            build_lane(
                specs,
                question.task,
                form=line.form,
                device=device,
                total_steps=question.total_steps(specs),
                direction=question.metric.direction,
                programs=question.programs,
                line=line,
            )
        )
    return lanes


def log_trials(log: RecordLog, question: Question, draws: Sequence[Draw]) -> None:
    """Writes trials down before they train; of a search as a proposal."""
    stacks = {
        question.specs[place].id.trial: number for number, line in enumerate(question.plan) for place in line.places
    }
    if question.generations is not None:
        log.append("proposal", first=draws[0].number, count=len(draws))
    for drawn in draws:
        network, stack = drawn.config["network"], stacks[drawn.number]
        log.append("trial", trial=drawn.number, network=network, config=drawn.config, stack=stack)


def _joining(draws: Sequence[Draw], running: int, trials: int) -> str:
    beside = f"; {running} train{'s' if running == 1 else ''} on" if running else ""
    if len(draws) == 1:
        return f"trial {draws[0].number} of {trials} begins{beside}"
    return f"trials {draws[0].number} to {draws[-1].number} of {trials} begin{beside}"
