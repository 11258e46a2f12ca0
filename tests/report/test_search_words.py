"""A search in words: what was saved, and the winner to use elsewhere."""

import shlex

import pytest

from tenfold.report import RunRecords
from tenfold.report.provenance import command_line, python_call
from tenfold.report.search_charts import best_line
from tenfold.report.search_words import saved_line, winner, winner_run

BEST = {"trial": 3, "network": "mlp", "config": {"network": "mlp", "lr": 0.01, "residual": False, "norm": None}}
RUN = {
    "verb": "search",
    "seed": 2,
    "epochs": 9,
    "metric": "accuracy",
    "source": {"argument": "my data.csv", "path": "/data/my data.csv", "kind": "table"},
    "arguments": {"target": "price", "metric": "rmse", "max_rows": 50, "trials": 8, "halving": "none", "time_s": 9.0},
    "result": {"best": BEST},
}


def test_the_winner_is_asked_with_all_that_the_search_said_of_the_data():
    assert shlex.split(command_line(winner_run(RUN, BEST))) == [
        "tenfold", "cv", "/data/my data.csv", "--network", "mlp", "--config", "lr=0.01", "--config", "residual=false",
        "--config", "norm=null", "--folds", "5", "--epochs", "9", "--target", "price", "--max-rows", "50",
        "--metric", "rmse", "--seed", "2",
    ]  # fmt: skip


def test_folds_and_seeds_of_the_search_are_kept():
    run = {**RUN, "arguments": {"folds": 3, "seeds": 2}}
    assert "folds=3, epochs=9, seeds=2" in python_call(winner_run(run, BEST))


def test_a_network_of_ones_own_has_no_command():
    run = {**RUN, "own_networks": ["net", "other"]}
    asked = winner_run(run, {**BEST, "network": "net"})
    assert command_line(asked) is None
    assert "cross_validate(net, " in python_call(asked)
    assert python_call(asked).endswith("# net: the object the run was given")
    assert command_line(winner_run(run, BEST)) is not None, "the zoo's network won"


@pytest.mark.parametrize(("resource", "said"), [("epochs", ""), ("data", "; it begins with new weights on all rows")])
def test_it_is_said_why_the_score_differs(tmp_path, resource, said):
    run = {**RUN, "arguments": {"resource": resource}}
    text = winner(RunRecords(folder=tmp_path, run=run), [])
    assert f"cross-validated on the same data{said}" in text
    assert "It may differ from its score: that was its best epoch on the validation part, while" in text


@pytest.mark.parametrize(
    ("trained", "full", "said"),
    [
        (1, 3, "1 epoch was trained; training every trial to the end would have taken 3: 67 % were saved."),
        (3, 3, "3 epochs were trained; training every trial to the end would have taken as many: nothing was saved."),
        (6, 3, "6 epochs were trained; training every trial to the end would have taken 3: 100 % more."),
    ],
)
def test_what_was_saved(trained, full, said):
    assert saved_line({"saved": {"trained": trained, "full": full}}) == said


def test_the_front_is_said_in_units(tmp_path):
    front = [{"trial": 1, "accuracy": 0.98, "parameters": 85002.0, "latency": 0.0292539}]
    records = RunRecords(folder=tmp_path, run={**RUN, "result": {"front": front}})
    assert best_line(records, []) == (
        "Nothing beats these in everything: #1 (98.0 %, 85,002 parameters, 0.0293 ms a sample)."
    )


def test_a_search_without_a_score_has_no_winner(tmp_path):
    assert winner(RunRecords(folder=tmp_path, run={**RUN, "result": {}}), []) is None
