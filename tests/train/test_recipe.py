import json
from dataclasses import asdict

import pytest

from tenfold.train import RECIPE_KEYS, Recipe, split_config

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer", "adamv", r"optimizer must be one of sgd, .*, asgd, got 'adamv'. Did you mean 'adam'\?"),
        ("optimizer", 3, "optimizer must be one of sgd, .*, got 3"),
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
        ("lr", "0.1", "lr must be > 0 and finite, got '0.1'"),
        ("lr", None, "lr must be > 0 and finite, got None"),
        ("l1", -1.0, "l1 must be >= 0 and finite, got -1.0"),
        ("beta1", 1.0, r"beta1 must be in \[0, 1\), got 1.0"),
        ("beta2", -0.5, r"beta2 must be in \[0, 1\), got -0.5"),
        ("eps", -1e-8, "eps must be >= 0 and finite, got -1e-08"),
        ("nesterov", 1, "nesterov must be True or False, got 1"),
        ("decay_biases", "no", "decay_biases must be True or False, got 'no'"),
        ("lr_gamma", 1.5, r"lr_gamma must be in \[0, 1\), got 1.5"),
        ("lr_milestones", 0.5, r"lr_milestones must be a list of shares in \[0, 1\], got 0.5"),
        ("lr_milestones", [0.5, 2], r"lr_milestones must be a list of shares in \[0, 1\], got \[0.5, 2\]"),
        ("plateau_patience", 0.5, "plateau_patience must be a whole number >= 0, got 0.5"),
        ("lr_groups", {"a.*": 0.0}, r"lr_groups must be patterns with factors > 0, such as .*, got \{'a.\*': 0.0\}"),
        ("lr_groups", "a.*", "lr_groups must be patterns with factors > 0, such as .*, got 'a"),
        ("freeze", [3], r"freeze must be patterns of parameter names, such as .*, got \[3\]"),
        ("clip_value", -1.0, "clip_value must be >= 0 and finite, got -1.0"),
        ("accumulate", 0, "accumulate must be a whole number >= 1, got 0"),
        ("precision", "float16", r"precision must be one of float32, bf16, fp16, got 'float16'. Did you mean"),
        ("ema_decay", 1.0, r"ema_decay must be in \[0, 1\), got 1.0"),
        ("patience", -1, "patience must be a whole number >= 0, got -1"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_the_way_out(key, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{key: value})


def test_looking_ahead_needs_a_momentum():
    with pytest.raises(ValueError, match=r"momentum must be > 0 with nesterov, got 0\.0\. Change it"):
        Recipe(optimizer="sgd", nesterov=True, momentum=0.0)


def test_a_recipe_survives_json_as_a_flat_configuration():
    recipe = Recipe(freeze="0.*", lr_groups={"2.*": 0.1, "3.*": 2}, lr_milestones=[0.3], momentum=0.5, eps=1e-6)
    assert recipe.freeze == ("0.*",)
    assert recipe.lr_groups == (("2.*", 0.1), ("3.*", 2.0))
    stored = json.loads(json.dumps(asdict(recipe)))
    assert Recipe(**stored) == recipe


@pytest.mark.parametrize(
    ("key", "value", "together"),
    [
        ("lr", 0.5, True),
        ("weight_decay", 0.5, True),
        ("momentum", 0.5, True),
        ("clip_norm", 2.0, True),
        ("clip_norm", 0.0, True),
        ("clip_value", 0.5, True),
        ("l1", 0.5, True),
        ("beta1", 0.5, True),
        ("beta2", 0.5, True),
        ("eps", 0.5, True),
        ("warmup_fraction", 0.5, True),
        ("lr_gamma", 0.5, True),
        ("lr_milestones", (0.1, 0.2, 0.3), True),
        ("plateau_patience", 1, True),
        ("lr_groups", (("0.*", 0.5),), True),
        ("lr_groups", (("1.*", 0.1),), False),
        ("ema_decay", 0.5, True),
        ("patience", 5, True),
        ("optimizer", "sgd", False),
        ("nesterov", True, False),
        ("decay_biases", False, False),
        ("schedule", "constant", False),
        ("freeze", ("0.*",), False),
        ("accumulate", 2, False),
        ("precision", "bf16", False),
        ("batch_size", 8, False),
    ],
)
def test_members_of_one_program_may_differ_in_values_only(key, value, together):
    one = {"clip_norm": 1.0, "lr_groups": {"0.*": 0.1}}
    assert (Recipe(**one).program == Recipe(**{**one, key: value}).program) is together


def test_a_configuration_is_cut_by_owner():
    config = {"network": "mlp", "lr": 0.1, "batch_size": 8, "label_smoothing": 0.1, "hidden": 32}
    cut = split_config(config, {"label_smoothing": 0.0, "discount": 0.9})
    assert cut.recipe == Recipe(lr=0.1, batch_size=8)
    assert cut.task_values == {"label_smoothing": 0.1, "discount": 0.9}
    assert cut.network == {"hidden": 32}


def test_the_keys_of_training_are_the_recipe():
    assert {"lr", "weight_decay", "momentum", "schedule", "warmup_fraction", "clip_norm"} <= RECIPE_KEYS
    assert "network" not in RECIPE_KEYS
