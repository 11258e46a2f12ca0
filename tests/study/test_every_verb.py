"""Every verb on every kind of source, from the command line and from Python; scores are scikit-learn's to 1e-9.

Fashion-MNIST and the two CSV files are read from `$TENFOLD_DATA`.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

import tenfold
from tenfold.core.records import read_records
from tenfold.data import draw_rows, read

pytestmark = pytest.mark.slow

DATA = os.environ.get("TENFOLD_DATA", "")
FEW = {"epochs": 1, "threads": 1}
SOURCES = {
    "digits": ("digits", {}, "mlp"),
    "classes": ("tabular/pima-indians-diabetes", {"header": False}, "mlp"),
    "numbers": ("tabular/boston-housing", {"header": False}, "mlp"),
    "pictures": ("fashion-mnist", {"max_rows": 1000}, "lenet"),
}
ASK = {
    "fit --folds": ["fit", "--folds", "3", "--trials", "2"],
    "fit --seeds": ["fit", "--seeds", "2", "--trials", "2"],
    "fit --final ensemble": ["fit", "--final", "ensemble", "--trials", "3"],
    "search --folds": ["search", "--folds", "2", "--trials", "3", "--sampler", "random"],
    "cv": ["cv", "--folds", "3"],
    "replicate": ["replicate", "--seeds", "2", "--final", "average"],
    "compare": ["compare", "--seeds", "2"],
    "learning-curve": ["learning-curve", "--seeds", "1"],
    "width-curve": ["width-curve", "--seeds", "1"],
}
PYTHON = {
    "fit --folds": lambda net, data, **more: tenfold.fit(data, network=net, folds=3, trials=2, **more),
    "fit --seeds": lambda net, data, **more: tenfold.fit(data, network=net, seeds=2, trials=2, **more),
    "fit --final ensemble": lambda net, data, **more: tenfold.fit(
        data, network=net, final="ensemble", trials=3, **more
    ),
    "search --folds": lambda net, data, **more: tenfold.search(
        net, data, folds=2, trials=3, sampler="random", **more
    ),
    "cv": lambda net, data, **more: tenfold.cross_validate(net, data, folds=3, **more),
    "replicate": lambda net, data, **more: tenfold.replicate(net, data, seeds=2, final="average", **more),
    "compare": lambda net, data, **more: tenfold.compare({"a": "linear", "b": net}, data, seeds=2, **more),
    "learning-curve": lambda net, data, **more: tenfold.learning_curve(net, data, seeds=1, **more),
    "width-curve": lambda net, data, **more: tenfold.width_curve(net, data, seeds=1, **widths_of(net), **more),
}
KEEPS_NO_MODEL = {"compare", "learning-curve", "width-curve"}


def widths_of(network):
    return {"parameter": "width", "widths": (0.5, 1)} if network == "lenet" else {"widths": (4, 16)}


def source_of(name):
    """Path, options and network; of a folder of one table, the table."""
    path, options, network = SOURCES[name]
    if path == "digits":
        return path, options, network
    found = Path(DATA) / path
    if not DATA or not found.exists():
        pytest.skip(f"{path} is not in $TENFOLD_DATA")
    tables = sorted(found.glob("*.csv")) + sorted(found.glob("*.data"))
    return str(tables[0] if tables else found), options, network


def flags_of(options, network, verb):
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items() if not isinstance(value, bool)]
    flags += [f"--no-{key}" for key, value in options.items() if value is False]
    if verb == "compare":
        return [*flags, "--method", "a=linear", "--method", f"b={network}"]
    if verb == "width-curve":
        over = widths_of(network)
        flags += ["--widths", ",".join(map(str, over["widths"])), "--parameter", over.get("parameter", "hidden")]
    return [*flags, "--network", network]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("verb", ASK)
def test_a_verb_answers_from_the_command_line_and_from_python_alike(tenfold, tmp_path, verb, name):
    path, options, network = source_of(name)
    done = tenfold(
        *ASK[verb], path, *flags_of(options, network, verb), "--epochs", "1", "--threads", "1", "--form", "stacked",
        "--json", "--out", "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    said = json.loads(done.out.strip().splitlines()[-1])
    run = PYTHON[verb](network, path, form="stacked", out=tmp_path / "python", **options, **FEW)
    assert said["valid"]["mean"] == pytest.approx(run.result["valid"]["mean"], abs=1e-6)
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    check_test_scores(run)
    assert tenfold("report", "run").code == 0
    if verb in KEEPS_NO_MODEL:
        return
    path = some_of(path, tmp_path)
    predicted = tenfold("predict", "run", path, *header(options))
    assert predicted.code == 0, predicted.err
    told = tenfold("evaluate", "run", path, "--json")
    assert told.code == 0, told.err
    check_evaluation(json.loads(told.out), tmp_path / "run", path, options)


def header(options):
    return ["--no-header"] if options.get("header") is False else []


def some_of(path, folder):
    """The source, or, of a folder of very many pictures, some of them."""
    if not Path(path).is_dir():
        return path
    few = draw_rows(read(path), 500, seed=1)
    np.savez(folder / "some.npz", x=few.inputs.images, y=few.targets)
    return str(folder / "some.npz")


def check_test_scores(run):
    """What a run says of its test part is what scikit-learn says of the predictions that it keeps."""
    file = run.path / "evaluation.npz"
    if not file.exists():
        return
    kept = np.load(file)
    if run.info["task"] == "classification":
        truth = kept["targets"]
        expected = classes(truth, kept["probabilities"])
    else:
        expected = numbers(kept["targets"], kept["predictions"])
    scores = run.result["metrics"]["test"]
    for metric, value in expected.items():
        assert scores[metric]["value"] == pytest.approx(value, abs=1e-9, rel=1e-12), metric


def check_evaluation(said, run, path, options):
    """What `evaluate` says is what scikit-learn says of the model's predictions on the same rows."""
    model = tenfold.load(run)
    source = read(path, **{key: value for key, value in options.items() if key == "header"})
    if model.classes is None:
        expected = numbers(source.targets, model.predict(path))
    else:
        expected = classes(np.searchsorted(np.array(model.classes), source.targets), model.predict_proba(path))
    for metric, value in expected.items():
        assert said["scores"][metric]["value"] == pytest.approx(value, abs=1e-9, rel=1e-12), metric


def classes(truth, p):
    labels = np.arange(p.shape[1])
    return {
        "accuracy": metrics.accuracy_score(truth, p.argmax(1)),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, p.argmax(1)),
        "macro_f1": metrics.f1_score(truth, p.argmax(1), average="macro"),
        "mcc": metrics.matthews_corrcoef(truth, p.argmax(1)),
        "log_loss": metrics.log_loss(truth, p, labels=labels),
    }


def numbers(truth, said):
    return {
        "rmse": metrics.root_mean_squared_error(truth, said),
        "mae": metrics.mean_absolute_error(truth, said),
        "r2": metrics.r2_score(truth, said),
        "explained_variance": metrics.explained_variance_score(truth, said),
        "mape": metrics.mean_absolute_percentage_error(truth, said),
        "median_error": metrics.median_absolute_error(truth, said),
    }


@pytest.mark.parametrize("name", SOURCES)
def test_scores_of_folds_are_scikit_learns_on_the_same_rows(tmp_path, name):
    path, options, network = source_of(name)
    run = tenfold.cross_validate(
        network, path, folds=3, final="none", form="stacked", out=tmp_path / "run", **options, **FEW
    )
    source = read(path, **{key: value for key, value in options.items() if key == "header"})
    if "max_rows" in options:
        source = draw_rows(source, options["max_rows"], 0)
    kept = np.load(run.path / "out-of-fold.npz")
    number_of = {row: place for place, row in enumerate(source.row_numbers(np.arange(len(source))).tolist())}
    targets = source.targets[[number_of[row] for row in kept["rows"].tolist()]]
    for record in read_records(run.path / "records.jsonl"):
        if record["kind"] != "score":
            continue
        mine = kept["folds"] == record["fold"]
        said = kept["outputs-0"][mine]
        if run.info["task"] == "classification":
            truth = np.searchsorted(np.unique(source.targets), targets[mine])
            expected = classes(truth, said)
        else:
            expected = numbers(targets[mine], said)
        for metric, value in expected.items():
            assert record["valid"][metric] == pytest.approx(value, abs=1e-9, rel=1e-12), metric
