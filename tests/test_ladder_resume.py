"""Promise 4 for a search over data or scale: killed around every commit of a climb, it resumes to the same trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_command import CommandServer, Finished
from test_search_resume import EVERY, KILLED, facts

COMMON = ("search", "iris", "--network", "mlp", "--sampler", "tpe", "--halving", "hyperband", "--trials", 16,
          "--epochs", 3, "--form", "stacked", "--threads", 1, "--quiet", "--out", "run")  # fmt: skip
QUESTIONS = {
    "data": (*COMMON, "--resource", "data", "--steps", "0.3,0.6,1"),
    "scale": (*COMMON, "--resource", "scale", "--steps", "0.25,0.5,1"),
}

MOMENTS: dict[str, tuple[Any, ...]] = {
    "before the first rung": ("die_at_kind", "rung", 1, "before"),
    "after the first rung": ("die_after_rung", 1),
    "before somebody climbs": ("die_at_kind", "climb", 1, "before"),
    "after somebody climbed": ("die_at_kind", "climb", 1, "after"),
    "before the plan of a step is kept": ("die_at_update", 3, "before"),
    "after the plan of a step is kept": ("die_at_update", 3, "after"),
    "within the first epoch of the next step": ("die_at_step", 14),
    "before somebody climbs to the top": ("die_at_kind", "climb", 2, "before"),
    "after somebody climbed to the top": ("die_at_kind", "climb", 2, "after"),
    "within a checkpoint on the second step": ("die_in_checkpoint", 5),
    "after a checkpoint on the second step": ("die_after_checkpoint", 4),
    "on the last step": ("die_at_kind", "epoch", 40, "after"),
    "before the last told": ("die_at_kind", "told", 16, "before"),
    "before the final record": ("die_at_kind", "final", 1, "before"),
}
QUICK = {
    ("data", "after somebody climbed"),
    ("data", "within the first epoch of the next step"),
    ("scale", "after the plan of a step is kept"),
    ("scale", "after a checkpoint on the second step"),
}


@pytest.fixture(scope="module")
def undisturbed(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What is in the run folder of a search over a resource that nothing befell."""
    known: dict[str, dict[str, Any]] = {}

    def of(resource: str) -> dict[str, Any]:
        if resource not in known:
            cwd = tmp_path_factory.mktemp(resource)
            finished = commands.run(*QUESTIONS[resource], cwd=cwd)
            assert finished.code == 0, finished.err
            known[resource] = facts(cwd / "run")
        return known[resource]

    return of


@pytest.mark.parametrize(
    ("resource", "moment"),
    [
        pytest.param(resource, moment, marks=() if (resource, moment) in QUICK else pytest.mark.slow)
        for resource in QUESTIONS
        for moment in MOMENTS
    ],
)
def test_a_killed_climb_resumes_to_the_trials_and_values_of_an_undisturbed_one(
    resource: str,
    moment: str,
    undisturbed: Callable[[str], dict[str, Any]],
    tenfold: Callable[..., Finished],
    tmp_path: Path,
) -> None:
    expected = undisturbed(resource)
    assert tenfold(*QUESTIONS[resource], mishaps=(*EVERY, MOMENTS[moment])).code == KILLED
    finished = tenfold(*QUESTIONS[resource], "--resume")
    assert finished.code == 0, finished.err
    assert facts(tmp_path / "run") == expected


def test_a_climb_is_not_resumed_on_other_steps(tenfold: Callable[..., Finished]) -> None:
    question = QUESTIONS["data"]
    assert tenfold(*question, mishaps=(*EVERY, MOMENTS["after the first rung"])).code == KILLED
    finished = tenfold(*question[:-1], "0.5,1", "--resume")
    assert finished.code == 2
    assert "--steps must be [0.3, 0.6, 1.0], as the run was begun, got [0.5, 1.0]" in finished.err
