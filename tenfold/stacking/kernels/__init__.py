"""Kernels in C++ of compiled steps: products of small matrices, and LSTMs, on CPUs with AVX-512.

`products.cpp` and `lstm.cpp` are one library, built the first time that a step is compiled with a product or an LSTM
in it (about three seconds), by the compiler and into the cache that TorchInductor has; found again afterwards.
Where they do not apply, PyTorch's own operators stay.
"""

from tenfold.stacking.kernels.library import are_there, has_slow_products
from tenfold.stacking.kernels.lstm import LSTM, kept_bytes
from tenfold.stacking.kernels.pooling import MaxPool
from tenfold.stacking.kernels.products import with_own_products

__all__ = ["LSTM", "MaxPool", "are_there", "has_slow_products", "kept_bytes", "with_own_products"]
