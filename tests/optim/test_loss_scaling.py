"""Loss scaling against torch.amp.GradScaler, one for each member."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import SGD, Adam, LossScaler, clip_grad_norm_

M, STEPS = 3, 24
LR = [0.1, 0.02, 0.05]
NAN, INF = float("nan"), float("inf")
POISONS = {(0, 0): INF, (0, 1): NAN, (1, 0): -INF, (7, 0): INF, (7, 1): INF, (7, 2): NAN, (12, 2): INF, (13, 2): INF}


def make_models():
    torch.manual_seed(0)
    return [nn.Linear(3, 4) for _ in range(M)]


def make(**options):
    stack = tenfold.stack(make_models())
    return stack, LossScaler(stack, **options)


def gradient(step, member, shape):
    """A fabricated gradient, without a scale, and with a planted infinity or NaN here and there."""
    generator = torch.Generator().manual_seed(1000 * step + member)
    drawn = torch.randn(shape, generator=generator)
    if (step, member) in POISONS:
        drawn.view(-1)[2] = POISONS[step, member]
    return drawn


OPTIONS = {
    "as it comes": {},
    "quick": {"init_scale": 8.0, "growth_interval": 3},
    "all a member": {
        "init_scale": [1.0, 1000.0, 3e38],
        "growth_factor": [3.0, 2.0, 1.5],
        "backoff_factor": [0.3, 0.5, 0.9],
        "growth_interval": [1, 2, 4],
    },
}
KINDS = {
    "sgd": (SGD, torch.optim.SGD, {"momentum": 0.9}),
    "adam": (Adam, torch.optim.Adam, {"amsgrad": True}),
}


@pytest.mark.filterwarnings("ignore:torch.cuda.amp")
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unscales", [False, True], ids=["at the step", "before clipping"])
def test_scales_and_steps_are_those_of_torch(name, kind, unscales):
    (stacked, plain, optimizer_options), options = KINDS[kind], OPTIONS[name]
    stack, scaler = make(**options)
    optimizer = stacked(stack.parameters(), lr=LR, **optimizer_options)
    models = make_models()
    plains = [plain(model.parameters(), lr=LR[i], **optimizer_options) for i, model in enumerate(models)]
    own = [{key: value[i] if isinstance(value, list) else value for key, value in options.items()} for i in range(M)]
    scalers = [torch.amp.GradScaler("cpu", **one) for one in own]
    for step in range(STEPS):
        for parameter in stack.parameters():
            drawn = [gradient(step, i, parameter.shape[1:]) for i in range(M)]
            parameter.grad = torch.stack([d * s for d, s in zip(drawn, scaler.scale_M, strict=True)])
        if unscales:
            scaler.unscale_(optimizer)
            clip_grad_norm_(stack.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        for i, model in enumerate(models):
            scale = scalers[i].scale(torch.ones(()))
            for parameter in model.parameters():
                parameter.grad = gradient(step, i, parameter.shape) * scale
            if unscales:
                scalers[i].unscale_(plains[i])
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scalers[i].step(plains[i])
            scalers[i].update()
        assert scaler.scale_M.tolist() == [one.get_scale() for one in scalers]
        for k, parameter in enumerate(stack.parameters()):
            for i, model in enumerate(models):
                torch.testing.assert_close(parameter[i], list(model.parameters())[k], rtol=1e-5, atol=1e-6)


def train(stack, optimizer, scaler, steps, poison=None):
    for step in range(steps):
        x = torch.linspace(-1, 1, 12).view(4, 3) + step
        loss_M = stack.each(lambda model, x: model(x).square().mean(), x)
        optimizer.zero_grad()
        stack.backward(loss_M if scaler is None else scaler.scale(loss_M))
        if poison is not None:
            stack.parameters()[0].grad[1, 0, 0] = poison
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()


def test_scales_that_are_powers_of_two_leave_no_trace_in_the_training():
    (stack, scaler), (plain, _) = make(growth_interval=2), make()
    train(stack, Adam(stack.parameters(), lr=[1e-3] * M), scaler, 6)
    train(plain, Adam(plain.parameters(), lr=[1e-3] * M), None, 6)
    assert scaler.scale_M.tolist() == [2.0**19] * M
    for one, two in zip(stack.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_scale_that_has_no_room_to_grow_stays():
    stack, scaler = make(init_scale=3e38, growth_interval=2)
    plain = torch.amp.GradScaler("cpu", init_scale=3e38, growth_interval=2)
    alone = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    plain.scale(torch.zeros(()))
    for _ in range(3):
        for parameter in (*stack.parameters(), alone.param_groups[0]["params"][0]):
            parameter.grad = torch.zeros_like(parameter)
        for one, optimizer in ((scaler, SGD(stack.parameters(), lr=LR)), (plain, alone)):
            one.step(optimizer)
            one.update()
        assert scaler.scale_M.tolist() == [plain.get_scale()] * M == [float(torch.tensor(3e38))] * M


@pytest.mark.parametrize("poison", [NAN, INF])
def test_a_sick_member_keeps_every_bit_and_changes_none_of_the_others(poison):
    (stack, scaler), (clean, other) = make(), make()
    optimizer, clean_optimizer = (Adam(s.parameters(), lr=LR) for s in (stack, clean))
    before = [parameter.detach().clone() for parameter in stack.parameters()]
    train(stack, optimizer, scaler, 5, poison)
    train(clean, clean_optimizer, other, 5)
    for old, one, two in zip(before, stack.parameters(), clean.parameters(), strict=True):
        assert torch.equal(one[1], old[1])
        torch.testing.assert_close(one[[0, 2]], two[[0, 2]], rtol=1e-5, atol=1e-7)
    assert scaler.scale_M.tolist() == [2.0**16, 2.0**11, 2.0**16]
    assert optimizer.state[stack.parameters()[0]]["steps"].tolist() == [5.0, 0.0, 5.0]


def test_members_that_stay_keep_their_scales_and_streaks():
    options = {"init_scale": [1.0, 4.0, 16.0], "growth_interval": [2, 3, 4], "growth_factor": [2.0, 3.0, 4.0]}
    (stack, scaler), (whole, other) = make(**options), make(**options)
    optimizers = [SGD(s.parameters(), lr=LR) for s in (stack, whole)]
    for own_stack, optimizer, own_scaler in ((stack, optimizers[0], scaler), (whole, optimizers[1], other)):
        train(own_stack, optimizer, own_scaler, 1)
        for parameter in own_stack.parameters():
            parameter.grad[2] = INF
        own_scaler.step(optimizer)
        own_scaler.update()
    stack.keep([2, 0])
    for _ in range(5):
        train(stack, optimizers[0], scaler, 1)
        train(whole, optimizers[1], other, 1)
        assert torch.equal(scaler.scale_M, other.scale_M[[2, 0]])
    assert scaler.scale_M.tolist() == [32.0, 8.0]


def test_a_state_goes_on_in_another_scaler_through_a_file(tmp_path):
    (stack, scaler), (twin, other) = make(**OPTIONS["all a member"]), make(**OPTIONS["quick"])
    optimizers = [SGD(s.parameters(), lr=LR) for s in (stack, twin)]
    train(stack, optimizers[0], scaler, 3)
    torch.save(scaler.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(4):
        assert torch.equal(scaler.scale_M, other.scale_M)
        train(stack, optimizers[0], scaler, 1)
        train(twin, optimizers[1], other, 1)
    stack.keep([0, 1])
    with pytest.raises(ValueError, match=r"LossScaler.load_state_dict: state must be of 2 members, got 3. Build the"):
        scaler.load_state_dict(other.state_dict())


def test_two_optimisers_skip_on_their_own_and_share_the_scale():
    stack, scaler = make()
    weight, bias = stack.parameters()
    optimizers = [SGD([weight], lr=1.0), SGD([bias], lr=1.0)]
    before = [weight.detach().clone(), bias.detach().clone()]
    weight.grad, bias.grad = torch.ones_like(weight), torch.ones_like(bias)
    weight.grad[0, 0, 0] = INF
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    assert [torch.equal(weight[i], before[0][i]) for i in range(M)] == [True, False, False]
    assert [torch.equal(bias[i], before[1][i]) for i in range(M)] == [False, False, False]
    assert scaler.scale_M.tolist() == [2.0**15, 2.0**16, 2.0**16]


WRONG = {
    "init_scale": ({"init_scale": 0.0}, "LossScaler: init_scale must be > 0 and finite, got 0.0"),
    "growth_factor": ({"growth_factor": 1.0}, "LossScaler: growth_factor must be > 1 and finite, got 1.0"),
    "backoff_factor": ({"backoff_factor": 1.0}, r"LossScaler: backoff_factor must be in \(0, 1\), got 1.0"),
    "growth_interval": (
        {"growth_interval": [1, 0, 2]},
        r"growth_interval must be a whole number >= 1, got \[1, 0, 2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_refused(name):
    options, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        make(**options)


def test_calls_out_of_order_are_refused():
    stack, scaler = make()
    optimizer = SGD(stack.parameters(), lr=LR)
    with pytest.raises(
        RuntimeError, match=r"LossScaler.update: nothing was unscaled since the last update\(\). Call"
    ):
        scaler.update()
    with pytest.raises(ValueError, match=r"LossScaler.unscale_: no parameter has a gradient. Call it after backward"):
        scaler.step(optimizer)
    for parameter in stack.parameters():
        parameter.grad = torch.ones_like(parameter)
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"LossScaler.unscale_: the gradients are unscaled already. Call update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"LossScaler.step: this optimiser has stepped already. Call update"):
        scaler.step(optimizer)
    scaler.update()
    scaler.step(optimizer)


def test_gradients_in_float16_are_refused():
    stack = tenfold.stack([model.half() for model in make_models()])
    for parameter in stack.parameters():
        parameter.grad = torch.ones_like(parameter)
    with pytest.raises(ValueError, match=r"LossScaler.unscale_: gradients must not be float16, where small ones"):
        LossScaler(stack).unscale_(SGD(stack.parameters(), lr=LR))
