"""`cross_validate`, `replicate` and `compare`: how good, how sure, and which one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.study.grid import ask_grid
from tenfold.study.grid_options import VARIES, GridOptions
from tenfold.study.job import Listener
from tenfold.study.options import Network
from tenfold.study.run import Run


def cross_validate(
    network: Network | None,
    data: Any,
    *,
    folds: Any = 5,
    repeats: int = 1,
    seeds: int = 1,
    final: str = "average",
    config: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """Trains a configuration on every fold, all folds as one program, and scores each on the rows it did not see.

    The score of a fold is that of the weights at the end of training. The interval of the mean speaks of training
    this configuration on as many rows of the same population; it is widened because folds share training rows.

    Args:
        network: a name of the zoo or a function `make_model(**config)`; None for what suits the data.
        data: as in `fit`.
        folds: how many; or your own, as row numbers or a fold number a row.
        repeats: how often the rows are cut anew.
        seeds: trainings on each fold.
        final: "average" keeps all of them as one model, "vote" as one in which each has a vote, "best" the one with
            the best score, "refit" trains the configuration anew on all rows, "none" keeps no model.
        config: values that differ from the defaults, such as {"lr": 0.003, "hidden": 128}.
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further options, such as target, metric, epochs, manner ("stratified", "grouped", "time-series", ...),
            group, seed, test_fraction.

    Returns:
        The run; `run.result["valid"]` holds mean, standard deviation and n.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run = tenfold.cross_validate("mlp", "iris", folds=3, epochs=5, out=folder + "/iris")
        >>> run.result["valid"]["n"], len(run.model.parts)
        (3, 3)

    References:
        Nadeau, Bengio: Inference for the generalization error, Machine Learning 52, 2003 (the widened interval).
    """
    options = grid_options(
        "cross_validate", network, config, {**more, "folds": folds, "repeats": repeats}, seeds, final
    )
    return ask_grid("cv", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)


def replicate(
    network: Network | None,
    data: Any,
    *,
    seeds: int = 10,
    vary: Sequence[str] = VARIES,
    final: str = "none",
    config: Mapping[str, Any] | None = None,
    test_fraction: float = 0.2,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """Trains a configuration from many seeds, all as one program: what another training might have given.

    Args:
        network: a name of the zoo or a function `make_model(**config)`; None for what suits the data.
        data: as in `fit`.
        seeds: how many trainings.
        vary: what each draws from its own seed, of "init", "order", "augment" and "split"; the rest is the same for
            all. With "split" each has a training and a validation part of its own, and the interval speaks of other
            data of this size.
        final: "none", "best" keeps the best of the random starts, "average" all of them as one model, "vote" as one
            in which each has a vote, "refit" trains once more on training and validation rows.
        config: values that differ from the defaults.
        test_fraction: share of the rows that every training is scored on once, at the end; 0 for none.
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further options, such as target, metric, epochs, seed, valid_fraction.

    Returns:
        The run.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run = tenfold.replicate("mlp", "iris", seeds=3, epochs=5, out=folder + "/iris")
        >>> run.result["valid"]["n"]
        3
    """
    more = {**more, "varies": tuple(vary), "test_fraction": test_fraction}
    options = grid_options("replicate", network, config, more, seeds, final)
    return ask_grid("replicate", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)


def compare(
    methods: Mapping[str, Any],
    data: Any,
    *,
    folds: Any = None,
    seeds: int = 10,
    against: str | None = None,
    vary: Sequence[str] = VARIES,
    sequential: bool = False,
    final: str = "none",
    config: Mapping[str, Any] | None = None,
    test_fraction: float = 0.2,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """Which is better, and how sure: methods trained on the same folds from the same seeds, compared in pairs.

    Args:
        methods: by name a network, or a pair of a network and its configuration, such as
            {"small": ("mlp", {"hidden": 32}), "large": ("mlp", {"hidden": 256})}.
        data: as in `fit`.
        folds: None for one validation part; else as in `cross_validate`.
        seeds: trainings of each method on each fold; of a sequential comparison the most.
        against: the method that all others are held against; all pairs by default.
        vary: as in `replicate`.
        sequential: train five seeds at a time, look after each five, and stop when every difference is shown. The
            answer holds however often it was looked at; the price is some more seeds for a small difference
            (`tenfold.statistics.anytime_mean`). No model is kept.
        final: "none"; "best", "average", "vote" or "refit" keep a model of the method with the best mean.
        config: values of all methods.
        test_fraction: share of the rows that every training is scored on once, at the end; 0 for none. Without folds
            methods are compared on these.
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further options, such as target, metric, epochs, seed.

    Returns:
        The run; `run.result["comparison"]` holds differences, intervals and a verdict.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> methods = {"linear": "linear", "mlp": ("mlp", {"lr": 0.01})}
        >>> run = tenfold.compare(methods, "iris", seeds=3, epochs=5, out=folder + "/iris")
        >>> [pair["a"] + " against " + pair["b"] for pair in run.result["comparison"]["pairs"]]
        ['linear against mlp']

    References:
        Wang and Ramdas, arXiv 2310.03722, 2023 (the sequential mode).
    """
    more = {**more, "folds": folds, "methods": dict(methods), "against": against}
    more |= {"varies": tuple(vary), "sequential": sequential, "test_fraction": test_fraction}
    options = grid_options("compare", None, config, more, seeds, final)
    return ask_grid("compare", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)


def grid_options(
    verb: str, network: Network | None, config: Mapping[str, Any] | None, more: dict[str, Any], seeds: int, final: str
) -> GridOptions:
    """The options of a question over folds and seeds; one that there is not is the caller's mistake."""
    networks = None if network is None else [network]
    try:
        return GridOptions(network=networks, config=dict(config or {}), seeds=seeds, final=final, **more)
    except TypeError as error:
        raise TypeError(f"{verb}: {str(error).split('__init__() ')[-1]}.") from error
