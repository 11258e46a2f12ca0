"""What is learned, in the terms that training needs: objectives, batches, predictions, metrics.

A task is general: a classifier has one objective over all parameters, a GAN has two over a part each, a DQN one
and a slow copy; batches come from a data set, or from an environment that the members act in. Training knows
these descriptions and no particular task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from torch import Tensor, nn

Batch = tuple[Any, ...]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class MemberView:
    """What an objective may know of the member it is computed for.

    Attributes:
        streams: the member's own random numbers: `streams.normal(shape)`, `uniform`, `bernoulli`.
        values: the task's hyper-parameters of this member, such as "label_smoothing"; 0-dimensional tensors.
    """

    streams: Any
    values: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class SlowCopy:
    """Parameters that follow others by an exponential moving average, such as a DQN's target network.

    Attributes:
        source: name prefix of the parameters that are trained, such as "online.".
        copy: name prefix of those that follow, such as "target."; they should not require gradients.
        rate: share of the way that the copy goes at each step, in (0, 1].
    """

    source: str
    copy: str
    rate: float

    def __post_init__(self) -> None:
        if not 0.0 < self.rate <= 1.0:
            raise ValueError(f"SlowCopy: rate must be in (0, 1], got {self.rate!r}. 0.005 is common for a DQN.")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One loss and the parameters it trains.

    Attributes:
        name: its name in records.
        loss: `(model, batch, member) -> loss`, a 0-dimensional tensor: the mean over the batch, for one plain model.
        parameters: patterns (as in `fnmatch`) of the names of the parameters that it trains.
        slow_copy: parameters that follow after each step of this objective.
        repeats: whether the loss depends on its arguments alone, and not on a Python value that changes from step to
            step (a weight that grows, a counter). Then the operators of a step may be recorded and run anew.
    """

    name: str
    loss: Callable[[nn.Module, Batch, MemberView], Tensor]
    parameters: tuple[str, ...] = ("*",)
    slow_copy: SlowCopy | None = None
    repeats: bool = False

    def trains(self, parameter_name: str) -> bool:
        """Whether a parameter belongs to this objective."""
        return any(fnmatchcase(parameter_name, pattern) for pattern in self.parameters)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that tells how good a member is.

    Attributes:
        name: its name on the command line and in records.
        direction: whether more or less is better.
        function: `(outputs, targets) -> value_M`, for all members at once; the shapes are the task's own.
        title: its name in a table or a plot.
    """

    name: str
    direction: Direction
    function: Callable[[Any, Any], Tensor]
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class MemberBatches:
    """One step of a stack in which not all members see the same batch, or not all have one.

    Members in no part rest for the step: their parameters, moments, schedules, averages and random streams stay as
    they are, so that each is what it would be alone, with its own batches and no others. The members of a part run
    as one program on the part's batch; nothing is padded, so that batch statistics are those of the real samples.

    Attributes:
        parts: pairs of (places, batch). Places are of members in the stack, distinct, and none is in two parts.
            The batch is as for a stack of these members alone: they share it, and what is marked with
            `tenfold.per_member` holds a value for each of them, in the order of the places.

    Example:
        Three members on folds of 5, 5 and 4 samples, in batches of 2. Their third step::

            MemberBatches(parts=[([0, 1], (per_member(x_2BD), per_member(y_2B)))])  # the third member rests
    """

    parts: Sequence[tuple[Sequence[int], Batch]]


class BatchProvider(ABC):
    """Where training batches come from: a data set, a replay buffer, an environment.

    Attributes:
        steps_per_epoch: batches in one epoch; where members have unequal numbers of them, the most.
    """

    steps_per_epoch: int

    @abstractmethod
    def epoch(self, epoch: int, stack: Any) -> Iterator[Batch | MemberBatches]:
        """The batches of one epoch (0 is the first).

        A batch is for all members: they share it, but for parts marked with `tenfold.per_member`, which hold one
        value a member. `MemberBatches` is for steps in which members' batches differ in size, or some have none.

        Args:
            epoch: number of the epoch; the same number gives the same batches again.
            stack: the stack that is about to train, for providers whose batches depend on what the members do.
        """

    def keep(self, indices: Tensor) -> None:  # noqa: B027 - nothing to do is the usual case
        """Members left; providers that hold something for each member keep these places, in this order."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the epoch's number; nothing for a data set."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Takes over a state that `state_dict` gave."""


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What a task is called and measured by.

    Attributes:
        name: as in `--task`.
        metrics: by name, the first being the default.
        values: the task's hyper-parameters that may differ by member, with their defaults.
    """

    name: str
    metrics: Mapping[str, Metric]
    values: Mapping[str, float] = field(default_factory=dict)


class Task(ABC):
    """What is learned. Subclasses say it in four methods; see `tenfold.tasks` for those that exist."""

    info: TaskInfo

    @abstractmethod
    def objectives(self) -> Sequence[Objective]:
        """The losses, in the order in which they step on each batch."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Batch) -> Any:
        """What one plain model says of a batch: a tensor of shape (B, ...) or a nest of them."""

    @abstractmethod
    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Every metric for every member.

        Args:
            outputs: for each batch what `predict` said, with the member axis in front.
            batches: the batches themselves, targets included.

        Returns:
            By metric name a float tensor of shape (M,).
        """

    def provider(self, stack: Any) -> BatchProvider | None:
        """The task's own batches for one stack (an environment, say); None when they come from a data set."""
        return None
