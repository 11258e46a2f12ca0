import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tenfold.core.errors import InputError
from tenfold.nn import UPSAMPLINGS, upsampling

X = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("name", [name for name in UPSAMPLINGS if name != "unpooling"])
def test_maps_become_larger_by_the_factor(name, factor):
    assert upsampling(name, 3, factor)(X).shape == (2, 3, 6 * factor, 5 * factor)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_transposed_convolution_starts_as_bilinear_interpolation_but_for_the_rim(factor):
    got = upsampling("transposed", 3, factor)(X)
    expected = F.interpolate(X, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(got[inner], expected[inner])


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_a_name_means_torchs_interpolation(name):
    assert torch.equal(upsampling(name, 3)(X), F.interpolate(X, scale_factor=2, mode=name))


def test_unpooling_puts_numbers_back_where_they_were_the_largest():
    x = torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]])
    pooled, places = nn.MaxPool2d(2, return_indices=True)(x)
    assert upsampling("unpooling", 1)(pooled, places).tolist() == [[[[0.0, 0.0], [4.0, 0.0]]]]


def test_a_wrong_call_is_refused():
    with pytest.raises(InputError, match=r"unknown up-sampling 'biliner'. Did you mean 'bilinear'"):
        upsampling("biliner", 3)
    with pytest.raises(ValueError, match=r"upsampling: factor must be a whole number >= 1, got 1.5"):
        upsampling("nearest", 3, 1.5)
