import json

import numpy as np
import pytest

from tenfold.core.errors import RunError
from tenfold.report import load_run


def test_a_torn_last_line_is_left_out(make_run):
    whole = load_run(make_run(trials=4))
    torn = load_run(make_run(trials=4, torn='{"kind": "epoch", "trial": 0, "ep'))
    assert torn.curves.keys() == whole.curves.keys()
    assert torn.final is not None


def test_a_torn_line_in_the_middle_is_an_error_that_names_it(make_run):
    folder = make_run(trials=1)
    path = folder / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"kind"', *lines[1:]]))
    with pytest.raises(RunError, match=r"line 2 of .*records\.jsonl must be JSON, got '\{\"kind\"'"):
        load_run(folder)


def test_a_folder_without_run_json_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"has no run\.json\. Give the folder of a run"):
        load_run(tmp_path)


def test_a_broken_run_json_is_an_error(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1')
    with pytest.raises(RunError, match=r"run\.json must be JSON.*--overwrite"):
        load_run(tmp_path)


@pytest.mark.parametrize("text", ['{"schema": 2}', "{}", "[]"])
def test_another_schema_is_an_error(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match="must have schema 1, got"):
        load_run(tmp_path)


def write(folder, *lines):
    (folder / "run.json").write_text('{"schema": 1, "metric": "accuracy"}')
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_run(folder)


def test_an_epoch_recorded_twice_counts_once_and_the_later_one_counts(tmp_path):
    epochs = [{"kind": "epoch", "trial": 3, "epoch": e, "train_loss": loss} for e, loss in ((2, 9), (1, 5), (2, 7))]
    curve = write(tmp_path, *epochs).curves[3, 0, 0]
    np.testing.assert_array_equal(curve.epochs, [1, 2])
    np.testing.assert_array_equal(curve.train_loss, [5, 7])


@pytest.mark.parametrize("value", [None, float("nan"), "what", {}])
def test_what_is_no_number_becomes_nan(tmp_path, value):
    epoch = {"kind": "epoch", "trial": 0, "epoch": 1, "train_loss": value, "valid": {"accuracy": value}}
    curve = write(tmp_path, epoch).curves[0, 0, 0]
    assert np.isnan(curve.train_loss).all()
    assert np.isnan(curve.valid["accuracy"]).all()


def test_records_of_one_rung_are_put_together(tmp_path):
    a = {"kind": "rung", "rung": 0, "epoch": 3, "scores": {"0": 0.5, "1": 0.4}, "kept": [0], "left": [1]}
    b = {"kind": "rung", "rung": 0, "epoch": 3, "scores": {"2": None}, "kept": [], "left": [2]}
    (rung,) = write(tmp_path, a, b).rungs
    assert (rung.kept, rung.left) == ((0,), (1, 2))
    assert rung.scores[1] == 0.4
    assert np.isnan(rung.scores[2])


def test_unknown_kinds_of_records_are_passed_over(tmp_path):
    assert write(tmp_path, {"kind": "weather"}, [1, 2]).trials == {}


def test_an_unreadable_array_file_is_named_among_the_problems(make_run):
    folder = make_run(trials=1)
    path = folder / "evaluation.npz"
    path.write_bytes(path.read_bytes()[:200])
    (folder / "gallery.npz").write_bytes(b"")
    (folder / "gallery.json").write_text("{")
    records = load_run(folder)
    assert set(records.problems) == {"evaluation.npz", "gallery.npz", "gallery.json"}
    assert records.evaluation == {}


def test_arrays_that_would_run_code_are_not_read(make_run):
    folder = make_run(trials=1)
    np.savez(folder / "evaluation.npz", targets=np.array([{"a": 1}], dtype=object))
    assert "evaluation.npz" in load_run(folder).problems
