"""What a search was asked with: the options of `fit`, and who proposes, who leaves, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

from tenfold.core.errors import InputError, did_you_mean
from tenfold.study.grid_options import FoldedFitOptions
from tenfold.tuning import HALVINGS
from tenfold.tuning.samplers import SAMPLERS

RESOURCES = ("epochs",)
COSTS = ("parameters", "latency")


@dataclass(frozen=True, kw_only=True)
class SearchOptions(FoldedFitOptions):
    """The options of `search`.

    Attributes:
        sampler: who proposes: a name in `tenfold.tuning.SAMPLERS`, with settings as in "grid:points=5", or a sampler
            of Optuna's.
        halving: who leaves early: a name in `tenfold.tuning.HALVINGS`.
        resource: what trials that go on get more of: "epochs".
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
