"""Costs kept from run to run: found again for what is alike, harmless where the file is broken."""

import json

import pytest
import torch
from torch import nn
from train_kit import CPU, specs_of

from tenfold.core.caches import cache_folder
from tenfold.train import num_threads
from tenfold.train.known_costs import (
    StepCosts,
    correct_costs,
    cost_key,
    keep_costs,
    known_costs,
    note_compiled,
)

COSTS = StepCosts(0.002, 0.001, 10.0, 1.0, (64,))
BATCH = (torch.zeros(16, 2), torch.zeros(16, dtype=torch.int64))


@pytest.fixture(autouse=True)
def _own_file(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def key(build=None, form="stacked", batch=BATCH, **config):
    [spec] = specs_of([{"lr": 0.1, **config}], *([build] if build else []))
    return cost_key(spec, form, batch, CPU)


def test_costs_are_found_again_for_as_many_members():
    keep_costs("a", 64, COSTS)
    assert known_costs("a", 64) == COSTS
    assert known_costs("a", 21) is None
    assert known_costs("b", 64) is None


def test_the_costs_of_the_nearest_number_of_members_will_do_where_steps_are_long():
    assert known_costs("a", 20, or_nearly=True) is None
    keep_costs("a", 64, COSTS)
    keep_costs("a", 8, COSTS._replace(step=0.003))
    assert known_costs("a", 21, or_nearly=True) == COSTS._replace(step=0.003)
    assert known_costs("a", 24, or_nearly=True) == COSTS
    assert known_costs("a", 64, or_nearly=True) == COSTS


def test_what_was_compiled_since_is_noted():
    keep_costs("a", 64, COSTS)
    note_compiled("a", 21)
    assert known_costs("a", 64) == COSTS._replace(counts=(21, 64))
    note_compiled("unknown", 21)
    assert known_costs("unknown", 21) is None


def test_the_oldest_entries_are_forgotten():
    for number in range(503):
        keep_costs(str(number), 64, COSTS)
    assert known_costs("2", 64) is None
    assert known_costs("3", 64) == COSTS
    assert len(json.loads((cache_folder() / "step_costs.json").read_text())) == 500


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "{", '{"a": 3}', '{"a": {"steps": {"64": [1]}}}', '{"a": {"steps": {"64": ["x", 1]}}}']
)
def test_a_broken_file_counts_as_none_and_is_mended(text):
    (cache_folder() / "step_costs.json").parent.mkdir(parents=True)
    (cache_folder() / "step_costs.json").write_text(text)
    assert known_costs("a", 64) is None
    keep_costs("a", 64, COSTS)
    assert known_costs("a", 64) == COSTS


def test_a_place_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "file"))
    keep_costs("a", 64, COSTS)
    assert known_costs("a", 64) is None


def test_without_a_place_of_its_own_the_file_lies_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("TENFOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (cache_folder() / "step_costs.json") == tmp_path / "tenfold" / "step_costs.json"


def test_a_key_tells_apart_what_differs_in_cost_and_nothing_else():
    small = lambda: nn.Linear(2, 2)  # noqa: E731
    large = lambda: nn.Linear(2, 2, bias=False)  # noqa: E731
    assert key(small) == key(small, lr=0.2)
    others = [
        key(large),
        key(small, form="serial"),
        key(small, batch_size=64),
        key(small, optimizer="sgd"),
        key(small, batch=(BATCH[0][:8], BATCH[1][:8])),
    ]
    assert len({key(small), *others}) == 6


def test_costs_of_another_number_of_threads_are_others():
    with num_threads(1):
        one = key()
    with num_threads(2):
        assert key() != one


@pytest.mark.parametrize(
    ("seconds", "compiled", "expected"),
    [
        (COSTS.compiled * 4, True, COSTS._replace(compiled=COSTS.compiled * 2)),
        (COSTS.compiled / 16, True, COSTS._replace(compiled=COSTS.compiled / 4)),
        (COSTS.step * 4, False, COSTS._replace(step=COSTS.step * 2)),
        (COSTS.step * 1.4, False, COSTS),
    ],
)
def test_what_training_really_takes_corrects_what_is_kept(seconds, compiled, expected):
    keep_costs("a", 64, COSTS)
    correct_costs("a", 64, seconds, compiled=compiled)
    assert known_costs("a", 64)[:4] == pytest.approx(expected[:4])


def test_costs_that_nobody_measured_are_not_corrected():
    correct_costs("a", 64, 1.0, compiled=True)
    assert known_costs("a", 64) is None
