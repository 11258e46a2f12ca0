"""Early stopping against a plain loop over one member's scores."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tenfold
from tenfold.optim import EarlyStopping

NAN, INF = float("nan"), float("inf")


def stops_at(scores, patience, min_delta, direction):
    """The plain loop: after which scores the member has stopped, and the best score."""
    best, waited, stopped, answers = None, 0, False, []
    for score in scores:
        if not stopped:
            gain = None if best is None else (best - score if direction == "minimize" else score - best)
            if not math.isnan(score) and (best is None or gain > min_delta):
                best, waited = score, 0
            else:
                waited += 1
            stopped = waited >= patience
        answers.append(stopped)
    return answers, NAN if best is None else best


score = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0, -1.0, NAN])


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.tuples(score, score, score), min_size=1, max_size=12),
    patience=st.tuples(*[st.integers(1, 4)] * 3),
    min_delta=st.tuples(*[st.sampled_from([0.0, 0.05, 0.2])] * 3),
    direction=st.sampled_from(["minimize", "maximize"]),
)
def test_every_member_stops_when_a_plain_loop_over_its_scores_does(table, patience, min_delta, direction):
    stopping = EarlyStopping(3, patience=patience, min_delta=min_delta, direction=direction)
    answers = [stopping.update(torch.tensor(row, dtype=torch.float64)).tolist() for row in table]
    for i in range(3):
        expected, best = stops_at([row[i] for row in table], patience[i], min_delta[i], direction)
        assert [answer[i] for answer in answers] == expected
        assert float(stopping.best[i]) == pytest.approx(best, nan_ok=True)


def test_infinite_scores_are_scores():
    stopping = EarlyStopping(2, patience=2, direction="maximize")
    for row in ([-INF, INF], [0.0, INF], [-INF, 1.0]):
        stopping.update(row)
    assert stopping.stopped.tolist() == [False, True]
    assert stopping.best.tolist() == [0.0, INF]


def test_a_member_without_numbers_changes_nothing_for_the_others():
    rows = [[0.5, 0.5, 0.5], [0.4, NAN, 0.6], [0.5, NAN, 0.5], [0.3, NAN, 0.7]]
    stopping, other = EarlyStopping(3, patience=3), EarlyStopping(3, patience=3)
    for row in rows:
        got, expected = stopping.update(row), other.update([row[0], 0.0, row[2]])
        assert torch.equal(got[[0, 2]], expected[[0, 2]])
    assert got.tolist() == [False, True, True]


def test_it_loses_its_members_together_with_the_stack():
    stack = tenfold.stack([nn.Linear(1, 1) for _ in range(3)])
    stopping = EarlyStopping(3, patience=[1, 2, 3], min_delta=[0.0, 0.1, 0.2])
    stack.follow(stopping)
    stopping.update([0.1, 0.2, 0.3])
    stopping.update([0.2, 0.3, 0.4])
    stack.keep([2, 1])
    assert stopping.best.tolist() == [0.3, 0.2]
    assert stopping.stopped.tolist() == [False, False]
    assert stopping.update([0.15, 0.25]).tolist() == [False, True]
    assert stopping.update([0.05, 0.0]).tolist() == [False, True]


def test_a_state_goes_on_through_a_file(tmp_path):
    stopping = EarlyStopping(2, patience=[2, 3], direction="maximize")
    stopping.update([0.5, 0.5])
    stopping.update([0.5, 0.4])
    torch.save(stopping.state_dict(), tmp_path / "state.pt")
    other = EarlyStopping(2, patience=9, direction="maximize")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for row in ([0.4, 0.45], [0.3, 0.5], [0.3, 0.7]):
        assert torch.equal(stopping.update(row), other.update(row))
        assert torch.equal(stopping.best, other.best)
    assert stopping.stopped.tolist() == [True, True]


WRONG = {
    "patience": ({"patience": 0}, "EarlyStopping: patience must be a whole number >= 1, got 0"),
    "patience a member": ({"patience": [1, 2, 3]}, r"patience must be a number or one a member, shape \(2,\), got"),
    "min_delta": ({"patience": 1, "min_delta": -0.1}, "EarlyStopping: min_delta must be >= 0 and finite, got -0.1"),
    "direction": (
        {"patience": 1, "direction": "min"},
        "EarlyStopping: direction must be 'minimize' or 'maximize', got 'min'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_refused(name):
    options, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        EarlyStopping(2, **options)


def test_scores_and_states_of_another_number_of_members_are_refused():
    stopping = EarlyStopping(2, patience=1)
    with pytest.raises(ValueError, match=r"EarlyStopping.update: score_M must have shape \(2,\), one score a member"):
        stopping.update([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"EarlyStopping.load_state_dict: state must be of 2 members, got 3. keep"):
        stopping.load_state_dict(EarlyStopping(3, patience=1).state_dict())
