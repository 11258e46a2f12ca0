"""`search`: which hyper-parameters, by any sampler, with losers leaving and others taking their room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.study.engine import answer
from tenfold.study.job import Listener
from tenfold.study.options import Network, parse_time
from tenfold.study.run import Run
from tenfold.study.search_options import SearchOptions
from tenfold.tuning import Space


def search(
    network: Network | Sequence[Network] | None,
    data: Any,
    space: Mapping[str, Any] | Callable[..., dict[str, Any]] | Space | None = None,
    *,
    sampler: Any = "tpe",
    halving: str = "hyperband",
    resource: str = "epochs",
    steps: Sequence[float | str] | str = (),
    trials: int | None = None,
    epochs: int | None = None,
    time: str | float | None = None,
    epoch_budget: float | None = None,
    target_score: float | None = None,
    enqueue: Sequence[Mapping[str, Any]] = (),
    warm_start: str | Path | None = None,
    objectives: Sequence[str] = (),
    folds: Any = None,
    seeds: int = 1,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """Searches for good hyper-parameters: trials are proposed in generations, and train as stacks beside each other.

    Args:
        network: a name of the zoo or a function `make_model(**config)`, one or several; None for what suits the data.
        data: as in `fit`.
        space: a dict of `tenfold.Float`/`Int`/`Categorical` or plain values, a `Space`, or a function of an Optuna
            trial; it is laid over the default space of the networks and the optimiser.
        sampler: who proposes: a name in `tenfold.tuning.SAMPLERS`, with settings as in "grid:points=5", or any
            sampler of Optuna's.
        halving: who leaves early: a name in `tenfold.tuning.HALVINGS`.
        resource: what those who go on get more of: "epochs", "data" (rows to train on) or "scale" (larger networks of
            a family, or more width). With the last two trials climb a ladder: each trains its epochs on a step, is
            compared, and, if it is among the best, trains them on the next. On data it goes on from its weights.
        steps: of that ladder: rising fractions of the rows, or factors of the width, up to 1; or names of networks
            that end with the one searched. What suits the data by default.
        trials: configurations to try; 64, or 16 of photos.
        epochs: epochs of a trial that is never stopped; on a ladder, on each step.
        time: what it all may take: seconds, or "10m".
        epoch_budget: epochs that all members together may train; on a ladder, counted in epochs on its last step.
        target_score: it is enough when a trial has this score.
        enqueue: configurations of your own, tried first; what they leave out is drawn.
        warm_start: a run whose trials the sampler is told before it proposes.
        objectives: what is to be small besides a good score: "parameters", "latency"; the result then has the front.
        folds: None scores a trial on one validation part; else as in `cross_validate`, and the mean decides.
        seeds: trainings of each trial on each fold.
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further fields of `tenfold.study.SearchOptions`, such as metric, final, population, min_resource,
            reduction_factor, storage, seed.

    Returns:
        The run; `run.best` is the best trial, `run.result["front"]` the front.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs, or all trials have diverged.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> space = {"lr": tenfold.Float(1e-3, 1e-1, log=True), "hidden": 16, "depth": 1}
        >>> run = tenfold.search("mlp", "iris", space, trials=6, epochs=3, halving="successive", out=folder + "/iris")
        >>> run.result["trials"], sorted(run.best.config)[:2]
        (6, ['activation', 'batch_size'])
        >>> run = tenfold.search(
        ...     "mlp", "iris", space, resource="data", steps=(0.5, 1), trials=6, epochs=3, halving="successive",
        ...     sampler="random", out=folder + "/climbed",
        ... )
        >>> run.result["ladder"]["steps"], run.result["epochs_trained"]  # six on half of the rows, two on all
        (['0.5 of the rows', 'all rows'], 15.0)

    References:
        Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", ICML 2018 (TPE
        with Hyperband, the default).
    """
    networks = [network] if isinstance(network, str) or callable(network) else network
    try:
        options = SearchOptions(
            network=networks, space=space, sampler=sampler, halving=halving, resource=resource, steps=steps,
            trials=trials, epochs=epochs, time_s=parse_time(time), epoch_budget=epoch_budget,
            target_score=target_score, enqueue=enqueue, objectives=objectives,
            warm_start=None if warm_start is None else str(warm_start), folds=folds, seeds=seeds, **more,
        )  # fmt: skip
    except TypeError as error:
        raise TypeError(f"search: {str(error).split('__init__() ')[-1]}.") from error
    return answer("search", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)
