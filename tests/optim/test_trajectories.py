"""Every optimiser against torch.optim, member by member, on the same gradients, with every option."""

import inspect

import pytest
import torch
from trajectories import (
    FLAGS,
    GRADIENTS,
    NUMBERS,
    STEPS,
    M,
    Race,
    everything_a_member,
    for_members,
    make,
    option_sets,
    options_of_class,
)

from tenfold.optim import OPTIMIZERS

CASES = [
    pytest.param(name, options, id=f"{name}-{words}")
    for name in OPTIMIZERS
    for words, options in option_sets(name).items()
]
NOT_OURS = {"foreach", "fused", "capturable", "differentiable"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_options_and_their_defaults_are_those_of_torch_and_l1(name):
    entry = OPTIMIZERS[name]
    ours, theirs = inspect.signature(entry.stacked).parameters, inspect.signature(entry.plain).parameters
    assert set(ours) == set(theirs) - NOT_OURS | {"l1"}
    assert {k: p.default for k, p in ours.items() if k != "l1"} == {k: theirs[k].default for k in ours if k != "l1"}
    assert set(options_of_class(entry.stacked)) <= {*NUMBERS, *FLAGS}, "an option that no trajectory tries"
    assert set(entry.tunable) <= set(ours) - set(FLAGS)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_fifty_steps_are_those_of_torch_for_every_member(name, options):
    race = Race(name, options)
    for step in range(STEPS):
        race.step(step)
    race.compare()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_single_precision_follows_torch_as_far_as_it_goes(name):
    race = Race(name, {k: v for k, v in everything_a_member(name).items() if k != "l1"}, dtype=torch.float32)
    for step in range(20):
        race.step(step)
    race.compare(rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["nadam", "asgd"])
def test_scalars_between_steps_are_rounded_as_torch_rounds_them_for_its_default_dtype(name, request):
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)
    for options in ({}, everything_a_member(name)):
        race = Race(name, options)
        for step in range(STEPS):
            race.step(step)
        race.compare(rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_have_options_of_their_own_a_member(name):
    everything = everything_a_member(name)
    other = {k: for_members(v, [2, 0, 1]) for k, v in everything.items() if k != "initial_accumulator_value"}
    race = Race(name, everything, groups=[(0, 3, everything), (3, 6, everything | other)])
    for step in range(25):
        race.step(step)
    race.compare()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_that_stay_go_on_as_torch_does(name):
    race = Race(name, everything_a_member(name))
    for step in range(20):
        if step in (4, 8, 14):
            race.keep({4: [1, 2, 0], 8: [2, 0], 14: [1]}[step])
        race.step(step)
    race.compare()
    assert race.members == [1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_goes_on_in_another_optimiser_bit_for_bit(name):
    race, other = (Race(name, options | {"lr": lr}) for options, lr in with_two_rates(name))
    for step in range(12):
        if step == 4:
            other.stack.load_state_dict(race.stack.state_dict())
            other.stacked.load_state_dict(as_a_file_gives_it(race.stacked.state_dict(), race.stack))
        race.step(step)
        other.step(step)
    for one, two in zip(race.stack.parameters(), other.stack.parameters(), strict=True):
        assert torch.equal(one, two)
    race.compare()


def with_two_rates(name):
    everything = everything_a_member(name)
    return [(everything, everything["lr"]), (everything, 0.7)]


def as_a_file_gives_it(state, stack):
    """Contiguous, whatever the layout in memory was; and every tensor of a parameter's shape or of shape (M,)."""
    for place, values in state["state"].items():
        tensors = {k: v for k, v in values.items() if isinstance(v, torch.Tensor)}
        assert {v.shape for v in tensors.values()} <= {stack.parameters()[place].shape, (M,)}
        values.update({k: v.clone(memory_format=torch.contiguous_format) for k, v in tensors.items()})
    return state


@pytest.mark.parametrize("words", ["defaults", "all a member and flags"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_of_different_ages_step_as_torch_does_at_their_age(name, words):
    race = Race(name, option_sets(name)[words])
    group = race.stacked.param_groups[0]
    for step in range(4):
        race.step(step)
    for state in race.stacked.state.values():
        state["steps"] = torch.full((M,), float(state["steps"]), dtype=torch.float64)
        first_rate = torch.as_tensor(group["lr"]).float().expand(M)  # which torch rounds to its default dtype
        starts = {"product": 1.0, "rate": first_rate, "sum": group.get("initial_accumulator_value")}
        for key, value in state.items():
            value = value if isinstance(value, torch.Tensor) else torch.full((M,), value, dtype=torch.float64)
            start = starts.get(key, 0.0)
            value[0] = start[0] if isinstance(start, torch.Tensor) else start
            state[key] = value
    race.plain[0] = race.make_plain(0)
    for step in range(4, 20):
        race.step(step)
    race.compare()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_permuted_members_go_the_same_ways(name):
    order, everything = [2, 0, 1], everything_a_member(name)
    stack, other = make()[0], make()[0]
    other.keep(order)
    optimizer = OPTIMIZERS[name].stacked(stack.parameters(), **everything)
    permuted = OPTIMIZERS[name].stacked(
        other.parameters(), **{k: for_members(v, order) for k, v in everything.items()}
    )
    for step in range(10):
        for k, gradient in enumerate(GRADIENTS[step]):
            stack.parameters()[k].grad, other.parameters()[k].grad = gradient, gradient[order]
        optimizer.step()
        permuted.step()
    for one, two in zip(stack.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one[order], two, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("words", ["defaults", "all a member and flags"])
def test_a_sick_member_changes_no_bit_of_another(name, words, poison):
    stacks = [make()[0] for _ in range(2)]
    options = option_sets(name)[words] | {"lr": [0.1, 0.2, 0.3]}
    optimizers = [OPTIMIZERS[name].stacked(s.parameters(), **options) for s in stacks]
    for step in range(8):
        for k, gradient in enumerate(GRADIENTS[step]):
            sick = gradient.clone()
            sick[1] = poison if step == 2 else sick[1]
            stacks[0].parameters()[k].grad, stacks[1].parameters()[k].grad = gradient, sick
        for optimizer in optimizers:
            optimizer.step()
    changed = False
    for well, sick in zip(*(s.parameters() for s in stacks), strict=True):
        assert torch.equal(well[[0, 2]], sick[[0, 2]])
        changed = changed or not torch.equal(well[1], sick[1])
    assert changed
