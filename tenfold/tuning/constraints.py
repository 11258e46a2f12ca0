"""Conditions on a whole configuration: expressions such as "hidden * depth <= 512", or functions.

An expression is parsed once and evaluated by a walk over its syntax tree, which knows arithmetic, comparisons, `and`,
`or`, `not`, `in` and a few functions, and nothing else: no attribute, no index, no call of anything but these. So a
file from a stranger cannot run code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tenfold.core.errors import InputError, did_you_mean

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "round": round,
    "log2": math.log2,
    "log10": math.log10,
    "sqrt": math.sqrt,
}
"""What an expression may call."""

_MOST_CHARACTERS = 1000
_LARGEST_EXPONENT = 64
_DEEPEST = 50
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, many: value in many,
    ast.NotIn: lambda value, many: value not in many,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


class _AbsentError(Exception):
    """A name does not apply in this configuration."""


class Constraint:
    """A condition that each configuration has to satisfy.

    A configuration that lacks a name, because that parameter does not apply there, satisfies an expression that
    depends on it; a function is given the configuration as it is.

    Args:
        condition: an expression over the names of a space, or a function of the configuration.

    Attributes:
        text: the expression, or the function's name.
        names: what the expression speaks of; empty for a function.

    Raises:
        InputError: the expression does not parse, or holds what is not allowed.
        TypeError: it is neither text nor a function.

    Example:
        >>> small = Constraint("hidden * depth <= 512")
        >>> [small.holds(config) for config in ({"hidden": 256, "depth": 2}, {"hidden": 256, "depth": 3}, {})]
        [True, False, True]
    """

    def __init__(self, condition: str | Callable[[Mapping[str, Any]], Any] | Constraint) -> None:
        self.function: Callable[[Mapping[str, Any]], Any] | None = None
        self.names: tuple[str, ...] = ()
        if isinstance(condition, Constraint):
            self.__dict__.update(condition.__dict__)
        elif isinstance(condition, str):
            self.text = " ".join(condition.split())
            self._tree = _parsed(self.text)
            found = (node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name))
            self.names = tuple(dict.fromkeys(name for name in found if name not in FUNCTIONS))
        elif callable(condition):
            self.function = condition
            self.text = getattr(condition, "__name__", type(condition).__name__)
        else:
            raise TypeError(
                f"Space: a constraint must be text or a function of the configuration, got {condition!r}. "
                'Write "hidden * depth <= 512".'
            )

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration satisfies it.

        Raises:
            InputError: the expression cannot be computed: it divides by zero, or adds a number to a word.
        """
        if self.function is not None:
            return bool(self.function(config))
        try:
            return bool(_value(self._tree, config))
        except _AbsentError:
            return True
        except (ArithmeticError, TypeError, ValueError) as error:
            raise InputError(
                f"constraint {self.text!r}: {error} in the configuration {dict(config)}. Change it, or guard it with "
                "'or'."
            ) from error

    def check_names(self, known: Iterable[str]) -> None:
        """Raises where the expression speaks of a name that there is not.

        Raises:
            InputError: with the near miss.
        """
        known = list(known)
        for name in self.names:
            if name not in known:
                raise InputError(
                    f"constraint {self.text!r}: there is no {name!r} in the space.{did_you_mean(name, known)}"
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constraint) and (self.text, self.function) == (other.text, other.function)

    def __hash__(self) -> int:
        return hash((self.text, self.function))

    def __repr__(self) -> str:
        return f"Constraint({self.text!r})"


def _parsed(text: str) -> ast.expr:
    if len(text) > _MOST_CHARACTERS:
        raise InputError(
            f"constraint: an expression must have at most {_MOST_CHARACTERS:,} characters, got {len(text):,}. "
            "Pass a function."
        )
    try:
        tree = ast.parse(text, mode="eval").body
        _check(tree, text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "msg", None) or str(error) or "nested too deeply"
        raise InputError(
            f'constraint {text!r}: must be an expression such as "hidden * depth <= 512", got a mistake '
            f"({reason}). Mend it."
        ) from None
    return tree


def _check(node: ast.AST, text: str, depth: int = 0) -> None:
    """Refuses every node that `_value` does not know, and what is nested too deeply for it."""
    if depth > _DEEPEST:
        raise RecursionError
    match node:
        case ast.Name() | ast.Constant(value=None | bool() | int() | float() | str()):
            return
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            children: list[ast.AST] = [*node.args]
        case ast.BinOp() if type(node.op) in _BINARY:
            children = [node.left, node.right]
        case ast.UnaryOp() if type(node.op) in _UNARY:
            children = [node.operand]
        case ast.Compare() if all(type(each) in _COMPARE for each in node.ops):
            children = [node.left, *node.comparators]
        case ast.BoolOp():
            children = [*node.values]
        case ast.Tuple() | ast.List() | ast.Set():
            children = [*node.elts]
        case ast.IfExp():
            children = [node.test, node.body, node.orelse]
        case _:
            shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
            raise InputError(
                f"constraint {text!r}: must be made of names, numbers, words, arithmetic, comparisons, and, or, not, "
                f"in, and {', '.join(FUNCTIONS)}, got {shown!r}. Take it out, or pass a function in Python."
            )
    for child in children:
        _check(child, text, depth + 1)


def _value(node: ast.AST, config: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            if name not in config:
                raise _AbsentError
            return config[name]
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](*(_value(each, config) for each in node.args))
        case ast.BinOp():
            return _arithmetic(node.op, _value(node.left, config), _value(node.right, config))
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_value(node.operand, config))
        case ast.Compare():
            return _compared(node, config)
        case ast.BoolOp(op=ast.And()):
            return all(_value(each, config) for each in node.values)
        case ast.BoolOp():
            return any(_value(each, config) for each in node.values)
        case ast.IfExp():
            return _value(node.body if _value(node.test, config) else node.orelse, config)
        case ast.Tuple() | ast.List() | ast.Set():
            return [_value(each, config) for each in node.elts]
    raise AssertionError(f"not checked: {ast.dump(node)}")


def _arithmetic(operation: ast.operator, left: Any, right: Any) -> Any:
    """Of numbers alone, because a word times a large number would fill the memory; so would a large power."""
    for operand in (left, right):
        if not isinstance(operand, int | float):
            raise TypeError(f"arithmetic needs numbers, got {operand!r}")
    if isinstance(operation, ast.Pow) and abs(right) > _LARGEST_EXPONENT:
        raise ValueError(f"an exponent must be at most {_LARGEST_EXPONENT}, got {right!r}")
    return _BINARY[type(operation)](left, right)


def _compared(node: ast.Compare, config: Mapping[str, Any]) -> bool:
    left = _value(node.left, config)
    for operation, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, config)
        if not _COMPARE[type(operation)](left, right):
            return False
        left = right
    return True
