import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

from tenfold.statistics import select_ensemble


def squared_error(truth):
    return lambda outputs: ((outputs - truth) ** 2).mean(axis=1)


def by_hand(outputs, truth, rounds):
    """Caruana's loop as the paper says it, with scikit-learn's error; the best beginning of what it takes."""
    taken, best = [], (np.inf, [])
    for _ in range(rounds):
        errors = [mean_squared_error(truth, outputs[[*taken, place]].mean(axis=0)) for place in range(len(outputs))]
        taken.append(int(np.argmin(errors)))
        if min(errors) < best[0] - 1e-12:
            best = (min(errors), list(taken))
    return np.bincount(best[1], minlength=len(outputs)), best[0]


@pytest.mark.parametrize("seed", range(8))
def test_the_greedy_loop_of_the_paper(seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=40)
    outputs = truth + rng.normal(size=(6, 40)) * rng.uniform(0.5, 2, (6, 1))
    counts, error = by_hand(outputs, truth, 12)
    found = select_ensemble(outputs, squared_error(truth), direction="minimize", max_size=12)
    np.testing.assert_array_equal(found.counts, counts)
    assert found.score == pytest.approx(error, abs=1e-12)
    assert found.single == pytest.approx(min(mean_squared_error(truth, own) for own in outputs))
    assert found.score <= found.single
    assert found.weights.sum() == pytest.approx(1)


def test_one_that_is_perfect_stays_alone():
    found = select_ensemble([[1.0, 2.0], [1.5, 2.0]], squared_error([1.0, 2.0]), direction="minimize")
    assert found.counts.tolist() == [1, 0]


def test_where_a_coarse_score_is_equal_the_finer_one_decides():
    truth = np.array([0, 1, 1, 0])
    sure, unsure, wrong = ([[p, 1 - p] if y == 0 else [1 - p, p] for y in truth] for p in (0.9, 0.6, 0.4))

    def score(outputs):
        said = outputs.argmax(axis=2)
        return [[accuracy_score(truth, own), -log_loss(truth, o)] for own, o in zip(said, outputs, strict=True)]

    found = select_ensemble([wrong, unsure, sure], score, direction="maximize")
    assert found.counts.tolist() == [0, 0, 1]
    assert select_ensemble([unsure, sure], lambda o: np.array(score(o))[:, 0], direction="maximize").counts[0] == 1


def test_a_predictor_without_a_number_is_never_taken():
    found = select_ensemble(
        [[np.nan, 1.0], [5.0, 5.0]], lambda o: np.abs(o - 1).sum(axis=1), direction="minimize", max_size=3
    )
    assert found.counts.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        (np.zeros((0, 3)), {}, "at least one predictor"),
        (np.zeros(3), {}, r"shape \(P, N, ...\)"),
        (np.zeros((2, 3)), {"max_size": 0}, "max_size at least 1, got shape"),
        (np.zeros((2, 3)), {"direction": "up"}, "direction must be 'maximize' or 'minimize'"),
        (np.full((2, 3), np.nan), {}, "score must be a number for some predictor"),
    ],
)
def test_what_cannot_be_selected_from_is_refused(outputs, options, message):
    with pytest.raises(ValueError, match=message):
        select_ensemble(outputs, lambda o: o.mean(axis=1), **{"direction": "maximize", **options})
