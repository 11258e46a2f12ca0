"""Promise 4: a run that was killed at any moment and resumed ends as if it had never been disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked_command import CommandServer, Finished

QUESTION = ("fit", "iris", "--trials", 6, "--epochs", 9, "--form", "stacked", "--threads", 1, "--quiet",
            "--out", "run")  # fmt: skip
# Rungs after epochs 1, 3 and 9; 6 trials of 4 structures; three steps of a lane an epoch.
KILLED = -signal.SIGKILL

# In each middle the process is killed by itself, so that the moment is exact; `checkpoint_every_epoch` stands for
# epochs of more than 30 seconds.
MIDDLES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "before the first checkpoint": (("die_at_step", 5),),
    "in the middle of an epoch": (("checkpoint_every_epoch",), ("die_at_step", 40)),
    "within a line of the records": (("checkpoint_every_epoch",), ("die_at_record", 15)),
    "right after the first rung": (("checkpoint_every_epoch",), ("die_after_rung", 1)),
    "while writing the third checkpoint": (("checkpoint_every_epoch",), ("die_in_checkpoint", 3)),
    "right after a checkpoint": (("checkpoint_every_epoch",), ("die_after_checkpoint", 4)),
    "after training, before the last checkpoint": (("die_after_rung", 3),),
    "when the test part is scored": (("die_before", "tenfold.study.engine", "score_test"),),
    "between scoring and the final record": (("die_after", "tenfold.study.engine", "score_test"),),
    "while the model is written": (("die_after", "tenfold.study.model", "save_model"),),
    "before the report": (("die_before", "tenfold.study.engine", "write_report"),),
    "after the report": (("die_after", "tenfold.study.engine", "write_report"),),
}


@pytest.fixture(scope="module")
def undisturbed(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a run that nothing befell."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    finished = commands.run(*QUESTION, cwd=cwd)
    assert finished.code == 0, finished.err
    return cwd / "run"


def facts(folder: Path) -> dict[str, Any]:
    """What must be equal: the records and the weights byte for byte, the evaluation and the answer in numbers."""
    info = json.loads((folder / "run.json").read_text("utf-8"))
    result = {key: value for key, value in info["result"].items() if key not in ("seconds", "run")}
    with np.load(folder / "evaluation.npz") as arrays:
        evaluation = {name: arrays[name].tolist() for name in arrays.files}
    return {
        "status": info["status"],
        "result": result,
        "evaluation": evaluation,
        "records": (folder / "records.jsonl").read_bytes(),
        "weights": {path.name: path.read_bytes() for path in (folder / "best").glob("*.safetensors")},
        "report": (folder / "report.html").is_file(),
    }


def snapshot(folder: Path) -> dict[str, str]:
    """Every file with a hash of what it holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("middle", MIDDLES)
def test_a_killed_run_resumes_to_the_records_and_weights_of_an_undisturbed_one(
    middle: str, undisturbed: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    assert tenfold(*QUESTION, mishaps=MIDDLES[middle]).code == KILLED
    finished = tenfold(*QUESTION, "--resume")
    assert finished.code == 0, finished.err
    assert facts(tmp_path / "run") == facts(undisturbed)


def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(
    undisturbed: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    again: tuple[str, ...] = ()
    for mishap in (("die_at_step", 20), ("die_after_rung", 1), ("die_in_checkpoint", 2), ("die_in_stage", "report")):
        finished = tenfold(*QUESTION, *again, mishaps=(("checkpoint_every_epoch",), mishap))
        assert finished.code == KILLED, finished.err
        again = ("--resume",)
    assert tenfold(*QUESTION, "--resume").code == 0
    assert facts(tmp_path / "run") == facts(undisturbed)


@pytest.mark.parametrize(
    ("final", "middle"),
    [("refit", ("die_in_refit_at_step", 20)), ("average", ("die_after", "tenfold.study.model", "save_model"))],
)
def test_the_other_final_models_are_resumed_too(
    final: str, middle: tuple[Any, ...], tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    question = (*QUESTION[:-2], "--final", final)
    assert tenfold(*question, "--out", "whole").code == 0
    assert tenfold(*question, "--out", "cut", mishaps=(("checkpoint_every_epoch",), middle)).code == KILLED
    assert (tmp_path / "cut" / "checkpoint" / "refit" / "cohort.pt").exists() == (final == "refit")
    finished = tenfold(*question, "--out", "cut", "--resume")
    assert finished.code == 0, finished.err
    assert facts(tmp_path / "cut") == facts(tmp_path / "whole")


def test_pictures_with_augmentation_resume_as_if_never_stopped(
    photos: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    question = ("fit", photos, "--network", "linear", "--network", "lenet", "--trials", 2, "--epochs", 3,
                "--form", "stacked", "--threads", 1, "--quiet")  # fmt: skip
    assert tenfold(*question, "--out", "whole").code == 0
    middle = (("checkpoint_every_epoch",), ("die_at_step", 3))
    assert tenfold(*question, "--out", "cut", mishaps=middle).code == KILLED
    assert tenfold(*question, "--out", "cut", "--resume").code == 0
    assert facts(tmp_path / "cut") == facts(tmp_path / "whole")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 12 noisy pictures, large enough to be augmented."""
    from PIL import Image

    folder, draws = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir()
        for picture in range(12):
            pixels = draws.integers(100 * number, 100 * number + 156, (72, 72, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{picture}.png")
    return folder


def test_a_real_process_that_is_killed_from_outside_resumes(undisturbed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tenfold.cli", *map(str, QUESTION)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the undisturbed run had
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    while process.poll() is None and not (tmp_path / "run" / "records.jsonl").exists():
        time.sleep(0.001)
    process.kill()
    assert process.wait() == KILLED
    again = subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment, check=False)
    assert again.returncode == 0
    assert facts(tmp_path / "run") == facts(undisturbed)


# -- what a resume refuses, and what it leaves alone ------------------------------------------------------------


@pytest.fixture
def complete(undisturbed: Path, tmp_path: Path) -> Path:
    """A complete run that a test may change."""
    return Path(shutil.copytree(undisturbed, tmp_path / "run"))


@pytest.fixture
def unfinished(commands: CommandServer, tmp_path: Path) -> Path:
    """A run that was killed before its second rung."""
    mishaps = (("checkpoint_every_epoch",), ("die_at_step", 30))
    assert commands.run(*QUESTION, cwd=tmp_path, mishaps=mishaps).code == KILLED
    return tmp_path / "run"


def test_resuming_a_complete_run_says_so_and_changes_nothing(
    complete: Path, tenfold: Callable[..., Finished]
) -> None:
    before = snapshot(complete)
    loud = [word for word in QUESTION if word != "--quiet"]
    finished = tenfold(*loud, "--resume", "--json")
    assert finished.code == 0
    assert "complete; nothing is left to do" in finished.err
    assert finished.answer["best"] == json.loads((complete / "run.json").read_text("utf-8"))["result"]["best"]
    assert snapshot(complete) == before


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (("--seed", 1), "--seed"),
        (("--trials", 7), "--trials"),
        (("--epochs", 10), "--epochs"),
        (("--metric", "log_loss"), "--metric"),
        (("--network", "linear"), "--network"),
        (("--final", "refit"), "--final"),
        (("--batch-size", 16), "--batch-size"),
        (("--valid-fraction", 0.3), "--valid-fraction"),
        (("--balanced",), "--balanced"),
        (("--time", "5m"), "--time"),
    ],
)
def test_other_options_are_refused_by_name(
    option: tuple[Any, ...], name: str, complete: Path, tenfold: Callable[..., Finished]
) -> None:
    before = snapshot(complete)
    finished = tenfold(*QUESTION, *option, "--resume")
    assert finished.code == 2
    assert name in finished.err
    assert len(finished.err.splitlines()) == 1
    assert snapshot(complete) == before


def test_options_may_be_left_out_in_a_resume(
    unfinished: Path, undisturbed: Path, tenfold: Callable[..., Finished]
) -> None:
    assert tenfold("fit", "iris", "--out", "run", "--resume").code == 0
    assert facts(unfinished) == facts(undisturbed)


def test_a_changed_input_is_refused_even_where_targets_stay(tenfold: Callable[..., Finished], tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'yes' if a > b else 'no'}" for a, b in draws.normal(size=(60, 2))]
    table = tmp_path / "table.csv"
    table.write_text("a,b,answer\n" + "\n".join(rows) + "\n")
    question = ("fit", "table.csv", "--trials", 2, "--epochs", 2, "--out", "run")
    assert tenfold(*question, mishaps=(("die_in_stage", "final"),)).code == KILLED
    rows[7] = "9.9," + rows[7].split(",", 1)[1]
    table.write_text("a,b,answer\n" + "\n".join(rows) + "\n")
    finished = tenfold(*question, "--resume", "--quiet")
    assert finished.code == 2
    assert "the data are not those the run in run was begun with" in finished.err


def test_other_data_is_refused(unfinished: Path, tenfold: Callable[..., Finished]) -> None:
    finished = tenfold("fit", "wine", "--out", "run", "--resume", "--quiet")
    assert finished.code == 2
    assert "the data are not those" in finished.err
    assert json.loads((unfinished / "run.json").read_text("utf-8"))["status"] == "running"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--resume",), "--resume: which run? Name its folder"),
        (("--resume", "--out", "nowhere"), "nowhere: there is no run"),
        (("--resume", "--overwrite", "--out", "nowhere"), "--resume and --overwrite exclude each other"),
    ],
)
def test_a_resume_of_nothing_is_refused(
    arguments: tuple[str, ...], sentence: str, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    finished = tenfold("fit", "iris", *arguments)
    assert finished.code == 2
    assert sentence in finished.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_a_second_process_on_a_run_is_refused(flag: str, commands: CommandServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = commands.start(*QUESTION, cwd=tmp_path, mishaps=[("wait_in_training_for", str(gate))])
    while not Path(f"{gate}.reached").exists():
        time.sleep(0.005)
    second = commands.run(*QUESTION, flag, cwd=tmp_path)
    gate.touch()
    assert second.code == 2
    assert "another process is writing to this run" in second.err
    finished = first.wait()
    assert finished.code == 0, finished.err


def test_a_damaged_checkpoint_is_one_sentence(unfinished: Path, tenfold: Callable[..., Finished]) -> None:
    checkpoint = unfinished / "checkpoint" / "cohort.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    finished = tenfold(*QUESTION, "--resume")
    assert finished.code == 2
    assert "delete it to train anew" in finished.err
    assert len(finished.err.splitlines()) == 1


def test_a_lost_checkpoint_means_to_train_anew(
    unfinished: Path, undisturbed: Path, tenfold: Callable[..., Finished]
) -> None:
    shutil.rmtree(unfinished / "checkpoint")
    assert tenfold(*QUESTION, "--resume").code == 0
    assert facts(unfinished) == facts(undisturbed)


def test_a_lost_record_file_is_refused(unfinished: Path, tenfold: Callable[..., Finished]) -> None:
    (unfinished / "records.jsonl").write_bytes(b"")
    finished = tenfold(*QUESTION, "--resume")
    assert finished.code == 2
    assert "records.jsonl" in finished.err


def test_the_torn_last_line_of_the_records_is_dropped(
    unfinished: Path, undisturbed: Path, tenfold: Callable[..., Finished]
) -> None:
    with open(unfinished / "records.jsonl", "ab") as file:
        file.write(b'{"kind": "epoch", "trial": 3, "fo')
    assert tenfold("report", "run").code == 0
    assert tenfold(*QUESTION, "--resume").code == 0
    assert facts(unfinished) == facts(undisturbed)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 13, 40])
def test_ctrl_c_leaves_a_run_that_resumes(
    step: int, undisturbed: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    finished = tenfold(*QUESTION, mishaps=[("press_ctrl_c_at_step", step)])
    assert finished.code == 130
    assert finished.out == ""
    assert "--out run --resume" in finished.err
    assert "Traceback" not in finished.err
    assert json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["status"] == "interrupted"
    assert tenfold("report", "run").code == 0
    assert tenfold(*QUESTION, "--resume").code == 0
    assert facts(tmp_path / "run") == facts(undisturbed)


def test_ctrl_c_that_comes_out_as_another_error_is_still_an_interruption(
    undisturbed: Path, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    assert tenfold(*QUESTION, mishaps=[("press_ctrl_c_inside_numpy",)]).code == 130
    assert tenfold(*QUESTION, "--resume").code == 0
    assert facts(tmp_path / "run") == facts(undisturbed)


def test_ctrl_c_names_the_folder_that_was_numbered(tenfold: Callable[..., Finished], tmp_path: Path) -> None:
    question = ("fit", "iris", "--trials", 2, "--epochs", 3)
    finished = tenfold(*question, mishaps=[("press_ctrl_c_at_step", 7)])
    assert finished.code == 130
    assert "--out runs/iris-1 --resume" in finished.err


@pytest.mark.parametrize("function", ["read_source", "prepare", "plan_question"])
def test_ctrl_c_before_there_is_a_run_promises_none(
    function: str, tenfold: Callable[..., Finished], tmp_path: Path
) -> None:
    finished = tenfold("fit", "iris", mishaps=[("press_ctrl_c_in", "tenfold.study.engine", function)])
    assert finished.code == 130
    assert "resume" not in finished.err
    assert list(tmp_path.iterdir()) == []


def test_the_seconds_before_an_interruption_count(tenfold: Callable[..., Finished], tmp_path: Path) -> None:
    mishaps = (("checkpoint_every_epoch",), ("slow_steps", 0.02), ("die_in_stage", "final"))
    assert tenfold(*QUESTION, mishaps=mishaps).code == KILLED
    assert tenfold(*QUESTION, "--resume").code == 0
    result = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["result"]
    steps = 3 * result["epochs_trained"]  # members of one stack share steps, so there were fewer
    assert result["seconds"] > 0.02 * steps / 3
