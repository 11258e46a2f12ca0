"""An inspection on a terminal of 80 columns, and in a notebook."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenfold.diagnosis.layers import Layer, grouped
from tenfold.diagnosis.receptive_field import ReceptiveField, sizes_in_words

if TYPE_CHECKING:
    from tenfold.diagnosis.inspection import Inspection

HEADER = ("layer", "output", "parameters", "FLOPs", "kept", "field")
_WIDTHS = (27, 14, 11, 8, 9, 6)


def as_text(inspection: Inspection, *, depth: int | None = None) -> str:
    """The table with its totals, at most 80 columns wide.

    Args:
        inspection: what to show.
        depth: sum layers up to so many parts of their names; by default all are shown.
    """
    layers = inspection.layers if depth is None else grouped(inspection.layers, depth)
    rows = [HEADER, *(_cells(layer) for layer in layers), _total_cells(inspection)]
    table = [_line(row) for row in rows]
    rule = "-" * len(table[0])
    wrapped = [line for fact in facts(inspection) for line in textwrap.wrap(fact, 80, subsequent_indent=" " * 11)]
    shown = [_title(inspection), "", table[0], rule, *table[1:-1], rule, table[-1], "", *wrapped]
    found = [line for finding in inspection.findings for line in ("", *textwrap.wrap(str(finding), 80))]
    return "\n".join([*shown, *found])


def as_html(inspection: Inspection) -> str:
    """The table as HTML; names are escaped."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row("td", _cells(layer)) for layer in inspection.layers)
    rows = row("th", HEADER) + body + row("th", _total_cells(inspection))
    notes = "".join(f"<p>{html.escape(line)}</p>" for line in (*facts(inspection), *map(str, inspection.findings)))
    return f"<p><b>{html.escape(_title(inspection))}</b></p><table>{rows}</table>{notes}"


def facts(inspection: Inspection) -> list[str]:
    """What does not fit into a table, each in one line."""
    lines = [
        f"FLOPs:     {inspection.flops:,}, with biases {inspection.flops_with_bias:,}; "
        f"backward {inspection.backward_flops:,}",
        f"training:  {in_bytes(inspection.training_bytes(32))} with a batch of 32 and Adam: weights, gradients and "
        f"moments {in_bytes(inspection.training_bytes(32) - 32 * inspection.activation_bytes)}, activations "
        f"{in_bytes(32 * inspection.activation_bytes)}; as much for each member of a stack",
    ]
    seen = inspection.receptive_field
    if seen is not None:
        lines.append(f"field:     {_field_in_words(seen, inspection.output_receptive_field)}")
    if inspection.trainable < inspection.parameters:
        lines.append(f"trainable: {inspection.trainable:,} of {inspection.parameters:,} parameters")
    return lines


def in_bytes(count: int) -> str:
    """A size in binary units, at most nine characters.

    Example:
        >>> in_bytes(1_288_490_188), in_bytes(600), in_bytes(0)
        ('1.2 GiB', '600 B', '0 B')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def in_short(count: int) -> str:
    """A count with three digits and a letter.

    Example:
        >>> in_short(22_649_241_600), in_short(960), in_short(61_706), in_short(999_999)
        ('22.6 G', '960', '61.7 k', '1.00 M')
    """
    size = float(count)
    for letter in ("", "k", "M", "G", "T", "P"):
        if size < 999.5 or letter == "P":
            digits = 0 if not letter or size >= 99.95 else 1 if size >= 9.995 else 2
            return f"{size:.{digits}f} {letter}".strip()
        size /= 1000
    raise AssertionError


def _title(inspection: Inspection) -> str:
    shapes = ", ".join("x".join(map(str, shape)) or "one number" for shape in inspection.input_shapes)
    count, flops = inspection.parameters, in_short(inspection.flops)
    unit = "FLOPs" if flops[-1].isalpha() else " FLOPs"  # 33.8 kFLOPs, 32 FLOPs
    return f"{inspection.name} on {shapes}: {in_short(count)} parameter{'s' * (count != 1)}, {flops}{unit} a sample"


def _cells(layer: Layer) -> tuple[str, ...]:
    name = f"{layer.name} {layer.kind}".strip() if len(f"{layer.name} {layer.kind}") <= _WIDTHS[0] else layer.name
    shape = "" if layer.output_shape is None else "x".join(map(str, layer.output_shape))
    field = layer.receptive_field
    return (
        _shortened(name or layer.kind, _WIDTHS[0]),
        "never runs" if not layer.calls else _shortened(shape, _WIDTHS[1]),
        f"{layer.parameters:,}" if layer.parameters else "",
        in_short(layer.flops) if layer.flops else "",
        in_bytes(layer.activation_bytes) if layer.activation_bytes else "",
        "" if field is None else "whole" if field.whole else sizes_in_words(field.size),
    )


def _total_cells(inspection: Inspection) -> tuple[str, ...]:
    return (
        "total",
        "",
        f"{inspection.parameters:,}",
        in_short(inspection.flops),
        in_bytes(inspection.activation_bytes),
        "",
    )


def _line(cells: Sequence[str]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], _WIDTHS[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], _WIDTHS[2:], strict=True)]
    return " ".join([*left, *right]).rstrip()


def _shortened(text: str, width: int) -> str:
    """Text that fits, with its end, which tells layers apart.

    Example:
        >>> _shortened("encoder.layers.11.mlp", 12)
        'enc…s.11.mlp'
    """
    if len(text) <= width:
        return text
    head = width // 3 - 1
    return f"{text[:head]}…{text[len(text) - (width - head - 1) :]}"


def _field_in_words(seen: ReceptiveField, output: ReceptiveField | None) -> str:
    whole = "; the output sees the whole input" if output is not None and output.whole else ""
    if seen.whole:
        return "the first layers already see the whole input"
    stride = sizes_in_words([0 if step is None else round(step) for step in seen.stride])
    centers = [f"{value + 0.0:g}" for value in seen.center]
    center = centers[0] if len(set(centers)) == 1 else " x ".join(centers)
    pixels = "pixel" if set(seen.size) == {1} else "pixels"
    return f"{sizes_in_words(seen.size)} {pixels} before all is mixed, stride {stride}, first centre {center}{whole}"
