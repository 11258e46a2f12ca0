import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tenfold.core.specs import InputSpec
from tenfold.core.task import MemberView
from tenfold.networks import TabM
from tenfold.nn import BatchEnsembleLinear
from tenfold.tasks import Classification, MultiLabel, Regression

TABLE = InputSpec(kind="table", shape=(5,), cardinalities=(4,))
NO_VALUES = MemberView(streams=None, values={})
X, CODES = torch.randn(6, 5), torch.randint(4, (6, 1))


def test_a_layer_is_as_many_linear_layers_with_weights_of_rank_one_apart():
    layer = BatchEnsembleLinear(3, 4, num_predictions=2, random_signs=True)
    nn.init.normal_(layer.s)
    x = torch.randn(5, 2, 3)
    for e in range(2):
        expected = F.linear(x[:, e], layer.weight * torch.outer(layer.s[e], layer.r[e]), layer.bias[e])
        torch.testing.assert_close(layer(x)[:, e], expected)


def test_the_first_adapters_start_at_random_signs_and_the_others_at_one():
    first, second = (
        layer for layer in TabM(TABLE, 3, num_predictions=64).hidden if isinstance(layer, BatchEnsembleLinear)
    )
    assert set(first.r.unique().tolist()) == {-1.0, 1.0}
    assert all((part == 1).all() for part in (first.s, second.r, second.s))


def test_parameters_are_one_mlp_and_the_vectors_of_each_prediction():
    network = TabM(TABLE, 3, num_predictions=8, hidden=16, depth=2)
    inputs = 5 + network.embedding.out_features
    mlp = inputs * 16 + 16 * 16
    own = (inputs + 2 * 16) + (16 + 2 * 16) + 16 * 3 + 3
    embedding = network.embedding.columns[0].weight.numel()
    assert sum(parameter.numel() for parameter in network.parameters()) == embedding + mlp + 8 * own


def test_forward_is_the_mean_of_the_predictions():
    network = TabM(TABLE, 3, num_predictions=4, drop_prob=0.0)
    each = network.forward_each(X, CODES)
    assert each.shape == (6, 4, 3)
    assert not torch.allclose(each[:, 0], each[:, 1])
    torch.testing.assert_close(network(X, CODES), each.mean(dim=1))


@pytest.mark.parametrize(
    ("task", "targets", "loss", "mean"),
    [
        (
            Classification(3),
            torch.tensor([0, 1, 2, 0, 1, 2]),
            F.cross_entropy,
            lambda each: each.softmax(2).mean(1).log(),
        ),
        (
            MultiLabel("abc"),
            torch.tensor([[0.0, 1.0, 1.0]] * 6),
            F.binary_cross_entropy_with_logits,
            lambda each: each.sigmoid().mean(1).logit(),
        ),
        (Regression(), torch.arange(6.0), lambda o, y: F.mse_loss(o[:, 0], y), lambda each: each.mean(1)[:, 0]),
        (
            Regression(quantiles=(0.1, 0.5, 0.9)),
            torch.arange(6.0),
            lambda o, y: torch.maximum(
                torch.tensor([0.1, 0.5, 0.9]) * (y[:, None] - o), torch.tensor([-0.9, -0.5, -0.1]) * (y[:, None] - o)
            ).mean(),
            lambda each: each.sort(2).values.mean(1),
        ),
    ],
)
def test_tasks_train_each_prediction_and_average_what_can_be_averaged(task, targets, loss, mean):
    network = TabM(TABLE, task.num_outputs, num_predictions=4, drop_prob=0.0)
    batch = (X, CODES, targets)
    each = network.forward_each(X, CODES)
    expected = torch.stack([loss(each[:, e], targets) for e in range(4)]).mean()
    torch.testing.assert_close(task.loss(network, batch, NO_VALUES), expected)
    torch.testing.assert_close(task.predict(network, batch).float(), mean(each), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_predictions": 0}, "tabm: num_predictions must be a whole number >= 1, got 0"),
        ({"drop_prob": "0"}, "tabm: drop_prob must be a number in .0, 1., got '0'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, message):
    with pytest.raises(ValueError, match=message):
        TabM(TABLE, 3, **config)
