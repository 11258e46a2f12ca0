"""The stack: M models of one structure, trained as one program.

    loss_M = stack.each(lambda model, x, y: F.cross_entropy(model(x), y), x, y)
    optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

The members' parameters and buffers are stacked along a leading member axis. `each` runs any function of
(model, *batch) for all of them; what a member computes depends on that member alone.
"""

from __future__ import annotations

import copy
import inspect
import operator
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from tenfold.core.errors import StackError, is_out_of_memory
from tenfold.core.seeds import derive_seed
from tenfold.stacking.forms import (
    BATCH_CHANGED,
    CHECKPOINTED,
    INSIDE_PYTORCH,
    Around,
    MemberCall,
    Members,
    batch_versions,
    check_batch,
    run_serial,
    run_stacked,
    user_line,
)
from tenfold.stacking.layout import replace_data, stack_members, take_members
from tenfold.stacking.memory import give_memory_back, keep_freed_memory
from tenfold.stacking.reached import REACHED, Noted, keep_notes
from tenfold.stacking.rules import OneByOneError, watched
from tenfold.stacking.structure import first_difference, structure_of
from tenfold.stacking.values import gather_values, set_values

Form = Literal["auto", "stacked", "serial"]
_SHARED_IN_PLACE = ("doesn't match the broadcast shape", "has more elements than `self`")
IN_PLACE = (
    " A new tensor, which all members share, has no room for each one's own values: write b = b + own in place of "
    "b += own, torch.stack in place of b[i] = own, or begin with torch.empty or own.new_zeros."
)
_CALLS = {"grad": 0, "no_grad": 1, "grad_eval": 1 << 40, "no_grad_eval": (1 << 40) + 1}  # where their numbers begin


class SerialFallbackWarning(UserWarning):
    """A stack runs its members one after another, because they cannot run as one program."""


class ForgottenAttributeWarning(UserWarning):
    """Forward leaves a tensor in a plain attribute, which a stack does not carry to the next call."""


class Follower(Protocol):
    """Something that holds values a member (an optimiser, a schedule) and loses them with the members."""

    def keep(self, indices: Tensor) -> None:
        """Keeps the members at these places, in this order."""


class _Job(NamedTuple):
    """What a call runs: for all members, or for those at some places; the number is the call's, or one a member."""

    function: Callable[..., Any]
    batch: tuple[Any, ...]
    number: int | Tensor
    places: Tensor | None
    is_first: bool  # whether this function has not run like this before


class Stack:
    """M models of one structure whose tensors are stacked along a member axis. Made by `tenfold.stack`.

    Attributes:
        form: "stacked" when the members run as one program, "serial" when they run one after another.
        fallback: why the form is serial although it was not asked for, in one sentence; None otherwise.
        members: for each member its place among the models the stack was made of; shrinks with `keep`.
    """

    def __init__(self, models: Sequence[nn.Module], *, seeds: Sequence[int], form: Form) -> None:
        self._call = MemberCall(copy.deepcopy(models[0]))
        self._parameters = {
            name: nn.Parameter(stack_members(tensors), requires_grad=tensors[0].requires_grad)
            for name, tensors in _gather(models, nn.Module.named_parameters).items()
        }
        self._buffers = {
            name: stack_members(tensors) for name, tensors in _gather(models, nn.Module.named_buffers).items()
        }
        for parameter in self._parameters.values():
            parameter._tenfold_stack = weakref.ref(self)  # type: ignore[attr-defined]
        self._values = gather_values(models)
        keys = [derive_seed(seed, "noise") for seed in seeds]
        self._keys_M = torch.tensor(keys, dtype=torch.int64, device=self.device)
        self._calls = dict.fromkeys(_CALLS, 0)
        self._missed: dict[str, Tensor] = {}
        self._followers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._auto = form == "auto"
        self._tried: set[Any] = set()
        self._seen: set[Any] = set()
        self._noted: Noted = {}
        self._one_by_one: set[Any] = set()
        self._warned_of_attributes = False
        self.form: str = "serial" if form == "serial" else "stacked"
        self.fallback: str | None = None
        self.members: tuple[int, ...] = tuple(range(len(models)))
        keep_freed_memory()

    # -- what is in it -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        kind = type(self._call.model).__name__
        return f"Stack({len(self)} x {kind}, {self.num_parameters:,} parameters a member, {self.form})"

    @property
    def device(self) -> torch.device:
        """The device the members are on."""
        tensors = (*self._parameters.values(), *self._buffers.values())
        return tensors[0].device if tensors else torch.device("cpu")

    @property
    def differs(self) -> bool:
        """Whether the members differ in attributes, such as the `p` of a dropout."""
        return bool(self._values)

    @property
    def draws_in_turn(self) -> bool:
        """Whether a member was seen to draw from a generator that has one state for the whole process."""
        return self._call.draws_in_python or self._call.draws_from_torch

    @property
    def num_parameters(self) -> int:
        """Parameters of one member."""
        return sum(parameter[0].numel() for parameter in self._parameters.values())

    @property
    def memory_bytes(self) -> int:
        """Bytes that the stacked parameters and buffers take."""
        tensors = (*self._parameters.values(), *self._buffers.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The stacked parameters, each of shape (M, *shape in one member), by their names in one member."""
        yield from self._parameters.items()

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The stacked buffers by their names in one member."""
        yield from self._buffers.items()

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules of one member by name, to look at: their tensors are not any member's."""
        yield from self._call.model.named_modules()

    def parameters(self) -> list[nn.Parameter]:
        """The stacked parameters; give them to a `tenfold.optim` optimiser, or cut groups from `named_parameters`."""
        return list(self._parameters.values())

    # -- what it does --------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Stack:
        """Puts every member into training mode (or evaluation mode), and returns the stack."""
        self._call.model.train(mode)
        return self

    def eval(self) -> Stack:
        """Puts every member into evaluation mode, and returns the stack."""
        return self.train(False)

    def each(self, function: Callable[..., Any], *batch: Any, places: Any = None) -> Any:
        """Runs `function(model, *batch)` for every member, or for those at some places.

        Args:
            function: any function of one plain model and the batch; it must return tensors, of the same shape for
                every member (a tensor, or a nest of lists, tuples and dicts of them).
            batch: what the function gets besides the model. Every member sees the same, unless it is marked with
                `tenfold.per_member`.
            places: only these members run, distinct places in [0, M), int64, shape (K,); a list will do. For the
                others the call does not count: buffers and random streams stay as they are.

        Returns:
            What the function returns, with the member axis in front: shape (M, ...), or (K, ...) in the order of
            the places.

        In the form "auto" a function that cannot run as one program runs for one member after another, with a
        warning that says why; if it is the first function, the stack's form becomes "serial".

        Raises:
            StackError: the form "stacked" was asked for and the function cannot run as one program; or what the
                function does would make members see each other.
            TypeError: the function returns something else than tensors.
            ValueError: an argument marked with `per_member` does not hold one value a member; places that are none,
                repeated or out of range.

        Example:
            >>> import tenfold
            >>> stack = tenfold.stack([nn.Linear(4, 2) for _ in range(3)])
            >>> stack.each(lambda model, x: model(x), torch.zeros(5, 4)).shape
            torch.Size([3, 5, 2])
            >>> stack.each(lambda model, x: model(x), torch.zeros(5, 4), places=[2]).shape
            torch.Size([1, 5, 2])
        """
        chosen = None if places is None else self._checked_indices(places, "each: places")
        check_batch(batch, len(self) if chosen is None else len(chosen))
        training, grad = self._call.model.training, torch.is_grad_enabled()
        kind = (getattr(inspect.unwrap(function), "__code__", type(function)), training, grad)
        job = _Job(function, batch, self.next_call(chosen), chosen, kind not in self._seen)
        self._seen.add(kind)
        with watched(training) if job.is_first else nullcontext():
            if self._auto and self.form != "serial" and kind not in self._tried:
                return self._first_try(kind, job)
            one_by_one = self.form == "serial" or kind in self._one_by_one
            return self._run(run_serial if one_by_one else run_stacked, job)

    @property
    def counts_alike(self) -> bool:
        """Whether all members have taken part in every call, so that its number is the same for all."""
        return not self._missed

    def next_call(self, places: Tensor | None = None) -> Any:
        """A number that no other call has; how often a stack is evaluated does not change what training draws.

        Args:
            places: of the members that take part, if not all do; for the others the call does not count.

        Returns:
            The number, or int64 of shape (K,), one for each that takes part, once members have missed calls.
        """
        kind = "grad" if torch.is_grad_enabled() else "no_grad"
        kind = kind if self._call.model.training else f"{kind}_eval"
        self._calls[kind] += 1
        number = 2 * self._calls[kind] + _CALLS[kind]
        if places is not None and len(places) < len(self):
            missed_M = self._missed.pop(kind, torch.zeros_like(self._keys_M)) + 1
            missed_M.index_add_(0, places, -torch.ones_like(places))
            least = int(missed_M.min())
            if bool((missed_M == least).all()):  # as when a step was taken in parts, and all were in one of them
                self._calls[kind] -= least
                number -= 2 * least
            else:
                self._missed[kind] = missed_M
        if kind not in self._missed:
            return number
        number_M = number - 2 * self._missed[kind]
        return number_M if places is None else number_M[places]

    def call_counts(self) -> dict[str, Any]:
        """How many calls there were, to be given to `set_call_counts` if one of them is to be made again."""
        return {"calls": dict(self._calls), "missed": dict(self._missed)}

    def set_call_counts(self, counts: Mapping[str, Any]) -> None:
        """Goes back to counts that `call_counts` gave: calls since then, made again, draw the same numbers."""
        self._calls, self._missed = dict(counts["calls"]), dict(counts["missed"])

    def members_at(self, place: slice) -> Members:
        """What a form gets to run these neighbours among the members; their tensors have no graph."""
        return Members(
            self._call,
            {name: parameter.detach()[place] for name, parameter in self._parameters.items()},
            {name: buffer[place] for name, buffer in self._buffers.items()},
            self._keys_M[place],
            {name: value[place] for name, value in self._values.items()},
        )

    def _run(self, run: Callable[..., Any], job: _Job) -> Any:
        attributes = self._call.attributes
        before = attributes.snapshot()
        members = self._members(job.places)
        around = Around(job.is_first, self._noted if job.places is None else None, before)
        try:
            output, replaced = run(members, job.function, job.batch, job.number, around)
        except RuntimeError as error:
            if run is run_stacked and not self._auto and _is_about_stacking(error):
                raise StackError(f"stack: {_why_not(error)} Use form='serial'.") from error
            raise
        finally:
            dropped = attributes.settle(before)
        if dropped and not self._warned_of_attributes:
            self._warned_of_attributes = True
            warnings.warn(
                f"each: forward leaves a value of each member's own in the attribute {dropped[0]!r}; a stack forgets "
                "it after the call. Register as a buffer what the next call reads.",
                ForgottenAttributeWarning,
                stacklevel=3,
            )
        if job.places is not None:
            self._write_back(members, job.places)
            replaced = {**members.buffers, **replaced}
        self._take_over(replaced, job.places)
        return output

    def _members(self, places: Tensor | None) -> Members:
        """What a form gets to run all members, or copies of those at some places, whose gradients arrive in all."""
        if places is None:
            return Members(self._call, self._parameters, self._buffers, self._keys_M, self._values)
        return Members(
            self._call,
            {name: parameter.index_select(0, places) for name, parameter in self._parameters.items()},
            {name: buffer.index_select(0, places) for name, buffer in self._buffers.items()},
            self._keys_M.index_select(0, places),
            {name: value.index_select(0, places.cpu()) for name, value in self._values.items()},
        )

    @torch.no_grad()
    def _write_back(self, members: Members, places: Tensor) -> None:
        """Takes what forward has changed in place in the copies of some members' parameters."""
        for name, copied in members.parameters.items():
            if copied._version > 0:
                self._parameters[name].index_copy_(0, places, copied)

    def _take_over(self, replaced: Mapping[str, Tensor], places: Tensor | None) -> None:
        """Takes buffers that the function set anew into the stack; copies: one may be another's old self.

        Where there is a graph the old ones stay as they are, because backward may need them.
        """
        copies = {name: buffer.detach().clone() for name, buffer in replaced.items()}
        for name, buffer in copies.items():
            own = self._buffers[name]
            if places is not None:
                own.index_copy_(0, places, buffer.to(own.dtype))
            elif torch.is_grad_enabled() or buffer.shape != own.shape or buffer.dtype != own.dtype:
                self._buffers[name] = buffer
            else:
                own.copy_(buffer)

    def _first_try(self, kind: Any, job: _Job) -> Any:
        """The first call of a function decides its form: one program if that runs, one by one otherwise.

        What fails one by one as well is the function's own mistake, and raises in plain PyTorch's words.
        """
        buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
        attributes, versions = self._call.attributes.snapshot(), batch_versions(job.batch)
        refusal: Exception | None = None
        job = job._replace(is_first=True)
        try:
            output = self._run(run_stacked, job)
        except ForgottenAttributeWarning:
            raise
        except Exception as error:
            if is_out_of_memory(error):  # one by one would hide that from whoever halves the stack
                raise
            refusal = error
        if refusal is not None:
            with torch.no_grad():
                for name, buffer in buffers.items():
                    self._buffers[name].copy_(buffer)
            self._call.attributes.restore(attributes)
            if batch_versions(job.batch) != versions:
                raise StackError(BATCH_CHANGED) from refusal
            output = self._run(run_serial, job)
            self._fall_back(kind, refusal)
            refusal = None  # its traceback holds this frame, and so the graph of the failed try
        self._tried.add(kind)
        return output

    def _fall_back(self, kind: Any, refusal: Exception) -> None:
        """The first function decides for the stack, a later one for itself."""
        sentence = _why_not(refusal)
        self._one_by_one.add(kind)
        if not self._tried:
            self.form, self.fallback = "serial", sentence
        warnings.warn(sentence, SerialFallbackWarning, stacklevel=4)

    def backward(self, loss_M: Tensor, inputs: Sequence[Tensor] | None = None) -> None:
        """Back-propagates each member's loss into that member's parameters.

        The losses are summed over the members, never averaged: a member's gradient does not depend on how many
        others there are.

        Args:
            loss_M: float, shape (M,), from `each`.
            inputs: only these stacked parameters get gradients (for objectives that train a part of the model).

        Raises:
            ValueError: the loss is not one number a member.
        """
        if loss_M.shape != (len(self),):
            raise ValueError(
                f"backward: loss_M must have shape ({len(self)},), one loss a member, got {tuple(loss_M.shape)}. "
                "Let the function passed to each() return the mean over its batch."
            )
        self._noted.clear()
        torch.autograd.backward(loss_M.sum(), inputs=inputs)
        keep_notes(self._noted)
        if self.form == "serial":
            self._refuse_gradients_of_the_template()

    def _refuse_gradients_of_the_template(self) -> None:
        """Reentrant checkpointing runs the model again in backward, when the members' parameters are out of it."""
        strayed = [name for name, parameter in self._call.model.named_parameters() if parameter.grad is not None]
        if strayed:
            self._call.model.zero_grad()
            raise StackError(f"{CHECKPOINTED} (The gradient of {strayed[0]} went astray.)")

    def keep(self, indices: Any) -> None:
        """Keeps the members at these places, in this order; the others leave and their memory comes back.

        Parameters, gradients, buffers and random streams stay bit for bit, and so does the state of every
        optimiser and schedule that was built on this stack.

        Args:
            indices: distinct places in [0, M), int64, shape (K,) with K >= 1; a list will do.

        Raises:
            ValueError: the places are none, repeated or out of range.
        """
        chosen = self._checked_indices(indices, "keep: indices")
        for parameter in self._parameters.values():
            gradient, parameter.grad = parameter.grad, None
            replace_data(parameter, take_members(parameter.data, chosen))
            if gradient is not None:
                parameter.grad = take_members(gradient, chosen)
                if hasattr(gradient, REACHED):
                    setattr(parameter.grad, REACHED, getattr(gradient, REACHED)[chosen])
        for name, buffer in self._buffers.items():
            self._buffers[name] = take_members(buffer, chosen)
        self._keys_M = take_members(self._keys_M, chosen)
        self._missed = {kind: take_members(missed_M, chosen) for kind, missed_M in self._missed.items()}
        self._values = {place: take_members(value, chosen.cpu()) for place, value in self._values.items()}
        self.members = tuple(self.members[i] for i in chosen.tolist())
        for follower in list(self._followers):
            follower.keep(chosen)
        give_memory_back()

    def _checked_indices(self, indices: Any, owner: str) -> Tensor:
        chosen = torch.as_tensor(indices, device=self.device)
        chosen = chosen.long() if chosen.dtype in (torch.int8, torch.int16, torch.int32, torch.uint8) else chosen
        if chosen.dim() != 1 or chosen.numel() == 0 or chosen.is_floating_point() or chosen.dtype == torch.bool:
            raise ValueError(
                f"{owner} must be a list of at least one place, got {indices!r}. "
                "Pass integers, such as score_M.argsort(descending=True)[:16]."
            )
        places = chosen.tolist()
        if min(places) < 0 or max(places) >= len(self) or len(set(places)) < len(places):
            raise ValueError(
                f"{owner} must be distinct and in [0, {len(self)}), got {places}. "
                "To train copies of a member, stack its models again."
            )
        return chosen

    def unstack(self, places: Sequence[int] | None = None) -> list[nn.Module]:
        """The members as plain modules of the user's own class, with tensors of their own, in the stack's order.

        Args:
            places: only these members, in this order, each in [0, M).
        """
        models = []
        for i in range(len(self)) if places is None else places:
            model = copy.deepcopy(self._call.model)
            for name, parameter in model.named_parameters():
                parameter.data = self._parameters[name].detach()[i].clone(memory_format=torch.contiguous_format)
            for name, buffer in model.named_buffers():
                if name not in self._buffers:  # forward made it, one for all
                    continue
                buffer.data = self._buffers[name][i].clone(memory_format=torch.contiguous_format)
            set_values(model, {place: float(value[i]) for place, value in self._values.items()})
            models.append(model)
        return models

    # -- saving --------------------------------------------------------------------------------------------

    def follow(self, follower: Follower) -> None:
        """Lets an object that holds values a member follow `keep`; optimisers and schedules call it themselves."""
        self._followers.add(follower)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while the stack trains; `load_state_dict` puts it into a stack of equal size."""
        return {
            "parameters": {name: parameter.detach() for name, parameter in self._parameters.items()},
            "buffers": dict(self._buffers),
            "keys": self._keys_M,
            "values": dict(self._values),
            **self.call_counts(),
            "members": list(self.members),
            "form": self.form if self._tried or not self._auto else "auto",
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave.

        Raises:
            ValueError: the state is of another number of members.
        """
        if len(state["members"]) != len(self):
            raise ValueError(
                f"load_state_dict: the state holds {len(state['members'])} members and the stack {len(self)}. "
                "Build the stack of as many models, or keep() as many members first."
            )
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state["parameters"][name])
            for name, buffer in self._buffers.items():
                buffer.copy_(state["buffers"][name])
            self._keys_M.copy_(state["keys"])
        if "values" in state:  # the first states had neither these nor missed calls
            self._values = {place: value.cpu().clone() for place, value in state["values"].items()}
        missed = {kind: missed_M.to(self.device) for kind, missed_M in state.get("missed", {}).items()}
        self.set_call_counts({**state, "missed": missed})
        self.members = tuple(state["members"])
        if self._auto and state["form"] != "auto":
            self.form = state["form"]


def stack(models: Sequence[nn.Module], *, seeds: Sequence[int] | None = None, form: Form = "auto") -> Stack:
    """Stacks models of one structure, so that they train as one program.

    Args:
        models: at least one module; all of one structure (same modules, shapes, attributes and modes). They are
            copied and stay as they are.
        seeds: each member's seed for what it draws inside `each` (dropout, noise); by default 0, 1, 2, ...
        form: "auto" runs the members as one program where that works and one after another where it does not,
            and says so; "stacked" and "serial" insist.

    Returns:
        The stack.

    Raises:
        StackError: the models differ in structure, or hide layers in Python lists or dicts.
        TypeError: not modules, or seeds that are not integers.
        ValueError: no models, or as many seeds as models are not given.

    Example:
        >>> stack = stack([nn.Linear(64, 10) for _ in range(8)])
        >>> len(stack), stack.num_parameters
        (8, 650)
    """
    models = list(models)
    if not models:
        raise ValueError("stack: models must be at least one nn.Module, got none.")
    for place, model in enumerate(models):
        if not isinstance(model, nn.Module):
            raise TypeError(f"stack: models[{place}] must be an nn.Module, got {type(model).__name__}.")
    if form not in ("auto", "stacked", "serial"):
        raise ValueError(f"stack: form must be 'auto', 'stacked' or 'serial', got {form!r}.")
    member_seeds = list(range(len(models))) if seeds is None else [_checked_seed(seed) for seed in seeds]
    if len(member_seeds) != len(models):
        raise ValueError(f"stack: seeds must be one a model ({len(models)}), got {len(member_seeds)}.")
    _refuse_different(models)
    return Stack(models, seeds=member_seeds, form=form)


def _checked_seed(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise TypeError(f"stack: seeds must be integers, got {seed!r}.") from None


def stack_of(parameter: Tensor) -> Stack | None:
    """The stack that a stacked parameter belongs to, or None."""
    reference = getattr(parameter, "_tenfold_stack", None)
    return reference() if reference is not None else None


def _refuse_different(models: Sequence[nn.Module]) -> None:
    structure = structure_of(models[0])
    for place, model in enumerate(models[1:], start=1):
        if structure_of(model) != structure:
            raise StackError(
                f"stack: models[0] and models[{place}] differ in structure: {first_difference(models[0], model)}. "
                "Stack equal ones together: tenfold.group_by_structure(models) gives the groups."
            )


def _gather(models: Sequence[nn.Module], named: Callable[[nn.Module], Any]) -> dict[str, list[Tensor]]:
    tables = [dict(named(model)) for model in models]
    return {name: [table[name] for table in tables] for name in tables[0]}


def _is_about_stacking(error: RuntimeError) -> bool:
    """Whether vmap refused, rather than the user's code being wrong."""
    text = str(error)
    return isinstance(error, OneByOneError) or any(
        mark in text for mark in ("vmap", "functorch", "Batching rule", "batching rule", "item()", "storage")
    )


def _why_not(error: Exception) -> str:
    reason = str(error).split("\n")[0].split(". ")[0].strip().rstrip(".")
    line = user_line(error)
    where = "" if line == INSIDE_PYTORCH else f" (at {line})"
    way_out = IN_PLACE if any(mark in str(error) for mark in _SHARED_IN_PLACE) else ""
    return f"The members run one after another, because they cannot run as one program: {reason}{where}.{way_out}"
