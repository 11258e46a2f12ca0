import io
import math

import pytest
from rich.console import Console
from trust_runs import write_trust_run

from tenfold.report import load_run, outcome_line, render_outcome
from tenfold.report.outcome import difference_words, leader_first


def shown(result, **options):
    out = io.StringIO()
    Console(file=out, width=80).print(render_outcome(result, **options))
    return out.getvalue()


@pytest.fixture
def result(tmp_path):
    def make(verb, **options):
        options.setdefault("folds", 10 if verb == "cv" else 1)
        options.setdefault("seeds", 1 if verb == "cv" else 6)
        return load_run(write_trust_run(tmp_path / verb, verb, epochs=4, **options)).result

    return make


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("verb", ["cv", "replicate", "compare"])
def test_the_table_of_every_verb_fits_into_80_columns(result, verb, task):
    methods = ("a", "a network whose name does not end soon", "[red]c")
    text = shown(result(verb, task=task, methods=methods, diverged=[(0, 0, 0)], gaps=(0, 0.02, 0.04)))
    assert max(map(len, text.splitlines())) <= 80
    assert "diverged" in text
    assert verb != "compare" or "[red]c" in text


def test_of_many_folds_the_worst_and_the_best_are_shown(result):
    found = result("cv", folds=30)
    text = shown(found, top=4)
    order = sorted(found["folds"]["scores"], key=lambda fold: fold["mean"])
    rows = [line.split("  ")[0].strip() for line in text.splitlines()[1:5]]
    assert sorted(rows) == sorted(fold["name"] for fold in [*order[:2], *order[-2:]])
    assert "26 folds between worst and best not shown" in " ".join(text.split())


def test_fewer_than_two_rows_are_refused(result):
    with pytest.raises(ValueError, match="top must be at least 2, got 1"):
        render_outcome(result("cv"), top=1)


def test_the_line_of_a_replication_foretells_one_more_training_on_the_test_part(result):
    found = result("replicate", tested=True)
    line = outcome_line(found)
    assert f"{100 * found['test']['mean']:.1f} % accuracy on average over 6 seeds on the test part" in line
    assert f"one more training: {100 * found['test']['next_low']:.1f} to" in line


def test_the_line_of_a_comparison_tells_the_difference_from_the_leaders_side(result):
    found = result("compare")
    [pair] = found["comparison"]["pairs"]
    assert (pair["a"], pair["b"]) == ("wide", "deep")
    assert pair["difference"] < 0
    assert f"deep − wide: accuracy {-100 * pair['difference']:+.2f} points" in outcome_line(found)


def test_a_comparison_without_a_pair_says_no_number(result):
    found = result("compare")
    found["comparison"]["pairs"][0] |= {"difference": None, "n": 0}
    assert ": no pair in which both trainings ended." in outcome_line(found)


PAIR = {
    "a": "x", "b": "y", "difference": 0.5, "low": 0.3, "high": 0.7, "a_better": 0.25, "a_better_low": 0.1,
    "a_better_high": 0.6, "diverged_a": 1, "diverged_b": 2, "p_adjusted": 0.01, "winner": "y",
}  # fmt: skip


def test_of_an_error_the_smaller_one_leads():
    turned = leader_first(PAIR, {"direction": "minimize", "comparison": {}})
    assert (turned["a"], turned["difference"], turned["low"], turned["high"]) == ("y", -0.5, -0.7, -0.3)
    assert (turned["a_better"], turned["a_better_low"], turned["a_better_high"]) == (0.75, 0.4, 0.9)
    assert (turned["diverged_a"], turned["diverged_b"], turned["p_adjusted"]) == (2, 1, 0.01)


def test_the_winner_leads_even_where_the_mean_difference_of_what_is_left_says_otherwise():
    assert leader_first(PAIR, {"direction": "maximize", "comparison": {}})["a"] == "y"


def test_against_a_named_method_that_one_stays_second():
    assert leader_first(PAIR, {"direction": "minimize", "comparison": {"against": "y"}})["a"] == "x"


def test_a_difference_without_a_pair_or_an_interval_says_what_there_is():
    assert "no pair" in difference_words({"difference": None}, "rmse")
    assert (
        difference_words({"difference": 0.25, "low": None, "high": math.nan, "p_adjusted": None}, "rmse") == "+0.25"
    )
    assert "p < 0.0001" in difference_words(PAIR | {"p_adjusted": 1e-9}, "rmse")
