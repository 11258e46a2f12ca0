"""The task on small maps; losses are held against torch's and against sums written out by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.task import MemberView
from tenfold.nn import cross_entropy, dice_loss
from tenfold.stacking import stack
from tenfold.tasks import OwnMetric, Segmentation, balanced_class_weights, metric_of

K = 4
NAMES = ("sky", "road", "tree", "car")


def maps(seed=0, pictures=3, size=(5, 7)):
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(pictures, K, *size, generator=source, dtype=torch.float64)
    targets = torch.randint(K, (pictures, *size), generator=source).to(torch.uint8)
    targets[torch.rand(targets.shape, generator=source) < 0.2] = 255
    return logits, targets


def member(**values):
    return MemberView(streams=None, values={name: torch.tensor(value) for name, value in values.items()})


def loss_of(loss, logits, targets, class_weights=None, **values):
    task = Segmentation(NAMES, loss=loss, class_weights=class_weights)
    return task.loss(nn.Identity(), (logits, targets), member(**{**task.info.values, **values}))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.0, 0.5])])
def test_cross_entropy_is_torchs_with_its_ignored_index(weights):
    logits, targets = maps()
    expected = F.cross_entropy(
        logits, targets.long(), weight=None if weights is None else weights.double(), ignore_index=255
    )
    assert torch.allclose(loss_of("cross_entropy", logits, targets, weights), expected, rtol=1e-12)


def test_focal_loss_is_its_formula_over_labelled_pixels():
    logits, targets = maps()
    labelled = targets != 255
    p = logits.softmax(dim=1).movedim(1, -1)[labelled].gather(1, targets[labelled].long()[:, None])
    expected = (-((1 - p) ** 1.5) * p.log()).mean()
    assert torch.allclose(loss_of("focal", logits, targets, focal_gamma=1.5), expected, rtol=1e-12)


def test_dice_is_its_formula_over_the_classes():
    logits, targets = maps(pictures=2)
    labelled = (targets != 255).double()
    p = logits.softmax(dim=1)
    missed = []
    for k in range(K):
        t = (targets == k).double()
        said = p[:, k] * labelled
        missed.append(1 - (2 * (said * t).sum() + 1) / (said.sum() + t.sum() + 1))
    assert torch.allclose(loss_of("dice", logits, targets), torch.stack(missed).mean(), rtol=1e-12)


def test_a_loss_of_ones_own_gets_logits_and_targets():
    logits, targets = maps()

    def squares(logits, targets):
        return (logits**2).mean() + (targets == 255).double().mean()

    expected = (logits**2).mean() + (targets == 255).double().mean()
    assert torch.equal(loss_of(squares, logits, targets), expected)


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
def test_nothing_labelled_is_a_loss_of_zero_that_moves_nothing(loss):
    network = nn.Conv2d(2, K, 1)
    batch = (torch.randn(2, 2, 4, 4), torch.full((2, 4, 4), 255, dtype=torch.uint8))
    task = Segmentation(NAMES, loss=loss)
    value = task.loss(network, batch, member(**task.info.values))
    value.backward()
    assert value.item() == 0
    assert all(parameter.grad.abs().sum() == 0 for parameter in network.parameters())


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
def test_what_is_not_labelled_changes_no_loss_and_no_gradient(loss):
    task, (_, targets) = Segmentation(NAMES, loss=loss), maps()
    x = torch.randn(3, 2, 5, 7)
    other = torch.where((targets == 255)[:, None], 100.0, x)
    values = []
    for picture in (x, other):
        network = nn.Conv2d(2, K, 1)
        nn.init.constant_(network.weight, 0.3)
        nn.init.ones_(network.bias)
        value = task.loss(network, (picture, targets), member(**task.info.values))
        value.backward()
        values.append(torch.cat([value.detach()[None], network.weight.grad.flatten(), network.bias.grad]))
    assert torch.allclose(*values, atol=1e-6)


def test_a_class_masked_by_an_infinite_logit_leaves_the_loss_finite_where_it_is_not_the_target():
    logits, targets = maps()
    targets[targets == 0] = 255
    logits[:, 0] = -torch.inf
    logits.requires_grad_()
    for loss in ("cross_entropy", "focal", "dice"):
        assert loss_of(loss, logits, targets).isfinite(), loss


def test_the_sum_weighs_dice_by_a_value_a_member():
    network, (_, targets) = nn.Conv2d(2, K, 1), maps()
    x = torch.randn(3, 2, 5, 7)
    task = Segmentation(NAMES, loss="cross_entropy_dice")
    logits = network(x)
    places = targets.long()
    expected = cross_entropy(logits, places, ignore_index=255) + 0.25 * dice_loss(logits, places, ignore_index=255)
    assert torch.allclose(task.loss(network, (x, targets), member(dice_weight=0.25)), expected)


def test_class_weights_are_raised_to_a_members_power():
    weights = torch.tensor([1.0, 4.0, 2.0, 9.0])
    task = Segmentation(NAMES, class_weights=weights)
    network, (_, targets) = nn.Conv2d(2, K, 1), maps()
    x = torch.randn(3, 2, 5, 7)
    expected = F.cross_entropy(network(x), targets.long(), weight=weights.sqrt(), ignore_index=255)
    assert torch.allclose(task.loss(network, (x, targets), member(class_weight_power=0.5)), expected)


def test_balanced_weights_of_labelled_pixels_let_classes_count_alike():
    targets = torch.tensor([0, 0, 0, 1])
    assert balanced_class_weights(targets, 2).tolist() == pytest.approx([4 / 6, 2.0])


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
def test_members_of_a_stack_have_the_losses_and_counts_that_they_have_alone(loss):
    torch.manual_seed(0)
    networks = [nn.Conv2d(2, K, 3, padding=1) for _ in range(3)]
    task = Segmentation(NAMES, loss=loss, class_weights=None if loss == "dice" else torch.tensor([1.0, 2, 3, 4]))
    batch = (torch.randn(3, 2, 5, 7), maps()[1])
    view = member(**task.info.values)
    together = stack(networks, form="stacked")
    losses = together.each(lambda model, *batch: task.loss(model, batch, view), *batch)
    counts = together.each(lambda model, *batch: task.predict(model, batch), *batch)
    for place, network in enumerate(networks):
        assert torch.allclose(losses[place], task.loss(network, batch, view), rtol=1e-5)
        assert torch.equal(counts[place], task.predict(network, batch))


def test_a_nan_in_one_picture_takes_that_members_scores_and_no_others():
    task = Segmentation(NAMES)
    logits, targets = maps()
    broken = logits.clone()
    broken[1, 2, 0, 0] = torch.nan
    counts = [task.predict(nn.Identity(), (values, targets)) for values in (logits, broken)]
    found = task.evaluate([torch.stack(counts)], [(logits, targets)])
    for value in found.values():
        assert value[1].isnan()
    assert found["miou"][0].isfinite()


def test_metrics_over_several_batches_are_those_of_one():
    task = Segmentation(NAMES)
    logits, targets = maps(pictures=5)
    whole = task.evaluate([task.predict(nn.Identity(), (logits, targets))[None]], [(logits, targets)])
    batches = list(zip(logits.split(2), targets.split(2), strict=True))
    parts = task.evaluate([task.predict(nn.Identity(), batch)[None] for batch in batches], batches)
    assert {name: value.item() for name, value in whole.items()} == {name: v.item() for name, v in parts.items()}


def test_a_metric_of_ones_own_gets_the_numbers_of_pixels():
    def lost_cars(truth, said):
        return float(np.abs(truth[:, 3] - said[:, 3]).mean())

    own = OwnMetric(function=lost_cars, name="lost_cars", direction="minimize")
    task = Segmentation(NAMES, metrics=["miou", own])
    logits, targets = maps()
    found = task.evaluate([task.predict(nn.Identity(), (logits, targets))[None]], [(logits, targets)])
    said = (logits.argmax(dim=1) == 3) & (targets != 255)
    expected = ((targets == 3).sum((1, 2)) - said.sum((1, 2))).abs().double().mean()
    assert found["lost_cars"].tolist() == [expected.item()]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Segmentation(("sky",)), ValueError, "class_names must be at least two different names"),
        (lambda: Segmentation(("sky", "sky")), ValueError, "class_names must be at least two different names"),
        (
            lambda: Segmentation(NAMES, loss="dise"),
            InputError,
            "unknown segmentation loss 'dise'. Did you mean 'dice'",
        ),
        (lambda: Segmentation(NAMES, metrics=["mio"]), InputError, "unknown metric 'mio' .* Did you mean 'miou'"),
        (
            lambda: Segmentation(NAMES, metrics=["iou_rod"]),
            InputError,
            "unknown metric 'iou_rod' for segmentation. Did you mean 'iou_road'",
        ),
        (
            lambda: Segmentation(NAMES, loss="dice", class_weights=torch.ones(K)),
            InputError,
            "loss 'dice': classes count alike in it, got class weights",
        ),
        (
            lambda: Segmentation(NAMES, class_weights=torch.ones(3)),
            ValueError,
            r"Segmentation: class_weights must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: Segmentation(NAMES, loss=F.cross_entropy, class_weights=torch.ones(K)),
            ValueError,
            "Segmentation: class_weights go with a loss by name, got a function",
        ),
        (
            lambda: Segmentation(NAMES).predict(nn.Conv2d(2, 3, 1), (torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4))),
            ValueError,
            r"must return logits of shape \(1, 4, 4, 4\) .* got \(1, 3, 4, 4\)",
        ),
        (
            lambda: metric_of(Segmentation(NAMES), "accuracy"),
            InputError,
            "unknown metric 'accuracy' for segmentation",
        ),
    ],
)
def test_a_wrong_call_of_the_task_is_answered_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message):
        call()
