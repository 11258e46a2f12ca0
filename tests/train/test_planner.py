import pytest
import torch
from torch import nn
from train_kit import CPU, Classify, small_net, specs_of, two_moons

from tenfold.core.errors import OutOfMemoryError, StackError
from tenfold.stacking import kernels
from tenfold.train import PlannedStack, planner
from tenfold.train.planner import plan_stacks

X, Y = two_moons()


def example(batch_size: int):
    return X[:batch_size], Y[:batch_size]


def plan(configs, build=small_net, *, form="auto", task=None, batches=example):
    return plan_stacks(specs_of(configs, build), task or Classify(), batches, device=CPU, form=form)


def places(planned):
    return [line.places for line in planned]


class Branching(nn.Module):
    """Data-dependent control flow, which no stack can run as one program."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()

    def forward(self, x):
        return self.layer(x) if self.layer.weight.sum() > 0 else -self.layer(x)


def test_who_shares_structure_and_program_stands_together():
    configs = [{"hidden": 8}, {"hidden": 4}, {"hidden": 8}, {"hidden": 8, "batch_size": 8}, {"hidden": 4, "lr": 0.5}]
    assert places(plan(configs, form="stacked")) == [(0, 2), (1, 4), (3,)]


@pytest.mark.parametrize("form", ["auto", "stacked", "serial"])
def test_every_member_is_in_the_plan_once(form):
    planned = plan([{"hidden": hidden} for hidden in (8, 4, 8, 8, 4)], form=form)
    assert sorted(place for line in planned for place in line.places) == [0, 1, 2, 3, 4]
    assert {line.parameters for line in planned} == {2 * 8 + 8 + 16 + 16 + 2, 2 * 4 + 4 + 8 + 8 + 2}


def test_a_stack_of_one_is_serial_and_says_why(monkeypatch):
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (0.0001, 1000))
    (line,) = plan([{}])
    assert (line.form, line.reason) == ("serial", "one member of this structure")
    assert line.step_seconds == 0.0001


def test_serial_can_be_insisted_on():
    planned = plan([{}, {}], form="serial")
    assert [(line.form, line.reason, line.places) for line in planned] == [
        ("serial", "asked for", (0,)),
        ("serial", "asked for", (1,)),
    ]


@pytest.mark.parametrize(("stacked_s", "form"), [(0.0005, "stacked"), (0.002, "serial")])
def test_the_quicker_form_is_taken_with_the_numbers(monkeypatch, stacked_s, form):
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (0.001, 1000))
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (stacked_s, None))
    planned = plan([{}, {}, {}])
    assert {line.form for line in planned} == {form}
    assert planned[0].reason == f"{stacked_s * 1e3:.2f} ms a member-step as one program, 1.00 ms one by one"
    assert len(planned) == (1 if form == "stacked" else 3)


@pytest.mark.parametrize(
    ("alone_s", "stacked_s", "form"),
    [(0.01, 0.005, "stacked"), (0.01, 0.0095, "serial"), (0.0001, 0.00005, "serial"), (2.0, 1.0, "serial")],
)
def test_a_lone_member_is_a_stack_where_that_is_clearly_quicker_and_worth_a_look(
    monkeypatch, alone_s, stacked_s, form
):
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (alone_s, 1000))
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (stacked_s, None))
    (line,) = plan([{}])
    assert line.form == form


def test_stacked_can_be_insisted_on_although_it_is_slower(monkeypatch):
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (0.001, 1000))
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (0.002, None))
    (line,) = plan([{}, {}], form="stacked")
    assert line.form == "stacked"
    assert line.reason.startswith("asked for; 2.00 ms")


def test_what_cannot_stack_runs_one_by_one_and_names_the_line():
    planned = plan([{}, {}], lambda: Branching())
    assert [line.form for line in planned] == ["serial", "serial"]
    assert "The members run one after another" in planned[0].reason
    assert "test_planner.py" in planned[0].reason


def test_a_prediction_that_cannot_stack_is_found_out_in_time():
    class Stubborn(Classify):
        def predict(self, model, batch):
            output = model(batch[0])
            return output if output.sum().item() > 0 else output + 0

    planned = plan([{}, {}], task=Stubborn())
    assert [line.form for line in planned] == ["serial", "serial"]
    assert "item" in planned[0].reason


def test_a_second_objective_that_cannot_stack_is_found_out_in_time():
    class TwoLosses(Classify):
        def objectives(self):
            (first,) = super().objectives()

            def stubborn(model, batch, member):
                loss = model(batch[0]).square().mean()
                return loss if loss.item() > 0 else -loss

            return [first, type(first)(name="second", loss=stubborn)]

    planned = plan([{}, {}], task=TwoLosses())
    assert [line.form for line in planned] == ["serial", "serial"]


def test_insisting_on_a_stack_that_cannot_be_is_an_error():
    with pytest.raises(
        StackError, match=r"plan: form 'stacked' was asked for\. The members run .* Use form='auto'\."
    ):
        plan([{}, {}], lambda: Branching(), form="stacked")


@pytest.mark.parametrize(("form", "expected"), [("auto", "stacked"), ("stacked", "stacked"), ("serial", "serial")])
def test_without_an_example_nothing_is_measured(form, expected):
    planned = plan([{}, {}, {}], form=form, batches=None)
    assert {line.form for line in planned} == {expected}
    assert planned[0].reason == (
        "not measured: the batches come from what the members do" if form == "auto" else "asked for"
    )
    assert planned[0].step_seconds == 0.0


def test_no_memory_for_the_members_side_by_side_is_an_error(monkeypatch):
    monkeypatch.setattr(planner, "available_memory_bytes", lambda device: 50_000)
    with pytest.raises(OutOfMemoryError, match=r"of 100 members need about .* GB, and 0.00 GB are free. Train fewer"):
        plan([{}] * 100)


def test_no_memory_for_one_step_is_an_error(monkeypatch):
    monkeypatch.setattr(planner, "available_memory_bytes", lambda device: 50_000)
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (0.001, 10**9))
    with pytest.raises(
        OutOfMemoryError, match=r"net \{\}: one step of one member needs about 2.00 GB with batch size 32"
    ):
        plan([{}])


def test_what_does_not_fit_at_once_is_cut_into_stacks_of_nearly_equal_size(monkeypatch):
    activations, members = 1_000_000, 7
    parameter_bytes = 58 * 8
    resident = members * 5 * parameter_bytes
    room = 3.5 * (2 * activations + 2 * parameter_bytes)
    monkeypatch.setattr(planner, "available_memory_bytes", lambda device: int((resident + room) / 0.8))
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (0.001, activations))
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (0.0001, None))
    assert places(plan([{}] * members)) == [(0, 1, 2), (3, 4), (5, 6)]


@pytest.mark.parametrize(
    ("config", "copies"),
    [({}, 5), ({"optimizer": "sgd"}, 4), ({"ema_decay": 0.9}, 6), ({"optimizer": "asgd", "ema_decay": 0.9}, 5)],
)
def test_what_a_stack_will_need_is_counted_before_it_is_built(monkeypatch, config, copies):
    """Parameter, gradient, best so far, moments and average stay; two copies and the activations pass."""
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (0.001, 1000))
    (spec,) = specs_of([config])
    parameter_bytes = 58 * 8
    peak, between = planner.predict_memory_bytes(spec, 3, Classify(), example(4), CPU)
    assert between == 3 * copies * parameter_bytes
    assert peak == between + 3 * (2 * parameter_bytes + 2 * 1000)


def test_pieces_of_a_batch_keep_less():
    whole, pieces = (
        planner._probe_alone(specs_of([{"accumulate": k}])[0], Classify(), example(64), CPU)[1] for k in (1, 4)
    )
    assert pieces == whole // 4


def test_what_a_step_keeps_is_what_autograd_saves():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).double()
    x = torch.randn(7, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    elsewhere = {tensor.untyped_storage().data_ptr() for tensor in (x, *model.parameters(), *model.buffers())}
    saved = {}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hooked = model(x).log_softmax(-1).mean()
    expected = sum(size for pointer, size in saved.items() if pointer not in elsewhere)
    del hooked
    assert planner._kept_for_backward(model(x).log_softmax(-1).mean(), elsewhere) == expected > 0


def test_measuring_leaves_the_caller_s_random_state_alone():
    before = torch.get_rng_state()
    plan([{}, {}])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_member_is_initialised_from_its_own_stream():
    one, other = specs_of([{}, {}])
    again = specs_of([{}, {}])[0].make_model().state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.make_model().state_dict().items())
    assert not torch.equal(one.make_model()[0].weight, other.make_model()[0].weight)
    assert one.noise_seed != other.noise_seed


def test_a_plan_survives_json():
    line = PlannedStack(places=(3, 1), form="stacked", reason="why", label="net", parameters=5, step_seconds=0.5)
    assert PlannedStack.from_json(line.to_json()) == line
    assert line.to_json()["places"] == [3, 1]


def test_that_kernels_are_built_in_the_first_step_does_not_count(monkeypatch):
    now, built = [100.0], [3.0]
    monkeypatch.setattr(kernels.library, "_building_s", built)
    monkeypatch.setattr(planner.time, "perf_counter", lambda: now[0])
    steps = iter([11.0, 0.25, 0.5, 0.25, 0.25])

    def step():
        took = next(steps)
        now[0] += took
        if took > 10:
            built.append(took - 0.5)

    assert planner._quickest(step) == 0.25
