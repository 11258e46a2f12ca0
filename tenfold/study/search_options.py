"""What a search was asked with: the options of `fit`, and who proposes, who leaves, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import Any

from tenfold.core.errors import InputError, did_you_mean
from tenfold.study.grid_options import FoldedFitOptions
from tenfold.tuning import HALVINGS
from tenfold.tuning.samplers import SAMPLERS

RESOURCES = ("epochs", "data", "scale")
COSTS = ("parameters", "latency")


@dataclass(frozen=True, kw_only=True)
class SearchOptions(FoldedFitOptions):
    """The options of `search`.

    Attributes:
        sampler: who proposes: a name in `tenfold.tuning.SAMPLERS`, with settings as in "grid:points=5", or a sampler
            of Optuna's.
        halving: who leaves early: a name in `tenfold.tuning.HALVINGS`.
        resource: what trials that go on get more of: "epochs", "data" (training rows), or "scale" (larger networks of
            a family, or more width); with the last two a trial trains its epochs on each step.
        steps: of "data" rising fractions of the rows up to 1; of "scale" rising factors of the width up to 1, or
            names of networks that end with the one searched; "0.1,0.3,1" will do. What suits the data by default.
        min_resource: nobody leaves before so many epochs, >= 1; the rule's own by default.
        population: trials that train side by side where the sampler learns from those before, >= 1.
        enqueue: configurations of one's own, tried first; what they leave out is drawn.
        warm_start: a run folder whose trials the sampler is told before it proposes.
        target_score: it is enough when a trial has this score.
        epoch_budget: it is enough when all members together have trained so many epochs, > 0.
        objectives: what is to be small besides a good score, of `COSTS`; the result then holds the front.
        storage: URL of another database for Optuna's copy of the trials, such as "mysql://user@host/studies".
    """

    sampler: Any = "tpe"
    halving: str = "hyperband"
    resource: str = "epochs"
    steps: Sequence[float | str] = ()
    min_resource: int | None = None
    population: int | None = None
    enqueue: Sequence[Mapping[str, Any]] = ()
    warm_start: str | None = None
    target_score: float | None = None
    epoch_budget: float | None = None
    objectives: Sequence[str] = ()
    storage: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.sampler, str):
            _ = SAMPLERS[self.sampler.partition(":")[0]]
        _ = HALVINGS[self.halving]
        if self.resource not in RESOURCES:
            raise InputError(
                f"--resource must be one of {', '.join(RESOURCES)}, got {self.resource!r}."
                + (did_you_mean(self.resource, RESOURCES) or " Choose one.")
            )
        object.__setattr__(self, "steps", _steps(self.steps, self.resource))
        self._check_ladder()
        for name in ("min_resource", "population"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} must be a whole number >= 1, got {value!r}. Raise it.")
        if self.epoch_budget is not None and not self.epoch_budget > 0:
            raise InputError(f"--epoch-budget must be above 0, got {self.epoch_budget!r}. Raise it.")
        if self.target_score is not None and not isinstance(self.target_score, Real):
            raise InputError(f"--target-score must be a number, got {self.target_score!r}. Give the metric's value.")
        unknown = [name for name in self.objectives if name not in COSTS]
        if unknown:
            raise InputError(
                f"--objective must be of {', '.join(COSTS)}, got {unknown[0]!r}."
                + (did_you_mean(unknown[0], COSTS) or " Choose one.")
            )
        object.__setattr__(self, "objectives", tuple(self.objectives))
        object.__setattr__(self, "enqueue", tuple(dict(config) for config in self.enqueue))
        if self.warm_start is not None and self.objectives:
            raise InputError("--warm-start takes one objective, the metric. Leave --objective out, or begin cold.")
        if self.warm_start is not None:
            object.__setattr__(self, "warm_start", str(Path(self.warm_start)))

    def _check_ladder(self) -> None:
        """Refuses what does not go with another resource than epochs."""
        if self.resource != "epochs" and self.min_resource is not None:
            raise InputError(
                f"--min-resource counts epochs, got it for --resource {self.resource}. Say where to begin: --steps."
            )
        if self.resource == "scale" and self.objectives:
            raise InputError(
                "--resource scale takes one objective, the metric, since costs differ from step to step. Leave "
                "--objective out."
            )
        if self.resource == "data" and self.is_folded:
            raise InputError(
                "--resource data takes one validation part and one seed a trial, got --folds or --seeds. Leave them "
                "out, and cross-validate the winner."
            )

    @property
    def is_folded(self) -> bool:
        """Whether a trial has several folds or seeds."""
        return self.folds is not None or self.seeds != 1

    @property
    def learns(self) -> bool:
        """Whether what becomes of trials changes what is proposed after them."""
        name = self.sampler.partition(":")[0] if isinstance(self.sampler, str) else type(self.sampler).__name__
        return name not in ("random", "qmc", "grid", "RandomSampler", "QMCSampler", "Grid")

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as plain JSON types; a sampler object by its class's name."""
        values = replace(self, enqueue=(), sampler="tpe").given_without_sampler()
        if self.enqueue:
            values["enqueue"] = [dict(config) for config in self.enqueue]
        if self.sampler != "tpe":
            values["sampler"] = self.sampler if isinstance(self.sampler, str) else type(self.sampler).__name__
        return values

    def given_without_sampler(self) -> dict[str, Any]:
        """Those that are plain."""
        return super().given()


def _steps(given: Any, resource: str) -> tuple[float | str, ...]:
    """The steps as numbers and names.

    Raises:
        InputError: they are not rising to 1, numbers and names at once, or not for this resource.
    """
    words = given.split(",") if isinstance(given, str) else list(given)
    steps = tuple(_step(word) for word in words)
    if not steps:
        return ()
    if resource == "epochs":
        raise InputError(
            f"--steps are for --resource data and scale, got {_shown(steps)} for epochs. Leave them out."
        )
    numbers = [step for step in steps if not isinstance(step, str)]
    if resource == "scale" and not numbers and len(set(steps)) == len(steps):
        return steps
    rising = numbers == sorted(set(numbers)) and numbers and numbers[0] > 0 and numbers[-1] == 1
    if len(numbers) < len(steps) or not rising:
        names = ", or names of networks, the one searched last" if resource == "scale" else ""
        raise InputError(
            f"--steps must be numbers above 0 that rise to 1{names}, got {_shown(steps)}. Write --steps 0.1,0.3,1."
        )
    return steps


def _step(word: Any) -> float | str:
    """A number, a fraction such as "1/9", or a name."""
    try:
        return float(Fraction(word)) if isinstance(word, str) else float(word)
    except (ValueError, ZeroDivisionError, TypeError):
        return str(word).strip()


def _shown(steps: Sequence[float | str]) -> str:
    return ", ".join(step if isinstance(step, str) else f"{step:.3g}" for step in steps)
