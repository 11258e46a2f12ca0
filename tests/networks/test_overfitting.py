"""Every network can learn one batch by heart: random pixels or numbers, random targets."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from tenfold.core.seeds import torch_seed
from tenfold.networks import NETWORKS, network_settings
from tenfold.testing import network_job

STEPS, LOSS = 400, 0.1  # the loss of even odds for three classes is 1.1
# Wider than for other checks: a unit or two a layer cannot hold random pixels.
WIDER = {"unet": 8, "alexnet": 1 / 8, "nin": 1 / 8} | {f"vgg{depth}": 1 / 4 for depth in (11, 13, 16, 19)}
# AdamW's rate and the norm at which gradients are clipped, where 0.002 and 1 do not do
RATES = {"linear": (0.3, 1.0), "resnet101": (0.003, math.inf)}


def without_regularisation(name):
    """Settings that drop nothing: what is asked is whether the network can learn, not whether it should."""
    off = {key: 0.0 for key in network_settings(name) if key.startswith("drop") or key == "stochastic_depth"}
    return off | ({"width": WIDER[name]} if name in WIDER else {})


def loss_and_hits(job, model, inputs, targets):
    model.eval()
    with torch.no_grad():
        loss = job["loss"](model, *inputs, targets).item()
        hits = (model(*inputs).argmax(dim=1) == targets).double().mean().item()
    model.train()
    return loss, hits


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if NETWORKS[name].heavy else []) for name in NETWORKS]
)
def test_a_network_overfits_one_batch(name):
    job = network_job(name)
    [(*inputs, targets)] = job["batches"]
    with torch_seed(0):
        model = partial(job["make_model"], **without_regularisation(name))()
        lr, clip = RATES.get(name, (0.002, 1.0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        # it falls over the last quarter, so that the running averages of batch norms come to rest
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 4 * (1 - step / STEPS)))
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            job["loss"](model, *inputs, targets).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            schedule.step()
            if step % 20 == 0:
                loss, hits = loss_and_hits(job, model, inputs, targets)
                if loss < LOSS and hits == 1:
                    break
    assert (loss < LOSS, hits) == (True, 1.0), f"after {step} steps: loss {loss:.3g}, {hits:.0%} right"
