"""Every layer and function of the table runs as one program, and gives each member what it gets alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from covered_functions import COVERED, GENERATOR, PICTURES, Behind, Looked
from torch import nn

import tenfold
from tenfold.core.errors import StackError
from tenfold.core.seeds import derive_seed
from tenfold.stacking import SerialFallbackWarning
from tenfold.stacking.forms import as_member
from tenfold.stacking.rules import recurrent
from tenfold.testing.trained import member_model

STEPS = {True: 2, False: (1 << 41) + 2}  # the number of the first call, in training and in evaluation


def total(model, x):
    """A loss in which no element has the gradient of another."""
    y = model(x)
    return (y.square() * torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).view(y.shape)).sum()


@pytest.fixture(autouse=True)
def same_models_in_every_run():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", COVERED)
def test_one_program_gives_what_each_member_gets_alone(name):
    """Where vmap would loop inside, it warns, and a warning is an error here."""
    covered = COVERED[name]
    models = [member_model(covered.make, i, torch.float64).train(covered.training) for i in range(3)]
    stack = tenfold.stack(models, seeds=[5, 6, 7], form="stacked")
    loss_M = stack.each(total, covered.x)
    stack.backward(loss_M)
    for i, model in enumerate(models):
        with as_member(torch.tensor(derive_seed(5 + i, "noise")), STEPS[covered.training]):
            loss = total(model, covered.x)
        loss.backward()
        torch.testing.assert_close(loss_M[i], loss, rtol=1e-9, atol=1e-9)
        for place, stacked in stack.named_parameters():
            own = model.get_parameter(place).grad
            assert (own is None) == (stacked.grad is None), place
            if own is not None:
                torch.testing.assert_close(stacked.grad[i], own, rtol=1e-9, atol=1e-9, msg=place)
        for place, stacked in stack.named_buffers():
            torch.testing.assert_close(stacked[i], model.get_buffer(place), rtol=1e-9, atol=1e-9, msg=place)


RANDOM_NAMES = [
    name
    for name in COVERED
    if not name.endswith(("evaluation", "dropout 0.0", "DropBlock3d", "MaxPool3d"))
    and any(word in name for word in ("dropout", "RReLU", "gumbel", "Drop", "Fractional"))
]


@pytest.mark.parametrize("name", RANDOM_NAMES)
def test_draws_are_the_members_and_not_its_neighbours(name):
    """Equal parameters, so that only the draws differ; and another stack, in another order, draws the same."""
    covered = COVERED[name]
    model = member_model(covered.make, 0, torch.float64)
    losses = {
        seeds: tenfold.stack([model] * len(seeds), seeds=seeds, form=form).each(total, covered.x).tolist()
        for seeds, form in (((1, 2, 3), "stacked"), ((3, 9), "stacked"), ((2,), "serial"))
    }
    one, two, three = losses[1, 2, 3]
    assert len({round(loss, 9) for loss in (one, two, three)}) == 3
    assert losses[3, 9][0] == pytest.approx(three, rel=1e-9)
    assert losses[(2,)][0] == pytest.approx(two, rel=1e-9)


def test_indices_may_be_a_members_own():
    indices = torch.randint(5, (3, 2, 4), generator=GENERATOR)
    for make in (nn.Embedding, nn.EmbeddingBag):
        models = [Looked(make(5, 4)).double() for _ in range(3)]
        out = tenfold.stack(models, form="stacked").each(lambda model, i: model(i), tenfold.per_member(indices))
        for i, model in enumerate(models):
            torch.testing.assert_close(out[i], model(indices[i]))


@pytest.mark.parametrize("make", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("form", ["auto", "stacked", "serial"])
def test_sparse_gradients_are_refused(make, form):
    stack = tenfold.stack([make(5, 4, sparse=True) for _ in range(2)], form=form)
    with pytest.raises(
        StackError, match=r"embedding: sparse must be False in a stack, .* got True. Leave sparse out"
    ):
        stack.each(lambda model, i: model(i).sum(), torch.tensor([[0, 1]]))


def test_a_limited_norm_shortens_the_rows_that_were_looked_up_in_both_forms():
    for form in ("stacked", "serial"):
        models = [nn.Embedding(5, 4, max_norm=0.1) for _ in range(2)]
        before = models[0].weight.detach().clone()
        stack = tenfold.stack(models, form=form)
        stack.backward(stack.each(lambda model, i: model(i).sum(), torch.tensor([1, 2])))
        weight_M = dict(stack.named_parameters())["weight"]
        torch.testing.assert_close(weight_M.detach().norm(dim=2)[:, 1:3], torch.full((2, 2), 0.1), rtol=1e-4, atol=0)
        assert torch.equal(weight_M[0, 3:], before[3:])
        assert torch.equal(models[0].weight, before)


IN_TURN = {
    "poisson": (lambda y: y + torch.poisson(y.detach().abs()), r"poisson draws from PyTorch's generator"),
    "binomial": (lambda y: y + torch.binomial(y.detach().abs().ceil(), y.detach().sigmoid()), "binomial draws from"),
    "random_ without bounds": (lambda y: y + torch.empty_like(y).random_() % 5, "random operation"),
    "a shared tensor": (
        lambda y: y + torch.zeros(6, dtype=y.dtype).normal_(),
        "a tensor that all members share cannot be filled .*; write torch.rand or torch.randn of that shape",
    ),
}


@pytest.mark.parametrize("name", IN_TURN)
def test_what_cannot_be_drawn_in_one_program_is_drawn_in_turn_and_says_why(name):
    what, words = IN_TURN[name]
    model = member_model(lambda: Behind(what), 0, torch.float64)
    with pytest.warns(SerialFallbackWarning, match=rf"{words}.*covered_functions.py"):
        together = tenfold.stack([model] * 3, seeds=[1, 2, 3]).each(total, PICTURES)
    alone = tenfold.stack([model], seeds=[2], form="serial").each(total, PICTURES)
    torch.testing.assert_close(together[1], alone[0], rtol=1e-9, atol=1e-9)
    assert together[0] != together[1]


def test_lengths_of_packed_sequences_are_shared():
    def pack(model, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(model(x), lengths, enforce_sorted=True)
        return nn.utils.rnn.pad_packed_sequence(packed)[0].sum()

    stack = tenfold.stack([nn.Linear(4, 4) for _ in range(2)], form="stacked")
    lengths = torch.tensor([[5, 4, 2], [5, 3, 2]])
    with pytest.raises(RuntimeError, match="pack_padded_sequence: lengths must be the same for all members"):
        stack.each(pack, torch.ones(5, 3, 4), tenfold.per_member(lengths))


def test_rules_stand_aside_inside_a_transform_of_the_users_own():
    """A gradient inside the loss: PyTorch then takes the layer apart, and vmap has rules for the parts."""
    layer = nn.GRU(4, 3).double()

    def penalised(model, x):
        gradient = torch.func.grad(lambda x: model(x)[0].square().sum())(x)
        return gradient.square().sum()

    x = torch.randn(5, 2, 4, generator=GENERATOR, dtype=torch.float64)
    out = tenfold.stack([layer] * 2, form="stacked").each(penalised, x)
    torch.testing.assert_close(out[0], penalised(layer, x))


def test_a_gradient_of_a_recurrent_gradient_is_refused_in_words():
    stack = tenfold.stack([nn.GRU(4, 3) for _ in range(2)], form="stacked")
    loss = stack.each(lambda model, x: model(x)[0].square().sum(), torch.randn(5, 2, 4)).sum()
    (gradient,) = torch.autograd.grad(loss, [stack.parameters()[0]], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_states_of_a_recurrent_layer_may_be_given_and_are_differentiated():
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(4, 3, num_layers=2, bidirectional=True)
            self.h, self.c = (nn.Parameter(torch.randn(4, 2, 3)) for _ in range(2))

        def forward(self, x):
            output, (h, c) = self.layer(x, (self.h, self.c))
            return output.square().sum() + (h * c).sum()

    models = [Stateful().double() for _ in range(3)]
    x = torch.randn(5, 2, 4, generator=GENERATOR, dtype=torch.float64)
    stack = tenfold.stack(models, form="stacked")
    stack.backward(stack.each(lambda model, x: model(x), x))
    for i, model in enumerate(models):
        model(x).backward()
        for name, parameter in stack.named_parameters():
            torch.testing.assert_close(parameter.grad[i], model.get_parameter(name).grad, msg=name)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_large_recurrent_layers_run_in_turn_inside_the_program(kind, bidirectional, monkeypatch):
    """Through PyTorch's own kernels, so that not even rounding differs much in float32."""
    monkeypatch.setattr(recurrent, "_IN_TURN_FROM", {"fused": 64, "other": 64})
    in_turn, calls = recurrent._in_turn, []
    monkeypatch.setattr(recurrent, "_in_turn", lambda *args: calls.append(1) or in_turn(*args))
    models = [getattr(nn, kind)(8, 8, 2, bidirectional=bidirectional, batch_first=True) for _ in range(2)]
    x = torch.randn(8, 6, 8, generator=GENERATOR)
    stack = tenfold.stack(models, form="stacked")
    stack.backward(stack.each(lambda model, x: model(x)[0].square().mean(), x))
    assert len(calls) == (4 if bidirectional else 2)
    for i, model in enumerate(models):
        model(x)[0].square().mean().backward()
        for name, parameter in stack.named_parameters():
            torch.testing.assert_close(parameter.grad[i], model.get_parameter(name).grad, msg=name)


def test_members_have_no_one_memory_and_a_shared_tensor_has():
    """What cuDNN's layers ask before they move their weights."""
    x = torch.ones(2, 3)
    stack = tenfold.stack([nn.Linear(3, 1) for _ in range(2)], form="stacked")
    asked = stack.each(lambda model, x: torch.tensor([model.weight.data_ptr(), x.data_ptr()]), x)
    assert asked.tolist() == [[0, x.data_ptr()]] * 2


def test_dropout_between_recurrent_layers_drops_its_share():
    """Weights that pass 1 on, so that the second layer's input shows what was dropped."""
    layer = nn.RNN(1, 64, num_layers=2, dropout=0.3, nonlinearity="relu", bias=False)
    for name, parameter in layer.named_parameters():
        nn.init.constant_(parameter, 0.0)
        if name == "weight_ih_l0":
            nn.init.constant_(parameter, 1.0)
        if name == "weight_ih_l1":
            nn.init.eye_(parameter)
    out = tenfold.stack([layer] * 3, form="stacked").each(lambda model, x: model(x)[0], torch.ones(20, 16, 1))
    kept = (out > 0).float().mean().item()
    assert abs(kept - 0.7) < 5 * (0.21 / out.numel()) ** 0.5
    torch.testing.assert_close(out[out > 0].unique(), torch.tensor([1 / 0.7]))


def test_fast_paths_of_transformers_are_off_inside_the_stack_and_change_nothing():
    models = [nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True).eval() for _ in range(2)]
    x = torch.randn(3, 5, 8, generator=GENERATOR)
    with torch.no_grad():
        out = tenfold.stack(models, form="stacked").each(lambda model, x: model(x), x)
        for i, model in enumerate(models):
            torch.testing.assert_close(out[i], model(x))


def test_cross_attention_in_a_loss_that_shares_nothing():
    """Queries of the batch's own, keys of the member's: one of them is shared by all members."""
    query = torch.randn(2, 2, 5, 4, generator=GENERATOR, dtype=torch.float64)
    models = [nn.Linear(4, 4).double() for _ in range(3)]
    stack = tenfold.stack(models, form="stacked")
    out = stack.each(lambda m, q: F.scaled_dot_product_attention(q, m(q)[:1], m(q)[:1].flip(0)), query)
    for i, model in enumerate(models):
        key = model(query)[:1]
        torch.testing.assert_close(out[i], F.scaled_dot_product_attention(query, key, key))
