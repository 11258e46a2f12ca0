"""Kernels in C++ of compiled steps: products of small matrices, and LSTMs, on CPUs with AVX-512.

`products.cpp` and `lstm.cpp` are one library, built the first time that a step is compiled with a product or an LSTM
in it (about three seconds), by the compiler and into the cache that TorchInductor has; found again afterwards.
Where they do not apply, PyTorch's own operators stay.
"""

from tenfold.stacking.kernels.convolution import Convolution
from tenfold.stacking.kernels.library import are_there, has_slow_products
from tenfold.stacking.kernels.lstm import LSTM, kept_bytes
from tenfold.stacking.kernels.pooling import MaxPool, MaxPoolSamples, pooled_sizes
from tenfold.stacking.kernels.products import with_own_products
from tenfold.stacking.kernels.samples_last import empty_samples_last, lies_samples_last, samples_last

__all__ = [
    "LSTM",
    "Convolution",
    "MaxPool",
    "MaxPoolSamples",
    "are_there",
    "empty_samples_last",
    "has_slow_products",
    "kept_bytes",
    "lies_samples_last",
    "pooled_sizes",
    "samples_last",
    "with_own_products",
]
