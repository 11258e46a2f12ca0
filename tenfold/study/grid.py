"""The engine of the questions over trials x folds x seeds: every cell is a member, and all train as one cohort.

`cross_validate`, `replicate` and `compare` differ in what they vary and in how they read the scores; here is what
they share: the members, the plan, the training, the scores of the last epoch, the model that is kept, the run folder.
A member is scored with the weights that it ends with: choosing its best epoch by the very rows it is scored on would
flatter it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tenfold.core.errors import InputError, RunError
from tenfold.core.machine import check_threads, choose_device, describe_device, peak_memory_bytes
from tenfold.core.records import RecordLog, read_records
from tenfold.core.wording import plural
from tenfold.report import MemberScore, write_report
from tenfold.study.answers import make_result
from tenfold.study.budget import default_batch_size, default_epochs
from tenfold.study.comparing import LOOK_EVERY, is_settled, looks_of
from tenfold.study.curve_answers import CURVES, answer_curve
from tenfold.study.describing import describe_code, describe_plan, describe_source, plan_sentences
from tenfold.study.grid_data import (
    GridData,
    cells,
    describe_folds,
    example_batch,
    grid_cohort_data,
    measure,
    member_outputs,
    on_training_rows,
    prepare_grid,
    score_lane,
    steps_of_each,
)
from tenfold.study.grid_final import Said, describe_together, keep_model, save_out_of_fold
from tenfold.study.grid_options import GridOptions, Method, method_entries
from tenfold.study.honesty import findings_to_json, save_samples
from tenfold.study.job import Job, Listener, noting_the_end
from tenfold.study.material import read_source
from tenfold.study.options import Network, choose_networks, network_name
from tenfold.study.run import Run
from tenfold.study.run_folder import RunFolder, check_source, refuse_place
from tenfold.study.seed_batches import batch_of, members_of, seed_batches
from tenfold.study.trials import make_member
from tenfold.train import (
    RECIPE_KEYS,
    Checkpointer,
    Clock,
    Cohort,
    Hooks,
    Judge,
    MemberSpec,
    PlannedStack,
    ProgramShelf,
    build_lane,
    num_threads,
    quickest_plan,
    with_compiled_steps,
)
from tenfold.tuning import Rung


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A question with every decision taken, ready to train.

    Attributes:
        verb: "cv", "replicate" or "compare".
        data: the folds.
        methods: by trial number.
        specs: the members: trials x folds x seeds; of a comparison that looks in between, those up to the first look.
        epochs: of every member.
        plan: which members train together, in which form.
        threads: CPU threads to train with.
        programs: steps that planning compiled to measure them.
    """

    verb: str
    data: GridData
    methods: list[Method]
    specs: list[MemberSpec]
    epochs: int
    plan: list[PlannedStack]
    threads: int
    programs: ProgramShelf


def ask_grid(
    verb: str,
    argument: Any,
    options: GridOptions,
    *,
    out: str | Path | None,
    resume: bool,
    overwrite: bool,
    listener: Listener | None,
) -> Run:
    """Answers a question over folds and seeds, and leaves a run folder.

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
            _check_resumed(verb, options, folder.info)
            if folder.info["status"] == "done":
                check_source(argument, folder)
                listener.note(f"{folder.path} is complete; nothing is left to do.")
                return Run(folder.path, _own_networks(options))
        job = Job(options=options, listener=listener, device=choose_device(options.device))
        grid = _decide(verb, argument, options, job, None if folder is None else folder.info)
        folder = folder or _begin(job, argument, grid, options, out, overwrite)
        return _answer(job, grid, options, folder)
    finally:
        if folder is not None:
            folder.close()


def _own_networks(options: GridOptions) -> tuple[Network, ...]:
    named = list(options.network or ()) + [
        method[0] if isinstance(method, tuple) else method for method in (options.methods or {}).values()
    ]
    return tuple(network for network in named if callable(network))


def _check_resumed(verb: str, options: GridOptions, info: Mapping[str, Any]) -> None:
    """Refuses a resume that asks for something else than the run was begun with."""
    if info.get("verb") != verb or info["arguments"] != options.given():
        raise RunError(
            "--resume: verb and options must be those that the run was begun with "
            f"({info.get('verb')} {info['arguments']}), got {verb} {options.given()}. Repeat the command."
        )


# -- before training ---------------------------------------------------------------------------------------------


def _decide(verb: str, argument: Any, options: GridOptions, job: Job, stored: Mapping[str, Any] | None) -> Grid:
    """Takes every decision, or reads those that a resumed run took."""
    with job.stage("read"):
        source = read_source(argument, options)
        for note in source.notes:
            job.listener.note(note)
        data = prepare_grid(source, options, job.device)
        job.listener.note(f"folds: {data.folds.how} (--folds, --manner, --group)")
        for note in (*data.folds.notes, *(finding.sentence for finding in data.findings)):
            job.listener.note(note)
    if stored is not None and stored["fingerprint"] != data.fingerprint():
        raise RunError("--resume: the data are not those the run was begun with. Begin a new run.")
    with job.stage("plan"):
        spec, rows = data.seen.preprocessors[0].spec, int(data.rows_to_train)
        named = [method[0] if isinstance(method, tuple) else method for method in (options.methods or {}).values()]
        chosen = choose_networks(replace(options, network=named, methods=None) if named else options, spec)
        networks = chosen if named or options.network else dict([next(iter(chosen.items()))])
        methods = method_entries(options, networks)
        if verb not in ("compare", "width-curve") and len(methods) > 1:
            raise InputError(f"{verb}: takes one network, got {', '.join(networks)}. Use compare for several.")
        batch_size = options.batch_size or min(default_batch_size(rows, spec), rows)
        epochs = options.epochs or default_epochs(rows, batch_size, spec)
        specs = [
            member
            for trial, method in enumerate(methods)
            for member in _members(trial, method, networks, data, options, batch_size)
        ]
        programs: ProgramShelf = {}
        if stored is not None:
            plan, threads = [PlannedStack.from_json(line) for line in stored["plan_stacks"]], stored["threads"]
        else:
            plan, threads = _plan(specs, data, options, job, epochs, programs)
        grid = Grid(
            verb=verb, data=data, methods=methods, specs=specs, epochs=epochs, plan=plan, threads=threads,
            programs=programs,
        )  # fmt: skip
        _say(grid, options, job)
    return grid


def _members(
    trial: int,
    method: Method,
    networks: Mapping[str, Network],
    data: GridData,
    options: GridOptions,
    batch_size: int,
) -> list[MemberSpec]:
    """The cells of one method: each fold, each seed of the first batch.

    Raises:
        InputError: the network cannot be built of the configuration, or the configuration has patience.
    """
    _, network, config = method
    name = network_name(network)
    whole = {"batch_size": batch_size, **config, "network": name}
    if whole.get("patience"):
        raise InputError(
            "--config patience is for fit, which scores its choice on a test part: here it would stop trainings by "
            "the very rows that they are scored on. Leave it out, and set --epochs."
        )
    known = RECIPE_KEYS | set(data.tasks[0].info.values) | {"network"}
    spec, outputs = data.seen.preprocessors[0].spec, data.seen.encoders[0].num_outputs
    task_values = data.tasks[0].info.values
    try:
        first = make_member(trial, whole, networks, spec, outputs, task_values, options.seed)
        first.make_model()
    except (TypeError, ValueError) as error:
        given = ", ".join(key for key in config if key not in known)
        built = f"{name} was given {given} and cannot be built ({str(error).rstrip('.')}). Mend that."
        raise InputError(f"--config: {built if given else error}") from error
    return cells(first, data, replace(options, seeds=len(seed_batches(options)[0])))


def _plan(
    specs: Sequence[MemberSpec],
    data: GridData,
    options: GridOptions,
    job: Job,
    epochs: int,
    programs: ProgramShelf,
) -> tuple[list[PlannedStack], int]:
    example = partial(example_batch, data)
    plan, threads = quickest_plan(
        specs,
        data.tasks[0],
        example,
        device=job.device,
        form=options.form,  # type: ignore[arg-type]
        threads=options.threads,
    )
    if options.form == "auto":
        steps = epochs * data.rows_to_train / specs[0].config.recipe.batch_size
        training_s = steps * sum(len(line.places) * line.step_seconds for line in plan)
        with num_threads(threads):
            plan = with_compiled_steps(
                plan, specs, data.tasks[0], example, device=job.device, training_s=training_s,
                programs=programs,
            )  # fmt: skip
    return plan, threads


def _say(grid: Grid, options: GridOptions, job: Job) -> None:
    names = " and ".join(name for name, _, _ in grid.methods)
    folds, seeds = len(grid.data.folds), options.seeds
    folds = 1 if "split" in options.varies else folds
    counts = [f"{folds} folds"] * (folds > 1) + [plural(seeds, "seed")]
    trainings = len(grid.methods) * folds * seeds
    looks = f", a look after every {LOOK_EVERY} seeds" if options.sequential else ""
    job.listener.note(
        f"{grid.verb}: {'at most ' * options.sequential}{plural(trainings, 'training')} "
        f"({names}; {' x '.join(counts)}{looks}), {plural(grid.epochs, 'epoch')} each, "
        f"{plural(grid.threads, 'thread')} "
        "(--network, --config, --folds, --seeds, --epochs)"
    )
    for line in plan_sentences(grid.plan):
        job.listener.note(line)


def _begin(
    job: Job, argument: Any, grid: Grid, options: GridOptions, out: str | Path | None, overwrite: bool
) -> RunFolder:
    folder = RunFolder.create(out, grid.data.source.name, overwrite=overwrite)
    try:
        folder.update(**_describe(job, argument, grid, options, folder))
        save_samples(folder.path, grid.data.findings, grid.data.source)
    except BaseException:
        folder.remove()
        raise
    return folder


def _describe(job: Job, argument: Any, grid: Grid, options: GridOptions, folder: RunFolder) -> dict[str, Any]:
    """The first `run.json`."""
    data, source, folds = grid.data, grid.data.source, grid.data.folds
    classes = data.seen.encoders[0].classes or data.seen.encoders[0].labels
    return {
        "verb": grid.verb,
        "name": folder.path.name,
        "status": "running",
        "source": describe_source(source, argument),
        "honesty": findings_to_json(data.findings, source),
        "fingerprint": data.fingerprint(),
        "task": source.task,
        "metric": data.metric.name,
        "direction": data.metric.direction,
        "classes": None if classes is None else [str(name) for name in classes],
        "input": data.seen.preprocessors[0].spec.to_json(),
        "parts": {
            "train": round(data.rows_to_train),
            "valid": round(data.rows_to_train * data.test_to_train),
            "test": len(data.test_rows),
            "how": folds.how,
        },
        "folds": describe_folds(data),
        **({"curve": _curve_of(grid, options)} if grid.verb in CURVES else {}),
        "seeds": options.seeds,
        "varies": list(options.varies),
        "against": options.against,
        **({"sequential": True} if options.sequential else {}),
        "seed": options.seed,
        "arguments": options.given(),
        "trials": len(grid.methods),
        "rungs": [{"resource": grid.epochs, "keep": len(grid.methods)}],
        **describe_code(),
        "device": describe_device(job.device, grid.threads),
        **describe_plan(grid.plan, grid.specs, grid.threads),
    }


def _curve_of(grid: Grid, options: GridOptions) -> dict[str, Any]:
    """Over what a curve goes, and its points."""
    if grid.verb == "learning-curve":
        return {"over": "training rows", "at": [len(rows) for rows in grid.data.folds.train]}
    over = str(options.curve_over)
    return {"over": over, "at": [config[over] for _, _, config in grid.methods]}


# -- training and after ------------------------------------------------------------------------------------------


def _answer(job: Job, grid: Grid, options: GridOptions, folder: RunFolder) -> Run:
    """Trains, scores, keeps the model that was asked for, and completes the folder."""
    with noting_the_end(folder), ExitStack() as stack:
        checkpointer = Checkpointer(folder.checkpoint)
        state = checkpointer.load(job.device)
        job.clock = Clock(state["seconds"] if state else job.clock())
        log = RecordLog(folder.records, keep_bytes=state["log_bytes"] if state else 0)
        stack.callback(log.close)
        folder.update(status="running")
        if state is None:
            _log_trials(log, grid)
        cohort, said, entries = _train(job, grid, options, folder, log, checkpointer, state)
        out_of_fold = None
        if grid.verb not in CURVES and not options.sequential:
            out_of_fold = save_out_of_fold(folder.path, said, grid.data, options, scored=grid.verb == "cv")
        trials = _recorded(log, "trial")
        together = None
        if options.final != "none":
            with job.stage("final"), num_threads(grid.threads):
                model = keep_model(cohort, grid, options, job)
                model.save(folder.best)
                together = describe_together(model, grid, options)
                folder.update(temperature=model.temperature)
        log.sync()
        with job.stage("report"):
            facts: dict[str, Any] = {
                "run": str(folder.path),
                "epochs_trained": round(cohort.epochs_trained, 3),
                "seconds": round(job.clock(), 3),
            }
            if grid.verb in CURVES:
                result = answer_curve(folder.info, entries, trials, **facts)
            else:
                scores = [MemberScore(**entry) for entry in entries]
                result = make_result(folder.info, scores, trials, out_of_fold=out_of_fold, ensemble=together, **facts)
            folder.update(
                status="done",
                result=result,
                timings=job.timings,
                peak_memory_bytes=peak_memory_bytes(),
                warnings=[],
            )
            write_report(folder.path)
    return Run(folder.path, _own_networks(options))


def _train(
    job: Job,
    grid: Grid,
    options: GridOptions,
    folder: RunFolder,
    log: RecordLog,
    checkpointer: Checkpointer,
    state: dict[str, Any] | None,
) -> tuple[Cohort, Said, list[dict[str, Any]]]:
    """Trains and scores one batch of seeds after another, until there is none or all differences are shown.

    Returns:
        The cohort of the last batch, what its members say, and the scores of all batches.
    """
    batches, epochs_trained = seed_batches(options), 0.0
    log.sync()
    number, entries = 0, []
    if state is not None:
        number = batch_of(state, batches, options)
        entries = [{k: v for k, v in record.items() if k != "kind"} for record in _recorded(log, "score")]
    while True:
        specs, plan = members_of(grid.specs, grid.plan, batches[number], options)
        cohort = _build_cohort(job, grid, specs, plan, options, log, checkpointer)
        cohort.epochs_trained = epochs_trained
        if state is not None:
            cohort.load_state_dict(state)
            state = None
        with job.stage("train"), num_threads(grid.threads):
            cohort.run()
        with job.stage("scores"), num_threads(grid.threads):
            said = [(lane, *member_outputs(lane, grid.data)) for lane in cohort.lanes]
            entries += _log_scores(log, said, specs, grid)
        number, epochs_trained = number + 1, cohort.epochs_trained
        if options.sequential and _is_settled(job, grid, folder.info, entries):
            number = len(batches)
        if number == len(batches):
            return cohort, said, entries


def _is_settled(job: Job, grid: Grid, info: Mapping[str, Any], entries: Sequence[dict[str, Any]]) -> bool:
    """Whether a comparison shows all its differences; the look is said."""
    names = {trial: name for trial, (name, _, _) in enumerate(grid.methods)}
    look = looks_of(info, [MemberScore(**entry) for entry in entries], names)[-1]
    job.listener.note(f"after {look['seeds']} seeds: {look['shown']} of {look['pairs']} differences shown")
    return is_settled(look)


def _recorded(log: RecordLog, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_records(log.path) if record["kind"] == kind]


def _build_cohort(
    job: Job,
    grid: Grid,
    members: Sequence[MemberSpec],
    plan: Sequence[PlannedStack],
    options: GridOptions,
    log: RecordLog,
    checkpointer: Checkpointer,
) -> Cohort:
    data = grid_cohort_data(grid.data, options)
    lanes = []
    for line in plan:
        specs = [members[place] for place in line.places]
        lanes.append(
            build_lane(
                specs,
                grid.data.tasks[0],
                form=line.form,
                device=job.device,
                total_steps=steps_of_each(grid.data, specs, grid.epochs),
                direction=grid.data.metric.direction,
                programs=grid.programs,
                line=line,
            )
        )
    return Cohort(
        lanes=lanes,
        data=data,
        metric=grid.data.metric,
        judge=Judge.of_rungs((Rung(resource=grid.epochs, keep=len(grid.methods)),), grid.data.metric.direction),
        log=log,
        checkpointer=checkpointer,
        hooks=Hooks(on_step=job.listener.progress, seconds=job.clock),
    )


def _log_trials(log: RecordLog, grid: Grid) -> None:
    stacks = {grid.specs[place].id.trial: number for number, line in enumerate(grid.plan) for place in line.places}
    for trial, (name, network, config) in enumerate(grid.methods):
        values = {"network": network_name(network), **config}
        log.append("trial", trial=trial, network=network_name(network), config=values, stack=stacks[trial], name=name)


def _log_scores(log: RecordLog, said: Said, members: Sequence[MemberSpec], grid: Grid) -> list[dict[str, Any]]:
    """Each member's scores with its last weights, on its fold's rows and on the test part, as records.

    A member that fell sick was frozen on the way, or has left with its trial, all of whose members did: it has no
    score, and counts as diverged.
    """
    entries = []
    for lane, outputs, targets in said:
        valid = measure(lane.ids, outputs, targets, grid.data.tasks)
        test = score_lane(lane, grid.data, grid.data.test_rows) if len(grid.data.test_rows) else None
        train = score_lane(lane, on_training_rows(grid.data)) if grid.verb in CURVES else None
        for part in (valid, test or {}, train or {}):
            for value_M in part.values():
                value_M[lane.is_sick_M.to(value_M.device)] = torch.nan
        for place, member in enumerate(lane.ids):
            entry: dict[str, Any] = {
                **member.to_json(),
                "epoch": grid.epochs,
                "valid": {name: float(value[place]) for name, value in valid.items()},
                "test": None if test is None else {name: float(value[place]) for name, value in test.items()},
            }
            if train is not None:
                entry["train"] = {name: float(value[place]) for name, value in train.items()}
            entries.append(entry)
    scored = {(entry["trial"], entry["fold"], entry["seed"]) for entry in entries}
    nothing = {"epoch": grid.epochs} | {
        part: None if entries[0].get(part) is None else dict.fromkeys(entries[0][part], math.nan)
        for part in ("valid", "test", "train")
        if part in entries[0]
    }
    lost = [member.id for member in members if (member.id.trial, member.id.fold, member.id.seed) not in scored]
    entries += [{**member.to_json(), **nothing} for member in lost]
    entries.sort(key=lambda entry: (entry["trial"], entry["fold"], entry["seed"]))
    for entry in entries:
        log.append("score", **entry)
    log.sync()
    return entries
