"""Embeddings of a table's numeric columns: each number becomes a few.

B batch, D columns, H hidden features, E features of a column
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PeriodicEmbedding(nn.Module):
    """PBLD: a number x of column i becomes (x, W_i cos(2 pi w_i x + b_i) + c_i), with weights of the column's own.

    A network sees soft steps and bumps along each column from the start, which a plain one has to build.

    Args:
        num_columns: D, at least 1.
        dim: E, the number itself included, at least 2.
        hidden: H, frequencies a column, at least 1.
        sigma: standard deviation of the frequencies at the start: small ones are smooth.

    Example:
        >>> embedding = PeriodicEmbedding(num_columns=3)
        >>> embedding(torch.zeros(5, 3)).shape, embedding.out_features
        (torch.Size([5, 12]), 12)

    References:
        Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS
            2022, section 3.3.
        Holzmüller, Grinsztajn and Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular
            Data", NeurIPS 2024, section 3 (PBLD: with a bias, linear, and the number itself).
    """

    def __init__(self, num_columns: int, *, dim: int = 4, hidden: int = 16, sigma: float = 0.1) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.frequency = nn.Parameter(sigma * torch.randn(num_columns, hidden))
        self.phase = nn.Parameter(torch.empty(num_columns, hidden).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(torch.empty(num_columns, hidden, dim - 1).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_columns, dim - 1).uniform_(-bound, bound))
        self.out_features = num_columns * dim

    def forward(self, x_BD: Tensor) -> Tensor:
        """Shape (B, D) to (B, D * E), the features of a column side by side."""
        waves_BDH = torch.cos(2 * math.pi * self.frequency * x_BD[..., None] + self.phase)
        bent_BDE = (waves_BDH[..., None, :] @ self.weight).squeeze(-2) + self.bias
        return torch.cat([x_BD[..., None], bent_BDE], dim=-1).flatten(1)
