"""Attention: values pooled by how well their keys fit a query.

All are called `(queries, keys, values, mask=None)` and differ in the weights: equal ones, a Gaussian kernel's
(Nadaraya-Watson), an additive or a scaled-dot-product score's. A query that may look at no key gets zeros.

B batch, Q queries, N keys and values, D features, V features of a value, H hidden features
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def length_mask(lengths_B: Tensor, num_keys: int) -> Tensor:
    """A mask for sequences of several lengths: the first keys of each, bool, shape (B, 1, N).

    Example:
        >>> length_mask(torch.tensor([1, 3]), 3).int().tolist()
        [[[1, 0, 0]], [[1, 1, 1]]]
    """
    return (torch.arange(num_keys, device=lengths_B.device) < lengths_B[:, None])[:, None]


def masked_softmax(scores_BQN: Tensor, mask: Tensor | None = None) -> Tensor:
    """The softmax over the last axis, with weights of 0 where the mask is False: all of them, if it is so everywhere.

    Args:
        scores_BQN: float, shape (..., N).
        mask: bool, True where a query may look, broadcast to the scores; None for everywhere.

    Example:
        >>> masked_softmax(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]])).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    if mask is None:
        return scores_BQN.softmax(dim=-1)
    # The softmax of minus infinities alone would be NaN, and so would be its gradient.
    lowest = torch.finfo(scores_BQN.dtype).min
    return torch.where(mask, torch.where(mask, scores_BQN, lowest).softmax(dim=-1), 0.0)


class AveragePooling(nn.Module):
    """The mean of all values, whatever the query: the floor under any attention.

    Example:
        >>> AveragePooling()(torch.zeros(1, 1, 2), torch.zeros(1, 2, 2), torch.tensor([[[1.0], [3.0]]])).item()
        2.0
    """

    def forward(
        self, queries_BQD: Tensor, keys_BND: Tensor, values_BNV: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Pooled values, shape (B, Q, V)."""
        scores_BQN = queries_BQD.new_zeros(*queries_BQD.shape[:-1], keys_BND.shape[-2])
        return masked_softmax(scores_BQN, mask) @ values_BNV


class KernelPooling(nn.Module):
    """Nadaraya-Watson regression with a Gaussian kernel: the nearer a key, the more its value counts.

    Weights are softmax(-|q - k|^2 / (2 bandwidth^2)).

    Args:
        bandwidth: how far a query sees, in units of the keys, positive; where it is learned, what it starts from.
        learned: whether the bandwidth is a parameter (its inverse is, as in the textbook).

    Raises:
        ValueError: the bandwidth is not positive.

    Example:
        >>> keys, values = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[5.0], [7.0]]])
        >>> KernelPooling(bandwidth=0.1)(torch.tensor([[[0.9]]]), keys, values).item()
        7.0

    References:
        Nadaraya, "On Estimating Regression", 1964; Watson, "Smooth Regression Analysis", 1964.
        Zhang, Lipton, Li and Smola, "Dive into Deep Learning", section 11.2.
    """

    def __init__(self, bandwidth: float = 1.0, *, learned: bool = False) -> None:
        super().__init__()
        if not bandwidth > 0:
            raise ValueError(
                f"KernelPooling: bandwidth must be positive, got {bandwidth!r}. 1.0 suits keys of spread 1."
            )
        inverse = torch.tensor(1.0 / bandwidth)
        self.inverse_bandwidth: Tensor
        if learned:
            self.inverse_bandwidth = nn.Parameter(inverse)
        else:
            self.register_buffer("inverse_bandwidth", inverse)

    def forward(
        self, queries_BQD: Tensor, keys_BND: Tensor, values_BNV: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Pooled values, shape (B, Q, V)."""
        distances_BQN = (queries_BQD[..., :, None, :] - keys_BND[..., None, :, :]).square().sum(dim=-1)
        return masked_softmax(-distances_BQN * self.inverse_bandwidth.square() / 2, mask) @ values_BNV


class AdditiveAttention(nn.Module):
    """Scores by a small network, w tanh(W_q q + W_k k): for queries and keys of different sizes.

    Args:
        query_features: of a query, at least 1.
        key_features: of a key, at least 1.
        hidden: H, at least 1.

    Example:
        >>> attention = AdditiveAttention(query_features=3, key_features=2, hidden=8)
        >>> attention(torch.zeros(5, 1, 3), torch.zeros(5, 4, 2), torch.zeros(5, 4, 6)).shape
        torch.Size([5, 1, 6])

    References:
        Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", ICLR 2015,
            appendix A.1.2.
    """

    def __init__(self, query_features: int, key_features: int, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_features, hidden, bias=False)
        self.key = nn.Linear(key_features, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(
        self, queries_BQD: Tensor, keys_BND: Tensor, values_BNV: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Pooled values, shape (B, Q, V)."""
        hidden_BQNH = (self.query(queries_BQD)[..., :, None, :] + self.key(keys_BND)[..., None, :, :]).tanh()
        return masked_softmax(self.score(hidden_BQNH).squeeze(-1), mask) @ values_BNV


class DotProductAttention(nn.Module):
    """Scores q k / sqrt(D), by torch's own kernel.

    Example:
        >>> DotProductAttention()(torch.zeros(5, 1, 3), torch.zeros(5, 4, 3), torch.ones(5, 4, 6)).shape
        torch.Size([5, 1, 6])

    References:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1.
    """

    def forward(
        self, queries_BQD: Tensor, keys_BND: Tensor, values_BNV: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Pooled values, shape (B, Q, V)."""
        if mask is None:
            return F.scaled_dot_product_attention(queries_BQD, keys_BND, values_BNV)
        sees = mask.any(dim=-1, keepdim=True)
        pooled = F.scaled_dot_product_attention(queries_BQD, keys_BND, values_BNV, attn_mask=mask | ~sees)
        return torch.where(sees, pooled, 0.0)
