"""A training step as one compiled program: losses, gradients, clipping and update of a block of members.

The step is traced once, as the user's function and the optimiser's update run it, into a graph of tensor operations,
and TorchInductor turns the graph into a few C++ kernels. What that saves is Python and memory: a third of an eager
step of 64 small MLPs is dispatch on one thread, and every gradient goes through memory several times.

Whatever the step reads and changes is an input of the graph: parameters, buffers, moments, options, the number of
the call and the batch. It writes in place, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.core.errors import StackError
from tenfold.optim.clipping import clipped
from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.stacking.forms import Members, PerMember, run_stacked
from tenfold.stacking.kernels import fuse_pooling, kept_bytes, say_nothing_of_cuda, with_own_products
from tenfold.stacking.layout import contiguous_view, lying_order, per_member_shape
from tenfold.stacking.tracing import tracing

_TRIED_BYTES = 512 << 20  # of inputs of which there may be another copy for a moment
_NO_CHECKS = {"size_asserts": False, "alignment_asserts": False}


class LargeBlockError(Exception):
    """Members that run better in smaller blocks; `kept_bytes` is what each keeps between forward and backward."""

    def __init__(self, kept_bytes: int) -> None:
        super().__init__(f"each member keeps {kept_bytes} bytes")
        self.kept_bytes = kept_bytes


class StepInputs(NamedTuple):
    """All that a step of a block of b members reads and changes.

    Attributes:
        parameters: by name, shape (b, ...), without a graph.
        buffers: likewise.
        keys: of the members' random streams, int64, shape (b,).
        moments: of each trained parameter, by name, the optimiser's state; tensors that lie as `contiguous_view` of
            it, and values a member.
        call: the number of the call, which random draws depend on; int64, shape ().
        steps: of each trained parameter, by name, how often it has moved, this step included; float64, shape (b,).
        options: for each group its options that are tensors, float64, shape (b,).
        max_norm: each member's gradient is clipped to this norm, shape (b,); empty for no clipping.
        batch: what the function gets besides the model; per-member parts hold b values.
    """

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    keys: Tensor
    moments: dict[str, dict[str, Tensor]]
    call: Tensor
    steps: dict[str, Tensor]
    options: list[list[Tensor]]
    max_norm: list[Tensor]
    batch: tuple[Any, ...]


class StepProgram:
    """The compiled step of a block of members.

    Args:
        members: whose step it is. Their tensors are inputs, but the attributes in which they differ are built in.
        function: `(model, *batch) -> loss`, a 0-dimensional tensor.
        optimizer: gives the update and the options that hold for all members.
        groups: for each of the optimiser's groups the names of the parameters that it moves.
        example: inputs; all later ones must have their shapes, strides and devices.
        marks: for each part of the batch whether it is one that holds a value a member.
        most_kept: bytes that the block's recurrent layers may keep between forward and backward, None for any number.

    Raises:
        StackError: the step does what a compiled program would not repeat.
        LargeBlockError: they keep more.
    """

    def __init__(
        self,
        members: Members,
        function: Callable[..., Any],
        optimizer: StackedOptimizer,
        groups: Sequence[Sequence[str]],
        example: StepInputs,
        marks: Sequence[bool],
        most_kept: int | None = None,
    ) -> None:
        self._call, self._values = members.call, members.values
        self._function, self._optimizer, self._groups = function, optimizer, groups
        self._marks = marks
        self._options = [split_options(group)[1] for group in optimizer.param_groups]
        leaves, self._tree = pytree.tree_flatten(example)
        graph = self._traced(leaves)
        if most_kept is not None and kept_bytes(graph) > most_kept:
            raise LargeBlockError(kept_bytes(graph) // len(members.keys_M))
        del self._call, self._function, self._optimizer  # programs are shared, and outlive who made them
        fuse_pooling(graph.graph)
        self._run = _compiled(with_own_products(graph), leaves)
        if sum(leaf.nbytes for leaf in leaves) < _TRIED_BYTES:
            with torch.no_grad():  # on copies: what cannot run must not have moved anybody
                self._run(*(leaf.clone() for leaf in leaves))

    def __call__(self, *leaves: Tensor) -> Tensor:
        """Takes the step on the leaves of `StepInputs`; returns the losses before it, shape (b,)."""
        with torch.no_grad():
            loss: Tensor = self._run(*leaves)[0]
        return loss

    def _traced(self, leaves: list[Any]) -> torch.fx.GraphModule:
        from torch.fx.experimental.proxy_tensor import make_fx  # a tenth of a second, for those who compile

        attributes = self._call.attributes
        before = attributes.snapshot()
        try:
            with self._optimizer.traced(), tracing():
                graph = make_fx(self._flat_step, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves)
            changed = attributes.changed(before)
        finally:
            attributes.restore(before)
        if changed:
            raise StackError(
                f"forward sets the attribute {changed[0]!r}, which a compiled program would not do again"
            )
        return graph

    def _flat_step(self, *leaves: Any) -> tuple[Tensor]:
        """The step; members whose loss is not finite stay where they are. The copies are none once compiled."""
        inputs = pytree.tree_unflatten(list(leaves), self._tree)
        trained = [inputs.parameters[name] for group in self._groups for name in group]
        written = [*map(contiguous_view, trained), *inputs.buffers.values()]
        before = [tensor.clone() for tensor in written]
        loss_M = self._step(inputs)
        is_finite_M = loss_M.isfinite()
        for tensor, old in zip(written, before, strict=True):
            tensor.copy_(torch.where(per_member_shape(is_finite_M, tensor), tensor, old))
        return (loss_M,)

    def _step(self, inputs: StepInputs) -> Tensor:
        names = [name for group in self._groups for name in group]
        leaves = {name: parameter.detach() for name, parameter in inputs.parameters.items()}
        for name in names:
            leaves[name].requires_grad_()
        members = Members(self._call, leaves, inputs.buffers, inputs.keys, self._values)
        marked = zip(inputs.batch, self._marks, strict=True)
        batch = tuple(PerMember(part) if own else part for part, own in marked)
        with torch.enable_grad():
            loss_M, replaced = run_stacked(members, self._function, batch, inputs.call)
            found = torch.autograd.grad(loss_M.sum(), [leaves[name] for name in names])
        gradients = clipped(found, *inputs.max_norm) if inputs.max_norm else found
        self._update(inputs, dict(zip(names, gradients, strict=True)))
        for name, buffer in replaced.items():
            inputs.buffers[name].copy_(buffer)
        return loss_M.detach()

    def _update(self, inputs: StepInputs, gradients: Mapping[str, Tensor]) -> None:
        for names, options, tensors in zip(self._groups, self._options, inputs.options, strict=True):
            states = {name: {**inputs.moments[name], "steps": inputs.steps[name]} for name in names}
            moves = [_move(inputs.parameters[name], gradients[name], states[name]) for name in names]
            self._optimizer.move(moves, options.with_tensors(tensors))
            for name in names:  # what the update set anew, instead of changing in place
                for key, old in inputs.moments[name].items():
                    if states[name][key] is not old:
                        old.copy_(states[name][key])


def _compiled(graph: torch.fx.GraphModule, leaves: list[Any]) -> Callable[..., Any]:
    import torch._inductor  # a second, for those who compile

    say_nothing_of_cuda()
    # With a context of its own, in which Inductor looks for the whole graph in its cache on the disk; and without its
    # own checks of what operators return, which take time and do not know those that return several tensors.
    return torch._inductor.standalone_compile(
        graph, leaves, dynamic_shapes="from_example_inputs", options={"config_patches": _NO_CHECKS}
    )


def _move(parameter: Tensor, gradient: Tensor, state: dict[str, Any]) -> Move:
    return Move(contiguous_view(parameter), gradient.permute(lying_order(parameter)).contiguous(), state)


class Options(NamedTuple):
    """A group's options without those that are tensors.

    Attributes:
        names: of all options.
        leaves: their values in a row, None where there is a tensor.
        tree: how the values nest.
    """

    names: tuple[str, ...]
    leaves: tuple[Any, ...]
    tree: Any

    def with_tensors(self, tensors: Sequence[Tensor]) -> dict[str, Any]:
        """The whole group, with these tensors in the empty places."""
        left = iter(tensors)
        values = [next(left) if leaf is None else leaf for leaf in self.leaves]
        return dict(zip(self.names, pytree.tree_unflatten(values, self.tree), strict=True))


def split_options(group: Mapping[str, Any]) -> tuple[list[Tensor], Options]:
    """A group's options, cut into tensors, which are inputs of a program, and the rest, which is built into it.

    A learning rate is always a tensor, because schedules move it.
    """
    values = {name: value for name, value in group.items() if name != "params"}
    if not isinstance(values["lr"], Tensor):
        device = group["params"][0].device
        values["lr"] = torch.full((len(group["params"][0]),), values["lr"], dtype=torch.float64, device=device)
    leaves, tree = pytree.tree_flatten(list(values.values()))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    return tensors, Options(tuple(values), tuple(None if isinstance(x, Tensor) else x for x in leaves), tree)
