"""Every network, stacked by torch.func alone, gives each member the losses and gradients it has alone."""

import pytest
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, build_network

TABLE = InputSpec(kind="table", shape=(3,), cardinalities=(4, 6))
NUMBERS = InputSpec(kind="table", shape=(5,))
CODES = InputSpec(kind="table", shape=(0,), cardinalities=(3,))
SMALL = InputSpec(kind="image", shape=(1, 8, 8))
SCENE = InputSpec(kind="image", shape=(2, 16, 19), dense=True)
COLOUR = InputSpec(kind="image", shape=(3, 12, 9))
NUM_CLASSES = 3
CASES = [
    ("linear", TABLE, {}),
    ("linear", COLOUR, {}),
    ("mlp", TABLE, {"hidden": 8}),
    ("mlp", CODES, {"hidden": 8, "depth": 1}),
    ("mlp", NUMBERS, {"hidden": 8, "depth": 3, "norm": "batch"}),
    ("mlp", SMALL, {"hidden": 8, "norm": "layer", "activation": "gelu"}),
    ("mlp", NUMBERS, {"hidden": 8, "depth": 4, "norm": "batch", "residual": True}),
    ("mlp", TABLE, {"hidden": 8, "activation": "maxout", "norm": "layer", "residual": True}),
    ("tabm", TABLE, {"hidden": 8, "num_predictions": 3, "drop_prob": 0.0}),
    ("tabm", SMALL, {"hidden": 8, "num_predictions": 2, "depth": 1, "drop_prob": 0.0}),
    ("realmlp", TABLE, {"hidden": 8, "drop_prob": 0.0}),
    ("realmlp", CODES, {"hidden": 8, "depth": 1, "drop_prob": 0.0, "activation": "relu"}),
    ("rnn", SMALL, {"hidden": 8}),
    ("lstm", TABLE, {"hidden": 8}),
    ("lstm", COLOUR, {"hidden": 6, "depth": 2, "bidirectional": True}),
    ("gru", NUMBERS, {"hidden": 8, "depth": 2}),
    ("transformer", SMALL, {"embed_dim": 8, "num_heads": 2}),
    ("transformer", COLOUR, {"embed_dim": 8, "num_heads": 2, "depth": 1, "tokens": "rows"}),
    ("lenet", SMALL, {}),
    ("lenet", COLOUR, {"norm": "batch", "width": 0.5}),
    ("lenet", SMALL, {"pool": "average", "activation": "tanh"}),
    ("resnet18", SMALL, {}),
    ("unet", SCENE, {"width": 4, "depth": 2}),
    ("unet", SCENE, {"width": 4, "depth": 3, "norm": "none"}),
]
NAMED = {name for name, _, _ in CASES}
CASES += [
    (name, TABLE if "table" in NETWORKS[name].kinds else SMALL, dict(NETWORKS[name].small))
    for name in NETWORKS
    if name not in NAMED and not NETWORKS[name].heavy  # those are held by test_image_networks.py
]
# torch.func alone lacks what these need; the suite of the stack holds them to more
FOR_FUNC = [case for case in CASES if case[0] not in ("rnn", "lstm", "gru", "transformer")]


def of_each(spec):
    """The axes of one sample's targets."""
    return spec.shape[1:] if spec.dense else ()


def make_batch(spec, size=5):
    source = torch.Generator().manual_seed(1)
    x = torch.randn(size, *spec.shape, generator=source, dtype=torch.float64)
    columns = [torch.randint(count, (size,), generator=source) for count in spec.cardinalities]
    inputs = (x, torch.stack(columns, dim=1)) if columns else (x,)
    return inputs, torch.randint(NUM_CLASSES, (size, *of_each(spec)), generator=source)


def make_members(name, spec, config, count):
    members = []
    for seed in range(count):
        with torch_seed(seed):
            members.append(build_network(name, spec, NUM_CLASSES, **config).double().train())
    return members


def step_together(members, inputs, targets):
    """Losses, gradients and buffers of all members in one vmapped call."""
    params, buffers = stack_module_state(members)

    def loss(params, buffers):
        return F.cross_entropy(functional_call(members[0], (params, buffers), inputs), targets)

    gradients, losses = vmap(grad_and_value(loss))(params, buffers)
    return losses, gradients, buffers


@pytest.mark.parametrize(("name", "spec", "config"), FOR_FUNC)
def test_members_stacked_have_the_gradients_and_buffers_they_have_alone(name, spec, config):
    members = make_members(name, spec, config, count=2 if NETWORKS[name].heavy else 4)
    inputs, targets = make_batch(spec)
    losses, gradients, buffers = step_together(members, inputs, targets)
    for index, member in enumerate(members):
        loss = F.cross_entropy(member(*inputs), targets)
        loss.backward()
        assert torch.allclose(losses[index], loss, rtol=0, atol=1e-10)
        for key, parameter in member.named_parameters():
            assert torch.allclose(gradients[key][index], parameter.grad, rtol=0, atol=1e-10), key
        for key, buffer in member.named_buffers():
            assert torch.allclose(buffers[key][index], buffer, rtol=0, atol=1e-10), key


@pytest.mark.parametrize(("name", "spec", "config"), CASES)
def test_gradients_reach_every_parameter(name, spec, config):
    [member] = make_members(name, spec, config, count=1)
    inputs, targets = make_batch(spec, size=32)
    F.cross_entropy(member(*inputs), targets).backward()
    dead = [key for key, parameter in member.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert dead == []


@pytest.mark.parametrize(("name", "spec", "config"), FOR_FUNC)
def test_evaluation_is_the_same_stacked_and_alone(name, spec, config):
    members = [member.eval() for member in make_members(name, spec, config, count=2)]
    inputs, _ = make_batch(spec)
    with torch.no_grad():
        outputs = vmap(lambda *state: functional_call(members[0], state, inputs))(*stack_module_state(members))
        for index, member in enumerate(members):
            alone = member(*inputs)
            assert alone.shape == (5, NUM_CLASSES, *of_each(spec))
            assert torch.allclose(outputs[index], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "spec", "config"), CASES)
def test_layers_lie_in_containers_that_pytorch_sees(name, spec, config):
    [member] = make_members(name, spec, config, count=1)
    for module in member.modules():
        for attribute, value in vars(module).items():
            if attribute == "_flat_weights":  # of torch's recurrent layers, whose rule looks the parameters up
                continue
            if isinstance(value, list | tuple) or (isinstance(value, dict) and not attribute.startswith("_")):
                items = value.values() if isinstance(value, dict) else value
                assert not any(isinstance(item, torch.nn.Module | torch.Tensor) for item in items), attribute
