import numpy as np
import pytest
from scipy.optimize import curve_fit
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import learning_curve
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from tenfold.statistics import Curve, diagnose_fit, fit_power_law

EPOCHS = np.arange(1, 61)
SIZES = np.array([100, 200, 400, 800, 1600, 3200])


def diagnose(**curves):
    return diagnose_fit(direction="maximize", min_gain=0.005, **curves)


def noisy(values, seeds, scale=0.002):
    return values[:, None] + np.random.default_rng(0).normal(0, scale, (len(values), seeds))


def test_a_power_law_without_noise_is_found_again():
    law = fit_power_law(SIZES, 0.12 + 3.0 * SIZES**-0.7)
    assert (law.limit, law.amount, law.exponent) == pytest.approx((0.12, 3.0, 0.7), rel=1e-3)
    assert law.gain == pytest.approx(3.0 * (6400**-0.7 - 3200**-0.7), rel=1e-3)
    assert law.score(3200) == pytest.approx(0.12 + 3.0 * 3200**-0.7, rel=1e-4)
    assert (law.gain_low, law.gain_high) == pytest.approx((law.gain, law.gain), rel=1e-2)


def test_a_power_law_with_noise_has_the_least_squares_of_scipy():
    scores = noisy(0.95 - 2.0 * SIZES**-0.5, 4)
    law = fit_power_law(SIZES, scores)
    found, _ = curve_fit(lambda n, a, b, c: a + b * n**-c, np.repeat(SIZES, 4), scores.reshape(-1), p0=(0.9, -1, 0.5))
    assert (law.limit, law.amount, law.exponent) == pytest.approx(tuple(found), rel=2e-2)
    assert law.degrees == 21


def test_the_interval_of_the_gain_covers_the_truth_as_often_as_it_says():
    random, hits = np.random.default_rng(1), []
    truth = -2.0 * (6400**-0.5 - 3200**-0.5)
    for _ in range(400):
        law = fit_power_law(SIZES, (0.95 - 2.0 * SIZES**-0.5)[:, None] + random.normal(0, 0.004, (6, 3)))
        hits.append(law.gain_low <= truth <= law.gain_high)
    assert 0.92 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize("turned", [1, -1])
def test_a_power_law_stops_at_a_perfect_score(turned):
    scores = np.array([0.62, 0.71, 0.80, 0.88, 0.94, 0.985])
    free, held = fit_power_law(SIZES, turned * scores), fit_power_law(SIZES, turned * scores, perfect=turned * 1.0)
    assert turned * free.score(2 * free.size) > 1
    assert turned * held.limit <= 1
    assert turned * held.score(2 * held.size) <= 1
    room = turned * 1.0 - held.score(held.size)
    assert max(turned * held.gain_low, turned * held.gain_high) <= turned * room + 1e-12
    found, _ = curve_fit(lambda n, b, c: 1 - b * (n / 3200) ** -c, SIZES, scores, p0=(0.1, 0.5))
    assert (-turned * held.amount * 3200**-held.exponent, held.exponent) == pytest.approx(tuple(found), rel=1e-2)


def test_a_perfect_score_far_away_changes_nothing():
    scores = noisy(0.95 - 2.0 * SIZES**-0.5, 4)
    assert fit_power_law(SIZES, scores, perfect=50.0) == fit_power_law(SIZES, scores)


def test_a_perfect_score_that_is_passed_is_refused():
    with pytest.raises(ValueError, match="fit_power_law: perfect must not be passed by any score, got"):
        fit_power_law(SIZES, [0.5, 0.6, 0.7, 0.8, 0.9, 0.95], perfect=0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SIZES[:3], SIZES[:3]), "fit_power_law: sizes must be four or more different numbers above 0"),
        ((SIZES, SIZES[:5]), "fit_power_law: sizes must be"),
        (([0, 1, 2, 3], [1, 2, 3, 4]), "fit_power_law: sizes must be"),
        (([1, 2, 3, 4], [1, 2, 3, np.nan]), "Leave diverged trainings out"),
        (([1, 2, 3, 4], np.ones((4, 1, 1))), "fit_power_law: scores must be 1-dimensional or 2-dimensional"),
    ],
)
def test_curves_that_are_none_are_refused_by_the_power_law(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(*arguments)


def test_options_out_of_range_are_refused_by_the_power_law():
    with pytest.raises(ValueError, match="fit_power_law: factor must be above 1, got 1"):
        fit_power_law(SIZES, SIZES, factor=1)
    with pytest.raises(ValueError, match="fit_power_law: level must be in"):
        fit_power_law(SIZES, SIZES, level=0)


TRAINED = 0.9 - 0.5 * np.exp(-EPOCHS / 5)
RISING = 0.4 + 0.005 * EPOCHS
OVERFITTED = TRAINED - 0.003 * np.maximum(EPOCHS - 25, 0)
CURVES = {
    "fine": {"epochs": Curve(at=EPOCHS, train=TRAINED + 0.01, valid=TRAINED)},
    "train longer": {"epochs": Curve(at=EPOCHS, train=RISING + 0.01, valid=RISING)},
    "more regularisation": {"epochs": Curve(at=EPOCHS, train=TRAINED + 0.09, valid=OVERFITTED)},
    "more data": {"sizes": Curve(at=SIZES, train=np.ones(6), valid=0.95 - 2.0 * SIZES**-0.5)},
    "more capacity": {"widths": Curve(at=[8, 16, 32], train=[0.6, 0.7, 0.8], valid=[0.6, 0.7, 0.78])},
}


@pytest.mark.parametrize("seeds", [0, 3])
@pytest.mark.parametrize("verdict", CURVES)
def test_curves_of_a_known_kind_get_their_verdict(verdict, seeds):
    curves = CURVES[verdict]
    if seeds:
        curves = {
            name: Curve(at=c.at, train=noisy(np.array(c.train), seeds), valid=noisy(np.array(c.valid), seeds))
            for name, c in curves.items()
        }
    result = diagnose(**curves)
    assert result.verdict == verdict
    assert result.sentence.startswith(verdict.capitalize())


def test_noise_alone_promises_nothing():
    random = np.random.default_rng(0)
    verdicts = [
        diagnose(
            epochs=Curve(at=EPOCHS, train=random.normal(0.9, 0.02, shape), valid=random.normal(0.9, 0.02, shape))
        )
        for shape in [(60,)] * 100 + [(60, 3)] * 100
    ]
    assert np.mean([result.verdict == "fine" for result in verdicts]) > 0.9


def test_a_steep_beginning_does_not_hide_a_fall_at_the_end():
    valid = np.concatenate([[0.1, 0.4, 0.6, 0.8, 0.88, 0.9], np.linspace(0.9, 0.86, 24)])
    assert diagnose(epochs=Curve(at=np.arange(30), train=valid, valid=valid)).verdict == "more regularisation"


def test_losses_are_read_the_other_way_round():
    curve = Curve(at=EPOCHS, train=1 - TRAINED - 0.09, valid=1 - OVERFITTED)
    result = diagnose_fit(direction="minimize", min_gain=0.005, epochs=curve)
    assert result.verdict == "more regularisation"
    assert result.gap == pytest.approx((TRAINED + 0.09 - OVERFITTED)[-1])


def test_the_largest_gain_of_several_curves_is_the_verdict():
    result = diagnose(**CURVES["more data"], **CURVES["more capacity"])
    assert result.verdict == "more capacity"
    assert [remedy.name for remedy in result.remedies] == ["more capacity", "more data", "more regularisation"]
    assert [remedy.gain for remedy in result.remedies] == pytest.approx([0.08, 0.01036, 0.0], abs=2e-5)


def test_a_validation_score_that_falls_with_width_asks_for_regularisation():
    result = diagnose(widths=Curve(at=[8, 16, 32], train=[0.8, 0.9, 1.0], valid=[0.8, 0.85, 0.8]))
    assert result.verdict == "more regularisation"
    assert "the fall from 16 to 32" in result.sentence


def test_a_gap_alone_is_said_to_be_a_bound():
    result = diagnose(widths=Curve(at=[8, 16], train=[1.0, 1.0], valid=[0.8, 0.8]))
    assert result.verdict == "more regularisation"
    assert "was not measured, the gap bounds it" in result.sentence


def from_scikit_learn(model, x, y):
    sizes, train, valid = learning_curve(
        model, x, y, cv=5, train_sizes=np.geomspace(0.1, 1.0, 6), shuffle=True, random_state=0
    )
    return Curve(at=sizes, train=train, valid=valid)


def test_a_tree_on_digits_wants_more_data_and_naive_bayes_on_easy_data_does_not():
    x, y = load_digits(return_X_y=True)
    assert diagnose(sizes=from_scikit_learn(DecisionTreeClassifier(random_state=0), x, y)).verdict == "more data"
    x, y = make_classification(4000, 5, n_informative=5, n_redundant=0, class_sep=1.0, random_state=0)
    assert diagnose(sizes=from_scikit_learn(GaussianNB(), x, y)).verdict == "fine"


def test_what_the_power_law_foresees_is_what_twice_the_data_gives():
    x, y = make_classification(6400, 40, n_informative=10, class_sep=0.7, random_state=1)
    model = LogisticRegression(max_iter=200)
    sizes, _, valid = learning_curve(
        model, x, y, cv=5, train_sizes=[80, 160, 320, 640, 1280, 2560], shuffle=True, random_state=0
    )
    law = fit_power_law(sizes[:5], valid[:5])
    gained = valid[5].mean() - valid[4].mean()
    assert law.gain_low <= gained <= law.gain_high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "diagnose_fit: curves must be at least one, got none"),
        ({"direction": "up", "epochs": CURVES["fine"]["epochs"]}, "diagnose_fit: direction must be"),
        ({"min_gain": 0.0, "epochs": CURVES["fine"]["epochs"]}, "diagnose_fit: min_gain must be above 0, got 0.0"),
        ({"epochs": Curve(at=[1, 2], train=[1, 1], valid=[1, 1])}, "epochs.at must be 4 or more increasing numbers"),
        ({"widths": Curve(at=[2, 1], train=[1, 1], valid=[1, 1])}, "widths.at must be 2 or more increasing numbers"),
        ({"widths": Curve(at=[1, 2], train=[1, 1], valid=[1, 1, 1])}, "widths must have finite training and valid"),
        ({"widths": Curve(at=[1, 2], train=[1, 1], valid=[1, np.nan])}, "Leave diverged seeds out"),
        ({"widths": Curve(at=[[1, 2]], train=[1], valid=[1])}, "diagnose_fit: widths.at must be 1-dimensional"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        diagnose_fit(**{"direction": "maximize", "min_gain": 0.005, **options})
