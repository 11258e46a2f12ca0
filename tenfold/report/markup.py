"""HTML and SVG built from values, so that no text of the user can become markup.

Every child of `element` that is not `Html` already is escaped; only `element`, `join` and `raw` make `Html`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

VOID = frozenset({"br", "img", "meta", "link", "col", "hr"})
SVG_SHAPES = frozenset({"circle", "line", "path", "polyline", "polygon", "rect", "use"})


class Html(str):
    """Markup: text that is not escaped again."""

    __slots__ = ()


def raw(text: str) -> Html:
    """Marks text of our own (a style sheet, a script) as markup. Never for text of the user."""
    return Html(text)


def element(tag: str, *children: object, **attributes: Any) -> Html:
    """One element.

    Args:
        tag: its name.
        children: `Html` stands as it is, None is left out, everything else is escaped.
        attributes: None and False are left out, True stands bare, a float is rounded to two decimals; a
            trailing underscore is dropped and the others become hyphens (`class_`, `data_trial`).

    Returns:
        The markup.

    Example:
        >>> element("p", "a < b", class_="note", hidden=True)
        '<p class="note" hidden>a &lt; b</p>'
        >>> element("circle", cx=1 / 3, r=2)
        '<circle cx="0.33" r="2"/>'
    """
    opening = tag + "".join(
        f" {name.rstrip('_').replace('_', '-')}{_attribute(value)}"
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in VOID:
        return Html(f"<{opening}>")
    if tag in SVG_SHAPES and not children:
        return Html(f"<{opening}/>")
    return Html(f"<{opening}>{join(children)}</{tag}>")


def join(children: Iterable[object]) -> Html:
    """Children after one another; None is left out and what is not `Html` is escaped.

    Example:
        >>> join(["1 < 2", None, element("br")])
        '1 &lt; 2<br>'
    """
    return Html("".join(_escape(child) for child in children if child is not None))


def section(anchor: str, title: str, *children: object) -> Html:
    """A section of the page with its heading."""
    return element("section", element("h2", title), *children, id=anchor)


def note(*children: object) -> Html:
    """A sentence in small print."""
    return element("p", *children, class_="note")


def empty(*children: object) -> Html:
    """The sentence that says why a section has nothing to show."""
    return element("p", *children, class_="empty")


def figure(drawing: Html, caption: object = None, **attributes: Any) -> Html:
    """A drawing with its caption."""
    return element("figure", drawing, None if caption is None else element("figcaption", caption), **attributes)


def table(
    header: Iterable[object], rows: Iterable[Iterable[object]], *, numeric: Iterable[int] = (), wide: bool = False
) -> Html:
    """A table that scrolls sideways where the screen is narrow.

    Args:
        header: the headings, one a column.
        rows: the cells of each row.
        numeric: columns, counted from 0, that are set flush right.
        wide: keep room for sentences in cells, scrolling on a narrow screen.
    """
    right = set(numeric)

    def cells(tag: str, row: Iterable[object]) -> Html:
        return join(element(tag, c, class_="num" if i in right else None) for i, c in enumerate(row))

    head = element("thead", element("tr", cells("th", header)))
    body = element("tbody", *(element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="scroll wide" if wide else "scroll")


def _escape(child: object) -> str:
    return child if isinstance(child, Html) else html.escape(str(child), quote=False)


def _attribute(value: object) -> str:
    if value is True:
        return ""
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f'="{html.escape(text)}"'
