"""What members draw by name is distributed as PyTorch's documentation says; the references are SciPy's."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.ops
from scipy import stats
from torch import nn

import tenfold

N = 40_000
PVALUE = 1e-3


def drawn(draw, form="stacked", members=2):
    """What each member draws, as NumPy arrays."""
    stack = tenfold.stack([nn.Linear(1, 1)] * members, seeds=range(members), form=form)
    return [values.numpy() for values in stack.each(lambda model: draw())]


CONTINUOUS = {
    "normal_": (lambda: torch.empty(N).normal_(2.0, 3.0), stats.norm(2, 3)),
    "normal": (lambda: torch.normal(2.0, 3.0, (N,)), stats.norm(2, 3)),
    "normal of tensors": (lambda: torch.normal(torch.full((N,), 2.0), torch.full((1,), 3.0)), stats.norm(2, 3)),
    "normal of a mean": (lambda: torch.normal(torch.zeros(N)), stats.norm()),
    "uniform_": (lambda: torch.empty(N).uniform_(-1, 3), stats.uniform(-1, 4)),
    "exponential_": (lambda: torch.empty(N, dtype=torch.float64).exponential_(4.0), stats.expon(scale=0.25)),
    "log_normal_": (lambda: torch.empty(N).log_normal_(0.5, 0.25), stats.lognorm(0.25, scale=math.exp(0.5))),
    "cauchy_": (lambda: torch.empty(N, dtype=torch.float64).cauchy_(1.0, 2.0), stats.cauchy(1, 2)),
    "rrelu": (lambda: F.rrelu(torch.full((N,), -1.0), 0.1, 0.6, training=True), stats.uniform(-0.6, 0.5)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_numbers_have_the_distribution(name):
    draw, distribution = CONTINUOUS[name]
    for values in drawn(draw):
        assert stats.kstest(values, distribution.cdf).pvalue > PVALUE


DISCRETE = {
    "randint": (lambda: torch.randint(7, (N,)), np.full(7, 1 / 7)),
    "randint from 2": (lambda: torch.randint(2, 7, (N,), dtype=torch.int32) - 2, np.full(5, 1 / 5)),
    "randint_like": (lambda: torch.randint_like(torch.empty(N), 7).long(), np.full(7, 1 / 7)),
    "random_": (lambda: torch.empty(N).random_(3, 7).long() - 3, np.full(4, 1 / 4)),
    "bernoulli_": (lambda: torch.empty(N).bernoulli_(0.3).long(), np.array([0.7, 0.3])),
    "geometric_": (lambda: torch.empty(N).geometric_(0.4).clamp(max=6).long() - 1, None),
    "multinomial": (
        lambda: torch.multinomial(torch.tensor([1.0, 2.0, 0.0, 5.0]), N, replacement=True),
        np.array([1, 2, 0, 5]) / 8,
    ),
    "gumbel_softmax": (
        lambda: F.gumbel_softmax(torch.tensor([0.1, 0.2, 0.7]).log().expand(N, 3), hard=True).argmax(1),
        np.array([0.1, 0.2, 0.7]),
    ),
    "the first of randperm": (lambda: torch.stack([torch.randperm(5) for _ in range(1500)])[:, 0], np.full(5, 0.2)),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_whole_numbers_have_the_probabilities(name):
    draw, shares = DISCRETE[name]
    if shares is None:
        shares = np.array([stats.geom(0.4).pmf(k) for k in range(1, 6)] + [stats.geom(0.4).sf(5)])
    for values in drawn(draw):
        counts = np.bincount(values, minlength=len(shares))
        assert len(counts) == len(shares)
        possible = shares > 0
        assert counts[~possible].sum() == 0
        assert stats.chisquare(counts[possible], shares[possible] * counts.sum()).pvalue > PVALUE


def test_a_sample_without_replacement_has_the_probabilities_of_drawing_one_by_one():
    weights = np.array([1.0, 2.0, 5.0])
    pairs = list(itertools.permutations(range(3), 2))
    expected = np.array([weights[i] / 8 * weights[j] / (8 - weights[i]) for i, j in pairs])
    (sample,) = drawn(lambda: torch.multinomial(torch.tensor(weights).expand(10_000, 3), 2), members=1)
    counts = np.array([((sample == pair).all(axis=1)).sum() for pair in pairs])
    assert stats.chisquare(counts, expected * len(sample)).pvalue > PVALUE


def test_a_permutation_holds_every_number_once():
    for values in drawn(lambda: torch.randperm(100)):
        assert sorted(values) == list(range(100))
        assert list(values) != list(range(100))


def test_gumbel_noise_is_never_infinite():
    """Its logarithm of an exponential number, which is 0 once in 16 million float32 draws."""
    from tenfold.stacking import MemberStreams

    streams = MemberStreams(torch.tensor(0), 0)
    streams.uniform = lambda shape, dtype: torch.zeros(shape, dtype=dtype)
    assert float(streams.exponential((1,))) == pytest.approx(25 * math.log(2))
    streams.uniform = lambda shape, dtype: torch.full(shape, 1 - 2**-24, dtype=dtype)
    assert float(streams.exponential((1,))) > 0


@pytest.mark.parametrize("p", [0.2, 0.7])
@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function, p):
    """Of standard normal input: what the paper promises."""
    x = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
    for values in drawn(lambda: function(x, p, True)):
        assert abs(values.mean()) < 5 / math.sqrt(values.size) * 2
        assert abs(values.var() - 1) < 0.05
        torch.manual_seed(0)
        theirs = function(torch.zeros(2000, 4), p, True).unique()
        ours = torch.from_numpy(drawn(lambda: function(torch.zeros(2000, 4), p, True))[0]).unique()
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_the_edges_of_alpha_dropout_are_torchs(function):
    x = torch.linspace(-1, 1, 8).view(2, 4)
    for p in (0.0, 1.0):
        np.testing.assert_allclose(drawn(lambda p=p: function(x, p, True))[0], function(x, p, True))
    with pytest.raises(ValueError, match=r"dropout: p must be in \[0, 1\], got -0.5"):
        drawn(lambda: function(x, -0.5, True))


@pytest.mark.parametrize(
    "make", [lambda p: nn.Dropout(p), lambda p: torchvision.ops.StochasticDepth(p, "row"), lambda p: nn.Dropout1d(p)]
)
def test_a_p_a_member_drops_each_members_share(make):
    rates = [0.0, 0.1, 0.5, 0.9, 1.0]
    if make(0.5).__class__ is torchvision.ops.StochasticDepth:
        rates = rates[1:-1]  # it branches on 0 and 1
    out = tenfold.stack([make(p) for p in rates], form="stacked").each(lambda m, x: m(x), torch.ones(N, 1))
    for p, values in zip(rates, out, strict=True):
        kept = int((values > 0).sum())
        assert stats.binomtest(kept, N, 1 - p).pvalue > PVALUE
        if kept > 0:
            torch.testing.assert_close(values[values > 0].unique(), torch.tensor([1 / (1 - p)]))


def test_draws_are_the_same_in_both_forms_and_of_the_dtype():
    def draw(dtype):
        return lambda: torch.stack(
            [
                torch.empty(8, dtype=dtype).normal_(),
                torch.empty(8, dtype=dtype).exponential_(),
                torch.normal(0.0, 1.0, (8,), dtype=dtype),
                torch.randint(5, (8,), dtype=dtype),
                torch.randint(high=5, low=2, size=(8,), dtype=dtype),
                torch.randint(2, high=5, size=(8,), dtype=dtype),
                torch.zeros(8, dtype=dtype),
            ]
        )

    for dtype in (torch.float32, torch.float64, torch.float16):
        for one, two in zip(drawn(draw(dtype)), drawn(draw(dtype), "serial"), strict=True):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
            assert set(one[4]) <= {2, 3, 4}
            assert set(one[5]) <= {2, 3, 4}


@pytest.mark.parametrize("draw", [torch.bernoulli, torch.normal, lambda x, out: torch.multinomial(x, 2, out=out)])
def test_out_is_refused_for_every_draw(draw):
    with pytest.raises(RuntimeError, match=r"out is not supported. Use the value that they return"):
        drawn(lambda: draw(torch.full((4,), 0.5), out=torch.empty(4)))


def test_a_generator_of_the_callers_is_not_read():
    """It has one state for all members."""
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    one, two = drawn(lambda: torch.empty(8).normal_(generator=generator), "serial")
    assert torch.equal(generator.get_state(), before)
    assert not np.array_equal(one, two)
