import json

import pytest

import tenfold
from tenfold.report import RunRecords, Trial, events_line, load_run
from tenfold.report.events import events

SICK = {"kind": "sick", "trial": 1, "fold": 0, "seed": 0, "epoch": 2, "step": 31, "cause": "lr=<9>"}
STOPPED = {"kind": "stopped", "trial": 2, "fold": 0, "seed": 0, "epoch": 7, "best_epoch": 4}
SPLIT = {"kind": "split", "trials": [1, 2], "epoch": 1, "pieces": 4}


def of(tmp_path, *found):
    return RunRecords(folder=tmp_path, run={}, trials={1: Trial(number=1, network="mlp", config={})}, events=found)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((SICK,), "1 training fell sick (the first: mlp #1 at step 31, lr=<9>)."),
        ((STOPPED, STOPPED), "2 trainings stopped early, their patience at an end."),
        ((SPLIT,), "memory ran out, and steps were taken in up to 4 pieces."),
        ((), ""),
    ],
)
def test_a_line_tells_what_befell_trainings(tmp_path, found, words):
    assert events_line(of(tmp_path, *found)) == words


def test_the_section_lists_them_and_there_is_none_without(tmp_path):
    page = events(of(tmp_path, SICK, STOPPED, SPLIT))
    assert "fell sick at step 31: lr=&lt;9&gt;" in page
    assert "stopped; its best epoch is 4" in page
    assert "2 trials" in page
    assert events(of(tmp_path)) is None


def test_many_are_cut_short(tmp_path):
    assert "5 more in records.jsonl." in events(of(tmp_path, *[STOPPED] * 25))


def test_a_run_that_had_them_shows_them(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "verb": "fit", "status": "running"}))
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (SICK, STOPPED)))
    records = load_run(tmp_path)
    assert [event["kind"] for event in records.events] == ["sick", "stopped"]
    assert "What befell trainings" in tenfold.report.render_page(records)
