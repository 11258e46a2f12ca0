"""A few real training steps of any network, watched: gradients, activations and updates by layer.

The steps are taken by a copy, so that the network stays as it is. What is watched are the outputs of modules with a
weight matrix (their size, and the gradient that comes back to them), ReLU, sigmoid and tanh wherever they are called,
and what the optimiser does to each weight.

B batch
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn, ops
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tenfold.core.errors import InputError
from tenfold.core.seeds import torch_seed
from tenfold.diagnosis.tracing import evaluating, first_line, in_words, module_names

aten = ops.aten

Loss = Callable[[Any, Any], Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

_FLAT = 0.04  # of the steepest slope: |tanh| > 0.98, a sigmoid beyond 0.01 and 0.99


@dataclass(kw_only=True)
class WatchedLayer:
    """A module with a weight, over the steps that were watched.

    Attributes:
        name: its place in the network.
        kind: its class.
        signals: at each step the root mean square of its outputs.
        gradients: at each step the norm of the loss's gradient by its output, as a root mean square over samples.
        weight_gradients: at each step the norm of the gradients of its parameters.
        updates: at each step the norm of its weights' change over that of the weights.
        is_frozen: whether none of its parameters has a gradient at all.
        is_reached: whether a gradient arrived at one of its parameters.
    """

    name: str
    kind: str
    signals: list[float] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    weight_gradients: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    is_frozen: bool = False
    is_reached: bool = False


@dataclass(kw_only=True)
class WatchedActivation:
    """A place where ReLU, sigmoid or tanh is called.

    Attributes:
        name: the module in which it is called.
        kind: "relu", "sigmoid" or "tanh".
        is_active: for each unit or channel whether it was ever above zero, bool, shape (U,).
        is_always_active: for each whether it always was, bool, shape (U,).
        flat_shares: at each step the share of values where the function is flat; of sigmoid and tanh.
        is_output: whether no weight follows, so that it says what the network is sure of.
    """

    name: str
    kind: str
    is_active: Tensor | None = None
    is_always_active: Tensor | None = None
    flat_shares: list[float] = field(default_factory=list)
    is_output: bool = False

    @property
    def num_units(self) -> int:
        """Units or channels."""
        return 0 if self.is_active is None else len(self.is_active)

    @property
    def num_always_active(self) -> int:
        """Units of a ReLU that all samples made active everywhere."""
        return 0 if self.is_always_active is None else int(self.is_always_active.sum())

    @property
    def num_dead(self) -> int:
        """Units of a ReLU that no sample made active."""
        return 0 if self.is_active is None else int((~self.is_active).sum())


@dataclass(kw_only=True)
class Health:
    """What was seen over a few training steps.

    Attributes:
        layers: in the order in which they ran; those that never ran stand last.
        activations: in the order in which they ran.
        losses: before each step.
        num_samples: in all batches together.
        optimizer: its class and rate.
        has_norm: whether the network normalises.
        can_learn: whether there is a parameter that may learn.
        first_bad: the first module with an output that was not finite, or None.
    """

    layers: list[WatchedLayer] = field(default_factory=list)
    activations: list[WatchedActivation] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    num_samples: int = 0
    optimizer: str = ""
    has_norm: bool = False
    can_learn: bool = True
    first_bad: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The medians over the steps, as plain JSON types."""
        layers = [
            {
                "name": layer.name,
                "kind": layer.kind,
                "signal": middle(layer.signals),
                "gradient": middle(layer.gradients),
                "weight_gradient": middle(layer.weight_gradients),
                "update_ratio": middle(layer.updates),
            }
            for layer in self.layers
        ]
        activations = [
            {
                "name": place.name,
                "kind": place.kind,
                "units": place.num_units,
                "dead": place.num_dead,
                "flat": middle(place.flat_shares),
            }
            for place in self.activations
        ]
        return {"losses": self.losses, "layers": layers, "activations": activations}


def middle(values: Sequence[float]) -> float | None:
    """The median of what is finite, None where there is nothing."""
    known = [value for value in values if math.isfinite(value)]
    return statistics.median(known) if known else None


def watch(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    *,
    optimizer: MakeOptimizer | None = None,
    steps: int = 8,
    seed: int = 0,
) -> Health:
    """Takes a few training steps with a copy of a network and writes down what happens in it.

    Args:
        model: any module.
        batches: of (*inputs, targets); a step each.
        loss: a function of (outputs, targets), a mean over the batch.
        optimizer: makes one of parameters; by default AdamW with a rate of 1e-3.
        steps: how many at most, at least 1.
        seed: of dropout and the like.

    Raises:
        InputError: there are no batches, a step fails, or the loss is not one number.
        ValueError: `steps` is below 1.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> batch = torch.randn(16, 4), torch.arange(16) % 2
        >>> health = watch(network, [batch] * 3, nn.functional.cross_entropy)
        >>> len(health.losses), [layer.name for layer in health.layers], health.activations[0].num_units
        (3, ['0', '2'], 8)
    """
    if steps < 1:
        raise ValueError(f"inspect: steps must be at least 1, got {steps!r}. Give the number of training steps.")
    copied = copy.deepcopy(model)
    trainable = [p for p in copied.parameters() if p.requires_grad]
    if optimizer is None:

        def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            return torch.optim.AdamW(parameters, lr=1e-3)

    stepper = optimizer(trainable) if trainable else None
    watcher = _Watcher(copied, stepper)
    with torch_seed(seed), evaluating(copied, training=True), torch.enable_grad(), watcher.hooked():
        for batch in islice(batches, steps):
            if not watcher.step(tuple(batch), loss):
                break
    if not watcher.health.losses:
        raise InputError("inspect: there must be at least one batch, got none. Give some: [(inputs, targets), ...].")
    return watcher.finished()


class _Watcher:
    """The copy in training, and what is written down of it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        self.model, self.optimizer = model, optimizer
        rate = f"{type(optimizer).__name__} at {optimizer.param_groups[0]['lr']:.3g}" if optimizer else "no optimiser"
        has_norm = any("Norm" in type(m).__name__ for m in model.modules())
        self.health = Health(optimizer=rate, has_norm=has_norm, can_learn=optimizer is not None)
        self.layers = {
            name: WatchedLayer(name=name, kind=type(module).__name__)
            for name, module in model.named_modules()
            if any(p.ndim > 1 for p in module.parameters(recurse=False))
        }
        self.order: dict[str, None] = {}
        self.places = _Activations(model)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watches the modules' outputs."""
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                stack.callback(module.register_forward_hook(self._hook(name)).remove)
            self.places.running = stack.enter_context(module_names(self.model))
            yield

    def _hook(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            out = next((leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)), None)
            if out is None or not out.is_floating_point() or out.ndim == 0:
                return
            if self.health.first_bad is None and not bool(out.detach().isfinite().all()):
                self.health.first_bad = name or "the network itself"
            layer = self.layers.get(name)
            if layer is not None:
                self.order[name] = None
                layer.signals.append(float(out.detach().square().mean().sqrt()))
                if out.requires_grad:
                    out.register_hook(lambda gradient: layer.gradients.append(_norm_of_samples(gradient)))

        return hook

    def step(self, batch: tuple[Any, ...], loss: Loss) -> bool:
        """One step; whether its loss is finite."""
        *inputs, targets = batch
        for parameter in self.model.parameters():
            parameter.grad = None
        with _told("the network cannot be trained on inputs", inputs, "Give it what it is made for"):
            with self.places:
                outputs = self.model(*inputs)
            self.places.end_of_pass()
        with _told("the loss fails on outputs and targets", (outputs, targets), "Give a loss and outputs that fit"):
            value = loss(outputs, targets)
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            got = in_words(value) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"inspect: the loss must be one real number, a mean over the batch, got {got}. Take its mean."
            )
        self.health.losses.append(float(value.detach()))
        self.health.num_samples += len(targets)
        if not math.isfinite(self.health.losses[-1]):
            return False
        if value.requires_grad:
            with _told("the backward pass fails after inputs", inputs, "Look for what is changed in place"):
                value.backward()
        self._note_gradients()
        self._note_update()
        return True

    def _own(self, name: str) -> list[nn.Parameter]:
        return list(self.model.get_submodule(name).parameters(recurse=False))

    def _note_gradients(self) -> None:
        for name, layer in self.layers.items():
            own = self._own(name)
            gradients = [p.grad for p in own if p.grad is not None]
            layer.is_frozen = not any(p.requires_grad for p in own)
            norm = math.sqrt(sum(float(g.detach().double().square().sum()) for g in gradients))
            layer.is_reached |= norm > 0
            layer.weight_gradients.append(norm)

    def _note_update(self) -> None:
        if self.optimizer is None:
            return
        before = {name: [p.detach().clone() for p in self._own(name) if p.ndim > 1] for name in self.layers}
        self.optimizer.step()
        for name, layer in self.layers.items():
            now = [p.detach() for p in self._own(name) if p.ndim > 1]
            size = math.sqrt(sum(float(old.double().square().sum()) for old in before[name]))
            change = math.sqrt(
                sum(float((new - old).double().square().sum()) for new, old in zip(now, before[name], strict=True))
            )
            if size > 0 and not layer.is_frozen:  # a weight that starts at zero has no ratio
                layer.updates.append(change / size)

    def finished(self) -> Health:
        """All that was seen."""
        names = [*self.order, *(name for name in self.layers if name not in self.order)]
        self.health.layers = [self.layers[name] for name in names]
        self.health.activations = list(self.places.seen.values())
        return self.health


@contextmanager
def _told(what: str, values: Any, fix: str) -> Iterator[None]:
    """Says of an error in a user's network or loss where it came up, and on what."""
    try:
        yield
    except Exception as error:
        raise InputError(f"inspect: {what} {in_words(values)} ({first_line(error)}). {fix}.") from error


def _norm_of_samples(gradient: Tensor) -> float:
    """The norm of each sample's gradient, as a root mean square over the batch."""
    return float(gradient.detach().double().flatten(1).square().sum(dim=1).mean().sqrt())


_KINDS = {
    aten.relu: "relu", aten.relu_: "relu", aten.hardtanh: "relu", aten.hardtanh_: "relu",
    aten.sigmoid: "sigmoid", aten.sigmoid_: "sigmoid", aten.tanh: "tanh", aten.tanh_: "tanh",
}  # fmt: skip
_LAYERS_OF_PRODUCTS = (aten.convolution, aten.mm, aten.addmm, aten.bmm, aten.baddbmm)


class _Activations(TorchDispatchMode):
    """Looks at ReLU, sigmoid and tanh where they are dispatched; gates of recurrent layers are theirs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.running: list[str] = []
        self.seen: dict[tuple[str, str, int], WatchedActivation] = {}
        recurrent = (nn.RNNBase, nn.RNNCellBase)
        self._passed_over = {name for name, module in model.named_modules() if isinstance(module, recurrent)}
        self._counts: dict[tuple[str, str], int] = {}
        self._since_weight: list[WatchedActivation] = []
        self._after_convolution = False

    def end_of_pass(self) -> None:
        """What no weight followed stands at the output."""
        for place in self._since_weight:
            place.is_output = True
        self._since_weight, self._counts = [], {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in _LAYERS_OF_PRODUCTS or packet in flop_registry:
            self._after_convolution = packet is aten.convolution
            self._since_weight = []
        elif packet in _KINDS and self._is_looked_at(packet, args):
            self._note(_KINDS[packet], out.detach())
        return out

    def _is_looked_at(self, packet: Any, args: tuple[Any, ...]) -> bool:
        if self.running and self.running[-1] in self._passed_over:
            return False
        is_relu6 = packet not in (aten.hardtanh, aten.hardtanh_) or (len(args) > 1 and args[1] == 0)
        return is_relu6 and args[0].ndim > 1 and args[0].is_floating_point()

    def _note(self, kind: str, out: Tensor) -> None:
        name = self.running[-1] if self.running else ""
        number = self._counts.get((name, kind), 0)
        self._counts[name, kind] = number + 1
        place = self.seen.setdefault((name, kind, number), WatchedActivation(name=name, kind=kind))
        self._since_weight.append(place)
        if kind == "relu":
            dim = 1 if self._after_convolution else out.ndim - 1
            above = (out > 0).movedim(dim, 0).flatten(1)
            ever, always = above.any(dim=1), above.all(dim=1)
            if place.is_active is not None and place.is_always_active is not None:
                ever, always = ever | place.is_active, always & place.is_always_active
            place.is_active, place.is_always_active = ever, always
        else:
            slope = 1 - out.square() if kind == "tanh" else 4 * out * (1 - out)
            place.flat_shares.append(float((slope < _FLAT).double().mean()))
