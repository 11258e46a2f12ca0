"""From the scores of members to the answer of `cross_validate`, `replicate` and `compare`: numbers and sentences.

Pure functions of what `run.json` says of the question and of the `score` records: no model, no file. Each says which
randomness its numbers speak of. A score that is missing or no number is that of a member that diverged: it is counted
and told, and never averaged away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.records import finite
from tenfold.report import MemberScore, outcome_line
from tenfold.statistics import Comparison
from tenfold.study.comparing import compare_members, complete_seeds, looks_of, scored_part
from tenfold.study.summaries import LEVEL, Info, has_test, num_folds, places, summarize, varies_split

SCHEMA = 1


def make_result(
    info: Info,
    scores: Sequence[MemberScore],
    trials: Sequence[Mapping[str, Any]],
    *,
    run: str,
    epochs_trained: float,
    seconds: float,
    test: Mapping[str, Any] | None = None,
    out_of_fold: Mapping[str, Any] | None = None,
    ensemble: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer of a run, as `--json` prints it: finite numbers, None, text.

    Args:
        info: `run.json`: "verb", "task", "metric", "direction", "folds", "seeds", "varies", "against", "sequential".
        scores: one a member.
        trials: the `trial` records: "trial", "network", "config", and "name" for `compare`.
        run: the run folder.
        epochs_trained: by all members together.
        seconds: of the whole run.
        test: of a cross-validation's final model, {"value", "n", "low", "high"}; without it, and of the other verbs,
            it is the mean over members that were scored on the test part.
        out_of_fold: by metric {"value", "n", "low", "high"} of all out-of-fold predictions together.
        ensemble: of a final model of several networks, how they predict together and what they gain.

    Returns:
        What the surface promises of every verb, and under "folds", "seeds" or "comparison" what the verb adds.

    Raises:
        ValueError: a verb that has no such answer.

    Example:
        >>> info = {"verb": "replicate", "metric": "accuracy", "direction": "maximize"}
        >>> scores = [MemberScore(trial=0, fold=0, seed=s, valid={"accuracy": 0.9 + s / 100}) for s in range(3)]
        >>> result = make_result(info, scores, [{"trial": 0}], run="runs/a-1", epochs_trained=9, seconds=1.5)
        >>> round(result["valid"]["mean"], 3), result["members"], result["sentence"][:44]
        (0.91, 3, '91.0 % accuracy on average over 3 seeds (95 ')
    """
    numbers = [int(trial["trial"]) for trial in trials]
    verb = info["verb"]
    if verb == "cv":
        answer = answer_cv(info, scores, trial=_best_trial(info, scores, numbers), out_of_fold=out_of_fold)
        answer["test"] = test or answer["test"]
    elif verb == "replicate":
        answer = answer_replicate(info, scores, trial=_best_trial(info, scores, numbers))
    elif verb == "compare":
        answer = answer_compare(info, scores, {int(t["trial"]): _name(t) for t in trials})
    else:
        raise ValueError(f"make_result: verb must be 'cv', 'replicate' or 'compare', got {verb!r}. Choose one.")
    best = next(trial for trial in trials if trial["trial"] == answer["trial"])
    result = {
        "schema": SCHEMA,
        "run": run,
        "verb": verb,
        "task": info.get("task"),
        "metric": info["metric"],
        "direction": info["direction"],
        **{key: value for key, value in answer.items() if key != "trial"},
        "trials": len(trials),
        "members": len(scores),
        "epochs_trained": epochs_trained,
        "seconds": seconds,
        "best": {key: best.get(key) for key in ("trial", "name", "network", "config") if key in best},
        **({} if ensemble is None else {"ensemble": ensemble}),
    }
    return dict(finite(result | {"sentence": outcome_line(result)}))


def answer_cv(
    info: Info, scores: Sequence[MemberScore], *, trial: int = 0, out_of_fold: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """How good models of one configuration are on rows they have not seen: mean, spread, interval, every fold."""
    summary = summarize(info, scores, trial=trial)
    folds = [_one_fold(info, scores, trial, fold) for fold in places(scores, "fold")]
    sign = 1 if info["direction"] == "maximize" else -1
    order = sorted(folds, key=lambda fold: -math.inf if math.isnan(fold["mean"]) else sign * fold["mean"])
    asked = info.get("folds") or {}
    return {
        "trial": trial,
        "valid": summary | {"speaks_of": _speaks_of(info, summary["population"])},
        "test": _of_test(info, scores, trial),
        "metrics": _all_metrics(info, scores, trial),
        "out_of_fold": out_of_fold,
        "folds": {
            "count": asked.get("count", len(folds)),
            "repeats": asked.get("repeats", 1),
            "how": asked.get("how"),
            "scores": folds,
            "worst": order[0],
            "best": order[-1],
        },
    }


def answer_replicate(info: Info, scores: Sequence[MemberScore], *, trial: int = 0) -> dict[str, Any]:
    """What one more training would give: mean, spread and both intervals, on validation and test part."""
    valid = summarize(info, scores, trial=trial)
    tested = has_test(scores)
    own = sorted((score for score in scores if score.trial == trial), key=lambda score: (score.seed, score.fold))
    seeds = [
        {
            "seed": score.seed,
            "fold": score.fold,
            "epoch": score.epoch,
            "valid": score.score(info["metric"]),
            "test": score.score(info["metric"], "test") if tested else None,
        }
        for score in own
    ]
    return {
        "trial": trial,
        "valid": valid | {"speaks_of": _speaks_of(info, valid["population"])},
        "test": _of_test(info, scores, trial),
        "metrics": _all_metrics(info, scores, trial),
        "seeds": {"count": len(places(scores, "seed")), "varies": info.get("varies"), "scores": seeds},
    }


def answer_compare(info: Info, scores: Sequence[MemberScore], names: Mapping[int, str]) -> dict[str, Any]:
    """Which method is better and how sure that is, paired by fold and seed.

    Seeds alone are compared on the test part, where there is one: what was chosen by the validation part, such as a
    configuration, is not flattered there. Folds are compared on the rows they leave out.

    Args:
        info: the question.
        scores: one a member; seeds that not all methods have finished are left out.
        names: of the methods by trial number, in the order to tell them.
    """
    scores = complete_seeds(info, scores, names)
    part, sequential = scored_part(info, scores), bool(info.get("sequential"))
    summaries = {trial: summarize(info, scores, trial=trial, part=part) for trial in names}
    pairs = compare_members(info, scores, names)
    chosen = _leader(names, summaries, pairs, info["direction"])
    valid = summarize(info, scores, trial=chosen)
    methods = [{"trial": trial, "name": name, **_method(summaries[trial])} for trial, name in names.items()]
    return {
        "trial": chosen,
        "valid": valid | {"speaks_of": _speaks_of(info, valid["population"])},
        "test": _of_test(info, scores, chosen),
        "comparison": {
            "part": part,
            "folds": num_folds(info, scores),
            "seeds": len(places(scores, "seed")),
            "against": info.get("against"),
            "sequential": sequential,
            **({"planned_seeds": info.get("seeds"), "looks": looks_of(info, scores, names)} if sequential else {}),
            "level": LEVEL,
            "speaks_of": _compares_over(info, pairs[0]),
            "methods": methods,
            "pairs": [_pair(pair) for pair in pairs],
            "verdict": verdict(names[chosen], pairs, info.get("against")),
        },
    }


def verdict(best: str, pairs: Sequence[Comparison], against: str | None = None) -> str:
    """Who is better than whom, in one sentence.

    Args:
        best: name of the method to speak of first.
        pairs: all comparisons.
        against: the method that all others were compared with, None for all pairs.
    """
    if len(pairs) == 1:
        return _of_two(pairs[0])
    of_best = [pair for pair in pairs if best in (pair.a, pair.b)]
    if against is not None and len(of_best) < len(pairs):
        return " ".join(_of_two(pair) for pair in pairs)
    beaten = [_other(pair, best) for pair in of_best if pair.winner == best]
    open_ones = [_other(pair, best) for pair in of_best if pair.winner is None]
    if not open_ones:
        return f"{best} is better than {_all_of(beaten)}."
    if not beaten and not any(pair.winner for pair in pairs):
        return f"No difference shown among the {len(of_best) + 1} methods; {best} has the best mean."
    better = f"it is better than {_all_of(beaten)}, and " if beaten else ""
    return f"{best} has the best mean; {better}no difference is shown to {_all_of(open_ones)}."


def _of_two(pair: Comparison) -> str:
    if pair.winner:
        return f"{pair.winner} is better than {_other(pair, pair.winner)}."
    return f"No difference shown between {pair.a} and {pair.b}."


def _other(pair: Comparison, name: str) -> str:
    return pair.b if pair.a == name else pair.a


def _all_of(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _leader(
    names: Mapping[int, str], summaries: Mapping[int, Mapping[str, Any]], pairs: Sequence[Comparison], direction: str
) -> int:
    """The method that wins most comparisons; of those the one that diverges least and has the best mean."""
    sign = 1 if direction == "maximize" else -1

    def key(trial: int) -> tuple[float, ...]:
        wins = sum(
            (pair.winner == names[trial]) - (names[trial] in (pair.a, pair.b)) for pair in pairs if pair.winner
        )
        mean = summaries[trial]["mean"]
        return wins, -summaries[trial]["diverged"], -math.inf if math.isnan(mean) else sign * mean

    return max(names, key=key)


def _best_trial(info: Info, scores: Sequence[MemberScore], numbers: Sequence[int]) -> int:
    """Of several configurations the best mean on the validation part; with one, that."""
    if len(numbers) == 1:
        return numbers[0]
    summaries = {number: summarize(info, scores, trial=number) for number in numbers}
    return _leader({number: str(number) for number in numbers}, summaries, (), info["direction"])


def _name(trial: Mapping[str, Any]) -> str:
    return str(trial.get("name") or f"{trial.get('network') or 'network'} #{trial['trial']}")


def _of_test(info: Info, scores: Sequence[MemberScore], trial: int) -> dict[str, Any] | None:
    """The mean over a trial's members on the test part, None where there is none."""
    if not has_test(scores):
        return None
    found = summarize(info, scores, trial=trial, part="test")
    return {"value": found["mean"], **found}


def _one_fold(info: Info, scores: Sequence[MemberScore], trial: int, fold: int) -> dict[str, Any]:
    values = np.array([s.score(info["metric"]) for s in scores if s.trial == trial and s.fold == fold])
    known = values[np.isfinite(values)]
    names = (info.get("folds") or {}).get("names") or []
    return {
        "fold": fold,
        "name": str(names[fold]) if fold < len(names) else f"fold {fold + 1}",
        "mean": float(known.mean()) if len(known) else math.nan,
        "std": float(known.std(ddof=1)) if len(known) > 1 else math.nan,
        "n": len(known),
        "diverged": len(values) - len(known),
    }


def _all_metrics(info: Info, scores: Sequence[MemberScore], trial: int) -> dict[str, Any]:
    """Mean and standard deviation over members of every metric, by part."""
    parts = ("valid", "test") if has_test(scores) else ("valid",)
    found: dict[str, Any] = {}
    for part in parts:
        names = dict.fromkeys(name for s in scores if s.trial == trial for name in (getattr(s, part) or {}))
        summaries = {name: summarize({**info, "metric": name}, scores, trial=trial, part=part) for name in names}
        found[part] = {name: {key: s[key] for key in ("mean", "std", "n")} for name, s in summaries.items()}
    return found


def _method(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {key: summary[key] for key in ("mean", "std", "n", "low", "high", "diverged")}


def _pair(pair: Comparison) -> dict[str, Any]:
    names = (
        "a", "b", "n", "diverged_a", "diverged_b", "difference", "std", "low", "high", "simultaneous_low",
        "simultaneous_high", "p_adjusted", "a_better", "a_better_low", "a_better_high", "winner", "more_seeds",
        "test",
    )  # fmt: skip
    return {name: getattr(pair, name) for name in names} | {"p": pair.p_value, "sentence": pair.sentence}


def _speaks_of(info: Info, population: str) -> str:
    """Which randomness a mean and its interval speak of."""
    text = population
    if (population == _SEEDS_ALONE or varies_split(info)) and info.get("varies"):
        text += f"; what varies is {_all_of([str(stream) for stream in info['varies']])}"
    if (info.get("folds") or {}).get("manner") == "time-series":
        text += "; later folds learn from more rows than earlier ones, and the interval takes them as alike"
    return text


_SEEDS_ALONE = "trainings on this data with fresh seeds, scored on these same samples"


def _compares_over(info: Info, pair: Comparison) -> str:
    if info.get("sequential"):
        alone = _SEEDS_ALONE.replace("these same samples", "rows left out") if varies_split(info) else _SEEDS_ALONE
        return _speaks_of(info, alone) + "; the answer holds however often it was asked on the way"
    return _speaks_of(info, pair.population)
