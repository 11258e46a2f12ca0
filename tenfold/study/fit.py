"""`fit`: find a good model on the user's data, and keep it.

Read, split, draw trials, train them as stacks, halve them at rungs, make the final model, score it once on the
test part beside baselines, and leave a run folder. Every random choice derives from the seed, and every decision
is in the records, so that a run that was killed goes on as if it never had been.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenfold.core.errors import InputError, RunError
from tenfold.core.machine import choose_device, describe_device, peak_memory_bytes
from tenfold.core.records import RecordLog, finite
from tenfold.data import DataPart
from tenfold.data.tables import TargetColumns
from tenfold.networks import NETWORKS
from tenfold.report import write_report
from tenfold.study.budget import training_deadline_s
from tenfold.study.describing import describe_code, describe_plan, describe_source
from tenfold.study.final import Winner, best_valid, final_model, joined, ranked
from tenfold.study.gains import score_gain
from tenfold.study.gallery import write_gallery
from tenfold.study.grid_data import describe_folds, prepare_grid
from tenfold.study.grid_options import FoldedFitOptions
from tenfold.study.honesty import findings_to_json
from tenfold.study.job import Job, Listener, noting_the_end
from tenfold.study.material import make_task, prepare, read_source
from tenfold.study.mirrors import Mirrors
from tenfold.study.model import Model
from tenfold.study.options import FitOptions, Network, check_resumed, parse_time
from tenfold.study.planning import Question, plan_question
from tenfold.study.run import Run
from tenfold.study.run_folder import RunFolder, refuse_place
from tenfold.study.scoring import TestScore, in_units_of, score_baselines, score_test
from tenfold.study.temperature import with_temperature
from tenfold.tasks import OwnMetric
from tenfold.train import (
    Checkpointer,
    Clock,
    Cohort,
    Hooks,
    Judge,
    Progress,
    build_lane,
    num_threads,
)
from tenfold.tuning import Space


def fit(
    data: Any,
    *,
    target: TargetColumns = None,
    task: str | None = None,
    metric: str | OwnMetric | None = None,
    network: Network | Sequence[Network] | None = None,
    space: Mapping[str, Any] | Callable[..., dict[str, Any]] | Space | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    time: str | float | None = None,
    folds: Any = None,
    seeds: int = 1,
    final: str = "best",
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """Finds a good model on the data, scores it once on rows it never saw, and keeps it in a run folder.

    Args:
        data: a path (class folders of pictures, CSV, TSV, Parquet, IDX, `.npz`), a bundled name ("digits"), a
            DataFrame, a pair of arrays `(x, y)`, a Dataset, or a DataLoader.
        target: the target column's name or number; the last one by default; several are labels.
        task: "classification", "regression" or "multilabel"; what the target looks like by default.
        metric: what decides, such as "accuracy", "macro_f1", "rmse", or a metric of one's own.
        network: names of the zoo or functions `make_model(**config)`, one or several; what suits by default.
        space: a dict of `tenfold.Float`/`Int`/`Categorical` or plain values, or a function of an Optuna trial;
            it is laid over the default space.
        trials: configurations to try.
        epochs: epochs of a trial that is never stopped.
        time: what it all may take: seconds, or "10m"; trials and epochs follow from it.
        folds: None scores a trial on one validation part; a number, or the user's own as in `cross_validate`, on
            folds of all rows but the test part, so that the mean over folds decides.
        seeds: trainings of each trial on each fold; the mean over them decides.
        final: "best" keeps the best trial's best weights, "refit" trains its configuration anew on training and
            validation rows, "average" lets the finalists predict together, or with folds or seeds the best trial's,
            "vote" likewise with a vote each, "ensemble" the trials that do so best, with weights (of at least eight
            that train to the end).
        seed: of every random choice.
        device: "auto", "cpu" or "cuda".
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further fields of `tenfold.study.FitOptions`, such as batch_size, balanced, valid_fraction; with folds
            or seeds also manner, group, repeats and varies, as in `cross_validate`.

    Returns:
        The run.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run = tenfold.fit("iris", trials=3, epochs=5, out=folder + "/iris")
        >>> run.predict([[5.1, 3.5, 1.4, 0.2]]).shape
        (1,)
    """
    networks = [network] if isinstance(network, str) or callable(network) else network
    kind: Any = FitOptions
    if folds is not None or seeds != 1:
        kind, more = FoldedFitOptions, {**more, "folds": folds, "seeds": seeds}
    try:
        options: FitOptions = kind(
            target=target, task=task, metric=metric, network=networks, space=space, trials=trials, epochs=epochs,
            time_s=parse_time(time), final=final, seed=seed, device=device, **more,
        )  # fmt: skip
    except TypeError as error:
        raise TypeError(f"fit: {str(error).split('__init__() ')[-1]}.") from error
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other. Choose one.")
    listener = listener or Listener()
    if not resume:
        refuse_place(out, overwrite=overwrite)
    folder = RunFolder.open(out) if resume else None
    try:
        if folder is not None:
            check_resumed(options, folder.info["arguments"])
            options = _stored_options(folder, options)
            if folder.info["status"] == "done":
                return _complete(folder, options, listener)
        job = Job(options=options, listener=listener, device=choose_device(options.device))
        question = _ask(job, data, folder)
        folder = folder or _begin(job, data, question, out, overwrite)
        return _answer(job, question, folder)
    finally:
        if folder is not None:
            folder.close()


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
    if "space" in stored:
        stored["space"] = now.space if now.space is not None else Space.from_json(stored["space"])
    if "folds" not in stored and "seeds" not in stored:
        return FitOptions(**stored)
    if isinstance(stored.get("folds"), str):
        stored["folds"] = getattr(now, "folds", None)
        if stored["folds"] is None:
            raise RunError("--resume: the folds are your own and not stored with the run. Pass them again.")
    return FoldedFitOptions(**stored)


# -- before training ---------------------------------------------------------------------------------------------


def _ask(job: Job, data: Any, folder: RunFolder | None) -> Question:
    """Decides everything that training needs; there is no folder yet, so that bad input leaves nothing behind."""
    with job.stage("read"):
        source = read_source(data, job.options)
        for note in source.notes:
            job.listener.note(note)
        folded = isinstance(job.options, FoldedFitOptions)
        looked = replace(job.options, no_checks=True) if folded else job.options  # at the folds instead
        material = prepare(source, looked, job.device)
        grid = None
        if isinstance(job.options, FoldedFitOptions):
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


def _begin(job: Job, data: Any, question: Question, out: str | Path | None, overwrite: bool) -> RunFolder:
    """Makes the folder; it has its first `run.json`, or is not there."""
    folder = RunFolder.create(out, question.material.source.name, overwrite=overwrite)
    try:
        folder.update(**_describe(job, data, question, folder))
    except BaseException:
        folder.remove()
        raise
    return folder


def _describe(job: Job, data: Any, question: Question, folder: RunFolder) -> dict[str, Any]:
    """The first `run.json`."""
    material, source = question.material, question.material.source
    return {
        "verb": "fit",
        "name": folder.path.name,
        "status": "running",
        "source": describe_source(source, data),
        "honesty": findings_to_json((question.folds or material).findings),
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
        "trials": len(question.draws),
        "rungs": [{"resource": rung.resource, "keep": rung.keep} for rung in question.rungs],
        **describe_code(),
        "device": describe_device(job.device, question.threads),
        **describe_plan(question.plan, question.specs, question.threads),
    }


def _describe_folds(question: Question, options: FitOptions) -> dict[str, Any]:
    """What is known of the folds and seeds of a trial; nothing where it has one member."""
    if question.folds is None or not isinstance(options, FoldedFitOptions):
        return {}
    return {"folds": describe_folds(question.folds), "seeds": options.seeds, "varies": list(options.varies)}


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
        mirrors = Mirrors(folder.path, question.metric, question.draws)
        stack.callback(mirrors.close)
        cohort = _build_cohort(job, question, log, checkpointer, mirrors)
        if state is None:
            _log_trials(log, question)
        else:
            cohort.load_state_dict(state)
        with job.stage("train"), num_threads(question.threads):
            cohort.run()
        with job.stage("final"), num_threads(question.threads):
            model = _make_final(job, question, cohort, Checkpointer(folder.checkpoint / "refit"))
        with job.stage("score"), num_threads(question.threads):
            result = _score(job, question, cohort, model, folder, log)
        log.sync()
        with job.stage("report"):
            mirrors.sync(finished=True)
            model.save(folder.best)
            folder.update(
                status="done",
                result=result,
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
    job: Job, question: Question, log: RecordLog, checkpointer: Checkpointer, mirrors: Mirrors
) -> Cohort:
    epochs = question.rungs[-1].resource
    lanes = []
    for line in question.plan:
        specs = [question.specs[place] for place in line.places]
        lanes.append(
            build_lane(
                specs,
                question.task,
                form=line.form,
                device=job.device,
                total_steps=question.total_steps(specs, epochs),
                direction=question.metric.direction,
                programs=question.programs,
                line=line,
            )
        )
    deadline_s = training_deadline_s(job.options.time_s, refit=job.options.final == "refit")
    hooks = Hooks(
        on_step=job.listener.progress,
        on_rung=mirrors.sync,
        seconds=job.clock,
        out_of_time=lambda: job.clock() > deadline_s,
    )
    return Cohort(
        lanes=lanes,
        data=question.data,
        metric=question.metric,
        judge=Judge.of_rungs(
            question.rungs,
            question.metric.direction,
            test_to_train=None if question.folds is None else question.folds.test_to_train,
        ),
        log=log,
        checkpointer=checkpointer,
        hooks=hooks,
    )


def _log_trials(log: RecordLog, question: Question) -> None:
    stacks = {
        question.specs[place].id.trial: number for number, line in enumerate(question.plan) for place in line.places
    }
    for drawn in question.draws:
        network, stack = drawn.config["network"], stacks[drawn.number]
        log.append("trial", trial=drawn.number, network=network, config=drawn.config, stack=stack)


def _make_final(job: Job, question: Question, cohort: Cohort, checkpointer: Checkpointer) -> Model:
    model = final_model(
        cohort,
        [question.first_of(drawn.number) for drawn in question.draws],
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
    everything = make_task(material, options)
    members = ranked(cohort)
    winner, own = members[0], [member for member in members if member.trial == members[0].trial]
    for baseline in score_baselines(material, everything, options.seed):
        log.append("baseline", **baseline)
    own_task = make_task(replace(material, encoder=model.encoder), options)
    test = score_test(model, material, own_task, options.seed, folder.path)
    if test is not None:
        write_gallery(folder.path, material, in_units_of(material.encoder, model, test.outputs), options.seed)
    together = _together(question, winner, model, options, test)
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
        "members": len(question.specs),
        "epochs_trained": round(cohort.epochs_trained, 3),
        "seconds": round(job.clock(), 3),
        "best": {"trial": winner.trial, "network": drawn.config["network"], "config": _plain(drawn.config)},
        **({} if together is None else {"ensemble": together}),
    }


def _together(
    question: Question,
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
    first_specs = [question.first_of(drawn.number) for drawn in question.draws]
    single = joined([winner], first_specs, material, question.own_networks, {}, folds)
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
