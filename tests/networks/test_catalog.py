import pytest
import torch

from tenfold.core.errors import InputError
from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import (
    NETWORKS,
    Linear,
    build_network,
    ladder,
    merge_network_spaces,
    network_settings,
    obstacle,
    suitable,
)
from tenfold.tuning import Space, draw, optimizer_space

TABLE = InputSpec(kind="table", shape=(5,))
IMAGE = InputSpec(kind="image", shape=(1, 8, 8))
SCENE = InputSpec(kind="image", shape=(3, 16, 24), dense=True)
PICTURE = InputSpec(kind="image", shape=(1, 16, 16))
PHOTO = InputSpec(kind="image", shape=(3, 224, 224))


@pytest.mark.parametrize(
    ("name", "spec"), [(name, spec) for spec in (TABLE, IMAGE, SCENE) for name in suitable(spec)]
)
def test_every_draw_of_a_default_space_builds_a_network(name, spec):
    for one in draw(merge_network_spaces([name]), 6, seed=0):
        config = {**one.config}
        network = build_network(config.pop("network"), spec, 3, **config).eval()
        with torch.no_grad():
            expected = (2, 3, *spec.shape[1:]) if spec.dense else (2, 3)
            assert network(torch.zeros(2, *spec.shape)).shape == expected


@pytest.mark.parametrize("name", list(NETWORKS))
def test_an_entry_says_what_it_is(name):
    entry = NETWORKS[name]
    assert entry.name == name
    assert entry.reference
    assert entry.stacks
    assert entry.kinds <= {"image", "table"}
    assert set(entry.space) <= set(network_settings(name))
    assert all(parameter.reason for parameter in entry.space.values())
    assert Space(entry.space).num_configurations(limit=100) <= 4  # each one is a stack of its own


@pytest.mark.parametrize("name", list(NETWORKS))
def test_equal_seeds_build_equal_weights(name):
    spec = next(spec for spec in (SCENE, IMAGE, TABLE, PICTURE) if not obstacle(name, spec))
    states = []
    for _ in range(2):
        with torch_seed(3):
            states.append(build_network(name, spec, 3, **NETWORKS[name].small).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_joined_space_gives_each_network_only_its_own_settings():
    space = merge_network_spaces(["linear", "mlp", "lenet", "resnet18"])
    assert space.num_configurations(limit=100) == 1 + 4 + 1 + 1
    for one in draw(space, 7, seed=0):
        network = one.config.pop("network")
        assert set(one.config) == set(NETWORKS[network].space)


def test_settings_that_networks_share_with_equal_values_are_one_row():
    rows = merge_network_spaces(["mlp", "lenet"]).to_json()
    assert [row["when"] for row in rows if row["name"] == "activation"] == [{"network": ["mlp", "lenet"]}]
    assert rows[0]["name"] == "network"


def test_network_and_optimiser_spaces_join():
    [one] = draw(merge_network_spaces(["mlp"]) | optimizer_space(), 1, seed=0)
    assert set(one.config) == {
        *("network", "hidden", "depth", "activation", "norm", "drop_prob", "residual"),
        *("optimizer", "lr", "weight_decay", "schedule", "warmup_fraction"),
    }


@pytest.mark.parametrize(
    ("spec", "offered", "others"),
    [
        (TABLE, "linear mlp tabm realmlp rnn lstm gru", "lenet resnet18 transformer unet"),
        (InputSpec(kind="table", shape=(0,), cardinalities=(3,)), "linear mlp tabm realmlp", "rnn lstm gru lenet"),
        (InputSpec(kind="table", shape=(0,)), "", " ".join(NETWORKS)),
        (IMAGE, "linear mlp tabm rnn lstm gru lenet transformer resnet18", "realmlp unet"),
        (InputSpec(kind="image", shape=(1, 7, 99)), "linear mlp tabm rnn lstm gru", "lenet transformer resnet18"),
        (SCENE, "unet", "linear mlp lenet resnet18 lstm transformer"),
        (InputSpec(kind="image", shape=(1, 15, 99), dense=True), "", " ".join(NETWORKS)),
    ],
)
def test_networks_can_be_asked_for_where_they_can_work(spec, offered, others):
    names = [name for name in NETWORKS if not obstacle(name, spec)]
    assert set(suitable(spec)) <= set(names)
    assert [name for name in offered.split() if name not in names] == []
    assert [name for name in others.split() if name in names] == []


def test_regressions_by_their_own_names_are_the_linear_network():
    for alias in ("logistic_regression", "softmax_regression", "linear_regression"):
        assert NETWORKS[alias] is NETWORKS["linear"]
        assert type(build_network(alias, TABLE, 3)) is Linear
        assert alias not in list(NETWORKS)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: build_network("lenett", IMAGE, 3), InputError, "unknown network 'lenett'. Did you mean 'lenet'"),
        (
            lambda: build_network("lenet", TABLE, 3),
            InputError,
            "lenet: the input must be of kind image, got a table. Networks that suit: linear, mlp.",
        ),
        (
            lambda: build_network("resnet18", InputSpec(kind="image", shape=(3, 9, 4)), 3),
            InputError,
            "resnet18: images must be at least 8x8 pixels, got 9x4. Networks that suit: linear, mlp.",
        ),
        (
            lambda: build_network("mlp", InputSpec(kind="table", shape=(0,)), 3),
            InputError,
            "mlp: the input must have at least one column, got none. Networks that suit: none.",
        ),
        (
            lambda: build_network("unet", IMAGE, 3),
            InputError,
            "unet: it says something of each pixel, the task asks for each sample. Networks that suit: linear, mlp",
        ),
        (
            lambda: build_network("resnet18", SCENE, 3),
            InputError,
            "resnet18: it says something of each sample, the task asks for each pixel. Networks that suit: unet.",
        ),
        (
            lambda: build_network("gru", InputSpec(kind="table", shape=(0,), cardinalities=(3,)), 3),
            InputError,
            "gru: the table must have a numeric column, got categories alone. Networks that suit: linear, mlp.",
        ),
        (lambda: build_network("mlp", TABLE, 0), ValueError, "num_outputs must be a whole number >= 1, got 0"),
        (lambda: build_network("mlp", TABLE, 2.0), ValueError, "num_outputs must be a whole number >= 1, got 2.0"),
        (
            lambda: build_network("mlp", TABLE, 3, xyz=2),
            ValueError,
            "'xyz' is not one of its settings. Choose from 'activation', 'depth', 'drop_prob', 'hidden', 'norm',",
        ),
        (lambda: build_network("linear", TABLE, 3, hidden=2), ValueError, "'hidden' is not .* It has none"),
        (lambda: ladder("resnet18", "depth"), ValueError, "ladder: by must be 'family' or 'width', got 'depth'"),
        (lambda: ladder("resnet17"), InputError, "unknown network 'resnet17'. Did you mean 'resnet1"),
        (lambda: merge_network_spaces(["mpl"]), InputError, "unknown network 'mpl'. Did you mean 'mlp'"),
        (lambda: merge_network_spaces([]), ValueError, "options of 'network' must hold at least one"),
    ],
)
def test_a_wrong_call_is_answered_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", list(NETWORKS))
def test_ladders_climb(name):
    for by in ("family", "width"):
        rungs = ladder(name, by)
        assert name in [other for other, _ in rungs]
        counts = []
        spec = SCENE if NETWORKS[name].dense else PHOTO if "image" in NETWORKS[name].kinds else TABLE
        for other, config in rungs:
            with torch.device("meta"):
                network = build_network(other, spec, 3, **config)
            counts.append(sum(parameter.numel() for parameter in network.parameters()))
        assert counts == sorted(set(counts)), (by, rungs)


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].default])
def test_few_networks_are_named_by_default(name):
    assert name in ("linear", "mlp", "lenet", "resnet18", "unet")


def test_networks_that_are_not_proposed_can_be_asked_for():
    assert "cnn" not in suitable(IMAGE)
    assert obstacle("cnn", IMAGE) == ""
    assert obstacle("cnn", TABLE) == "the input must be of kind image, got a table"
