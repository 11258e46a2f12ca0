"""Things by name: networks, tasks, sources. A wrong name is answered with the near miss."""

from __future__ import annotations

from collections.abc import Iterator
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

    def add(self, name: str, entry: Entry) -> Entry:
        """Adds an entry under a name that is not taken, and returns it.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.noun} {name!r} is registered already. Choose another name.")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise InputError(f"unknown {self.noun} {name!r}.{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
