"""What a sampler owes a search, as checks: valid configurations, the same ones under a replay, an end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tenfold.tuning import Categorical, Draw, Float, Int, Proposer, Space
from tenfold.tuning.samplers import Sampler

BATCHES = (6, 6, 1, 5)
"""Batches that `check_sampler` asks for: more than the usual number of random ones, and a single one."""


def sampler_spaces() -> dict[str, Space]:
    """Spaces with everything that a space can have, each with points enough for `BATCHES`.

    Every range is whole, stepped or narrow, so that a grid can be laid over them.

    Example:
        >>> sorted(sampler_spaces())
        ['conditional', 'numbers', 'tiny']
    """
    width = (
        Int(8, 64, log=True, when={"network": "mlp"}),
        Categorical([0.5, 1.0], when={"network": "lenet"}),
    )
    return {
        "numbers": Space(
            {"rate": Int(1, 1000, log=True), "drop": Float(0.0, 0.5, step=0.1), "depth": Int(2, 8, step=3)}
        ),
        "conditional": Space(
            {
                "network": Categorical(["mlp", "lenet"]),
                "width": width,
                "norm": Categorical([None, "batch", 1, 0.5]),
                "epochs": 20,
            }
        ),
        "tiny": Space({"a": Categorical(["x", "y"]), "b": Int(1, 3, when={"a": "y"})}),
    }


def check_sampler(
    sampler: str | Sampler, space: Space | None = None, *, directions: Sequence[str] = ("maximize",)
) -> None:
    """Holds a sampler to what a search relies on.

    Every proposal is in the space, none comes twice, the same asks and tells propose the same, trials that failed,
    left early or were never told are survived, and a space without more configurations comes to an end.

    Args:
        sampler: as in `Proposer`.
        space: what to propose from; None is each of `sampler_spaces`.
        directions: of the objectives.

    Raises:
        AssertionError: a promise is broken; the message says which, and with what proposal.

    Example:
        >>> check_sampler("random")
    """
    for name, each in sampler_spaces().items() if space is None else [("your space", space)]:
        first = _search(sampler, each, directions, name)
        again = _search(sampler, each, directions, name)
        for one, other in zip(first, again, strict=True):
            assert one.config == other.config, (
                f"{name}: the same asks and tells must propose the same, got {one.config} and then {other.config} "
                f"as trial {one.number}. Keep generators as attributes of the sampler, and no other state."
            )


def _search(sampler: str | Sampler, space: Space, directions: Sequence[str], name: str) -> list[Draw]:
    """A short search in which every kind of trial occurs."""
    proposer = Proposer(space, sampler=sampler, seed=0, directions=directions)
    draws: list[Draw] = []
    for size in BATCHES:
        batch = proposer.ask(size)
        for one in batch:
            _check_draw(one, space, name)
            assert one.config not in [other.config for other in draws], f"{name}: proposed twice: {one.config}"
            draws.append(one)
            _tell(proposer, one, len(directions))
        assert len(batch) <= size, f"{name}: {len(batch)} proposals where {size} were asked for"
        if len(batch) < size:
            assert proposer.exhausted, f"{name}: {len(batch)} proposals where {size} were asked for, without an end"
            break
    if space.function is None:
        expected = min(sum(BATCHES), space.num_configurations(limit=sum(BATCHES)))
        assert len(draws) == expected, f"{name}: {len(draws)} proposals of {expected} that there are"
    return draws


def _check_draw(one: Draw, space: Space, name: str) -> None:
    if space.function is not None:
        return
    params = space.params_of(one.config)  # raises for what is out of range or does not apply
    missing = [
        key
        for key, alternatives in space.parameters.items()
        if key not in one.config and any(parameter.applies(one.config) for parameter in alternatives)
    ]
    assert not missing, f"{name}: {missing} apply but are not in {one.config}"
    assert params == one.params, f"{name}: the configuration {one.config} is not what was drawn, {one.params}"


def _tell(proposer: Proposer, one: Draw, num_objectives: int) -> None:
    """One in five fails, one has a NaN, one left early, one is never told, the others complete."""
    numbers: list[Any] = [value for value in one.config.values() if isinstance(value, int | float)]
    score = -sum(math.log1p(abs(value)) for value in numbers)
    kind = one.number % 10
    if kind == 3:
        proposer.tell(one.number, None, state="failed")
    elif kind == 5:
        proposer.tell(one.number, [math.nan] * num_objectives, state="complete")
    elif kind in (1, 6):
        curve = {1: score - 1, 2: score - 0.5}
        proposer.tell(one.number, [score] * num_objectives, state="pruned", curve=curve)
    elif kind != 8:
        proposer.tell(one.number, [score, *[-score] * (num_objectives - 1)], state="complete")
