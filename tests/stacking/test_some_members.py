"""Calls that only some members take part in: for the others they never were."""

import pytest
import torch
from torch import nn

import tenfold

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make_models():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).double() for _ in range(3)]


def forward(model, x):
    return model(x)


def make(form):
    return tenfold.stack(make_models(), form=form, seeds=[7, 8, 9])


@pytest.mark.parametrize("form", ["stacked", "serial", "auto"])
def test_a_member_draws_and_counts_by_its_own_calls_alone(form):
    """Member 1 takes part in calls 1 and 3; a stack in which all do gives what it sees in calls 1 and 2."""
    some, everyone = make(form), make(form)
    first = some.each(forward, X)
    others = some.each(forward, 2 * X, places=[2, 0])
    third = some.each(forward, 3 * X)
    expected = [everyone.each(forward, X), everyone.each(forward, 3 * X)]
    assert torch.equal(first, expected[0])
    torch.testing.assert_close(third[1], expected[1][1], atol=1e-12, rtol=0)
    buffers, theirs = dict(some.named_buffers()), dict(everyone.named_buffers())
    for name in buffers:
        torch.testing.assert_close(buffers[name][1], theirs[name][1], atol=1e-12, rtol=0)
    assert buffers["1.num_batches_tracked"].tolist() == [3, 2, 3]

    whole = make(form)
    whole.each(forward, X)
    second = whole.each(forward, 2 * X)
    torch.testing.assert_close(others, second[[2, 0]], atol=1e-12, rtol=0)
    assert not torch.equal(second[2] == 0, third[2] == 0)  # the noise is another in every call


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_gradients_arrive_at_the_members_that_took_part(form):
    stack = make(form)
    y_2B = torch.stack([X.sum(1), X.mean(1)])

    def loss(model, x, y):
        return (model[0](x).sum(1) - y).square().mean()

    loss_K = stack.each(loss, X, tenfold.per_member(y_2B), places=[2, 0])
    stack.backward(loss_K.new_zeros(3).index_copy(0, torch.tensor([2, 0]), loss_K))
    for place, y in ((2, y_2B[0]), (0, y_2B[1])):
        model = make_models()[place]
        loss(model, X, y).backward()
        torch.testing.assert_close(stack.parameters()[0].grad[place], model[0].weight.grad, atol=1e-12, rtol=0)
    assert not stack.parameters()[0].grad[1].any()


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_after_a_call_in_parts_all_members_count_alike_again(form):
    parts, whole = make(form), make(form)
    for stack in (parts, whole):
        stack.each(forward, X)
    cut = [parts.each(forward, X, places=places) for places in ([2, 0], [1])]
    assert parts.counts_alike
    at_once = whole.each(forward, X)
    torch.testing.assert_close(torch.cat(cut)[[1, 2, 0]], at_once, atol=1e-12, rtol=0)
    torch.testing.assert_close(parts.each(forward, X), whole.each(forward, X), atol=1e-12, rtol=0)
    assert parts.call_counts() == whole.call_counts()


def test_the_calls_that_members_missed_follow_them_and_are_saved():
    first, second = make("stacked"), make("stacked")
    assert first.counts_alike
    first.each(forward, X, places=[0, 2])
    assert not first.counts_alike
    second.load_state_dict(first.state_dict())
    for stack in (first, second):
        stack.keep([1, 2])
    torch.testing.assert_close(first.each(forward, X), second.each(forward, X), atol=0, rtol=0)


def test_counts_that_were_taken_down_can_be_gone_back_to():
    stack = make("stacked")
    stack.each(forward, X, places=[0])
    counts = stack.call_counts()
    first = stack.each(forward, X)
    stack.each(forward, X, places=[1, 2])
    stack.set_call_counts(counts)
    assert torch.equal(stack.each(forward, X) == 0, first == 0)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([], r"each: places must be a list of at least one place, got \[\]"),
        ([0, 0], r"each: places must be distinct and in \[0, 3\), got \[0, 0\]"),
        ([3], r"each: places must be distinct and in \[0, 3\), got \[3\]"),
    ],
)
def test_places_that_are_not_there_are_refused(places, message):
    with pytest.raises(ValueError, match=message):
        make("stacked").each(forward, X, places=places)


def test_what_is_per_member_holds_a_value_for_each_that_takes_part():
    with pytest.raises(ValueError, match=r"per_member: values must have shape \(2, ...\)"):
        make("stacked").each(forward, tenfold.per_member(X.expand(3, 6, 3)), places=[0, 1])
