"""Recorded operators as a Python function: it does what they do, and holds nothing longer than they need it."""

import math
import operator
import weakref

import pytest
import torch
from torch import Tensor, fx

from tenfold.stacking.as_python import as_python

aten = torch.ops.aten
X = torch.arange(6.0).reshape(2, 3) - 2


def graph_of(calls):
    """The nodes of calls, each of a function, its arguments (a number names an earlier node) and options."""
    graph = fx.Graph()
    nodes = [graph.placeholder("x")]

    def named(value):
        if isinstance(value, list | tuple):
            return type(value)(map(named, value))
        return nodes[int(value[1:])] if isinstance(value, str) and value.startswith("#") else value

    for function, args, kwargs in calls:
        nodes.append(graph.call_function(function, named(args), {key: named(own) for key, own in kwargs.items()}))
    return nodes


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([(aten.add.Tensor, ("#0", 2.5), {})], X + 2.5),
        ([(aten.clamp.default, ("#0", -1), {})], X.clamp(min=-1)),
        ([(aten.clamp.default, ("#0", -math.inf, 1.5), {})], X.clamp(max=1.5)),
        ([(aten.view.default, ("#0", [3, 2]), {})], X.view(3, 2)),
        ([(aten.cat.default, (["#0", "#0"], 1), {})], torch.cat([X, X], 1)),
        ([(aten._to_copy.default, ("#0",), {"dtype": torch.float64})], X.double()),
        ([(aten.unbind.int, ("#0",), {}), (operator.getitem, ("#1", 1), {})], X[1]),
        ([(aten.sum.dim_IntList, ("#0", [0], True), {}), (aten.mul.Tensor, ("#0", "#1"), {})], X * X.sum(0, True)),
    ],
)
def test_it_does_what_the_operators_do(calls, expected):
    nodes = graph_of(calls)
    found, nothing = as_python(nodes[:1], nodes[1:], [nodes[-1], None], frozenset({aten.view.default}))(X)
    assert nothing is None
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_what_is_no_longer_needed_is_let_go_of_and_what_comes_back_is_not():
    seen, are_there = [], []

    def noted(tensor: Tensor) -> Tensor:
        are_there.append([one() is not None for one in seen])
        fresh = tensor + 1
        seen.append(weakref.ref(fresh))
        return fresh

    nodes = graph_of([(noted, ("#0",), {}), (noted, ("#1",), {}), (noted, ("#2",), {}), (noted, ("#3",), {})])
    second, last = as_python(nodes[:1], nodes[1:], [nodes[2], nodes[4]], frozenset())(X)
    assert are_there == [[], [True], [False, True], [False, True, True]]
    assert torch.equal(second, X + 2)
    assert torch.equal(last, X + 4)
