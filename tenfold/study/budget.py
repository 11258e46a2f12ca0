"""How much to train: defaults that follow the amount of data, and plans that fit a given time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tenfold.core.specs import InputSpec
from tenfold.train import MemberSpec, PlannedStack
from tenfold.tuning import Rung, successive_halving_rungs

_TARGET_STEPS = 4000  # optimiser steps that a small network wants before more of them stop paying
_MOST_EPOCHS = 100
TRAINING_SHARE = 0.7  # of the time that is left; the rest is for scoring, the final model, baselines and the report
_DEADLINE = 0.85  # of the whole time: then training ends wherever it is
REFIT_SHARE = 0.6  # of both, when the chosen configuration is to be trained once more


def default_batch_size(num_rows: int, spec: InputSpec | None = None) -> int:
    """A batch that leaves an epoch some hundreds of steps; 8 pictures where each pixel has a target.

    Example:
        >>> [default_batch_size(n) for n in (500, 10_000, 50_000, 500_000)]
        [32, 64, 128, 256]
    """
    if spec is not None and spec.dense:
        return 8
    for most, batch_size in ((5_000, 32), (20_000, 64), (100_000, 128)):
        if num_rows < most:
            return batch_size
    return 256


def default_epochs(num_rows: int, batch_size: int, spec: InputSpec) -> int:
    """Epochs that make about 4,000 steps, between 5 and 100; at most 20 for photos, 40 where they have masks.

    Example:
        >>> default_epochs(1_150, 32, InputSpec(kind="image", shape=(1, 8, 8)))
        100
    """
    steps = max(num_rows // batch_size, 1)
    most = _MOST_EPOCHS if not is_photo(spec) else 40 if spec.dense else 20
    return max(5, min(round(_TARGET_STEPS / steps), most))


def default_trials(spec: InputSpec) -> int:
    """24 configurations, or 8 for photos, whose networks are thousands of times larger."""
    return 8 if is_photo(spec) else 24


def is_photo(spec: InputSpec) -> bool:
    """Whether samples are pictures of more than 40 pixels a side."""
    return spec.kind == "image" and min(spec.shape[1:]) > 40


def halving_rungs(num_trials: int, epochs: int, reduction_factor: int, *, fewest: int = 1) -> tuple[Rung, ...]:
    """Successive halving over epochs; nobody leaves in the first tenth, where the warm-up still rules.

    Args:
        num_trials: that start.
        epochs: of a trial that never leaves.
        reduction_factor: of the halving.
        fewest: so many trials stay at every rung, or all where there are fewer.

    Example:
        >>> [(rung.resource, rung.keep) for rung in halving_rungs(24, 50, 3, fewest=8)]
        [(5, 8), (50, 8)]
    """
    rungs = successive_halving_rungs(num_trials, max(1, epochs // 10), epochs, reduction_factor)
    fewest = min(fewest, num_trials)
    kept = [replace(rung, keep=max(rung.keep, fewest)) for rung in rungs]
    before = [num_trials, *(rung.keep for rung in kept)]
    leaving = [rung for rung, present in zip(kept[:-1], before, strict=False) if rung.keep < present]
    return (*leaving, kept[-1])


def member_epochs(rungs: Sequence[Rung], num_trials: int) -> int:
    """Epochs that all trials together train under these rungs.

    Example:
        >>> member_epochs(successive_halving_rungs(9, 1, 9), 9)
        21
    """
    total, present, reached = 0, num_trials, 0
    for rung in rungs:
        total += present * (rung.resource - reached)
        present, reached = rung.keep, rung.resource
    return total


def training_deadline_s(time_s: float | None, *, refit: bool) -> float:
    """Seconds after which training ends, so that the rest of the work is done in time; endless without a time.

    Example:
        >>> training_deadline_s(100.0, refit=False)
        85.0
    """
    if time_s is None:
        return float("inf")
    return time_s * _DEADLINE * (REFIT_SHARE if refit else 1.0)


def fit_to_time(
    planned: Sequence[PlannedStack],
    specs: Sequence[MemberSpec],
    steps_per_epoch: Callable[[int], int],
    *,
    seconds: float,
    epochs: int | None,
    most_epochs: int,
    reduction_factor: int,
    refit: bool = False,
    fewest: int = 1,
) -> tuple[int, int]:
    """The number of trials and of epochs that fit into a time, by the planner's measurements.

    Epochs come first: while fewer than five fit, trials are given up, down to three.

    Args:
        planned: the plan, with the measured seconds of a member's step.
        specs: the members, with the folds and seeds of each trial.
        steps_per_epoch: for a batch size.
        seconds: left for everything.
        epochs: what the user insists on, or None.
        most_epochs: what is never exceeded.
        reduction_factor: of the halving.
        refit: whether the chosen configuration is to be trained once more afterwards.
        fewest: trials that train to the end.

    Returns:
        Trials and epochs, both at least 1.
    """
    trials = 1 + max(spec.id.trial for spec in specs)
    epoch_seconds = [0.0] * trials
    for line in planned:
        for spec in (specs[place] for place in line.places):
            epoch_seconds[spec.id.trial] += line.quickest_seconds * steps_per_epoch(spec.config.recipe.batch_size)
    while True:
        mean_epoch_s = sum(epoch_seconds[:trials]) / trials
        affordable = seconds * TRAINING_SHARE * (REFIT_SHARE if refit else 1.0) / max(mean_epoch_s, 1e-9)
        fitting = _most_epochs_within(affordable, trials, epochs or most_epochs, reduction_factor, fewest)
        if fitting >= min(5, epochs or 5) or trials <= 3:
            return trials, epochs or max(fitting, 1)
        trials = max(3, trials * 2 // 3)


def _most_epochs_within(affordable: float, trials: int, most: int, reduction_factor: int, fewest: int) -> int:
    """The largest number of epochs whose halving costs no more member-epochs than affordable."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if member_epochs(halving_rungs(trials, middle, reduction_factor, fewest=fewest), trials) <= affordable:
            low = middle
        else:
            high = middle - 1
    return low
