"""The answer of `cv`, `replicate` and `compare` on a terminal: one line, and a table of 80 columns.

Both read the answer as it stands in `run.json` under "result", which `tenfold.study.answers` makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from tenfold.core.wording import plural
from tenfold.report.records import Score
from tenfold.report.wording import (
    as_number,
    format_difference,
    format_interval,
    format_p,
    format_score,
    metric_words,
    printable,
    score_phrase,
)

Result = Mapping[str, Any]

SHOWN = 12
STRIP = 26
PARTS = {"valid": "validation", "test": "test"}


def outcome_line(result: Result) -> str:
    """The answer in one line.

    Args:
        result: of a cross-validation, replication or comparison.

    Example:
        >>> outcome_line({"verb": "cv", "metric": "accuracy", "folds": {"count": 5, "repeats": 1},
        ...     "valid": {"mean": 0.9, "std": 0.02, "n": 5, "low": 0.87, "high": 0.93, "level": 0.95}})
        '90.0 % accuracy on average over 5 folds (95 % interval 87.0 to 93.0 %; standard deviation 2.00 points).'
    """
    if result["verb"] == "compare":
        return _comparison_line(result)
    valid, metric = result["valid"], result["metric"]
    measured = valid
    where = ""
    if result["verb"] == "replicate" and result.get("test"):
        measured, where = result["test"], " on the test part"
    mean = as_number(measured["mean"])
    if math.isnan(mean):
        return f"All {measured.get('diverged', 0)} trainings diverged: there is no score."
    text = f"{score_phrase(mean, metric)} on average over {over_words(result)}{where}"
    facts = [format_interval(interval_of(measured), metric)]
    if result["verb"] == "replicate" and not math.isnan(as_number(measured.get("next_low"))):
        facts.append(f"one more training: {format_interval(interval_of(measured, 'next_'), metric, bare=True)}")
    else:
        std = as_number(measured["std"])
        facts.append("" if math.isnan(std) else f"standard deviation {format_difference(std, metric, signed=False)}")
    told = "; ".join(fact for fact in facts if fact)
    return f"{text}{f' ({told})' if told else ''}.{diverged_words(measured)}"


def over_words(result: Result) -> str:
    """Over what the mean is taken, such as "10 folds x 3 seeds"."""
    if result["verb"] == "replicate":
        return plural(int(result["seeds"]["count"]), "seed")
    folds, trained = result["folds"], int(result["valid"]["n"]) + int(result["valid"].get("diverged") or 0)
    count, repeats = int(folds["count"]), int(folds.get("repeats") or 1)
    text = plural(count, "fold") + (f" x {repeats} repeats" if repeats > 1 else "")
    seeds = trained // max(1, count * repeats)
    return text + (f" x {plural(seeds, 'seed')}" if seeds > 1 else "")


def diverged_words(summary: Mapping[str, Any]) -> str:
    """That some trainings diverged, as a sentence with a space before it; empty where none did."""
    lost = int(summary.get("diverged") or 0)
    if not lost:
        return ""
    verb = "is" if lost == 1 else "are"
    return f" {lost} of {plural(int(summary['n']) + lost, 'training')} diverged and {verb} not in the mean."


def interval_of(summary: Mapping[str, Any], prefix: str = "") -> Score:
    """Mean and interval of a summary, that of the mean or (prefix "next_") of one more training."""
    return Score(
        value=as_number(summary.get("mean")),
        low=as_number(summary.get(f"{prefix}low")),
        high=as_number(summary.get(f"{prefix}high")),
        level=as_number(summary.get("level") or 0.95),
    )


def difference_words(pair: Mapping[str, Any], metric: str, level: float = 0.95) -> str:
    """A - B with interval and p-value."""
    difference = as_number(pair.get("difference"))
    if math.isnan(difference):
        return "no pair in which both trainings ended"
    low, high = as_number(pair.get("low")), as_number(pair.get("high"))
    facts = []
    if not math.isnan(low + high):
        ends = f"{format_difference(low, metric).removesuffix(' points')} to {format_difference(high, metric)}"
        facts.append(f"{100 * level:g} % interval {ends}")
    p_adjusted = as_number(pair.get("p_adjusted"))
    facts += [] if math.isnan(p_adjusted) else [format_p(p_adjusted)]
    return format_difference(difference, metric) + (f" ({', '.join(facts)})" if facts else "")


def leader_first(pair: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """The pair with the method that seems better as A; as it is where all were compared with a named one.

    Example:
        >>> pair = {"a": "x", "b": "y", "difference": -0.5, "low": -0.7, "high": -0.3, "a_better": 0.25}
        >>> leader_first(pair, {"direction": "maximize", "comparison": {}})
        {'a': 'y', 'b': 'x', 'difference': 0.5, 'low': 0.3, 'high': 0.7, 'a_better': 0.75}
    """
    sign = 1 if result["direction"] == "maximize" else -1
    leads = pair.get("winner") == pair["a"] or not sign * as_number(pair.get("difference")) < 0
    if (leads and pair.get("winner") != pair["b"]) or result["comparison"].get("against"):
        return dict(pair)
    turned = {name: _turned(name, pair) for name in pair}
    return turned | {"a": pair["b"], "b": pair["a"]}


def _turned(name: str, pair: Mapping[str, Any]) -> Any:
    """An entry of the pair (B, A), from those of (A, B)."""
    twin = _TWINS.get(name, name)
    if name in _NEGATED:
        return None if pair.get(twin) is None else -pair[twin]
    if name.startswith("a_better"):
        return None if pair.get(twin) is None else 1 - pair[twin]
    return pair.get(twin)


_NEGATED = ("difference", "low", "high", "simultaneous_low", "simultaneous_high")
_TWINS = {
    "low": "high",
    "high": "low",
    "simultaneous_low": "simultaneous_high",
    "simultaneous_high": "simultaneous_low",
    "a_better_low": "a_better_high",
    "a_better_high": "a_better_low",
    "diverged_a": "diverged_b",
    "diverged_b": "diverged_a",
}


def _comparison_line(result: Result) -> str:
    found, metric = result["comparison"], result["metric"]
    text = str(found["verdict"])
    if len(found["pairs"]) == 1:
        pair = leader_first(found["pairs"][0], result)
        told = difference_words(pair, metric, as_number(found.get("level") or 0.95))
        known = f"{metric_words(metric)} {told}, n = {pair['n']}" if pair["n"] else told
        text += f" {pair['a']} − {pair['b']}: {known}."
    lost = sum(int(method.get("diverged") or 0) for method in found["methods"])
    return text + (f" {plural(lost, 'training')} diverged." if lost else "")


def looks_words(found: Mapping[str, Any]) -> str:
    """When a sequential comparison looked and why it ended; empty of one that looked once.

    Args:
        found: "comparison" of the answer.

    Example:
        >>> looks = [{"seeds": 5, "shown": 0, "pairs": 1}, {"seeds": 10, "shown": 1, "pairs": 1}]
        >>> looks_words({"looks": looks, "planned_seeds": 50, "level": 0.95})
        'stopped after 10 of at most 50 seeds, every difference shown; false winners at most 5 % over all looks'
    """
    looks = found.get("looks")
    if not looks:
        return ""
    last, planned = looks[-1], int(found.get("planned_seeds") or looks[-1]["seeds"])
    if last["shown"] == last["pairs"]:
        text = f"stopped after {last['seeds']} of at most {planned} seeds, every difference shown"
    else:
        text = f"all {last['seeds']} seeds trained, {plural(len(looks), 'look')}, not every difference shown"
    level = as_number(found.get("level") or 0.95)
    return f"{text}; false winners at most {100 * (1 - level):.3g} % over all looks"


def render_outcome(result: Result, *, top: int = SHOWN) -> Table:
    """The folds, the seeds or the pairs of methods as a table for `rich`, at most 80 columns wide.

    Args:
        result: of a cross-validation, replication or comparison.
        top: number of folds or seeds to show, at least 2; of more, the worst and the best.

    Returns:
        A `rich.table.Table`: `Console().print(...)` shows it.

    Raises:
        ValueError: `top` is below 2.
    """
    if top < 2:
        raise ValueError(f"render_outcome: top must be at least 2, got {top!r}. Give the number of rows.")
    if result["verb"] == "compare":
        return _methods_table(result)
    return _folds_table(result, top) if result["verb"] == "cv" else _seeds_table(result, top)


def _folds_table(result: Result, top: int) -> Table:
    metric, folds = result["metric"], result["folds"]["scores"]
    shown, hidden = _ends(folds, [as_number(fold["mean"]) for fold in folds], top, result)
    spread = any(not math.isnan(as_number(fold.get("std"))) for fold in folds)
    any_lost = any(fold.get("diverged") for fold in folds)
    columns = ["fold", metric_words(metric), *(["spread"] if spread else []), "", "diverged" if any_lost else ""]
    rows = []
    for fold in shown:
        std = as_number(fold.get("std"))
        spreads = [f"± {format_difference(std, metric, signed=False)}" if not math.isnan(std) else ""]
        value = as_number(fold["mean"])
        lost = f"{fold['diverged']} of {fold['n'] + fold['diverged']}" if fold.get("diverged") else ""
        strip = _strip(value, [as_number(entry["mean"]) for entry in folds])
        rows.append([str(fold["name"]), format_score(value, metric), *(spreads if spread else []), strip, lost])
    return _table(columns, rows, _caption(result["valid"], metric, hidden, "folds"))


def _seeds_table(result: Result, top: int) -> Table:
    metric, seeds = result["metric"], result["seeds"]["scores"]
    part = "test" if result.get("test") else "valid"
    values = [as_number(seed[part]) for seed in seeds]
    shown, hidden = _ends(seeds, values, top, result)
    columns = ["seed", f"valid {metric_words(metric)}", *(["test"] if part == "test" else []), "", "epoch"]
    rows = [
        [
            str(seed["seed"]),
            format_score(as_number(seed["valid"]), metric),
            *([format_score(as_number(seed["test"]), metric)] if part == "test" else []),
            _strip(as_number(seed[part]), values),
            "" if seed.get("epoch") is None else str(seed["epoch"]),
        ]
        for seed in shown
    ]
    return _table(columns, rows, _caption(result[part], metric, hidden, "seeds"))


def _methods_table(result: Result) -> Table:
    """The methods, best first, and then each pair with its difference."""
    metric, found = result["metric"], result["comparison"]
    sign = -1 if result["direction"] == "maximize" else 1
    methods = sorted(found["methods"], key=lambda m: (math.isnan(as_number(m["mean"])), sign * as_number(m["mean"])))
    rows = []
    for method in methods:
        std = as_number(method["std"])
        spread = "" if math.isnan(std) else f" ± {format_difference(std, metric, signed=False)}"
        lost = f", {method['diverged']} diverged" if method.get("diverged") else ""
        score = format_score(as_number(method["mean"]), metric) + spread
        rows.append([str(method["name"]), score, f"n = {method['n']}{lost}"])
    rows.append(["", "", ""])
    for pair in (leader_first(pair, result) for pair in found["pairs"]):
        winner = f"{pair['winner']} is better" if pair["winner"] else "no difference shown"
        told = difference_words(pair, metric, as_number(found.get("level") or 0.95))
        rows.append([f"{pair['a']} − {pair['b']}", told, winner])
    where = "on rows left out" if int(found.get("folds") or 1) > 1 else f"on the {PARTS[found['part']]} part"
    notes = [looks_words(found), "p-values corrected for all pairs (Holm)" if len(found["pairs"]) > 1 else ""]
    caption = "; ".join(note for note in notes if note) or None
    return _table(["method", f"{metric_words(metric)} {where}", ""], rows, caption, wrap=True)


def _ends(entries: Sequence[Any], values: Sequence[float], top: int, result: Result) -> tuple[list[Any], int]:
    """All entries where they are few; else the worst and the best, as they stand, and how many are not shown."""
    if len(entries) <= top:
        return list(entries), 0
    sign = 1 if result["direction"] == "maximize" else -1
    order = sorted(range(len(entries)), key=lambda i: -math.inf if math.isnan(values[i]) else sign * values[i])
    kept = sorted({*order[: top - top // 2], *order[-(top // 2) :]})
    return [entries[i] for i in kept], len(entries) - len(kept)


def _strip(value: float, values: Sequence[float]) -> str:
    """Where a value stands between the lowest and the highest."""
    known = [v for v in values if not math.isnan(v)]
    if math.isnan(value):
        return "diverged"
    low, high = min(known), max(known)
    place = round((value - low) / (high - low) * (STRIP - 1)) if high > low else STRIP // 2
    return "─" * place + "●" + "─" * (STRIP - 1 - place)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None, *, wrap: bool = False
) -> Table:
    table = Table(box=None, width=80, pad_edge=False, header_style="bold", caption_justify="left", caption=caption)
    for i, name in enumerate(columns):
        if wrap:
            table.add_column(name, overflow="fold", ratio=(3, 5, 3)[i])
        else:
            numeric = 0 < i < len(columns) - 2
            table.add_column(
                name, justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis",
                max_width=24 if i == 0 else None,
            )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _caption(summary: Mapping[str, Any], metric: str, hidden: int, noun: str) -> str | None:
    mean = as_number(summary["mean"])
    if math.isnan(mean):
        return None
    notes = [f"mean {format_score(mean, metric)}"]
    interval = format_interval(interval_of(summary), metric)
    notes += [interval] if interval else []
    notes += [f"{hidden} {noun} between worst and best not shown"] if hidden else []
    return "; ".join(notes)
