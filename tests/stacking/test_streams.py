"""A member's random numbers: as random as they should be, and nobody's but the member's."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import tenfold
from tenfold.stacking import MemberStreams, member_streams
from tenfold.stacking.streams import _mix

N = 200_000


def streams(seed=0, step=2):
    return MemberStreams(torch.tensor(seed * 7919 + 1), step)


def test_mix_is_splitmix64():
    """The first outputs of SplitMix64 seeded with 1234567, as published with the Java and C references."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = [(1234567 + i * 0x9E3779B97F4A7C15) % 2**64 for i in range(1, 5)]
    signed = torch.tensor([state - 2**64 if state >= 2**63 else state for state in states])
    assert [value % 2**64 for value in _mix(signed).tolist()] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform(dtype):
    u = streams().uniform((N,), dtype).double().numpy()
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * N)
    assert stats.chisquare(np.histogram(u, bins=256, range=(0, 1))[0]).pvalue > 1e-3
    low_bits = np.floor(u * 2**20).astype(np.int64) % 64
    assert stats.chisquare(np.bincount(low_bits, minlength=64)).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_uniform_numbers_stay_below_one_and_are_uniform(dtype):
    u = streams().uniform((N,), dtype)
    assert u.dtype == dtype
    assert 0.0 <= float(u.min()) <= float(u.max()) < 1.0
    assert stats.chisquare(np.histogram(u.float().numpy(), bins=64, range=(0, 1))[0]).pvalue > 1e-3


@pytest.mark.parametrize("form", ["stacked", "serial"])
@pytest.mark.parametrize("shape", [(7,), (1023,), (4097,), (3, 5, 700)])
def test_numbers_in_float32_are_the_upper_bits_of_those_in_float64(shape, form):
    """In float32 many numbers come from a kernel, and in float64 from PyTorch's operators."""

    def draw(model):
        key = member_streams().key
        return [MemberStreams(key, 3).uniform(shape, dtype) for dtype in (torch.float32, torch.float64)]

    stack = tenfold.stack([nn.Linear(1, 1) for _ in range(3)], form=form)
    coarse, fine = stack.each(draw)
    assert coarse.dtype == torch.float32
    assert coarse.shape == (3, *shape)
    assert torch.equal(coarse.double(), (fine * 2**24).floor() / 2**24)


def test_normal_numbers_are_normal():
    z = streams().normal((N,), torch.float64).numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(z.mean()) < 5 / math.sqrt(N)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / N)
    assert streams().normal((3,), torch.float16).dtype == torch.float16


def test_bernoulli_draws_have_the_given_probability():
    for p in (0.1, 0.5, 0.9):
        hits = int(streams().bernoulli(p, (N,)).sum())
        assert stats.binomtest(hits, N, p).pvalue > 1e-3
    assert not streams().bernoulli(0.0, (N,)).any()
    assert streams().bernoulli(1.0, (N,)).all()


def correlation(a, b):
    return float(np.corrcoef(a.numpy(), b.numpy())[0, 1])


def test_members_steps_and_sites_do_not_know_of_each_other():
    shape = (N,)
    first = streams()
    others = {
        "another member": streams(seed=1).uniform(shape),
        "another step": streams(step=4).uniform(shape),
        "the evaluation of the same step": streams(step=3).uniform(shape),
    }
    mine = first.uniform(shape)
    others["the next site"] = first.uniform(shape)
    for whose, drawn in others.items():
        assert abs(correlation(mine, drawn)) < 5 / math.sqrt(N), whose
    for lag in (1, 2, 8, 1024):
        assert abs(correlation(mine[:-lag], mine[lag:])) < 5 / math.sqrt(N), lag


def test_the_first_draws_of_many_members_and_steps_are_uniform_together():
    draws = np.array(
        [float(MemberStreams(torch.tensor(key), step).uniform((1,))) for key in range(60) for step in range(60)]
    )
    assert stats.kstest(draws, "uniform").pvalue > 1e-3
    assert len(np.unique(draws)) > 3590


def dropped(members, form, seeds=None):
    stack = tenfold.stack([nn.Linear(2, 2) for _ in members], seeds=seeds or members, form=form)

    def draw(model, x):
        return {
            "dropout": F.dropout(x, 0.5, True),
            "channels": F.dropout2d(x.view(2, 4, 2, 4), 0.5, True),
            "rand": torch.rand(3, 2),
            "size": torch.rand(size=(4,)),
            "randn": torch.randn((5,), dtype=torch.float64),
            "rand_like": torch.rand_like(x),
            "randn_like": torch.randn_like(x),
            "bernoulli": torch.bernoulli(torch.full((20,), 0.5)),
            "bernoulli p": torch.bernoulli(torch.zeros(20), 0.5),
            "own": member_streams().normal((3,)),
        }

    return stack.each(draw, torch.ones(2, 32))


def test_draws_are_the_same_inside_vmap_and_outside_alone_and_together():
    stacked, serial = dropped([0, 1, 2, 3], "stacked"), dropped([0, 1, 2, 3], "serial")
    alone, moved = dropped([2], "stacked"), dropped([3, 2], "stacked")
    for name, drawn in stacked.items():
        assert torch.equal(drawn, serial[name]), name
        assert torch.equal(drawn[2], alone[name][0]), name
        assert torch.equal(drawn[[3, 2]], moved[name]), name
        assert not torch.equal(drawn[0], drawn[1]), name


def test_members_of_one_seed_draw_the_same():
    for name, drawn in dropped([0, 1], "stacked", seeds=[5, 5]).items():
        assert torch.equal(drawn[0], drawn[1]), name


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_draws_do_not_touch_nor_read_the_global_generator(form):
    stack = tenfold.stack([nn.Linear(2, 2)] * 2, form=form)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with torch.no_grad():
        stack.each(lambda model: torch.rand(3) + F.dropout(torch.ones(3)))
    assert torch.equal(torch.get_rng_state(), before)
    first = dropped([0, 1], form)
    torch.manual_seed(1)
    second = dropped([0, 1], form)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_functions_without_a_rule_draw_from_the_member_in_the_serial_form():
    def draw(model):
        return {
            "randint": torch.randint(1000, (8,)),
            "randperm": torch.randperm(50),
            "in place": torch.empty(8).uniform_(),
            "alpha": F.alpha_dropout(torch.ones(32), 0.5, True),
            "multinomial": torch.multinomial(torch.ones(100), 8),
        }

    def drawn(seeds):
        return tenfold.stack([nn.Linear(2, 2) for _ in seeds], seeds=seeds, form="serial").each(draw)

    together = drawn([0, 1, 2])
    torch.rand(3)
    alone = drawn([2])
    for name, values in together.items():
        assert torch.equal(values[2], alone[name][0]), name
        assert not torch.equal(values[0], values[1]), name


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation_and_drops_its_share(p):
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(2)])
    out = stack.each(lambda model, x: F.dropout(x, p, True), torch.ones(N))
    for member in out:
        kept = int((member != 0).sum())
        assert stats.binomtest(kept, N, 1 - p).pvalue > 1e-3
        torch.testing.assert_close(member[member != 0].unique(), torch.tensor([1 / (1 - p)]))


CHANNELS = {
    "dropout1d": (F.dropout1d, (6, 4, 5), (6, 4, 1)),
    "dropout1d of one sample": (F.dropout1d, (4, 5), (4, 1)),
    "dropout2d": (F.dropout2d, (6, 4, 3, 3), (6, 4, 1, 1)),
    "dropout3d": (F.dropout3d, (6, 4, 2, 2, 2), (6, 4, 1, 1, 1)),
    "dropout3d of one sample": (F.dropout3d, (4, 2, 2, 2), (4, 1, 1, 1)),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_feature_dropout_drops_whole_channels(name):
    function, shape, channels = CHANNELS[name]
    out = tenfold.stack([nn.Linear(2, 2)] * 2).each(lambda model, x: function(x, 0.5, True), torch.ones(shape))
    flat = out.amax(dim=[d + 1 for d, size in enumerate(channels) if size == 1], keepdim=True)
    assert flat.shape == (2, *channels)
    assert torch.equal(out, flat.expand_as(out))
    assert set(out.unique().tolist()) == {0.0, 2.0}


def test_dropout_edges_are_those_of_torch():
    stack = tenfold.stack([nn.Linear(2, 2)] * 2)
    x = torch.arange(4.0)
    assert torch.equal(stack.each(lambda model, x: F.dropout(x, 0.0, True), x)[0], x)
    assert torch.equal(stack.each(lambda model, x: F.dropout(x, 0.7, False), x)[0], x)
    assert not stack.each(lambda model, x: F.dropout(x, 1.0, True), x).any()
    with pytest.raises(ValueError, match=r"dropout: p must be in \[0, 1\], got 1.5"):
        stack.each(lambda model, x: F.dropout(x, 1.5), x)


def test_dropout_in_place_changes_what_it_is_given():
    def function(model, x):
        y = x * model.weight.sum().abs().add(1)
        F.dropout(y, 1.0, True, True)
        return y

    assert not tenfold.stack([nn.Linear(2, 2)] * 2).each(function, torch.ones(4)).any()


def test_there_is_no_member_outside_of_each():
    with pytest.raises(RuntimeError, match=r"member_streams: there is no member outside Stack.each"):
        member_streams()


def test_out_is_refused_for_draws():
    stack = tenfold.stack([nn.Linear(2, 2)] * 2)
    with pytest.raises(RuntimeError, match=r"out is not supported. Use the value that they return"):
        stack.each(lambda model: torch.rand(3, out=torch.empty(3)))
