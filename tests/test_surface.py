"""The command line and Python say the same: every flag has its keyword argument, with the same default."""

import dataclasses
import inspect

import pytest

import tenfold
from tenfold.cli.curves import learning_curve, width_curve
from tenfold.cli.finding import find_lr
from tenfold.cli.fitting import fit
from tenfold.cli.grids import compare, cv, replicate
from tenfold.cli.searching import search
from tenfold.study.grid_options import FoldedFitOptions, GridOptions
from tenfold.study.options import FitOptions
from tenfold.study.search_options import SearchOptions

ON_THE_SCREEN = {"as_json", "quiet", "show_space"}
CALLED = {"source": "data", "out_folder": "out", "method": "methods", "objective": "objectives", "rates": "num_rates"}
VERBS = {
    "fit": (fit, tenfold.fit, FoldedFitOptions),
    "search": (search, tenfold.search, SearchOptions),
    "cv": (cv, tenfold.cross_validate, GridOptions),
    "replicate": (replicate, tenfold.replicate, GridOptions),
    "compare": (compare, tenfold.compare, GridOptions),
    "learning-curve": (learning_curve, tenfold.learning_curve, GridOptions),
    "width-curve": (width_curve, tenfold.width_curve, GridOptions),
    "find-lr": (find_lr, tenfold.find_lr, FitOptions),
}


def defaults_of(function, options):
    """What a keyword argument is when it is left out: the function's own, or that of the options it passes on to."""
    known = {field.name: field.default for field in dataclasses.fields(options)}
    own = inspect.signature(function).parameters.values()
    known |= {parameter.name: parameter.default for parameter in own if parameter.kind != parameter.VAR_KEYWORD}
    return known


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_its_keyword_argument_with_the_same_default(verb):
    command, function, options = VERBS[verb]
    known = defaults_of(function, options)
    for name, parameter in inspect.signature(command).parameters.items():
        if name in ON_THE_SCREEN:
            continue
        called = CALLED.get(name, name)
        if called == "vary" and called not in known:
            called = "varies"
        assert called in known, f"{verb}: --{name} has no keyword argument"
        default = known[called]
        if parameter.default not in (inspect.Parameter.empty, None) and default is not None:
            assert parameter.default == default, f"{verb}: --{name}"


def test_a_test_part_is_held_out_by_both_alike(tenfold, tmp_path):
    import tenfold as python

    done = tenfold(
        "replicate", "iris", "--network", "linear", "--seeds", "2", "--epochs", "1", "--out", "run", "--json"
    )
    assert done.code == 0, done.err
    run = python.replicate("linear", "iris", seeds=2, epochs=1, out=tmp_path / "other")
    assert run.info["parts"]["test"] == python.Run(tmp_path / "run").info["parts"]["test"] == 30
