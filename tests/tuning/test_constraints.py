import pytest

from tenfold.core.errors import InputError
from tenfold.testing import check_sampler
from tenfold.tuning import SAMPLERS, Categorical, Constraint, Float, Grid, Int, Proposer, Space, draw

NETS = {"hidden": Int(64, 1024, log=True), "depth": Int(1, 8), "lr": Float(1e-4, 1e-1, log=True)}
CONFIG = {"a": 3, "b": 0.5, "word": "sgd", "flag": True, "nothing": None}


@pytest.mark.parametrize(
    "expression",
    [
        "a * b <= 512",
        "1 < a < 4 and not flag == False",
        "word in ('sgd', 'adamw') or a / 0 > 1",
        "nothing is None and word != 'adam'",
        "max(a, 2 ** 3) - min(a, b) == 7.5",
        "log2(8) + sqrt(4) + log10(100) + abs(-a) + round(1.4) == 11",
        "(a if flag else 0) % 2 == 1 and 7 // 2 == 3 and +a == - -a",
        "b not in [1, 2] and word is not None",
        "absent * a > 5",
        "not (absent > 5)",
    ],
)
def test_an_expression_means_what_it_means_in_python(expression):
    if "absent" not in expression:
        functions = {name: __import__("math").__dict__[name] for name in ("log2", "log10", "sqrt")}
        assert eval(expression, functions, dict(CONFIG))
    assert Constraint(expression).holds(CONFIG)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("a <", r"constraint 'a <': must be an expression such as .* got a mistake \(invalid syntax\)"),
        ("", r"must be an expression"),
        ("import os", r"must be an expression"),
        ("__import__('os').system('x')", r"must be made of names, numbers, words.* got \"__import__\('os'\)"),
        ("a.real > 1", r"got 'a.real'"),
        ("word[0] == 's'", r"got 'word\[0\]'"),
        ("open('/etc/passwd')", r"got \"open\('/etc/passwd'\)\""),
        ("[x for x in word]", r"got '\[x for x in word\]'"),
        ("(lambda: 1)()", r"must be made of"),
        ("f'{a}' == '3'", r"must be made of"),
        ("max(a, key=b)", r"must be made of"),
        ("a := 3", r"must be an expression"),
        ("b'x' == a", r"got \"b'x'\""),
        ("a & 1", r"got 'a & 1'"),
        ("max(*a)", r"got '\*a'"),
        ("-" * 500 + "a", r"nested too deeply"),
        ("(" * 300 + "a" + ")" * 300, r"must be an expression"),
        ("a" * 1001, r"at most 1,000 characters, got 1,001"),
    ],
)
def test_what_is_no_plain_expression_is_refused(expression, message):
    with pytest.raises(InputError, match=message):
        Constraint(expression)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("a / 0 > 1", r"constraint 'a / 0 > 1': division by zero in the configuration \{'a': 3"),
        ("word + 1 > 2", r"arithmetic needs numbers, got 'sgd'"),
        ("word * 1000000000 == a", r"arithmetic needs numbers, got 'sgd'"),
        ("9 ** 9 ** 9 > a", r"an exponent must be at most 64, got 387420489"),
        ("word < 3", r"not supported between"),
        ("sqrt(-a) > 0", r"math domain error|expected a nonnegative"),
        ("nothing + 1 > 0", r"arithmetic needs numbers, got None"),
    ],
)
def test_what_cannot_be_computed_says_so_with_the_configuration(expression, message):
    with pytest.raises(InputError, match=message):
        Constraint(expression).holds(CONFIG)


def test_neither_text_nor_function_is_refused():
    with pytest.raises(TypeError, match=r"a constraint must be text or a function of the configuration, got 3"):
        Space(NETS, constraints=[3])


def test_a_name_that_is_not_in_the_space_is_answered_with_the_near_miss():
    with pytest.raises(
        InputError, match=r"constraint 'hiden < 3': there is no 'hiden' in the space. Did you mean 'hidden'"
    ):
        Proposer(Space(NETS, constraints=["hiden < 3"]), seed=0)


def test_names_may_come_with_a_later_merge():
    merged = Space({"depth": Int(1, 3)}, constraints="hidden * depth <= 512") | {"hidden": Int(128, 512)}
    assert all(one.config["hidden"] * one.config["depth"] <= 512 for one in draw(merged, 20, seed=0))


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "grid"])
def test_every_proposal_satisfies_the_constraints(sampler):
    space = Space(NETS, constraints=["hidden * depth <= 512", lambda config: config["lr"] < 0.01])
    check_sampler({"gp": "gp:candidates=128"}.get(sampler, sampler), space)


def test_a_grid_under_constraints_is_thinned_out_and_says_so():
    space = Space({"a": Int(1, 4), "b": Int(1, 4)}, constraints=["a < b"])
    assert sorted((config["a"], config["b"]) for config in Grid().configurations(space)) == [
        (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4),
    ]  # fmt: skip
    assert Grid().describe(space) == "a grid of 6 configurations (a 4 x b 4) that satisfy a < b"
    proposer = Proposer(space, sampler="grid:zoom=1", seed=0)
    while drawn := proposer.ask(9):
        for one in drawn:
            assert one.config["a"] < one.config["b"]
            proposer.tell(one.number, [one.config["a"]], state="complete")


def test_small_spaces_are_counted_and_exhausted_under_constraints():
    space = Space({"a": Int(1, 9), "b": Categorical([1, 2])}, constraints=["a % 3 == 0 or b == 2"])
    assert space.num_configurations(limit=100) == 9 + 3
    assert len(draw(space, 50, seed=0)) == 12


def test_a_few_among_very_many_are_found_by_going_through_them():
    space = Space({"a": Int(1, 200), "b": Int(1, 200)}, constraints=["a == 7", "b in (3, 5)"])
    assert sorted(one.config["b"] for one in draw(space, 5, seed=0)) == [3, 5]


@pytest.mark.parametrize("low", [0.0, 0.25])
def test_constraints_that_nothing_satisfies_are_an_error(low):
    with pytest.raises(InputError, match=r"some configuration must satisfy 'x > 2', got none of all that were tried"):
        draw(Space({"x": Float(low, 1.0)}, constraints=["x > 2"]), 3, seed=0)


def test_a_function_of_the_trial_has_constraints_too():
    space = Space(lambda trial: {"x": trial.suggest_float("x", 0, 1)}, constraints=["x < 0.5"])
    assert all(one.config["x"] < 0.5 for one in draw(space, 20, seed=0))


def test_constraints_survive_json_and_functions_do_not():
    space = Space(NETS, constraints=["hidden * depth <= 512"])
    assert Space.from_json(space.to_json()).constraints == space.constraints
    assert repr(space).endswith("constraints=['hidden * depth <= 512'])")
    with pytest.raises(ValueError, match=r"Space.from_json: '<lambda>' must not be a function"):
        Space.from_json(Space(NETS, constraints=[lambda config: True]).to_json())


def test_an_expression_never_uses_what_python_has_built_in():
    with pytest.raises(InputError, match="there is no 'print'"):
        Space(NETS, constraints=["print == 3"]).check_constraints()
