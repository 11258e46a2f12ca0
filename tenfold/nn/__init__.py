"""Plain building blocks by name: activations, losses, embeddings of categorical columns."""

from tenfold.nn.activations import ACTIVATIONS, activation
from tenfold.nn.binary_losses import binary_cross_entropy, binary_focal_loss
from tenfold.nn.class_losses import cross_entropy, cumulative_cross_entropy, focal_loss
from tenfold.nn.embedding import CategoryEmbedding, embedding_dim
from tenfold.nn.losses import LOSSES, Loss, loss_function
from tenfold.nn.number_losses import log_cosh
from tenfold.nn.overlap_losses import dice_loss, tversky_loss
from tenfold.nn.pair_losses import contrastive_loss

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "CategoryEmbedding",
    "Loss",
    "activation",
    "binary_cross_entropy",
    "binary_focal_loss",
    "contrastive_loss",
    "cross_entropy",
    "cumulative_cross_entropy",
    "dice_loss",
    "embedding_dim",
    "focal_loss",
    "log_cosh",
    "loss_function",
    "tversky_loss",
]
