import numpy as np
import pytest

from tenfold.data import cut_holdouts, read, split


def test_each_seed_has_the_cut_that_split_makes_of_the_rows():
    source = read("wine")
    rows = np.arange(5, 170)
    found = cut_holdouts(source, [0, 9], rows=rows)
    for seed, train, valid in zip([0, 9], found.train, found.valid, strict=True):
        expected = split(source.take(rows), seed=seed, test_fraction=0)
        assert train.tolist() == rows[expected.train].tolist()
        assert valid.tolist() == rows[expected.valid].tolist()
    assert found.valid[0].tolist() != found.valid[1].tolist()
    assert found.how == "2 cuts, each valid 33 of 165 rows, stratified by class"
    assert not found.complete


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="cut_holdouts: seeds must hold at least one, got none"):
        cut_holdouts(read("iris"), [])


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_fractions_of_no_use_are_refused(fraction):
    with pytest.raises(ValueError, match=rf"cut_holdouts: valid_fraction must be in \(0, 1\), got {fraction}"):
        cut_holdouts(read("iris"), [0], valid_fraction=fraction)
