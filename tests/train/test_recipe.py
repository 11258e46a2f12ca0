import pytest
import torch
from train_kit import small_net

import tenfold
from tenfold import optim
from tenfold.train import RECIPE_KEYS, Recipe, split_config
from tenfold.train.recipe import make_optimizer, make_schedule

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer", "adamv", r"optimizer must be one of adamw, sgd, got 'adamv'. Did you mean 'adamw'\?"),
        ("optimizer", 3, "optimizer must be one of adamw, sgd, got 3"),
        ("schedule", "cosin", r"schedule must be one of .*, got 'cosin'. Did you mean 'cosine'\?"),
        ("lr", 0.0, "lr must be > 0 and finite, got 0.0"),
        ("lr", NAN, "lr must be > 0 and finite, got nan"),
        ("lr", INF, "lr must be > 0 and finite, got inf"),
        ("weight_decay", -0.1, "weight_decay must be >= 0 and finite, got -0.1"),
        ("weight_decay", INF, "weight_decay must be >= 0 and finite, got inf"),
        ("momentum", 1.0, r"momentum must be in \[0, 1\), got 1.0"),
        ("warmup_fraction", 1.0, r"warmup_fraction must be in \[0, 1\), got 1.0"),
        ("clip_norm", -1.0, "clip_norm must be >= 0 and finite, got -1.0"),
        ("clip_norm", NAN, "clip_norm must be >= 0 and finite, got nan"),
        ("batch_size", 0, "batch_size must be a whole number >= 1, got 0"),
        ("batch_size", 32.0, "batch_size must be a whole number >= 1, got 32.0"),
        ("batch_size", True, "batch_size must be a whole number >= 1, got True"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_the_way_out(key, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "together"),
    [
        ("lr", 0.5, True),
        ("weight_decay", 0.5, True),
        ("momentum", 0.5, True),
        ("clip_norm", 2.0, True),
        ("clip_norm", 0.0, False),
        ("optimizer", "sgd", False),
        ("schedule", "constant", False),
        ("warmup_fraction", 0.5, False),
        ("batch_size", 8, False),
    ],
)
def test_members_of_one_program_may_differ_in_values_only(key, value, together):
    assert (Recipe(clip_norm=1.0).program == Recipe(**{"clip_norm": 1.0, key: value}).program) is together


def test_a_configuration_is_cut_by_owner():
    config = {"network": "mlp", "lr": 0.1, "batch_size": 8, "label_smoothing": 0.1, "hidden": 32}
    cut = split_config(config, {"label_smoothing": 0.0, "discount": 0.9})
    assert cut.recipe == Recipe(lr=0.1, batch_size=8)
    assert cut.task_values == {"label_smoothing": 0.1, "discount": 0.9}
    assert cut.network == {"hidden": 32}


def test_the_keys_of_training_are_the_recipe():
    assert {"lr", "weight_decay", "momentum", "schedule", "warmup_fraction", "clip_norm"} <= RECIPE_KEYS
    assert "network" not in RECIPE_KEYS


@pytest.mark.parametrize(("optimizer", "kind"), [("adamw", optim.AdamW), ("sgd", optim.SGD)])
def test_every_member_gets_its_own_values(optimizer, kind):
    stack = tenfold.stack([small_net() for _ in range(3)])
    recipes = [Recipe(optimizer=optimizer, lr=lr, weight_decay=lr / 2, momentum=lr / 4) for lr in (0.1, 0.2, 0.3)]
    made = make_optimizer(stack, stack.parameters(), recipes)
    assert type(made) is kind
    assert made.param_groups[0]["lr"].tolist() == [0.1, 0.2, 0.3]
    assert made.param_groups[0]["weight_decay"].tolist() == [0.05, 0.1, 0.15]


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
    ],
)
def test_any_number_of_steps_has_a_schedule(schedule, warmup_fraction, total_steps, kind):
    stack = tenfold.stack([small_net()])
    recipe = Recipe(lr=0.1, schedule=schedule, warmup_fraction=warmup_fraction)
    made = make_schedule(make_optimizer(stack, stack.parameters(), [recipe]), recipe, total_steps)
    assert type(made) is kind
    for _ in range(total_steps + 2):
        rate = made.optimizer.param_groups[0]["lr"]
        assert torch.isfinite(rate).all()
        assert (rate >= 0).all()
        made.step()
