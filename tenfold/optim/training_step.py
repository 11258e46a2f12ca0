"""One training step in one call, as it comes or compiled: `each`, `zero_grad`, `backward`, clipping and `step`."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Hashable
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.optim.clipping import clip_grad_norm_
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.program import LargeBlockError, StepInputs, StepProgram, split_options
from tenfold.stacking import PerMember, Stack, structure_of
from tenfold.stacking.forms import Members, user_line
from tenfold.stacking.layout import take_members

_BLOCK_BYTES = 8 << 20  # of weights, gradients and two moments: larger blocks leave the caches during a step
_KEPT_BYTES = 12 << 20  # between an LSTM's forward and backward pass: 16 members in blocks of 4 take 0.9 of the time
_OFTEN = 20  # a shape of batches that comes back so often is worth a program of its own

Programs = dict[Hashable, StepProgram]


class CompileFallbackWarning(UserWarning):
    """A step that was to be compiled runs as it comes."""


class _Block(NamedTuple):
    """Neighbours among the members, and the inputs of their step that stay the same tensors."""

    place: slice
    members: Members
    moments: dict[str, dict[str, Tensor]]
    leaves: list[Tensor]


class TrainingStep:
    """A training step of all members of a stack in one call.

    Compiled, the step is traced once and becomes a few C++ kernels: on two CPU cores 64 small MLPs take half the time
    of the same step as it comes, and a single one a quarter. Compiling takes about 10 seconds for a small network
    (less when a like one has been compiled on this machine before) and needs a C++ compiler. Results differ by
    rounding alone.

    A compiled step does not repeat what the trace cannot see: forward's side effects in Python, and Python values
    outside of the model that change from step to step. A forward that sets attributes of its modules is not compiled.
    A compiled step leaves members whose loss is not finite where they are: parameters and buffers stay bit for bit.

    Args:
        stack: the members.
        loss: `(model, *batch) -> loss`, a 0-dimensional tensor; what `Stack.each` takes.
        optimizer: the stacked optimiser of the parameters to train; others get no gradient.
        max_norm: each member's gradient is clipped to this 2-norm: a number > 0, or one a member, shape (M,);
            infinite for members that are not clipped; None for no clipping at all.
        compiled: whether to compile. The first step, which makes the optimiser's moments, and batches of a shape that
            comes seldom (a last small one) run as they come all the same.
        programs: a dict that several steps share, so that what is alike is compiled once. Their loss functions and
            the classes of their optimisers must be the same.

    Attributes:
        compiled: whether steps are compiled from the next one on.
        block_members: how many members a program takes at once, a power of two, for members whose step is long; the
            rest of them is cut into smaller powers of two. None for as many as the caches hold.
        fallback: why the step is not compiled although it was asked for, in one sentence; None otherwise.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=[0.1, 0.01, 0.001])
        >>> step = TrainingStep(stack, lambda model, x: model(x).square().mean(), optimizer, max_norm=1.0)
        >>> step(torch.ones(8, 4)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        stack: Stack,
        loss: Callable[..., Tensor],
        optimizer: StackedOptimizer,
        *,
        max_norm: float | Tensor | None = None,
        compiled: bool = False,
        programs: Programs | None = None,
    ) -> None:
        self.stack, self.loss, self.optimizer, self.max_norm = stack, loss, optimizer, max_norm
        self.compiled = compiled
        self.block_members: int | None = None
        self.fallback: str | None = None
        self._programs: Programs = {} if programs is None else programs
        self._trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._kept_bytes = 0  # of a member, as far as that decides about blocks
        self._names = {id(parameter): name for name, parameter in stack.named_parameters()}
        self._forget()
        stack.follow(self)

    def __call__(self, *batch: Any, as_it_comes: Callable[..., Tensor] | None = None) -> Tensor:
        """Takes the step; returns each member's loss before it, shape (M,), without a graph.

        Args:
            batch: what the loss gets besides the model.
            as_it_comes: how the step is taken if it is not compiled, `(*batch) -> loss_M`, for callers who do more
                in it; plain losses, gradients, clipping and update by default.
        """
        if self.compiled and self.optimizer.num_steps > 0 and self.stack.counts_alike:
            programs = self._programs_of(batch)
            if programs is not None:
                return self._run(programs, batch)
        return (as_it_comes or self._as_it_comes)(*batch)

    def keep(self, indices: Tensor) -> None:
        """Follows the stack when members leave; the stack calls it."""
        if isinstance(self.max_norm, Tensor) and self.max_norm.dim() > 0:
            self.max_norm = take_members(self.max_norm, indices)
        self._forget()

    def _forget(self) -> None:
        self._blocks: list[_Block] = []
        self._owners: list[Tensor] = []
        self._seen: dict[Hashable, int] = {}
        self._at_hand: dict[Hashable, list[StepProgram]] = {}

    def _as_it_comes(self, *batch: Any) -> Tensor:
        loss_M: Tensor = self.stack.each(self.loss, *batch)
        self.optimizer.zero_grad()
        self.stack.backward(loss_M, inputs=self._trained)
        if self.max_norm is not None:
            clip_grad_norm_(self._trained, self.max_norm)
        self.optimizer.step()
        return loss_M.detach()

    # -- compiled ------------------------------------------------------------------------------------------

    def _programs_of(self, batch: tuple[Any, ...]) -> list[StepProgram] | None:
        """The blocks' programs for batches like this one; None where the step has to run as it comes."""
        shape = _shape_of(batch)
        if shape is None or not self._is_worth_it(shape):
            return None
        self._refresh_blocks()
        built_in = tuple(split_options(group)[1][:2] for group in self.optimizer.param_groups)
        key = (shape, built_in, torch.get_num_threads())
        if key not in self._at_hand:
            try:
                self._at_hand[key] = [self._program(key, block, batch) for block in self._blocks]
            except LargeBlockError as large:
                self._kept_bytes, self._blocks = large.kept_bytes, []
                return self._programs_of(batch)
            except Exception as error:
                self._give_up(error)
                return None
        return self._at_hand[key]

    def _program(self, key: Hashable, block: _Block, batch: tuple[Any, ...]) -> StepProgram:
        """The program of a block: one is compiled for all blocks that are as large."""
        trained = tuple(map(tuple, self._groups()))
        shared_key = (key, self._kind(block), trained, self.max_norm is not None)
        if shared_key not in self._programs:
            self._programs[shared_key] = self._compile(block, batch)
        return self._programs[shared_key]

    def _is_worth_it(self, shape: Hashable) -> bool:
        """The first shape of batches that comes is, another one if it comes often."""
        self._seen[shape] = self._seen.get(shape, 0) + 1
        return self._seen[shape] >= _OFTEN or next(iter(self._seen)) == shape

    def _kind(self, block: _Block) -> Hashable:
        """What members must share to be seen by one program."""
        own = block.members
        dtypes = tuple(parameter.dtype for parameter in own.parameters.values())
        differences = tuple((place, tuple(value.tolist())) for place, value in own.values.items())
        return structure_of(own.call.model), dtypes, len(own.keys_M), str(self.stack.device), differences

    def _refresh_blocks(self) -> None:
        """Cuts the members into blocks anew if a tensor of theirs is not the one it was (a state was loaded, say)."""
        owners = self._tensors()
        unchanged = len(owners) == len(self._owners) and all(map(operator.is_, owners, self._owners))
        if self._blocks and unchanged:
            return
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if name != "steps" and not isinstance(value, Tensor):
                    state[name] = torch.full((len(self.stack),), value, dtype=torch.float64, device=self.stack.device)
        self._owners, self._at_hand = self._tensors(), {}
        starts = list(accumulate(self._block_sizes(), initial=0))
        self._blocks = [self._block(slice(*ends)) for ends in pairwise(starts)]

    def _tensors(self) -> list[Any]:
        """What the blocks are views of."""
        moments = [value for state in self.optimizer.state.values() for key, value in state.items() if key != "steps"]
        return [*dict(self.stack.named_buffers()).values(), *moments]

    def _block_sizes(self) -> list[int]:
        """How many members each block has.

        Of members whose step is long few: their activations stay in the cache, and a handful of programs serves as
        many as there are, before and after some leave. Otherwise a divisor of the number of members, such that a
        block's weights and moments stay in the cache.
        """
        members = len(self.stack)
        if self.stack.differs:
            return [members]  # a program with their differences built in
        if self.stack.form == "serial":
            return [1] * members
        if self.block_members is not None and not self._kept_bytes:
            full, rest = divmod(members, self.block_members)
            pieces = [1 << bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]
            return [self.block_members] * full + pieces
        bytes_a_member = max(4 * self.stack.memory_bytes // members, 1)
        most = max(min(_BLOCK_BYTES // bytes_a_member, _KEPT_BYTES // max(self._kept_bytes, 1)), 1)
        divisors = [size for size in range(1, members + 1) if members % size == 0 and size <= most]
        size = divisors[-1] if 4 * divisors[-1] >= min(most, members) else members
        return [size] * (members // size)

    def _block(self, place: slice) -> _Block:
        part = self.stack.members_at(place)
        moments = {
            self._names[id(parameter)]: {key: value[place] for key, value in state.items() if key != "steps"}
            for parameter, state in self.optimizer.state.items()
        }
        leaves = pytree.tree_leaves((part.parameters, part.buffers, part.keys_M, moments))
        return _Block(place, part, moments, leaves)

    def _compile(self, block: _Block, batch: tuple[Any, ...]) -> StepProgram:
        _, parameters, buffers, keys, _ = block.members
        first = block.place
        steps, options, max_norm = pytree.tree_map(lambda value_M: value_M[first], self._values())
        marks = [isinstance(argument, PerMember) for argument in batch]
        own = tuple(_part(argument, first) for argument in batch)
        call = torch.tensor(0, device=self.stack.device)
        example = StepInputs(parameters, buffers, keys, block.moments, call, steps, options, max_norm, own)
        divides = len(block.members.keys_M) > 1 and not (self.stack.differs or self._kept_bytes)
        most_kept = _KEPT_BYTES if divides else None
        return StepProgram(block.members, self.loss, self.optimizer, self._groups(), example, marks, most_kept)

    def _groups(self) -> list[list[str]]:
        """For each of the optimiser's groups the names of the parameters that it moves."""
        return [
            [self._names[id(parameter)] for parameter in group["params"] if parameter in self.optimizer.state]
            for group in self.optimizer.param_groups
        ]

    def _run(self, programs: list[StepProgram], batch: tuple[Any, ...]) -> Tensor:
        self.optimizer.zero_grad()
        self.optimizer.num_steps += 1
        for state in self.optimizer.state.values():
            state["steps"] = state["steps"] + 1
        passing = self._passing(self.stack.next_call(), batch)
        losses = [
            program(*block.leaves, *leaves)
            for program, block, leaves in zip(programs, self._blocks, passing, strict=True)
        ]
        return losses[0] if len(losses) == 1 else torch.cat(losses)

    def _passing(self, number: int, batch: tuple[Any, ...]) -> list[tuple[Tensor, ...]]:
        """For each block the leaves of `StepInputs` that are other tensors at every step, in its order."""
        count, sizes = len(self._blocks), [len(block.members.keys_M) for block in self._blocks]
        columns: list[Any] = [(torch.tensor(number, device=self.stack.device),) * count]
        columns += [value_M.split(sizes) for value_M in pytree.tree_leaves(self._values())]
        for argument in batch:
            if isinstance(argument, PerMember):
                columns += [leaf.split(sizes) for leaf in pytree.tree_leaves(argument.value)]
            else:
                columns += [(leaf,) * count for leaf in pytree.tree_leaves(argument)]
        return list(zip(*columns, strict=True))

    def _values(self) -> tuple[dict[str, Tensor], list[list[Tensor]], list[Tensor]]:
        """Ages, options and bounds, each of shape (M,)."""
        members, device = len(self.stack), self.stack.device
        ages: dict[int, Tensor] = {}
        steps = {}
        for parameter, state in self.optimizer.state.items():
            age = state["steps"]
            if not isinstance(age, Tensor):
                if age not in ages:
                    ages[age] = torch.full((members,), float(age), dtype=torch.float64, device=device)
                age = ages[age]
            steps[self._names[id(parameter)]] = age
        options = [split_options(group)[0] for group in self.optimizer.param_groups]
        if self.max_norm is None:
            return steps, options, []
        bound = torch.as_tensor(self.max_norm, dtype=torch.float64, device=device)
        return steps, options, [bound.expand(members)]

    def _give_up(self, error: Exception) -> None:
        if "allocate memory" in str(error) or isinstance(error, torch.OutOfMemoryError | MemoryError):
            raise error
        self.compiled = False
        self.fallback = f"The training step runs as it comes, because it cannot be compiled: {_reason(error)}."
        warnings.warn(self.fallback, CompileFallbackWarning, stacklevel=4)


def _part(argument: Any, place: slice) -> Any:
    """What a block of members sees of an argument of the step."""
    return pytree.tree_map(lambda leaf: leaf[place], argument.value) if isinstance(argument, PerMember) else argument


def _shape_of(batch: tuple[Any, ...]) -> Hashable | None:
    """What batches must share to be seen by one program; None for those that hold something else than tensors."""
    values = [(a.value, True) if isinstance(a, PerMember) else (a, False) for a in batch]
    leaves, tree = pytree.tree_flatten([value for value, _ in values])
    if not all(isinstance(leaf, Tensor) and not leaf.requires_grad for leaf in leaves):
        return None
    shapes = tuple((leaf.shape, leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves)
    return shapes, str(tree), tuple(marked for _, marked in values)


def _reason(error: Exception) -> str:
    """The first line of an error of the compiler, with the line of the user's code where there is one."""
    line = str(error).strip().split("\n")[0].rstrip(".")
    if "InvalidCxxCompiler" in type(error).__name__ or "No working C++ compiler" in str(error):
        return "no working C++ compiler was found (install g++ or clang++)"
    return f"{line} (at {user_line(error)})"
