"""What is decided for a generation of trials, with those in mind that are to come."""

import pytest

import tenfold
from tenfold.train import known_plans


def test_whether_to_measure_compiled_steps_is_decided_by_the_whole_search(tmp_path, monkeypatch):
    promised = []

    def note(plan, specs, *args, training_s, **kwargs):
        each = sum(len(line.places) * line.step_seconds for line in plan) / len(specs)
        promised.append((len(specs), training_s / each))
        return plan

    monkeypatch.setattr(known_plans, "with_compiled_steps", note)
    space = {"lr": tenfold.Float(1e-3, 1e-2, log=True)}
    for population in (4, 12):
        tenfold.search(
            "mlp",
            "digits",
            space=space,
            halving="none",
            trials=24,
            epochs=3,
            population=population,
            out=tmp_path / str(population),
        )
    (few, few_steps), (many, many_steps) = promised[0], promised[-1]
    assert (few, many) == (4, 12)
    assert few_steps == pytest.approx(many_steps)


def test_no_more_training_is_promised_than_there_is_time_for(tmp_path, monkeypatch):
    promised = []
    monkeypatch.setattr(
        known_plans,
        "with_compiled_steps",
        lambda plan, *args, training_s, **kwargs: promised.append(training_s) or plan,
    )
    tenfold.search("mlp", "digits", sampler="random", trials=64, epochs=200, time="3s", out=tmp_path / "run")
    assert 0 < max(promised) <= 3
