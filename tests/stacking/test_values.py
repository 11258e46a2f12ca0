"""Numbers that members may differ in: one program, and each member as if alone."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor, nn

import tenfold
from tenfold.core.errors import StackError
from tenfold.stacking import SerialFallbackWarning
from tenfold.stacking.values import MEMBER_ATTRIBUTES, MemberNumber, gather_values
from tenfold.testing import check_alone_or_together, check_leaving_is_free, check_plain_out, check_strangers

RATES = [0.2, 0.5, 0.8]
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(6, 4, 5, generator=GENERATOR, dtype=torch.float64)


@pytest.fixture(autouse=True)
def same_models_in_every_run():
    torch.manual_seed(0)


def with_layer(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv1d(4, 4, 1), layer, nn.Conv1d(4, 2, 1)).double()


class Tokens(nn.Module):
    """A recurrent or attending layer, and a linear one."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.attends = isinstance(layer, nn.MultiheadAttention)
        self.layer, self.head = layer, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        return self.head((self.layer(x, x, x) if self.attends else self.layer(x))[0])


class Pictures(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.body, self.layer = nn.Conv2d(4, 4, 1).double(), layer.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.body(x.unsqueeze(2).expand(6, 4, 5, 5)))


DIFFERING = {
    "Dropout": lambda p: with_layer(nn.Dropout(p)),
    "Dropout in place": lambda p: with_layer(nn.Dropout(p, inplace=True)),
    "Dropout1d": lambda p: with_layer(nn.Dropout1d(p)),
    "AlphaDropout": lambda p: with_layer(nn.AlphaDropout(p)),
    "FeatureAlphaDropout": lambda p: with_layer(nn.FeatureAlphaDropout(p)),
    "Dropout2d": lambda p: Pictures(nn.Dropout2d(p)),
    "LeakyReLU": lambda p: with_layer(nn.LeakyReLU(p)),
    "LeakyReLU in place": lambda p: with_layer(nn.LeakyReLU(p, inplace=True)),
    "ELU": lambda p: with_layer(nn.ELU(p)),
    "RReLU": lambda p: with_layer(nn.RReLU(p / 2, p)),
    "BatchNorm1d": lambda p: with_layer(nn.BatchNorm1d(4, momentum=p)),
    "BatchNorm2d": lambda p: Pictures(nn.BatchNorm2d(4, momentum=p)),
    "StochasticDepth of rows": lambda p: with_layer(torchvision.ops.StochasticDepth(p, "row")),
    "StochasticDepth of a batch": lambda p: with_layer(torchvision.ops.StochasticDepth(p, "batch")),
    "DropBlock2d": lambda p: Pictures(torchvision.ops.DropBlock2d(p, 3)),
    "LSTM": lambda p: Tokens(nn.LSTM(4, 4, num_layers=2, batch_first=True, dropout=p)).double(),
    "MultiheadAttention": lambda p: Tokens(nn.MultiheadAttention(4, 2, batch_first=True, dropout=p)).double(),
}


def square(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).square().sum()


def results(models, seeds, form):
    """Loss, gradients and buffers a member."""
    stack = tenfold.stack(models, seeds=seeds, form=form)
    stack.backward(stack.each(square, X))  # a first step, so that the second reads changed buffers
    loss_M = stack.each(square, X)
    stack.backward(loss_M)
    gradients = {name: parameter.grad for name, parameter in stack.named_parameters()}
    return {"loss": loss_M, **gradients, **dict(stack.named_buffers())}


@pytest.mark.parametrize("name", DIFFERING)
@pytest.mark.parametrize("training", [True, False])
def test_members_that_differ_in_the_number_run_as_one_program_as_each_would_alone(name, training):
    models = [DIFFERING[name](p).train(training) for p in RATES]
    together = results(models, [3, 4, 5], "stacked")
    for i, model in enumerate(models):
        alone = results([model], [3 + i], "serial")
        for part, tensor in alone.items():
            torch.testing.assert_close(together[part][i], tensor[0], rtol=1e-9, atol=1e-9, msg=part)


@pytest.mark.parametrize("name", ["LeakyReLU", "ELU", "BatchNorm1d"])
def test_what_draws_nothing_is_plain_torch(name):
    models = [DIFFERING[name](p) for p in RATES]
    together = results(models, [0, 1, 2], "stacked")
    for i, model in enumerate(models):
        square(model, X).backward()
        loss = square(model, X)
        loss.backward()
        torch.testing.assert_close(together["loss"][i], loss)
        for part, tensor in (*((n, p.grad) for n, p in model.named_parameters()), *model.named_buffers()):
            torch.testing.assert_close(together[part][i], tensor, msg=part)


class AttendsWithoutWeights(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(5, 1, batch_first=True, dropout=p)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x, x, need_weights=False)[0]


class OutputOnly(nn.LSTM):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


@pytest.mark.parametrize(
    "make",
    [nn.Dropout, nn.AlphaDropout, AttendsWithoutWeights, lambda p: OutputOnly(5, 5, 2, batch_first=True, dropout=p)],
)
def test_a_member_whose_p_is_0_or_1_draws_as_the_others_do(make):
    """A p of 0 draws nothing, and yet what comes after it draws as if it had."""
    models = [nn.Sequential(nn.Linear(5, 5), make(p), nn.Dropout(0.5)).double() for p in (0.0, 0.5, 1.0)]
    together = results(models, [0, 1, 2], "stacked")
    for i, model in enumerate(models):
        for form in ("serial", "stacked"):
            torch.testing.assert_close(together["loss"][i], results([model], [i], form)["loss"][0])


def drawn_p() -> nn.Module:
    p = float(torch.rand(()))
    return nn.Sequential(
        nn.Linear(4, 8), nn.LeakyReLU(p), nn.Dropout(p), nn.BatchNorm1d(8, momentum=p), nn.Linear(8, 2)
    )


@pytest.mark.parametrize(
    "check",
    [check_alone_or_together, check_strangers, check_leaving_is_free, check_plain_out],
    ids=lambda c: c.__name__,
)
def test_the_promises_hold_for_members_that_differ_in_numbers(check):
    batches = [(torch.randn(6, 4, generator=GENERATOR), torch.randn(6, 2, generator=GENERATOR)) for _ in range(2)]
    check(make_model=drawn_p, batches=batches, loss=lambda model, x, y: F.mse_loss(model(x), y), num_steps=6)


def test_unstack_gives_every_member_its_own_numbers():
    stack = tenfold.stack([nn.Sequential(nn.Dropout(p), nn.LeakyReLU(0.3)) for p in RATES])
    stack.keep([2, 0])
    models = stack.unstack()
    assert [model[0].p for model in models] == [0.8, 0.2]
    assert [type(model[0].p) for model in models] == [float, float]
    assert [model[1].negative_slope for model in models] == [0.3, 0.3]


def test_numbers_are_part_of_the_saved_state():
    one = tenfold.stack([nn.Dropout(p) for p in RATES])
    state = copy.deepcopy(one.state_dict())
    two = tenfold.stack([nn.Dropout(p) for p in reversed(RATES)])
    two.load_state_dict(state)
    assert [model.p for model in two.unstack()] == RATES


def test_only_numbers_that_differ_are_gathered():
    models = [nn.Sequential(nn.Dropout(p), nn.Dropout(0.1), nn.ELU(2)) for p in RATES]
    assert {place: value.tolist() for place, value in gather_values(models).items()} == {"0.p": RATES}
    assert gather_values(models[:1]) == {}


def test_cumulative_batch_norm_counts_a_member():
    """Members that have seen different numbers of batches, and a layer that is used twice in a forward."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4, momentum=None)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.norm(x) * 2 + x)

    models = [Twice().double() for _ in range(3)]
    for i, model in enumerate(models):
        for _ in range(i):
            model(X + i)
    stack = tenfold.stack(models, form="stacked")
    stack.each(square, X)
    for i, model in enumerate(models):
        model(X)
        for name, buffer in stack.named_buffers():
            torch.testing.assert_close(buffer[i], model.get_buffer(name))
    out = stack.eval().each(lambda model, x: model(x), X)
    torch.testing.assert_close(out[1], models[1].eval()(X))
    assert stack.unstack()[0].norm.momentum is None


def test_another_attribute_is_refused_as_before():
    with pytest.raises(StackError, match=r"0\.lambd is 0.1 in one and 0.2 in the other"):
        tenfold.stack([nn.Sequential(nn.Softshrink(0.1)), nn.Sequential(nn.Softshrink(0.2))])
    with pytest.raises(StackError, match=r"momentum is a number in one and None in the other"):
        tenfold.stack([nn.BatchNorm1d(2), nn.BatchNorm1d(2, momentum=None)])


class Branching(nn.Dropout):
    """Takes its number for a Python number."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.p > 0.4 else super().forward(x)


class AsFloat(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(self.p)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Branching, r"a branch depends on a number in which the members differ \(at test_values.py"),
        (AsFloat, r"a number in which the members differ is needed as one Python number \(at test_values.py"),
    ],
)
def test_a_forward_that_needs_one_python_number_runs_one_by_one(make, words):
    models = [nn.Sequential(nn.Linear(5, 5), make(p)).double() for p in RATES]
    with pytest.warns(SerialFallbackWarning, match=words):
        out = tenfold.stack(models).each(lambda model, x: model(x), X)
    alone = tenfold.stack(models[1:2], seeds=[1], form="serial").each(lambda model, x: model(x), X)
    torch.testing.assert_close(out[1], alone[0])


def number() -> MemberNumber:
    return MemberNumber([0.25, 0.5], torch.tensor(0.25))


def test_arithmetic_on_a_members_number_is_arithmetic_on_each():
    p = number()
    for got, values in (
        (1 - p, (0.75, 0.5)),
        (p - 1, (-0.75, -0.5)),
        (p * 2, (0.5, 1.0)),
        (2 * p, (0.5, 1.0)),
        (p / 2, (0.125, 0.25)),
        (1 / p, (4.0, 2.0)),
        (p + 1, (1.25, 1.5)),
        (1 + p, (1.25, 1.5)),
        (p + p, (0.5, 1.0)),
    ):
        assert got.values == values
        assert float(got.tensor) == values[0]
    torch.testing.assert_close(torch.ones(2) * p, torch.full((2,), 0.25))


def test_comparisons_give_what_all_members_agree_on():
    p = number()
    assert p > 0 and p >= 0.25 and p < 1 and p <= 0.5 and p != 0 and p and not p == 2  # noqa: PT018, SIM201
    with pytest.raises(RuntimeError, match="a branch depends on a number in which the members differ"):
        assert p > 0.3
    with pytest.raises(TypeError, match="not supported"):
        assert p > "0"
    with pytest.raises(TypeError, match="unsupported operand"):
        p + "1"


def test_the_table_names_classes_that_exist():
    import importlib

    for place, names in MEMBER_ATTRIBUTES.items():
        module, _, cls = place.rpartition(".")
        assert hasattr(importlib.import_module(module), cls), place
        assert names
