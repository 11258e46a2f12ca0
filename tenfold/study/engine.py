"""The engine of `fit` and `search`: read, split, plan, train as stacks, make the final model, score it once.

A fit is the search whose random trials all begin together and are halved; where a search asks for more trials while
others train, a `Campaign` does so. Every random choice derives from the seed, and every decision is in the records,
so that a run that was killed goes on as if it never had been.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenfold.core.errors import InputError, RunError
from tenfold.core.machine import check_threads, choose_device, describe_device, peak_memory_bytes
from tenfold.core.records import RecordLog, finite
from tenfold.data import DataPart
from tenfold.networks import NETWORKS
from tenfold.report import write_report
from tenfold.study.baselines import score_baselines
from tenfold.study.budget import training_deadline_s
from tenfold.study.campaign import Campaign, build_lanes, log_trials
from tenfold.study.describing import describe_code, describe_plan, describe_source
from tenfold.study.final import Winner, best_valid, final_model, joined, ranked
from tenfold.study.gains import score_gain
from tenfold.study.gallery import write_gallery
from tenfold.study.grid_data import describe_folds, prepare_grid
from tenfold.study.grid_options import FoldedFitOptions, GridOptions
from tenfold.study.honesty import findings_to_json, save_samples
from tenfold.study.insights import insights
from tenfold.study.job import Job, Listener, noting_the_end
from tenfold.study.material import make_task, prepare, read_source
from tenfold.study.mirrors import Mirrors
from tenfold.study.model import Model
from tenfold.study.options import FitOptions, check_resumed
from tenfold.study.planning import plan_question
from tenfold.study.question import Question, framed
from tenfold.study.run import Run
from tenfold.study.run_folder import RunFolder, check_source, refuse_place
from tenfold.study.scoring import TestScore, in_units_of, score_test
from tenfold.study.search_options import SearchOptions
from tenfold.study.temperature import with_temperature
from tenfold.tasks import OwnMetric
from tenfold.train import Checkpointer, Clock, Cohort, Hooks, MemberSpec, Progress, num_threads
from tenfold.tuning import Space


def answer(
    verb: str,
    data: Any,
    options: FitOptions,
    *,
    out: str | Path | None,
    resume: bool,
    overwrite: bool,
    listener: Listener | None,
) -> Run:
    """Answers `fit` or `search`, and leaves a run folder.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other. Choose one.")
    listener = listener or Listener()
    if not resume:
        refuse_place(out, overwrite=overwrite)
        check_threads(options.threads)  # of a run that another machine began they are what they are
    folder = RunFolder.open(out) if resume else None
    try:
        if folder is not None:
            _check_verb(verb, folder)
            check_resumed(options, folder.info["arguments"])
            options = _stored_options(folder, options)
            if folder.info["status"] == "done":
                check_source(data, folder)
                return _complete(folder, options, listener)
        job = Job(options=options, listener=listener, device=choose_device(options.device))
        question = _ask(job, data, folder)
        folder = folder or _begin(job, verb, data, question, out, overwrite)
        return _answer(job, question, folder)
    finally:
        if folder is not None:
            folder.close()


def _check_verb(verb: str, folder: RunFolder) -> None:
    begun_with = folder.info.get("verb")
    if begun_with != verb:
        raise RunError(
            f"--resume: the run in {folder.path} was begun by {begun_with}, not by {verb}. Repeat its command."
        )


def _complete(folder: RunFolder, options: FitOptions, listener: Listener) -> Run:
    """A run that has its answer; only the report may be missing, if it was killed right before."""
    if not (folder.path / "report.html").is_file():
        write_report(folder.path)
    listener.note(f"{folder.path} is complete; nothing is left to do.")
    return Run(folder.path, options.network or ())


def _stored_options(folder: RunFolder, now: FitOptions) -> FitOptions:
    """The options that the run was begun with; functions cannot be stored and come from the call.

    Raises:
        RunError: the run was begun with a function that the call does not pass.
    """
    stored = dict(folder.info["arguments"])
    if stored.get("network") is not None:
        for name in () if now.network else stored["network"]:
            if name not in NETWORKS:
                raise RunError(
                    f"--resume: the network {name!r} is your own and not stored with the run. Pass it again."
                )
        stored["network"] = now.network or stored["network"]
    if isinstance(stored.get("space"), str) and now.space is None:
        raise RunError(
            f"--resume: the space {stored['space']!r} is a function and not stored with the run. Pass it again."
        )
    if isinstance(now.metric, OwnMetric):
        stored["metric"] = now.metric
    if callable(now.loss):
        stored["loss"] = now.loss
    if "space" in stored:
        stored["space"] = now.space if now.space is not None else Space.from_json(stored["space"])
    if isinstance(now, SearchOptions):
        stored["sampler"] = now.sampler if not isinstance(now.sampler, str) else stored.get("sampler", "tpe")
    elif "folds" not in stored and "seeds" not in stored:
        return FitOptions(**stored)
    if isinstance(stored.get("folds"), str):
        stored["folds"] = getattr(now, "folds", None)
        if stored["folds"] is None:
            raise RunError("--resume: the folds are your own and not stored with the run. Pass them again.")
    return SearchOptions(**stored) if isinstance(now, SearchOptions) else FoldedFitOptions(**stored)


# -- before training ---------------------------------------------------------------------------------------------


def _ask(job: Job, data: Any, folder: RunFolder | None) -> Question:
    """Decides everything that training needs; there is no folder yet, so that bad input leaves nothing behind."""
    with job.stage("read"):
        source = read_source(data, job.options)
        for note in source.notes:
            job.listener.note(note)
        folded = job.options.is_folded
        looked = replace(job.options, no_checks=True) if folded else job.options  # at the folds instead
        material = prepare(source, looked, job.device)
        grid = None
        if isinstance(job.options, GridOptions) and folded:
            grid = prepare_grid(source, job.options, job.device)
            for note in (f"folds: {grid.folds.how} (--folds, --seeds)", *grid.folds.notes):
                job.listener.note(note)
        else:
            job.listener.note(f"parts: {material.split.how} (--valid-fraction, --test-fraction)")
        for finding in (grid or material).findings:
            job.listener.note(finding.sentence)
    if folder is not None and folder.info["fingerprint"] != material.fingerprint():
        raise RunError(f"--resume: the data are not those the run in {folder.path} was begun with. Begin a new run.")
    with job.stage("plan"):
        return plan_question(
            material,
            job.options,
            job.device,
            stored=None if folder is None else folder.info,
            seconds_left=job.seconds_left,
            note=job.listener.note,
            folds=grid,
        )


def _begin(job: Job, verb: str, data: Any, question: Question, out: str | Path | None, overwrite: bool) -> RunFolder:
    """Makes the folder; it has its first `run.json`, or is not there."""
    folder = RunFolder.create(out, question.material.source.name, overwrite=overwrite)
    try:
        folder.update(**_describe(job, verb, data, question, folder))
        save_samples(folder.path, (question.folds or question.material).findings, question.material.source)
    except BaseException:
        folder.remove()
        raise
    return folder


def _describe(job: Job, verb: str, data: Any, question: Question, folder: RunFolder) -> dict[str, Any]:
    """The first `run.json`."""
    material, source = question.material, question.material.source
    return {
        "verb": verb,
        "name": folder.path.name,
        "status": "running",
        "source": describe_source(source, data),
        "honesty": findings_to_json((question.folds or material).findings, source),
        "fingerprint": material.fingerprint(),
        "task": source.task,
        "metric": question.metric.name,
        "direction": question.metric.direction,
        "classes": [str(name) for name in material.encoder.classes or material.encoder.labels or ()] or None,
        "input": material.preprocessor.spec.to_json(),
        "parts": {
            "train": len(material.train),
            "valid": len(material.valid),
            "test": len(material.test) if material.test else 0,
            "how": material.split.how,
        },
        **_describe_folds(question, job.options),
        "seed": job.options.seed,
        "arguments": job.options.given(),
        "space": question.space.to_json(),
        **({"own_networks": sorted(question.own_networks)} if question.own_networks else {}),
        **_describe_trials(question),
        **describe_code(),
        "device": describe_device(job.device, question.threads),
        "shared": None if question.shared is None else question.shared.to_json(),
        **describe_plan(question.plan, question.specs, question.threads),
    }


def _describe_trials(question: Question) -> dict[str, Any]:
    """How many trials, and when they leave."""
    brackets = [[{"resource": rung.resource, "keep": rung.keep} for rung in rungs] for rungs in question.rungs]
    if question.generations is None:
        return {"trials": len(question.draws), "rungs": brackets[0]}
    return {
        "trials": question.generations.trials,
        "epochs": question.epochs,
        **_describe_ladder(question),
        "brackets": [
            {"trials": trials, "rungs": rungs}
            for trials, rungs in zip(question.generations.rule.start_trials, brackets, strict=True)
        ],
        "search": question.generations.describe(),
        "warm_start": [told.to_json() for told in question.warm],
    }


def _describe_ladder(question: Question) -> dict[str, Any]:
    """What trials climb; nothing where the resource is epochs."""
    if question.steps is None:
        return {}
    said = question.steps.describe(question.epochs, question.rows)
    return {"ladder": {**question.steps.to_json(), "epochs": question.epochs, "said": said}}


def _describe_folds(question: Question, options: FitOptions) -> dict[str, Any]:
    """What is known of the folds and seeds of a trial; nothing where it has one member."""
    if question.folds is None or not isinstance(options, GridOptions):
        return {}
    return {"folds": describe_folds(question.folds), "seeds": options.seeds, "varies": list(options.varies)}


def framed_on(data: Any, options: FitOptions) -> Question:
    """What follows from these data and options alone: the space, the metric, the steps of a ladder.

    Raises:
        InputError: the data or an option cannot be used.
    """
    device = choose_device(options.device)
    material = prepare(read_source(data, options), replace(options, no_checks=True), device)
    return framed(material, options, device)


# -- training and after ------------------------------------------------------------------------------------------


def _answer(job: Job, question: Question, folder: RunFolder) -> Run:
    """Trains, makes the final model, scores it, and completes the folder."""
    with noting_the_end(folder), ExitStack() as stack:
        checkpointer = Checkpointer(folder.checkpoint)
        state = checkpointer.load(job.device)
        job.clock = Clock(state["seconds"] if state else job.clock())
        log = RecordLog(folder.records, keep_bytes=state["log_bytes"] if state else 0)
        stack.callback(log.close)
        folder.update(status="running")
        storage = job.options.storage if isinstance(job.options, SearchOptions) else None
        mirrors = Mirrors(folder.path, question.metric, question.draws, storage)
        stack.callback(mirrors.close)
        campaign = None
        if question.generations is not None:
            campaign = Campaign(job, question, folder, log, mirrors)
            if state is not None:
                campaign.replay(state)
        cohort = _build_cohort(job, question, log, checkpointer, mirrors, campaign, state)
        if state is None:
            log_trials(log, question, question.draws)
        else:
            cohort.load_state_dict(state)
        with job.stage("train"), num_threads(question.threads):
            cohort.run()
        ending = campaign.finish() if campaign is not None else {}
        with job.stage("final"), num_threads(question.threads):
            model = _make_final(job, question, cohort, Checkpointer(folder.checkpoint / "refit"))
        with job.stage("score"), num_threads(question.threads):
            result = {**_score(job, question, cohort, model, folder, log), **ending}
        log.sync()
        with job.stage("report"):
            mirrors.sync(finished=True)
            model.save(folder.best)
            folder.update(
                status="done",
                result=result,
                **({} if campaign is None else {"insights": insights(folder.path, question)}),
                temperature=model.temperature,
                timings=job.timings,
                peak_memory_bytes=peak_memory_bytes(),
                warnings=mirrors.warnings,
            )
            write_report(folder.path)
    for sentence in mirrors.warnings:
        job.listener.note(sentence)
    return Run(folder.path, tuple(question.networks.values()))


def _build_cohort(
    job: Job,
    question: Question,
    log: RecordLog,
    checkpointer: Checkpointer,
    mirrors: Mirrors,
    campaign: Campaign | None,
    state: Mapping[str, Any] | None,
) -> Cohort:
    deadline_s = training_deadline_s(job.options.time_s, refit=job.options.final == "refit")
    hooks = Hooks(
        on_step=job.listener.progress,
        on_rung=mirrors.sync,
        seconds=job.clock,
        out_of_time=lambda: job.clock() > deadline_s,
    )
    lines = question.plan if campaign is None or state is None else campaign.lines_in(state)
    cohort = Cohort(
        lanes=build_lanes(question, lines, job.device),
        data=question.data,
        metric=question.metric,
        judge=question.judge,
        log=log,
        checkpointer=checkpointer,
        hooks=hooks,
    )
    if question.shared is not None:
        cohort.whole = question.shared.prefix.whole
    if campaign is not None:
        campaign.lead(cohort)
    return cohort


def _make_final(job: Job, question: Question, cohort: Cohort, checkpointer: Checkpointer) -> Model:
    model = final_model(
        cohort,
        _as_trained(question, cohort),
        question.material,
        job.options,
        job.device,
        question.own_networks,
        lambda epoch, epochs: job.listener.progress(Progress(epoch=epoch, epochs=epochs, members=1)),
        checkpointer,
        question.folds,
    )
    unseen = _unseen(question, model, job.options)
    return model if unseen is None else with_temperature(model, unseen)


def _as_trained(question: Question, cohort: Cohort) -> list[MemberSpec]:
    """For each trial its first member; of one that is still on a lower step of a ladder, as it is there."""
    steps = {member.trial: lane.step for lane in cohort.lanes for member in lane.ids}
    return [question.first_of(drawn.number, steps.get(drawn.number)) for drawn in question.draws]


def _unseen(question: Question, model: Model, options: FitOptions) -> DataPart | None:
    """Validation rows that no network of the final model was trained on; None where there are none."""
    if options.final in ("refit", "vote"):
        return None
    if question.folds is None:
        return question.material.valid
    seen, fold = question.folds.seen, int(model.notes["fold"])
    alone = options.final == "best" or len(seen.folds) == 1
    return seen.part(fold, seen.folds.valid[fold]) if alone else None


def _score(
    job: Job, question: Question, cohort: Cohort, model: Model, folder: RunFolder, log: RecordLog
) -> dict[str, Any]:
    """Scores baselines and the final model on the test part, once, and gives the answer in numbers."""
    options, material = job.options, question.material
    members = ranked(cohort)
    winner, own = members[0], [member for member in members if member.trial == members[0].trial]
    for baseline in score_baselines(material, options, job.device, question.folds, model.notes.get("fold") or 0):
        log.append("baseline", **baseline)
    own_task = make_task(replace(material, encoder=model.encoder), options)
    test = score_test(model, material, own_task, options.seed, folder.path)
    if test is not None:
        write_gallery(folder.path, material, in_units_of(material.encoder, model, test.outputs), options.seed)
    together = _together(question, cohort, winner, model, options, test)
    scores = None if test is None else test.scores
    valid = best_valid(folder.records, own) if log.sync() else {}
    log.append("final", trial=winner.trial, how=options.final, epoch=winner.epoch, valid=valid, test=scores or {})
    metric = question.metric.name
    drawn = question.draws[winner.trial]
    return {
        "schema": 1,
        "run": str(folder.path),
        "task": material.source.task,
        "metric": metric,
        "direction": question.metric.direction,
        "valid": {**_spread([member.score for member in own]), "over": "folds x seeds"},
        "test": None if scores is None else finite(scores[metric]),
        "trials": len(question.draws),
        "members": len({spec.id for spec in question.specs}),
        "epochs_trained": round(cohort.epochs_trained, 3),
        "seconds": round(job.clock(), 3),
        "best": {"trial": winner.trial, "network": drawn.config["network"], "config": _plain(drawn.config)},
        "metrics": finite({"valid": valid, **({} if scores is None else {"test": scores})}),
        **({} if together is None else {"ensemble": together}),
        **_on_ladder(question, winner),
    }


def _on_ladder(question: Question, winner: Winner) -> dict[str, Any]:
    """Of a search over data or scale the steps, and which one the winner is of; `epochs_trained` is in whole ones."""
    ladder, steps = question.ladder, question.steps
    if ladder is None or steps is None:
        return {}
    on = ladder.words(ladder.step_of(winner.trial, winner.epoch)) if winner.epoch else None
    return {
        "ladder": {"resource": steps.resource, "steps": list(steps.labels), "epochs": ladder.epochs, "best_on": on}
    }


def _together(
    question: Question,
    cohort: Cohort,
    winner: Winner,
    model: Model,
    options: FitOptions,
    test: TestScore | None,
) -> dict[str, Any] | None:
    """What is known of several networks that predict together: their weights, and the gain over the best alone."""
    if len(model.parts) == 1:
        return None
    told = {"how": options.final, "networks": len(model.parts), "trials": model.notes["trials"]}
    told |= {"weights": model.notes.get("weights")}
    material, folds = question.material, question.folds
    if test is None or material.test is None:
        return told | {"gain": None}
    single = joined([winner], _as_trained(question, cohort), material, question.own_networks, {}, folds)
    narrow = make_task(replace(material, encoder=model.encoder), options, [question.metric.name])
    outputs = torch.from_numpy(test.outputs)
    gain = score_gain(model, single, outputs, material.source, material.test.rows, narrow, options.seed)
    return told | {"gain": finite(gain)}


def _spread(scores: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation over a trial's members; those that diverged are left out, and counted."""
    known = [score for score in scores if abs(score) < float("inf")]
    return {
        "mean": sum(known) / len(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "n": len(known),
        **({"diverged": len(scores) - len(known)} if len(scores) > 1 else {}),
    }


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in config.items()}
