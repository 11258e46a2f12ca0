import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from tenfold.core.seeds import STREAMS, derive_seed, generator, torch_seed


def test_a_seed_is_the_hash_of_its_arguments_on_every_machine():
    digest = hashlib.blake2b(b"7/order/3/5", digest_size=8).digest()
    assert derive_seed(7, "order", 3, 5) == int.from_bytes(digest, "little") >> 1


def test_seeds_of_different_owners_are_different():
    seeds = {derive_seed(s, stream, i) for s in range(-5, 50) for stream in STREAMS for i in range(20)}
    assert len(seeds) == 55 * len(STREAMS) * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, "init", 23) != derive_seed(1, "init", 2, 3) != derive_seed(12, "init", 3)


def test_numbers_of_numpy_and_torch_are_seeds_too():
    assert derive_seed(np.int64(3), "init", torch.tensor(4)) == derive_seed(3, "init", 4)


def test_an_unknown_stream_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"derive_seed: stream must be one of \('init', 'order', .*got 'shuffle'"):
        derive_seed(0, "shuffle")


def test_generators_of_one_owner_agree_and_of_two_do_not():
    assert np.array_equal(generator(0, "order", 1).permutation(50), generator(0, "order", 1).permutation(50))
    one, two = generator(0, "order", 1).random(20_000), generator(0, "order", 2).random(20_000)
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(20_000)
    assert stats.kstest(one, "uniform").pvalue > 1e-3


def test_torch_seed_gives_the_callers_state_back_even_after_an_error():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with torch_seed(5):
        first = torch.rand(3)
    with pytest.raises(KeyError), torch_seed(5):
        raise KeyError(float(torch.rand(1)))
    with torch_seed(5):
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)
