import pytest
import torch
from torch import nn

from tenfold.core.specs import InputSpec
from tenfold.networks import Recurrent, RecurrentForecaster, build_network
from tenfold.testing import check_alone_or_together, check_strangers

DIGIT = InputSpec(kind="image", shape=(1, 28, 28))
COLOUR = InputSpec(kind="image", shape=(3, 6, 5))
WINDOW = InputSpec(kind="table", shape=(12,), cardinalities=(4,))
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@pytest.mark.parametrize("cell", GATES)
def test_parameters_are_those_of_the_gates_and_the_output(cell):
    network = build_network(cell, DIGIT, 10, hidden=64)
    gates = GATES[cell] * (28 * 64 + 64 * 64 + 2 * 64)
    assert sum(parameter.numel() for parameter in network.parameters()) == gates + 64 * 10 + 10


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_answer_is_the_output_layer_of_the_last_states_over_the_rows(cell, bidirectional, depth):
    network = Recurrent(cell, COLOUR, 4, hidden=7, depth=depth, bidirectional=bidirectional).eval()
    x = torch.randn(2, 3, 6, 5)
    rows = torch.stack([x[:, :, row].flatten(1) for row in range(6)], dim=1)
    states = network.layers(rows)[0]
    last = states[:, -1, :7]
    if bidirectional:
        last = torch.cat([last, states[:, 0, 7:]], dim=1)
    torch.testing.assert_close(network(x), network.output(last))


@pytest.mark.parametrize("cell", GATES)
def test_the_numbers_of_a_table_are_steps_and_its_categories_join_the_last_state(cell):
    network = Recurrent(cell, WINDOW, 1, hidden=7)
    x, codes = torch.randn(5, 12), torch.randint(4, (5, 1))
    state = network.layers(x.unsqueeze(-1))[0][:, -1]
    torch.testing.assert_close(network(x, codes), network.output(torch.cat([state, network.embedding(codes)], dim=1)))


@pytest.mark.parametrize("cell", GATES)
def test_a_forecaster_answers_at_each_step_from_the_steps_so_far(cell):
    network = RecurrentForecaster(cell, 2, 3, hidden=5)
    x = torch.randn(4, 9, 2)
    outputs = network(x)
    assert outputs.shape == (4, 9, 3)
    changed = x.clone()
    changed[:, 6:] += 1
    assert torch.equal(network(changed)[:, :6], outputs[:, :6])
    assert not torch.equal(network(changed)[:, 6:], outputs[:, 6:])


def test_states_are_dropped_in_training_alone():
    network = Recurrent("gru", COLOUR, 4, hidden=32, depth=2, drop_prob=0.5)
    x = torch.randn(2, 3, 6, 5)
    assert network.layers.dropout == 0.5
    assert not torch.equal(network(x), network(x))
    assert Recurrent("gru", COLOUR, 4, drop_prob=0.5).layers.dropout == 0.0  # torch warns of it in a single layer


@pytest.mark.parametrize("cell", GATES)
def test_members_forecast_as_they_do_alone(cell):
    x = torch.randn(3, 6, 1, generator=torch.Generator().manual_seed(0))
    job = {
        "make_model": lambda: RecurrentForecaster(cell, 1, 1, hidden=4, depth=2, drop_prob=0.2),
        "batches": [(x, x.cumsum(1))],
        "loss": lambda model, x, y: nn.functional.mse_loss(model(x), y),
    }
    check_strangers(**job, num_steps=2, poisons=["NaN parameters"])
    job["make_model"] = lambda: RecurrentForecaster(cell, 1, 1, hidden=4)
    check_alone_or_together(**job, num_steps=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Recurrent("lsmt", DIGIT, 2), "recurrent: cell must be one of .* got 'lsmt'. Did you mean 'lstm'"),
        (lambda: Recurrent("gru", DIGIT, 2, hidden=0), "gru: hidden must be a whole number >= 1, got 0"),
        (lambda: Recurrent("gru", DIGIT, 2, depth=1.5), "gru: depth must be a whole number >= 1, got 1.5"),
        (lambda: Recurrent("gru", DIGIT, 2, drop_prob=-0.1), "gru: drop_prob must be a number in .0, 1., got -0.1"),
        (
            lambda: Recurrent("gru", DIGIT, 2, bidirectional=2),
            "gru: bidirectional must be one of .True, False., got 2",
        ),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()
