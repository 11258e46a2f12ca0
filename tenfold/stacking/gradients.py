"""Losses and gradients of batches of one shape, step after step: the operators of one step, run anew.

As it comes, the step of ten small MLPs is half Python: mapping the loss over the members, and building the graph. A
step that comes back is recorded once, with its backward pass, and from then on its operators run as they are. What is
recorded is compared, bit for bit, with two steps as they come, and left alone where it differs; so it makes no
difference to a training when a step begins to be replayed, or whether it is.

Ten MLPs 64-128-128-10, batch 32, two CPU cores: 0.99 ms as it comes, 0.22 replayed. A step that they take in two
parts, because the last batch of some is a row longer: 2.4 ms as it comes, 0.8 replayed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from tenfold.core.errors import is_out_of_memory
from tenfold.stacking.coming_back import flattened, left_as_it_was, same_bits, versions_of
from tenfold.stacking.forms import Members, PerMember, run_alone, run_stacked
from tenfold.stacking.recorded import Program, draws, record, shorten, written
from tenfold.stacking.stack import Stack

_IN_PARTS, _SOON, _OFTEN = 2, 3, 7  # calls before steps in parts, the first shape, and others are recorded
_MOST_SHAPES = 64  # that are counted: where every step has another, none comes back
_TRIES = 3  # steps of a shape that are timed before it is known to take long
_LONG_S = 0.2  # steps that take longer are not worth it: nearly all of their time is arithmetic


Part = tuple[Tensor | None, tuple[Any, ...]]
"""Places of members, int64, shape (K,), and their batch; None for all members."""


@dataclass
class _Recorded:
    """A program, which of the gradients that it gives must be copied, and whether it is known to give the same."""

    program: Program
    copied: list[bool]
    is_proven: bool = False


class GradientReplay:
    """Gives members losses and gradients, as `Stack.each` and `Stack.backward` do, quicker where shapes come back.

    Args:
        stack: the members. After `keep`, and when other tensors take the place of buffers, programs are made anew.
        function: `(model, *batch) -> loss`, 0-dimensional. It must do the same at every call: what it reads besides
            the model's tensors and the batch (a Python number that changes, say) is seen once.
        parameters: the stacked parameters that get gradients.

    Attributes:
        is_on: whether calls may be replayed.

    Example:
        >>> import tenfold
        >>> stack = tenfold.stack([torch.nn.Linear(4, 1) for _ in range(3)])
        >>> losses = GradientReplay(stack, lambda model, x: model(x).mean(), stack.parameters())
        >>> losses(torch.ones(8, 4)).shape, stack.parameters()[0].grad.shape
        (torch.Size([3]), torch.Size([3, 1, 4]))
    """

    def __init__(self, stack: Stack, function: Callable[..., Tensor], parameters: Sequence[Tensor]) -> None:
        self._stack, self._function, self._parameters = stack, function, list(parameters)
        self.is_on = False
        self._forget()
        stack.follow(self)

    def keep(self, indices: Tensor) -> None:
        """Follows the stack when members leave; the stack calls it."""
        self._forget()

    def _forget(self) -> None:
        self._seen: dict[Hashable, int] = {}
        self._long: dict[Hashable, int] = {}
        self._recorded: dict[Hashable, _Recorded | None] = {}
        self._buffers: list[Tensor] = []
        self._memory: list[int] = []
        self._values: Mapping[str, Tensor] | None = None

    def __call__(self, *batch: Any, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Each member's loss, shape (M,), without a graph; the gradients are in `.grad`, or added to what is there.

        The losses are in memory of their own, be they a parameter itself, which moves.

        Args:
            batch: as for `Stack.each`.
            values: what the function gets before the batch, if anything: values of each member, shape (M,) each.
                Unlike a batch they are the same at every call, until members leave.
        """
        return self.in_parts([(None, batch)], values)

    def in_parts(self, parts: Sequence[Part], values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Likewise where not all members take one batch; what one part needs is let go of before the next.

        Args:
            parts: places and their batch; no place stands in two of them. The losses of members in none are 0.
            values: as for a call.
        """
        if not self.is_on or not self._may_be_replayed(parts, values):
            return self._as_it_comes(parts, values)
        leaves, shape = flattened(tuple(argument for _, batch in parts for argument in batch))
        if shape is None:
            return self._as_it_comes(parts, values)
        who = tuple(None if places is None else (len(batch), *places.tolist()) for places, batch in parts)
        key = (shape, who, torch.get_num_threads())
        recorded = self._recorded.get(key)
        if recorded is not None:
            return self._replay(recorded, leaves) if recorded.is_proven else self._try(key, parts, leaves)
        if key not in self._seen and len(self._seen) == _MOST_SHAPES:
            return self._as_it_comes(parts, values)
        self._seen[key] = self._seen.get(key, 0) + 1
        calls = _IN_PARTS if len(parts) > 1 else _SOON if next(iter(self._seen)) == key else _OFTEN
        is_time = self._seen[key] == calls
        return self._try(key, parts, leaves) if is_time else self._as_it_comes(parts, values)

    def _as_it_comes(self, parts: Sequence[Part], values: Mapping[str, Tensor] | None) -> Tensor:
        found = []
        for part in parts:
            loss_M = part_losses(self._stack, self._function, part, values)
            self._stack.backward(loss_M, inputs=self._parameters)
            found.append(loss_M.detach().clone())
        return found[0] if len(found) == 1 else torch.stack(found).sum(0)

    def _may_be_replayed(self, parts: Sequence[Part], values: Mapping[str, Tensor] | None) -> bool:
        buffers = [buffer for _, buffer in self._stack.named_buffers()]
        memory = [*map(Tensor.data_ptr, self._stack.parameters()), *map(Tensor.data_ptr, buffers)]
        if memory != self._memory or values is not self._values:
            self._forget()
            self._buffers, self._memory, self._values = buffers, memory, values
        present = sum(len(self._stack) if places is None else len(places) for places, _ in parts)
        if present < len(self._stack) or (parts[0][0] is not None and buffers):
            return False
        return (
            self._stack.counts_alike
            and not (self._stack.form == "serial" and len(self._stack) > 1)
            and all(parameter.grad is None for parameter in self._parameters)
        )

    def _replay(self, recorded: _Recorded, leaves: list[Any]) -> Tensor:
        program, number = recorded.program, self._stack.next_call()
        if program.is_read[0]:
            number = torch.tensor(number, device=self._stack.device)
        loss_M, *gradients = program.run(*program.known, number, *leaves)  # of tensors without a graph
        for parameter, gradient, is_copied in zip(self._parameters, gradients, recorded.copied, strict=True):
            if is_copied and gradient is not None:
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
        return loss_M if program.is_fresh[0] else loss_M.clone()

    # -- recording -----------------------------------------------------------------------------------------

    def _try(self, key: Hashable, parts: Sequence[Part], leaves: list[Any]) -> Tensor:
        """Takes a step as it comes, records it if that is yet to be done, and looks whether a replay gives the same.

        A second batch must give the same, too: what is done may depend on the numbers in it.
        """
        recorded = self._recorded.get(key)
        self._recorded[key] = None
        counts = self._stack.call_counts()
        number = self._stack.next_call()
        self._stack.set_call_counts(counts)
        before, versions = [buffer.clone() for buffer in self._buffers], self._versions(leaves)
        began = time.perf_counter()
        loss_M = self._as_it_comes(parts, self._values)
        took = time.perf_counter() - began
        if self._versions(leaves) != versions:
            return loss_M
        if took > _LONG_S:
            self._put_off(key)
            return loss_M
        try:
            found = recorded or self._program(parts, leaves)
            if found is not None and self._gives_the_same(found, number, leaves, loss_M, before):
                found.is_proven = found is recorded
                self._recorded[key] = found
        except Exception as error:
            if is_out_of_memory(error):
                raise
        return loss_M

    def _put_off(self, key: Hashable) -> None:
        """What takes long may have been held up; that it takes long is believed at the third time."""
        self._long[key] = self._long.get(key, 0) + 1
        if self._long[key] < _TRIES:
            self._seen[key] = 0
            del self._recorded[key]

    def _versions(self, leaves: list[Any]) -> list[int]:
        """How often parameters and batch have been changed in place: a forward that does so is left alone."""
        return versions_of((*self._stack.parameters(), *leaves))

    def _program(self, parts: Sequence[Part], leaves: list[Any]) -> _Recorded | None:
        members = self._stack.members_at(slice(0, len(self._stack)))
        if members.call.draws_in_python:
            return None
        parameters, buffers = list(members.parameters.values()), list(members.buffers.values())
        everywhere = [places.to(self._stack.device) for places, _ in parts if places is not None]
        fixed = [*everywhere, members.keys_M, *(self._values or {}).values()]
        number = torch.tensor(0, device=self._stack.device)
        cuda = [self._stack.device] if self._stack.device.type == "cuda" else []
        with left_as_it_was(members) as changed, torch.random.fork_rng(cuda):
            copies = [buffer.clone() for buffer in buffers]
            nodes = record(self._flat(members, parts), [*parameters, *copies, *fixed, number, *leaves])
            if changed():
                return None
        if not _can_be_replayed(nodes, len(parameters), len(buffers)):
            return None
        program = shorten(nodes, [*parameters, *buffers], fixed)
        return _Recorded(program, [not fresh for fresh in program.is_fresh[1:]])

    def _flat(self, members: Members, parts: Sequence[Part]) -> Callable[..., list[Any]]:
        """The step as a function of a flat row: parameters, buffers, places, keys, values, number, batches."""
        arguments = [argument for _, batch in parts for argument in batch]
        marks = [isinstance(argument, PerMember) for argument in arguments]
        _, tree = pytree.tree_flatten(
            [own.value if mark else own for own, mark in zip(arguments, marks, strict=True)]
        )
        trained = self._names_of(self._parameters)
        attributes = [_at(members.values, None if places is None else places.cpu()) for places, _ in parts]

        def flat(*tensors: Tensor) -> list[Any]:
            row = iter(tensors)
            parameters = {name: next(row).detach() for name in members.parameters}
            buffers = {name: next(row) for name in members.buffers}
            everywhere = [None if places is None else next(row) for places, _ in parts]
            keys_M = next(row)
            values = None if self._values is None else {name: next(row) for name in self._values}
            number = next(row)
            whole = zip(pytree.tree_unflatten(list(row), tree), marks, strict=True)
            batches = iter([PerMember(argument) if mark else argument for argument, mark in whole])
            sums = _Sums(len(keys_M), [parameters[name] for name in trained])
            for places, own_attributes, (_, batch) in zip(everywhere, attributes, parts, strict=True):
                own_keys = keys_M if places is None else keys_M.index_select(0, places)
                own = Members(members.call, _at(parameters, places), buffers, own_keys, own_attributes)
                first = [] if values is None else [PerMember(_at(values, places))]
                sums.add(places, *self._losses(own, (*first, *islice(batches, len(batch))), number, trained))
            return sums.outputs()

        return flat

    def _losses(
        self, members: Members, batch: tuple[Any, ...], number: Tensor, trained: Sequence[str]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The losses of some members, and the gradients of their parameters."""
        for name, parameter in self._stack.named_parameters():
            if parameter.requires_grad:
                members.parameters[name].requires_grad_()
        run = run_alone if self._stack.form == "serial" else run_stacked
        with torch.enable_grad():
            loss_M, replaced = run(members, self._function, batch, number)
            if replaced:
                raise RuntimeError("forward sets buffers anew")
            wanted = [members.parameters[name] for name in trained]
            return loss_M.detach(), torch.autograd.grad(loss_M.sum(), wanted, allow_unused=True)

    def _names_of(self, parameters: Sequence[Tensor]) -> list[str]:
        names = {id(parameter): name for name, parameter in self._stack.named_parameters()}
        return [names[id(parameter)] for parameter in parameters]

    @torch.no_grad()
    def _gives_the_same(
        self, found: _Recorded, number: int, leaves: list[Any], loss_M: Tensor, before: list[Tensor]
    ) -> bool:
        """Whether a replay from the state before a step gives its losses, gradients and buffers, bit for bit."""
        after = [buffer.clone() for buffer in self._buffers]
        try:
            for buffer, old in zip(self._buffers, before, strict=True):
                buffer.copy_(old)
            here = torch.tensor(number, device=self._stack.device)
            again_M, *gradients = found.program.run(*found.program.known, here, *leaves)
            for place, (parameter, gradient) in enumerate(zip(self._parameters, gradients, strict=True)):
                if not same_bits(parameter.grad, gradient):
                    return False
                if parameter.grad is not None and gradient is not None:
                    found.copied[place] |= _steps(parameter.grad) != _steps(gradient)
            return same_bits(loss_M, again_M) and all(map(same_bits, self._buffers, after))
        finally:
            for buffer, new in zip(self._buffers, after, strict=True):
                buffer.copy_(new)


class _Sums:
    """Losses and gradients of parts, put together as autograd does it: added to zeros."""

    def __init__(self, members: int, parameters: Sequence[Tensor]) -> None:
        self._members, self._parameters = members, parameters
        self._loss_M: Tensor | None = None
        self._gradients: list[Tensor | None] = [None for _ in parameters]

    def add(self, places: Tensor | None, losses: Tensor, gradients: Sequence[Tensor | None]) -> None:
        """Adds the losses and gradients of the members at these places; of all, which are the only ones, if None."""
        if places is None:
            self._loss_M, self._gradients = losses, list(gradients)
            return
        if self._loss_M is None:
            self._loss_M = losses.new_zeros(self._members)
        self._loss_M.index_copy_(0, places, losses)
        for place, gradient in enumerate(gradients):
            if gradient is not None:
                total = self._gradients[place]
                total = torch.zeros_like(self._parameters[place]) if total is None else total
                self._gradients[place] = total.index_add_(0, places, gradient)

    def outputs(self) -> list[Any]:
        """The losses and then the gradients, None where there is none."""
        return [self._loss_M, *self._gradients]


def part_losses(
    stack: Stack, function: Callable[..., Tensor], part: Part, values: Mapping[str, Tensor] | None
) -> Tensor:
    """The losses of the members of a part, with their graph, shape (M,); 0 for the others.

    Args:
        stack: the members.
        function: as in `GradientReplay`.
        part: places, or None for all members, and their batch.
        values: as in `GradientReplay`.
    """
    places, batch = part
    if places is not None:
        places = places.to(stack.device)
    first = () if values is None else (PerMember(_at(values, places)),)
    losses: Tensor = stack.each(function, *first, *batch, places=places)
    return losses if places is None else losses.new_zeros(len(stack)).index_copy(0, places, losses)


def _at(tensors: Mapping[str, Tensor], places: Tensor | None) -> dict[str, Tensor]:
    """The rows of some members."""
    return {name: own if places is None else own.index_select(0, places) for name, own in tensors.items()}


def _can_be_replayed(nodes: fx.Graph, num_parameters: int, num_buffers: int) -> bool:
    """Whether nothing is drawn from PyTorch's generators, and nothing but buffers is written from outside."""
    if draws(nodes):
        return False
    places = [node for node in nodes.nodes if node.op == "placeholder"]
    allowed = set(places[num_parameters : num_parameters + num_buffers])
    return all(node.op == "call_function" or node in allowed for node in written(nodes))


def _steps(tensor: Tensor) -> list[int]:
    """The strides that count."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
