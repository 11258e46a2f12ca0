"""The leaderboard on a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from tenfold.core.wording import plural
from tenfold.report.wording import format_config, format_score, is_share, metric_words, printable, searched


def render_leaderboard(frame: pd.DataFrame, *, top: int = 5) -> Table:
    """The first rows of a leaderboard as a table for `rich`, at most 80 columns wide.

    Baselines and the chosen trial are always among the rows, at their rank. Of the configurations it shows what
    differs between trials. Test scores are those of the chosen model and the baselines, on the same rows.

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
    tested = bool(frame["test"].notna().any())
    table = _table(f"valid {metric_words(metric)}", tested)
    trials = frame[frame["kind"] == "trial"]
    columns = [name for name in trials.columns if name.startswith("config_")]
    shown_config = searched([{name: row[name] for name in columns} for row in trials.to_dict("records")])
    shown = frame[(frame["kind"] == "baseline") | frame["chosen"] | frame["rank"].isin(trials["rank"].head(top))]
    for row in shown.to_dict("records"):
        table.add_row(*_cells(row, metric, shown_config, tested), style=_style(row))
    hidden = len(frame) - len(shown)
    table.caption = _caption(hidden, bool(frame["chosen"].any()))
    return table


def _table(score_title: str, tested: bool) -> Table:
    table = Table(box=None, width=80, pad_edge=False, header_style="bold", caption_justify="left")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True, overflow="ellipsis", max_width=22)
    table.add_column(score_title, justify="right", max_width=max(8, *map(len, score_title.split())))
    if tested:
        table.add_column("test", justify="right", no_wrap=True)
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("configuration", ratio=1, overflow="fold")
    return table


def _cells(row: dict[str, Any], metric: str, shown_config: set[str], tested: bool) -> list[Text]:
    """One text for each column; `Text`, so that brackets in names are not taken for markup."""
    score = format_score(float(row["valid"]), metric)
    if pd.notna(row["spread"]):
        score += f" ± {format_score(float(row['spread']), metric).removesuffix(' %' if is_share(metric) else '')}"
    config = {
        name.removeprefix("config_"): value for name, value in row.items() if name in shown_config and _is_set(value)
    }
    texts = [
        f"{row['rank']}{'*' if row['chosen'] else ''}",
        str(row["name"]),
        score,
        *([format_score(float(row["test"]), metric) if pd.notna(row["test"]) else ""] if tested else []),
        "" if pd.isna(row["epochs"]) else str(row["epochs"]),
        "baseline" if row["kind"] == "baseline" else format_config(config),
    ]
    return [Text(printable(text)) for text in texts]


def _is_set(value: Any) -> bool:
    return isinstance(value, list | tuple | dict) or bool(pd.notna(value))


def _style(row: dict[str, Any]) -> str:
    if row["chosen"]:
        return "bold green"
    return "yellow" if row["kind"] == "baseline" else ""


def _caption(hidden: int, has_chosen: bool) -> str | None:
    notes = ["* chosen"] if has_chosen else []
    if hidden:
        notes.append(f"{plural(hidden, 'more trial')} in the report")
    return "; ".join(notes) or None
