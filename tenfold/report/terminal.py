"""The leaderboard on a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from tenfold.report.wording import format_config, format_score, is_share, metric_words, printable


def render_leaderboard(frame: pd.DataFrame, *, top: int = 10) -> Table:
    """The first rows of a leaderboard as a table for `rich`, at most 80 columns wide.

    Baselines and the chosen trial are always among the rows, at their rank.

    Args:
        frame: what `leaderboard` gives.
        top: number of trials to show, at least 1.

    Returns:
        A `rich.table.Table`: `Console().print(...)` shows it.

    Raises:
        ValueError: `top` is below 1.
    """
    if top < 1:
        raise ValueError(f"render_leaderboard: top must be at least 1, got {top!r}. Give the number of rows.")
    metric = str(frame.attrs.get("metric", "accuracy"))
    table = _table(f"valid {metric_words(metric)}")
    trials = frame[frame["kind"] == "trial"]
    shown = frame[(frame["kind"] == "baseline") | frame["chosen"] | frame["rank"].isin(trials["rank"].head(top))]
    for row in shown.to_dict("records"):
        table.add_row(*_cells(row, metric), style=_style(row))
    hidden = len(frame) - len(shown)
    table.caption = _caption(hidden, bool(frame["chosen"].any()))
    return table


def _table(score_title: str) -> Table:
    table = Table(box=None, width=80, pad_edge=False, header_style="bold", caption_justify="left")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True, overflow="ellipsis", max_width=22)
    table.add_column(score_title, justify="right", max_width=max(8, *map(len, score_title.split())))
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("left at rung", justify="right", max_width=4)
    table.add_column("configuration", ratio=1, overflow="fold")
    return table


def _cells(row: dict[str, Any], metric: str) -> list[Text]:
    """One text for each column; `Text`, so that brackets in names are not taken for markup."""
    score = format_score(float(row["valid"]), metric)
    if pd.notna(row["spread"]):
        score += f" ± {format_score(float(row['spread']), metric).removesuffix(' %' if is_share(metric) else '')}"
    config = {name.removeprefix("config_"): value for name, value in row.items() if _is_set(name, value)}
    texts = [
        f"{row['rank']}{'*' if row['chosen'] else ''}",
        str(row["name"]),
        score,
        "" if pd.isna(row["epochs"]) else str(row["epochs"]),
        "" if pd.isna(row["left_rung"]) else str(row["left_rung"]),
        "baseline" if row["kind"] == "baseline" else format_config(config),
    ]
    return [Text(printable(text)) for text in texts]


def _is_set(name: str, value: Any) -> bool:
    return name.startswith("config_") and (isinstance(value, list | tuple | dict) or bool(pd.notna(value)))


def _style(row: dict[str, Any]) -> str:
    if row["chosen"]:
        return "bold green"
    return "yellow" if row["kind"] == "baseline" else ""


def _caption(hidden: int, has_chosen: bool) -> str | None:
    notes = ["* chosen"] if has_chosen else []
    if hidden:
        notes.append(f"{hidden} more trials in the report")
    return "; ".join(notes) or None
