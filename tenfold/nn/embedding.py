"""Embeddings of a table's categorical columns.

B batch, L categorical columns
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def embedding_dim(cardinality: int) -> int:
    """Width of an embedding by the rule of fastai: min(600, round(1.6 n^0.56)).

    Args:
        cardinality: number of codes n, at least 1, the code for missing values included.

    Raises:
        ValueError: the cardinality is less than 1.

    Example:
        >>> [embedding_dim(n) for n in (2, 10, 100, 1000)]
        [2, 6, 21, 77]

    References:
        fastai, `fastai.tabular.model.emb_sz_rule` (https://docs.fast.ai/tabular.model.html).
    """
    if cardinality < 1:
        raise ValueError(f"embedding_dim: cardinality must be at least 1, got {cardinality!r}. Count codes.")
    return min(600, round(1.6 * cardinality**0.56))


class CategoryEmbedding(nn.Module):
    """One embedding a categorical column, side by side.

    Weights start from a normal distribution of standard deviation 0.01 cut at two of them, as in fastai: a
    category that is hardly ever seen starts near zero and stays there. (torch's default of 1 would be as loud
    as a standardised numeric column in each of its dims.)

    Args:
        cardinalities: for each column the number of its codes.
        dim: from the cardinality to the width of the embedding.

    Raises:
        ValueError: there is no column.

    Example:
        >>> embedding = CategoryEmbedding([3, 10])
        >>> embedding(torch.tensor([[0, 9], [2, 4]])).shape, embedding.out_features
        (torch.Size([2, 9]), 9)

    References:
        Guo and Berkhahn, "Entity Embeddings of Categorical Variables", 2016.
    """

    def __init__(self, cardinalities: Sequence[int], dim: Callable[[int], int] = embedding_dim) -> None:
        super().__init__()
        if not cardinalities:
            raise ValueError("CategoryEmbedding: cardinalities must name a column, got none. Omit the module.")
        self.columns = nn.ModuleList(nn.Embedding(count, dim(count)) for count in cardinalities)
        self.out_features = sum(dim(count) for count in cardinalities)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew from torch's global stream."""
        for table in self.parameters():
            nn.init.trunc_normal_(table, std=0.01, a=-0.02, b=0.02)

    def forward(self, codes_BL: Tensor) -> Tensor:
        """The embeddings of codes int64, shape (B, L), as float, shape (B, out_features)."""
        return torch.cat([column(codes_BL[:, index]) for index, column in enumerate(self.columns)], dim=1)
