import pytest

from tenfold.report import Baseline, Final, RunRecords, Score, Trial
from tenfold.report.answer import answer, headline


def of(tmp_path, model, baseline=None, *, metric="accuracy", direction="maximize", status="done", valid=None):
    def score(triple):
        return {metric: Score(value=triple[0], n=360, low=triple[1], high=triple[2])} if triple else {}

    return RunRecords(
        folder=tmp_path,
        run={"metric": metric, "direction": direction, "status": status},
        trials={3: Trial(number=3, network="mlp", config={})},
        baselines=(Baseline(name="linear", valid={}, test=score(baseline), seconds=1.0),) if baseline else (),
        final=Final(trial=3, how="best", epoch=9, valid=valid or {}, test=score(model)),
    )


def test_the_headline_names_model_score_n_interval_and_baseline(tmp_path):
    records = of(tmp_path, (0.972, 0.95, 0.985), (0.9, 0.86, 0.93))
    assert headline(records, []) == (
        "mlp #3 reaches 97.2 % accuracy on 360 test samples it has never seen (95 % interval 95.0 to 98.5 %); "
        "the best baseline, linear, reaches 90.0 % (95 % interval 86.0 to 93.0 %)."
    )


@pytest.mark.parametrize(
    ("direction", "baseline", "sentence"),
    [
        ("maximize", (0.8, 0.75, 0.85), "do not overlap: the model is better"),
        ("maximize", (0.96, 0.94, 0.98), "overlap: this test part alone does not settle"),
        ("maximize", (0.99, 0.986, 1.0), "The baseline linear does better"),
        ("minimize", (0.8, 0.75, 0.85), "The baseline linear does better"),
        ("minimize", (1.8, 1.75, 1.85), "do not overlap: the model is better"),
    ],
)
def test_the_verdict_follows_the_intervals(tmp_path, direction, baseline, sentence):
    metric = "accuracy" if direction == "maximize" else "rmse"
    records = of(tmp_path, (0.97, 0.95, 0.985), baseline, metric=metric, direction=direction)
    assert sentence in answer(records, [])


def test_a_validation_score_alone_is_said_to_be_flattering(tmp_path):
    records = of(tmp_path, None, valid={"accuracy": 0.9})
    assert "90.0 % accuracy on the validation part" in headline(records, [])
    assert "There is no test score" in headline(records, [])


def test_a_model_without_any_number_is_said(tmp_path):
    assert "no score that is a number" in headline(of(tmp_path, (float("nan"), 0, 1)), [])


@pytest.mark.parametrize(
    ("status", "words"),
    [("running", "still going on"), ("interrupted", "was interrupted"), ("failed", "failed"), ("", "not chosen")],
)
def test_a_run_without_a_choice_says_its_state(tmp_path, status, words):
    records = RunRecords(folder=tmp_path, run={"status": status})
    assert words in headline(records, [])


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    records = RunRecords(folder=tmp_path, run={"status": "interrupted"})
    assert f"--resume --out {tmp_path}" in answer(records, [])
