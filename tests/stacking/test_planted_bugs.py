"""Each contract is shown a stack with a bug planted in it, and must say so: a contract that never fails is none."""

import sys

import pytest
import torch
from stacking_nets import CASES
from stacking_recipes import recipe

import tenfold.testing.trained as trained
from tenfold.optim import StackedOptimizer
from tenfold.stacking import Stack, stack
from tenfold.stacking import stack as stack_function
from tenfold.stacking.layout import take_members
from tenfold.testing import check_alone_or_together, check_leaving_is_free, check_plain_out, check_strangers

MLP = next(case for case in CASES if case.name == "mlp with batch norm and dropout")
LINEAR = next(case for case in CASES if case.name == "linear")


def test_a_loss_averaged_over_the_members_is_caught(monkeypatch):
    monkeypatch.setattr(Stack, "backward", lambda self, loss_M, inputs=None: loss_M.mean().backward())
    with pytest.raises(
        AssertionError, match=r"check_alone_or_together: .* is off by .* against a plain PyTorch loop"
    ):
        check_alone_or_together(**MLP.job, optimizer=recipe("momentum"), num_steps=3)


def _clip_over_all_members(parameters, max_norm):
    return torch.nn.utils.clip_grad_norm_(parameters, max_norm)


def test_clipping_over_all_members_is_caught_by_strangers(monkeypatch):
    monkeypatch.setattr(trained, "clip_grad_norm_", _clip_over_all_members)
    with pytest.raises(AssertionError, match=r"check_strangers: NaN parameters in member 1 changed .* of member 0"):
        check_strangers(**LINEAR.job, optimizer=recipe("momentum", clip_norm=0.1))


def test_clipping_over_all_members_is_caught_by_alone_or_together(monkeypatch):
    monkeypatch.setattr(trained, "clip_grad_norm_", _clip_over_all_members)
    with pytest.raises(AssertionError, match="check_alone_or_together"):
        check_alone_or_together(**LINEAR.job, optimizer=recipe("momentum", clip_norm=0.1), num_steps=3)


def test_momentum_lost_at_keep_is_caught(monkeypatch):
    keep = StackedOptimizer.keep

    def forgetful(self, indices):
        keep(self, indices)
        self.state.clear()

    monkeypatch.setattr(StackedOptimizer, "keep", forgetful)
    with pytest.raises(AssertionError, match=r"check_leaving_is_free: keep\(\[2, 0\]\) lost the optimiser's"):
        check_leaving_is_free(**LINEAR.job, optimizer=recipe("momentum"))


def test_momentum_of_the_wrong_members_is_caught(monkeypatch):
    keep = StackedOptimizer.keep
    monkeypatch.setattr(StackedOptimizer, "keep", lambda self, indices: keep(self, indices.sort().values))
    with pytest.raises(AssertionError, match=r"did not carry .* over bit for bit"):
        check_leaving_is_free(**LINEAR.job, optimizer=recipe("momentum"))


def test_a_learning_rate_left_behind_at_keep_is_caught(monkeypatch):
    monkeypatch.setattr(
        "tenfold.optim.schedule.Schedule.keep",
        lambda self, indices: setattr(self, "base_lrs", [lr[: len(indices)] for lr in self.base_lrs]),
    )
    with pytest.raises(AssertionError, match=r"did not carry the schedule's base_lrs.0 over bit for bit"):
        check_leaving_is_free(**LINEAR.job, optimizer=recipe("momentum", "cosine"))


def test_members_that_left_but_stay_in_memory_are_caught(monkeypatch):
    def view(tensor, indices):
        places = indices.tolist()
        return tensor[places[0] : places[0] + 1] if len(places) == 1 else take_members(tensor, indices)

    monkeypatch.setattr(sys.modules[Stack.__module__], "take_members", view)
    with pytest.raises(AssertionError, match="those who left are still in memory"):
        check_leaving_is_free(**LINEAR.job, kept=[[1]])


def test_draws_keyed_by_the_place_in_the_stack_are_caught(monkeypatch):
    monkeypatch.setattr(
        trained, "stack", lambda models, seeds, form: stack(models, seeds=range(len(models)), form=form)
    )
    with pytest.raises(AssertionError, match=r"is off by .* in a stack of one"):
        check_alone_or_together(**MLP.job, num_steps=3)


def test_a_loss_that_sees_its_neighbours_is_caught(monkeypatch):
    each = Stack.each

    def leaky(self, function, *batch):
        values = each(self, function, *batch)
        return values + 1e-3 * values.mean() if self.form == "stacked" and values.dim() == 1 else values

    monkeypatch.setattr(Stack, "each", leaky)
    with pytest.raises(AssertionError, match="check_strangers"):
        check_strangers(**LINEAR.job)
    with pytest.raises(AssertionError, match="the losses is off by"):
        check_alone_or_together(**LINEAR.job, dtype=torch.float32)


def test_unstacked_models_that_share_memory_are_caught(monkeypatch):
    unstack = Stack.unstack

    def sharing(self):
        models = unstack(self)
        for i, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.data = self._parameters[name].data[i]
        return models

    monkeypatch.setattr(Stack, "unstack", sharing)
    with pytest.raises(AssertionError, match="changing the unstacked member 0 changes weight in the stack"):
        check_plain_out(**LINEAR.job)


def test_unstacked_models_in_the_wrong_order_are_caught(monkeypatch):
    unstack = Stack.unstack
    monkeypatch.setattr(Stack, "unstack", lambda self: unstack(self)[::-1])
    with pytest.raises(AssertionError, match="the unstacked model of member 0 does not predict what the stack"):
        check_plain_out(**LINEAR.job)


def test_unstacked_models_without_their_buffers_are_caught(monkeypatch):
    unstack = Stack.unstack

    def without_buffers(self):
        models = unstack(self)
        for model in models:
            for buffer in model.buffers():
                buffer.zero_()
        return models

    monkeypatch.setattr(Stack, "unstack", without_buffers)
    with pytest.raises(AssertionError, match="does not predict what the stack predicts"):
        check_plain_out(**MLP.job)


def test_the_bugs_are_gone_after_the_tests():
    assert trained.stack is stack_function
    check_strangers(**LINEAR.job, num_steps=1)
