"""A space in plain text, as it is said before a search starts."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

from tenfold.tuning.space import MOST_COMBINATIONS, Space


def format_space(space: Space, *, width: int = 80) -> str:
    """What will be searched, with the reasons: searched parameters first, then what is fixed, then the constraints.

    Args:
        space: to be shown.
        width: characters a line at most, where words allow it; at least 40.

    Returns:
        Lines without a line break at the end.

    Example:
        >>> from tenfold.tuning import Categorical, Float
        >>> print(format_space(Space({
        ...     "optimizer": Categorical(["adamw", "sgd"]),
        ...     "lr": Float(1e-4, 1e-1, log=True, reason="covers both"),
        ...     "momentum": Float(0.8, 0.99, when={"optimizer": "sgd"}),
        ...     "epochs": 20,
        ... })))
        searched
          optimizer  adamw, sgd
          lr         0.0001 to 0.1, log (covers both)
          momentum   0.8 to 0.99, where optimizer is sgd
        fixed
          epochs     20
    """
    width = max(width, 40)
    parts: dict[str, list[tuple[str, str]]] = {"searched": [], "fixed": []}
    if space.function is not None:
        name = getattr(space.function, "__name__", type(space.function).__name__)
        parts["searched"].append((name, "whatever this function of the trial asks for"))
    for name, alternatives in space.parameters.items():
        for one in alternatives:
            num_values = sum(1 for _ in itertools.islice(one.values(), 2))
            kind = "fixed" if num_values == 1 and len(alternatives) == 1 else "searched"
            parts[kind].append(
                (name, one.describe() + _condition(one.when) + (f" ({one.reason})" * bool(one.reason)))
            )
    lines: list[str] = []
    column = max((len(name) for rows in parts.values() for name, _ in rows), default=0)
    column = min(column, width // 3)
    for title, rows in parts.items():
        lines += [title] * bool(rows)
        for name, text in rows:
            lines += _row(name, text, column, width)
    if space.constraints:
        lines += ["constraints", *(f"  {one.text}" for one in space.constraints)]
    count = space.num_configurations(limit=MOST_COMBINATIONS)
    if count < MOST_COMBINATIONS and parts["searched"]:
        lines.append(f"{count:,} configuration{'s' * (count != 1)} in all")
    return "\n".join(lines)


def _row(name: str, text: str, column: int, width: int) -> list[str]:
    indent = " " * (column + 4)
    wrapped = textwrap.wrap(text, width - len(indent), break_long_words=False, break_on_hyphens=False) or [""]
    if len(name) > column:
        return [f"  {name}", *(indent + line for line in wrapped)]
    return [f"  {name:<{column}}  {wrapped[0]}".rstrip(), *(indent + line for line in wrapped[1:])]


def _condition(when: Any) -> str:
    wanted = (f"{name} is {' or '.join(map(str, values))}" for name, values in (when or {}).items())
    return f", where {' and '.join(wanted)}" if when else ""
