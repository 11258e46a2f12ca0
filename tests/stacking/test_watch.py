"""What runs and is rarely meant is said once, at the user's line, in both forms."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.stacking import ModelWarning

X, Y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
TARGET = torch.rand(6, 3)


def stack_of(last: nn.Module | None = None, form="auto"):
    return tenfold.stack(
        [nn.Sequential(nn.Linear(4, 3), *([] if last is None else [last])) for _ in range(2)], form=form
    )


DOUBTFUL = {
    "softmax layer": (nn.Softmax(dim=1), lambda m, x: F.cross_entropy(m(x), Y), "cross_entropy .* of softmax,"),
    "softmax function": (None, lambda m, x: F.cross_entropy(F.softmax(m(x), 1), Y), "cross_entropy .* of softmax,"),
    "softmax method": (None, lambda m, x: nn.CrossEntropyLoss()(m(x).softmax(1), Y), "cross_entropy .* of softmax,"),
    "softmax, viewed": (
        None,
        lambda m, x: F.cross_entropy(m(x).softmax(1).unsqueeze(0).flatten(0, 1), target=Y),
        "cross_entropy .* of softmax,",
    ),
    "log_softmax": (nn.LogSoftmax(1), lambda m, x: F.cross_entropy(m(x), Y), "cross_entropy .* of log_softmax,"),
    "sigmoid": (
        nn.Sigmoid(),
        lambda m, x: F.cross_entropy(m(x), Y),
        "cross_entropy .* of sigmoid.*Give it the logits",
    ),
    "sigmoid, squared error": (
        nn.Sigmoid(),
        lambda m, x: F.mse_loss(m(x), TARGET.round()),
        "mse_loss .* of sigmoid, and its gradient vanishes where .*For targets of 0 and 1 cross_entropy",
    ),
    "two sigmoids": (
        None,
        lambda m, x: F.binary_cross_entropy_with_logits(input=torch.sigmoid(m(x)), target=TARGET),
        "binary_cross_entropy_with_logits .* of sigmoid, but it takes logits",
    ),
}


@pytest.mark.parametrize("form", ["stacked", "serial"])
@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_loss_of_what_is_squashed_already_is_said_once(name, form):
    last, loss, words = DOUBTFUL[name]
    stack = stack_of(last, form)
    with pytest.warns(ModelWarning, match=words) as caught:
        stack.each(loss, X)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack.each(loss, X)


FINE = {
    "an autoencoder's pixels": lambda m, x: F.mse_loss(m(x).sigmoid(), TARGET),
    "an autoencoder's pictures": lambda m, x: F.mse_loss(
        m(x).sigmoid().view(6, 1, 3, 1), TARGET.round().view(6, 1, 3, 1)
    ),
    "logits": lambda m, x: F.cross_entropy(m(x), Y),
    "a softmax of another tensor": lambda m, x: F.cross_entropy(m(x), Y) + m(x).softmax(1).square().sum(),
    "attention": lambda m, x: F.cross_entropy(m(x) * m(x).softmax(1), Y),
    "log_softmax and nll": lambda m, x: F.nll_loss(m(x).log_softmax(1), Y),
    "sigmoid and bce": lambda m, x: F.binary_cross_entropy(m(x).sigmoid(), TARGET),
    "squared error": lambda m, x: F.mse_loss(m(x), TARGET),
    "a target that is a softmax": lambda m, x: F.cross_entropy(m(x), m(x).detach().softmax(1)),
    "scaled sigmoid": lambda m, x: F.mse_loss(2 * m(x).sigmoid(), TARGET),
}


@pytest.mark.filterwarnings("error")
def test_labels_a_member_are_seen_too():
    stack = stack_of(nn.Sigmoid())
    loss = lambda m, x, y: F.mse_loss(m(x), target=y)  # noqa: E731
    stack.each(loss, X, tenfold.per_member(torch.stack([TARGET, TARGET])))
    with pytest.warns(ModelWarning, match="mse_loss .* of sigmoid"):
        stack_of(nn.Sigmoid()).each(loss, X, tenfold.per_member(torch.stack([TARGET, TARGET]).round()))


@pytest.mark.parametrize("name", FINE)
def test_what_is_meant_is_not_warned_of(name):
    stack_of().each(FINE[name], X)


@pytest.mark.parametrize("form", ["auto", "serial"])
@pytest.mark.parametrize(
    "dropout",
    [
        lambda x: F.dropout(x, 0.5),
        lambda x: F.dropout(x, 0.5, True),
        lambda x: F.dropout(x, training=True),
        lambda x: F.alpha_dropout(x, 0.5, True),
        lambda x: F.dropout1d(x.unsqueeze(2), 0.5),
    ],
)
def test_dropout_that_stays_on_in_evaluation_is_said(dropout, form):
    stack = stack_of(form=form)

    def total(model, x):
        return dropout(model(x)).sum()

    stack.each(total, X)
    with pytest.warns(
        ModelWarning, match=r"dropout.* stays on although .* evaluation mode. Pass training=self.training"
    ):
        stack.eval().each(total, X)


@pytest.mark.parametrize(
    "function", [F.alpha_dropout, lambda x: F.dropout(x, 0.5, False), lambda x: F.dropout(x, training=False)]
)
def test_dropout_that_is_off_in_evaluation_is_fine(function):
    stack_of().eval().each(lambda model, x: function(model(x)).sum(), X)


def test_a_dropout_layer_left_in_training_mode_on_purpose_is_fine():
    """As Monte Carlo dropout does."""
    stack = stack_of(nn.Dropout(0.5)).eval()
    dict(stack.named_modules())["1"].train()
    out = stack.each(lambda model, x: model(x), torch.ones(64, 4))
    assert (out == 0).any()


def test_a_call_that_fails_says_its_error_alone():
    with pytest.raises(ZeroDivisionError):
        stack_of().each(lambda model, x: F.cross_entropy(model(x).softmax(1), Y) / (1 // 0), X)


@pytest.mark.filterwarnings("default")
def test_python_shows_a_line_once_however_many_stacks_run_it(recwarn):
    def loss(model, x):
        return F.cross_entropy(model(x).softmax(1), Y)

    for _ in range(3):
        stack_of().each(loss, X)
    assert [warning.category for warning in recwarn] == [ModelWarning]
