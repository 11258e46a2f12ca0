import json
import math

import pytest
import torch
from torch import nn

import tenfold
from tenfold.cli.app import app
from tenfold.core.errors import InputError


def make_line():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def test_a_rate_and_a_range_are_found_that_train_iris():
    test = tenfold.find_lr("mlp", "iris", num_rates=24, steps=40, form="stacked", threads=1)
    advice = test.advice
    assert advice.verdict == "found"
    assert 1e-4 < advice.low < advice.rate <= advice.high < 1
    assert advice.start == pytest.approx(math.log(3), rel=0.2)  # an untrained classifier of three classes
    assert min(loss for loss in advice.losses if math.isfinite(loss)) < 0.3
    assert (test.network, test.steps, len(advice.rates)) == ("mlp", 40, 24)
    assert "lr" not in test.config
    assert json.loads(json.dumps(test.to_json(), allow_nan=False))["rate"] == advice.rate


def test_the_same_question_has_the_same_answer_and_one_s_own_network_serves():
    options = {"batch_size": 90, "form": "serial", "threads": 1, "seed": 3}
    config = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    test = tenfold.find_lr(make_line, "iris", low=1e-3, high=1.0, num_rates=8, steps=20, config=config, **options)
    again = tenfold.find_lr(make_line, "iris", low=1e-3, high=1.0, num_rates=8, steps=20, config=config, **options)
    assert test.advice == again.advice
    assert test.network == "make_line"
    slow, fast = test.advice.losses[0], test.advice.losses[4]
    assert fast < slow < test.advice.start * 1.2


def test_rates_that_diverge_are_told_and_kept_out_of_the_json():
    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x.flatten(1)) * torch.exp(self.layer.weight.square().sum())

    config = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    test = tenfold.find_lr(Squared, "iris", high=1e4, num_rates=16, steps=20, config=config, threads=1)
    assert not math.isfinite(test.advice.losses[-1])
    assert test.to_json()["losses"][-1] is None
    assert test.advice.rises_from is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, "--low and --high must be 0 < low < high, got 0.0 and 10.0"),
        ({"low": 1.0, "high": 0.1}, "--low and --high must be 0 < low < high, got 1.0 and 0.1"),
        ({"high": math.inf}, "--low and --high must be 0 < low < high"),
        ({"num_rates": 7}, "--rates must be a whole number >= 8, got 7"),
        ({"steps": 19}, "--steps must be a whole number >= 20, got 19"),
        ({"config": {"lr": 0.1}}, "config must not hold lr"),
    ],
)
def test_impossible_tests_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        tenfold.find_lr("mlp", "iris", **options)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="find_lr: got an unexpected keyword argument 'batchsize'"):
        tenfold.find_lr("mlp", "iris", batchsize=3)


def test_the_command_prints_a_table_within_80_columns_and_one_json_object(capsys):
    words = ["find-lr", "iris", "--network", "mlp", "--rates", "16", "--steps", "20", "--threads", "1", "--json"]
    app(words, standalone_mode=False)
    said = capsys.readouterr()
    answer = json.loads(said.out.splitlines()[-1])
    assert answer["schema"] == 1
    assert len(answer["rates"]) == len(answer["losses"]) == 16
    table = [line for line in said.err.splitlines() if "█" in line]
    assert len(table) >= 8
    assert max(map(len, table)) <= 80
    assert answer["sentence"] in said.err
