"""Brackets of successive halving, and the rule that lets trials leave at their bracket's rungs.

Comparing after few epochs is cheap and may be wrong; after many it is dear and right. Hyperband does not choose: each
of its brackets begins to compare at another epoch, and the earlier it does, the more trials it starts.

References:
    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
    Hyperparameter Optimization", JMLR 18, 2018, Algorithm 1 and Table 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from tenfold.statistics.scores import check_direction
from tenfold.tuning.halving import Rung, promote, successive_halving_rungs
from tenfold.tuning.standing import best_by, check_whole, epochs


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """Trials that are compared with each other alone.

    Attributes:
        num_trials: so many start.
        rungs: when they are compared, and how many go on; at the last one nobody leaves.
    """

    num_trials: int
    rungs: tuple[Rung, ...]


def hyperband_brackets(
    max_resource: int, *, num_trials: int | None = None, min_resource: int = 1, reduction_factor: int = 3
) -> tuple[Bracket, ...]:
    """All brackets of Hyperband, the one with most trials first.

    Bracket s starts (s_max + 1) // (s + 1) * eta^s trials and compares first after R / eta^s epochs, as in Table 1 of
    the paper. For another number of trials the deepest table that it fills is taken, and its brackets grow in
    proportion: few trials make few brackets, rather than brackets of one trial.

    Args:
        max_resource: R, epochs of a trial that is never stopped.
        num_trials: trials of all brackets together; None for the table's own number.
        min_resource: no trial leaves before so many epochs.
        reduction_factor: eta.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> for bracket in hyperband_brackets(81):
        ...     print(bracket.num_trials, [(rung.resource, rung.keep) for rung in bracket.rungs])
        81 [(1, 27), (3, 9), (9, 3), (27, 1), (81, 1)]
        27 [(3, 9), (9, 3), (27, 1), (81, 1)]
        9 [(9, 3), (27, 1), (81, 1)]
        6 [(27, 2), (81, 2)]
        5 [(81, 5)]
        >>> [bracket.num_trials for bracket in hyperband_brackets(81, num_trials=64)]
        [38, 12, 8, 6]
    """
    where = "hyperband_brackets"
    check_whole(where, "max_resource", max_resource, check_whole(where, "min_resource", min_resource, 1))
    check_whole(where, "reduction_factor", reduction_factor, 2)
    deepest = 0
    while min_resource * reduction_factor ** (deepest + 1) <= max_resource:
        deepest += 1
    table = _table(deepest, reduction_factor)
    if num_trials is not None:
        check_whole(where, "num_trials", num_trials, 1)
        while sum(table) > num_trials:
            deepest -= 1
            table = _table(deepest, reduction_factor)
        table = _in_proportion(table, num_trials)
    return tuple(
        Bracket(
            num_trials=size,
            rungs=successive_halving_rungs(size, max_resource // reduction_factor**s, max_resource, reduction_factor),
        )
        for s, size in zip(range(deepest, -1, -1), table, strict=True)
    )


def _table(deepest: int, eta: int) -> list[int]:
    """The trials of brackets s = deepest, ..., 0."""
    return [(deepest + 1) // (s + 1) * eta**s for s in range(deepest, -1, -1)]


def _in_proportion(sizes: Sequence[int], total: int) -> list[int]:
    """Sizes that add up to a larger total, by largest remainders."""
    exact = [size * total / sum(sizes) for size in sizes]
    whole = [int(size) for size in exact]
    order = sorted(range(len(sizes)), key=lambda place: (whole[place] - exact[place], place))
    for place in order[: total - sum(whole)]:
        whole[place] += 1
    return whole


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Lets all but the best trials of a bracket leave at each of its rungs.

    Trials belong to brackets by their numbers: the first `brackets[0].num_trials` to the first, and so on. Numbers
    beyond the last bracket begin the brackets anew, with comparisons among themselves; so a rule made for the size of
    a generation compares each generation alone.

    Attributes:
        brackets: who is compared with whom, when.
        max_resource: epochs of a trial that is never stopped.
        direction: "maximize" or "minimize".
        by_best: whether trials are compared by their best scores until the rung, whose weights are kept, or by the
            last one alone (on a ladder, where each step is a training of its own).
        unit: what the resource is counted in, for the reasons in words.

    Raises:
        ValueError: the direction has no such name.

    Example:
        >>> rule = Halving(brackets=hyperband_brackets(3, num_trials=5), max_resource=3, direction="maximize")
        >>> for trial, reason in rule.leavers({0: [0.7], 1: [0.8], 2: [0.6], 3: [0.1]}, {0, 1, 2, 3}).items():
        ...     print(trial, reason)
        0 0.7 after 1 epoch is number 2 of 3, and 1 goes on
        2 0.6 after 1 epoch is number 3 of 3, and 1 goes on
    """

    brackets: tuple[Bracket, ...]
    max_resource: int
    direction: str
    by_best: bool = True
    unit: str = "epoch"

    def __post_init__(self) -> None:
        check_direction("Halving", self.direction)

    @property
    def start_trials(self) -> tuple[int, ...]:
        """How many trials each bracket starts, in the order of their numbers."""
        return tuple(bracket.num_trials for bracket in self.brackets)

    def rungs(self) -> tuple[tuple[Rung, ...], ...]:
        """The rungs of each bracket."""
        return tuple(bracket.rungs for bracket in self.brackets)

    def bracket_of(self, trial: int) -> int:
        """The number of a trial's bracket; it counts on where the brackets begin anew."""
        turn, place = divmod(trial, sum(self.start_trials))
        for index, size in enumerate(self.start_trials):
            if place < size:
                return turn * len(self.brackets) + index
            place -= size
        raise AssertionError("a remainder is below the sum of its parts")

    def leavers(self, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, str]:
        """Who leaves now: nobody, until the last running trial of a bracket has just reached a rung.

        All that ever reached the rung are compared by their best scores until then, those that have left since
        included; so a late trial must be among the best of all. A trial that is sick at the rung ranks last.
        """
        leaving: dict[int, str] = {}
        for number in sorted({self.bracket_of(trial) for trial in running}):
            ours = {trial: curve for trial, curve in curves.items() if self.bracket_of(trial) == number}
            here = {trial for trial in running if self.bracket_of(trial) == number}
            leaving |= self._leavers(self.brackets[number % len(self.brackets)], ours, here)
        return dict(sorted(leaving.items()))

    def _leavers(self, bracket: Bracket, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, str]:
        reached = min(len(curves.get(trial, ())) for trial in running)
        rung = next((rung for rung in bracket.rungs[:-1] if rung.resource == reached), None)
        if rung is None:
            return {}
        there = {trial: curve for trial, curve in curves.items() if len(curve) >= reached}
        begin = 0 if self.by_best else reached - 1
        scores = {trial: best_by(curve[begin:], reached - begin, self.direction) for trial, curve in there.items()}
        order = promote(scores, len(scores), self.direction)
        go_on = f"{rung.keep} goes on" if rung.keep == 1 else f"{rung.keep} go on"
        after = f"after {epochs(reached, self.unit)}"
        return {
            trial: f"{scores[trial]:.4g} {after} is number {place} of {len(order)}, and {go_on}"
            for place, trial in enumerate(order, start=1)
            if place > rung.keep and trial in running
        }
