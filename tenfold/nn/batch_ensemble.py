"""A linear layer for several predictions of one network: shared weights, and a few vectors of each one's own.

B batch, E predictions, D features
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class BatchEnsembleLinear(nn.Module):
    """s_e * W (r_e * x_e) + b_e: one matrix for all E predictions, between vectors of each one's own.

    It is the same as E linear layers with the weights W * outer(s_e, r_e), and costs one matrix product.

    Args:
        in_features: D in, at least 1.
        out_features: D out, at least 1.
        num_predictions: E, at least 1.
        random_signs: whether r starts at random +1 and -1, which tells the predictions apart; else at 1, as s does.

    Example:
        >>> layer = BatchEnsembleLinear(3, 5, num_predictions=4)
        >>> layer(torch.zeros(2, 4, 3)).shape
        torch.Size([2, 4, 5])

    References:
        Wen, Tran and Ba, "BatchEnsemble: an Alternative Approach to Efficient Ensemble and Lifelong Learning", ICLR
            2020, equation 1.
    """

    def __init__(
        self, in_features: int, out_features: int, num_predictions: int, *, random_signs: bool = False
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_predictions, out_features).uniform_(-bound, bound))
        signs_ED = torch.randint(2, (num_predictions, in_features)) * 2.0 - 1
        self.r = nn.Parameter(signs_ED if random_signs else torch.ones(num_predictions, in_features))
        self.s = nn.Parameter(torch.ones(num_predictions, out_features))

    def forward(self, x_BED: Tensor) -> Tensor:
        """Shape (B, E, D in) to (B, E, D out); x of one prediction, (B, 1, D in), is for all."""
        return nn.functional.linear(x_BED * self.r, self.weight) * self.s + self.bias
