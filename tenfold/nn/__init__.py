"""Plain building blocks: activations by name, embeddings of categorical columns."""

from tenfold.nn.activations import ACTIVATIONS, activation
from tenfold.nn.embedding import CategoryEmbedding, embedding_dim

__all__ = ["ACTIVATIONS", "CategoryEmbedding", "activation", "embedding_dim"]
