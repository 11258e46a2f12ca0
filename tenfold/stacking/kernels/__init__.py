"""Kernels in C++ on CPUs with AVX-512: layers, noise, cross-entropy and Adam's step; LSTMs in compiled steps.

The .cpp files are one library, built by TorchInductor's compiler the first time that a stack needs one of them (about
eight seconds), and kept in the user's cache folder. Where they do not apply, PyTorch's own operators stay.
"""

from tenfold.stacking.kernels.adam import adam_step
from tenfold.stacking.kernels.bounds import are_below, looking_pays
from tenfold.stacking.kernels.convolution import Convolution, convolved_sizes
from tenfold.stacking.kernels.fusing_pooling import fuse_pooling
from tenfold.stacking.kernels.library import (
    are_there,
    has_slow_products,
    say_nothing_of_cuda,
    seconds_of_building,
    telling,
)
from tenfold.stacking.kernels.linear import Linear, linear_pays
from tenfold.stacking.kernels.losses import CrossEntropy
from tenfold.stacking.kernels.lstm import LSTM, kept_bytes
from tenfold.stacking.kernels.noise import drawing_pays
from tenfold.stacking.kernels.norms import BatchNorm, as_pictures, channel_rows
from tenfold.stacking.kernels.pooling import MaxPool
from tenfold.stacking.kernels.pooling_samples import MaxPoolSamples, pooled_sizes
from tenfold.stacking.kernels.products import with_own_products
from tenfold.stacking.kernels.samples_last import lies_samples_last

__all__ = [
    "LSTM",
    "BatchNorm",
    "Convolution",
    "CrossEntropy",
    "Linear",
    "MaxPool",
    "MaxPoolSamples",
    "adam_step",
    "are_below",
    "are_there",
    "as_pictures",
    "channel_rows",
    "convolved_sizes",
    "drawing_pays",
    "fuse_pooling",
    "has_slow_products",
    "kept_bytes",
    "lies_samples_last",
    "linear_pays",
    "looking_pays",
    "pooled_sizes",
    "say_nothing_of_cuda",
    "seconds_of_building",
    "telling",
    "with_own_products",
]
