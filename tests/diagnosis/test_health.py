"""What was planted is found, and healthy networks are left in peace."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from sklearn.datasets import load_digits
from torch import nn

from tenfold.core.errors import InputError
from tenfold.diagnosis import find, watch

PIXELS, LABELS = load_digits(return_X_y=True)
X = (torch.tensor(PIXELS, dtype=torch.float32).view(-1, 1, 8, 8) / 16 - 0.3) / 0.38
Y = torch.tensor(LABELS)


def batches(count=3, size=32, side=8, channels=1):
    x = X if side == 8 else F.interpolate(X[: count * size], size=(side, side))
    return [
        (x[i * size : (i + 1) * size].expand(-1, channels, -1, -1), Y[i * size : (i + 1) * size])
        for i in range(count)
    ]


def findings(model, given=None, **options):
    return find(watch(model, batches() if given is None else given, F.cross_entropy, **options))


def kinds(found):
    return {finding.kind for finding in found}


def mlp(depth, width=64, activation=nn.ReLU, norm=False):
    layers, size = [nn.Flatten()], 64
    for _ in range(depth):
        layers += [nn.Linear(size, width), *([nn.BatchNorm1d(width)] if norm else []), activation()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions with batch norm, functions for activations; with a way around them or without."""

    def __init__(self, residual):
        super().__init__()
        self.residual = residual
        self.first, self.second = (nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(2))

    def forward(self, x):
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + x if self.residual else y)


def forty_layers(residual):
    blocks = [Block(residual) for _ in range(19)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), *blocks, *head)


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 32, 2, batch_first=True)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.lstm(x[:, 0])[0][:, -1])


class Named(nn.Module):
    def forward(self, x):
        return {"logits": x}


class Overwriting(nn.Module):
    def forward(self, x):
        y = x.exp()
        x = y * y
        y.add_(1)
        return x


def small_vit():
    return torchvision.models.VisionTransformer(
        image_size=8, patch_size=2, num_layers=4, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10
    )


# -- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("make", "side", "channels"),
    [
        (lambda: mlp(3, 128), 8, 1),
        (lambda: mlp(3, 128, nn.Tanh), 8, 1),
        (lambda: mlp(4, norm=True), 8, 1),
        (lenet, 28, 1),
        (small_vit, 8, 3),
        (Rows, 8, 1),
        (lambda: forty_layers(True), 8, 1),
        pytest.param(lambda: torchvision.models.resnet50(num_classes=10), 32, 3, marks=pytest.mark.slow),
        (lambda: torchvision.models.resnet18(num_classes=10), 32, 3),
    ],
    ids=["mlp", "tanh", "batch norm", "lenet", "vit", "lstm", "forty residual layers", "resnet50", "resnet18"],
)
def test_healthy_networks_are_left_in_peace(make, side, channels, seed):
    if seed and (channels, side) == (3, 32):
        pytest.skip("a large network is looked at once")
    torch.manual_seed(seed)
    assert findings(make(), batches(2, side=side, channels=channels)) == ()


# -- what was planted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_thirty_sigmoid_layers_vanish(seed):
    torch.manual_seed(seed)
    [finding] = findings(mlp(30, activation=nn.Sigmoid))
    assert finding.kind == "vanishing"
    assert finding.value < 0.25**20  # the slope of a sigmoid is at most 1/4
    assert "of 31 layers" in finding.says
    assert "sigmoids, whose slope is at most 1/4" in finding.cause


@pytest.mark.parametrize("depth", [6, 20])
def test_weights_of_a_wrong_size_explode(depth):
    torch.manual_seed(0)
    model = mlp(depth)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    found = findings(model)
    assert kinds(found) == {"exploding"}
    factor = math.sqrt(64 / 2)  # He et al. 2015: half of 64 inputs of variance 1 pass a ReLU
    assert found[0].value ** (1 / depth) == pytest.approx(factor, rel=0.3)
    assert "initial weights too large" in found[0].cause


def test_forty_plain_layers_degrade_where_their_residual_twin_does_not():
    torch.manual_seed(0)
    [finding] = findings(forty_layers(False))
    assert finding.kind == "exploding"
    assert "plain networks degrade" in finding.cause
    assert "residual connections" in finding.remedy
    torch.manual_seed(0)
    assert findings(forty_layers(True)) == ()


def test_dead_units_are_counted_at_the_function_that_they_die_in():
    torch.manual_seed(0)
    model = mlp(3)
    with torch.no_grad():
        model[3].bias[:40] = -30.0
    [finding] = findings(model)
    assert finding.kind == "dead"
    assert finding.layers == ("4",)
    assert 40 <= round(64 * finding.value) < 50
    assert finding.says == f"4: {64 * finding.value:.0f} of 64 ReLU units were active for none of 96 samples."


def test_dead_channels_of_functions_in_forward_are_found_and_nothing_is_called_vanishing():
    torch.manual_seed(0)
    model = forty_layers(True)
    nn.init.constant_(model[4].norms[0].bias, -9.0)
    dead, unreached = findings(model)
    assert (dead.kind, dead.layers) == ("dead", ("4",))
    assert "16 of 16" in dead.says
    assert (unreached.kind, unreached.layers) == ("unreached", ("4.first", "4.second"))
    assert "meet units that are all dead" in unreached.cause


def test_saturated_tanh_is_found_and_that_of_an_output_is_not():
    torch.manual_seed(0)
    model = mlp(3, activation=nn.Tanh)
    with torch.no_grad():
        model[3].weight.mul_(100)
    [finding] = [f for f in findings(model) if f.kind == "saturated"]
    assert finding.layers == ("4",)
    assert finding.value > 0.7
    sure = nn.Sequential(*mlp(1), nn.Sigmoid())
    with torch.no_grad():
        sure[3].weight.mul_(1000)
    assert "saturated" not in kinds(find(watch(sure, batches(), F.cross_entropy)))


def test_a_frozen_layer_and_one_without_a_gradient_are_told_apart():
    torch.manual_seed(0)

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
            self.unused = nn.Linear(3, 3)

        def forward(self, x):
            x = F.relu(self.first(x.flatten(1))).detach()
            return self.third(F.relu(self.second(x)))

    model = Cut()
    model.second.requires_grad_(False)
    frozen, unreached = findings(model)
    assert (frozen.kind, frozen.layers) == ("frozen", ("second",))
    assert (unreached.kind, unreached.layers) == ("unreached", ("first", "unused"))


@pytest.mark.parametrize("make", [nn.Flatten, lambda: mlp(2).requires_grad_(False)], ids=["none", "all frozen"])
def test_a_network_without_a_parameter_that_may_learn_is_said_to_be_so(make):
    [finding] = findings(make())
    assert finding.kind == "frozen"
    assert finding.says == "Nothing can be trained: the network has no parameter that may learn."


@pytest.mark.parametrize(("rate", "kind"), [(10.0, "large updates"), (1e-12, "small updates")])
def test_steps_that_are_too_large_or_too_small_are_found(rate, kind):
    torch.manual_seed(0)
    found = findings(mlp(2), batches(2), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate))
    assert kind in kinds(found)
    assert "SGD at" in str(found[-1])


def test_a_loss_that_is_not_finite_is_blamed_on_the_first_layer_that_is_not():
    model = mlp(2)
    with torch.no_grad():
        model[3].weight[0, 0] = torch.inf
    finding = findings(model)[0]
    assert finding.kind == "not finite"
    assert finding.layers == ("3",)
    assert finding.to_json()["value"] is None


# -- what was seen ---------------------------------------------------------------------------------------------------


def test_norms_are_those_of_a_pass_by_hand():
    torch.manual_seed(0)
    model = mlp(1)
    [(x, y)] = batches(1)
    health = watch(model, [(x, y)], F.cross_entropy, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    hidden = model[1](x.flatten(1)).detach().requires_grad_()
    loss = F.cross_entropy(model[3](hidden.relu()), y)
    loss.backward()
    first, last = health.layers
    assert health.losses == [pytest.approx(loss.item())]
    assert first.gradients == [pytest.approx(hidden.grad.norm(dim=1).square().mean().sqrt().item(), rel=1e-4)]
    assert first.signals == [pytest.approx(hidden.square().mean().sqrt().item(), rel=1e-4)]
    both = math.hypot(model[3].weight.grad.norm(), model[3].bias.grad.norm())
    assert last.weight_gradients == [pytest.approx(both, rel=1e-4)]
    ratio = 0.5 * model[3].weight.grad.norm() / model[3].weight.norm()
    assert last.updates == [pytest.approx(ratio.item(), rel=1e-3)]


def test_the_network_itself_stays_as_it_is():
    model = lenet().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    watch(model, batches(2, side=28), F.cross_entropy)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: watch(mlp(1), [], F.cross_entropy), InputError, "at least one batch, got none"),
        (lambda: watch(mlp(1), batches(1), F.cross_entropy, steps=0), ValueError, "steps must be at least 1, got 0"),
        (
            lambda: watch(mlp(1), batches(1), lambda out, y: F.cross_entropy(out, y, reduction="none")),
            InputError,
            r"the loss must be one real number, a mean over the batch, got \(32,\)",
        ),
        (lambda: watch(mlp(1), batches(1), lambda out, y: 3.0), InputError, "must be one real number.*got float"),
        (
            lambda: watch(mlp(1), batches(1), lambda out, y: out.sum().to(torch.complex64)),
            InputError,
            r"must be one real number, a mean over the batch, got \(\) of complex numbers",
        ),
        (
            lambda: watch(mlp(1), [(torch.zeros(4, 3), torch.zeros(4).long())], F.cross_entropy),
            InputError,
            r"the network cannot be trained on inputs \(4, 3\) \(RuntimeError: .*Give it what it is made for",
        ),
        (
            lambda: watch(mlp(1), [(X[:4], torch.full((4,), 10))], F.cross_entropy),
            InputError,
            r"the loss fails on outputs and targets \(4, 10\), \(4,\) \(IndexError: Target 10 is out of bounds\)",
        ),
        (
            lambda: watch(nn.Sequential(mlp(1), Named()), batches(1), F.cross_entropy),
            InputError,
            r"the loss fails on outputs and targets a dict of \(32, 10\), \(32,\) \(TypeError: ",
        ),
        (
            lambda: watch(nn.Sequential(mlp(1), Overwriting()), batches(1), F.cross_entropy),
            InputError,
            r"the backward pass fails after inputs \(32, 1, 8, 8\) .*Look for what is changed in place",
        ),
    ],
)
def test_a_wrong_call_is_answered_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message):
        call()
