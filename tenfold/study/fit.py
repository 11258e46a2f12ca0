"""`fit`: find a good model on the user's data, and keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.data.tables import TargetColumns
from tenfold.study.engine import answer
from tenfold.study.grid_options import FoldedFitOptions
from tenfold.study.job import Listener
from tenfold.study.options import FitOptions, Network, parse_time
from tenfold.study.run import Run
from tenfold.tasks import OwnMetric
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
    return answer("fit", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)
