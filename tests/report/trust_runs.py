"""Synthetic folders of cross-validations, replications and comparisons, with the answers of `tenfold.study`."""

from __future__ import annotations

import json

import numpy as np
from scipy.special import softmax

from tenfold.core.records import finite
from tenfold.report import load_run
from tenfold.study.answers import make_result


def write_trust_run(
    folder,
    verb="cv",
    *,
    task="classification",
    methods=("wide", "deep"),
    folds=10,
    seeds=1,
    repeats=1,
    epochs=20,
    gaps=(0.0, 0.012),
    diverged=(),
    tested=False,
    status="done",
    overfit=0.0,
    rng_seed=0,
    classes=("cat", "dog", "fish"),
    evaluation=False,
    temperature=None,
    **changes,
):
    """Writes a run folder; `diverged` names members as (trial, fold, seed)."""
    rng = np.random.default_rng(rng_seed)
    folder.mkdir(parents=True, exist_ok=True)
    classification = task == "classification"
    metric = "accuracy" if classification else "rmse"
    names = methods if verb == "compare" else methods[:1]
    total = folds * repeats
    fold_names = [
        f"fold {k + 1}" if repeats == 1 else f"fold {k % folds + 1}, cut {k // folds + 1}" for k in range(total)
    ]
    run = {
        "schema": 1,
        "verb": verb,
        "name": "animals",
        "status": status,
        "source": {"name": "animals", "kind": "table", "argument": "animals.csv", "rows": 1797, "notes": []},
        "task": task,
        "metric": metric,
        "direction": "maximize" if classification else "minimize",
        "classes": list(classes) if classification else None,
        "input": {"kind": "table", "shape": [8], "cardinalities": []},
        "parts": {"train": 1437, "valid": 360, "test": 360 if tested else 0, "how": "as the folds say"},
        "folds": {
            "count": folds,
            "repeats": repeats,
            "manner": "stratified" if classification else "plain",
            "how": f"{folds} folds of 1797 rows, stratified by class",
            "names": fold_names,
            "test_to_train": 1 / (folds - 1),
        }
        if folds > 1
        else None,
        "seeds": seeds,
        "varies": ["init", "order"],
        "against": None,
        "seed": 0,
        "arguments": {"folds": folds, "seeds": seeds},
        "versions": {"tenfold": "0.1.0", "torch": "2.15"},
        "device": "cpu, 2 threads",
        "plan": [
            {
                "stack": 0, "network": "mlp", "members": total * seeds, "form": "stacked",
                "reason": "6.0x the loop", "structure": "hidden=128 depth=2", "parameters": 26122,
            }
        ],
        "timings": {"read": 0.4, "plan": 1.31, "train": 41.2, "score": 0.1},
        "temperature": temperature,
    }  # fmt: skip
    run.update(changes)
    lines = [
        {"kind": "trial", "trial": t, "network": "mlp", "config": {"lr": 0.01}, "stack": 0}
        | ({"name": name} if verb == "compare" else {})
        for t, name in enumerate(names)
    ]
    lines += _members(rng, len(names), total, seeds, epochs, gaps, diverged, tested, classification, overfit, status)
    _write(folder, run, lines)
    if status == "done":
        records = load_run(folder)
        out_of_fold = {metric: {"value": 0.942, "n": 1797, "low": 0.93, "high": 0.953}} if verb == "cv" else None
        run["result"] = make_result(
            run, records.scores, [line for line in lines if line["kind"] == "trial"], run=str(folder),
            epochs_trained=epochs * len(records.scores), seconds=43.0, out_of_fold=out_of_fold,
        )  # fmt: skip
        _write(folder, run, lines)
    if evaluation:
        write_evaluation(folder, rng, classification, len(classes))
    return folder


def _write(folder, run, lines):
    (folder / "run.json").write_text(json.dumps(finite(run)), encoding="utf-8")
    text = "".join(json.dumps(finite(line)) + "\n" for line in lines)
    (folder / "records.jsonl").write_text(text, encoding="utf-8")


def _members(rng, methods, folds, seeds, epochs, gaps, diverged, tested, classification, overfit, status):
    hard = rng.normal(0, 0.012, folds)
    luck = rng.normal(0, 0.004, seeds)
    lines, scores = [], []
    for trial in range(methods):
        for fold in range(folds):
            for seed in range(seeds):
                member = {"trial": trial, "fold": fold, "seed": seed}
                level = 0.94 + gaps[trial % len(gaps)] + hard[fold] + luck[seed] + rng.normal(0, 0.004)
                broken = (trial, fold, seed) in set(diverged)
                valid = {}
                for epoch in range(1, epochs + 1):
                    fall = np.exp(-epoch / 4)
                    loss = 0.08 + 1.2 * fall + rng.normal(0, 0.004)
                    held = 0.16 + 1.2 * fall + overfit * max(0, epoch - epochs / 3) + rng.normal(0, 0.012)
                    score = level - 0.6 * fall
                    valid = (
                        {"accuracy": score, "log_loss": held}
                        if classification
                        else {"rmse": 60 * (1 - score) + 3, "r2": 1 - held}
                    )
                    if broken:
                        valid, loss = dict.fromkeys(valid, float("nan")), float("nan")
                    lines.append({"kind": "epoch", **member, "epoch": epoch, "train_loss": loss, "valid": valid})
                test = {name: value - 0.004 for name, value in valid.items()} if tested else None
                scores.append({"kind": "score", **member, "epoch": epochs, "valid": valid, "test": test})
    return lines + (scores if status == "done" else [])


def write_evaluation(folder, rng, classification, classes, n=1797):
    """Overconfident probabilities, or predictions with some error."""
    if classification:
        targets = rng.integers(0, classes, n)
        logits = rng.normal(0, 1, (n, classes)) + 1.6 * np.eye(classes)[targets]
        probabilities = softmax(2.0 * logits, axis=1)
        arrays = {"targets": targets, "outputs-0": probabilities, "outputs-1": probabilities}
    else:
        targets = rng.normal(20, 6, n)
        arrays = {"targets": targets, "outputs-0": targets + rng.normal(0, 2, n), "outputs-1": targets}
    np.savez(folder / "out-of-fold.npz", **arrays)
