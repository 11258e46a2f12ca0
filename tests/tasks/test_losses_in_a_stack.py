"""Every loss of every task, with options of each member's own: alone or together, and among strangers."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.core.task import MemberView
from tenfold.tasks import (
    CLASSIFICATION_LOSSES,
    MULTI_LABEL_LOSSES,
    REGRESSION_LOSSES,
    Classification,
    MultiLabel,
    Regression,
)
from tenfold.testing import check_alone_or_together, check_leaving_is_free, check_strangers

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(12, 3, generator=GENERATOR)
CLASSES = torch.randint(0, 4, (12,), generator=GENERATOR)
LABELS = (torch.rand(12, 4, generator=GENERATOR) < 0.5).float()
NUMBERS = torch.randn(12, generator=GENERATOR)
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0])
CASES = {
    **{
        f"classification, {loss}": (Classification(4, loss=loss, class_weights=WEIGHTS), CLASSES)
        for loss in CLASSIFICATION_LOSSES
    },
    **{
        f"multi-label, {loss}": (MultiLabel(list("abcd"), loss=loss, positive_weights=WEIGHTS), LABELS)
        for loss in MULTI_LABEL_LOSSES
    },
    **{f"regression, {loss}": (Regression(loss=loss), NUMBERS) for loss in REGRESSION_LOSSES},
    "regression, pinball": (Regression(quantiles=(0.1, 0.5, 0.9)), NUMBERS),
}
OPTIONS = {"label_smoothing": 0.1, "focal_gamma": 1.5, "class_weight_power": 0.5}


def _job(task, targets):
    """The task's loss and prediction as a contract takes them; values are as a search would draw them."""
    values = {name: torch.tensor(OPTIONS[name]) for name in task.info.values}
    member = MemberView(streams=None, values=values)
    return {
        "make_model": lambda: nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, task.num_outputs)),
        "batches": [(X, targets)],
        "loss": lambda model, *batch: task.loss(model, batch, member),
        "predict": lambda model, *batch: task.predict(model, batch),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("check", [check_alone_or_together, check_strangers, check_leaving_is_free])
def test_losses_keep_the_promises_of_the_stack(case, check):
    job = _job(*CASES[case])
    if check is not check_alone_or_together:
        del job["predict"]
    check(**job, num_steps=8)


@pytest.mark.parametrize("case", [name for name, (task, _) in CASES.items() if task.info.values])
def test_a_stack_with_options_a_member_has_the_gradients_of_each_alone(case):
    task, targets = CASES[case]
    torch.manual_seed(0)
    models = [nn.Linear(3, task.num_outputs).double() for _ in range(3)]
    values = [
        {name: torch.tensor(OPTIONS[name] * scale, dtype=torch.float64) for name in task.info.values}
        for scale in (0.0, 0.4, 1.0)
    ]
    x, stack = X.double(), tenfold.stack(models)
    assert set(task.info.values) <= set(OPTIONS)

    def loss(model, values, x, y):
        return task.loss(model, (x, y), MemberView(streams=None, values=values))

    own = {name: torch.stack([one[name] for one in values]) for name in task.info.values}
    losses = stack.each(loss, tenfold.per_member(own), x, targets)
    stack.backward(losses)
    gradients = dict(stack.named_parameters())
    for i, model in enumerate(models):
        alone = loss(model, values[i], x, targets)
        alone.backward()
        assert losses[i].item() == pytest.approx(alone.item(), abs=1e-12)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name].grad[i], parameter.grad, rtol=0, atol=1e-12)
