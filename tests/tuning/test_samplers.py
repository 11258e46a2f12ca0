import math
import re
from pathlib import Path

import numpy as np
import optuna
import pytest

from tenfold.core.errors import InputError
from tenfold.testing import check_sampler
from tenfold.tuning import SAMPLERS, Categorical, Float, Int, Proposer, Space
from tenfold.tuning.annealing import AnnealingSampler
from tenfold.tuning.gaussian import GaussianProcessSampler
from tenfold.tuning.genetic import GeneticSampler
from tenfold.tuning.samplers import reseed

# as few random ones as each allows, so that a short search is a search
QUICK = {"tpe": "tpe:startup_trials=5", "gp": "gp:startup_trials=5,candidates=128", "genetic": "genetic:population=8"}
SEVERAL = [name for name in SAMPLERS if SAMPLERS[name].objectives == "several"]
VALLEY = Space({"x": Float(1e-4, 1e0, log=True), "y": Float(-1, 1)})
ADAPTIVE = ["tpe", "gp", "anneal", "genetic", "cmaes"]


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_keeps_what_a_search_relies_on(sampler):
    check_sampler(QUICK.get(sampler, sampler))


@pytest.mark.parametrize("sampler", SEVERAL)
def test_those_for_several_objectives_keep_it_with_two(sampler):
    check_sampler(QUICK.get(sampler, sampler), directions=("maximize", "minimize"))


@pytest.mark.parametrize(
    "sampler",
    [
        optuna.samplers.TPESampler(n_startup_trials=5),
        optuna.samplers.NSGAIISampler(population_size=6),
        optuna.samplers.CmaEsSampler(n_startup_trials=4, warn_independent_sampling=False),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_samplers_of_optunas_keep_it_too(sampler):
    check_sampler(sampler)


class Forgetful(optuna.samplers.RandomSampler):
    """Has a state that a seed does not reach."""

    def __init__(self):
        super().__init__(seed=0)
        self.entropy = np.random.SeedSequence()

    def sample_independent(self, study, trial, param_name, param_distribution):
        self._rng.rng.seed(np.random.SeedSequence().entropy % 2**32)
        return super().sample_independent(study, trial, param_name, param_distribution)


def test_a_sampler_that_does_not_follow_from_the_seed_is_found_out():
    with pytest.raises(AssertionError, match="the same asks and tells must propose the same"):
        check_sampler(Forgetful(), Space({"x": Float(0, 1)}))


def regret(sampler, seed):
    """The best of 48 proposals in batches of 8, below the top of a smooth hill."""
    proposer, best = Proposer(VALLEY, sampler=sampler, seed=seed), -math.inf
    for _ in range(6):
        for one in proposer.ask(8):
            score = -(((math.log10(one.config["x"]) + 2.6) / 2) ** 2) - (one.config["y"] - 0.3) ** 2
            best = max(best, score)
            proposer.tell(one.number, [score], state="complete")
    return -best


@pytest.mark.parametrize("sampler", ADAPTIVE)
def test_adaptive_samplers_beat_random_on_a_smooth_hill(sampler):
    seeds = range(3)
    random = np.median([regret("random", seed) for seed in seeds])
    quick = "gp:candidates=128" if sampler == "gp" else sampler
    assert np.median([regret(quick, seed) for seed in seeds]) < random / 2


@pytest.mark.parametrize("sampler", ["tpe", "gp:candidates=128", "anneal", "genetic:population=8"])
def test_choices_and_conditions_are_learned(sampler):
    space = Space(
        {
            "optimizer": Categorical(["adamw", "sgd", "rmsprop"]),
            "momentum": Float(0.0, 1.0, when={"optimizer": "sgd"}),
            "depth": Int(1, 9),
        }
    )
    proposer, late = Proposer(space, sampler=sampler, seed=0), []
    for turn in range(6):
        for one in proposer.ask(8):
            score = one.config.get("momentum", 0) - abs(one.config["depth"] - 7) / 8
            late += [one.config["optimizer"] == "sgd"] * (turn >= 4)
            proposer.tell(one.number, [score], state="complete")
    assert np.mean(late) > 0.5  # a third of random ones


def test_trials_that_left_early_count_with_their_last_value():
    proposer = Proposer(VALLEY, sampler="genetic:population=4,mutation=0.0,crossover=0.0", seed=0)
    best = {}
    for one in proposer.ask(8):
        score = one.config["y"]
        best = max(best, one.config, key=lambda config: config.get("y", -9))
        proposer.tell(one.number, None, state="pruned", curve={1: -9.0, 3: score})
    parents = {one.config["y"] for one in proposer.ask(1)}
    assert parents  # a copy of a parent would be one proposed twice, so that it is moved or drawn anew
    assert proposer._best() == best


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AnnealingSampler(seed=0, chains=0), r"AnnealingSampler: chains must be at least 1, got 0"),
        (lambda: AnnealingSampler(seed=0, temperature=0), r"temperature must be positive, got 0"),
        (lambda: AnnealingSampler(seed=0, cooling=1.5), r"cooling must be above 0 and at most 1, got 1.5"),
        (lambda: AnnealingSampler(seed=0, scale=-1), r"scale must be positive, got -1"),
        (lambda: GeneticSampler(seed=0, population=1), r"GeneticSampler: population must be at least 2, got 1"),
        (lambda: GeneticSampler(seed=0, crossover=2), r"crossover must be from 0 to 1, got 2"),
        (lambda: GeneticSampler(seed=0, mutation=-0.1), r"mutation must be from 0 to 1, got -0.1"),
        (lambda: GaussianProcessSampler(seed=0, startup_trials=1), r"must be at least 2, got 1 and 1024"),
    ],
)
def test_impossible_settings_of_samplers_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_one_objective_is_said_where_several_are_asked_for():
    with pytest.raises(
        InputError, match=r"sampler 'gp' takes one objective, got 2. Choose from grid, random, qmc, tpe, nsga2"
    ):
        Proposer(VALLEY, sampler="gp", seed=0, directions=("maximize", "minimize"))


def test_every_sampler_says_what_it_is_and_where_it_comes_from():
    for name in SAMPLERS:
        entry = SAMPLERS[name]
        assert len(entry.about) > 40
        assert entry.reference
        assert all(value is not None or name for value in entry.settings.values())


def test_reseeding_reaches_the_samplers_inside_of_a_sampler():
    first, second = (optuna.samplers.NSGAIISampler() for _ in range(2))
    for one in (first, second):
        reseed(one, 11)
    assert first._random_sampler._rng.rng.uniform() == second._random_sampler._rng.rng.uniform()
    assert first._rng.rng.uniform() == second._rng.rng.uniform()


def test_a_gaussian_process_bears_equal_scores_and_far_outliers():
    for scores in ([0.5] * 12, [-1e30, *[0.1 * k for k in range(11)]]):
        proposer = Proposer(VALLEY, sampler="gp:candidates=64", seed=0)
        for one, score in zip(proposer.ask(12), scores, strict=True):
            proposer.tell(one.number, [score], state="complete")
        assert len(proposer.ask(3)) == 3


def test_annealing_accepts_worse_places_while_it_is_hot_and_none_when_cold():
    study = optuna.create_study(direction="maximize")
    prefix = "tenfold:anneal:"

    def add(value, origin, chance):
        attributes = {"chain": 0, "chance": chance, "origin": origin, "moved": []}
        study.add_trial(
            optuna.trial.create_trial(
                value=value, system_attrs={prefix + key: each for key, each in attributes.items()}
            )
        )

    for value in (0.0, 2.0):  # their standard deviation is 1
        add(value, None, 0.5)
    add(1.0, 1, math.exp(-1.0 / 0.5) - 1e-3)  # worse by 1 at a temperature of 0.5: accepted by a hair
    add(0.5, 2, math.exp(-0.5 / 0.25) + 1e-3)  # worse by 0.5 at 0.25: refused by a hair
    sampler = AnnealingSampler(seed=0, chains=1, temperature=0.5, cooling=0.5)
    current, moves = sampler._walk(study, study.trials, 0)
    assert (current.number, moves) == (2, 2)


def test_the_page_names_every_sampler_with_its_settings_and_its_example_runs():
    page = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text("utf-8")
    for name in SAMPLERS:
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |") and line.count("|") == 6]
        assert set(re.findall(r"`(\w+)`", row.split("|")[4])) == set(SAMPLERS[name].settings)
        assert f"**{name}.**" in page
    [block] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile(block, "docs/samplers.md", "exec"), names)
    assert len(names["proposer"].ask(64)) == 64
