"""The promises, over every registered network."""

import pytest
import torch
import torch.nn.functional as F
from stacking_recipes import recipe

from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, build_network
from tenfold.testing import check_alone_or_together, check_leaving_is_free, check_plain_out, check_strangers

SLOW = {"resnet18"}


def over_networks():
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]


def job(name):
    entry = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    if "table" in entry.kinds:
        spec = InputSpec(kind="table", shape=(5,), cardinalities=(3, 4))
        codes = torch.stack([torch.randint(k, (8,), generator=generator) for k in spec.cardinalities], dim=1)
        inputs = (torch.randn(8, 5, generator=generator), codes)
    else:
        size = max(entry.min_image_size, 8)
        spec = InputSpec(kind="image", shape=(1, size, size))
        inputs = (torch.rand(4, 1, size, size, generator=generator),)
    targets = torch.randint(3, (len(inputs[0]),), generator=generator)
    return {
        "make_model": lambda: build_network(name, spec, 3),
        "batches": [(*inputs, targets)],
        "loss": lambda model, *batch: F.cross_entropy(model(*batch[:-1]), batch[-1]),
    }


@pytest.mark.parametrize("name", over_networks())
def test_every_network_trains_alone_as_together(name):
    steps = 4 if name in SLOW else 20
    check_alone_or_together(**job(name), optimizer=recipe("momentum", clip_norm=1.0), num_steps=steps, num_members=2)


@pytest.mark.parametrize("name", over_networks())
def test_every_network_keeps_strangers_apart(name):
    check_strangers(**job(name), optimizer=recipe("adamw", clip_norm=1.0), num_steps=2)


@pytest.mark.parametrize("name", over_networks())
def test_every_network_lets_members_leave_for_free(name):
    check_leaving_is_free(**job(name), optimizer=recipe("adamw"), num_steps=2, kept=[[2, 0]])


@pytest.mark.parametrize("name", over_networks())
def test_every_network_comes_out_plain(name):
    check_plain_out(**job(name))
