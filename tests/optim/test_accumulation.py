"""Gradients of micro-batches add up to the large batch's, as in plain PyTorch."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import SGD, clip_grad_norm_

M, K, B = 3, 4, 6
LR = [0.1, 0.3, 0.01]
CLIP = 0.5


def make_models():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double() for _ in range(M)]


def make_batches(steps=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(steps, K * B, 5, generator=generator, dtype=torch.float64)


def loss(model, x):
    return (model(x) - 1).square().mean()


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_k_backward_passes_of_a_kth_of_the_loss_train_as_the_large_batch_does_alone(form):
    stack = tenfold.stack(make_models(), form=form)
    optimizer = SGD(stack.parameters(), lr=LR, momentum=0.9)
    for large in make_batches():
        optimizer.zero_grad()
        for x in large.split(B):
            stack.backward(stack.each(loss, x) / K)
        clip_grad_norm_(stack.parameters(), CLIP)
        optimizer.step()
    for model, lr, got in zip(make_models(), LR, stack.unstack(), strict=True):
        plain = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        for large in make_batches():
            plain.zero_grad()
            loss(model, large).backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            plain.step()
        for one, two in zip(model.parameters(), got.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_accumulated_gradients_are_those_of_plain_pytorch_accumulation_and_members_stay_strangers():
    stack, models = tenfold.stack(make_models()), make_models()
    with torch.no_grad():
        stack.parameters()[0][1] = float("nan")
    for x in make_batches(1)[0].split(B):
        stack.backward(stack.each(loss, x) / K)
        for model in models:
            (loss(model, x) / K).backward()
    for k, parameter in enumerate(stack.parameters()):
        for i in (0, 2):
            expected = list(models[i].parameters())[k].grad
            torch.testing.assert_close(parameter.grad[i], expected, rtol=1e-12, atol=1e-14)
        assert parameter.grad[1].isnan().any()
