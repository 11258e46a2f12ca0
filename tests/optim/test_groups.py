"""Parameters cut into groups: what decays, what has options of its own."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import SGD, decay_groups, groups_by_pattern

M = 3


class Net(nn.Module):
    """Layers, norms of several kinds (one over pictures, with parameters of three dimensions), a lone scalar."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm((2, 4, 4)))
        self.norms = nn.ModuleList([nn.GroupNorm(2, 2), nn.InstanceNorm2d(2, affine=True), nn.RMSNorm((2, 4))])
        self.head = nn.Linear(32, 3)
        self.scale = nn.Parameter(torch.ones(()))


DECAY = {"backbone.0.weight", "head.weight"}


def make():
    return tenfold.stack([Net() for _ in range(M)])


def names_of(stack, group):
    names = {id(parameter): name for name, parameter in stack.named_parameters()}
    return {names[id(parameter)] for parameter in group["params"]}


def test_biases_norms_and_scalars_do_not_decay():
    stack = make()
    decayed, spared = decay_groups(stack, [0.0, 0.1, 0.2], l1=0.3)
    assert (decayed["weight_decay"], decayed["l1"]) == ([0.0, 0.1, 0.2], 0.3)
    assert (spared["weight_decay"], spared["l1"]) == (0.0, 0.0)
    assert names_of(stack, decayed) == DECAY
    assert names_of(stack, spared) == {name for name, _ in stack.named_parameters()} - DECAY
    before = {name: parameter.detach().clone() for name, parameter in stack.named_parameters()}
    optimizer = SGD(decay_groups(stack, [0.0, 0.1, 0.2]), lr=1.0)
    for parameter in stack.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in stack.named_parameters():
        for i, decay in enumerate([0.0, 0.1, 0.2] if name in DECAY else [0.0] * M):
            torch.testing.assert_close(parameter[i], before[name][i] * (1.0 - decay))


def test_frozen_parameters_are_in_no_group():
    stack = make()
    for name, parameter in stack.named_parameters():
        parameter.requires_grad_(not name.startswith("backbone"))
    groups = decay_groups(stack, 0.1)
    assert [sorted(names_of(stack, group))[0] for group in groups] == ["head.weight", "head.bias"]
    assert not any(name.startswith("backbone") for group in groups for name in names_of(stack, group))
    (only,) = groups_by_pattern(stack, {"backbone.*": {"lr": 0.1}, "*": {"lr": 0.2}})
    assert only["lr"] == 0.2
    assert names_of(stack, only) == {name for name, p in stack.named_parameters() if p.requires_grad}


def test_the_first_pattern_that_matches_has_a_parameter():
    stack = make()
    rates = {"*.bias": {"lr": 0.1}, "backbone.*": {"lr": [0.2, 0.3, 0.4], "momentum": 0.9}, "*": {}}
    groups = groups_by_pattern(stack, rates)
    assert [names_of(stack, group) for group in groups] == [
        {name for name, _ in stack.named_parameters() if name.endswith(".bias")},
        {"backbone.0.weight", "backbone.1.weight", "backbone.2.weight"},
        {"norms.0.weight", "norms.1.weight", "norms.2.weight", "head.weight", "scale"},
    ]
    optimizer = SGD(groups, lr=0.5)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.0, 0.9, 0.0]
    assert optimizer.param_groups[1]["lr"].tolist() == [0.2, 0.3, 0.4]


def test_groups_of_patterns_are_cut_by_decay_and_keep_their_options():
    stack = make()
    groups = groups_by_pattern(stack, {"head.*": {"lr": 0.1, "weight_decay": 0.7}, "*": {"lr": 0.2}})
    cut = decay_groups(stack, 0.01, groups=groups)
    assert [(g["lr"], g["weight_decay"]) for g in cut] == [(0.1, 0.7), (0.1, 0.0), (0.2, 0.01), (0.2, 0.0)]
    assert [names_of(stack, g) for g in cut[:3]] == [{"head.weight"}, {"head.bias"}, {"backbone.0.weight"}]


def test_a_parameter_that_no_pattern_matches_is_refused():
    stack = make()
    with pytest.raises(
        ValueError,
        match=r"groups_by_pattern: patterns must match every parameter, got none for 'head.weight'. "
        r"Did you mean 'head.weigth'\? A last pattern '\*' takes the rest.",
    ):
        groups_by_pattern(stack, {"head.weigth": {}, "backbone.*": {}, "norms.*": {}, "scale": {}})


def test_a_pattern_that_matches_nothing_is_refused():
    stack = make()
    with pytest.raises(
        ValueError,
        match=r"groups_by_pattern: pattern 'haed.weight' matches no parameter. Did you mean 'head.weight'\?",
    ):
        groups_by_pattern(stack, {"haed.weight": {}, "*": {}})
    with pytest.raises(
        ValueError,
        match=r"pattern 'head.\*' has no parameter left, the first to match 'head.weight' is '\*'. "
        r"Put 'head.\*' before it",
    ):
        groups_by_pattern(stack, {"*": {}, "head.*": {}})
