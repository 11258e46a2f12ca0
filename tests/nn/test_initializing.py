import math

import pytest
import torch
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.seeds import torch_seed
from tenfold.nn import INITIALIZERS, initialize, initializer

OUT, IN = 64, 3 * 5 * 5
# the standard deviation of each, for a weight of shape (64, 3, 5, 5); n = 4800
DEVIATIONS = {
    "uniform": 1 / math.sqrt(3 * IN),
    "normal": 0.01,
    "truncated_normal": 0.02 * 0.8796,  # a normal cut at two standard deviations
    "xavier_uniform": math.sqrt(2 / (IN + OUT * 25)),
    "xavier_normal": math.sqrt(2 / (IN + OUT * 25)),
    "kaiming_uniform": math.sqrt(2 / IN),
    "kaiming_normal": math.sqrt(2 / IN),
    "orthogonal": 1 / math.sqrt(IN),
    "constant": 0.0,
}
BOUNDS = {
    "uniform": 1 / math.sqrt(IN),
    "truncated_normal": 0.04,
    "xavier_uniform": math.sqrt(6 / (IN + OUT * 25)),
    "kaiming_uniform": math.sqrt(6 / IN),
}


def make_model():
    with torch_seed(0):
        return nn.Sequential(nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64, 10))


def test_every_initialiser_has_a_reference():
    assert list(DEVIATIONS) == list(INITIALIZERS)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_weight_has_the_published_spread_and_bounds(name):
    model = make_model()
    with torch_seed(1):
        assert initialize(model, {"0.weight": name}) is model
    weight = model[0].weight
    assert weight.std().item() == pytest.approx(DEVIATIONS[name], rel=0.05)
    assert weight.mean().item() == pytest.approx(0, abs=0.05 * DEVIATIONS[name])
    if name in BOUNDS:
        assert 0.97 * BOUNDS[name] < weight.abs().max().item() <= BOUNDS[name]
    assert weight.requires_grad
    assert weight.grad_fn is None


def test_orthogonal_rows_are_orthonormal():
    model = initialize(make_model(), {"0.*": "orthogonal"})
    rows = model[0].weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(64), rtol=0, atol=1e-5)


def test_the_first_pattern_that_fits_has_a_parameter_and_the_others_stay():
    model, before = make_model(), make_model()
    initialize(model, {"3.*": initializer("constant", val=2.0), "*.weight": "constant"})
    assert (model[3].weight == 2).all()
    assert (model[3].bias == 2).all()
    assert (model[0].weight == 0).all()
    assert (model[1].weight == 0).all()
    assert torch.equal(model[0].bias, before[0].bias)


def test_vectors_are_left_to_the_patterns_behind():
    model = initialize(make_model(), {"*": "kaiming_normal", "*.bias": initializer("constant", val=0.5)})
    assert (model[0].bias == 0.5).all()
    assert (model[1].weight == 1).all()
    assert model[0].weight.std() > 0.1


def test_equal_seeds_draw_equal_weights():
    models = []
    for _ in range(2):
        model = make_model()
        with torch_seed(3):
            models.append(initialize(model, {"*": "xavier_normal"}))
    assert torch.equal(models[0][3].weight, models[1][3].weight)


def test_a_function_of_ones_own_fills_in_place():
    model = initialize(make_model(), {"3.weight": nn.init.eye_, "1.*": lambda tensor: tensor.fill_(7.0)})
    assert torch.equal(model[3].weight, torch.eye(10, 64))
    assert (model[1].bias == 7).all()


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        (
            {"featres.*": "normal"},
            ValueError,
            "pattern 'featres.*' must match a parameter, got none. Choose from '0.bias'",
        ),
        ({"0.weigth": "normal"}, ValueError, "pattern '0.weigth' must match .* Did you mean '0.weight'"),
        (
            {"*": "normal", "3.*": "constant"},
            ValueError,
            "'3.*' must be left a parameter, but '.' has all. Put the narr",
        ),
        ({"*.bias": "orthogonal"}, ValueError, "'.*bias' matches vectors alone, such as '0.bias'.* Use 'constant'"),
        ({"1.*": "uniform"}, ValueError, "'1.*' matches vectors alone, such as '1.weight'"),
        ({"*": "kaiming"}, InputError, "unknown initialiser 'kaiming'. Did you mean 'kaiming_"),
    ],
)
def test_a_pattern_without_effect_is_refused(patterns, error, message):
    with pytest.raises(error, match=message):
        initialize(make_model(), patterns)


def test_an_unknown_option_is_refused():
    with pytest.raises(
        ValueError, match=r"initializer: 'gian' is not an option of 'orthogonal'. Did you mean 'gain'"
    ):
        initializer("orthogonal", gian=2.0)
