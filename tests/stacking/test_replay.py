"""Calls that come back: the same numbers as through `each`; left to `each` where a trace would not repeat them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.stacking.replay import Replay

X = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        rows = x.flatten(1, 2)
        return self.head(self.attend(rows, rows, rows)[0].mean(1))


def forward(model, x):
    return model(x)


def stacked(make, count=3):
    torch.manual_seed(0)
    models = [make().eval() for _ in range(count)]
    return models, tenfold.stack(models).eval()


def traced(predict):
    return [program is not None for program in predict._programs.values()]


@pytest.mark.parametrize("make", [mlp, convolutions, Attention])
def test_what_comes_back_is_what_each_model_says(make):
    models, stack = stacked(make)
    predict = Replay(stack, forward)
    for _ in range(5):
        outputs = predict(X)
    assert traced(predict) == [True]
    for own, model in zip(outputs, models, strict=True):
        torch.testing.assert_close(own, model(X), rtol=1e-5, atol=1e-6)


def test_batches_of_other_shapes_and_one_a_member_have_programs_of_their_own():
    models, stack = stacked(mlp)
    predict = Replay(stack, forward)
    own = torch.stack([X, X + 1, X + 2])
    for _ in range(4):
        one, few, each = predict(X[:1]), predict(X[:3]), predict(tenfold.per_member(own))
    assert traced(predict) == [True] * 3
    for place, model in enumerate(models):
        torch.testing.assert_close(one[place], model(X[:1]))
        torch.testing.assert_close(few[place], model(X[:3]))
        torch.testing.assert_close(each[place], model(own[place]))


def test_a_changed_weight_is_seen():
    _, stack = stacked(mlp)
    predict = Replay(stack, forward)
    before = [predict(X) for _ in range(4)][-1]
    with torch.no_grad():
        stack.parameters()[-1].add_(1.0)
    torch.testing.assert_close(predict(X), before + 1.0)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.layer(x.flatten(1)) + self.calls


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x):
        return F.dropout(self.layer(x.flatten(1)), 0.5, training=True)


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(64, 3), 0

    def forward(self, x):
        self.last += 1
        return self.layer(x.flatten(1))


def test_buffers_that_forward_changes_go_on_changing():
    _, stack = stacked(Counting)
    predict = Replay(stack, forward)
    outputs = [predict(X) for _ in range(6)]
    assert traced(predict) == [False]
    torch.testing.assert_close(outputs[5], outputs[0] + 5)


@pytest.mark.filterwarnings("ignore::tenfold.stacking.rules.watch.ModelWarning")
def test_noise_is_another_at_each_call():
    _, stack = stacked(Noisy)
    predict = Replay(stack, forward)
    outputs = [predict(X) for _ in range(6)]
    assert traced(predict) == [False]
    assert not torch.equal(outputs[4], outputs[5])


def test_what_python_remembers_is_not_left_to_a_trace():
    _, stack = stacked(Remembering)
    predict = Replay(stack, forward)
    for _ in range(5):
        predict(X)
    assert traced(predict) == [False]


def test_no_graph_is_built():
    _, stack = stacked(mlp)
    predict = Replay(stack, forward)
    assert not any(predict(X).requires_grad for _ in range(5))


@pytest.mark.parametrize("make", [mlp, convolutions, Attention])
@pytest.mark.parametrize("count", [1, 3])
def test_exact_replays_give_the_bits_of_each_while_weights_move(make, count):
    torch.manual_seed(0)
    form = "serial" if count == 1 else "auto"
    stack = tenfold.stack([make().eval() for _ in range(count)], form=form).eval()
    predict = Replay(stack, forward, is_exact=True)
    for step in range(8):
        assert torch.equal(predict(X + step), stack.each(forward, X + step)), step
        with torch.no_grad():
            for parameter in stack.parameters():
                parameter.mul_(0.9)
    assert traced(predict) == [True]
    assert len(predict._proven) == 1


def test_members_that_leave_take_their_record_along():
    _, stack = stacked(mlp)
    predict = Replay(stack, forward, is_exact=True)
    for _ in range(6):
        predict(X)
    stack.keep([2, 0])
    assert torch.equal(predict(X), stack.each(forward, X))
    assert predict(X).shape[0] == 2


def test_a_tensor_of_the_members_own_is_handed_out_as_a_copy():
    _, stack = stacked(mlp)
    predict = Replay(stack, lambda model, x: model[1].bias)
    outputs = [predict(X) for _ in range(5)]
    outputs[-1].zero_()
    assert stack.parameters()[1].abs().sum() > 0
