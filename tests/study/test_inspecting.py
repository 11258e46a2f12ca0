"""`tenfold.inspect` on names, runs, functions and modules, and several networks side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import tenfold
from tenfold.core.errors import InputError, RunError
from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS
from tenfold.report.tradeoff import CostRow, costs_section, write_costs
from tenfold.study import Run
from tenfold.study.inspecting import list_networks, typical_spec
from tenfold.study.side_by_side import side_by_side

MINE = """
from torch import nn

def make_net(hidden=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, hidden), nn.ReLU(), nn.Linear(hidden, 2))

ready = nn.Linear(3, 2)
number = 7

def make_nothing():
    return 3

def make_trouble():
    raise RuntimeError("no luck\\ntoday")

def leave():
    raise SystemExit(3)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of the user's own in the current directory, under a name that no other test imports."""
    name = f"mine_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MINE)
    (tmp_path / f"{name}_broken.py").write_text("1 / 0")
    (tmp_path / f"{name}_leaving.py").write_text("raise SystemExit(4)")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_name_of_the_zoo_is_built_without_numbers_and_costs_what_it_should() -> None:
    seen = tenfold.inspect("resnet18", input="3x224x224", classes=1000)
    assert seen.parameters == 11_689_512
    assert seen.flops == pytest.approx(2 * 1.814e9, rel=0.001)
    assert seen.receptive_field is not None
    assert seen.receptive_field.size == (435, 435)
    assert seen.findings == ()


def test_settings_and_inputs_come_in_several_forms() -> None:
    narrow = tenfold.inspect("mlp", input=(20,), classes=3, config={"hidden": 4, "depth": 1})
    assert narrow.parameters == 20 * 4 + 4 + 4 * 3 + 3
    assert tenfold.inspect("mlp", input=InputSpec(kind="table", shape=(5,), cardinalities=(3,))).layers
    assert tenfold.inspect(nn.Linear(4, 2), input=torch.zeros(7, 4)).flops == 16
    assert tenfold.inspect(nn.Linear(4, 2).double(), input=(4,)).parameter_bytes == 80
    assert tenfold.inspect(nn.Bilinear(3, 4, 2), input=(torch.zeros(1, 3), torch.zeros(1, 4))).parameters == 26
    assert tenfold.inspect(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), input=(6,)).flops == 2 * 6 * 8


def test_layers_that_learn_their_sizes_get_them_from_the_input_and_stay_as_they_are() -> None:
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    batch = torch.randn(8, 3, 6, 6), torch.arange(8) % 2
    seen = tenfold.inspect(lazy, input=(3, 6, 6), batches=[batch])
    assert seen.parameters == 3 * 4 * 9 + 4 + 8 + 2 * (4 * 16) + 2
    assert seen.flops == 2 * (3 * 4 * 9 * 16 + 2 * 4 * 16)
    assert len(seen.health.losses) == 1
    assert isinstance(lazy[0], nn.LazyConv2d)


def test_functions_classes_and_files_of_ones_own_work(mine: str) -> None:
    def make(width: int = 3) -> nn.Module:
        return nn.Linear(4, width)

    assert tenfold.inspect(make, input=(4,), config={"width": 6}).flops == 48
    assert tenfold.inspect(nn.Identity, input=(4,)).flops == 0
    assert tenfold.inspect(f"{mine}:make_net", input="3x4", config={"hidden": 5}).flops == 2 * (12 * 5 + 5 * 2)
    assert tenfold.inspect(f"{mine}:ready", input="3").parameters == 8


def test_batches_show_what_training_suffers_from() -> None:
    torch.manual_seed(0)
    deep = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(8, 8), nn.Sigmoid())], nn.Linear(8, 2))
    batch = torch.randn(16, 8), torch.arange(16) % 2
    seen = tenfold.inspect(deep, input=(8,), batches=[batch] * 2)
    assert [finding.kind for finding in seen.findings] == ["vanishing"]
    assert "Gradients vanish" in str(seen)
    assert len(seen.health.losses) == 2


def test_a_run_shows_its_best_network_and_with_data_its_health(
    fit: Callable[..., Run], prices: pd.DataFrame, tmp_path: Path
) -> None:
    run = fit(prices.assign(kind=["a", "b"] * 60), target="price", network="mlp", trials=1, epochs=2)
    seen = tenfold.inspect(run)
    assert seen.parameters == sum(p.numel() for p in run.best.model.parameters())
    assert seen.input_shapes == ((3,), (1,))
    prices.assign(kind=["a", "b"] * 60).to_csv(tmp_path / "prices.csv", index=False)
    healthy = tenfold.inspect(str(run.path), data=str(tmp_path / "prices.csv"))
    assert len(healthy.health.losses) == 2
    assert healthy.findings == ()
    [row] = side_by_side([run.path])
    assert row.metric == "rmse"
    assert row.score == run.result["test"]["value"]


def test_a_network_of_the_zoo_trains_on_a_source() -> None:
    seen = tenfold.inspect("mlp", data="digits", steps=2)
    assert seen.input_shapes == ((1, 8, 8),)
    assert seen.layers[-1].output_shape == (10,)
    assert len(seen.health.losses) == 2


def test_networks_are_listed_with_what_they_cost() -> None:
    names = ["linear", "mlp", "lenet", "resnet18"]
    rows = list_networks(names)
    assert [row["name"] for row in rows] == names
    assert all(row["parameters"] > 0 and row["flops"] > 0 and row["stacks"] for row in rows)
    for row in rows:
        spec, num_outputs = typical_spec(NETWORKS[row["name"]])
        assert (row["input"], row["classes"]) == (list(spec.shape), num_outputs)


# -- side by side ----------------------------------------------------------------------------------------------------


def cost_row(name: str, score: float, **more: Any) -> CostRow:
    costs: dict[str, Any] = {"parameters": 100, "flops": 2000, "activation_bytes": 64, "seconds": 0.001}
    return CostRow(name=name, score=score, metric="accuracy", **{**costs, **more})


def test_scores_are_plotted_against_three_costs() -> None:
    page = costs_section([cost_row("a", 0.9), cost_row("<b>", 0.95, flops=90_000, parameters=9_000)])
    assert page.count("<svg viewBox") == page.count("<figure") == 3
    assert page.count("<circle") == page.count('class="end chosen"') == 6  # what the style sheet colours
    assert "&lt;b&gt;" in page
    assert "up and to the left" in page
    assert "95.0 %" in page


def test_networks_without_scores_are_plotted_by_time() -> None:
    rows = [cost_row("a", math.nan), cost_row("b", math.nan, seconds=0.1)]
    page = costs_section(rows)
    assert page.count("<figure") == 2
    assert "milliseconds a sample" in page


def test_scores_of_different_metrics_are_not_compared() -> None:
    other = CostRow(name="b", parameters=1, flops=1, activation_bytes=1, seconds=1.0, score=3.0, metric="rmse")
    assert "different metrics (accuracy, rmse)" in costs_section([cost_row("a", 0.9), other])


# -- wrong calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tenfold.inspect("resnet-18"), InputError, "unknown network 'resnet-18'. Did you mean 'resnet18'"),
        (lambda: tenfold.inspect("mlp", input="3x"), InputError, "--input: must be sizes with x between, got '3x'"),
        (lambda: tenfold.inspect("mlp", input="0x3x3"), InputError, "--input: must be sizes"),
        (
            lambda: tenfold.inspect("mlp", input="99999x99999"),
            InputError,
            "must have at most 2.31 numbers, got 99999x9",
        ),
        (lambda: tenfold.inspect(nn.LazyConv2d(4, 9), input=(3, 5, 5)), InputError, "cannot be called .* 3x5x5"),
        (lambda: tenfold.inspect("mlp", input="3x3"), InputError, "--input: must be CxHxW .*got 3x3"),
        (lambda: tenfold.inspect("mlp", input=(3, 0, 3)), InputError, r"sizes >= 1, got \(3, 0, 3\)"),
        (lambda: tenfold.inspect("lenet", input="16"), InputError, "lenet: the input must be of kind image"),
        (lambda: tenfold.inspect("lenet", config={"widht": 2}), ValueError, "'widht' is not one of its settings"),
        (lambda: tenfold.inspect(nn.Linear(2, 2)), InputError, "Linear does not say what it takes.*--input"),
        (lambda: tenfold.inspect(nn.Linear(2, 2), input=(torch.tensor(1.0),)), InputError, "tensors with a batch"),
        (lambda: tenfold.inspect("/no/such"), InputError, "/no/such is no run"),
        (lambda: tenfold.inspect("no_such_file:make"), InputError, "no module 'no_such_file'"),
        (lambda: tenfold.inspect("no_such_file:"), InputError, "must be a module and a name in it"),
        (lambda: tenfold.inspect(lambda: 3, input=(2,)), InputError, "must return an nn.Module, got int"),
        (lambda: tenfold.inspect("mlp", data="iris", batches=[]), InputError, "two ways to say the same"),
        (
            lambda: write_costs([cost_row("a", 0.5)], "costs.svg"),
            InputError,
            "--plot: must be an .html file, got 'costs.svg'",
        ),
        (lambda: write_costs([cost_row("a", 0.5)], "no/costs.html"), InputError, "--plot: no/costs.html cannot be"),
    ],
)
def test_a_wrong_call_is_answered_with_the_way_out(call: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (":make_ner", "has no 'make_ner'. Did you mean 'make_net'"),
        (":make_nothing", "must return an nn.Module, got int"),
        (":number", "must be a module or make one, got int"),
        ("_broken:make", r"importing .* failed \(ZeroDivisionError: division by zero\)"),
        ("_leaving:make", r"importing .* failed \(SystemExit: 4\)\. Mend it"),
        (":make_trouble", r"make_trouble: making the network failed \(RuntimeError: no luck\)\. Mend the function"),
        (":leave", r"leave: making the network failed \(SystemExit: 3\)"),
        (".py", r"is a file, not a network. Name a function in it: mine_\d+:NAME"),
    ],
)
def test_a_file_that_does_not_hold_a_network_is_answered_so(mine: str, attribute: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tenfold.inspect(mine + attribute, input=(3, 4))


def test_arguments_that_a_function_does_not_take_are_answered_so(mine: str) -> None:
    with pytest.raises(InputError, match=r"make_net: cannot be called .*--config name=value"):
        tenfold.inspect(f"{mine}:make_net", input=(3, 4), config={"width": 3})


def test_a_run_without_a_model_is_answered_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema": 1}')
    with pytest.raises(RunError, match="there is no finished model"):
        tenfold.inspect(tmp_path)
