"""What members do not train and all have alike, up to the first layer that they train: computed once for all of them.

Heads on a frozen backbone are the usual case. The model is cut in two where the trained part begins: the prefix turns
inputs into features, and the rest, which is all that a member keeps and trains, turns features into outputs. Where
nothing random stands before the cut, the features of a sample are the same in every epoch.

A cut is looked for along the one path of modules that leads to everything that is trained, the later the better, and
is taken only if running prefix and rest gives, bit for bit, what the model gives.
"""

from __future__ import annotations

import copy
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tenfold.stacking import structure_of
from tenfold.stacking.forms import as_member
from tenfold.stacking.values import gather_values
from tenfold.train.plan import MemberSpec

_MOST_CUTS = 12  # of which each is tried by running the model a few times
_LOOKED_AT = 2  # samples of a batch on which it is run


class Cut(NamedTuple):
    """Where the rest of a model begins.

    Attributes:
        path: name of the module that is, or holds, the rest.
        start: of an `nn.Sequential`: the place of the first child that belongs to the rest; None for all of it.
    """

    path: str
    start: int | None


class Rest(nn.Module):
    """The rest of a model under the names that its parts have in the whole."""

    def __init__(self, path: str, module: nn.Module) -> None:
        super().__init__()
        self.path = path
        *holders, last = path.split(".")
        holder: nn.Module = self
        for name in holders:
            holder.add_module(name, inner := nn.Module())
            holder = inner
        holder.add_module(last, module)

    def forward(self, features: Any) -> Any:
        """The outputs, from features of shape (B, ...)."""
        return self.get_submodule(self.path)(features)


class FrozenPrefix:
    """The first part of some members' models, the same for all of them.

    Args:
        model: one member's whole model.
        cut: where its rest begins.

    Attributes:
        module: the prefix, in evaluation mode where the model is.
    """

    def __init__(self, model: nn.Module, cut: Cut) -> None:
        self.cut = cut
        self._whole = copy.deepcopy(model)
        self.module = _without_rest(self._whole, cut)
        self._structure = structure_of(self.module)
        self._first = [(weakref.ref(tensor), tensor._version) for tensor in _tensors(_without_rest(model, cut))]

    @torch.no_grad()
    def features(self, *inputs: Tensor, batch_size: int = 64) -> Tensor:
        """The features of samples, float, shape (N, ...), without a graph.

        Args:
            inputs: what the model is called with, each of shape (N, ...).
            batch_size: samples that are computed at once.
        """
        parts = [self.module(*some) for some in zip(*(tensor.split(batch_size) for tensor in inputs), strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def rest_of(self, model: nn.Module) -> nn.Module:
        """A copy of what a model does with the features."""
        return copy.deepcopy(_rest(model, self.cut))

    def whole(self, rest: nn.Module) -> nn.Module:
        """A model of the members' own class whose rest is this one."""
        path, start = self.cut
        held = self._whole.get_submodule(path)
        if start is None:  # what is held is not copied, but replaced, under whatever names it has
            whole: nn.Module = copy.deepcopy(self._whole, {id(held): rest.get_submodule(path)})
            return whole
        trained = _sequence(rest, path)
        own = dict(trained.named_children())
        memo = {id(child): own[name] for name, child in list(held.named_children())[start:] if name in own}
        model: nn.Module = copy.deepcopy(self._whole, memo)
        holder = model.get_submodule(path)
        for name in list(dict(holder.named_children()))[start:]:
            delattr(holder, name)
        for name, child in trained.named_children():
            holder.add_module(name, child)
        return model

    def is_of(self, model: nn.Module) -> bool:
        """Whether a model begins with this very prefix: structure, attributes, and tensors bit for bit."""
        if not _has(model, self.cut):
            return False
        with _shortened(model, self.cut) as other:
            if structure_of(other) != self._structure or gather_values([self.module, other]):
                return False
            pairs = zip(_tensors(self.module), _tensors(other), self._first, strict=True)  # of one structure
            return all(
                (first() is theirs and theirs._version == version) or torch.equal(own, theirs)  # most share the same
                for own, theirs, (first, version) in pairs
            )


def split_off_prefix(
    specs: Sequence[MemberSpec], inputs: Sequence[Tensor], cut: Cut | None = None
) -> tuple[FrozenPrefix, list[MemberSpec]] | None:
    """The prefix that all members share, and the members without it; None where there is none.

    Args:
        specs: the members.
        inputs: of a real batch, each of shape (B, ...) with B >= 2.
        cut: where a run that goes on was cut; looked for by default.

    Returns:
        The prefix, on the device of the inputs, and for each member a spec that builds its rest.

    Example:
        >>> from tenfold.core.records import MemberId
        >>> from tenfold.train import split_config
        >>> backbone = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).requires_grad_(False)
        >>> specs = [
        ...     MemberSpec(
        ...         id=MemberId(trial=trial), label="heads", config=split_config({"lr": 0.1}, {}),
        ...         build=lambda: nn.Sequential(backbone, nn.Linear(3, 2)),
        ...     )
        ...     for trial in range(2)
        ... ]
        >>> prefix, heads = split_off_prefix(specs, [torch.randn(8, 4)])
        >>> prefix.features(torch.randn(8, 4)).shape, [name for name, _ in heads[0].make_model().named_parameters()]
        (torch.Size([8, 3]), ['1.weight', '1.bias'])
    """
    first = _frozen_as_asked(specs[0]).to(inputs[0].device)
    prefix = find_prefix(first, inputs) if cut is None else FrozenPrefix(first, cut)
    if prefix is None:
        return None
    rests = [rest_spec(spec, prefix, inputs[0].device) for spec in specs]
    return None if None in rests else (prefix, [rest for rest in rests if rest is not None])


def rest_spec(spec: MemberSpec, prefix: FrozenPrefix, device: torch.device) -> MemberSpec | None:
    """A member that trains what follows a prefix; None where its model does not begin with that."""
    model = _frozen_as_asked(spec)
    if any(tensor.device != device for tensor in _tensors(model)):  # to move what is there already takes 0.3 ms
        model = model.to(device)
    return _without(spec, prefix.rest_of(model)) if prefix.is_of(model) else None


def find_prefix(model: nn.Module, inputs: Sequence[Tensor]) -> FrozenPrefix | None:
    """The longest prefix of a model without trained parameters that gives the same features whenever it runs.

    Args:
        model: in training mode; what is frozen has no gradients.
        inputs: of a real batch, each of shape (B, ...) with B >= 2.
    """
    model, inputs = model.to(inputs[0].device), [tensor[:_LOOKED_AT] for tensor in inputs]
    cuts = list(_cuts(model))[:_MOST_CUTS]
    drawn = _drawn_before(model, cuts, inputs) if len(cuts) > 1 else set()
    for cut in cuts:
        if cut in drawn:
            continue
        prefix = FrozenPrefix(model, cut)
        if any(True for _ in prefix.module.parameters()) and _is_sound(model, prefix, inputs):
            return prefix
    return None


def _frozen_as_asked(spec: MemberSpec) -> nn.Module:
    """A member's model in training mode, with what its recipe freezes frozen."""
    model = spec.make_model().train()
    patterns = spec.config.recipe.freeze
    for name, parameter in model.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    return model


def _without(spec: MemberSpec, rest: nn.Module) -> MemberSpec:
    """The member that trains its rest alone; patterns of what it no longer has are left out."""
    rest = rest.cpu()
    names = [name for name, _ in rest.named_parameters()]
    recipe = spec.config.recipe

    def is_there(pattern: str) -> bool:
        return any(fnmatchcase(name, pattern) for name in names)

    freeze = tuple(pattern for pattern in recipe.freeze if is_there(pattern))
    rates = tuple((pattern, factor) for pattern, factor in recipe.lr_groups if is_there(pattern))
    config = replace(spec.config, recipe=replace(recipe, freeze=freeze, lr_groups=rates))
    return replace(spec, config=config, build=lambda: copy.deepcopy(rest))


def _cuts(model: nn.Module) -> Iterator[Cut]:
    """Places to cut at, the latest first."""
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    found: list[Cut] = []
    path, module = "", model
    while trained:
        children = dict(module.named_children())
        prefixes = {name: f"{path}.{name}".lstrip(".") for name in children}
        holders = [name for name, own in prefixes.items() if any(each.startswith(f"{own}.") for each in trained)]
        if isinstance(module, nn.Sequential) and holders:
            found += [Cut(path, start) for start in range(1, list(children).index(holders[0]) + 1)]
        own = any(each.rpartition(".")[0] == path for each in trained)
        if own or len(holders) != 1:
            break
        path, module = prefixes[holders[0]], children[holders[0]]
        found.append(Cut(path, None))
    return reversed(found)


def _drawn_before(model: nn.Module, cuts: Sequence[Cut], inputs: Sequence[Tensor]) -> set[Cut]:
    """The cuts before which something random stands, as one run of the model shows: these need not be tried."""
    drawn: set[Cut] = set()
    tried = _copy(model)
    for cut in cuts:
        held = tried.get_submodule(cut.path)
        first = held if cut.start is None else list(held.children())[cut.start]

        def look(*_: Any, cut: Cut = cut) -> None:
            if not torch.equal(torch.get_rng_state(), before):
                drawn.add(cut)

        first.register_forward_pre_hook(look)
    with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        before = torch.get_rng_state()
        try:
            tried(*inputs)
        except Exception:  # so may the tries
            return set()
    return drawn


def _is_sound(model: nn.Module, prefix: FrozenPrefix, inputs: Sequence[Tensor]) -> bool:
    """Whether cutting changes nothing, and the features of a sample are its own and the same each time.

    Whatever fails in the model when its rest is missing means that it cannot be cut here.
    """
    model = _with_other_weights(model)  # a head of zeros would hide what comes after it
    rest, quiet = prefix.rest_of(model), _copy(prefix.module).eval()
    state, frozen = torch.get_rng_state(), _frozen(model) | _frozen(prefix.module)
    versions = [tensor._version for tensor in frozen.values()]
    try:
        with torch.no_grad():
            buffers = [buffer.clone() for buffer in prefix.module.buffers()]
            features, again = prefix.module(*inputs), prefix.module(*inputs)
            if not isinstance(features, Tensor) or len(features) != len(inputs[0]):
                return False
            if any(not torch.equal(a, b) for a, b in zip(buffers, prefix.module.buffers(), strict=True)):
                return False
            if not torch.equal(state, torch.get_rng_state()):  # it drew, be it without effect this time
                return False
            alone, evaluated = prefix.module(*(tensor[:1] for tensor in inputs)), quiet(*inputs)
            same = _runs_alike(_copy(model), _copy(rest), inputs, features)
            same &= _runs_alike(model.eval(), rest.eval(), inputs, evaluated)
            same &= versions == [tensor._version for tensor in frozen.values()]
    except Exception:
        return False
    close = torch.allclose(alone, features[:1], rtol=1e-3, atol=1e-4)
    close &= torch.allclose(evaluated, features, rtol=1e-3, atol=1e-4)
    return torch.equal(features, again) and close and same


def _runs_alike(model: nn.Module, rest: nn.Module, inputs: Sequence[Tensor], features: Tensor) -> bool:
    """Whether a model says of inputs, bit for bit, what its rest says of their features; both may change by it."""
    key = torch.tensor(1, device=features.device)
    with as_member(key, 1):
        whole = model(*inputs)
    with as_member(key, 1):
        parts = rest(features)
    return all(pytree.tree_leaves(pytree.tree_map(torch.equal, whole, parts)))


@torch.no_grad()
def _with_other_weights(model: nn.Module) -> nn.Module:
    """A copy whose trained weights are none that a layer begins with."""
    other, numbers = _copy(model), torch.Generator().manual_seed(0)
    for parameter in other.parameters():
        if parameter.requires_grad:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=numbers).to(parameter))
    return other


def _copy(model: nn.Module) -> nn.Module:
    """A copy to be tried: frozen parameters, which may be many and stay as they are, are the very same."""
    memo: dict[int, Any] = dict(_frozen(model))
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied


def _frozen(model: nn.Module) -> dict[int, Tensor]:
    return {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}


def _rest(model: nn.Module, cut: Cut) -> nn.Module:
    module = model.get_submodule(cut.path)
    if cut.start is not None:
        module = nn.Sequential(OrderedDict(list(module.named_children())[cut.start :]))
    return Rest(cut.path, module) if cut.path else module


def _without_rest(model: nn.Module, cut: Cut) -> nn.Module:
    """A model that gives out what this one's rest would get; the tensors are the very same."""
    held, short = model.get_submodule(cut.path), _beginning(model, cut)
    memo: dict[int, Any] = {id(tensor): tensor for tensor in _tensors(model)}
    memo[id(held)] = short if cut.start is None else copy.deepcopy(short, memo)
    prefix: nn.Module = copy.deepcopy(model, memo)  # what is held is not copied, but replaced
    return prefix


@contextmanager
def _shortened(model: nn.Module, cut: Cut) -> Iterator[nn.Module]:
    """The model itself, as `_without_rest` copies it, within the block: to look at many is quicker so."""
    held, short = model.get_submodule(cut.path), _beginning(model, cut)
    if not cut.path:
        yield short
        return
    parent, _, name = cut.path.rpartition(".")
    holder = model.get_submodule(parent)
    setattr(holder, name, short)
    try:
        yield model
    finally:
        setattr(holder, name, held)


def _beginning(model: nn.Module, cut: Cut) -> nn.Module:
    """What stands in place of the module that is, or holds, the rest."""
    if cut.start is None:
        return nn.Identity()
    children = [*model.get_submodule(cut.path).named_children()]
    return nn.Sequential(OrderedDict(children[: cut.start]))


def _sequence(rest: nn.Module, path: str) -> nn.Module:
    return rest.get_submodule(path) if path else rest


def _has(model: nn.Module, cut: Cut) -> bool:
    """Whether a model can be cut here."""
    names = dict(model.named_modules())
    return cut.path in names and (cut.start is None or isinstance(names[cut.path], nn.Sequential))


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
