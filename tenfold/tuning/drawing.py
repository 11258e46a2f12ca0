"""Configurations drawn from a space before anything is trained."""

from __future__ import annotations

from tenfold.tuning.proposals import Draw, Proposer
from tenfold.tuning.samplers import Sampler
from tenfold.tuning.space import Space


def draw(space: Space, n: int, *, seed: int, sampler: str | Sampler = "random") -> list[Draw]:
    """Draws n different configurations: the first ask of a `Proposer` that is told nothing.

    The first k random ones are the same whatever n is.

    Args:
        space: what to draw from.
        n: number of configurations, at least 1.
        seed: the run's seed; the stream "sample" is derived from it.
        sampler: as in `Proposer`.

    Returns:
        n draws, or fewer when the space has fewer different configurations.

    Raises:
        ValueError: n is less than 1.
        InputError: the sampler has no such name.

    Example:
        >>> from tenfold.tuning import Categorical
        >>> [d.config["depth"] for d in draw(Space({"depth": Categorical([2, 3])}), 5, seed=0)]
        [3, 2]
    """
    return Proposer(space, sampler=sampler, seed=seed).ask(n)
