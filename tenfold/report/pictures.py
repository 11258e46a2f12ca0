"""Samples: a batch as the network saw it, and those it predicted worst, as pictures or as rows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tenfold.core.wording import plural
from tenfold.report.markup import Html, element, empty, join, note, section, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import format_value

MAX_PICTURES = 32
MAX_SIDE = 160
MAX_COLUMNS = 12
MAX_ROWS = 24


def batch(records: RunRecords) -> Html:
    """A batch as the network saw it, with labels."""
    title = "A batch as the network saw it"
    pictures = records.gallery.get("batch")
    if pictures is None or not len(pictures):
        return section("batch", title, empty(_why_no_pictures(records)))
    captions = [str(label) for label in records.gallery.get("batch_labels", [])]
    return section("batch", title, note("After resizing and augmentation."), sheet(pictures, captions))


def _why_no_pictures(records: RunRecords) -> str:
    if "gallery.npz" in records.problems:
        return f"gallery.npz could not be read: {records.problems['gallery.npz']}."
    if (records.run.get("input") or {}).get("kind") == "table":
        return "The inputs are rows of a table; there is nothing to look at."
    return "No batch has been kept" + (" yet." if records.status in ("running", "interrupted") else ".")


def worst(records: RunRecords) -> Html:
    """The samples on which the model was most wrong."""
    title = "Predicted worst"
    samples = f"{records.evaluated}s".capitalize()
    pictures = records.gallery.get("worst")
    if pictures is not None and len(pictures):
        captions = [str(caption) for caption in records.gallery.get("worst_captions", [])]
        body = [
            note(f"{samples} with the largest loss, worst first."),
            sheet(pictures, captions),
        ]
        return section("worst", title, *body)
    if records.worst_rows:
        return section(
            "worst",
            title,
            note(f"{samples} with the largest error, worst first."),
            _rows(records),
        )
    for name in ("gallery.npz", "gallery.json"):
        if name in records.problems:
            return section("worst", title, empty(f"{name} could not be read: {records.problems[name]}."))
    text = "No samples were kept" + (" yet." if records.status in ("running", "interrupted") else ".")
    return section("worst", title, empty(text))


def _rows(records: RunRecords) -> Html:
    rows = records.worst_rows[:MAX_ROWS]
    columns = list(dict.fromkeys(name for row in rows for name in row.get("values") or {}))
    shown = columns[:MAX_COLUMNS]
    has_confidence = any(row.get("confidence") is not None for row in rows)
    header = ["row", "true", "predicted", *(["confidence"] if has_confidence else []), *shown]
    cells = [
        [
            _cell(row.get("row")),
            element("b", _cell(row.get("target"))),
            element("b", _cell(row.get("prediction"))),
            *([_confidence(row.get("confidence"))] if has_confidence else []),
            *(_cell((row.get("values") or {}).get(name)) for name in shown),
        ]
        for row in rows
    ]
    hidden = len(columns) - len(shown)
    more = note(f"{plural(hidden, 'more column')} not shown.") if hidden else None
    return join([table(header, cells), more])


def _cell(value: Any) -> str:
    return "" if value is None else format_value(value)


def _confidence(value: Any) -> str:
    return f"{100 * value:.0f} %" if isinstance(value, int | float) and np.isfinite(value) else ""


def sheet(pictures: np.ndarray, captions: Sequence[str]) -> Html:
    """Pictures with their captions.

    Args:
        pictures: uint8, shape (n, C, H, W).
        captions: one for each picture; missing ones are left empty.
    """
    if pictures.ndim != 4 or pictures.dtype != np.uint8:
        return empty(f"Pictures must be uint8 of shape (n, C, H, W), got {pictures.dtype} {pictures.shape}.")
    few = pictures[:MAX_PICTURES]
    texts = [*captions, *[""] * len(few)][: len(few)]
    crisp = "crisp" if max(few.shape[2:]) <= 64 else None
    cards = [
        element(
            "figure",
            element("img", src=png_uri(picture), alt=text, loading="lazy", class_=crisp),
            element("figcaption", text),
        )
        for picture, text in zip(few, texts, strict=True)
    ]
    channels = note(_channel_note(few.shape[1])) if few.shape[1] not in (1, 3) else None
    return join([element("div", *cards, class_="sheet"), channels])


def _channel_note(channels: int) -> str:
    if channels == 2:
        return "The pictures have 2 channels; their mean is shown."
    return f"The pictures have {channels} channels; the first three are shown as red, green and blue."


def png_uri(picture: np.ndarray) -> str:
    """A picture as a data URI, shrunk to at most 160 pixels a side.

    Args:
        picture: uint8, shape (C, H, W); 1 channel is grey, 2 are averaged, of more the first three are shown.
    """
    channels = picture.shape[0]
    if channels <= 2:
        image = Image.fromarray(picture.mean(axis=0).astype(np.uint8))
    else:
        image = Image.fromarray(np.ascontiguousarray(picture[:3].transpose(1, 2, 0)))
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
