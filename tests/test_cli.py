"""Every verb as a user types it: exit codes, streams, what is left on disk, and a sentence for each bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forked_command import CommandServer, Finished
from mishaps import UNPRIVILEGED
from PIL import Image

from tenfold.networks import NETWORKS

SMALL = ("--trials", 2, "--epochs", 2, "--threads", 1)
KEYS = {"schema", "run", "task", "metric", "direction", "valid", "test", "trials", "members", "epochs_trained",
        "seconds", "best", "metrics"}  # fmt: skip
RANDOM = np.random.default_rng(0)
ROWS = [f"{a:.3f},{b:.3f},{'yes' if a > b else 'no'}" for a, b in RANDOM.normal(size=(40, 2))]
NUMBERS = [f"{a:.3f},{b:.3f},{100 + 7 * a - 3 * b:.4f}" for a, b in RANDOM.normal(size=(40, 2))]


def write_table(path: Path, rows: list[str], header: str = "a,b,answer") -> None:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def write_pictures(
    folder: Path, *, each: int = 6, torn: int = 0, classes: tuple[str, ...] = ("dark", "light")
) -> None:
    """Class folders of small noisy pictures; the first `torn` of each end in the middle."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for place in range(each):
            path = folder / name / f"{place}.png"
            pixels = RANDOM.integers(120 * number, 120 * number + 130, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            if place < torn:
                path.write_bytes(path.read_bytes()[:600])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, commands: CommandServer) -> Path:
    """A directory with sources of many kinds, and finished runs of a table, of a regression and of pictures."""
    here = tmp_path_factory.mktemp("place")
    write_table(here / "table.csv", ROWS)
    write_table(here / "numbers.csv", NUMBERS)
    write_pictures(here / "pictures", each=10, torn=2)
    write_bad_sources(here)
    for source in ("table.csv", "numbers.csv", "pictures"):
        finished = commands.run("fit", source, *SMALL, "--json", cwd=here)
        assert finished.code == 0, finished.err
        name = source.removesuffix(".csv")
        (here / f"{name}.out").write_text(finished.out)
        (here / f"{name}.err").write_text(finished.err)
    return here


def write_bad_sources(here: Path) -> None:
    (here / "empty").mkdir()
    (here / "empty.csv").touch()
    (here / "zeros.csv").write_bytes(b"a,b\n\x00\x01\x02,\x00\n" * 9)
    tables = {
        "header_only.csv": [],
        "ragged.csv": [*ROWS[:5], "1,2,yes,9", *ROWS[5:]],
        "constant.csv": [f"{i},{i % 3},same" for i in range(30)],
        "single.csv": [*ROWS, "0.5,0.5,rare"],
        "infinite.csv": [*ROWS[:3], "inf,0.1,yes", *ROWS[3:]],
        "infinite_target.csv": [*NUMBERS, "0.1,0.2,inf"],
        "two.csv": ["1,2,yes", "2,1,no"],
        "alike.csv": [f"1,u,{answer}" for answer in ("yes", "no") * 20],
    }
    for name, rows in tables.items():
        write_table(here / name, rows)
    write_table(here / "one_column.csv", ["yes", "no"] * 10, header="answer")
    write_pictures(here / "all_torn", each=3, torn=3)
    write_pictures(here / "one_class", classes=("dark",))
    write_pictures(here / "one_picture", each=1, classes=("rare",))
    write_pictures(here / "one_picture", classes=("usual",))
    (here / "texts" / "class").mkdir(parents=True)
    (here / "texts" / "class" / "a.txt").write_text("words")
    (here / "tables" / "a").mkdir(parents=True)
    write_table(here / "tables" / "a" / "t.csv", ROWS)
    np.save(here / "x.npy", np.zeros((3, 3)))
    np.savez(here / "cubes.npz", x=np.zeros((3, 2, 2)))


@pytest.fixture
def at(place: Path, commands: CommandServer) -> Iterator[Callable[..., Finished]]:
    """Runs a command in the place; the place must be unchanged afterwards, but for what the test takes away."""
    before = set(place.rglob("*"))

    def run(*arguments: Any, **settings: Any) -> Finished:
        return commands.run(*arguments, cwd=place, **settings)

    yield run
    left = set(place.rglob("*")) - before
    assert not left, f"left behind: {sorted(map(str, left))}"


# -- the answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "metric", "direction"),
    [
        ("table", "classification", "accuracy", "maximize"),
        ("numbers", "regression", "rmse", "minimize"),
        ("pictures", "classification", "accuracy", "maximize"),
    ],
)
def test_json_is_the_only_line_of_stdout_and_has_every_key(
    name: str, task: str, metric: str, direction: str, place: Path
) -> None:
    lines = (place / f"{name}.out").read_text().splitlines()
    assert len(lines) == 1
    answer = json.loads(lines[0])
    assert set(answer) == KEYS
    assert (answer["schema"], answer["task"], answer["metric"], answer["direction"]) == (1, task, metric, direction)
    assert answer["run"] == f"runs/{name}-1"
    assert set(answer["valid"]) == {"mean", "std", "n", "over"}
    assert set(answer["test"]) == {"value", "n", "low", "high"}
    assert answer["test"]["low"] <= answer["test"]["value"] <= answer["test"]["high"]
    assert (answer["trials"], answer["members"]) == (2, 2)
    assert 2 <= answer["epochs_trained"] <= 4
    assert set(answer["best"]) == {"trial", "network", "config"}
    assert answer == json.loads((place / "runs" / f"{name}-1" / "run.json").read_text("utf-8"))["result"]


def test_what_was_inferred_is_said_with_the_flag_that_overrules_it(place: Path) -> None:
    said = (place / "table.err").read_text()
    for flag in ("--target", "--task", "--header", "--valid-fraction", "--test-fraction", "--trials", "--epochs",
                 "--time", "--network", "--form"):  # fmt: skip
        assert flag in said


def test_the_run_folder_holds_what_the_design_says(place: Path) -> None:
    run = place / "runs" / "table-1"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {"run.json", "records.jsonl", "study.db", "report.html", "best/model.json", "best/weights-0.safetensors",
            "checkpoint/cohort.pt", "evaluation.npz"} <= names  # fmt: skip
    assert any(name.startswith("tensorboard/") for name in names)
    assert not {name for name in names if "writing" in name or name.endswith(".tmp")}


def test_torn_pictures_are_named_counted_and_listed_in_the_report(place: Path) -> None:
    said = (place / "pictures.err").read_text()
    assert "files: 4 skipped, such as dark/0.png (cannot be decoded" in said
    page = (place / "runs" / "pictures-1" / "report.html").read_text("utf-8")
    for name in ("dark/0.png", "dark/1.png", "light/0.png", "light/1.png"):
        assert name in page
    info = json.loads((place / "runs" / "pictures-1" / "run.json").read_text("utf-8"))
    assert len(info["source"]["skipped"]) == 4
    assert info["source"]["rows"] == 16


def test_runs_are_numbered_and_never_replaced(at: Callable[..., Finished], place: Path) -> None:
    try:
        assert at("fit", "table.csv", *SMALL, "--json").answer["run"] == "runs/table-2"
        (place / "runs" / "table-3").mkdir()
        assert at("fit", "table.csv", *SMALL, "--json").answer["run"] == "runs/table-4"
    finally:
        for number in (2, 3, 4):
            shutil.rmtree(place / "runs" / f"table-{number}", ignore_errors=True)


def test_quiet_says_nothing_but_the_answer(at: Callable[..., Finished], place: Path) -> None:
    try:
        plain = at("fit", "table.csv", *SMALL, "--quiet", "--out", "quiet")
        assert plain.code == 0
        assert plain.err == ""
        assert "test accuracy" in plain.out
        assert plain.out.splitlines()[-1] == "report: quiet/report.html"
        both = at("fit", "table.csv", *SMALL, "--quiet", "--json", "--out", "quiet", "--overwrite")
        assert both.err == ""
        assert len(both.out.splitlines()) == 1
    finally:
        shutil.rmtree(place / "quiet", ignore_errors=True)


def test_a_run_without_test_rows_has_no_test_score(at: Callable[..., Finished], place: Path) -> None:
    try:
        finished = at("fit", "table.csv", *SMALL, "--test-fraction", 0, "--json", "--out", "untested")
        assert finished.code == 0
        assert finished.answer["test"] is None
        assert at("report", "untested").code == 0
    finally:
        shutil.rmtree(place / "untested", ignore_errors=True)


def test_training_that_is_slower_than_planned_ends_in_time_with_an_answer(
    at: Callable[..., Finished], place: Path
) -> None:
    try:
        finished = at("fit", "table.csv", "--trials", 2, "--epochs", 60, "--time", "2s", "--threads", 1, "--json",
                      "--out", "timed", mishaps=[("slow_steps", 0.05)])  # fmt: skip
        assert finished.code == 0, finished.err
        answer = finished.answer
        assert answer["test"] is not None
        records = [json.loads(line) for line in (place / "timed" / "records.jsonl").read_text("utf-8").splitlines()]
        reached = max(record["epoch"] for record in records if record["kind"] == "epoch")
        assert 1 <= reached < 60
        assert records[-1]["kind"] == "final"
        assert json.loads((place / "timed" / "run.json").read_text("utf-8"))["status"] == "done"
    finally:
        shutil.rmtree(place / "timed", ignore_errors=True)


# -- bad input ---------------------------------------------------------------------------------------------------

BAD = [
    (("nowhere/flowers",), "nowhere/flowers: no such file or folder"),
    (("tabel.csv",), "no such file or folder. Did you mean 'table.csv'?"),
    (("digitz",), "Did you mean 'digits'?"),
    (("empty",), "the folder is empty"),
    (("empty.csv",), "the file is empty"),
    (("header_only.csv",), "no rows below the header"),
    (("ragged.csv",), "line 7 has 4 fields where the others have 3"),
    (("zeros.csv",), "this is no text file"),
    (("constant.csv",), "the target 'answer' is 'same' in every row"),
    (("single.csv",), "class 'rare' has one sample only"),
    (("one_picture",), "class 'rare' has one sample only"),
    (("infinite.csv",), "column 'a' is infinite in 1 of 41 rows, first in row 3"),
    (("infinite_target.csv",), "the target 'answer' is infinite in 1 of 41 rows"),
    (("two.csv",), "have one sample only"),
    (("one_column.csv",), "the table has one column, 'answer'"),
    (("all_torn",), "none of 6 files is a readable picture"),
    (("one_class",), "the one class 'dark'"),
    (("texts",), "texts"),
    (("runs/table-1",), "is a run, which is no data. Give what it was trained on, such as table.csv"),
    (("tables",), "tables: holds tables in its folders and no pictures. Name one of them, such as tables/a/t.csv"),
    (("alike.csv",), "alike.csv: no input takes two values in the 24 training rows (column 'a' is 1.0 in all)"),
    (("x.npy",), "is one array, without targets"),
    (("",), "got an empty text"),
    (("table.csv", "--target", "anwser"), "no column 'anwser'. Did you mean 'answer'?"),
    (("table.csv", "--target", "7"), "target 7 must be a column number from 0 to 2"),
    (
        ("table.csv", "--task", "classify"),
        "must be one of classification, regression, multilabel, segmentation, got 'classify'",
    ),
    (("table.csv", "--task", "regression"), "regression needs numbers"),
    (("table.csv", "--metric", "acuracy"), "Did you mean 'accuracy'?"),
    (("table.csv", "--metric", "rmse"), "unknown metric 'rmse' for classification"),
    (("table.csv", "--network", "linaer"), "unknown network 'linaer'. Did you mean 'linear'?"),
    (("table.csv", "--network", "lenet"), "--network lenet cannot take this data"),
    (("table.csv", "--device", "tpu"), "there is no device 'tpu'"),
    (("table.csv", "--device", "meta"), "got 'meta'"),
    (("table.csv", "--device", "gpu"), "there is no device 'gpu'. Did you mean 'cuda'?"),
    (("table.csv", "--trials", 0), "--trials must be a whole number >= 1, got 0"),
    (("table.csv", "--epochs", -1), "--epochs must be a whole number >= 1, got -1"),
    (("table.csv", "--threads", 0), "--threads must be a whole number >= 1, got 0"),
    (("table.csv", "--threads", 9999), "--threads must be at most the"),
    (("table.csv", "--batch-size", 0), "--batch-size must be a whole number >= 1, got 0"),
    (("pictures", "--image-size", -3), "--image-size must be a whole number >= 1, or height and width, got -3"),
    (("pictures", "--image-size", 200_000), "Choose a smaller --image-size"),
    (("table.csv", "--image-size", 32), "holds no picture files to resize"),
    (("table.csv", "--time", "soon"), "--time must be a length of time such as 90s"),
    (("table.csv", "--time", "0s"), "--time must be longer than nothing"),
    (("table.csv", "--valid-fraction", 0), "--valid-fraction must be in (0, 1)"),
    (("table.csv", "--test-fraction", 0.9), "together below 1"),
    (("table.csv", "--final", "bset"), "--final must be one of best, refit, average"),
    (("table.csv", "--form", "folded"), "--form must be one of auto, stacked, serial"),
    (("table.csv", "--loss", "l1"), "unknown classification loss 'l1'"),
    (("table.csv", "--quantiles", "0.1,0.5,0.9"), "--quantiles is for a regression"),
    (("numbers.csv", "--quantiles", "low"), "--quantiles must be numbers with commas between, got 'low'"),
    (("numbers.csv", "--quantiles", "0.1,0.9"), "quantiles must be an odd number of levels"),
    (("table.csv", "--order", "yes"), "class 'no' must have its place in the order"),
    (("numbers.csv", "--loss", "l3"), "unknown regression loss 'l3'"),
    (("numbers.csv", "--balanced"), "--balanced is for a classification"),
    (("table.csv", "--out", "table.csv/run"), "table.csv is a file"),
    (("table.csv", "--out", "pictures"), "pictures exists. Add --resume to go on with it or --overwrite"),
    (("table.csv", "--out", "runs/table-1"), "runs/table-1 exists. Add --resume"),
    (("table.csv", "--out", "pictures", "--overwrite"), "holds something that is not a run"),
    (("table.csv", "--out", "numbers.csv", "--overwrite"), "holds something that is not a run"),
    (("table.csv", "--resume"), "Name its folder"),
    (("table.csv", "--trials", "many"), "Invalid value for '--trials'"),
    (("table.csv", "--tiral", 3), "No such option: --tiral"),
    ((), "Missing argument"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(map(str, a)) for a, _ in BAD])
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: tuple[Any, ...], sentence: str, at: Callable[..., Finished]
) -> None:
    finished = at("fit", *arguments, *(("--quiet",) if arguments else ()))
    assert finished.code == 2, finished.err
    assert finished.out == ""
    assert sentence in finished.err
    assert finished.err.startswith("tenfold: ")
    assert len(finished.err.splitlines()) == 1
    assert "Traceback" not in finished.err


def test_labels_quantiles_and_an_order_come_from_the_command_line(commands: CommandServer, tmp_path: Path) -> None:
    def at(*arguments: Any) -> Finished:
        return commands.run(*arguments, cwd=tmp_path)

    write_table(tmp_path / "table.csv", ROWS)
    write_table(tmp_path / "numbers.csv", NUMBERS)
    rows = [f"{a:.3f},{b:.3f},{int(a > 0)},{int(b > 0)}" for a, b in RANDOM.normal(size=(60, 2))]
    write_table(tmp_path / "labels.csv", rows, "a,b,sun,rain")
    short = ("--trials", 1, "--epochs", 1, "--threads", 1, "--json", "--out")
    many = at("fit", "labels.csv", "--target", "sun", "--target", "rain", *short, "runs/labels")
    assert many.code == 0, many.err
    assert many.answer["task"] == "multilabel"
    said = at("predict", "runs/labels", "labels.csv", "--out", "labels.out.csv", "--overwrite")
    assert said.code == 0, said.err
    assert list(pd.read_csv(tmp_path / "labels.out.csv"))[1:] == ["probability_rain", "probability_sun"]
    bands = at("fit", "numbers.csv", "--quantiles", "0.1,0.5,0.9", *short, "runs/bands")
    assert (bands.code, bands.answer["metric"]) == (0, "pinball")
    ordered = at("fit", "table.csv", "--order", "yes,no", *short, "runs/ordered")
    assert ordered.code == 0, ordered.err
    calibrated = at("predict", "runs/labels", "labels.csv", "--out", "labels.out.csv", "--overwrite", "--calibrated")
    assert calibrated.code == 2
    assert "--calibrated: the model has no temperature" in calibrated.err


def test_too_little_memory_is_one_sentence(at: Callable[..., Finished]) -> None:
    finished = at("fit", "table.csv", *SMALL, "--quiet", mishaps=[("little_memory", 20_000)])
    assert finished.code == 2
    assert "Train fewer members or a smaller network" in finished.err
    assert len(finished.err.splitlines()) == 1


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_refused_allocation_is_one_sentence(library: str, at: Callable[..., Finished]) -> None:
    finished = at("fit", "table.csv", *SMALL, "--quiet", mishaps=[("ask_for_too_much_memory", library)])
    assert finished.code == 2, finished.err
    assert finished.err.startswith("tenfold: out of memory (")
    assert "Choose a smaller --batch-size" in finished.err
    assert len(finished.err.splitlines()) == 1


@pytest.fixture
def without_rights(place: Path) -> Iterator[list[tuple[Any, ...]]]:
    """Mishaps that make a command one of a user who may read the place and not write to it."""
    if os.geteuid() != 0:
        place.chmod(0o555)
        yield []
        place.chmod(0o755)
        return
    folders = [folder for folder in (place, *place.parents) if folder.stat().st_uid == os.getuid()]
    modes = {folder: folder.stat().st_mode for folder in folders if folder != Path("/")}
    for folder, mode in modes.items():
        folder.chmod(mode | 0o055)
    assert UNPRIVILEGED
    yield [("become_nobody",)]
    for folder, mode in modes.items():
        folder.chmod(mode)


@pytest.mark.parametrize("out", ["closed/run", "fresh"])
def test_no_write_permission_is_said_before_the_work(
    out: str, place: Path, at: Callable[..., Finished], without_rights: list[tuple[Any, ...]]
) -> None:
    finished = at("fit", "table.csv", *SMALL, "--out", out, mishaps=without_rights)
    assert finished.code == 2
    assert "may not be written to" in finished.err
    assert "Reading" not in finished.err
    assert len(finished.err.splitlines()) == 1


@pytest.mark.parametrize("num_bytes", [8_000, 60_000, 150_000])
def test_a_full_disk_is_one_sentence_and_leaves_a_run_that_resumes(
    num_bytes: int, at: Callable[..., Finished], place: Path
) -> None:
    """8,000 bytes are too few for a checkpoint, 60,000 for `study.db`, and 150,000 for the checkpoint again."""
    try:
        question = ("fit", "table.csv", *SMALL, "--quiet", "--out", "full")
        finished = at(*question, mishaps=[("no_room_for_files_above", num_bytes)])
        assert finished.code == 2
        assert "--out full --resume goes on" in finished.err
        assert len(finished.err.splitlines()) == 1
        assert json.loads((place / "full" / "run.json").read_text("utf-8"))["status"] == "failed"
        assert list((place / "full" / "checkpoint").iterdir()) == []
        assert at(*question, "--resume").code == 0
    finally:
        shutil.rmtree(place / "full", ignore_errors=True)


def test_a_mirror_that_cannot_be_written_is_a_warning(at: Callable[..., Finished], place: Path) -> None:
    try:
        finished = at("fit", "table.csv", *SMALL, "--out", "mirrors", mishaps=[("no_threads_for_events",)])
        assert finished.code == 0
        assert "mirrors/tensorboard: was not updated (can't start new thread)" in finished.err
    finally:
        shutil.rmtree(place / "mirrors", ignore_errors=True)


# -- predict -----------------------------------------------------------------------------------------------------


@pytest.fixture
def predictions(at: Callable[..., Finished], place: Path) -> Iterator[Callable[..., pd.DataFrame]]:
    """Predicts and reads the table that was written."""
    file = place / "predictions.csv"

    def predict(run: str, inputs: str, *more: Any) -> pd.DataFrame:
        finished = at("predict", run, inputs, *more)
        assert finished.code == 0, finished.err
        assert "predictions.csv" in finished.out
        return pd.read_csv(file)

    yield predict
    file.unlink(missing_ok=True)


def test_a_table_is_predicted_with_and_without_its_target(
    predictions: Callable[..., pd.DataFrame], place: Path
) -> None:
    whole = pd.read_csv(place / "table.csv")
    with_target = predictions("runs/table-1", "table.csv")
    assert list(with_target.columns) == ["prediction", "probability_no", "probability_yes"]
    assert len(with_target) == len(whole)
    probabilities = with_target[["probability_no", "probability_yes"]].to_numpy()
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert (np.array(["no", "yes"])[probabilities.argmax(axis=1)] == with_target["prediction"]).all()
    assert (with_target["prediction"] == whole["answer"]).mean() > 0.5
    files = {"reordered.csv": whole[["b", "a"]], "more.csv": whole.assign(c=1)[["c", "b", "a"]]}
    for name, frame in files.items():
        frame.to_csv(place / name, index=False)
        try:
            pd.testing.assert_frame_equal(predictions("runs/table-1", name, "--overwrite"), with_target)
        finally:
            (place / name).unlink()


def test_a_regression_is_predicted_in_raw_units(predictions: Callable[..., pd.DataFrame], place: Path) -> None:
    table = predictions("runs/numbers-1", "numbers.csv")
    truth = pd.read_csv(place / "numbers.csv")["answer"]
    assert list(table.columns) == ["prediction"]
    assert abs(table["prediction"].mean() - truth.mean()) < truth.std()


def test_arrays_without_targets_are_predicted(predictions: Callable[..., pd.DataFrame], place: Path) -> None:
    x = pd.read_csv(place / "table.csv")[["a", "b"]].to_numpy()
    np.savez(place / "x_alone.npz", x=x)
    try:
        from_array = predictions("runs/table-1", "x_alone.npz")
        pd.testing.assert_frame_equal(from_array, predictions("runs/table-1", "table.csv", "--overwrite"))
    finally:
        (place / "x_alone.npz").unlink()


@pytest.mark.parametrize(
    ("inputs", "num_rows", "first"), [("pictures", 16, "dark/2.png"), ("pictures/light", 8, "2.png"),
                                      ("pictures/dark/5.png", 1, "5.png")]
)  # fmt: skip
def test_pictures_are_predicted_from_folders_and_files(
    inputs: str, num_rows: int, first: str, predictions: Callable[..., pd.DataFrame]
) -> None:
    table = predictions("runs/pictures-1", inputs)
    assert len(table) == num_rows
    assert table["file"][0] == first
    assert list(table.columns) == ["prediction", "probability_dark", "probability_light", "file"]


def test_predictions_tell_what_they_did_as_json(at: Callable[..., Finished], place: Path) -> None:
    finished = at("predict", "runs/pictures-1", "pictures", "--json", "--out", "p.csv")
    (place / "p.csv").unlink()
    assert len(finished.out.splitlines()) == 1
    assert finished.answer == {
        "schema": 1, "run": "runs/pictures-1", "predictions": "p.csv", "n": 16, "skipped": 4
    }  # fmt: skip
    assert "skipped dark/0.png: cannot be decoded" in finished.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("runs/table-1", "table.csv", "--out", "numbers.csv"), "--out: numbers.csv exists. Choose another name, or"),
        (("runs/table-1", "table.csv", "--out", "nowhere/p.csv"), "--out: there is no folder nowhere. Make it, or"),
        (
            ("runs/table-1", "table.csv", "--out", "pictures", "--overwrite"),
            "--out: pictures is a folder. Name a file",
        ),
        (
            ("runs/table-1", "table.csv", "--out", "p.parquet"),
            "predictions are written as CSV, got p.parquet. Choose",
        ),
        (
            ("runs/table-1", "table.csv", "--out", "./table.csv", "--overwrite"),
            "table.csv is the input itself. Choose",
        ),
        (("runs/table-1", "infinite.csv"), "column 'a' is infinite in 1 of 41 rows, first in row 3"),
        (("runs/table-1", "cubes.npz"), "holds arrays of shape (3, 2, 2), the model takes a table of shape (N, D)"),
        (("runs/table-1", "table.csv", "--encoding", "utf-9"), "there is no encoding 'utf-9'"),
        (("runs/table-1", "nowhere.csv"), "no such file or folder"),
        (("runs/table-1", "pictures"), "pictures"),
        (("runs/table-1", "runs/table-1"), "runs/table-1: is a run, which is no data. Give what it was trained on"),
        (("runs/table-1", "pictures/dark/5.png"), "5.png"),
        (("runs/table-1", "one_column.csv"), "the model was trained on 2 (a, b)"),
        (("runs/pictures-1", "all_torn"), "none of 6 files is a readable picture"),
        (("runs/pictures-1", "table.csv"), "table.csv"),
        (("runs/pictures-1", "empty"), "holds no pictures"),
        (("pictures", "table.csv"), "there is no finished model"),
        (("nowhere", "table.csv"), "nowhere: no such file or folder"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, at: Callable[..., Finished]
) -> None:
    finished = at("predict", *arguments)
    assert finished.code == 2, finished.err
    assert finished.out == ""
    assert sentence in finished.err
    assert len(finished.err.splitlines()) == 1


def test_predict_says_how_it_read_a_table_and_what_training_never_saw(
    at: Callable[..., Finished], place: Path
) -> None:
    write_table(place / "far.csv", ["1000,0.5", *(f"{i / 10},0.5" for i in range(9))], header="a,b")
    try:
        told = at("predict", "runs/table-1", "far.csv", "--out", "p.csv")
        (place / "p.csv").unlink()
        assert told.code == 0, told.err
        assert told.err.splitlines() == [
            "  table: separated by commas, UTF-8, the first row names the columns (--encoding, --header)",
            "  column 'a': 1 of 10 values lie more than 10 standard deviations from the mean of training, such as "
            "1000; they are cut there",
        ]
        assert at("predict", "runs/table-1", "far.csv", "--out", "p.csv", "--quiet").err == ""
        (place / "p.csv").unlink()
    finally:
        (place / "far.csv").unlink()


@pytest.mark.parametrize("command", [("predict", "runs/table-1", "table.csv"), ("report", "runs/table-1")])
def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(
    command: tuple[str, ...], at: Callable[..., Finished], place: Path
) -> None:
    """That `at` finds the place unchanged is the test."""
    page = (place / "runs" / "table-1" / "report.html").read_bytes()
    finished = at(*command, mishaps=[("no_room_for_files_above", 1_000)])
    assert finished.code == 2, finished.err
    name = "predictions.csv" if command[0] == "predict" else "runs/table-1/report.html"
    assert finished.err.splitlines()[-1] == f"tenfold: {name}: File too large."
    assert (place / "runs" / "table-1" / "report.html").read_bytes() == page


@pytest.mark.parametrize("file", ["model.json", "weights-0.safetensors"])
def test_a_torn_model_is_one_sentence(file: str, at: Callable[..., Finished], place: Path) -> None:
    copy = place / "torn"
    shutil.copytree(place / "runs" / "table-1" / "best", copy)
    try:
        (copy / file).write_bytes((copy / file).read_bytes()[:70])
        finished = at("predict", "torn", "table.csv")
        assert finished.code == 2, finished.err
        assert file in finished.err
        assert len(finished.err.splitlines()) == 1
    finally:
        shutil.rmtree(copy)


# -- the other verbs ---------------------------------------------------------------------------------------------


def test_evaluate_scores_other_data(at: Callable[..., Finished], place: Path) -> None:
    finished = at("evaluate", "runs/table-1", "table.csv", "--json")
    assert finished.code == 0, finished.err
    scores = finished.answer["scores"]
    assert scores["accuracy"]["n"] == 40
    assert scores["accuracy"]["low"] <= scores["accuracy"]["value"] <= scores["accuracy"]["high"]
    assert at("evaluate", "table.csv", "runs/table-1", "--json").answer["scores"] == scores
    assert "accuracy" in at("evaluate", "runs/table-1", "table.csv").out


def test_evaluate_leaves_out_rows_without_a_target(at: Callable[..., Finished], place: Path) -> None:
    write_table(place / "gaps.csv", ["0.1,0.2,", *ROWS[:20], "0.3,0.4,", *ROWS[20:]])
    try:
        finished = at("evaluate", "runs/table-1", "gaps.csv", "--json")
        assert finished.code == 0, finished.err
        assert finished.answer["scores"] == at("evaluate", "runs/table-1", "table.csv", "--json").answer["scores"]
    finally:
        (place / "gaps.csv").unlink()


def test_evaluate_takes_one_class_alone(at: Callable[..., Finished], place: Path) -> None:
    write_table(place / "yes.csv", [row for row in ROWS if row.endswith("yes")][:3])
    try:
        finished = at("evaluate", "runs/table-1", "yes.csv", "--json")
        assert finished.code == 0, finished.err
        scores = finished.answer["scores"]
        assert (scores["accuracy"]["n"], scores["roc_auc"]["value"]) == (3, None)
        assert "roc_auc  is not defined on these samples" in at("evaluate", "runs/table-1", "yes.csv").out
    finally:
        (place / "yes.csv").unlink()


def test_an_encoding_is_named_where_it_is_detected_wrongly(at: Callable[..., Finished], place: Path) -> None:
    rows = [row.replace("yes", "né").replace("no", "ça") for row in ROWS]
    (place / "coded.csv").write_text("\n".join(["a,b,answer", *rows]), encoding="cp1252")
    try:
        told = at("fit", "coded.csv", *SMALL, "--encoding", "cp1252", "--out", "coded", "--quiet")
        assert told.code == 0, told.err
        assert json.loads((place / "coded" / "run.json").read_text("utf-8"))["classes"] == ["né", "ça"]
        scored = at("evaluate", "coded", "coded.csv", "--encoding", "cp1252", "--json")
        assert scored.answer["scores"]["accuracy"]["n"] == 40
        refused = at("evaluate", "coded", "coded.csv", "--encoding", "utf-8")
        assert (refused.code, "cannot be decoded as utf-8" in refused.err) == (2, True)
    finally:
        shutil.rmtree(place / "coded", ignore_errors=True)
        (place / "coded.csv").unlink()


def test_a_complete_run_is_no_answer_to_a_question_about_other_data(at: Callable[..., Finished]) -> None:
    refused = at("fit", "numbers.csv", "--out", "runs/table-1", "--resume")
    assert (refused.code, refused.out) == (2, "")
    assert "the run in runs/table-1 was begun with 'table.csv', got 'numbers.csv'. Name the same data" in refused.err
    again = at("fit", "./table.csv", "--out", "runs/table-1", "--resume")
    assert (again.code, "is complete" in again.err) == (0, True), again.err


def test_evaluate_finds_the_target_by_its_name(at: Callable[..., Finished], place: Path) -> None:
    """The target was the last column in training, and stands first here."""
    for name in ("table", "numbers"):
        pd.read_csv(place / f"{name}.csv")[["answer", "a", "b"]].to_csv(place / "moved.csv", index=False)
        try:
            moved = at("evaluate", f"runs/{name}-1", "moved.csv", "--json")
            assert moved.code == 0, moved.err
            assert (
                moved.answer["scores"] == at("evaluate", f"runs/{name}-1", f"{name}.csv", "--json").answer["scores"]
            )
        finally:
            (place / "moved.csv").unlink()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("runs/table-1", "numbers.csv"), "does not occur in the training rows (40 rows hold such a class). Choose"),
        (
            ("runs/table-1", "single.csv"),
            "class 'rare' does not occur in the training rows (1 row holds such a class).",
        ),
        (("runs/table-1", "nowhere.csv"), "no such file or folder"),
        (("runs/table-1", "table.csv", "--target", "anwser"), "Did you mean 'answer'?"),
        (("nowhere", "table.csv"), "there is no run"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, at: Callable[..., Finished]
) -> None:
    finished = at("evaluate", *arguments)
    assert finished.code == 2, finished.err
    assert sentence in finished.err
    assert len(finished.err.splitlines()) == 1


def test_report_is_written_anew(at: Callable[..., Finished], place: Path) -> None:
    page = place / "runs" / "table-1" / "report.html"
    page.unlink()
    assert at("report", "runs/table-1").out == "report: runs/table-1/report.html\n"
    assert page.stat().st_size > 10_000
    assert at("report", "runs/table-1", "--json").answer["report"] == "runs/table-1/report.html"
    refused = at("report", "pictures")
    assert refused.code == 2
    assert "has no run.json" in refused.err


def test_networks_and_sources_are_listed(at: Callable[..., Finished]) -> None:
    rows = at("networks", "--json").answer
    flops = {row["name"]: row["flops"] for row in rows}
    assert flops["linear"] == 2 * 3 * 32 * 32 * 10
    known = {name: NETWORKS[name].published for name in flops if NETWORKS[name].published is not None}
    assert {row["name"]: row["parameters"] for row in rows if row["name"] in known} == {
        name: published.parameters for name, published in known.items()
    }
    of_torchvision = {name: 2 * figures.multiply_adds for name, figures in known.items() if figures.multiply_adds}
    assert len(of_torchvision) >= 20
    assert {name: flops[name] for name in of_torchvision} == pytest.approx(of_torchvision, rel=0.01)
    assert {"linear", "mlp", "lenet", "resnet18"} <= {row["name"] for row in rows}
    assert all(row["parameters"] > 0 and row["stacks"] and row["reference"] for row in rows)
    shown = at("networks").out
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    assert all(row["name"] in words and row["stacks"] in words for row in rows)
    assert "also logistic_regression, softmax_regression, linear_regression" in words
    assert "timm:NAME" in words
    names = {row["name"] for row in at("sources", "--json").answer}
    assert {"digits", "iris", "wine"} <= names
    assert all(name in at("sources").out for name in names)


def test_the_package_runs_as_a_module() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tenfold", "--version"], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("tenfold ")


@pytest.mark.parametrize("verb", ["fit", "predict", "evaluate", "report", "networks", "sources"])
def test_every_verb_has_help_with_a_sentence(verb: str, at: Callable[..., Finished]) -> None:
    finished = at(verb, "--help", COLUMNS="100")
    assert finished.code == 0
    assert finished.err == ""
    assert "Usage: tenfold " + verb in finished.out
    for line in finished.out.splitlines():
        if line.startswith("│ --") or line.startswith("│ *"):
            assert len(line.strip("│ ").split("  ")) >= 2, line


def test_help_names_every_verb_and_where_to_begin(at: Callable[..., Finished]) -> None:
    for arguments in ((), ("--help",), ("-h",)):
        finished = at(*arguments)
        assert "tenfold fit digits" in finished.out
        for verb in ("fit", "predict", "evaluate", "report", "networks", "sources"):
            assert verb in finished.out
    assert at("--version").out.startswith("tenfold 0.")


def test_the_module_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tenfold.cli", "sources", "--json"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert {"digits"} <= {row["name"] for row in json.loads(done.stdout)}
