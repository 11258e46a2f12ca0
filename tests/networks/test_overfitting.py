"""Every network can learn one batch by heart."""

import pytest
import torch

from tenfold.core.seeds import torch_seed
from tenfold.networks import NETWORKS
from tenfold.testing import network_job


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if NETWORKS[name].heavy else []) for name in NETWORKS]
)
def test_a_network_overfits_one_batch(name):
    job = network_job(name)
    [(*inputs, targets)] = job["batches"]
    with torch_seed(0):
        model = job["make_model"]()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.3 if name == "linear" else 0.01)
        for _ in range(100):
            optimizer.zero_grad()
            job["loss"](model, *inputs, targets).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        assert job["loss"](model, *inputs, targets).item() < 0.1
        assert torch.equal(model(*inputs).argmax(dim=1), targets)
