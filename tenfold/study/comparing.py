"""Methods in pairs, from the recorded scores of their members: at the end, and at every look on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.report import MemberScore
from tenfold.statistics import Comparison, compare_scores
from tenfold.study.summaries import (
    LEVEL,
    Info,
    fold_overlap,
    has_test,
    in_one_pass,
    num_folds,
    num_repeats,
    places,
    score_table,
    varies_split,
)

LOOK_EVERY = 5
"""Seeds between two looks: before the fifth no interval is bounded, and stacks of fewer members are less quick."""


def scored_part(info: Info, scores: Sequence[MemberScore]) -> str:
    """Seeds alone are compared on the test part, where there is one; folds and splits on the rows they leave out."""
    alone = num_folds(info, scores) == 1 and not varies_split(info)
    return "test" if alone and has_test(scores) else "valid"


def compare_members(info: Info, scores: Sequence[MemberScore], names: Mapping[int, str]) -> tuple[Comparison, ...]:
    """The comparisons of all methods, paired by fold and seed.

    Args:
        info: the question: "metric", "direction", "folds", "against", "sequential".
        scores: one a member; all methods have the same seeds.
        names: of the methods by trial number.
    """
    sequential = bool(info.get("sequential"))
    asked = in_one_pass(info) if sequential else info  # a seed is then one value, the mean of all its folds
    part = scored_part(info, scores)
    return compare_scores(
        {name: score_table(asked, scores, trial, part, strict=True) for trial, name in names.items()},
        direction=info["direction"],
        against=info.get("against"),
        resplit=num_repeats(asked) > 1,
        test_to_train=fold_overlap(info),
        sequential=sequential,
        level=LEVEL,
    )


def complete_seeds(info: Info, scores: Sequence[MemberScore], names: Mapping[int, str]) -> list[MemberScore]:
    """Without the seeds that some method has not finished on all folds; a run that is stopped may stop in one."""
    wanted = len(names) * num_folds(info, scores)
    counts = {seed: sum(score.seed == seed for score in scores) for seed in places(scores, "seed")}
    return [score for score in scores if counts[score.seed] == wanted]


def looks_of(info: Info, scores: Sequence[MemberScore], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """What a sequential comparison saw at each look: after so many seeds so many differences were shown.

    Returns:
        One a look: "seeds", "shown", "pairs".
    """
    scores = complete_seeds(info, scores, names)
    seeds = places(scores, "seed")
    ends = [*range(LOOK_EVERY, len(seeds), LOOK_EVERY), len(seeds)] if seeds else []
    looks = []
    for end in ends:
        until = [score for score in scores if score.seed in seeds[:end]]
        pairs = compare_members(info, until, names)
        looks.append({"seeds": end, "shown": sum(pair.winner is not None for pair in pairs), "pairs": len(pairs)})
    return looks


def is_settled(look: Mapping[str, Any]) -> bool:
    """Whether a sequential comparison stops after a look: every difference is shown.

    Example:
        >>> is_settled({"seeds": 10, "shown": 2, "pairs": 3})
        False
    """
    return bool(look["shown"] == look["pairs"])
