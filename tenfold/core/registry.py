"""Things by name: networks, tasks, sources. A wrong name is answered with the near miss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from tenfold.core.errors import InputError, did_you_mean

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """An ordered table from names to entries.

    Args:
        noun: what an entry is called in an error message, such as "network".

    Example:
        >>> networks = Registry[int]("network")
        >>> networks.add("lenet", 5)
        5
        >>> networks["lenett"]
        Traceback (most recent call last):
            ...
        tenfold.core.errors.InputError: unknown network 'lenett'. Did you mean 'lenet'?
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, Entry] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, entry: Entry, *, aliases: Iterable[str] = ()) -> Entry:
        """Adds an entry under names that are not taken, and returns it.

        Args:
            name: the entry's own name: it alone is iterated over.
            entry: what the name stands for.
            aliases: other names that find it.

        Raises:
            ValueError: a name is taken.
        """
        for taken in (name, *aliases):
            if taken in self:
                raise ValueError(f"{self.noun} {taken!r} is registered already. Choose another name.")
        self._entries[name] = entry
        self._aliases |= dict.fromkeys(aliases, name)
        return entry

    def own_name(self, name: str) -> str:
        """The name under which an entry is iterated over, for that name or an alias.

        Raises:
            InputError: there is no such entry.

        Example:
            >>> networks = Registry[int]("network")
            >>> networks.add("linear", 1, aliases=["softmax_regression"])
            1
            >>> networks.own_name("softmax_regression"), list(networks)
            ('linear', ['linear'])
        """
        if name not in self:
            raise InputError(f"unknown {self.noun} {name!r}.{did_you_mean(name, [*self._entries, *self._aliases])}")
        return self._aliases.get(name, name)

    def __getitem__(self, name: str) -> Entry:
        return self._entries[self.own_name(name)]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
