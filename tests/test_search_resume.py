"""Promise 4 for a search: killed around every kind of commit, it resumes to the same trials, values and model.

Three brackets of Hyperband, asked of TPE one after another: each later proposal depends on everything told before.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from forked_command import CommandServer, Finished

QUESTION = ("search", "iris", "--sampler", "tpe", "--halving", "hyperband", "--trials", 14, "--epochs", 9,
            "--form", "stacked", "--threads", 1, "--quiet", "--out", "run")  # fmt: skip
KILLED = -signal.SIGKILL
EVERY = (("checkpoint_every_epoch",), ("mirror_always",))

# The kind of commit, and the moment at it. Those that are not slow are of every kind at least one.
MOMENTS: dict[str, tuple[Any, ...]] = {
    "before the first generation": ("die_at_kind", "proposal", 1, "before"),
    "within the first epoch": ("die_at_step", 5),
    "after the first rung": ("die_after_rung", 1),
    "before the second generation is proposed": ("die_at_kind", "proposal", 2, "before"),
    "after the second generation is proposed": ("die_at_kind", "proposal", 2, "after"),
    "between two trials of a proposal": ("die_at_kind", "trial", 11, "after"),
    "before a plan is kept": ("die_at_update", 3, "before"),
    "after a plan is kept": ("die_at_update", 3, "after"),
    "before the sampler is told": ("die_at_kind", "told", 3, "before"),
    "after the sampler is told": ("die_at_kind", "told", 3, "after"),
    "before somebody leaves": ("die_at_kind", "left", 5, "before"),
    "after somebody left": ("die_at_kind", "left", 5, "after"),
    "before a rung": ("die_at_kind", "rung", 2, "before"),
    "after a rung": ("die_at_kind", "rung", 2, "after"),
    "within a checkpoint": ("die_in_checkpoint", 4),
    "after a checkpoint": ("die_after_checkpoint", 6),
    "in the middle of an epoch of two generations": ("die_at_step", 60),
    "before an epoch's record": ("die_at_kind", "epoch", 40, "before"),
    "after an epoch's record": ("die_at_kind", "epoch", 40, "after"),
    "before trials are copied": ("die_at_sync", 2, "before"),
    "after trials were copied": ("die_at_sync", 2, "after"),
    "after the last told": ("die_at_kind", "told", 14, "after"),
    "when the test part is scored": ("die_before", "tenfold.study.engine", "score_test"),
    "before the final record": ("die_at_kind", "final", 1, "before"),
    "before the report": ("die_before", "tenfold.study.engine", "write_report"),
}
QUICK = (
    "after the second generation is proposed",
    "after a plan is kept",
    "before somebody leaves",
    "after trials were copied",
)


@pytest.fixture(scope="module")
def undisturbed(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a search that nothing befell."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    finished = commands.run(*QUESTION, cwd=cwd)
    assert finished.code == 0, finished.err
    return cwd / "run"


def facts(folder: Path) -> dict[str, Any]:
    """What must be equal: the records and the weights byte for byte, the answer, and what Optuna's storage holds."""
    info = json.loads((folder / "run.json").read_text("utf-8"))
    study = optuna.load_study(study_name="run", storage=f"sqlite:///{folder / 'study.db'}")
    trials = {trial.user_attrs["trial"]: (trial.state.name, trial.value, trial.params) for trial in study.trials}
    return {
        "status": info["status"],
        "result": {key: value for key, value in info["result"].items() if key not in ("seconds", "run")},
        "records": (folder / "records.jsonl").read_bytes(),
        "weights": {path.name: path.read_bytes() for path in (folder / "best").glob("*.safetensors")},
        "storage": trials,
        "places": sorted(place for line in info["plan_stacks"] for place in line["places"]),
        "report": (folder / "report.html").is_file(),
    }


@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MOMENTS]
)
def test_a_killed_search_resumes_to_the_trials_and_values_of_an_undisturbed_one(
    moment: str, undisturbed: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    assert tenfold(*QUESTION, mishaps=(*EVERY, MOMENTS[moment])).code == KILLED
    finished = tenfold(*QUESTION, "--resume")
    assert finished.code == 0, finished.err
    assert facts(tmp_path / "run") == facts(undisturbed)


def test_killed_again_and_again_it_still_ends_the_same(
    undisturbed: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    again: tuple[str, ...] = ()
    for moment in ("after the first rung", "before the sampler is told", "within a checkpoint"):
        finished = tenfold(*QUESTION, *again, mishaps=(*EVERY, MOMENTS[moment]))
        assert finished.code == KILLED, finished.err
        again = ("--resume",)
    assert tenfold(*QUESTION, "--resume").code == 0
    assert facts(tmp_path / "run") == facts(undisturbed)


def test_a_search_is_not_resumed_as_something_else(undisturbed: Path, tenfold: Callable[..., Finished]) -> None:
    for command, sentence in (
        (("fit", "iris", "--out", undisturbed, "--resume"), "was begun by search, not by fit"),
        ((*QUESTION[:-1], undisturbed, "--resume", "--sampler", "random"), "--sampler must be 'tpe'"),
    ):
        finished = tenfold(*command)
        assert finished.code == 2
        assert sentence in finished.err
