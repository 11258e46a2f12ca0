"""Class weights of each fold's own training rows, a value a member."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

import tenfold
from tenfold.core.task import MemberView
from tenfold.study.grid_data import cells, prepare_grid
from tenfold.study.grid_options import GridOptions
from tenfold.study.material import read_source
from tenfold.study.trials import make_member


@pytest.fixture
def rare():
    """Two classes, one of a tenth of the rows, told apart by a noisy line."""
    rng = np.random.default_rng(0)
    y = (np.arange(300) % 10 == 0).astype(int)
    return rng.normal(size=(300, 3)) + 1.0 * y[:, None], y


def test_each_fold_has_the_weights_of_its_own_training_rows(rare):
    options = GridOptions(folds=3, seeds=2, balanced=True, manner="plain")
    data = prepare_grid(read_source(rare, options), options, torch.device("cpu"))
    spec, values = data.seen.preprocessors[0].spec, data.tasks[0].info.values
    first = make_member(0, {"network": "linear"}, {"linear": "linear"}, spec, 2, values, 0)
    logits, targets = torch.randn(12, 2), torch.arange(12) % 2
    for member in cells(first, data, options):
        rows = data.folds.train[member.id.fold]
        weights = compute_class_weight("balanced", classes=np.array([0, 1]), y=rare[1][rows])
        own = {name: torch.tensor(value) for name, value in member.config.task_values.items()}
        loss = data.tasks[0].loss(lambda x: x, (logits, targets), MemberView(streams=None, values=own))
        each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        weight = torch.from_numpy(weights).float()[targets]
        assert loss.item() in (
            pytest.approx((each * weight).mean().item(), rel=1e-5),
            pytest.approx(((each * weight).sum() / weight.sum()).item(), rel=1e-5),
        )


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_balanced_folds_find_more_of_the_rare_class(rare, tmp_path, form):
    def recall(**more):
        run = tenfold.cross_validate(
            "linear", rare, folds=3, epochs=20, config={"lr": 0.03}, form=form, threads=1, overwrite=True,
            final="refit", out=tmp_path / "run", **more,
        )  # fmt: skip
        kept = run.model.predict(rare[0])[rare[1] == 1].mean()
        return run.result["metrics"]["valid"]["balanced_accuracy"]["mean"], kept

    assert np.all(np.array(recall(balanced=True)) > np.array(recall()) + 0.1)


def test_trials_of_a_fit_on_folds_are_balanced_too(rare, tmp_path):
    run = tenfold.fit(
        rare, network="linear", folds=3, trials=2, epochs=3, balanced=True, threads=1, out=tmp_path / "run"
    )
    assert run.result["members"] == 6
