"""`search`: who proposes, who leaves, when it is enough, and what is written of it."""

import html
import json
import math
import shlex

import optuna
import pytest
import torch

import tenfold
from tenfold.core.errors import InputError, RunError
from tenfold.core.records import read_records
from tenfold.report import load_run, write_report
from tenfold.report.provenance import command_line, python_call
from tenfold.report.search_words import winner_run
from tenfold.study.generations import Generations, Told
from tenfold.study.job import Listener
from tenfold.study.search_options import SearchOptions
from tenfold.tuning import HALVINGS, Float, Int, Proposer, Space
from tenfold.tuning.samplers import SAMPLERS

SPACE = {"lr": Float(1e-3, 1e-1, log=True), "hidden": 8, "depth": 1}
QUICK = {"trials": 6, "epochs": 3, "form": "stacked", "threads": 1, "no_checks": True}


def search(out, space=SPACE, **more):
    return tenfold.search("mlp", "iris", space, out=out, **{**QUICK, **more})


def records(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


@pytest.fixture(scope="module")
def tpe(tmp_path_factory):
    return search(tmp_path_factory.mktemp("tpe") / "run", sampler="tpe", halving="hyperband", trials=12)


# -- what happens --------------------------------------------------------------------------------------------


def test_later_generations_begin_while_the_best_of_the_earlier_ones_train_on(tpe):
    proposals = records(tpe, "proposal")
    assert proposals[0]["first"] == 0
    assert sum(line["count"] for line in proposals) == 12
    assert len(proposals) > 1
    lines = list(read_records(tpe.path / "records.jsonl"))
    second = next(place for place, line in enumerate(lines) if line == proposals[1])
    through = [line for line in lines[:second] if line["kind"] == "left" and line["how"] == "complete"]
    assert len(through) < proposals[0]["count"], "somebody of the first generation still trains"
    assert {line["epoch"] for line in lines[second:] if line["kind"] == "epoch" and line["trial"] == 11} >= {1}


def test_every_trial_leaves_once_with_a_reason_and_is_told_once(tpe):
    assert sorted(line["trial"] for line in records(tpe, "left")) == list(range(12))
    assert sorted(line["trial"] for line in records(tpe, "told")) == list(range(12))
    for line in records(tpe, "left"):
        assert line["how"] in ("complete", "left")
        assert bool(line["reason"]) == (line["how"] == "left")


def test_what_is_told_is_the_best_score_of_a_trial(tpe):
    best = {}
    for line in records(tpe, "epoch"):
        best[line["trial"]] = max(best.get(line["trial"], -math.inf), line["valid"]["accuracy"])
    assert {line["trial"]: line["values"] for line in records(tpe, "told")} == {t: [s] for t, s in best.items()}
    through = {line["trial"] for line in records(tpe, "left") if line["how"] == "complete"}
    assert tpe.result["best"]["trial"] in through
    assert tpe.result["valid"]["mean"] == max(best[trial] for trial in through) == max(best.values())


def test_optunas_storage_holds_every_trial_with_its_state(tpe):
    study = optuna.load_study(study_name="run", storage=f"sqlite:///{tpe.path / 'study.db'}")
    how = {line["trial"]: line["how"] for line in records(tpe, "left")}
    assert {trial.user_attrs["trial"]: trial.state.name for trial in study.trials} == {
        trial: "COMPLETE" if own == "complete" else "PRUNED" for trial, own in how.items()
    }


def test_the_same_search_twice_has_the_same_records(tpe, tmp_path):
    again = search(tmp_path / "run", sampler="tpe", halving="hyperband", trials=12)
    assert (again.path / "records.jsonl").read_bytes() == (tpe.path / "records.jsonl").read_bytes()


def test_a_trial_has_the_scores_it_has_in_a_search_that_lets_nobody_leave(tpe, tmp_path):
    alone = search(tmp_path / "run", sampler="tpe", halving="none", trials=4)
    first = [line for line in records(tpe, "epoch") if line["trial"] < 4]
    expected = {(line["trial"], line["epoch"]): line["valid"] for line in records(alone, "epoch")}
    trials = {line["trial"]: line["config"] for line in records(alone, "trial")}
    same = {line["trial"] for line in records(tpe, "trial") if trials.get(line["trial"]) == line["config"]}
    assert same
    for line in first:
        if line["trial"] in same:
            assert line["valid"]["accuracy"] == pytest.approx(expected[line["trial"], line["epoch"]]["accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", "diabetes"])
@pytest.mark.parametrize("halving", list(HALVINGS))
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in ("gp", "cmaes", "nsga2")])
def test_every_sampler_runs_with_every_halving(sampler, halving, data, tmp_path):
    named = "grid:points=3" if sampler == "grid" else sampler
    run = tenfold.search("mlp", data, SPACE, sampler=named, halving=halving, out=tmp_path / "run", **QUICK)
    assert run.result["trials"] == 6
    assert math.isfinite(run.result["valid"]["mean"])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name in ("gp", "cmaes", "nsga2")])
def test_the_other_samplers_run_too(sampler, tmp_path):
    space = {**SPACE, "weight_decay": Float(1e-5, 1e-1, log=True)}
    assert search(tmp_path / "run", space, sampler=sampler, halving="successive").result["trials"] == 6


# -- when it is enough ---------------------------------------------------------------------------------------


def test_it_ends_when_the_target_is_reached(tmp_path):
    run = search(tmp_path / "run", sampler="random", target_score=0.2)
    assert run.result["ended"] == "target"
    assert {line["epoch"] for line in records(run, "epoch")} == {1}
    assert {line["how"] for line in records(run, "left")} <= {"budget", "left"}


def test_it_ends_when_the_epochs_are_used_up(tmp_path):
    run = search(tmp_path / "run", sampler="tpe", halving="none", epoch_budget=7, population=2)
    assert run.result["ended"] == "epochs"
    assert 7 <= run.result["epochs_trained"] <= 7 + 2


def test_it_ends_when_the_space_has_no_more(tmp_path):
    space = {**SPACE, "lr": tenfold.Categorical([0.01, 0.1]), "weight_decay": 0.01}
    run = search(tmp_path / "run", space, sampler="tpe", halving="none")
    assert run.result["trials"] == 2


# -- where it begins -----------------------------------------------------------------------------------------


def test_own_configurations_are_tried_first(tmp_path):
    run = search(tmp_path / "run", sampler="tpe", enqueue=[{"lr": 0.02}, {"lr": 0.03}], halving="none", trials=3)
    assert [line["config"]["lr"] for line in records(run, "trial")][:2] == [0.02, 0.03]


def test_a_warm_start_tells_of_an_earlier_run_and_tries_nothing_again(tpe, tmp_path):
    run = search(tmp_path / "run", sampler="tpe", halving="none", trials=4, warm_start=tpe.path)
    before = {line["config"]["lr"] for line in records(tpe, "trial")}
    now = [line["config"]["lr"] for line in records(run, "trial")]
    assert [line["trial"] for line in records(run, "trial")] == [0, 1, 2, 3]
    assert not before & set(now)
    assert "told of 12 earlier trials" in run.info["search"]
    assert len(run.info["warm_start"]) == 12


def test_a_warm_start_by_another_metric_is_refused(tpe, tmp_path):
    with pytest.raises(
        InputError, match=r"was decided by accuracy, this one is by log_loss\. Choose --metric accuracy"
    ):
        search(tmp_path / "run", metric="log_loss", warm_start=tpe.path)


# -- more than one number ------------------------------------------------------------------------------------


def test_several_objectives_give_a_front(tmp_path):
    space = {**SPACE, "hidden": Int(2, 64, log=True)}
    run = search(tmp_path / "run", space, sampler="random", halving="none", objectives=("parameters",))
    told = {line["trial"]: line["values"] for line in records(run, "told")}
    front = run.result["front"]
    for point in front:
        assert [point["accuracy"], point["parameters"]] == told[point["trial"]]
        assert not any(
            s >= point["accuracy"] and c <= point["parameters"] and [s, c] != told[point["trial"]]
            for s, c in told.values()
        )
    hidden = {line["trial"]: line["config"]["hidden"] for line in records(run, "trial")}
    for trial, (_, parameters) in told.items():
        assert parameters == 4 * hidden[trial] + hidden[trial] + 3 * hidden[trial] + 3


def test_latency_is_measured_once_a_structure_and_kept(tmp_path):
    run = search(tmp_path / "run", sampler="random", halving="none", trials=3, objectives=("latency",))
    (measured,) = run.info["latency_ms"].values()
    assert {line["values"][1] for line in records(run, "told")} == {measured}


def test_folds_and_seeds_decide_together(tmp_path):
    run = search(tmp_path / "run", sampler="tpe", folds=2, seeds=2, halving="successive", trials=3)
    assert run.result["members"] == 12
    assert run.result["valid"]["n"] == 4
    for line in records(run, "told"):
        scores = {}
        for epoch in records(run, "epoch"):
            if epoch["trial"] == line["trial"]:
                member = (epoch["fold"], epoch["seed"])
                scores[member] = max(scores.get(member, 0), epoch["valid"]["accuracy"])
        assert line["values"][0] == pytest.approx(sum(scores.values()) / 4)


@pytest.mark.parametrize("final", ["refit", "average"])
def test_the_other_final_models_predict(tmp_path, final):
    run = search(tmp_path / "run", sampler="random", halving="none", trials=7, final=final)
    assert run.predict([[5.1, 3.5, 1.4, 0.2]]).shape == (1,)
    assert len(run.model.parts) == (1 if final == "refit" else 5)


def test_when_all_diverge_one_sentence_says_so(tmp_path):
    space = {**SPACE, "lr": Float(1e30, 1e38), "optimizer": "sgd"}
    with pytest.raises(
        RunError, match=r"no trial that is left has a finite accuracy: all have diverged\. Lower the learning rates.*"
    ):
        search(tmp_path / "run", space, trials=3, halving="none")


# -- generations ---------------------------------------------------------------------------------------------


def generations(trials=64, epochs=27, **options):
    return Generations(Space(SPACE), SearchOptions(**options), "maximize", trials=trials, epochs=epochs)


def test_where_nothing_is_learned_all_trials_begin_together():
    assert generations(sampler="random").size(0) == 64
    assert generations(sampler="qmc", halving="successive").size(0) == 64


def test_where_the_sampler_learns_a_generation_is_a_bracket():
    own = generations(sampler="tpe", halving="hyperband")
    sizes = []
    while not own.is_over:
        draws = own.ask(own.size(0))
        sizes.append(len(draws))
        own.tell(draws[0].number, [0.5], "complete", {})
    assert tuple(sizes) == own.rule.start_trials


def test_the_next_generation_waits_for_room_and_for_news():
    own = generations(sampler="tpe", halving="successive", population=16)
    draws = own.ask(own.size(0))
    assert own.size(16) == 0
    assert own.size(5) == 0, "nothing has been told yet"
    own.tell(draws[0].number, [0.5], "pruned", {1: 0.5})
    assert own.size(16) == 0
    assert own.size(5) == 16


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee'. Did you mean 'tpe'"),
        ({"halving": "hyperbnd"}, "unknown halving 'hyperbnd'. Did you mean 'hyperband'"),
        ({"resource": "epoch"}, "--resource must be one of epochs, data, scale, got 'epoch'"),
        ({"population": 0}, "--population must be a whole number >= 1, got 0"),
        ({"min_resource": 1.5}, "--min-resource must be a whole number >= 1, got 1.5"),
        ({"epoch_budget": 0}, "--epoch-budget must be above 0, got 0"),
        ({"target_score": "high"}, "--target-score must be a number, got 'high'"),
        ({"objectives": ("flops",)}, "--objective must be of parameters, latency, got 'flops'"),
        ({"warm_start": "x", "objectives": ("latency",)}, "--warm-start takes one objective"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(InputError) as error:
        SearchOptions(**options)
    assert sentence in str(error.value)


def test_an_option_that_there_is_not_is_the_callers_mistake(tmp_path):
    with pytest.raises(TypeError, match="search: got an unexpected keyword argument 'trails'"):
        search(tmp_path / "run", trails=3)


def test_what_the_sampler_proposes_is_what_is_recorded(tpe):
    told = json.loads((tpe.path / "run.json").read_text())
    assert told["verb"] == "search"
    assert [bracket["trials"] for bracket in told["brackets"]] == [line["count"] for line in records(tpe, "proposal")]


# -- what it tells -------------------------------------------------------------------------------------------


def test_the_report_shows_the_search_and_who_left_and_the_winner_to_use_elsewhere(tpe):
    page = (tpe.path / "report.html").read_text("utf-8")
    for anchor in ("history", "verdicts", "halving", "slices", "parallel", "winner"):
        assert f'<section id="{anchor}">' in page
    config = tpe.result["best"]["config"]
    assert f"tenfold cv iris --network mlp --config hidden={config['hidden']}" in page
    reason = next(line["reason"] for line in records(tpe, "left") if line["how"] == "left")
    assert reason in page


def test_the_winner_is_repeated_from_another_folder_exactly_as_printed(tmp_path, commands):
    rows = [f"{a},{b},{'yes' if a > b else 'no'},{a}" for a in range(8) for b in range(8)]
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "my table.csv").write_text("\n".join(["a,b,answer,copy", *rows]) + "\n")
    searched = commands.run(
        "search", "my table.csv", "--target", "answer", "--network", "mlp", "--trials", 2, "--epochs", 2,
        "--no-checks", "--out", "run", cwd=tmp_path / "my data",
    )  # fmt: skip
    assert searched.code == 0, searched.err
    assert "search: 2 trials of mlp, at most 2 epochs" in searched.err
    asked = load_run(tmp_path / "my data" / "run").run
    words = shlex.split(command_line(winner_run(asked, asked["result"]["best"])))
    assert html.escape(shlex.join(words), quote=False) in (tmp_path / "my data/run/report.html").read_text("utf-8")
    again = commands.run(*words[1:], "--json", cwd=tmp_path)
    assert again.code == 0, again.err
    assert json.loads(again.out)["best"]["config"] == asked["result"]["best"]["config"]
    names: dict = {}
    exec(
        python_call(winner_run(asked, asked["result"]["best"])).rpartition(")")[0]
        + f", out={str(tmp_path / 'py')!r})",
        names,
    )
    assert names["run"].result["valid"]["mean"] == pytest.approx(json.loads(again.out)["valid"]["mean"])


def test_what_was_saved_is_what_the_records_say(tpe):
    assert tpe.info["insights"]["saved"] == {"trained": len(records(tpe, "epoch")), "full": 12 * 3}


def test_a_report_can_be_written_of_a_search_that_has_only_begun(tpe, tmp_path):
    info = {**tpe.info, "status": "running"}
    del info["result"], info["insights"]
    (tmp_path / "run.json").write_text(json.dumps(info))
    lines = (tpe.path / "records.jsonl").read_text().splitlines()
    (tmp_path / "records.jsonl").write_text("\n".join(lines[:12]) + "\n")
    page = write_report(tmp_path).read_text("utf-8")
    assert "No trial has a score yet" in page or '<section id="history">' in page
    assert "Nobody has left yet." in page


def test_a_warm_trial_that_breaks_a_constraint_lends_its_score_to_nobody(monkeypatch):
    told = []
    monkeypatch.setattr(Proposer, "tell", lambda self, number, values, **rest: told.append((number, values)))
    space = Space({"a": tenfold.Int(1, 9), "b": tenfold.Int(1, 9)}, constraints=["a + b <= 10"])
    warm = [
        Told(config={"a": a, "b": b}, score=score, state="complete", curve={})
        for a, b, score in ((9, 9, 0.9), (1, 2, 0.1), (3, 4, 0.3))
    ]
    generations = Generations(space, SearchOptions(sampler="random"), "maximize", trials=4, epochs=2, warm=warm)
    assert sorted(values for _, values in told) == [[0.1], [0.3]]
    assert len(generations.ask(2)) == 2


def test_a_run_with_a_loss_of_ones_own_is_resumed_with_it(tmp_path):
    def own_loss(outputs, targets):
        return torch.nn.functional.cross_entropy(outputs, targets)

    class StopError(Exception):
        pass

    class Stopping(Listener):
        def progress(self, progress):
            if progress.epoch == 1:
                raise StopError

    options = {"loss": own_loss, "trials": 2, "epochs": 3, "out": tmp_path / "run", "network": "linear"}
    with pytest.raises(StopError):
        tenfold.fit("iris", listener=Stopping(), **options)
    assert tenfold.fit("iris", resume=True, **options).info["status"] == "done"
