"""Whether all numbers of some tensors are small, against what PyTorch says of them."""

import math

import pytest
import torch

from tenfold.stacking import kernels

pytestmark = pytest.mark.skipif(not kernels.are_there(), reason="the kernel is for CPUs with AVX-512")
NUMBERS = 1 << 17


@pytest.mark.parametrize("numbers", [1, 15, 16, 63, 64, 65, 1000, NUMBERS, NUMBERS + 7])
@pytest.mark.parametrize("wild", [1.0, -1.0, 1e30, math.inf, -math.inf, math.nan, -math.nan])
def test_one_wild_number_is_seen_wherever_it_stands(numbers, wild):
    tensors = [torch.rand(33) - 0.5, torch.rand(numbers) - 0.5, torch.zeros(0)]
    assert kernels.are_below(tensors, 1.0)
    for place in {0, numbers // 2, numbers - 1}:
        before = tensors[1][place].item()
        tensors[1][place] = wild
        assert not kernels.are_below(tensors, 1.0)
        tensors[1][place] = before


def test_what_does_not_belong_to_a_tensor_is_not_looked_at():
    whole = torch.full((4, 6, 8), math.nan)
    part = whole[:, 1:5, ::2]
    part.zero_()
    assert kernels.are_below([part], 1.0)
    assert kernels.are_below([part.mT], 1.0)
    part[3, 3, 3] = 2.0
    assert not kernels.are_below([part], 1.0)


def test_a_transposed_tensor_is_looked_at_as_it_lies():
    tensor = torch.zeros(3, 5, 70).mT
    tensor[2, 69, 4] = -7.0
    assert kernels.are_below([tensor], 7.5)
    assert not kernels.are_below([tensor], 7.0)


def test_few_numbers_are_left_to_pytorch():
    assert not kernels.looking_pays([torch.zeros(100)])
    assert kernels.looking_pays([torch.zeros(NUMBERS)])
    assert not kernels.looking_pays([torch.zeros(NUMBERS, dtype=torch.float64)])
