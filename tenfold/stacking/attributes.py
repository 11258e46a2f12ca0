"""What forward leaves behind in the one model that all members run through.

A counter (`self.calls += 1`) must count once a step and not once a member, and so must a list that forward appends
to. A tensor that is the same for all members (a table made from shapes, a rotary cache) stays, as it would in a plain
model. What is a member's own (`self.attention = w`) must not outlive the call: the next member would read it, and it
may hold the whole graph.

Looked at are the attributes of the modules and of the classes that the user wrote, what their forward hooks have at
hand, and the lists, dicts, sets and deques in all of them. Slow where these are large: a dict of 50,000 words costs a
millisecond a call.
"""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, takewhile
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor, nn

from tenfold.stacking.common import MISSING, alike, shared
from tenfold.stacking.fingerprint import contents

_TORCH_INTERNALS = frozenset(vars(nn.Module())) - {"training"}
_RNN_CACHE = ("_flat_weights", "_flat_weight_refs")
_SEQUENCES, _MAPPINGS, _SETS = (list, deque), (dict, OrderedDict, defaultdict, Counter), (set,)
_CONTAINERS = frozenset((*_SEQUENCES, *_MAPPINGS, *_SETS))
_WATCHED = _CONTAINERS | {tuple, Tensor}
_UNCHANGED = object()

Place = tuple[str, int]
"""The name of an attribute, such as "1.calls"; and of what changed in it the id if it is a container, else 0."""


class _Owner(NamedTuple):
    """Something that has attributes: a module, the buffers of one, a class, the object that a hook belongs to."""

    name: str
    held: Mapping[str, Any]
    put: Callable[[str, Any], None]
    remove: Callable[[str], None]
    first: int = 0  # of the keys that may be plain attributes; a module's own come before


class Snapshot(NamedTuple):
    """What there is at one time.

    Attributes:
        held: the attributes of each owner.
        containers: by id each container with its items, and the attribute that it is reached by.
        tensors: those that are no parameters or buffers, with their versions, and their attributes.
        own: the places that have been found to differ between the members.
    """

    held: list[dict[str, Any]]
    containers: dict[int, tuple[Any, Any, str]]
    tensors: list[tuple[Tensor, int, str]]
    own: dict[Place, None]


class PlainAttributes:
    """The attributes of a model that are no layers, parameters or buffers.

    Args:
        model: the model that runs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._owners = list(_owners(model))
        self._at_hand = [(f"a hook of {name or 'the model'}", value) for name, value in _closed_over(model)]

    def snapshot(self) -> Snapshot:
        """What there is now."""
        now = Snapshot([dict(owner.held) for owner in self._owners], {}, [], {})
        for owner, held in zip(self._owners, now.held, strict=True):
            for key, value in islice(held.items(), owner.first, None):
                if type(value) in _WATCHED and key not in _TORCH_INTERNALS and key not in _RNN_CACHE:
                    _collect(value, owner.name + key, now)
        for name, value in self._at_hand:
            _collect(value, name, now)
        return now

    def restore(self, before: Snapshot) -> None:
        """Puts everything back to what it was."""
        self.put_back(self.left(before), before)

    def changed(self, before: Snapshot) -> list[str]:
        """The names of what is new, gone, another object or has other items since then, such as "1.calls"."""
        return list(dict.fromkeys(name for name, _ in self.left(before) if not _is_cache(name)))

    def left(self, before: Snapshot) -> dict[Place, Any]:
        """What has changed since then, by place."""
        found: dict[Place, Any] = {}
        for owner, values in zip(self._owners, before.held, strict=True):
            held = owner.held
            if len(held) == len(values) and all(map(is_, held.values(), values.values())):
                continue
            for key in {**values, **held}:
                if key in _TORCH_INTERNALS or key.startswith("__"):
                    continue
                if held.get(key, MISSING) is not values.get(key, MISSING):
                    found[owner.name + key, 0] = held.get(key, MISSING)
        for container, items, name in before.containers.values():
            if not _same_items(container, items):
                found[name, id(container)] = _items(container)
        return found

    def note_differences(self, first: Mapping[Place, Any], later: Mapping[Place, Any], before: Snapshot) -> None:
        """Notes in the snapshot where two members have not left the same."""
        for place in {**first, **later}:
            if not _is_cache(place[0]) and not alike(first.get(place, _UNCHANGED), later.get(place, _UNCHANGED)):
                before.own[place] = None

    def changed_tensors(self, before: Snapshot) -> list[str]:
        """The attributes whose tensors have been changed in place since then."""
        return [name for tensor, version, name in before.tensors if tensor._version != version]

    def settle(self, before: Snapshot) -> list[str]:
        """Puts back what is a member's own; returns the names of it, such as "1.attention"."""
        left = self.left(before)
        kept = {place: shared(value) for place, value in left.items() if not _is_cache(place[0])}
        unfit = [place for place in left if kept.get(place, MISSING) is MISSING and left[place] is not MISSING]
        own = list(dict.fromkeys([*before.own, *unfit]))
        self.put_back(own, before)
        for place, value in kept.items():
            if place not in own and value is not left[place]:
                self._put(place, value, before)
        return list(dict.fromkeys(name for name, _ in own if not _is_cache(name)))

    def put_back(self, places: Iterable[Place], before: Snapshot) -> None:
        """Puts back what `left` has found at these places."""
        wanted = set(places)
        if not wanted:
            return
        for owner, values in zip(self._owners, before.held, strict=True):
            for key in [key for key in {**values, **owner.held} if (owner.name + key, 0) in wanted]:
                owner.put(key, values[key]) if key in values else owner.remove(key)
        for container, items, name in before.containers.values():
            if (name, id(container)) in wanted:
                _refill(container, items)

    def _put(self, place: Place, value: Any, before: Snapshot) -> None:
        name, container = place
        if container:
            _refill(before.containers[container][0], value)
            return
        path, _, key = name.rpartition(".")
        for owner in self._owners:
            if owner.name == (f"{path}." if path else "") and key in owner.held:
                owner.put(key, value)


def _owners(model: nn.Module) -> Iterator[_Owner]:
    classes: dict[type, None] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        for held in (vars(module), module._buffers):
            first = len(list(takewhile(lambda key: key in _TORCH_INTERNALS or key == "training", held)))
            yield _Owner(prefix, held, held.__setitem__, held.__delitem__, first)
        classes.update(dict.fromkeys(cls for cls in type(module).__mro__ if _is_users(cls)))
    for cls in classes:
        yield _Owner(
            f"{cls.__qualname__}.", vars(cls), functools.partial(setattr, cls), functools.partial(delattr, cls)
        )


def _is_users(cls: type) -> bool:
    return cls.__module__.partition(".")[0] not in ("torch", "builtins", "typing", "abc")


def _closed_over(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """What the model's hooks can write to: what they have closed over, and the object that they belong to."""
    for name, module in model.named_modules():
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values()):
            bound = (*hook.args, *hook.keywords.values()) if isinstance(hook, functools.partial) else ()
            function = getattr(hook, "func", hook)
            owner = getattr(function, "__self__", None)
            if owner is not None and not isinstance(owner, nn.Module):
                yield name, vars(owner) if hasattr(owner, "__dict__") else None
            cells = getattr(getattr(function, "__func__", function), "__closure__", None) or ()
            for value in (*bound, *(contents(cell) for cell in cells)):
                yield name, value


def _is_cache(name: str) -> bool:
    return name.endswith(_RNN_CACHE)


def _collect(value: Any, name: str, into: Snapshot) -> None:
    """Adds the containers that are reached by a value, and the tensors in them."""
    kind = type(value)
    if kind is Tensor:
        if not value.is_inference():
            into.tensors.append((value, value._version, name))
        return
    if kind in _CONTAINERS:
        if id(value) in into.containers:
            return
        into.containers[id(value)] = (value, _items(value), name)
    elif kind is not tuple:
        return
    for item in value.values() if kind in _MAPPINGS else value:
        if type(item) in _WATCHED:
            _collect(item, name, into)


def _items(container: Any) -> Any:
    kind = type(container)
    return dict(container) if kind in _MAPPINGS else set(container) if kind in _SETS else list(container)


def _same_items(container: Any, items: Any) -> bool:
    if len(container) != len(items):
        return False
    if type(container) in _MAPPINGS:
        return all(map(is_, container.values(), items.values())) and all(map(is_, container, items))
    if type(container) in _SETS:
        return bool(container == items)
    return all(map(is_, container, items))


def _refill(container: Any, items: Any) -> None:
    container.clear()
    container.extend(items) if type(container) in _SEQUENCES else container.update(items)
