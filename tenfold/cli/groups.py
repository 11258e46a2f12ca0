"""Options in groups: a dataclass of options stands for its fields on the command line.

A verb names what is its own, and groups for the rest:

    @app.command()
    @guarded
    @grouped
    def replicate(source: SourceName, seeds: Seeds = 10, *, data: DataOptions) -> None: ...

`--help` shows the fields of a group together, under the word that its docstring begins with: "Data: how ...".
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters of a dataclass's type are spread over the command line.

    Args:
        command: every field of its groups has a default and a name of its own.

    Returns:
        A function of the fields in place of the groups.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     height: int = 2
        ...     width: int = 3
        >>> @grouped
        ... def area(size: Size, times: int = 1) -> None:
        ...     print(size.height * size.width * times)
        >>> list(inspect.signature(area).parameters), area(width=5)
        10
        (['height', 'width', 'times'], None)
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}

    @functools.wraps(command)
    def spread(**given: Any) -> None:
        for name, group in groups.items():
            own = {field.name: given.pop(field.name) for field in fields(group) if field.name in given}
            given[name] = group(**own)
        command(**given)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _spread(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=_EITHER))
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return spread


def _spread(group: type) -> list[inspect.Parameter]:
    """The fields of a group as parameters, titled by what its docstring begins with."""
    hints = get_type_hints(group, include_extras=True)
    title = (group.__doc__ or "").partition(":")[0]
    return [
        inspect.Parameter(field.name, _EITHER, default=_default(field), annotation=_titled(hints[field.name], title))
        for field in fields(group)
    ]


def _titled(hint: Any, title: str) -> Any:
    """An option that stands under a title in `--help`, unless it has another one."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *about = get_args(hint)
    options = [copy.copy(each) for each in about]
    for option in options:
        if isinstance(option, OptionInfo) and option.rich_help_panel is None:
            option.rich_help_panel = title
    return Annotated[(kind, *options)]


def _default(field: Field[Any]) -> Any:
    assert field.default is not MISSING, f"{field.name} has no default"
    return field.default
