"""What a question over trials x folds x seeds was asked with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from tenfold.core.errors import InputError
from tenfold.data.folds import MANNERS
from tenfold.study.options import FINALS, FitOptions, Network, network_name

VARIES = ("init", "order", "augment")
STREAMS = (*VARIES, "split")


@dataclass(frozen=True, kw_only=True)
class GridOptions(FitOptions):
    """The options of `cross_validate`, `replicate` and `compare`: those of `fit` that apply, and some more.

    Attributes:
        config: the configuration's values that differ from the defaults, such as {"lr": 0.003, "hidden": 128}.
        methods: for `compare`: by name a network, or a pair of a network and its configuration.
        folds: into how many the rows are cut, >= 2; or the user's own, as `tenfold.data.cut_folds` takes them; None
            for one validation part.
        manner: how folds are cut, one of `tenfold.data.MANNERS`; what suits the data by default.
        repeats: how often folds are cut anew, >= 1.
        seeds: trainings of each configuration on each fold, >= 1; their seeds count up from `seed`.
        varies: what is drawn from each seed, of "init", "order", "augment" and, without folds, "split", which gives
            each seed a training and a validation part of its own; the rest is the run's.
        against: for `compare`: the method that all others are held against; all pairs by default.
        sizes: for `learning_curve`: shares or counts of the training rows, in place of folds.
        sequential: for `compare`: look after every few seeds, and stop when all differences are shown.
        curve_over: for `width_curve`: what differs between the methods.
    """

    finals: ClassVar[tuple[str, ...]] = ("none", "best", "refit", "average", "vote")

    final: str = "none"
    config: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] | None = None
    folds: Any = None
    manner: str | None = None
    repeats: int = 1
    seeds: int = 1
    varies: Sequence[str] = VARIES
    against: str | None = None
    sizes: Sequence[float] | None = None
    sequential: bool = False
    curve_over: str | None = None
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("repeats", "seeds"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"--{name} must be a whole number >= 1, got {value!r}. Raise it.")
        if isinstance(self.folds, int) and self.folds < 2:
            raise InputError(f"--folds must be a whole number >= 2, got {self.folds!r}. 5 or 10 are usual.")
        if self.max_rows is not None and not isinstance(self.folds, int | None):
            raise InputError(
                "--max-rows is not for folds of your own, whose row numbers speak of all rows. Leave it out."
            )
        if self.manner is not None and self.manner not in MANNERS:
            raise InputError(f"--manner must be one of {', '.join(MANNERS)}, got {self.manner!r}. Choose one.")
        unknown = [name for name in self.varies if name not in STREAMS]
        if unknown or not self.varies:
            raise InputError(
                f"--vary must name some of {', '.join(STREAMS)}, got {tuple(self.varies)}. Choose those."
            )
        if "split" in self.varies and (self.folds is not None or self.sizes is not None):
            raise InputError("--vary split is not for --folds or --sizes, which cut the rows. Use --repeats instead.")
        if self.sequential and self.final != "none":
            raise InputError(
                f"--sequential keeps no model, got --final {self.final}. Leave it out, and replicate the winner."
            )

    @property
    def is_folded(self) -> bool:
        """Whether a trial may have several members: always, for all questions but a search."""
        return True

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as plain JSON types; the user's own folds by their hash."""
        plain = replace(self, config={}, methods=None, folds=None, varies=VARIES)
        values = plain.given_plainly()
        values.pop("config", None)
        if self.config:
            values["config"] = dict(self.config)
        if self.methods is not None:
            pairs = {name: _pair(method) for name, method in self.methods.items()}
            values["methods"] = {name: [network_name(network), config] for name, (network, config) in pairs.items()}
        if self.folds is not None:
            values["folds"] = self.folds if isinstance(self.folds, int) else _hash(self.folds)
        if tuple(self.varies) != VARIES:
            values["varies"] = list(self.varies)
        return values

    def given_plainly(self) -> dict[str, Any]:
        """Those of `fit`."""
        return super().given()


@dataclass(frozen=True, kw_only=True)
class FoldedFitOptions(GridOptions):
    """The options of a `fit` whose trials are scored on several folds or seeds; methods are its trials.

    Attributes:
        final: "best" keeps the best trial's best training, "refit" trains its configuration anew on all rows but the
            test part, "average" and "vote" let all trainings of the best trial predict together, "ensemble" those of
            the trials that do so best.
        test_fraction: share of the rows to touch once.
    """

    finals: ClassVar[tuple[str, ...]] = FINALS

    final: str = "best"
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("config", "methods", "against", "sequential"):
            if getattr(self, name):
                raise TypeError(f"__init__() got an unexpected keyword argument {name!r}")
        if "split" in self.varies:
            raise InputError("--vary split is for replicate and compare, got it for fit. Use --folds.")


def _pair(method: Any) -> tuple[Network, dict[str, Any]]:
    """A method as a network and its configuration."""
    network, own = method if isinstance(method, tuple) else (method, {})
    return network, dict(own)


def _hash(folds: Any) -> str:
    pairs = folds if isinstance(folds, list | tuple) else [folds]
    arrays = [np.asarray(rows) for pair in pairs for rows in (pair if isinstance(pair, tuple) else (pair,))]
    return hashlib.blake2b(b"".join(array.tobytes() for array in arrays), digest_size=8).hexdigest()


Method = tuple[str, Network, dict[str, Any]]
"""A name, a network, and the values of its configuration that differ from the defaults."""


def method_entries(options: GridOptions, networks: Mapping[str, Network]) -> list[Method]:
    """The methods as (name, network, configuration): those of `compare`, or the one configuration asked for.

    Raises:
        InputError: fewer than two methods to compare, or a name to hold them against that is none of theirs.
    """
    if options.methods is None:
        return [(name, network, dict(options.config)) for name, network in networks.items()]
    entries = []
    for name, method in options.methods.items():
        network, own = _pair(method)
        entries.append((name, network, {**options.config, **own}))
    if len(entries) < 2:
        raise InputError(f"compare: methods must be at least two, got {len(entries)}. Name another one.")
    names = [name for name, _, _ in entries]
    if options.against is not None and options.against not in names:
        raise InputError(f"--against must be one of {', '.join(names)}, got {options.against!r}. Choose one.")
    return entries
