import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from train_kit import CPU, Classify, small_net, specs_of, two_moons

from tenfold.core.records import MemberId
from tenfold.core.task import Objective, SlowCopy
from tenfold.train import Lane, build_lane

X, Y = two_moons()
STEADY = {"schedule": "constant", "warmup_fraction": 0.0, "drop_prob": 0.0}


def lane_of(configs, task=None, build=small_net, *, form="stacked", total_steps=10, direction="minimize") -> Lane:
    task = task or Classify()
    specs = specs_of(configs, build, task=task)
    return build_lane(specs, task, form=form, device=CPU, total_steps=total_steps, direction=direction)


def plain_loop(config, steps, optimizer_class=torch.optim.AdamW, label_smoothing=0.0, **options):
    """The same training by plain PyTorch; returns the model and the losses."""
    (spec,) = specs_of([config])
    model, losses = spec.make_model().train(), []
    optimizer = optimizer_class(model.parameters(), lr=config["lr"], **options)
    for _ in range(steps):
        loss = F.cross_entropy(model(X), Y, label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if config.get("clip_norm"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("form", ["stacked", "serial"])
@pytest.mark.parametrize("values", [{}, {"clip_norm": 0.01}, {"optimizer": "sgd"}, {"label_smoothing": 0.2}])
def test_a_member_takes_the_steps_of_plain_pytorch(values, form):
    configs = [{**STEADY, **values, "lr": lr} for lr in (1e-3, 1e-2)]
    lane = lane_of(configs[:1], form=form)
    for _ in range(8):
        lane.train_step((X, Y))
    sgd = {"optimizer_class": torch.optim.SGD, "momentum": 0.9}
    expected, losses = plain_loop(
        configs[0],
        8,
        label_smoothing=values.get("label_smoothing", 0.0),
        weight_decay=1e-2,
        **(sgd if "optimizer" in values else {}),
    )
    assert lane.end_epoch().tolist() == pytest.approx([sum(losses) / 8], rel=1e-6)
    state = lane.stack.unstack()[0].state_dict()
    for name, tensor in expected.state_dict().items():
        # the bias before batch norm has no true gradient: rounding decides where Adam moves it
        atol = 8 * 1e-3 if name == "0.bias" and "optimizer" not in values else 1e-9
        torch.testing.assert_close(state[name], tensor, atol=atol, rtol=0)


def test_each_member_has_its_own_task_values():
    lane = lane_of([{**STEADY, "lr": 1e-3, "label_smoothing": value} for value in (0.0, 0.1, 0.5)])
    model = lane.stack.unstack()
    loss_M = lane.losses(Classify().objectives()[0], (X, Y))
    expected = [
        F.cross_entropy(model.train()(X), Y, label_smoothing=value).item()
        for model, value in zip(model, (0.0, 0.1, 0.5), strict=True)
    ]
    assert loss_M.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_mean_loss_starts_anew_each_epoch():
    lane = lane_of([{**STEADY, "lr": 1e-3}, {**STEADY, "lr": 1e-2}])
    lane.train_step((X, Y))
    first = lane.end_epoch()
    lane.train_step((X, Y))
    second = lane.end_epoch()
    assert (second < first).all()
    assert lane.end_epoch().tolist() == [0.0, 0.0]


def test_learning_rates_are_told_a_number_a_member():
    lane = lane_of([{"lr": lr, "schedule": "cosine", "warmup_fraction": 0.0} for lr in (0.1, 0.2)], total_steps=4)
    seen = [lane.lr()]
    for _ in range(4):
        lane.train_step((X, Y))
        seen.append(lane.lr())
    for step, rates in enumerate(seen):
        factor = 0.5 * (1 + math.cos(math.pi * step / 4))
        assert rates == pytest.approx([0.1 * factor, 0.2 * factor], abs=1e-12)


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_prediction_is_in_evaluation_mode_and_leaves_training_mode(form):
    lane = lane_of([{"lr": 1e-3, "drop_prob": 0.5}, {"lr": 1e-2, "drop_prob": 0.5}], form=form)
    lane.train_step((X, Y))
    (outputs,), _ = lane.predict([(X, Y)])
    for output, model in zip(outputs, lane.stack.unstack(), strict=True):
        torch.testing.assert_close(output, model.eval()(X), atol=1e-12, rtol=0)
    assert not outputs.requires_grad
    assert lane.losses(Classify().objectives()[0], (X, Y)).requires_grad
    assert all(model.training for model in lane.stack.unstack())


def test_a_task_that_fails_leaves_training_mode():
    class Broken(Classify):
        def predict(self, model, batch):
            raise KeyError("no such thing")

    lane = lane_of([{"lr": 1e-3}], Broken(), form="serial")
    with pytest.raises(KeyError):
        lane.predict([(X, Y)])
    assert lane.stack.unstack()[0].training


@pytest.mark.parametrize(("direction", "scores"), [("minimize", [3.0, 1.0, 2.0]), ("maximize", [1.0, 3.0, 2.0])])
def test_the_best_weights_are_those_of_the_best_epoch(direction, scores):
    lane = lane_of([{**STEADY, "lr": 1e-2}, {**STEADY, "lr": 1e-1}], direction=direction)
    seen = []
    for epoch, score in enumerate(scores, start=1):
        lane.train_step((X, Y))
        lane.note_scores(torch.tensor([score, float(epoch)], dtype=torch.float64), epoch)
        seen.append([model.state_dict() for model in lane.stack.unstack()])
    best_of_second = 1 if direction == "minimize" else 3
    assert lane.best_epoch_M.tolist() == [2, best_of_second]
    for place, epoch in enumerate([2, best_of_second]):
        model = lane.best_model(place)
        assert not model.training
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, seen[epoch - 1][place][name])


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_tie_keeps_the_earlier_epoch(direction):
    lane = lane_of([{"lr": 1e-2}], direction=direction)
    for epoch in (1, 2):
        lane.note_scores(torch.tensor([0.5], dtype=torch.float64), epoch)
    assert lane.best_epoch_M.tolist() == [1]


def test_nan_is_never_the_best_and_a_member_without_a_score_has_its_present_weights():
    lane = lane_of([{**STEADY, "lr": 1e-2}, {**STEADY, "lr": 1e-2}])
    for epoch, score in enumerate([math.nan, 2.0, math.nan], start=1):
        lane.train_step((X, Y))
        lane.note_scores(torch.tensor([math.nan, score], dtype=torch.float64), epoch)
    assert lane.best_epoch_M.tolist() == [0, 2]
    assert lane.best_score_M.tolist() == [math.inf, 2.0]
    present = lane.stack.unstack()[0].state_dict()
    assert all(torch.equal(tensor, present[name]) for name, tensor in lane.best_model(0).state_dict().items())


def test_members_that_leave_take_everything_of_theirs_along():
    lane, undisturbed = (lane_of([{"lr": lr, "label_smoothing": lr} for lr in (0.1, 0.2, 0.3)]) for _ in range(2))
    for one in (lane, undisturbed):
        one.train_step((X, Y))
    lane.note_scores(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), 1)
    best = [lane.best_model(place).state_dict() for place in range(3)]
    lane.stack.keep([2, 0])
    assert lane.ids == [MemberId(trial=2), MemberId(trial=0)]
    assert lane.best_score_M.tolist() == [3.0, 1.0]
    assert lane.lr()[0] > lane.lr()[1]
    assert torch.equal(lane.end_epoch(), undisturbed.end_epoch()[[2, 0]])
    for place, old in enumerate([2, 0]):
        for name, tensor in lane.best_model(place).state_dict().items():
            assert torch.equal(tensor, best[old][name])


def test_a_stranger_that_diverges_changes_no_bit_of_the_others():
    def trained(lr):
        lane = lane_of([{"lr": 1e-2, "clip_norm": 1.0}, {"lr": lr, "clip_norm": 1.0}, {"lr": 3e-2, "clip_norm": 1.0}])
        for _ in range(5):
            lane.train_step((X, Y))
        return lane

    calm, wild = trained(1e-3), trained(1e300)
    assert wild.is_sick_M.tolist() == [False, True, False]
    for (_, one), (_, other) in zip(calm.tensors(), wild.tensors(), strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert torch.equal(calm.end_epoch()[[0, 2]], wild.end_epoch()[[0, 2]])


def test_a_state_goes_on_bit_for_bit():
    configs = [{"lr": 1e-2}, {"lr": 1e-1}]
    undisturbed, first, second = lane_of(configs), lane_of(configs), lane_of(configs)
    for lane in (undisturbed, first):
        for _ in range(3):
            lane.train_step((X, Y))
        lane.end_epoch()
        lane.note_scores(torch.tensor([1.0, 2.0], dtype=torch.float64), 1)
    second.load_state_dict(first.state_dict())
    for lane in (undisturbed, second):
        for _ in range(3):
            lane.train_step((X, Y))
    for (name, one), (_, other) in zip(undisturbed.tensors(), second.tensors(), strict=True):
        assert torch.equal(one, other), name
    assert torch.equal(undisturbed.end_epoch(), second.end_epoch())
    assert second.best_score_M.tolist() == [1.0, 2.0]


class Pair(nn.Module):
    def __init__(self, wide: int = 2, same: bool = True) -> None:
        super().__init__()
        self.online = nn.Linear(2, 2)
        self.target = nn.Linear(2, 2) if same else nn.Sequential(nn.Linear(2, 2))
        self.double()


def objective_task(**options):
    class OneObjective(Classify):
        def objectives(self):
            return [Objective(name="td", loss=lambda model, batch, member: model.online(batch[0]).sum(), **options)]

    return OneObjective()


@pytest.mark.parametrize(
    ("options", "build", "message"),
    [
        (
            {"parameters": ("head.*",)},
            Pair,
            r"objective 'td': parameters \('head.\*',\) match no trainable parameter",
        ),
        (
            {"slow_copy": SlowCopy(source="online.", copy="slow.", rate=0.1)},
            Pair,
            "objective 'td': slow copy 'slow.' must mirror 'online.', but no parameter has no counterpart",
        ),
        (
            {"slow_copy": SlowCopy(source="online.", copy="target.", rate=0.1)},
            lambda: Pair(same=False),
            "slow copy 'target.' must mirror 'online.', but target.0.weight has no counterpart",
        ),
    ],
)
def test_an_objective_that_names_what_is_not_there_is_refused(options, build, message):
    with pytest.raises(ValueError, match=message):
        lane_of([{"lr": 1e-3}], objective_task(**options), build)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, math.nan])
def test_a_slow_copy_goes_some_of_the_way(rate):
    with pytest.raises(ValueError, match=r"SlowCopy: rate must be in \(0, 1\], got"):
        SlowCopy(source="online.", copy="target.", rate=rate)


def test_a_slow_copy_of_rate_one_is_the_source_itself():
    task = objective_task(parameters=("online.*",), slow_copy=SlowCopy(source="online.", copy="target.", rate=1.0))
    lane = lane_of([{"lr": 1e-2}, {"lr": 1e-1}], task, Pair)
    lane.train_step((X, Y))
    tensors = dict(lane.stack.named_parameters())
    assert torch.equal(tensors["target.weight"], tensors["online.weight"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_member_takes_the_steps_of_plain_pytorch():
    configs = [{**STEADY, "lr": 1e-2, "optimizer": "sgd"}, {**STEADY, "lr": 1e-1, "optimizer": "sgd"}]
    device = torch.device("cuda")
    lane = build_lane(
        specs_of(configs), Classify(), form="stacked", device=device, total_steps=8, direction="minimize"
    )
    for _ in range(8):
        lane.train_step((X.to(device), Y.to(device)))
    expected, _ = plain_loop(configs[0], 8, optimizer_class=torch.optim.SGD, momentum=0.9, weight_decay=1e-2)
    state = lane.stack.unstack()[0].state_dict()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(state[name].cpu(), tensor, atol=1e-9, rtol=0)
