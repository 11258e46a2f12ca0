"""Plain building blocks: activations by name, losses by name, embeddings of categorical columns."""

from tenfold.nn.activations import ACTIVATIONS, activation
from tenfold.nn.embedding import CategoryEmbedding, embedding_dim
from tenfold.nn.losses import LOSSES, cross_entropy, huber, loss_by_name, mae, mse

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "CategoryEmbedding",
    "activation",
    "cross_entropy",
    "embedding_dim",
    "huber",
    "loss_by_name",
    "mae",
    "mse",
]
