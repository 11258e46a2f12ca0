"""What the members of one trial say together: their scores as a table of folds and seeds, and its summary.

S seeds, F folds, R repeats
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.intervals import wilson
from tenfold.report import MemberScore
from tenfold.statistics import summarize_replicates

LEVEL = 0.95
OVER = "folds x seeds"

Info = Mapping[str, Any]


def summarize(info: Info, scores: Sequence[MemberScore], *, trial: int, part: str = "valid") -> dict[str, Any]:
    """Mean, spread and intervals of one trial's members, for any verb that trains folds and seeds.

    Args:
        info: the question: "metric", "direction", "folds".
        scores: one a member.
        trial: whose.
        part: "valid" or "test".

    Returns:
        "mean", "std", "n", "over"; "low", "high": interval of the expected score; "next_low", "next_high": of one
        more training, NaN of repeated folds with several seeds; "worst", NaN where one diverged; "best"; "diverged";
        "diverged_low", "diverged_high": interval of the share that diverges; "level"; "population".
    """
    members = np.array([s.score(info["metric"], part) for s in scores if s.trial == trial])
    known = members[np.isfinite(members)]
    lost = len(members) - len(known)
    found = summarize_replicates(
        score_table(info, scores, trial, part),
        direction=info["direction"],
        resplit=num_repeats(info) > 1,
        test_to_train=fold_overlap(info),
        level=LEVEL,
    )
    averaged = num_repeats(info) > 1 and len(places(scores, "seed")) > 1  # the cells are not of one training each
    ends = sorted(known, reverse=info["direction"] == "minimize")
    diverged_low, diverged_high = wilson(lost / len(members), len(members), LEVEL)
    return {
        "mean": found.mean,
        "std": float(known.std(ddof=1)) if len(known) > 1 else math.nan,
        "n": len(known),
        "over": OVER,
        "low": found.low,
        "high": found.high,
        "next_low": math.nan if averaged else found.next_low,
        "next_high": math.nan if averaged else found.next_high,
        "worst": math.nan if lost else float(ends[0]),
        "best": float(ends[-1]) if ends else math.nan,
        "diverged": lost,
        "diverged_low": diverged_low,
        "diverged_high": diverged_high,
        "level": LEVEL,
        "population": found.population,
    }


def score_table(
    info: Info, scores: Sequence[MemberScore], trial: int, part: str = "valid", *, strict: bool = False
) -> np.ndarray:
    """The scores of a trial as `tenfold.statistics` wants them; NaN for what diverged.

    Args:
        info: the question.
        scores: one a member.
        trial: whose.
        part: "valid" or "test".
        strict: of folds that are repeated, a cell in which any seed diverged is NaN, so that methods are compared on
            pairs of the same seeds; otherwise it is the mean of the others.

    Returns:
        Shape (S,) without folds; (S, F) with them; (R, F) where all rows were cut anew R times, each cell the mean of
        its seeds.
    """
    seeds, folds = places(scores, "seed"), places(scores, "fold")
    table_SF = np.full((len(seeds), len(folds)), math.nan)
    for score in scores:
        if score.trial == trial:
            table_SF[seeds.index(score.seed), folds.index(score.fold)] = score.score(info["metric"], part)
    if varies_split(info):  # a fold a seed: the one score that a seed has
        return np.array([next(iter(row[~np.isnan(row)]), math.nan) for row in table_SF])
    if len(folds) == 1:
        return table_SF[:, 0]
    if num_repeats(info) == 1:
        return table_SF
    known = np.isfinite(table_SF)
    sums, counts = np.where(known, table_SF, 0.0).sum(axis=0), known.sum(axis=0)
    enough = counts == len(seeds) if strict else counts > 0
    mean_F = np.divide(sums, counts, out=np.full(len(folds), math.nan), where=enough)
    return mean_F.reshape(num_repeats(info), -1)


def has_test(scores: Sequence[MemberScore]) -> bool:
    """Whether every member was scored on the test part."""
    return bool(scores) and all(score.test is not None for score in scores)


def places(scores: Sequence[MemberScore], name: str) -> list[int]:
    """The folds or seeds that there are, rising."""
    return sorted({getattr(score, name) for score in scores})


def num_repeats(info: Info) -> int:
    """How often all rows were cut anew."""
    return int((info.get("folds") or {}).get("repeats") or 1)


def fold_overlap(info: Info) -> float | None:
    """Rows of a fold's scored part / rows of its training part; None for the usual 1 / (F - 1).

    Without folds it is None, unless each seed splits the rows anew: then training parts overlap as those of folds do.
    """
    overlap = (info.get("folds") or {}).get("test_to_train")
    parts = info.get("parts") or {}
    if overlap is None and not info.get("folds") and varies_split(info) and parts.get("train"):
        overlap = parts["valid"] / parts["train"]
    return None if overlap is None else float(overlap)


def varies_split(info: Info) -> bool:
    """Whether each seed splits the rows anew."""
    return "split" in (info.get("varies") or ())


def num_folds(info: Info, scores: Sequence[MemberScore]) -> int:
    """On how many folds each seed is trained."""
    return 1 if varies_split(info) else len(places(scores, "fold"))


def in_one_pass(info: Info) -> Info:
    """The question as if repeats were further folds."""
    return {**info, "folds": {**(info.get("folds") or {}), "repeats": 1}}
