import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from tenfold.report import Trial, importance
from tenfold.report.importance import common_epoch, rate_importance
from tenfold.report.ranking import TrialScore


def trial_score(number, config, course):
    return TrialScore(
        trial=Trial(number=number, network="mlp", config=config),
        valid=max(course.values(), default=float("nan")),
        best_epoch=1,
        spread=float("nan"),
        members=1,
        epochs=max(course, default=0),
        left_rung=None,
        course=course,
    )


def sampled(count, score):
    rng = np.random.default_rng(0)
    configs = [
        {"lr": float(10 ** rng.uniform(-5, 0)), "noise": float(rng.random()), "kind": str(rng.choice(["a", "b"]))}
        for _ in range(count)
    ]
    return [trial_score(i, config, {3: score(config, rng)}) for i, config in enumerate(configs)]


def test_the_hyper_parameter_that_decides_gets_nearly_all():
    found = rate_importance(sampled(60, lambda c, rng: -abs(np.log10(c["lr"]) + 3)), ["noise", "lr", "kind"])
    assert found.shares["lr"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.explained > 0.7
    assert (found.epoch, found.num_trials) == (3, 60)


def test_where_nothing_decides_next_to_nothing_is_explained():
    found = rate_importance(sampled(60, lambda c, rng: rng.random()), ["noise", "lr", "kind"])
    assert found.explained < 0.1


@pytest.mark.parametrize(
    "scores",
    [
        [],
        sampled(7, lambda c, rng: c["lr"]),
        sampled(20, lambda c, rng: float("nan")),
        sampled(20, lambda c, rng: 0.5),
    ],
    ids=["no trials", "seven trials", "no numbers", "equal scores"],
)
def test_too_little_to_compare_gives_none(scores):
    assert rate_importance(scores, ["lr"]) is None


def test_trials_are_compared_where_nine_of_ten_arrived():
    lengths = [1] + [3] * 10 + [27] * 9
    scores = [trial_score(i, {}, dict.fromkeys(range(1, n + 1), 0.5)) for i, n in enumerate(lengths)]
    assert common_epoch(scores) == 3
    assert common_epoch([]) is None


def test_hyper_parameters_that_some_trials_lack_are_rated_too():
    scores = sampled(20, lambda c, rng: c["lr"])
    for score in scores[::2]:
        del score.trial.config["noise"]
        score.trial.config["kind"] = None
    assert set(rate_importance(scores, ["lr", "noise", "kind"]).shares) == {"lr", "noise", "kind"}


def test_losses_by_shuffling_are_scikit_learns(monkeypatch):
    monkeypatch.setattr(importance, "_REPEATS", 200)
    numbers = np.random.default_rng(0)
    features = numbers.random((60, 3))
    ranks = 3 * features[:, 0] + features[:, 1] + 0.1 * numbers.standard_normal(60)
    forest = RandomForestRegressor(60, random_state=0).fit(features[:40], ranks[:40])
    drops, score = importance._drops(forest, features[40:], ranks[40:], seed=1)
    theirs = permutation_importance(forest, features[40:], ranks[40:], n_repeats=200, random_state=2)
    assert score == pytest.approx(forest.score(features[40:], ranks[40:]), abs=1e-12)
    error = np.sqrt(2) * theirs.importances.std(axis=1) / np.sqrt(200)
    assert (np.abs(drops - theirs.importances_mean) < 4 * error + 1e-12).all()
