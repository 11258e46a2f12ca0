"""Which value of a mask stands for which class, and which values are not to be looked at.

In memory a mask is uint8: the place of each pixel's class, or `IGNORED`.

N pictures, H W, K classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.errors import InputError

IGNORED = 255
ABSENT = 254  # in a table of values only: neither a class nor ignored


@dataclass(frozen=True, kw_only=True)
class MaskCodes:
    """The classes of masks.

    Attributes:
        values: the value of each class in a mask, rising, K of them, in 0 to 255.
        names: of the classes, as text, or their values where they have no names.
        ignored: values of pixels that have no label.

    Raises:
        ValueError: fewer than two classes, more than 254, or as many names as there are not values.

    Example:
        >>> codes = MaskCodes(values=(0, 3), names=("sky", "road"), ignored=(255,))
        >>> codes.encode(np.array([[[0, 3, 255]]], np.uint8)).tolist(), codes.decode(np.array([[1, 0]])).tolist()
        ([[[0, 1, 255]]], [[3, 0]])
    """

    values: tuple[int, ...]
    names: tuple[str | int, ...]
    ignored: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.values) <= ABSENT or len(self.names) != len(self.values):
            raise ValueError(
                f"MaskCodes: values must be 2 to {ABSENT} with a name each, got {len(self.values)} values and "
                f"{len(self.names)} names. Give both for every class."
            )

    def encode(self, masks: np.ndarray, where: str = "masks") -> np.ndarray:
        """Places of classes, or `IGNORED`, uint8 of the masks' shape.

        Args:
            masks: uint8 values as in the files, shape (N, H, W).
            where: what to call them in a message.

        Raises:
            InputError: a value that is neither a class nor ignored.
        """
        table = np.full(256, ABSENT, np.uint8)
        table[list(self.values)] = np.arange(len(self.values))
        table[list(self.ignored)] = IGNORED
        places = table[masks]
        if (places == ABSENT).any():
            unknown = np.unique(masks[places == ABSENT]).tolist()
            raise InputError(
                f"{where}: the value {unknown[0]} is none of the classes {_shown(self.values)} that training had. "
                "Mend the masks, or leave it out with --ignore."
            )
        return places

    def decode(self, places: np.ndarray) -> np.ndarray:
        """The values in a mask of places of classes, uint8 of the same shape."""
        return np.array(self.values, np.uint8)[places]

    def to_json(self) -> dict[str, Any]:
        """These codes as plain JSON types."""
        return {"values": list(self.values), "names": list(self.names), "ignored": list(self.ignored)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> MaskCodes:
        """The codes that `to_json` wrote."""
        return cls(values=tuple(record["values"]), names=tuple(record["names"]), ignored=tuple(record["ignored"]))


def find_codes(
    present: Sequence[int], names: Sequence[str] | None, ignore: Sequence[int] | None, where: str
) -> tuple[MaskCodes, str]:
    """The classes of masks, and how they were found.

    With names, value v is the class of the v-th name, and every name is a class. Without, every value that occurs is
    one. 255 is ignored unless the user names other values, or the masks hold nothing but 0 and 255, which are then
    two classes.

    Args:
        present: the values that occur in some mask.
        names: of the classes, in the order of their values.
        ignore: values that the user said are no class.
        where: the source's name for messages.

    Raises:
        InputError: a value without a name, a value to ignore outside 0 to 255, or fewer than two classes.

    Example:
        >>> find_codes([0, 1, 2], ["sky", "building", "void"], [2], "street")[0].names
        ('sky', 'building')
        >>> find_codes([0, 255], None, None, "cells")[0].values
        (0, 255)
    """
    binary = ignore is None and names is None and set(present) == {0, IGNORED}
    ignored = () if binary else tuple(sorted({*(ignore or ()), IGNORED}))
    for value in ignored:
        if not 0 <= value <= 255:
            raise InputError(f"--ignore must be in 0 to 255, got {value}. Name values that masks hold.")
    if names is None:
        values = tuple(value for value in sorted(present) if value not in ignored)
        titles: tuple[str | int, ...] = values
        how = "as found in the masks"
    else:
        _refuse_unnamed(present, names, ignored, where)
        values = tuple(value for value in range(len(names)) if value not in ignored)
        titles = tuple(names[value] for value in values)
        how = "by name"
    if len(values) < 2:
        raise InputError(
            f"{where}: masks must hold at least two classes, got {_shown(values) or 'none'} besides the ignored "
            f"values {_shown(ignored)}. Change --ignore, or check the masks."
        )
    if len(values) > ABSENT:
        raise InputError(f"{where}: masks may have {ABSENT} classes, got {len(values)}. Are these masks of indices?")
    said = f"classes: {len(values)}, {how}; ignored values: {_shown(ignored) or 'none'} (--ignore)"
    return MaskCodes(values=values, names=titles, ignored=ignored), said


def _refuse_unnamed(present: Sequence[int], names: Sequence[str], ignored: Sequence[int], where: str) -> None:
    unnamed = [value for value in sorted(present) if value >= len(names) and value not in ignored]
    if unnamed:
        raise InputError(
            f"{where}: masks hold the value {unnamed[0]}, which is out of range for {len(names)} class names. Add "
            f"its name, or leave it out with --ignore {unnamed[0]}."
        )
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: two classes are called {repeated!r}. Give each a name of its own.")


def _shown(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
