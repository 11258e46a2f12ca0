"""The two forms in which a function of (model, *batch) runs for all members: as one program, or one by one.

Both read the same stacked tensors and apply the same random rules, so that a member cannot tell them apart.
"""

from __future__ import annotations

import contextlib
import linecache
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.distributions import Distribution
from torch.func import vmap
from torch.utils import _pytree as pytree

from tenfold.core.errors import StackError
from tenfold.core.seeds import derive_seed
from tenfold.stacking.attributes import PlainAttributes, Snapshot
from tenfold.stacking.python_draws import DRAWN, drawing_from, refusing_draws
from tenfold.stacking.reached import Noted, OwnSlices
from tenfold.stacking.rules import RANDOM, STACKED, OneByOneError, Rules
from tenfold.stacking.streams import streams_of
from tenfold.stacking.swapping import TensorPlaces
from tenfold.stacking.values import MemberNumber, cumulative_norms

Tensors = Mapping[str, Tensor]

BATCH_CHANGED = (
    "each: the function changes its batch in place, so each member would see what the one before it left. "
    "Write x = x - mean instead of x -= mean, or clone the batch first."
)
CHECKPOINTED = (
    "each: activation checkpointing and other saved-tensor hooks run the model again in backward, when the members' "
    "parameters are no longer in it. Leave torch.utils.checkpoint out of models that stand in a stack."
)
SHARED_TENSOR = (
    "each: forward changes the tensor in the attribute {!r} in place, which all members have in common. "
    "Register it as a buffer: self.register_buffer(name, tensor)."
)
MEMBER_RAISED = (
    "each: it was member {} that raised this, and all stop with it. A check of one member's numbers (an assert, a "
    "range) is better made on what each() returns."
)
INSIDE_PYTORCH = "inside PyTorch"
_NOT_THE_USERS = (
    *(Path(torch.__file__).parent, Path(__file__).parent, Path(__file__).parent.parent / "optim"),
    Path(contextlib.__file__),
)


class PerMember:
    """Marks an argument of `Stack.each` as holding one value a member along dimension 0; see `per_member`."""

    def __init__(self, value: Any) -> None:
        self.value = value


def per_member(value: Any) -> Any:
    """Marks a batch as one a member: tensors of shape (M, ...) of which member i sees slice i.

    Args:
        value: a tensor, or a nest of lists, tuples and dicts of tensors, each of shape (M, ...).

    Returns:
        The mark, to be passed to `Stack.each`. Without it every member sees the whole argument.

    Example:
        >>> import tenfold
        >>> stack = tenfold.stack([nn.Linear(2, 1), nn.Linear(2, 1)])
        >>> x_MBD = torch.zeros(2, 5, 2)
        >>> stack.each(lambda model, x: model(x).sum(), tenfold.per_member(x_MBD)).shape
        torch.Size([2])
    """
    return PerMember(value)


class MemberCall:
    """Runs `function(model, *batch)` with a member's tensors in the model.

    The function gets the real model, with all its methods and parts.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.attributes = PlainAttributes(model)
        self.stand_ins = cumulative_norms(model)
        self.draws_in_python = False
        self.draws_from_torch = False
        self._places = TensorPlaces(model)

    def run(
        self,
        function: Callable[..., Any],
        batch: tuple[Any, ...],
        parameters: Tensors,
        buffers: Tensors,
        values: Mapping[str, Any],
    ) -> tuple[Any, dict[str, Tensor]]:
        """One member's call: the function's value, and the buffers that it replaced instead of changing in place."""
        with self._places.holding(parameters, buffers, values):
            output = function(self.model, *batch)
            self._places.check(parameters)
            return output, self._places.replaced(buffers)


def _split_batch(batch: tuple[Any, ...]) -> tuple[list[Any], Callable[[list[Any]], tuple[Any, ...]]]:
    """The per-member arguments, and a function that puts one member's share back among the shared ones."""
    places = [place for place, argument in enumerate(batch) if isinstance(argument, PerMember)]

    def assemble(own: list[Any]) -> tuple[Any, ...]:
        whole = list(batch)
        for place, argument in zip(places, own, strict=True):
            whole[place] = argument
        return tuple(whole)

    return [batch[place].value for place in places], assemble


class Members(NamedTuple):
    """What a stack hands to a form: the model that all run through, and their stacked tensors.

    Attributes:
        call: runs one member.
        parameters: by name, each of shape (M, ...).
        buffers: likewise.
        keys_M: of the members' random streams, int64, shape (M,).
        values: the attributes in which the members differ, by place, float64 on the CPU, each of shape (M,).
    """

    call: MemberCall
    parameters: Tensors
    buffers: Tensors
    keys_M: Tensor
    values: Tensors


class Around(NamedTuple):
    """What a stack hands to a form about the call.

    Attributes:
        is_first: whether the function has not run like this before; then more is looked at.
        noted: where a backward pass notes which members it reaches.
        before: the attributes of the model before the call.
    """

    is_first: bool = False
    noted: Noted | None = None
    before: Snapshot | None = None


NOTHING_KNOWN = Around()
_NOTHING = nullcontext()
_beside: ContextVar[bool] = ContextVar("beside", default=False)

Outcome = tuple[Any, Tensors]
"""What the function returned, with the member axis in front, and the buffers that it set anew."""


def run_stacked(
    members: Members,
    function: Callable[..., Any],
    batch: tuple[Any, ...],
    step: int | Tensor,
    around: Around = NOTHING_KNOWN,
) -> Outcome:
    """All members as one program, by `torch.vmap` and the rules.

    The number of the step is one for all, or int64 of shape (M,).

    vmap takes a flat row of tensors: nests cost it more than a small model's forward pass.
    """
    call, parameters, buffers, keys_M, values = members
    if call.draws_in_python:
        raise OneByOneError(DRAWN)
    own, assemble = _split_batch(batch)
    leaves, tree = pytree.tree_flatten(own)
    replaced_names: list[str] = []
    numbers = {place: value.tolist() for place, value in values.items()}
    fixed = (*parameters.values(), *buffers.values(), *(value.to(keys_M.device) for value in values.values()))

    def member(key: Tensor, own_step: Any, *tensors: Tensor) -> Any:
        own_parameters = dict(zip(parameters, tensors, strict=False))
        own_buffers = dict(zip(buffers, tensors[len(parameters) :], strict=False))
        own_numbers = tensors[len(parameters) + len(buffers) : len(fixed)]
        held: dict[str, Any] = dict(call.stand_ins)
        for (place, everyones), number in zip(numbers.items(), own_numbers, strict=True):
            held[place] = MemberNumber(everyones, number)
        rest = list(tensors[len(fixed) :])
        assembled = assemble(pytree.tree_unflatten(rest, tree)) if leaves else batch
        with streams_of(key, own_step):
            output, replaced = call.run(function, assembled, own_parameters, own_buffers, held)
        replaced_names.extend(replaced)
        return (output, *replaced.values()) if replaced else output

    watched = refusing_draws() if around.is_first else _NOTHING
    with watched, Rules(RANDOM, STACKED), disable_saved_tensors_hooks(CHECKPOINTED), _Unhindered():
        if isinstance(step, Tensor) and step.dim() > 0:
            result = vmap(member)(keys_M, step, *fixed, *leaves)
        else:
            result = vmap(lambda key, *tensors: member(key, step, *tensors))(keys_M, *fixed, *leaves)
    if not replaced_names:
        return result, {}
    return result[0], dict(zip(replaced_names, result[1:], strict=True))


def run_serial(
    members: Members,
    function: Callable[..., Any],
    batch: tuple[Any, ...],
    step: int | Tensor,
    around: Around = NOTHING_KNOWN,
) -> Outcome:
    """The members one after another, each on its slice of the stacked tensors."""
    steps = step.tolist() if isinstance(step, Tensor) else [step] * len(members.keys_M)
    call, parameters, buffers, keys_M, values = members
    own, assemble = _split_batch(batch)
    leaves, tree = pytree.tree_flatten(own)
    is_alone = not _beside.get()
    slices = _slices(parameters, around.noted)
    before, versions = around.before or call.attributes.snapshot(), batch_versions(batch)
    seeds_python = is_alone and (around.is_first or call.draws_in_python)
    forked = torch.random.fork_rng(_cuda_of(keys_M)) if is_alone else _NOTHING
    results: list[Any] = []
    left: Mapping[Any, Any] = {}
    first_left = left
    with forked, disable_saved_tensors_hooks(CHECKPOINTED), _Unhindered():
        for i, key in enumerate(keys_M):
            if i > 0:
                _refuse_shared_changes(call.attributes, before, batch, versions)
            if left:
                call.attributes.put_back(left, before)
            mine = pytree.tree_unflatten([leaf[i] for leaf in leaves], tree)
            own_parameters = {name: parts[i] for name, parts in slices.items()}
            # by .data, so that autograd counts the changes of each member's part on its own
            own_buffers = {name: tensor.data[i] for name, tensor in buffers.items()}
            own_values = {place: float(value[i]) for place, value in values.items()}
            try:
                with _drawing_as(key, steps[i], seeds_python, is_alone) as drew:
                    results.append(call.run(function, assemble(mine), own_parameters, own_buffers, own_values))
                    if around.is_first and is_alone:
                        call.draws_from_torch |= _has_drawn(key, steps[i])
                    call.draws_in_python |= drew()
            except Exception as error:
                if len(keys_M) > 1:
                    error.add_note(MEMBER_RAISED.format(i))
                raise
            left = call.attributes.left(before)
            first_left = left if i == 0 else first_left
            call.attributes.note_differences(first_left, left, before)
    return pytree.tree_map(_stack_results, *results)


def run_alone(members: Members, function: Callable[..., Any], batch: tuple[Any, ...], step: int | Tensor) -> Outcome:
    """A stack of one member as `run_serial` runs it, where the operators are recorded: no generator is set."""
    call, parameters, buffers, keys_M, values = members
    own, assemble = _split_batch(batch)
    mine = pytree.tree_map(lambda leaf: leaf[0], own)
    own_parameters = {name: tensor.unbind(0)[0] for name, tensor in parameters.items()}
    own_buffers = {name: tensor[0] for name, tensor in buffers.items()}
    own_values = {place: float(value[0]) for place, value in values.items()}
    with streams_of(keys_M[0], step), Rules(RANDOM), disable_saved_tensors_hooks(CHECKPOINTED), _Unhindered():
        output, replaced = call.run(function, assemble(mine), own_parameters, own_buffers, own_values)
    return pytree.tree_map(_stack_results, (output, replaced))


def _slices(parameters: Tensors, noted: Noted | None) -> dict[str, Sequence[Tensor]]:
    """Each member's part of every parameter; where there is a graph, one that knows which members it reaches."""
    return {
        name: tensor.unbind(0)
        if noted is None or len(tensor) == 1 or not (tensor.requires_grad and torch.is_grad_enabled())
        else OwnSlices.apply(tensor, noted)
        for name, tensor in parameters.items()
    }


def _refuse_shared_changes(
    attributes: PlainAttributes, before: Snapshot, batch: tuple[Any, ...], versions: list[int]
) -> None:
    """What one member has changed in place, cannot be put back, and the next would see."""
    changed = attributes.changed_tensors(before)
    if changed:
        raise StackError(SHARED_TENSOR.format(changed[0]))
    if batch_versions(batch) != versions:
        raise StackError(BATCH_CHANGED)


class _Unhindered:
    """A block without what would stop all members for the sake of one.

    `torch.distributions` refuses a member's NaN by an error, and vmap tells by a warning where it is slow, which is
    one where warnings are errors.
    """

    _lock, _depth, _validates = threading.Lock(), 0, True

    def __enter__(self) -> None:
        with _Unhindered._lock:  # members may run side by side, and the first changes what the last puts back
            if _Unhindered._depth == 0:
                _Unhindered._validates = Distribution._validate_args
                Distribution._validate_args = False
                _functorch._set_vmap_fallback_warning_enabled(False)  # type: ignore[attr-defined]
            _Unhindered._depth += 1

    def __exit__(self, *_: object) -> None:
        with _Unhindered._lock:
            _Unhindered._depth -= 1
            if _Unhindered._depth == 0:
                _functorch._set_vmap_fallback_warning_enabled(True)  # type: ignore[attr-defined]
                Distribution._validate_args = _Unhindered._validates


def _stack_results(*values: Any) -> Tensor:
    if not all(isinstance(value, Tensor) for value in values):
        raise TypeError(
            f"each: the function must return tensors, got {type(values[0]).__name__}. "
            "Return torch.tensor(value), or compute it outside of each."
        )
    shapes = sorted({tuple(value.shape) for value in values})
    if len(shapes) > 1:
        raise ValueError(
            f"each: the function must return the same shape for every member, got {shapes[0]} and {shapes[1]}."
        )
    return torch.stack(values)


@contextmanager
def as_member(key: Tensor, step: int) -> Iterator[None]:
    """What draws at random in a plain program draws as this member does at this step.

    Functions that no rule knows draw from the global generators of torch, Python and NumPy; those are seeded from the
    member's key and put back afterwards, so that they too depend on the member alone.

    Args:
        key: the member's key, int64, shape ().
        step: the number of the call.
    """
    with torch.random.fork_rng(_cuda_of(key)), _drawing_as(key, step, seeds_python=True):
        yield


def _cuda_of(keys: Tensor) -> list[torch.device]:
    return [keys.device] if keys.device.type == "cuda" else []


@contextmanager
def _drawing_as(key: Tensor, step: int, seeds_python: bool, seeds_torch: bool = True) -> Iterator[Callable[[], bool]]:
    """As `as_member`, but torch's generators are not put back, and Python's and NumPy's seeded only if asked for.

    Gives a function that tells whether Python's or NumPy's were used, where they are seeded.
    """
    seed = derive_seed(int(key), "noise", step)
    if seeds_torch:
        torch.default_generator.manual_seed(seed)
        for device in _cuda_of(key):
            torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    with streams_of(key, step), Rules(RANDOM), drawing_from(seed) if seeds_python else nullcontext(_unseen) as drew:
        yield drew


def _unseen() -> bool:
    return False


def _has_drawn(key: Tensor, step: int) -> bool:
    """Whether PyTorch's own generator has moved on since `_drawing_as` seeded it."""
    fresh = torch.Generator().manual_seed(derive_seed(int(key), "noise", step))
    return not torch.equal(torch.default_generator.get_state(), fresh.get_state())


@contextmanager
def beside_others() -> Iterator[None]:
    """A block in a thread beside which other members run: what the whole process shares is left alone.

    The generators of torch, Python and NumPy are then not seeded for a member: who draws from them
    (`Stack.draws_in_turn`) may not run in such a block.
    """
    token = _beside.set(True)
    try:
        yield
    finally:
        _beside.reset(token)


def batch_versions(batch: tuple[Any, ...]) -> list[int]:
    """How often each tensor that all members see has been changed in place."""
    shared = pytree.tree_leaves([argument for argument in batch if not isinstance(argument, PerMember)])
    return [leaf._version for leaf in shared if isinstance(leaf, Tensor) and not leaf.is_inference()]


def check_batch(batch: tuple[Any, ...], num_members: int) -> None:
    """Refuses per-member arguments that do not hold one value a member, and marks inside lists and dicts.

    Raises:
        ValueError: not one value a member.
        TypeError: a mark where it is not seen, or around something that is no tensor.
    """
    for argument in batch:
        if isinstance(argument, PerMember):
            for leaf in pytree.tree_leaves(argument.value):
                if not isinstance(leaf, Tensor):
                    raise TypeError(f"per_member: values must be tensors, got {type(leaf).__name__}.")
                if leaf.dim() == 0 or len(leaf) != num_members:
                    raise ValueError(
                        f"per_member: values must have shape ({num_members}, ...), one a member, "
                        f"got {tuple(leaf.shape)}. After keep(), take the same members from the batch."
                    )
        elif isinstance(argument, list | tuple | dict) and any(
            isinstance(leaf, PerMember) for leaf in pytree.tree_leaves(argument)
        ):
            raise TypeError(
                "each: per_member must mark a whole argument, got it inside a list, tuple or dict. "
                "Pass the marked part as an argument of its own."
            )


def user_line(error: BaseException) -> str:
    """The last line of the user's own code on the way to an error: "model.py:12: `x = x[x > 0]`"."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if (
            frame.lineno is None
            or frame.filename.startswith("<")
            or any(path.is_relative_to(folder) for folder in _NOT_THE_USERS)
        ):
            continue
        code = linecache.getline(frame.filename, frame.lineno).strip()
        return f"{path.name}:{frame.lineno}" + (f": `{code}`" if code else "")
    return INSIDE_PYTORCH
