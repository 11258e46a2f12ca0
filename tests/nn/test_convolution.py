import numpy as np
import pytest
import torch
from scipy.signal import convolve as scipy_convolve
from scipy.signal import convolve2d, correlate2d

from tenfold.nn import CONVOLUTION_MODES, convolve

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("mode", CONVOLUTION_MODES)
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (2, 5), (4, 3)])
@pytest.mark.parametrize("flip", [True, False])
def test_pictures_are_convolved_as_scipy_does(mode, kernel, flip):
    x, weight = DRAW.normal(size=(7, 6)), DRAW.normal(size=kernel)
    reference = convolve2d if flip else lambda a, b, mode: convolve2d(a, b[::-1, ::-1], mode)
    got = convolve(torch.from_numpy(x)[None, None], torch.from_numpy(weight)[None, None], mode=mode, flip=flip)
    np.testing.assert_allclose(got[0, 0].numpy(), reference(x, weight, mode=mode), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", CONVOLUTION_MODES)
def test_without_flipping_it_is_the_cross_correlation_of_scipy(mode):
    x, weight = DRAW.normal(size=(7, 6)), DRAW.normal(size=(3, 5))  # of even kernels scipy takes the other middle
    got = convolve(torch.from_numpy(x)[None, None], torch.from_numpy(weight)[None, None], mode=mode, flip=False)
    np.testing.assert_allclose(got[0, 0].numpy(), correlate2d(x, weight, mode=mode), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", CONVOLUTION_MODES)
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_series_are_convolved_as_numpy_does(mode, size):
    x, weight = DRAW.normal(size=8), DRAW.normal(size=size)
    got = convolve(torch.from_numpy(x)[None, None], torch.from_numpy(weight)[None, None], mode=mode)
    np.testing.assert_allclose(got[0, 0].numpy(), np.convolve(x, weight, mode), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", CONVOLUTION_MODES)
def test_channels_are_summed_and_volumes_convolved(mode):
    x, weight = DRAW.normal(size=(1, 2, 4, 5, 4)), DRAW.normal(size=(3, 2, 3, 2, 2))
    got = convolve(torch.from_numpy(x), torch.from_numpy(weight), mode=mode)
    for k in range(3):
        expected = sum(scipy_convolve(x[0, c], weight[k, c], mode=mode, method="direct") for c in range(2))
        np.testing.assert_allclose(got[0, k].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("x", "weight", "mode", "message"),
    [
        ((1, 1, 4), (1, 1, 2), "vald", "mode must be one of .* got 'vald'. Did you mean 'valid'"),
        ((1, 1, 4), (1, 1, 2, 2), "full", r"the same 3 to 5 axes, got shapes \(1, 1, 4\) and \(1, 1, 2, 2\)"),
        ((1, 4), (1, 2), "full", "the same 3 to 5 axes"),
        ((1, 1, 4, 4), (1, 1, 2, 5), "valid", r"a kernel of \(2, 5\) must fit into an input of \(4, 4\)"),
    ],
)
def test_a_wrong_call_is_refused(x, weight, mode, message):
    with pytest.raises(ValueError, match=message):
        convolve(torch.zeros(x), torch.zeros(weight), mode=mode)
