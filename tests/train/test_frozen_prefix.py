"""Frozen prefixes: found where they are, refused where features would not be a sample's own, put back bit for bit."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from train_kit import specs_of

from tenfold.train.frozen_prefix import Cut, Rest, find_prefix, split_off_prefix

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
PICTURES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def frozen(*layers):
    return nn.Sequential(*layers).requires_grad_(False)


def backbone():
    torch.manual_seed(7)
    return frozen(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4))


class Custom(nn.Module):
    """A backbone and a head, joined in a forward of its own."""

    def __init__(self, after=None):
        super().__init__()
        self.backbone, self.head = backbone(), nn.Linear(4, 2)
        self.after = after

    def forward(self, x):
        y = self.head(torch.tanh(self.backbone(x)))
        return y if self.after is None else self.after(y)


class Peeking(Custom):
    """The inputs reach the output on another way, too."""

    def forward(self, x):
        return super().forward(x) + x.sum(1, keepdim=True)


class Dropping(Custom):
    """Dropout as a function, between backbone and head."""

    def forward(self, x):
        return self.head(F.dropout(self.backbone(x), 0.5, self.training))


class Aliased(Custom):
    """The head under two names, as in `self.net = nn.Sequential(self.backbone, self.head)`."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(self.backbone, self.head)

    def forward(self, x):
        return self.net(x)


class Choosy(Custom):
    """A forward that fails when the head gives something else than outputs."""

    def forward(self, x):
        y = self.head(self.backbone(x))
        assert y.shape[-1] == 2
        return y


class Moody(Custom):
    """Another prefix in evaluation mode."""

    def forward(self, x):
        return self.head(self.backbone(x if self.training else x.clamp(-0.1, 0.1)))


class Rarely(nn.Module):
    """Draws, and hardly ever drops."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 4)

    def forward(self, x):
        y = self.layer(x)
        return y * (torch.rand(len(y), 1) > 1e-6) if self.training else y


def with_head_of_zeros():
    model = Custom(after=torch.tanh)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def resnet():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(1)
    model = torchvision.models.resnet18(num_classes=3).eval().requires_grad_(False)
    model.fc.requires_grad_(True)
    return model


def frozen_but_for(model, *names):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(names))
    return model


@pytest.mark.parametrize(
    ("model", "x", "cut"),
    [
        (nn.Sequential(backbone(), nn.Linear(4, 2)), X, Cut("1", None)),
        (nn.Sequential(backbone(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), X, Cut("", 1)),
        (nn.Sequential(backbone(), nn.Dropout(), nn.Linear(4, 2)), X, Cut("", 1)),
        (nn.Sequential(backbone(), nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(4, 2))), X, Cut("", 1)),
        (Custom(), X, Cut("head", None)),
        (nn.Sequential(nn.Linear(5, 5).requires_grad_(False), Custom()), X, Cut("1.head", None)),
        (frozen_but_for(nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 4), nn.Linear(4, 2)), "1"), X, Cut("", 1)),
        (resnet(), PICTURES, Cut("fc", None)),
    ],
)
def test_a_prefix_is_found_and_prefix_and_rest_are_the_whole(model, x, cut):
    prefix = find_prefix(model, [x])
    assert prefix is not None
    assert prefix.cut == cut
    rest = prefix.rest_of(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained <= {name for name, _ in rest.named_parameters()}
    with torch.no_grad():
        for parameter in rest.parameters():
            parameter.add_(1.0)
        whole = prefix.whole(rest).eval()
        assert type(whole) is type(model)
        assert list(whole.state_dict()) == list(model.state_dict())
        for name, value in rest.state_dict().items():
            assert torch.equal(whole.state_dict()[name], value)
        assert torch.allclose(whole(x), rest.eval()(prefix.features(x, batch_size=3)), atol=1e-5)
        assert not torch.allclose(whole(x), copy.deepcopy(model).eval()(x))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)),  # nothing is frozen
        frozen(nn.Linear(5, 4), nn.Linear(4, 2)),  # nothing is trained
        nn.Sequential(nn.Linear(5, 4), frozen(nn.Linear(4, 2))),  # what is frozen comes last
        nn.Sequential(nn.Tanh(), nn.Linear(5, 2)),  # nothing to save
        nn.Sequential(frozen(nn.Linear(5, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2)).train(),  # sees its batch
        nn.Sequential(frozen(nn.Linear(5, 4), nn.Dropout()), nn.Linear(4, 2)).train(),
        Custom(after=torch.tanh),  # what comes after the head would be lost
        Peeking(),
        Dropping(),
        Choosy(),
        Moody(),
        with_head_of_zeros(),
        nn.Sequential(Rarely().requires_grad_(False), nn.Linear(4, 2)),
    ],
)
def test_where_cutting_would_change_something_there_is_no_prefix(model):
    assert find_prefix(model, [X]) is None


def test_a_head_of_two_names_is_put_back_under_both():
    model = Aliased()
    prefix = find_prefix(model, [X])
    rest = prefix.rest_of(model)
    with torch.no_grad():
        for parameter in rest.parameters():
            parameter.add_(1.0)
    whole = prefix.whole(rest)
    assert whole.net[1] is whole.head
    torch.testing.assert_close(whole(X), rest(prefix.features(X)))


def test_members_whose_frozen_parts_differ_in_a_number_share_nothing():
    weights = backbone()

    def build(slope):
        return nn.Sequential(copy.deepcopy(weights[0]), nn.LeakyReLU(slope), nn.Linear(8, 2))

    assert split_off_prefix(specs_of([{"slope": 0.1}, {"slope": 0.1}], build), [X]) is not None
    assert split_off_prefix(specs_of([{"slope": 0.1}, {"slope": 0.3}], build), [X]) is None


def test_batch_norm_in_evaluation_mode_is_frozen_with_its_layer():
    body = frozen(nn.Linear(5, 4), nn.BatchNorm1d(4)).eval()
    assert find_prefix(nn.Sequential(body, nn.Linear(4, 2)), [X]) is not None


def test_members_keep_their_own_rests_and_what_their_recipes_say_of_them():
    def build():
        body = copy.deepcopy(SHARED)
        return nn.Sequential(body, nn.Linear(4, 4), nn.Linear(4, 2))

    specs = specs_of(
        [{"lr": lr, "freeze": ("0.*", "2.bias"), "lr_groups": {"0.*": 0.1, "1.*": 0.5}} for lr in (0.1, 0.2)], build
    )
    found = split_off_prefix(specs, [X])
    assert found is not None
    prefix, rests = found
    for spec, rest in zip(specs, rests, strict=True):
        assert rest.config.recipe == replace(spec.config.recipe, freeze=("2.bias",), lr_groups=(("1.*", 0.5),))
        assert rest.id == spec.id
        whole, again = prefix.whole(rest.make_model()), spec.make_model()
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    heads = [rest.make_model() for rest in rests]
    assert not torch.equal(next(heads[0].parameters()), next(heads[1].parameters()))
    assert heads[0] is not rests[0].make_model()


SHARED = backbone().requires_grad_(True)


def test_members_with_backbones_of_their_own_share_nothing():
    def build():
        return nn.Sequential(frozen(nn.Linear(5, 4)), nn.Linear(4, 2))

    assert split_off_prefix(specs_of([{}, {}], build), [X]) is None
    assert split_off_prefix(specs_of([{}], build), [X]) is not None


def test_a_shared_backbone_that_changes_between_two_builds_is_not_shared():
    shared = backbone()

    def build(scale):
        with torch.no_grad():
            next(shared.parameters()).mul_(scale)
        return nn.Sequential(shared, nn.Linear(4, 2))

    same = specs_of([{"scale": 1.0}, {"scale": 1.0}], build)
    assert split_off_prefix(same, [X]) is not None
    assert split_off_prefix(specs_of([{"scale": 1.0}, {"scale": 2.0}], build), [X]) is None


def test_members_of_another_build_share_nothing():
    built = iter([Custom(), Custom(), nn.Sequential(backbone(), nn.Tanh(), nn.Linear(4, 2))])
    specs = specs_of([{}, {}], lambda: next(built))
    assert split_off_prefix(specs, [X]) is None


def test_a_rest_has_the_names_that_it_has_in_the_whole():
    rest = Rest("a.b", nn.Linear(4, 2))
    assert [name for name, _ in rest.named_parameters()] == ["a.b.weight", "a.b.bias"]
    assert rest(torch.zeros(3, 4)).shape == (3, 2)


class Counted(nn.Linear):
    """A layer that counts how often any copy of it runs."""

    runs = 0

    def forward(self, x):
        Counted.runs += 1
        return super().forward(x)


def test_cuts_behind_something_random_cost_one_run_together(monkeypatch):
    monkeypatch.setattr(Counted, "runs", 0)
    head = nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.2), nn.Dropout(0.3), nn.Linear(4, 2))
    prefix = find_prefix(nn.Sequential(frozen(Counted(5, 4)), head), [X])
    assert prefix.cut == Cut("1", None)
    assert Counted.runs <= 7  # the one, and those of the cut that is taken


def test_finding_a_prefix_leaves_the_model_its_numbers_and_its_state_of_random_numbers():
    model = nn.Sequential(frozen(nn.Linear(5, 4)), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    find_prefix(model, [X])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class Wearing(nn.Linear):
    """A frozen layer that changes its weights whenever it runs."""

    def forward(self, x):
        with torch.no_grad():
            self.weight += 0.0
        return super().forward(x)


def test_a_frozen_layer_that_writes_into_its_weights_is_not_shared():
    assert find_prefix(nn.Sequential(frozen(Wearing(5, 4)), nn.Linear(4, 2)), [X]) is None
