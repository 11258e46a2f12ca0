import numpy as np
import pytest
from scipy import sparse
from sklearn import metrics as reference
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder

from tenfold.tasks import BaselinePart, Classification, MultiLabel, Regression, run_baselines

CARDINALITIES = (4, 3)


def _parts(num_classes=3, n=150, seed=0):
    """A target that depends on the numbers and on the first code."""
    rng = np.random.default_rng(seed)
    parts = []
    for size in (n, 60, 70):
        x = rng.normal(size=(size, 5)).astype(np.float32)
        codes = np.stack([rng.integers(k, size=size) for k in CARDINALITIES], axis=1)
        y = (np.digitize(x[:, 0], [-0.5, 0.5]) + codes[:, 0]) % num_classes
        y[:num_classes] = range(num_classes)
        parts.append(BaselinePart(x=x, y=y, codes=codes))
    return parts


def _encoded(part):
    encoder = OneHotEncoder(categories=[np.arange(k) for k in CARDINALITIES]).fit(part.codes)
    return sparse.hstack([part.x, encoder.transform(part.codes)], format="csr")


def _run(task, parts, **options):
    options = {"cardinalities": CARDINALITIES, **options}
    return {result.name: result for result in run_baselines(task, *parts, **options)}


def test_the_names_say_what_was_fitted():
    assert list(_run(Classification(3), _parts())) == ["majority", "linear", "gradient-boosted trees"]
    assert list(_run(Regression(), _parts())) == ["mean", "linear", "gradient-boosted trees"]
    assert list(_run(Classification(3), _parts(), kind="image")) == ["majority", "linear"]


def test_the_majority_predicts_the_shares_of_training():
    train, valid, test = _parts()
    result = _run(Classification(3), (train, valid, test))["majority"]
    model = DummyClassifier(strategy="prior").fit(train.x, train.y)
    for part, got in ((valid, result.valid), (test, {k: v["value"] for k, v in result.test.items()})):
        probabilities = model.predict_proba(part.x)
        assert got["log_loss"] == pytest.approx(reference.log_loss(part.y, probabilities), abs=1e-9)
        assert got["accuracy"] == pytest.approx(model.score(part.x, part.y))
        assert got["roc_auc"] == 0.5


def test_the_linear_model_is_the_logistic_regression_of_numbers_and_one_hot_codes():
    train, valid, test = _parts()
    result = _run(Classification(3), (train, valid, test))["linear"]
    model = LogisticRegression(max_iter=1000).fit(_encoded(train), train.y)
    assert result.valid["accuracy"] == pytest.approx(model.score(_encoded(valid), valid.y), abs=0.02)
    expected = reference.log_loss(valid.y, model.predict_proba(_encoded(valid)))
    assert result.valid["log_loss"] == pytest.approx(expected, abs=0.01)


def test_the_linear_model_of_numbers_is_ridge_regression_in_raw_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = x @ [1.0, -2.0, 0.5, 0.0] + rng.normal(size=200)
    parts = [BaselinePart(x=x[rows], y=y[rows]) for rows in (slice(100), slice(100, 150), slice(150, 200))]
    result = _run(Regression(mean=5.0, scale=3.0), parts, cardinalities=())["linear"]
    predicted = Ridge().fit(x[:100], y[:100]).predict(x[100:150])
    expected = reference.root_mean_squared_error(3 * y[100:150], 3 * predicted)
    assert result.valid["rmse"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("task", [Classification(3), Regression()])
def test_trees_see_what_a_linear_model_cannot(task):
    results = _run(task, _parts(n=400))
    name = "accuracy" if isinstance(task, Classification) else "r2"
    assert results["gradient-boosted trees"].valid[name] > results["linear"].valid[name] + 0.1


@pytest.mark.parametrize("task", [Classification(3), Regression()])
def test_every_test_metric_has_an_interval(task):
    for result in _run(task, _parts()).values():
        assert list(result.test) == list(result.valid) == list(task.info.metrics)
        assert all(entry["low"] <= entry["high"] and entry["n"] == 70 for entry in result.test.values())


def test_without_a_test_part_there_is_no_test_score():
    assert all(result.test == {} for result in _run(Classification(3), _parts()[:2]).values())


def test_one_class_in_training_leaves_that_class_for_every_baseline():
    train, valid, test = _parts()
    train = BaselinePart(x=train.x, y=np.ones_like(train.y), codes=train.codes)
    for result in _run(Classification(3), (train, valid, test)).values():
        assert result.valid["accuracy"] == pytest.approx((valid.y == 1).mean())
        assert np.isfinite(result.valid["log_loss"])
        assert result.name == "majority" or "training holds one class" in result.note


def test_one_class_in_another_part_is_no_obstacle():
    train, valid, test = _parts(2)
    valid, test = (BaselinePart(x=p.x, y=np.zeros_like(p.y), codes=p.codes) for p in (valid, test))
    for result in _run(Classification(2), (train, valid, test)).values():
        assert np.isnan(result.valid["roc_auc"])
        assert np.isnan(result.test["roc_auc"]["low"])


def test_a_class_absent_from_training_has_a_small_but_finite_probability():
    train, valid, test = _parts()
    rows = np.flatnonzero(train.y != 2)
    for result in _run(Classification(3), (train.take(rows), valid, test)).values():
        assert np.isfinite(result.valid["log_loss"])


def test_a_class_with_one_sample_among_many_is_no_obstacle():
    train, valid, test = _parts(2, n=12_000)
    train.y[0] = 2
    assert "gradient-boosted trees" in _run(Classification(3), (train, valid, test))


def test_a_table_of_codes_alone_works():
    parts = [BaselinePart(x=np.zeros((len(p.y), 0)), y=p.y, codes=p.codes) for p in _parts(n=600)]
    results = _run(Classification(3), parts)
    assert results["linear"].valid["accuracy"] > results["majority"].valid["accuracy"]


def test_a_table_without_columns_leaves_the_constant():
    parts = [BaselinePart(x=np.zeros((len(p.y), 0)), y=p.y) for p in _parts()]
    results = _run(Classification(3), parts, cardinalities=())
    assert results["linear"].valid == results["majority"].valid


def test_many_images_are_drawn_for_the_linear_model_and_the_note_says_so(monkeypatch):
    monkeypatch.setattr("tenfold.tasks.baselines.IMAGE_ROWS", 250)
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    pictures = (rng.integers(0, 100, size=(400, 1, 3, 3)) + 150 * y[:, None, None, None]).astype(np.uint8)
    part = BaselinePart(x=pictures, y=y)
    first, again = (_run(Classification(2), (part, part), kind="image", cardinalities=())["linear"] for _ in range(2))
    assert first.note.startswith("Fitted on 250 of 400 training rows, drawn at random.")
    assert first.valid == again.valid
    assert first.valid["accuracy"] > 0.95


def test_a_model_that_did_not_converge_says_so(monkeypatch):
    monkeypatch.setattr("tenfold.tasks.baselines.LINEAR_ITERATIONS", 1)
    assert "before it had converged" in _run(Classification(3), _parts())["linear"].note


def test_very_many_classes_get_fewer_rounds_and_the_note_says_so():
    train, valid, _ = _parts(40, n=300)
    results = _run(Classification(40), (train, valid))
    assert results["gradient-boosted trees"].note == "Boosted for 25 rounds only, as each takes 40 trees."


def test_parts_of_unequal_rows_are_refused():
    with pytest.raises(ValueError, match=r"same rows, got 3 of x, 3 of y, 2 of codes\. Take the same rows of each"):
        BaselinePart(x=np.zeros((3, 1)), y=np.zeros(3), codes=np.zeros((2, 1), dtype=int))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind must be 'table' or 'image', got 'text'\. Take it from the InputSpec"):
        _run(Classification(3), _parts(), kind="text")


def test_cardinalities_that_do_not_match_the_codes_are_refused():
    with pytest.raises(ValueError, match=r"one for each of 2 columns of codes, got 1\. Take them from the InputSpec"):
        _run(Classification(3), _parts(), cardinalities=(4,))


def _label_parts():
    """Three labels: one that the first number tells, one that is true everywhere in training, one of chance."""
    rng = np.random.default_rng(0)
    parts = []
    for size in (200, 80, 90):
        x = rng.normal(size=(size, 4)).astype(np.float32)
        labels = np.stack([x[:, 0] + rng.normal(size=size) / 2 > 0, np.ones(size), rng.random(size) < 0.3], axis=1)
        parts.append(BaselinePart(x=x, y=labels.astype(np.float32)))
    return parts


def test_each_label_has_the_share_or_the_logistic_regression_of_its_own():
    train, valid, test = _label_parts()
    results = _run(MultiLabel(list("abc")), (train, valid, test), cardinalities=())
    assert list(results) == ["majority", "linear", "gradient-boosted trees"]
    shares = np.clip(train.y.mean(axis=0), 1e-15, 1 - 1e-15)
    expected = np.mean([reference.log_loss(valid.y[:, k], np.full(80, shares[k]), labels=[0, 1]) for k in range(3)])
    assert results["majority"].valid["log_loss"] == pytest.approx(expected, abs=1e-6)
    said = [LogisticRegression(max_iter=1000).fit(train.x, train.y[:, k]).predict(valid.x) for k in (0, 2)]
    predicted = np.stack([said[0], np.ones(80), said[1]], axis=1)
    assert results["linear"].valid["hamming_loss"] == pytest.approx(
        reference.hamming_loss(valid.y, predicted), abs=1e-9
    )
    assert results["gradient-boosted trees"].valid["hamming_loss"] < results["majority"].valid["hamming_loss"]
    assert all(entry["n"] == 90 and entry["low"] <= entry["high"] for entry in results["linear"].test.values())


def test_quantiles_come_from_errors_in_training_or_from_trees_of_their_own():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 3))
    y = x @ [1.0, -1.0, 0.5] + rng.normal(size=900)
    train, valid = BaselinePart(x=x[:600], y=y[:600]), BaselinePart(x=x[600:], y=y[600:])
    results = _run(Regression(quantiles=(0.05, 0.5, 0.95)), (train, valid), cardinalities=())
    constant = np.quantile(y[:600], [0.05, 0.5, 0.95])
    expected = [
        reference.mean_pinball_loss(y[600:], np.full(300, q), alpha=a)
        for q, a in zip(constant, (0.05, 0.5, 0.95), strict=True)
    ]
    assert results["mean"].valid["pinball"] == pytest.approx(np.mean(expected), rel=1e-6)
    ridge = Ridge().fit(x[:600], y[:600])
    errors = np.quantile(y[:600] - ridge.predict(x[:600]), [0.05, 0.95])
    said = ridge.predict(x[600:])
    inside = (said + errors[0] <= y[600:]) & (y[600:] <= said + errors[1])
    assert results["linear"].valid["coverage"] == pytest.approx(inside.mean(), abs=0.004)
    assert results["linear"].valid["pinball"] < 0.8 * results["mean"].valid["pinball"]
    assert 0.6 < results["gradient-boosted trees"].valid["coverage"] < 0.95


def test_a_part_that_is_looked_at_in_pieces_is_scored_the_same(monkeypatch):
    whole = _run(Classification(3), _parts())
    monkeypatch.setattr("tenfold.tasks.baselines._PIECE_CELLS", 7)
    for name, result in _run(Classification(3), _parts()).items():
        assert result.valid == pytest.approx(whole[name].valid, abs=1e-9)
        for metric, found in result.test.items():
            assert found == pytest.approx(whole[name].test[metric], abs=1e-9)
