import math

import numpy as np
import pytest
from scipy import stats

from tenfold.core.intervals import wilson
from tenfold.statistics import summarize_replicates

SCORES = np.random.default_rng(0).normal(0.9, 0.02, 8)


def test_seeds_alone_have_the_textbook_numbers():
    result = summarize_replicates(SCORES, direction="maximize")
    interval = stats.ttest_1samp(SCORES, 0).confidence_interval(0.95)
    half = stats.t.ppf(0.975, 7) * SCORES.std(ddof=1) * math.sqrt(1 + 1 / 8)
    assert (result.n, result.diverged) == (8, 0)
    assert (result.mean, result.std) == pytest.approx((SCORES.mean(), SCORES.std(ddof=1)), rel=1e-12)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert (result.next_low, result.next_high) == pytest.approx((result.mean - half, result.mean + half), rel=1e-12)
    assert (result.worst, result.best) == (SCORES.min(), SCORES.max())
    assert "fresh seeds, scored on these same samples" in result.sentence


def test_the_worst_loss_is_the_largest():
    result = summarize_replicates(SCORES, direction="minimize")
    assert (result.worst, result.best) == (SCORES.max(), SCORES.min())


def test_folds_speak_of_other_data_with_the_corrected_variance():
    result = summarize_replicates(SCORES[None], direction="maximize")
    overlap, t, std = 1 / 7, stats.t.ppf(0.975, 7), SCORES.std(ddof=1)
    assert result.high - result.mean == pytest.approx(t * std * math.sqrt(1 / 8 + overlap), rel=1e-9)
    assert result.next_high - result.mean == pytest.approx(t * std * math.sqrt(1 + 1 / 8 + 2 * overlap), rel=1e-9)
    assert "other data of this size" in result.sentence


def test_random_splits_take_the_ratio_of_their_parts():
    result = summarize_replicates(SCORES, direction="maximize", test_to_train=0.25)
    half = stats.t.ppf(0.975, 4) * SCORES.std(ddof=1) * math.sqrt(1 / 5 + 0.25)  # five fifths test every row once
    assert result.high - result.mean == pytest.approx(half, rel=1e-9)
    assert "other data" in result.population


def test_one_fold_is_seeds_alone():
    assert summarize_replicates(SCORES[:, None], direction="maximize") == summarize_replicates(
        SCORES, direction="maximize"
    )


def test_diverged_trainings_are_counted_and_not_averaged():
    result = summarize_replicates([0.9, math.nan, 0.8, math.inf], direction="maximize")
    assert (result.n, result.diverged, result.best) == (2, 2, 0.9)
    assert result.mean == pytest.approx(0.85)
    assert math.isnan(result.worst)
    assert (result.diverged_low, result.diverged_high) == wilson(0.5, 4)
    assert "2 of 4 trainings diverged and are not in the mean." in result.sentence


def test_nothing_but_diverged_trainings_is_said():
    result = summarize_replicates([math.nan, math.nan], direction="minimize")
    assert result.sentence == "All 2 trainings diverged."
    assert np.isnan([result.mean, result.best, result.low, result.next_low]).all()


@pytest.mark.parametrize("scores", [[0.9], [1.0, 1.0, 1.0]])
def test_without_a_spread_there_is_no_interval(scores):
    result = summarize_replicates(scores, direction="maximize")
    assert np.isnan([result.low, result.high, result.next_low, result.next_high]).all()
    assert "without a spread to tell how sure that is" in result.sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"direction": "up"}, "summarize_replicates: direction must be 'maximize' or 'minimize', got 'up'"),
        ({"level": 1.0}, r"summarize_replicates: level must be in \(0, 1\), got 1.0"),
        ({"scores": []}, r"scores must be 1-dimensional or 2-dimensional and not empty, got shape \(0,\)"),
        ({"scores": np.ones((2, 2, 2))}, r"got shape \(2, 2, 2\)"),
        ({"test_to_train": -0.1}, "test_to_train must be a finite number >= 0, got -0.1"),
        ({"test_to_train": math.inf}, "test_to_train must be a finite number >= 0, got inf"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    given = {"scores": [0.9, 0.8], "direction": "maximize", **arguments}
    with pytest.raises(ValueError, match=message):
        summarize_replicates(given.pop("scores"), **given)
