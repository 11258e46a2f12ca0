import shlex

import pytest

from tenfold.report import RunRecords
from tenfold.report.provenance import command_line, data, python_call


def run_of(argument, kind="table", **arguments):
    return {"verb": "fit", "seed": 5, "source": {"argument": argument, "kind": kind}, "arguments": arguments}


@pytest.mark.parametrize("argument", ["digits", "my data/it's.csv", "$(rm -rf x)", '"; quit', "花.csv"])
def test_any_path_survives_the_command_line_and_the_python_call(argument):
    run = run_of(argument, trials=8)
    assert shlex.split(command_line(run)) == ["tenfold", "fit", argument, "--trials", "8", "--seed", "5"]
    called = {}

    class Fake:
        @staticmethod
        def fit(source, **keywords):
            called.update(source=source, **keywords)

    exec(python_call(run).replace("import tenfold", ""), {"tenfold": Fake})
    assert called == {"source": argument, "trials": 8, "seed": 5}


def test_flags_that_were_not_given_are_left_out_and_lists_repeated():
    run = run_of(
        "digits", **{"--network": ["mlp", "linear"], "time": None, "overwrite": True, "json": False, "seed": 1}
    )
    assert command_line(run) == "tenfold fit digits --network mlp --network linear --overwrite --seed 5"


@pytest.mark.parametrize(("argument", "kind"), [(None, "table"), ({"rows": 3}, "table"), ("<Dataset>", "dataset")])
def test_data_from_memory_has_no_command_line(argument, kind):
    assert command_line(run_of(argument, kind)) is None
    assert "tenfold.fit(data, seed=5)" in python_call(run_of(argument, kind))


@pytest.mark.parametrize(
    ("verb", "network", "call"),
    [
        ("cv", ["mlp"], 'tenfold.cross_validate("mlp", "digits", folds=5, seed=5)'),
        ("replicate", None, 'tenfold.replicate(None, "digits", folds=5, seed=5)'),
    ],
)
def test_the_other_verbs_are_called_with_their_networks_first(verb, network, call):
    run = run_of("digits", network=network, folds=5) | {"verb": verb}
    assert call in python_call(run)
    assert command_line(run).startswith(f"tenfold {verb} digits")


def test_folds_of_ones_own_have_no_command_line():
    run = run_of("digits", folds="a1b2c3") | {"verb": "cv"}
    assert command_line(run) is None
    assert 'cross_validate(None, "digits", folds=folds, seed=5)  # folds: the object' in python_call(run)


def test_methods_configurations_and_streams_are_given_as_the_command_line_takes_them():
    methods = {"small": ["mlp", {"hidden": 32, "norm": "batch"}], "line": "linear"}
    run = run_of("digits", methods=methods, config={"lr": 0.01}, varies=["init"]) | {"verb": "compare"}
    assert shlex.split(command_line(run)) == [
        "tenfold", "compare", "digits", "--method", "small=mlp,hidden=32,norm=batch", "--method", "line=linear",
        "--config", "lr=0.01", "--vary", "init", "--seed", "5",
    ]  # fmt: skip
    called = []

    class Fake:
        @staticmethod
        def compare(*values, **keywords):
            called.append((values, keywords))

    exec(python_call(run).replace("import tenfold", ""), {"tenfold": Fake})
    asked = {"small": ("mlp", {"hidden": 32, "norm": "batch"}), "line": ("linear", {})}
    assert called == [((asked, "digits"), {"config": {"lr": 0.01}, "vary": ["init"], "seed": 5})]


def test_skipped_files_are_listed_up_to_a_limit(tmp_path):
    skipped = [{"file": f"<{i}>.png", "reason": "truncated"} for i in range(205)]
    markup = data(RunRecords(folder=tmp_path, run={"source": {"argument": "x", "skipped": skipped}}))
    assert "205 files skipped" in markup
    assert "&lt;199&gt;.png" in markup
    assert "5 more." in markup


def test_curves_are_repeated_by_the_options_that_they_were_asked_with():
    methods = {f"hidden={width}": ["mlp", {"hidden": width}] for width in (8, 16)}
    arguments = {
        "methods": methods,
        "curve_over": "hidden",
        "varies": ["init", "split"],
        "quantiles": [0.1, 0.5, 0.9],
    }
    run = {"verb": "width-curve", "seed": 1, "source": {"argument": "iris"}, "arguments": arguments}
    assert command_line(run) == (
        "tenfold width-curve iris --vary init --vary split --quantiles 0.1,0.5,0.9 --network mlp --parameter hidden "
        "--widths 8,16 --seed 1"
    )
    assert 'tenfold.width_curve("mlp", "iris"' in python_call(run)
    assert python_call(run).endswith('parameter="hidden", widths=[8, 16], seed=1)')


def test_words_of_several_parts_are_one_flag():
    run = run_of("my.csv", header=False, image_size=[96, 128], steps=[0.25, 1.0])
    assert shlex.split(command_line(run)) == [
        "tenfold", "fit", "my.csv", "--no-header", "--image-size", "96x128", "--steps", "0.25,1.0", "--seed", "5",
    ]  # fmt: skip


def test_the_whole_path_is_named_where_it_is_known():
    run = run_of("my data/x.csv")
    run["source"]["path"] = "/home/me/my data/x.csv"
    assert command_line(run) == "tenfold fit '/home/me/my data/x.csv' --seed 5"
    assert 'tenfold.fit("/home/me/my data/x.csv", seed=5)' in python_call(run)


@pytest.mark.parametrize(
    ("verb", "networks", "call"),
    [
        ("fit", ["net"], 'fit("digits", network=net, seed=5)'),
        ("search", ["net"], 'search(net, "digits", seed=5)'),
        ("search", ["net", "mlp"], 'search([net, "mlp"], "digits", seed=5)'),
    ],
)
def test_a_network_of_ones_own_is_the_object_itself(verb, networks, call):
    run = run_of("digits", network=networks) | {"verb": verb, "own_networks": ["net"]}
    assert command_line(run) is None
    assert f"tenfold.{call}  # net: the object" in python_call(run)
