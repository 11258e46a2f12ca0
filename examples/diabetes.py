"""Diabetes by a network of 8-6-4-1 units: does ReLU beat the sigmoid, and how sure is that?

The data are 759 patients with 8 measurements in [-1, 1], `liuer-pytorch/diabetes.csv.gz` under the folder that the
environment variable TENFOLD_DATA names. Without them the example draws a table of the same size, and says so.

Each activation trains on five folds of the patients; `tenfold.compare` trains the folds as one stack, and pairs them.

Takes 7 s on two cores of an AMD EPYC (torch 2.14.1, n = 1).
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from torch import nn

import tenfold


def read_patients():
    """Measurements, shape (N, 8), and labels, shape (N,)."""
    path = Path(os.environ.get("TENFOLD_DATA", "no-data")) / "liuer-pytorch" / "diabetes.csv.gz"
    if path.exists():
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        return table[:, :-1], table[:, -1].astype(int)
    print("TENFOLD_DATA names no folder with liuer-pytorch/diabetes.csv.gz: these patients are drawn at random.")
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, (759, 8)).astype(np.float32)
    return x, (x[:, 1] + 0.5 * x[:, 5] + draw.normal(0, 0.7, 759) > 0).astype(int)


def make_model(activation):
    """The usual 8-6-4-1 layers, but for one output a class: cross-entropy of two is the logistic loss."""
    return nn.Sequential(nn.Linear(8, 6), activation(), nn.Linear(6, 4), activation(), nn.Linear(4, 2))


def with_sigmoid():
    return make_model(nn.Sigmoid)


def with_relu():
    return make_model(nn.ReLU)


def main() -> None:
    patients = read_patients()
    with tempfile.TemporaryDirectory() as folder:
        run = tenfold.compare(
            {"sigmoid": with_sigmoid, "relu": with_relu},
            patients,
            folds=5,
            seeds=2,
            epochs=20,
            form="stacked",  # nothing is measured beforehand: the example is short
            config={"lr": 0.01, "weight_decay": 0.0, "schedule": "constant"},
            out=Path(folder) / "run",
        )
    for method in run.result["comparison"]["methods"]:
        print(
            f"{method['name']:<8} accuracy {method['mean']:.3f} +- {method['std']:.3f} over {method['n']} trainings"
        )
    for pair in run.result["comparison"]["pairs"]:
        print(pair["sentence"])


if __name__ == "__main__":
    main()
