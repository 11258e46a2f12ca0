from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tenfold.report import Baseline, Curve, Final, RunRecords, Score, Trial, leaderboard, load_run
from tenfold.report.ranking import score_trials
from tenfold.report.records import DepartureRecord


def records_of(values, *, direction="maximize", chosen=None, baselines=(), tmp="run"):
    """`values`: for each trial a list of members, each a list of scores by epoch."""
    curves = {}
    for trial, members in enumerate(values):
        for fold, course in enumerate(members):
            epochs = np.arange(1, len(course) + 1)
            valid = {"accuracy": np.array(course, dtype=float)}
            curves[trial, fold, 0] = Curve(
                trial=trial, fold=fold, seed=0, epochs=epochs, train_loss=np.zeros(len(course)), valid=valid
            )
    return RunRecords(
        folder=tmp,
        run={"metric": "accuracy", "direction": direction},
        trials={t: Trial(number=t, network="mlp", config={"lr": 0.1, "depth": t}) for t in range(len(values))},
        curves=curves,
        baselines=tuple(Baseline(name=n, valid={"accuracy": v}, test={}, seconds=0.0) for n, v in baselines),
        final=None
        if chosen is None
        else Final(trial=chosen, how="best", epoch=1, valid={}, test={"accuracy": Score(value=0.7, n=90)}),
    )


@pytest.mark.parametrize(("direction", "order"), [("maximize", [1, 0, 2, 3]), ("minimize", [2, 0, 1, 3])])
def test_the_best_trial_comes_first_and_nan_last(direction, order):
    frame = leaderboard(records_of([[[0.5]], [[0.9]], [[0.1]], [[np.nan]]], direction=direction))
    assert frame["trial"].tolist() == order
    assert frame["rank"].tolist() == [1, 2, 3, 4]


def test_a_trial_counts_with_its_best_epoch():
    frame = leaderboard(records_of([[[0.1, 0.8, np.nan, 0.6]]]))
    assert frame.loc[0, ["valid", "best_epoch", "epochs"]].tolist() == [0.8, 2, 4]


def test_members_are_averaged_at_the_epochs_all_of_them_finished():
    folds = np.array([[0.2, 0.6], [0.4, 0.9], [0.6, 0.3]])
    frame = leaderboard(records_of([[*folds.tolist()[:2], [*folds[2], 1.0]]]))
    best = folds.mean(axis=0).argmax()
    assert frame.loc[0, "valid"] == pytest.approx(folds.mean(axis=0)[best])
    assert frame.loc[0, "spread"] == pytest.approx(folds.std(axis=0, ddof=1)[best])
    assert frame.loc[0, "members"] == 3


def test_baselines_stand_among_the_trials():
    frame = leaderboard(records_of([[[0.5]], [[0.9]]], baselines=[("majority", 0.3), ("linear", 0.7)]))
    assert frame["name"].tolist() == ["mlp #1", "linear", "mlp #0", "majority"]
    assert frame["kind"].tolist() == ["trial", "baseline", "trial", "baseline"]


def test_only_the_chosen_trial_is_marked_and_has_a_test_score():
    frame = leaderboard(records_of([[[0.5]], [[0.9]]], chosen=1))
    assert frame["chosen"].tolist() == [True, False]
    assert frame.loc[0, ["test", "test_n"]].tolist() == [0.7, 90]
    assert pd.isna(frame.loc[1, "test"])


def test_whole_numbers_of_a_configuration_stay_whole_beside_baselines():
    frame = leaderboard(records_of([[[0.5]], [[0.9]]], baselines=[("majority", 0.3)]))
    assert frame["config_depth"].tolist()[:2] == [1, 0]
    assert frame["config_depth"].dtype == "Int64"


def test_an_empty_run_has_an_empty_leaderboard():
    frame = leaderboard(records_of([]))
    assert len(frame) == 0
    assert frame.attrs == {"metric": "accuracy", "direction": "maximize"}


def test_a_written_run_says_at_which_rung_a_trial_left(make_run):
    records = load_run(make_run(trials=9))
    frame = leaderboard(records).set_index("trial")
    for rung in records.rungs:
        assert frame.loc[list(rung.left), "left_rung"].eq(rung.rung).all()
    assert frame.loc[records.chosen, "epochs"] == 27


def test_trials_that_left_by_a_rule_without_rungs_left_early():
    departures = tuple(
        DepartureRecord(trial=trial, how=how, epoch=1, reason="")
        for trial, how in enumerate(["complete", "left", "sick", "budget"])
    )
    scores = score_trials(replace(records_of([[[0.9]], [[0.5]], [[np.nan]], [[0.7]]]), departures=departures))
    assert {score.trial.number: score.ending for score in scores} == {
        0: "", 1: ", left early", 2: ", left early", 3: ", left early",
    }  # fmt: skip
