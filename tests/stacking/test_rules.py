"""The rules give what the functions they replace give, for every member."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(7, 5, generator=GENERATOR, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 3, 1, 1, 0])
WITH_IGNORED = torch.tensor([0, 1, -100, 3, 1, -100, 0])
CLASS_WEIGHTS = torch.tensor([0.1, 1.0, 2.0, 0.5], dtype=torch.float64)


def members() -> list[nn.Module]:
    torch.manual_seed(1)
    return [nn.Linear(5, 4).double() for _ in range(3)]


@pytest.mark.parametrize(
    ("target", "options"),
    [
        (Y, {}),
        (WITH_IGNORED, {}),
        (Y, {"ignore_index": 1}),
        (Y, {"label_smoothing": 0.1}),
        (Y, {"reduction": "sum"}),
        (Y, {"weight": CLASS_WEIGHTS}),
        (torch.softmax(X[:, :4], dim=1), {}),
    ],
)
def test_cross_entropy_and_its_gradient_are_torchs_for_every_member(target, options):
    stack = tenfold.stack(members(), form="stacked")
    loss_M = stack.each(lambda model, x, y: F.cross_entropy(model(x), y, **options), X, target)
    stack.backward(loss_M)
    for i, model in enumerate(members()):
        alone = F.cross_entropy(model(X), target, **options)
        alone.backward()
        torch.testing.assert_close(loss_M[i], alone, rtol=1e-12, atol=1e-12)
        for name, parameter in stack.named_parameters():
            torch.testing.assert_close(parameter.grad[i], model.get_parameter(name).grad, rtol=1e-12, atol=1e-12)


def test_cross_entropy_of_nothing_but_ignored_targets_is_nan_as_torchs():
    stack = tenfold.stack(members(), form="stacked")
    ignored = torch.full((7,), -100)
    loss_M = stack.each(lambda model, x, y: F.cross_entropy(model(x), y), X, ignored)
    assert loss_M.isnan().all()
    assert F.cross_entropy(members()[0](X), ignored).isnan()


@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torchs_for_inputs_of_any_shape(shape, bias):
    models = [nn.Linear(5, 4, bias=bias).double() for _ in range(3)]
    x = torch.randn(shape, generator=GENERATOR, dtype=torch.float64)
    outputs = tenfold.stack(models, form="stacked").each(lambda model, x: model(x), x)
    for output, model in zip(outputs, models, strict=True):
        torch.testing.assert_close(output, model(x), rtol=1e-12, atol=1e-12)


def test_a_linear_output_can_be_viewed_as_users_do():
    stack = tenfold.stack([nn.Linear(5, 4) for _ in range(3)], form="stacked")
    assert stack.each(lambda model, x: model(x).view(7, 2, 2), X.float()).shape == (3, 7, 2, 2)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("sizes", [(8, 2, None), (9, 2, 2), (11, 3, 2), (9, (2, 3), (3, 2)), (12, 5, 5), (7, 2, 3)])
def test_pooling_without_gradients_gives_the_numbers_of_pytorch(members, sizes):
    side, window, stride = sizes
    x = torch.randn(members, 4, 3, side, side + 1, generator=torch.Generator().manual_seed(0))
    x[0, 1, 2, 3, 4] = torch.nan
    stack = tenfold.stack([nn.Linear(1, 1) for _ in range(members)], form="serial" if members == 1 else "auto")
    with torch.no_grad():
        found = stack.each(lambda model, x: F.max_pool2d(x, window, stride), tenfold.per_member(x))
    expected = torch.stack([F.max_pool2d(own, window, stride) for own in x])
    assert torch.equal(found.nan_to_num(99.0), expected.nan_to_num(99.0))


@pytest.mark.parametrize("bad", [{"kernel_size": 9}, {"kernel_size": 0}, {"kernel_size": 2, "stride": 0}])
def test_pooling_complains_as_pytorch_does(bad):
    stack = tenfold.stack([nn.Linear(1, 1)], form="serial")
    with pytest.raises(RuntimeError) as plain, torch.no_grad():
        F.max_pool2d(torch.zeros(1, 1, 4, 4), **bad)
    with pytest.raises(RuntimeError, match=re.escape(str(plain.value)[:30])), torch.no_grad():
        stack.each(lambda model, x: F.max_pool2d(x, **bad), torch.zeros(1, 1, 4, 4))


class Viewing(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(1, 4, 3), nn.Linear(36, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.convolution(x)), 2)
        return self.head(x.view(x.size(0), -1))


def test_a_view_of_what_was_pooled_is_one_program_and_can_be_compiled():
    models = [Viewing() for _ in range(3)]
    stack, x = tenfold.stack(models), torch.randn(5, 1, 8, 8)
    found = stack.each(lambda model, x: model(x), x)
    assert stack.form == "stacked"
    torch.testing.assert_close(found, torch.stack([model(x) for model in models]))
    optimizer = tenfold.optim.AdamW(stack.parameters(), lr=1e-3)
    step = tenfold.optim.TrainingStep(stack, lambda model, x: model(x).square().mean(), optimizer, compiled=True)
    step(x), step(x)
    assert step.fallback is None


def test_a_view_that_pytorch_refuses_is_refused():
    stack = tenfold.stack([nn.Conv2d(1, 4, 3) for _ in range(2)], form="stacked")
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        stack.each(lambda model, x: model(x).transpose(1, 2).view(5, -1), torch.randn(5, 1, 8, 8))
