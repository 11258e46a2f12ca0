"""Plain building blocks, torch's own wherever they exist; what has a name is in a registry.

`ACTIVATIONS`, `LOSSES`, `INITIALIZERS` and `UPSAMPLINGS` are the names; `activation`, `loss_function`, `initializer`
and `upsampling` give one, with its options. `initialize` fills the blocks of a model by name pattern. Attention pools
values by keys; `convolve` has the modes of `scipy.signal`; `CategoryEmbedding` and `PeriodicEmbedding` are for the
columns of a table, `BatchEnsembleLinear` for several predictions of one network.
"""

from tenfold.nn.activations import ACTIVATIONS, Maxout, activation, activation_inputs
from tenfold.nn.attention import (
    AdditiveAttention,
    AveragePooling,
    DotProductAttention,
    KernelPooling,
    length_mask,
    masked_softmax,
)
from tenfold.nn.batch_ensemble import BatchEnsembleLinear
from tenfold.nn.binary_losses import binary_cross_entropy, binary_focal_loss
from tenfold.nn.class_losses import cross_entropy, cumulative_cross_entropy, focal_loss
from tenfold.nn.convolution import CONVOLUTION_MODES, convolve
from tenfold.nn.embedding import CategoryEmbedding, embedding_dim
from tenfold.nn.initializing import INITIALIZERS, Initializer, initialize, initializer
from tenfold.nn.losses import LOSSES, Loss, loss_function
from tenfold.nn.number_losses import log_cosh
from tenfold.nn.numeric_embedding import PeriodicEmbedding
from tenfold.nn.overlap_losses import dice_loss, tversky_loss
from tenfold.nn.pair_losses import contrastive_loss
from tenfold.nn.residual import Residual
from tenfold.nn.upsampling import UPSAMPLINGS, upsampling

__all__ = [
    "ACTIVATIONS",
    "CONVOLUTION_MODES",
    "INITIALIZERS",
    "LOSSES",
    "UPSAMPLINGS",
    "AdditiveAttention",
    "AveragePooling",
    "BatchEnsembleLinear",
    "CategoryEmbedding",
    "DotProductAttention",
    "Initializer",
    "KernelPooling",
    "Loss",
    "Maxout",
    "PeriodicEmbedding",
    "Residual",
    "activation",
    "activation_inputs",
    "binary_cross_entropy",
    "binary_focal_loss",
    "contrastive_loss",
    "convolve",
    "cross_entropy",
    "cumulative_cross_entropy",
    "dice_loss",
    "embedding_dim",
    "focal_loss",
    "initialize",
    "initializer",
    "length_mask",
    "log_cosh",
    "loss_function",
    "masked_softmax",
    "tversky_loss",
    "upsampling",
]
