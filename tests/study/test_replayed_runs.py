"""Whole runs whose steps and scores are replayed: every loss and score, bit for bit, as without."""

import json

import pytest

import tenfold
from tenfold.stacking import GradientReplay, Replay

RUNS = {
    "one seed": {"network": "mlp", "seeds": 1, "config": {"lr": 1e-2}},
    "seeds": {"network": "mlp", "seeds": 3, "config": {"lr": 1e-2, "drop_prob": 0.2, "clip_norm": 1.0}},
    "batch norm and an average": {
        "network": "mlp",
        "seeds": 2,
        "config": {"lr": 1e-2, "norm": "batch", "ema_decay": 0.9, "label_smoothing": 0.1},
    },
    "pictures": {"network": "lenet", "seeds": 2, "config": {"lr": 1e-2}},
    "an optimiser with momentum": {"network": "mlp", "seeds": 2, "config": {"lr": 1e-1, "optimizer": "sgd"}},
}


def epochs_of(run):
    lines = [json.loads(line) for line in (run.path / "records.jsonl").read_text().splitlines()]
    return [
        {name: line.get(name) for name in ("seed", "train_loss", "valid")} for line in lines if "train_loss" in line
    ]


@pytest.mark.parametrize("name", RUNS)
def test_a_replayed_run_has_the_losses_and_scores_of_one_that_is_not(name, tmp_path, monkeypatch):
    replayed = {"steps": 0, "scores": 0}
    steps, scores = GradientReplay._replay, Replay._replay
    monkeypatch.setattr(
        GradientReplay, "_replay", lambda *args: replayed.update(steps=replayed["steps"] + 1) or steps(*args)
    )
    monkeypatch.setattr(
        Replay, "_replay", lambda *args: replayed.update(scores=replayed["scores"] + 1) or scores(*args)
    )
    runs = []
    for least in (1, 10**9):
        monkeypatch.setattr("tenfold.train.cohort.STEPS_TO_REPLAY", least)
        before = dict(replayed)
        options = dict(RUNS[name])
        network = options.pop("network")
        form = "stacked" if options["seeds"] > 1 else "serial"  # the planner measures, and may choose otherwise
        run = tenfold.replicate(
            network,
            "digits",
            epochs=8,
            batch_size=128,
            final="none",
            form=form,
            threads=1,
            out=tmp_path / str(least),
            **options,
        )
        runs.append(epochs_of(run))
        assert (replayed["steps"] > before["steps"] + 20) == (least == 1)
        assert (replayed["scores"] > before["scores"] + 2) == (least == 1)
    assert len(runs[0]) == 8 * options["seeds"]
    assert runs[0] == runs[1]
