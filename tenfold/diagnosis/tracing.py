"""One forward pass written down: which op ran in which module, on tensors that hold no numbers.

The pass runs under `FakeTensorMode`, so that it takes milliseconds and no memory whatever the size; a network whose
path depends on the numbers themselves runs on real ones instead. Ops are seen where PyTorch dispatches them: calls of
functions inside `forward`, attention and recurrent layers are taken apart like modules.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import UninitializedBuffer, is_lazy
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tenfold.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Op:
    """One op as it was dispatched.

    Attributes:
        func: the overload, such as `aten.convolution.default`.
        args: its positional arguments.
        kwargs: its keyword arguments.
        out: what it returned.
        module: name of the innermost module that was running; "" for the network itself.
        needs_grad: ids of the tensors among the arguments that a backward pass would go on from.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any
    module: str
    needs_grad: frozenset[int]


@dataclass(kw_only=True)
class Trace:
    """A forward pass.

    Attributes:
        ops: in the order of execution.
        calls: for each module that ran, how often, in the order of their first ends.
        outputs: of each module, the last time it ran: its first tensor.
        inputs: the tensors that the network was called with.
        state: the tensors that stood for parameters and buffers, by name.
    """

    inputs: tuple[Tensor, ...]
    state: dict[str, Tensor]
    ops: list[Op] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


def trace(model: nn.Module, inputs: Sequence[Tensor]) -> Trace:
    """Writes down one forward pass in evaluation mode; model and inputs stay as they are.

    Args:
        model: any module.
        inputs: what it is called with, a batch of one sample as a rule.

    Returns:
        The pass.

    Raises:
        InputError: the network cannot be called with these inputs.

    Example:
        >>> seen = trace(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), [torch.zeros(1, 4)])
        >>> [(op.module, str(op.func)) for op in seen.ops if op.func._opname in ("addmm", "relu")]
        [('0', 'aten.addmm.default'), ('1', 'aten.relu.default')]
        >>> seen.outputs["0"].shape
        torch.Size([1, 2])
    """
    try:
        with quiet_fakes() as fake:
            return _traced(model, inputs, fake_converter(fake))
    except Exception:  # the path depends on numbers, or an op has no fake form: once more with real ones
        try:
            return _traced(model, inputs, _as_copy)
        except Exception as error:
            raise _not_callable(inputs, error) from error


def _not_callable(inputs: Sequence[Tensor], error: Exception) -> InputError:
    shapes = ", ".join("x".join(map(str, x.shape[1:])) or "one number" for x in inputs)
    return InputError(
        f"inspect: the network cannot be called with a sample of shape {shapes} ({first_line(error)}). "
        "Give the shape that it is made for with --input."
    )


def materialized(model: nn.Module, inputs: Sequence[Tensor]) -> nn.Module:
    """The network itself, or, where layers learn their sizes from the first batch, a copy that has seen one.

    Args:
        model: any module; it stays as it is.
        inputs: a batch of one sample.

    Raises:
        InputError: the network cannot be called with these inputs.

    Example:
        >>> materialized(nn.LazyLinear(2), [torch.zeros(1, 5)])
        Linear(in_features=5, out_features=2, bias=True)
    """
    buffers = [buffer for buffer in model.buffers() if is_lazy(buffer)]
    if not buffers and not any(map(is_lazy, model.parameters())):
        return model
    new_buffer: Any = UninitializedBuffer  # they refuse to be copied
    blank = {id(buffer): new_buffer(device=buffer.device, dtype=buffer.dtype) for buffer in buffers}
    copied = copy.deepcopy(model, blank)
    try:
        with evaluating(copied), torch.no_grad():
            copied(*inputs)
    except Exception as error:
        raise _not_callable(inputs, error) from error
    return copied


def in_words(values: Any) -> str:
    """The shapes of the tensors in something, for an error.

    Example:
        >>> in_words([torch.zeros(2, 3), torch.zeros(2)]), in_words({"a": torch.tensor(1.0)}), in_words((None,))
        ('(2, 3), (2,)', 'a dict of ()', 'a NoneType')
    """
    if isinstance(values, Tensor):
        return f"{tuple(values.shape)}{' of complex numbers' * values.is_complex()}"
    if isinstance(values, list | tuple):
        return ", ".join(map(in_words, values))
    leaves = [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
    of = f" of {', '.join(map(in_words, leaves))}" if leaves else ""
    return f"a {type(values).__name__}{of}"


@contextmanager
def quiet_fakes() -> Iterator[FakeTensorMode]:
    """Tensors without numbers; what does not fit is raised as ever, and not written to the log as well."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    was_off, log.disabled = log.disabled, True
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            yield fake
    finally:
        log.disabled = was_off


def fake_converter(fake: FakeTensorMode) -> Callable[[Tensor], Tensor]:
    """What turns a tensor into one without numbers, if it is not one already."""
    return lambda tensor: tensor if fake.is_our_fake(tensor) else fake.from_tensor(tensor, static_shapes=True)


def _as_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def first_line(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says.

    Example:
        >>> first_line(ValueError("no such thing.")), first_line(KeyError())
        ('ValueError: no such thing', 'KeyError')
    """
    said = str(error).strip().split("\n")[0].rstrip(".")[:200]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _traced(model: nn.Module, inputs: Sequence[Tensor], convert: Callable[[Tensor], Tensor]) -> Trace:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    seen = Trace(inputs=tuple(map(convert, inputs)), state={name: convert(t) for name, t in named.items()})
    with ExitStack() as stack:
        running = stack.enter_context(module_names(model, seen))
        for context in (evaluating(model), plain_kernels(), torch.enable_grad(), _Recorder(seen.ops, running)):
            stack.enter_context(context)
        torch.func.functional_call(model, seen.state, seen.inputs)
    return seen


@contextmanager
def module_names(model: nn.Module, seen: Trace | None = None) -> Iterator[list[str]]:
    """The names of the modules that are running, innermost last; writes calls and outputs into a trace."""
    running: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: running.append(name)

    def leave(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            running.pop()
            if seen is not None:
                seen.calls[name] = seen.calls.get(name, 0) + 1
                tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
                seen.outputs.update({name: out for out in tensors[:1]})  # noqa: B035

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(enter(name), prepend=True).remove)
            stack.callback(module.register_forward_hook(leave(name), always_call=True).remove)
        yield running


@contextmanager
def evaluating(model: nn.Module, training: bool = False) -> Iterator[None]:
    """All modules in one mode for a while, each in its own again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Attention as products and softmax, instead of kernels that hide them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Recorder(TorchDispatchMode):
    """Writes every op into a list."""

    def __init__(self, ops: list[Op], running: list[str]) -> None:
        super().__init__()
        self._ops, self._running = ops, running

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        needs_grad = frozenset(
            id(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.requires_grad
        )
        out = func(*args, **kwargs)
        if func.namespace == "aten":
            module = self._running[-1] if self._running else ""
            self._ops.append(Op(func=func, args=args, kwargs=kwargs, out=out, module=module, needs_grad=needs_grad))
        return out


@contextmanager
def without_numbers() -> Iterator[None]:
    """Networks built inside hold shapes alone: at once, whatever their size.

    Example:
        >>> with without_numbers():
        ...     layer = nn.Linear(100_000, 100_000)
        >>> layer.weight.shape
        torch.Size([100000, 100000])
    """
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True), _Settled():
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")  # by copies of layers
        yield


class _Settled(TorchDispatchMode):
    """Answers "no" when an initialiser asks whether a number has to be drawn again."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype == torch.bool:
            return False
        return func(*args, **(kwargs or {}))
