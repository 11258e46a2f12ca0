"""What a user asked for: every option of a question, checked once, stored with the run, compared at a resume."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, ClassVar

from torch import nn

from tenfold.core.errors import InputError, RunError
from tenfold.core.specs import InputSpec
from tenfold.data.tables import TargetColumns
from tenfold.networks import NETWORKS, obstacle, suitable
from tenfold.nn import Loss
from tenfold.tasks import OwnMetric
from tenfold.tuning import Space

Network = str | Callable[..., nn.Module]
FINALS = ("best", "refit", "average", "vote", "ensemble")
FORMS = ("auto", "stacked", "serial", "side-by-side", "compiled")


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of `fit`; None stands for "not given", and then the data decide.

    Attributes:
        target: the target column's name or number; several are the labels of a multi-label task.
        task: "classification", "regression", "multilabel" or "segmentation".
        metric: what decides who stays and who wins: a name, or a metric of one's own.
        network: names of the zoo, or functions `make_model(**config)`.
        space: what to search, in place of or over the default space.
        trials: configurations to try, >= 1.
        epochs: epochs of a trial that is never stopped, >= 1.
        time_s: seconds that the whole question may take, > 0.
        final: "best" keeps the best trial's best weights, "refit" trains its configuration anew on training and
            validation rows, "average" averages the predictions of the trials that reached the end, "vote" lets each
            of them have a vote, "ensemble" selects among them greedily and with weights.
        seed: of all streams.
        device: "auto", "cpu", "cuda", ...
        form: "auto" measures whether members train faster as one program, one by one, or side by side, each on a
            CPU thread of its own, and compiles steps where that saves more time than it takes; "stacked", "serial",
            "side-by-side" and "compiled" insist.
        threads: CPU threads for training, >= 1; measured by default.
        batch_size: samples a step, >= 1.
        image_size: pixels to which picture files are resized: a square's side, or height and width.
        ignore: values of masks that are no class.
        header: whether a table's first row holds names.
        encoding: of a table's text, as Python names it; detected by default.
        valid_fraction: share of the rows to choose by, in (0, 1).
        test_fraction: share of the rows to touch once, in [0, 1).
        loss: of the task, by name: "cross_entropy", "focal" or "ordinal" of classes, "binary_cross_entropy" or
            "focal" of labels, "mse", "l1", "huber" or "log_cosh" of numbers; or a function `(outputs, targets) ->
            loss` of one's own.
        order: the classes in an order that matters, such as ("low", "middle", "high"): the loss becomes "ordinal".
        quantiles: levels that a regression predicts, an odd number of them, such as (0.05, 0.5, 0.95).
        balanced: whether classes weigh inversely to their frequency in the loss.
        group: the column whose values (or, of picture files, the pattern of names whose groups) never stand on both
            sides of a split.
        no_checks: whether the data are not looked at for copies, leaks, cut groups, rare classes and shift.
        max_rows: of a larger source so many rows are taken, at random, with classes and parts in proportion, >= 2.
        no_sharing: whether a frozen first part that all members have alike is computed by each of them all the same,
            so that later trials may bring another one.
        workers: processes that prepare augmented or fetched samples ahead, >= 0; by default as many as pay.
        reduction_factor: the share of trials that goes on from a rung is one in this many, >= 2.
    """

    finals: ClassVar[tuple[str, ...]] = FINALS

    target: TargetColumns = None
    task: str | None = None
    metric: str | OwnMetric | None = None
    network: Sequence[Network] | None = None
    space: Mapping[str, Any] | Callable[..., dict[str, Any]] | Space | None = None
    trials: int | None = None
    epochs: int | None = None
    time_s: float | None = None
    final: str = "best"
    seed: int = 0
    device: str = "auto"
    form: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    image_size: int | Sequence[int] | None = None
    ignore: Sequence[int] | None = None
    header: bool | None = None
    encoding: str | None = None
    valid_fraction: float = 0.2
    test_fraction: float = 0.2
    loss: str | Loss | None = None
    order: Sequence[str | int] | None = None
    quantiles: Sequence[float] | None = None
    balanced: bool = False
    group: str | int | None = None
    no_checks: bool = False
    max_rows: int | None = None
    no_sharing: bool = False
    workers: int | None = None
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", _image_size(self.image_size))
        for name in ("trials", "epochs", "batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and (not _is_whole(value) or value < 1):
                raise InputError(f"--{name.replace('_', '-')} must be a whole number >= 1, got {value!r}. Raise it.")
            object.__setattr__(self, name, None if value is None else int(value))
        if self.max_rows is not None and (not _is_whole(self.max_rows) or self.max_rows < 2):
            raise InputError(f"--max-rows must be a whole number >= 2, got {self.max_rows!r}. Raise it.")
        if self.workers is not None and (not _is_whole(self.workers) or self.workers < 0):
            raise InputError(
                f"--workers must be a whole number >= 0, got {self.workers!r}. Leave it out, or raise it."
            )
        if not _is_whole(self.seed):
            raise InputError(f"--seed must be a whole number, got {self.seed!r}. Choose one.")
        object.__setattr__(self, "seed", int(self.seed))
        if self.time_s is not None and not self.time_s > 0:
            raise InputError(f"--time must be longer than nothing, got {self.time_s!r} s. Write 90s, 10m or 2h.")
        if not 0 < self.valid_fraction < 1 or not 0 <= self.test_fraction < 1 - self.valid_fraction:
            raise InputError(
                f"--valid-fraction must be in (0, 1), --test-fraction in [0, 1), and together below 1, got "
                f"{self.valid_fraction} and {self.test_fraction}. Make them smaller."
            )
        _check_choice("final", self.final, self.finals)
        _check_choice("form", self.form, FORMS)
        if self.reduction_factor < 2:
            raise InputError(f"--reduction-factor must be >= 2, got {self.reduction_factor!r}. 3 is usual.")

    @property
    def is_folded(self) -> bool:
        """Whether a trial may have several members, one a fold and seed."""
        return False

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as plain JSON types."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


def _image_size(value: Any) -> int | tuple[int, int] | None:
    """A side, or height and width, in pixels.

    Raises:
        InputError: it is neither.
    """
    sides = [value] if _is_whole(value) else value
    if value is None:
        return None
    holds = isinstance(sides, list | tuple) and len(sides) <= 2 and all(_is_whole(s) and s >= 1 for s in sides)
    if not holds or not sides:
        raise InputError(
            f"--image-size must be a whole number >= 1, or height and width, got {value!r}. Write 64 or 96x128."
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _is_whole(value: object) -> bool:
    """Whether a value is a whole number, NumPy's among them."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"--{name} must be one of {', '.join(choices)}, got {value!r}. Choose one.")


def _plain(value: Any) -> Any:
    if isinstance(value, Space):
        return value.to_json()
    if isinstance(value, OwnMetric):
        return value.name
    if isinstance(value, Mapping):
        return Space(value).to_json()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if callable(value):
        return network_name(value)
    return value


def check_resumed(now: FitOptions, stored: Mapping[str, Any]) -> None:
    """Refuses a resume that asks for something else than the run was begun with.

    Raises:
        RunError: an option given now differs; the sentence names it.
    """
    defaults = {field.name: field.default for field in fields(now)}
    for name, value in now.given().items():
        begun_with = stored.get(name, defaults[name])
        if begun_with != value:
            flag = "--" + name.removesuffix("_s").replace("_", "-")
            raise RunError(
                f"--resume: {flag} must be {begun_with!r}, as the run was begun, got {value!r}. "
                "Leave it out, or begin a new run."
            )


def parse_time(text: str | float | None) -> float | None:
    """Seconds from "90", "90s", "10m", "1h30m" or a number.

    Raises:
        InputError: not a length of time.

    Example:
        >>> parse_time("1h30m"), parse_time("45s"), parse_time(2)
        (5400.0, 45.0, 2.0)
    """
    if text is None or isinstance(text, int | float):
        return None if text is None else float(text)
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise InputError(f"--time must be a length of time such as 90s, 10m or 1h30m, got {text!r}. Write it so.")
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def network_name(network: Network) -> str:
    """What a network is called in records: its name in the zoo, or the function's or class's own."""
    if isinstance(network, str):
        return NETWORKS.own_name(network) if network in NETWORKS else network
    return getattr(network, "__name__", type(network).__name__)


def choose_networks(options: FitOptions, spec: InputSpec) -> dict[str, Network]:
    """The networks to try, by name: those asked for, or those that suit the data.

    Raises:
        InputError: an unknown name, or a network that cannot take the data.
    """
    if options.network is None:
        return {name: name for name in _default_networks(spec)}
    chosen: dict[str, Network] = {}
    for network in options.network:
        if not isinstance(network, str) and not callable(network):
            raise InputError(
                f"--network must be a name or a function that builds a network, got {network!r}. "
                "Pass the class, or a function that returns a new model."
            )
        if isinstance(network, nn.Module):
            raise InputError(
                f"--network must be a function that builds a network, got a {type(network).__name__} that is built: "
                "each member needs one of its own. Pass its class, or a function that returns a new model."
            )
        name = network_name(network)
        if name in chosen and chosen[name] is not network and chosen[name] != network:
            raise InputError(f"--network: two networks are called {name!r}. Give each function a name of its own.")
        if isinstance(network, str):
            network = NETWORKS.own_name(network)
            if obstacle(name, spec):
                raise InputError(
                    f"--network {name} cannot take this data ({spec.kind} of shape {spec.shape}). "
                    f"Networks that can: {', '.join(suitable(spec))}."
                )
        chosen[name] = network
    if not chosen:
        raise InputError("--network must name at least one network, got none. Leave it out for the default.")
    return chosen


def _default_networks(spec: InputSpec) -> list[str]:
    """A table gets an MLP; small pictures an MLP and a LeNet; photos a ResNet-18; pictures beside masks a U-Net."""
    if spec.dense:
        return ["unet"]
    if spec.kind == "table":
        return ["mlp"]
    candidates = ["mlp", "lenet"] if min(spec.shape[1:]) <= 40 else ["resnet18"]
    return [name for name in candidates if name in suitable(spec)] or [suitable(spec)[0]]
