"""What recipes become, against torch.optim and its schedulers."""

import math

import pytest
import torch
import torch.nn.functional as F
from train_kit import CPU, Classify, small_net, specs_of, two_moons

import tenfold
from tenfold import optim
from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.train import Recipe, build_lane
from tenfold.train.optimizing import make_optimizer, make_schedule

X, Y = two_moons()
STEADY = {"schedule": "constant", "warmup_fraction": 0.0, "drop_prob": 0.0, "lr": 0.02}
NO_TRUE_GRADIENT = "0.bias"  # before batch norm: rounding decides where adaptive optimisers move it


def lane_of(configs, *, form="stacked", total_steps=100):
    task = Classify()
    specs = specs_of(configs, task=task)
    return build_lane(specs, task, form=form, device=CPU, total_steps=total_steps, direction="minimize")


def trained(configs, steps=12, **options):
    lane = lane_of(configs, **options)
    for _ in range(steps):
        lane.train_step((X, Y))
    return [model.state_dict() for model in lane.stack.unstack()]


def plain_start(config):
    (spec,) = specs_of([config])
    return spec.make_model().train()


def plainly_trained(model, optimizer, steps=12, before_step=lambda: None, after_step=lambda: None):
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        before_step()
        optimizer.step()
        after_step()
    return model.state_dict()


def assert_same(got, expected, skip=()):
    for name, tensor in expected.items():
        if name not in skip:
            torch.testing.assert_close(got[name], tensor, atol=1e-9, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


PLAIN_OPTIONS = {
    "sgd": {"momentum": 0.9},
    "adam": {"betas": (0.8, 0.99), "eps": 1e-6},
    "adamw": {"betas": (0.8, 0.99), "eps": 1e-6},
    "nadam": {"betas": (0.8, 0.99), "eps": 1e-6},
    "radam": {"betas": (0.8, 0.99), "eps": 1e-6},
    "adadelta": {"eps": 1e-6},
    "adagrad": {"eps": 1e-6},
    "rmsprop": {"eps": 1e-6},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimiser_is_that_of_torch_with_the_recipe_s_values(name):
    config = {**STEADY, "optimizer": name, "beta1": 0.8, "beta2": 0.99, "weight_decay": 0.03}
    config |= {} if name == "asgd" or name == "sgd" else {"eps": 1e-6}
    model = plain_start(config)
    options = {"lr": 0.02, "weight_decay": 0.03, **PLAIN_OPTIONS.get(name, {})}
    expected = plainly_trained(model, OPTIMIZERS[name].plain(model.parameters(), **options))
    got = trained([config, {**config, "lr": 0.05, "beta1": 0.7}])
    assert_same(got[0], expected, skip=[NO_TRUE_GRADIENT, "1.running_mean"])


def test_the_momentum_of_sgd_is_the_members_own_and_looks_ahead_where_asked():
    config = {**STEADY, "optimizer": "sgd", "momentum": 0.5, "nesterov": True}
    model = plain_start(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5, nesterov=True, weight_decay=1e-2)
    assert_same(trained([config, {**config, "momentum": 0.9}])[0], plainly_trained(model, optimizer))


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.9), ("rmsprop", 0.0)])
def test_a_momentum_that_is_not_given_is_the_usual_one(optimizer, momentum):
    made = make_optimizer(stack := tenfold.stack([small_net()]), stack.parameters(), [Recipe(optimizer=optimizer)])
    value = made.param_groups[0]["momentum"]
    assert (value.tolist() if isinstance(value, torch.Tensor) else [value]) == [momentum]


def test_an_eps_that_is_not_given_is_the_optimiser_s_own():
    stack = tenfold.stack([small_net() for _ in range(2)])
    recipes = [Recipe(optimizer="adadelta"), Recipe(optimizer="adadelta", eps=0.5)]
    assert make_optimizer(stack, stack.parameters(), recipes).param_groups[0]["eps"].tolist() == [1e-6, 0.5]


def test_the_penalty_l1_is_the_members_own():
    config = {**STEADY, "optimizer": "sgd", "l1": 0.01, "weight_decay": 0.0}
    model = plain_start(config)

    def add_signs():
        for parameter in model.parameters():
            parameter.grad.add_(0.01 * parameter.detach().sign())

    expected = plainly_trained(
        model, torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9), before_step=add_signs
    )
    assert_same(trained([config, {**config, "l1": 0.0}])[0], expected)


def test_biases_and_norms_are_spared_from_decay_where_asked():
    config = {**STEADY, "optimizer": "sgd", "decay_biases": False, "weight_decay": 0.3}
    model = plain_start(config)
    spared = [p for name, p in model.named_parameters() if name in ("0.bias", "1.weight", "1.bias", "4.bias")]
    others = [p for name, p in model.named_parameters() if name in ("0.weight", "4.weight")]
    groups = [{"params": others, "weight_decay": 0.3}, {"params": spared, "weight_decay": 0.0}]
    expected = plainly_trained(model, torch.optim.SGD(groups, lr=0.02, momentum=0.9))
    assert_same(trained([config, {**config, "weight_decay": 0.1}])[0], expected)


def test_groups_have_their_own_rates_and_the_rest_the_rate_itself():
    config = {**STEADY, "optimizer": "sgd", "weight_decay": 0.0, "lr_groups": {"0.*": 0.1, "*.bias": 3.0}}
    model = plain_start(config)
    named = dict(model.named_parameters())
    rates = {"0.weight": 0.002, "0.bias": 0.002, "1.weight": 0.02, "1.bias": 0.06, "4.weight": 0.02, "4.bias": 0.06}
    groups = [{"params": [named[name]], "lr": rate} for name, rate in rates.items()]
    expected = plainly_trained(model, torch.optim.SGD(groups, lr=0.02, momentum=0.9))
    other = {**config, "lr_groups": {"0.*": 0.5, "*.bias": 1.0}}
    lane = lane_of([config, other])
    assert lane.lr() == [0.02, 0.02]
    assert_same(trained([config, other])[0], expected)


def test_groups_of_rates_follow_the_schedule():
    config = {**STEADY, "schedule": "cosine", "lr_groups": {"0.*": 0.1}}
    lane = lane_of([config], total_steps=4)
    lane.train_step((X, Y))
    factor = 0.5 * (1 + math.cos(math.pi / 4))
    rates = [group["lr"].item() for group in lane._parts[0].optimizer.param_groups]
    assert rates == pytest.approx([0.02 * factor, 0.002 * factor], abs=1e-12)


def test_frozen_parameters_do_not_move_and_batch_statistics_do():
    config = {**STEADY, "optimizer": "sgd", "freeze": ["0.*", "1.weight"]}
    model = plain_start(config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in ("0.weight", "0.bias", "1.weight"))
    moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = plainly_trained(model, torch.optim.SGD(moving, lr=0.02, momentum=0.9, weight_decay=1e-2))
    start = plain_start(config).state_dict()
    got = trained([config, {**config, "lr": 0.1}])
    assert_same(got[0], expected)
    assert all(torch.equal(own["0.weight"], s) for own, s in [(got[0], start["0.weight"])])
    assert not torch.equal(got[0]["1.running_mean"], start["1.running_mean"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"freeze": ["head.*"]}, r"freeze: patterns must match parameters of the network, got 'head.\*', which"),
        ({"lr_groups": {"0.weigth": 2.0}}, r"lr_groups: patterns .* got '0.weigth', .* Did you mean '0.weight'\?"),
        ({"freeze": "*"}, r"objective 'cross_entropy': parameters \('\*',\) match no trainable parameter"),
    ],
)
def test_patterns_that_name_nothing_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        lane_of([{**STEADY, **config}])


def test_gradients_are_cut_by_value_and_then_by_norm_each_member_by_its_own_bounds():
    config = {**STEADY, "optimizer": "sgd", "clip_value": 0.01, "clip_norm": 0.02}
    model = plain_start(config)

    def clip():
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.02)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-2)
    expected = plainly_trained(model, optimizer, before_step=clip)
    free = {**config, "clip_value": 0.0, "clip_norm": 0.0}
    got = trained([config, free])
    assert_same(got[0], expected)
    # who is not clipped is as among others who are not either, to the bit
    other = trained([{**config, "clip_value": 0.0, "clip_norm": 0.0}, free])[1]
    assert all(torch.equal(tensor, other[name]) for name, tensor in got[1].items())


# -- schedules -----------------------------------------------------------------------------------------------

TOTAL, WARMUP = 40, 4
PLAIN_SCHEDULES = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 12, gamma=0.3),
    "multistep": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [9, 18], gamma=0.3),
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.01 ** (1 / 36)),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 36),
    "cosine_restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 6, T_mult=2),
    "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 1e-300, 36),
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
    "plateau": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
}


def rates_of(schedule, steps):
    seen = []
    for _ in range(steps):
        seen.append(schedule.optimizer.param_groups[0]["lr"].tolist())
        schedule.step()
    return seen


def made_schedule(recipes, totals):
    stack = tenfold.stack([small_net() for _ in recipes])
    optimizer = make_optimizer(stack, stack.parameters(), recipes)
    return make_schedule(optimizer, recipes, totals, "minimize")


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_is_that_of_torch_after_its_warm_up(name):
    recipe = Recipe(lr=0.5, schedule=name, warmup_fraction=0.1, lr_gamma=0.3, lr_milestones=(0.25, 0.5))
    got = rates_of(made_schedule([recipe] * 2, [TOTAL] * 2), TOTAL)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    if name == "onecycle":  # has a warm-up of its own
        plain = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, TOTAL, cycle_momentum=False)
        expected = []
    else:
        plain = PLAIN_SCHEDULES[name](optimizer)
        expected = [plain.get_last_lr()[0] * (step + 1) / (WARMUP + 1) for step in range(WARMUP)]
    while len(expected) < TOTAL:
        expected.append(plain.get_last_lr()[0])
        optimizer.step()
        plain.step()
    for rates, value in zip(got, expected, strict=True):
        assert rates == pytest.approx([value, value], abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_members_with_fewer_steps_have_the_schedule_they_have_alone(name):
    recipes = [
        Recipe(lr=0.5, schedule=name, warmup_fraction=0.1),
        Recipe(lr=0.1, schedule=name, warmup_fraction=0.3, lr_gamma=0.5, lr_milestones=(0.2,)),
    ]
    together = rates_of(made_schedule(recipes, [40, 23]), 40)
    for place, total in enumerate([40, 23]):
        alone = rates_of(made_schedule([recipes[place]], [total]), total)
        assert [rates[place] for rates in together[:total]] == pytest.approx([rate for (rate,) in alone], abs=1e-15)


@pytest.mark.parametrize(
    ("schedule", "warmup_fraction", "total_steps", "kind"),
    [
        ("constant", 0.1, 100, optim.Constant),
        ("cosine", 0.1, 100, optim.Cosine),
        ("cosine", 0.9, 1, optim.Cosine),
        ("cosine", 0.0, 0, optim.Constant),
        ("onecycle", 0.0, 100, optim.OneCycle),
        ("onecycle", 0.0, 3, optim.Constant),
        ("onecycle", 0.0, 5, optim.OneCycle),
        ("multistep", 0.5, 1, optim.MultiStep),
        ("step", 0.0, 1, optim.Step),
        ("linear", 0.0, 0, optim.Constant),
        ("plateau", 0.1, 10, optim.Plateau),
    ],
)
def test_any_number_of_steps_has_a_schedule(schedule, warmup_fraction, total_steps, kind):
    made = made_schedule([Recipe(lr=0.1, schedule=schedule, warmup_fraction=warmup_fraction)], [total_steps])
    assert type(made) is kind
    for (rate,) in rates_of(made, total_steps + 2):
        assert 0 <= rate < math.inf


def test_plateau_reads_the_scores_of_validation():
    configs = [{**STEADY, "schedule": "plateau", "lr_gamma": 0.5, "plateau_patience": p} for p in (0, 1)]
    lane = lane_of(configs)
    plain = []
    for patience in (0, 1):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
        plain.append(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience))
    for epoch, scores in enumerate([(1.0, 1.0), (1.1, 1.2), (0.5, 1.3), (0.6, 1.4)], start=1):
        lane.train_step((X, Y))
        lane.note_scores(torch.tensor(scores, dtype=torch.float64), epoch)
        for own, score in zip(plain, scores, strict=True):
            own.step(score)
        assert lane.lr() == pytest.approx([own.get_last_lr()[0] for own in plain])
    assert lane.lr() == [0.005, 0.01]
