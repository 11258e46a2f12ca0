"""Spaces from TOML files.

A table a parameter, in the order in which they are drawn; a plain value is a constant; a list of choices is short
for a categorical parameter; `constraints` is a list of expressions.

    constraints = ["hidden * depth <= 512"]
    optimizer = ["adamw", "sgd"]                 # a choice
    batch_size = 64                              # a constant

    [lr]
    low = 1e-4
    high = 1e-1
    log = true
    reason = "covers both optimisers"

    [momentum]
    low = 0.8
    high = 0.99
    when = { optimizer = "sgd" }                 # or a list of values

    [[depth]]                                    # the same name with other values elsewhere
    low = 2
    high = 3
    when = { network = "mlp" }

    [[depth]]
    choices = [18, 34]
    when = { network = "resnet" }

A table is known by its keys: `low` and `high` (whole numbers make an `Int`, anything else a `Float`), `choices`, or
`value`; `type` ("float", "int", "categorical", "constant") says it outright. `log`, `step`, `when` and `reason` are
as in Python. TOML has no null: None is written as { none = true } where a choice may be None.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenfold.core.errors import InputError, did_you_mean
from tenfold.tuning.parameters import Categorical, Constant, Float, Int, Parameter
from tenfold.tuning.space import Space

_COMMON = ("type", "when", "reason")
_KEYS: dict[str, tuple[str, ...]] = {
    "float": ("low", "high", "log", "step"),
    "int": ("low", "high", "log", "step"),
    "categorical": ("choices",),
    "constant": ("value",),
}
_KINDS: dict[str, type[Any]] = {"float": Float, "int": Int, "categorical": Categorical, "constant": Constant}
_NONE = {"none": True}


def parse_space(path: str | Path) -> Space:
    """The space that a TOML file describes.

    Args:
        path: the file, UTF-8.

    Raises:
        InputError: there is no such file, it is no TOML, or it does not say a space; the message names the file, the
            key, and what was expected.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "space.toml").write_text("lr = { low = 1e-4, high = 1e-2, log = true }")
        ...     parse_space(Path(folder, "space.toml")).to_json()[0]["type"]
        'float'
    """
    path = Path(path)
    entries = _read(path)
    constraints = entries.pop("constraints", [])
    if not isinstance(constraints, list) or not all(isinstance(one, str) for one in constraints):
        raise InputError(f'{path}: constraints must be a list of expressions, got {constraints!r}. Write ["a < b"].')
    try:
        space = Space({name: _entry(path, name, entry) for name, entry in entries.items()}, constraints=constraints)
    except (TypeError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise InputError(f"{path}: {error}") from error
    if not space.parameters:
        raise InputError(f"{path}: must have at least one parameter, got none. Write [lr] with low and high.")
    return space


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Give the path of a TOML file.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: must be UTF-8 text, got byte {error.start} otherwise. Save it as UTF-8."
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: must be TOML, got a mistake: {error}. Mend it.") from error


def _entry(path: Path, name: str, entry: Any) -> Any:
    """A name's value as `Space` takes it."""
    if isinstance(entry, list) and entry and all(isinstance(one, dict) and one != _NONE for one in entry):
        return tuple(_parameter(path, f"{name}[{index}]", one) for index, one in enumerate(entry))
    if isinstance(entry, list):
        return _built(path, name, "categorical", {"choices": entry})
    if isinstance(entry, dict):
        return _parameter(path, name, entry)
    return Constant(entry)


def _parameter(path: Path, name: str, entry: Mapping[str, Any]) -> Parameter:
    kind = entry.get("type", _guessed(entry))
    if kind not in _KINDS:
        got = f"the keys {', '.join(entry) or 'none at all'}" if kind is None else f"type = {kind!r}"
        raise InputError(
            f"{path}: {name} must have low and high, choices, or value, got {got}."
            + ("" if kind is None else did_you_mean(str(kind), _KINDS))
            + (" Add low and high." if kind is None else "")
        )
    known = (*_KEYS[kind], *_COMMON)
    for key in entry:
        if key not in known:
            raise InputError(f"{path}: {name} has no key {key!r} as {kind}.{did_you_mean(key, known)}")
    needed = ("low", "high") if kind in ("float", "int") else _KEYS[kind]
    if missing := [key for key in needed if key not in entry]:
        raise InputError(
            f"{path}: {name} must have {' and '.join(missing)} as {kind}, got {', '.join(entry)}. Add it."
        )
    if not isinstance(entry.get("when", {}), dict):
        raise InputError(
            f'{path}: {name}: when must be a table, got {entry["when"]!r}. Write when = {{ optimizer = "sgd" }}.'
        )
    return _built(path, name, kind, {key: value for key, value in entry.items() if key != "type"})


def _guessed(entry: Mapping[str, Any]) -> str | None:
    for key, kind in (("choices", "categorical"), ("value", "constant")):
        if key in entry:
            return kind
    bounds = [entry.get(key) for key in ("low", "high", "step") if key in entry]
    if not bounds:
        return None
    return "int" if all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds) else "float"


def _built(path: Path, name: str, kind: str, fields: dict[str, Any]) -> Parameter:
    if "choices" in fields and isinstance(fields["choices"], list):
        fields = {**fields, "choices": [None if one == _NONE else one for one in fields["choices"]]}
    try:
        parameter: Parameter = _KINDS[kind](**fields)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {name}: {error}") from error
    return parameter
