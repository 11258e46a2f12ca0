"""Searches over epochs, data and scale: every sampler and every halving at each, and what is promised of a ladder."""

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import torch

import tenfold
from tenfold.core.errors import InputError, RunError
from tenfold.core.records import read_records
from tenfold.report import write_report
from tenfold.study import SearchOptions, framed_on
from tenfold.study.generation_plans import _ladder_epochs
from tenfold.study.generations import Generations
from tenfold.study.steps import Steps, in_words
from tenfold.tuning import HALVINGS, Float, Int, Space
from tenfold.tuning.samplers import SAMPLERS

SPACE = {"lr": Float(1e-3, 1e-1, log=True), "weight_decay": Float(1e-5, 1e-1, log=True), "hidden": 8, "depth": 1}
TOML = "lr = { low = 0.001, high = 0.1, log = true }\nweight_decay = { low = 1e-5, high = 0.1, log = true }\n"
QUICK = {"trials": 6, "epochs": 2, "form": "stacked", "threads": 1, "no_checks": True}
RESOURCES = {
    "epochs": {},
    "data": {"steps": (0.2, 0.5, 1)},
    "scale": {"steps": (0.25, 0.5, 1)},
}
DATA = ("digits", "diabetes", "fashion")

FRACTIONS = (1 / 9, 1 / 3, 1.0)

# One of each for CI: every sampler, and every halving over data and over scale, on both bundled sets.
IN_CI = {
    ("data", "none", "grid", "digits"),
    ("data", "successive", "random", "diabetes"),
    ("data", "hyperband", "tpe", "digits"),
    ("data", "median", "gp", "diabetes"),
    ("data", "curve", "anneal", "digits"),
    ("scale", "none", "genetic", "diabetes"),
    ("scale", "successive", "cmaes", "digits"),
    ("scale", "hyperband", "qmc", "diabetes"),
    ("scale", "median", "nsga2", "digits"),
    ("scale", "curve", "tpe", "diabetes"),
}
EVERY = [
    (resource, halving, sampler, data)
    for resource in RESOURCES
    for halving in HALVINGS
    for sampler in SAMPLERS
    for data in DATA
]


@pytest.fixture(scope="session")
def fashion() -> tuple[np.ndarray, np.ndarray]:
    """The first 600 pictures of Fashion-MNIST and their classes."""
    root = os.environ.get("TENFOLD_DATA")
    if not root or not (Path(root) / "fashion-mnist").is_dir():
        pytest.skip("TENFOLD_DATA names no folder that has fashion-mnist")
    source = tenfold.data.read(Path(root) / "fashion-mnist")
    rows = np.arange(600)
    return source.inputs.take(rows).images[:, 0], np.asarray(source.targets[rows])


@pytest.fixture
def data_named(request, tmp_path):
    """The data of a name; of a file the path."""

    def found(name: str) -> str:
        if name != "fashion":
            return name
        pictures, classes = request.getfixturevalue("fashion")
        np.savez(tmp_path / "fashion.npz", x=pictures, y=classes)
        return str(tmp_path / "fashion.npz")

    return found


def search(out, data="digits", space=SPACE, **more):
    return tenfold.search("mlp", data, space, out=out, **{**QUICK, **more})


def records(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


def named(sampler):
    return "grid:points=3" if sampler == "grid" else sampler


@pytest.mark.parametrize(
    ("resource", "halving", "sampler", "data"),
    [pytest.param(*case, marks=() if case in IN_CI else pytest.mark.slow) for case in EVERY],
)
def test_every_sampler_runs_with_every_halving_at_every_resource(
    resource, halving, sampler, data, data_named, tmp_path
):
    run = search(
        tmp_path / "run", data_named(data), sampler=named(sampler), halving=halving, resource=resource,
        **RESOURCES[resource],
    )  # fmt: skip
    assert run.result["trials"] == 6
    assert math.isfinite(run.result["valid"]["mean"])
    assert len(records(run, "told")) == 6
    assert write_report(run.path).is_file()
    if resource != "epochs":
        assert run.result["ladder"]["best_on"] == run.result["ladder"]["steps"][-1]


@pytest.mark.parametrize(
    ("resource", "halving", "sampler", "data"),
    [
        pytest.param(*case, marks=() if case in IN_CI and case[1] in ("successive", "curve") else pytest.mark.slow)
        for case in EVERY
    ],
)
def test_so_it_does_from_the_command_line(resource, halving, sampler, data, data_named, tmp_path, request):
    tenfold_command = request.getfixturevalue("tenfold")
    (tmp_path / "space.toml").write_text(TOML)
    steps = [f"--steps={','.join(map(str, RESOURCES[resource]['steps']))}"] if RESOURCES[resource] else []
    finished = tenfold_command(
        "search", data_named(data), "--network", "mlp", "--space", "space.toml", "--sampler", named(sampler),
        "--halving", halving, "--resource", resource, *steps, "--trials", 6, "--epochs", 2, "--form", "stacked",
        "--threads", 1, "--no-checks", "--out", "run", "--json",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    assert finished.answer["trials"] == 6
    if resource != "epochs":
        assert finished.answer["ladder"]["resource"] == resource


def test_show_space_says_what_the_steps_are(request):
    finished = request.getfixturevalue("tenfold")(
        "search", "digits", "--network", "lenet", "--resource", "scale", "--epochs", 7, "--show-space"
    )
    assert finished.code == 0, finished.err
    assert "steps: 0.5 of the width, full width; 7 epochs on each; each begins with new weights" in finished.out


# -- data ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """Nine random trials on 1/9, 1/3 and all of the rows."""
    out = tmp_path_factory.mktemp("climbed") / "run"
    return search(out, resource="data", steps="1/9,1/3,1", sampler="random", halving="successive", trials=9)


def best_on(run, step):
    """Recomputed from the records: each trial's best accuracy on a step."""
    best = {}
    for line in records(run, "epoch"):
        if line["step"] == step:
            best[line["trial"]] = max(best.get(line["trial"], 0.0), line["valid"]["accuracy"])
    return best


def test_who_climbs_are_the_best_by_the_recorded_scores(climbed):
    for step, keep in ((0, 3), (1, 1)):
        scores = best_on(climbed, step)
        trials = np.array(sorted(scores))
        order = trials[np.argsort([-scores[trial] for trial in trials], kind="stable")]
        assert set(order[:keep].tolist()) == set(best_on(climbed, step + 1))
        left = {line["trial"]: line for line in records(climbed, "left") if line["step"] == step}
        assert set(left) == set(order[keep:].tolist())
        label = ("1/9 of the rows", "1/3 of the rows")[step]
        for trial, line in left.items():
            assert line["reason"].startswith(f"{scores[trial]:.4g} on {label} is number ")
    assert [line["step"] for line in records(climbed, "climb")] == [1, 2]


def test_epochs_are_counted_in_whole_ones(climbed):
    rows = 1079
    ninth, third = round(rows / 9), round(rows / 3)
    assert climbed.info["parts"]["train"] == rows
    expected = 2 * (9 * ninth + 3 * third + rows) / rows
    assert climbed.result["epochs_trained"] == pytest.approx(expected, abs=1e-3)
    assert climbed.info["insights"]["saved"] == {"trained": round(expected, 1), "full": 18}
    assert len(records(climbed, "epoch")) == 2 * (9 + 3 + 1)


def test_the_steps_are_said_and_drawn(climbed):
    said = "steps: 1/9 of the rows (120), 1/3 of the rows (360), all rows (1,079); 2 epochs on each; each goes on"
    assert climbed.info["ladder"]["said"].startswith(said)
    page = (climbed.path / "report.html").read_text("utf-8")
    assert "Who climbed how far" in page
    assert "epochs trained, counted on all rows" in page
    assert f"As much was trained as {climbed.info['insights']['saved']['trained']:g} epochs on all rows" in page


def test_whether_the_cheap_step_could_be_trusted_is_said_with_its_n(tmp_path):
    run = search(
        tmp_path / "run", "iris", resource="data", steps=(0.5, 1), sampler="random", halving="median", trials=8
    )
    both = best_on(run, 0).keys() & best_on(run, 1).keys()
    proxy = run.info["insights"]["proxy"]
    assert proxy.startswith("On 0.5 of the rows against all rows: ")
    assert str(len(both)) in proxy


def test_batches_of_a_step_are_of_the_same_nested_and_stratified_rows_for_all():
    question = framed_on("digits", SearchOptions(network=["mlp"], resource="data", steps=(0.1, 0.5, 1)))
    rows = []
    for step in range(3):
        provider = question.data.training(32, step=step)
        assert provider is question.data.training(32, step=step), "trials share it"
        rows.append(set(provider._batches.part.rows.tolist()))
    assert rows[0] < rows[1] < rows[2] == set(question.material.train.rows.tolist())
    assert [len(own) for own in rows] == [108, 540, 1079]
    targets = dict(zip(question.material.train.rows.tolist(), question.material.train.targets.tolist(), strict=True))
    whole = np.bincount(list(targets.values())) / len(targets)
    for own in rows:
        counts = np.bincount([targets[row] for row in own], minlength=10)
        assert np.abs(counts - whole * len(own)).max() <= 1.5
    scored = sum(len(batch[-1]) for batch in question.data.validation(1))
    assert scored == len(question.material.valid), "the validation part stays whole"


def test_what_a_sampler_is_told_of_a_trial_is_its_best_score_on_its_last_step(climbed):
    last = {}
    for step in range(3):
        last |= best_on(climbed, step)
    assert {line["trial"]: line["values"] for line in records(climbed, "told")} == {t: [s] for t, s in last.items()}


def test_optunas_storage_holds_that_score_too(climbed):
    study = optuna.load_study(study_name="run", storage=f"sqlite:///{climbed.path / 'study.db'}")
    told = {line["trial"]: line["values"][0] for line in records(climbed, "told")}
    assert {trial.user_attrs["trial"]: trial.value for trial in study.trials} == told


def test_the_same_search_twice_has_the_same_records(climbed, tmp_path):
    again = search(
        tmp_path / "run", resource="data", steps=(1 / 9, 1 / 3, 1), sampler="random", halving="successive", trials=9
    )
    assert (again.path / "records.jsonl").read_bytes() == (climbed.path / "records.jsonl").read_bytes()


def test_a_time_is_shared_among_the_steps():
    """Nine trials of a generation of two, at 0.1 s an epoch on all rows: 9/9 + 3/3 + 1 of these for each epoch."""
    ladder = Steps(resource="data", values=FRACTIONS, labels=("a", "b", "c"), costs=FRACTIONS).ladder(
        SearchOptions(halving="successive", resource="data"), 9, "maximize", 50
    )
    question = SimpleNamespace(
        ladder=ladder, epochs=50, draws=[SimpleNamespace(number=trial) for trial in range(9)],
        steps_per_epoch=lambda batch_size: 10,
        specs=[SimpleNamespace(step=0, config=SimpleNamespace(recipe=SimpleNamespace(batch_size=32)))] * 9,
    )  # fmt: skip
    plan = [SimpleNamespace(places=range(9), quickest_seconds=0.01)]
    options = SearchOptions(resource="data")
    assert _ladder_epochs(question, plan, options, 18, 10.0) == int(10 * 0.7 / (0.1 * 2 * 3))
    assert _ladder_epochs(question, plan, options, 18, 1e9) == 4 * 50
    assert _ladder_epochs(question, plan, options, 18, 0.0) == 1


def test_another_final_model_is_trained_on_all_rows_for_the_epochs_of_a_step(tmp_path):
    run = search(
        tmp_path / "run",
        "iris",
        resource="data",
        steps=(0.5, 1),
        halving="successive",
        sampler="random",
        final="refit",
    )
    assert run.predict([[5.1, 3.5, 1.4, 0.2]]).shape == (1,)


class FrozenBody(torch.nn.Module):
    """A frozen backbone, the same for all, and a head of the member's own."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(24, 10)
        own = torch.get_rng_state()
        torch.manual_seed(3)
        body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.Tanh())
        self.body = body.requires_grad_(False)
        torch.set_rng_state(own)

    def forward(self, x):
        return self.head(self.body(x))


def test_a_frozen_first_part_is_shared_on_every_step(tmp_path):
    space = {"lr": Float(1e-3, 1e-1, log=True)}
    run = tenfold.search(
        FrozenBody, "digits", space, resource="data", steps=(0.5, 1), halving="successive", sampler="random",
        out=tmp_path / "run", **QUICK,
    )  # fmt: skip
    assert run.info["shared"] == ["head", None]
    assert best_on(run, 1).keys() < best_on(run, 0).keys()
    assert run.result["ladder"]["best_on"] == "all rows"


# -- scale ---------------------------------------------------------------------------------------------------


def test_a_width_multiplies_each_trials_own_and_the_last_step_is_the_whole_network(tmp_path):
    space = {**SPACE, "hidden": Int(8, 16)}
    run = search(tmp_path / "run", space=space, resource="scale", sampler="random", halving="successive", trials=9)
    assert run.info["ladder"]["labels"] == ["0.25 of the width", "0.5 of the width", "full width"]
    assert run.info["ladder"]["costs"] == sorted(run.info["ladder"]["costs"])
    best = run.result["best"]["config"]
    assert run.model.parts[0].config["hidden"] == best["hidden"]
    assert run.model.parts[0].module.output.in_features == best["hidden"]
    through = {line["trial"] for line in records(run, "left") if line["how"] == "complete"}
    assert through == {run.result["best"]["trial"]}


def test_a_smaller_model_is_built_with_its_share_of_the_width_and_weights_of_its_own():
    question = framed_on("digits", SearchOptions(network=["mlp"], space=SPACE, resource="scale", trials=4))
    steps = question.steps
    config = {"network": "mlp", "hidden": 100, "lr": 0.1}
    assert steps.values == (0.25, 0.5, 1.0)
    assert [steps.config_on(step, config, question.networks)["hidden"] for step in range(3)] == [25, 50, 100]
    assert [steps.config_on(step, {"network": "mlp"}, question.networks).get("hidden") for step in range(3)] == [
        32,
        64,
        None,
    ]


def test_a_family_is_climbed_by_name_with_the_settings_that_each_knows():
    options = SearchOptions(network=["resnet50"], resource="scale")
    steps = framed_on("digits", options).steps
    assert steps.values == ("resnet18", "resnet34", "resnet50")
    config = {"network": "resnet50", "lr": 0.1, "drop_prob": 0.2}
    assert steps.config_on(0, config, {"resnet50": "resnet50"})["network"] == "resnet18"
    assert steps.config_on(2, config, {"resnet50": "resnet50"}) == config


def test_a_family_of_ones_own_choice_is_searched(tmp_path):
    run = tenfold.search(
        "mlp", "iris", SPACE, resource="scale", steps=("linear", "mlp"), halving="successive", sampler="random",
        out=tmp_path / "run", **QUICK,
    )  # fmt: skip
    assert run.result["ladder"]["best_on"] == "mlp"
    assert run.result["best"]["network"] == "mlp"
    assert {row["network"] for row in run.info["plan"]} == {"linear", "mlp"}


def test_a_network_of_ones_own_is_scaled_by_its_width(tmp_path):
    widths = []

    def net(width=8):
        widths.append(width)
        return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 3))

    run = tenfold.search(
        net, "iris", {"lr": Float(1e-3, 1e-1, log=True)}, resource="scale", halving="successive", sampler="random",
        out=tmp_path / "run", **QUICK,
    )  # fmt: skip
    assert set(widths) == {2, 4, 8}
    assert run.result["ladder"]["steps"] == ["0.25 of the width", "0.5 of the width", "full width"]


def test_what_an_epoch_costs_is_the_share_of_the_flops(tmp_path):
    run = search(tmp_path / "run", resource="scale", steps=(0.5, 1), sampler="random", halving="successive")
    half, whole = (2 * (64 * hidden + hidden * 10) for hidden in (4, 8))
    assert run.info["ladder"]["costs"] == pytest.approx([half / whole, 1], rel=0.1)
    cost = run.info["ladder"]["costs"][0]
    assert run.result["epochs_trained"] == pytest.approx(2 * (6 * cost + 2), abs=2e-3)


def test_folds_and_seeds_are_searched_over_scale(tmp_path):
    run = search(
        tmp_path / "run", "iris", resource="scale", steps=(0.5, 1), sampler="random", halving="successive", folds=2
    )
    assert run.result["valid"]["n"] == 2
    assert run.result["members"] == 12


def test_a_target_counts_when_the_whole_network_reaches_it(tmp_path):
    run = search(tmp_path / "run", "iris", resource="scale", steps=(0.5, 1), halving="successive", target_score=0.1)
    assert run.result["ended"] == "target"
    assert run.result["ladder"]["best_on"] == "full width"


# -- generations and steps -----------------------------------------------------------------------------------


def test_a_generation_is_a_bracket_of_the_ladder():
    steps = Steps(resource="data", values=FRACTIONS, labels=("a", "b", "c"), costs=FRACTIONS)
    options = SearchOptions(sampler="tpe", halving="hyperband", resource="data")
    own = Generations(Space(SPACE), options, "maximize", trials=15, epochs=4, steps=steps)
    sizes = []
    while not own.is_over:
        draws = own.ask(own.size(0))
        sizes.append(len(draws))
        assert {own.ladder.first_step(drawn.number) for drawn in draws} == {len(sizes) - 1}
        own.tell(draws[0].number, [0.5], "complete", {})
    assert sizes == [9, 3, 3]


def test_without_halving_a_generation_is_a_share_of_the_trials():
    steps = Steps(resource="data", values=(0.5, 1.0), labels=("a", "b"), costs=(0.5, 1.0))
    own = Generations(
        Space(SPACE), SearchOptions(halving="none", resource="data"), "maximize", trials=64, epochs=4, steps=steps
    )
    assert own.size(0) == 16


@pytest.mark.parametrize(
    ("rows", "expected"), [(60_000, (1 / 27, 1 / 9, 1 / 3, 1)), (1079, (1 / 9, 1 / 3, 1)), (90, (1 / 3, 1))]
)
def test_the_data_choose_fractions_with_rows_enough(rows, expected):
    from tenfold.study.steps import make_steps

    steps = make_steps(SearchOptions(resource="data"), {}, Space({}), None, rows)
    assert steps.values == pytest.approx(expected)


def test_fractions_are_written_as_one_writes_them():
    assert [in_words(value) for value in (1 / 27, 0.125, 0.1, 1 / 3)] == ["1/27", "0.125", "0.1", "1/3"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": (0.5, 1)}, "--steps are for --resource data and scale, got 0.5, 1 for epochs"),
        (
            {"resource": "data", "steps": (0.5, 0.2, 1)},
            "--steps must be numbers above 0 that rise to 1, got 0.5, 0.2, 1",
        ),
        ({"resource": "data", "steps": "0.1,0.5"}, "--steps must be numbers above 0 that rise to 1, got 0.1, 0.5"),
        ({"resource": "data", "steps": "resnet18"}, "--steps must be numbers above 0 that rise to 1, got resnet18"),
        ({"resource": "scale", "steps": "resnet18,1"}, "rise to 1, or names of networks, the one searched last, got"),
        ({"resource": "data", "min_resource": 3}, "--min-resource counts epochs, got it for --resource data"),
        ({"resource": "data", "folds": 3}, "--resource data takes one validation part and one seed a trial"),
        ({"resource": "scale", "objectives": ("parameters",)}, "--resource scale takes one objective, the metric"),
        ({"resource": "dta"}, "--resource must be one of epochs, data, scale, got 'dta'"),
    ],
)
def test_steps_that_there_cannot_be_are_refused(options, sentence):
    with pytest.raises(InputError) as error:
        SearchOptions(**options)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("network", "options", "sentence"),
    [
        (
            "mlp",
            {"resource": "data", "steps": (0.001, 0.002, 1)},
            r"rising fractions with at least 2 rows, got 0\.001",
        ),
        ("linear", {"resource": "scale"}, r"linear has no smaller relatives and no width to reduce\. .*mlp"),
        (
            "mlp",
            {"resource": "scale", "steps": ("mlp", "lenet")},
            r"must end with the only network .*--network lenet",
        ),
        ("mlp", {"resource": "scale", "steps": ("unet", "mlp")}, r"--steps: unet cannot take these data"),
    ],
)
def test_a_ladder_that_the_data_or_the_network_do_not_have_is_refused(network, options, sentence):
    with pytest.raises(InputError, match=sentence):
        framed_on("digits", SearchOptions(network=[network], **options))


def test_networks_without_a_width_in_common_are_refused(monkeypatch):
    from dataclasses import replace

    from tenfold.networks import NETWORKS

    monkeypatch.setitem(NETWORKS._entries, "lenet", replace(NETWORKS["lenet"], widths=(0.3, 1.0)))
    with pytest.raises(
        InputError, match=r"mlp and lenet have no widths in common\. Write some: --steps 0\.25,0\.5,1"
    ):
        framed_on("digits", SearchOptions(network=["mlp", "lenet"], resource="scale"))


def test_a_network_of_ones_own_without_a_number_for_its_width_is_refused():
    def net(width):
        return torch.nn.Linear(4, 3)

    question = framed_on("iris", SearchOptions(network=[net], resource="scale"))
    with pytest.raises(InputError, match="net must have a number for width or hidden, got none"):
        question.steps.config_on(0, {"network": "net"}, question.networks)


# -- resume --------------------------------------------------------------------------------------------------


def as_record(drawn, **changed):
    return {"trial": drawn.number, "config": {**drawn.config, **changed}}


@pytest.mark.parametrize("first", [0, 2])
def test_a_resumed_search_takes_the_recorded_proposals_for_the_truth(first, tmp_path, monkeypatch):
    """Another version of a sampler may propose otherwise; what was recorded counts, and is told."""
    whole = search(tmp_path / "whole", "iris", sampler="tpe", halving="none", population=2, trials=6)
    killed = tmp_path / "killed"

    class StopError(Exception):
        pass

    class Stopping(tenfold.study.job.Listener):
        def progress(self, progress):
            if progress.trials >= 4:
                raise StopError

    monkeypatch.setattr("tenfold.train.Checkpointer.due", lambda self: True)
    with pytest.raises(StopError):
        search(killed, "iris", sampler="tpe", halving="none", population=2, trials=6, listener=Stopping())
    ask = Generations.ask

    def otherwise(self, n):
        asked = self.num_asked
        draws = ask(self, n)
        if asked != first:
            return draws
        return self.retake(draws, [as_record(drawn, lr=0.05 + 0.001 * drawn.number) for drawn in draws])

    monkeypatch.setattr(Generations, "ask", otherwise)
    notes = []

    class Noting(tenfold.study.job.Listener):
        def note(self, sentence):
            notes.append(sentence)

    resumed = search(
        killed, "iris", sampler="tpe", halving="none", population=2, trials=6, resume=True, listener=Noting()
    )
    assert any(f"would propose trials {first} to {first + 1} otherwise now" in sentence for sentence in notes)
    assert [line["config"] for line in records(resumed, "trial")] == [
        line["config"] for line in records(whole, "trial")
    ]
    assert records(resumed, "told") == records(whole, "told")


def test_plans_of_trials_that_were_never_recorded_are_not_used_for_others(tmp_path, monkeypatch):
    """Epochs trained again may differ in their last bits; the sampler then proposes others for the same places."""
    killed = tmp_path / "killed"
    space = {**SPACE, "hidden": Int(4, 64)}

    class StopError(Exception):
        pass

    class Stopping(tenfold.study.job.Listener):
        def progress(self, progress):
            if progress.trials >= 4:
                raise StopError

    options = {"sampler": "tpe", "halving": "none", "population": 2, "trials": 4, "data": "iris", "space": space}
    monkeypatch.setattr("tenfold.train.Checkpointer.due", lambda self: False)
    with pytest.raises(StopError):
        search(killed, listener=Stopping(), **options)
    planned = json.loads((killed / "run.json").read_text())["plan_stacks"]
    assert any(max(line["places"]) >= 2 for line in planned), "the second generation was planned"
    ask = Generations.ask

    def otherwise(self, n):
        draws = ask(self, n)
        if draws and draws[0].number == 2:
            return self.retake(draws, [as_record(own, hidden=5 + own.number) for own in draws])
        return draws

    monkeypatch.setattr(Generations, "ask", otherwise)
    resumed = search(killed, resume=True, **options)
    assert [line["config"]["hidden"] for line in records(resumed, "trial")][2:] == [7, 8]


def test_recorded_trials_that_are_not_in_the_space_are_refused():
    own = Generations(Space(SPACE), SearchOptions(sampler="tpe"), "maximize", trials=6, epochs=2)
    draws = own.ask(2)
    with pytest.raises(RunError, match=r"recorded trials from 0 on must lie in the space, got: space: lr must be"):
        own.retake(draws, [as_record(drawn, lr=9.0) for drawn in draws])
